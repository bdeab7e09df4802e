"""Long measurements: a claim's experiment at full length, kept with where it came from."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from aelib import provenance, runtime
from aelib.claims.claim import Kept
from aelib.claims.ledger import find_chapters, notebooks, source_of


@dataclass(frozen=True)
class Experiment:
    """A claim's experiment at two lengths: the chapter runs `short()`, `measure` runs `long()`."""

    id: str
    run: Callable[..., Mapping[str, Sequence[float]]]
    short_settings: Mapping
    long_settings: Mapping

    def short(self) -> dict[str, list[float]]:
        return _plain(self.run(**self.short_settings))

    def long(self) -> dict[str, list[float]]:
        return _plain(self.run(**self.long_settings))


def _plain(readings: Mapping) -> dict[str, list[float]]:
    return {name: [float(value) for value in values] for name, values in readings.items()}


def experiment(id: str, *, short: Mapping, long: Mapping) -> Callable[[Callable], Experiment]:
    """Decorate a function that returns a claim's readings: settings for the chapter and at length."""

    def wrap(function: Callable) -> Experiment:
        accepted = set(inspect.signature(function).parameters)
        for name, settings in (("short", short), ("long", long)):
            unknown = set(settings) - accepted
            if unknown:
                raise TypeError(
                    f"{name}: {function.__name__} takes no {', '.join(sorted(unknown))}"
                )
        return Experiment(id, function, dict(short), dict(long))

    return wrap


def _definitions_of(notebook: dict) -> list[str]:
    """The code that `measure` runs: cells tagged `setup` or `define`, in order."""
    tagged = ("setup", "define")
    return [
        source_of(cell) for cell in notebook["cells"]
        if cell["cell_type"] == "code" and set(tagged) & set(cell["metadata"].get("tags", []))
    ]  # fmt: skip


def _experiment_source(sources: Sequence[str], id: str) -> str:
    """The source of the decorated function of claim `id`, with the definitions it is read among."""
    for source in sources:
        for node in ast.parse(source).body:
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and any(
                    isinstance(a, ast.Constant) and a.value == id for a in decorator.args
                ):
                    return ast.unparse(node)
    return ""


def experiments(folder: str | Path | None = None) -> dict[str, tuple[Path, list[str]]]:
    """For each claim with a long measurement, its notebook and the code that defines it."""
    found = {}
    for path, notebook in notebooks(folder).items():
        sources = _definitions_of(notebook)
        for number in re.findall(r"experiment\(\s*[\"'](\d+\.\d+)[\"']", "\n".join(sources)):
            found[number] = (path, sources)
    return found


def current(id: str, folder: str | Path | None = None) -> str:
    """The fingerprint of the code and settings of claim `id`'s experiment as they are now."""
    sources = _known(id, folder)[1]
    return provenance.fingerprint([_experiment_source(sources, id)], context=sources)


def _known(id: str, folder: str | Path | None) -> tuple[Path, list[str]]:
    known = experiments(folder)
    if id not in known:
        raise ValueError(
            f"claim {id!r} has no long measurement; {runtime.nearest(id, sorted(known)) if known else 'none has'}"
        )
    return known[id]


def measure(id: str, folder: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Run claim `id`'s experiment at full length and keep the result, with its provenance.

    Args:
        id: such as "2.5".
        folder: of the chapters.
        out: where to keep it; `measured/` beside the chapter if None.

    Returns:
        The file written.

    Raises:
        ValueError: for a claim without a long measurement.
        OSError: if the result could not be kept there; raised before the run.
    """
    path, sources = _known(id, folder)
    target = runtime.check_writable(Path(out) if out else path.parent / "measured", "a measurement")
    space: dict = {"__name__": "__measure__"}
    for source in sources:
        exec(compile(source, str(path), "exec"), space)  # the chapter's own code: one home for it
    found = [one for one in space.values() if isinstance(one, Experiment) and one.id == id]
    began = datetime.now(timezone.utc)
    readings = found[0].long()
    kept = Kept(id, readings, found[0].long_settings, {
        "fingerprint": current(id, folder),
        "date": began.isoformat(timespec="seconds"),
        "seconds": f"{(datetime.now(timezone.utc) - began).total_seconds():.0f}",
        "machine": runtime.machine(),
        **runtime.versions(),
    })  # fmt: skip
    return runtime.write_whole(
        target / f"{id}.json", (json.dumps(asdict(kept), indent=1) + "\n").encode()
    )


def kept(id: str, folder: str | Path | None = None) -> Kept | None:
    """The kept long measurement of claim `id`, or None where there is none (as on Colab)."""
    base = Path(folder) if folder is not None else Path(".")
    for place in (base / "measured", base / "chapters" / "measured"):
        file = place / f"{id}.json"
        if file.exists():
            try:
                return Kept(**json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{file} is not a kept measurement; run `python -m aelib measure {id}`"
                ) from error
    return None


def stale(folder: str | Path | None = None) -> list[str]:
    """Kept measurements that are missing, or whose code or settings have changed; empty if fine."""
    wrong, chapters = [], find_chapters(folder)
    known = experiments(folder)
    for id in known:
        found = kept(id, chapters)
        if found is None:
            wrong.append(f"claim {id} has no kept measurement; run `python -m aelib measure {id}`")
        elif found.provenance["fingerprint"] != current(id, folder):
            wrong.append(
                f"claim {id}: its code or settings changed; run `python -m aelib measure {id}`"
            )
    for file in sorted((chapters / "measured").glob("*.json")):
        if file.stem not in known:
            wrong.append(f"{file.name} belongs to no experiment of the chapters; delete it")
    return wrong
