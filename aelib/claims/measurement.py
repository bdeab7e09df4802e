"""`Kept`: a full measurement with its settings and the machine it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aelib import checks, runtime

FORMAT = 2  # of the file; raised when an older one can be read no more
EARLIER = "an earlier run, other seeds"  # the change of a row of stability that was a full run


@dataclass(frozen=True)
class Kept:
    """A full measurement of a claim.

    Attributes:
        id: the claim's.
        readings: by label, one number per unit.
        settings: of the full run.
        record: date, seconds, profile, seed offset, machine and versions.
        witness: the short run made beside it, by label: value, low and high. Where today's short
            run is outside, the kept run does not speak for today's code any more.
        stability: the same run with something changed that should not matter: `change` and
            `length` in words, `verdict`, and the main reading's `value`, `low` and `high`. One
            row is `EARLIER`, if this run took the place of one of other seeds.
    """

    id: str
    readings: Mapping[str, Sequence[float]]
    settings: Mapping[str, Any]
    record: Mapping[str, str]
    witness: Mapping[str, Sequence[float]] = field(default_factory=dict)
    stability: Sequence[Mapping[str, Any]] = ()

    def save(self, folder: str | Path) -> Path:
        """Write it to `folder`/id.json, whole or not at all."""
        content = {"format": FORMAT, "digest": self._digest(), **asdict(self)}
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        return runtime.write_whole(Path(folder) / f"{self.id}.json", text.encode())

    def with_stability(self, rows: Sequence[Mapping[str, Any]]) -> Kept:
        """The same measurement with other rows of stability."""
        return replace(self, stability=[dict(row) for row in rows])

    @classmethod
    def load(cls, file: Path) -> Kept:
        """Read what `save` wrote.

        Raises:
            ValueError: for a file that is anything else, of another format, cut short or edited;
                names it.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            version, digest = content.pop("format", 1), content.pop("digest", "")
            if version != FORMAT:
                raise ValueError(f"its format is {version}, and this aelib reads {FORMAT}")
            result = cls(**content)
            _ = result.record["date"], result.record["profile"], dict(result.readings)
            if digest != result._digest():
                raise ValueError("its numbers were changed by another hand")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            got = checks.Described(f"one that does not fit ({error})")
            advice = f"run `python -m aelib measure {file.stem}` again"
            raise ValueError(
                checks.message(str(file), "a kept measurement", got, advice)
            ) from error
        return result

    def _digest(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
