"""`Kept`: a full measurement with its settings and the machine it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aelib import checks, runtime


@dataclass(frozen=True)
class Kept:
    """A full measurement of a claim.

    Attributes:
        id: the claim's.
        readings: by label, one number per seed.
        settings: of the full run.
        record: date, seconds, profile, machine and versions.
        witness: the short run made beside it, by label: value, low and high. Where today's short
            run is outside, the kept run does not speak for today's code any more.
    """

    id: str
    readings: Mapping[str, Sequence[float]]
    settings: Mapping[str, Any]
    record: Mapping[str, str]
    witness: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def save(self, folder: str | Path) -> Path:
        """Write it to `folder`/id.json, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        return runtime.write_whole(Path(folder) / f"{self.id}.json", text.encode())

    @classmethod
    def load(cls, file: Path) -> Kept:
        """Read what `save` wrote.

        Raises:
            ValueError: for a file that is anything else; names it.
        """
        try:
            result = cls(**json.loads(file.read_text(encoding="utf-8")))
            _ = result.record["date"], result.record["profile"], dict(result.readings)
        except (ValueError, TypeError, KeyError) as error:
            got = checks.Described(f"one that does not fit ({error})")
            advice = f"run `python -m aelib measure {file.stem}` again"
            raise ValueError(
                checks.message(str(file), "a kept measurement", got, advice)
            ) from error
        return result
