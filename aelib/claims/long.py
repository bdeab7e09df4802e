"""Long measurements: a claim's experiment at full length, kept with where it came from."""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from aelib import checks, provenance, runtime
from aelib.claims.claim import Kept, read
from aelib.claims.ledger import find_chapters, notebooks, source_of

SETUP, DEFINE = "setup", "define"  # tags of the cells that `measure` runs


@dataclass(frozen=True)
class Experiment:
    """A claim's experiment at two lengths: the chapter runs `short()`, `measure` runs `long()`."""

    id: str
    run: Callable[..., Mapping[str, Sequence[float]]]
    short_settings: Mapping
    long_settings: Mapping

    def short(self) -> dict[str, list[float]]:
        """The claim's readings by the chapter's settings."""
        return self._readings(self.short_settings)

    def long(self) -> dict[str, list[float]]:
        """The claim's readings at full length."""
        return self._readings(self.long_settings)

    def _readings(self, settings: Mapping) -> dict[str, list[float]]:
        # A closed form is one number, so seeds are not counted here; `Claim.judge` does.
        return {
            name: list(read(values, "closed form", f"claim {self.id}, {name}").values)
            for name, values in self.run(**settings).items()
        }


def experiment(id: str, *, short: Mapping, long: Mapping) -> Callable[[Callable], Experiment]:
    """Decorate a function that returns a claim's readings: its settings live and at full length.

    Raises:
        TypeError: for settings the function does not take, or that JSON could not keep.
    """

    def wrap(function: Callable) -> Experiment:
        for name, settings in (("short", short), ("long", long)):
            try:
                inspect.signature(function).bind(**settings)
                json.dumps(settings, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise TypeError(f"experiment {id}, {name}: {error}") from error
        return Experiment(id, function, dict(short), dict(long))

    return wrap


@dataclass(frozen=True)
class Found:
    """Where an experiment stands.

    Attributes:
        path: the notebook.
        sources: the code of its cells tagged setup or define, which `measure` runs.
        context: the same as far as it bears on a result: of set-up, which prints and installs,
            the definitions only.
        source: the experiment's own definition.
    """

    path: Path
    sources: tuple[str, ...]
    context: tuple[str, ...]
    source: str


def experiments(folder: str | Path | None = None) -> dict[str, Found]:
    """The experiments that the chapters define, by claim.

    Raises:
        ValueError: for two experiments of one claim, or a defining cell that is not Python.
    """
    found: dict[str, Found] = {}
    for path, notebook in notebooks(folder).items():
        sources, context = [], []
        for cell in notebook["cells"]:
            tags = cell["metadata"].get("tags", [])
            if cell["cell_type"] != "code" or not {SETUP, DEFINE} & set(tags):
                continue
            try:
                sources.append(provenance.python(source_of(cell)))
            except SyntaxError as error:
                raise ValueError(f"{path}: a cell tagged {' '.join(tags)}: {error}") from error
            whole = DEFINE in tags
            context.append(sources[-1] if whole else provenance.definitions(sources[-1]))
        for id, source in _decorated(sources):
            if id in found:
                raise ValueError(f"claim {id} has two experiments; the second is in {path}")
            found[id] = Found(path, tuple(sources), tuple(context), source)
    return found


def _decorated(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The claim and the source of each function decorated with `experiment`."""
    for source in sources:
        for node in ast.parse(source).body:
            for call in getattr(node, "decorator_list", []):
                if not isinstance(call, ast.Call):
                    continue
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                ids = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "id")]
                if name == "experiment" and ids and isinstance(ids[0], ast.Constant):
                    # The chapter's own settings have no part in the long run.
                    call.keywords = [one for one in call.keywords if one.arg != "short"]
                    yield str(ids[0].value), ast.unparse(node)


def current(id: str, folder: str | Path | None = None) -> str:
    """The fingerprint of the code and settings of claim `id`'s experiment as they are now."""
    found = _known(id, folder)
    return provenance.fingerprint([found.source], context=found.context)


def _known(id: str, folder: str | Path | None) -> Found:
    known = experiments(folder)
    if id not in known:
        which = checks.nearest(id, sorted(known)) if known else "none has"
        raise ValueError(f"claim {id!r} has no long measurement; {which}")
    return known[id]


def measure(id: str, folder: str | Path | None = None, out: str | Path | None = None) -> Path:
    """Run claim `id`'s experiment at full length and keep the result, with its provenance.

    Ctrl-C stops it at once and keeps nothing: half an experiment has no verdict.

    Args:
        id: such as "2.5".
        folder: of the chapters.
        out: where to keep it; `measured/` beside the chapter if None.

    Returns:
        The file written.

    Raises:
        ValueError: for a claim without a long measurement, or readings that are not finite.
        OSError: if the result could not be kept there; raised before the run.
    """
    found = _known(id, folder)
    folder_out = Path(out) if out else found.path.parent / "measured"
    target = runtime.check_writable(folder_out, "a measurement")
    fingerprint = current(id, folder)  # now, for the notebook may be edited while this runs
    space: dict = {"__name__": "__measure__"}
    began = datetime.now(timezone.utc)
    with _stopping_at_once():
        for source in found.sources:  # the chapter's own code: one home for it
            exec(compile(source, str(found.path), "exec", dont_inherit=True), space)
        defined = [one for one in space.values() if isinstance(one, Experiment) and one.id == id]
        if not defined:
            raise ValueError(f"claim {id}: {found.path} leaves its experiment undefined")
        readings = defined[0].long()
    took = datetime.now(timezone.utc) - began
    kept = Kept(id, readings, defined[0].long_settings, {
        "fingerprint": fingerprint,
        "date": began.isoformat(timespec="seconds"),
        "seconds": f"{took.total_seconds():.0f}",
        "profile": runtime.profile().name,
        "machine": runtime.machine(),
        **runtime.versions(),
    })  # fmt: skip
    text = json.dumps(asdict(kept), indent=1, allow_nan=False) + "\n"
    return runtime.write_whole(target / f"{id}.json", text.encode())


@contextlib.contextmanager
def _stopping_at_once() -> Iterator[None]:
    """Inside the block Ctrl-C is not held back by `fit`, which would go on with half a training."""
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is not signal.default_int_handler:
        yield
        return

    def stop(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def kept(id: str, folder: str | Path | None = None) -> Kept | None:
    """The kept long measurement of claim `id`, or None where there is none (as on Colab).

    Raises:
        ValueError: for a file that `measure` did not write.
    """
    base = Path(folder) if folder is not None else Path(".")
    for place in (base / "measured", base / "chapters" / "measured"):
        file = place / f"{id}.json"
        if not file.exists():
            continue
        try:
            found = Kept(**json.loads(file.read_text(encoding="utf-8")))
            found.provenance["fingerprint"], found.provenance["date"], found.readings.items()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{file} is not a kept measurement; run `python -m aelib measure {id}`"
            ) from error
        return found
    return None


def stale(folder: str | Path | None = None) -> list[str]:
    """Kept measurements that are missing, or whose code or settings have changed; empty if fine."""
    wrong, chapters = [], find_chapters(folder)
    known = experiments(folder)
    for id in known:
        found, again = kept(id, chapters), f"run `python -m aelib measure {id}`"
        if found is None:
            wrong.append(f"claim {id} has no kept measurement; {again}")
        elif found.provenance["fingerprint"] != current(id, folder):
            wrong.append(f"claim {id}: its code or settings changed; {again}")
    for file in sorted((chapters / "measured").glob("*.json")):
        if file.stem not in known:
            wrong.append(f"{file.name} belongs to no experiment of the chapters; delete it")
    return wrong
