"""What an experiment is, and how it is found, run, kept and judged."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import pkgutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aelib import checks, runtime
from aelib.claims import Card, Claim, Kept, Reading, label, read

HOME = Path(__file__).parent / "kept"  # package data: there in a wheel and in Colab


@dataclass(frozen=True)
class Result:
    """What a run gives.

    Attributes:
        readings: by key (a text, or a tuple where they are a table), one number per seed: arrays of
            shape (seeds,), made of whatever row of numbers was given, or () for a closed form.
        show: whatever the picture and the lesson draw from: images, curves, models, by name.

    >>> Result({"gain": [1.0, 2.0, 3.0]})["gain"].shape
    (3,)
    """

    readings: Mapping[Any, Any]
    show: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {key: np.asarray(values, dtype=float) for key, values in self.readings.items()}
        object.__setattr__(self, "readings", arrays)

    def __getitem__(self, key: Any) -> np.ndarray:
        """A reading."""
        return self.readings[key]


@dataclass(frozen=True)
class Experiment:
    """A question, the claims that answer it, and the run that decides.

    Attributes:
        claims: with their rules, all decided by one run.
        run: called as run(**settings), returns a `Result`.
        short: settings for seconds: a test's, and the reader's own kernel.
        full: settings of record.
    """

    claims: Sequence[Claim]
    run: Callable[..., Result]
    short: Mapping[str, Any]
    full: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, settings in (("short", self.short), ("full", self.full)):
            try:
                inspect.signature(self.run).bind(**settings)
                json.dumps(settings, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"experiment of claim {self.claims[0].id}, {name}: {error}"
                ) from error


@cache
def experiments() -> dict[str, Experiment]:
    """Every experiment, by the id of each of its claims, in the order of the ids.

    Raises:
        ValueError: for a claim that two experiments decide.
    """
    result: dict[str, Experiment] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        content = importlib.import_module(f"aelib.experiments.{module.name}")
        experiment = getattr(content, "EXPERIMENT", None)
        if not isinstance(experiment, Experiment):
            continue
        for each in experiment.claims:
            if each.id in result:
                raise ValueError(f"claim {each.id}: two experiments decide it")
            result[each.id] = experiment
    return dict(sorted(result.items(), key=lambda item: [int(n) for n in item[0].split(".")]))


def find(id: str) -> Experiment:
    """The experiment that decides claim `id`.

    Raises:
        ValueError: for an id that no experiment has; lists those there are.
    """
    known = experiments()
    if id not in known:
        raise ValueError(checks.message("id", "a claim's", id, checks.nearest(id, list(known))))
    return known[id]


def claim(id: str) -> Claim:
    """The claim with this id."""
    return next(each for each in find(id).claims if each.id == id)


def short(id: str) -> Result:
    """Run the experiment of claim `id` in seconds: the chapter's live run."""
    experiment = find(id)
    return experiment.run(**experiment.short)


def full(id: str) -> Result:
    """Run the experiment of claim `id` at full length."""
    experiment = find(id)
    return experiment.run(**experiment.full)


def kept(id: str, folder: str | Path | None = None) -> Kept | None:
    """The kept full measurement of claim `id`; None where there is none, or another profile's.

    Args:
        id: such as "2.5".
        folder: where `measure` kept it; the package's own if None.

    Raises:
        ValueError: for a file that `measure` did not write.

    >>> kept("0.0") is None
    True
    """
    file = (HOME if folder is None else Path(folder)) / f"{id}.json"
    if not file.is_file():
        return None
    result = Kept.load(file)
    return result if result.record["profile"] == runtime.profile().name else None


def card(id: str, live: Result, folder: str | Path | None = None) -> Card:
    """The claim judged by a live run, with the kept run beside it where there is one."""
    return claim(id).judge(live.readings, kept(id, folder))


def ledger() -> list[dict[str, Any]]:
    """The record of every claim that has a kept run, judged by it, in the order of the ids."""
    runs = {id: kept(id) for id in experiments()}
    return [
        {**claim(id).judge(run.readings).record, "settings": dict(run.settings), **_about(run)}
        for id, run in runs.items()
        if run is not None
    ]


def _about(run: Kept) -> dict[str, str]:
    return {"date": run.record["date"], "machine": run.record["machine"]}


def measure(id: str, folder: str | Path | None = None) -> list[Path]:
    """Run the experiment of claim `id` at full length, and short as its witness; keep both.

    Ctrl-C stops it at once and keeps nothing: half an experiment has no verdict.

    Args:
        id: such as "2.5"; the other claims of its experiment are measured with it.
        folder: where to keep the result; the package's own if None.

    Returns:
        The files written, one for each claim.

    Raises:
        ValueError: for an unknown id, or readings that are missing or not finite.
        OSError: if the result could not be kept there; raised before the run.
    """
    experiment = find(id)
    home = runtime.check_writable(HOME if folder is None else folder, "a measurement")
    began = datetime.now(timezone.utc)
    with _stopping_at_once():
        long_run = _readings(experiment, experiment.full)
        took = datetime.now(timezone.utc) - began
        short_run = _readings(experiment, experiment.short)
    record = {
        "date": began.isoformat(timespec="seconds"),
        "seconds": f"{took.total_seconds():.0f}",
        "profile": runtime.profile().name,
        "machine": runtime.machine(),
        **runtime.versions(),
    }
    result = []
    for each in experiment.claims:
        names = [label(key) for key in each.keys]
        each.read(long_run, f"full run of claim {each.id}")
        witness = {
            name: (reading.value, reading.low, reading.high)
            for name, reading in each.read(short_run, f"short run of claim {each.id}").items()
        }
        values = {name: list(read(long_run[name], "closed form").values) for name in names}
        result.append(Kept(each.id, values, experiment.full, record, witness))
    return [each.save(home) for each in result]


def stale(id: str, today: Mapping[str, Reading], folder: str | Path | None = None) -> list[str]:
    """Where today's short run of claim `id` left what stood beside its kept run, in words.

    Args:
        id: the claim's.
        today: the readings of a short run, by label, as on a card.
        folder: where `measure` kept it.

    Returns:
        One sentence for each reading whose mean today lies outside the interval of then. Empty
        where the kept run still speaks for the code, or where there is none.
    """
    then = kept(id, folder)
    wrong = []
    for name, (_, low, high) in (then.witness if then else {}).items():
        if name not in today:  # the claim has ceased to ask for it
            continue
        value = today[name].value
        slack = 1e-6 * max(abs(low), abs(high))
        if not low - slack <= value <= high + slack:
            wrong.append(
                f"claim {id}, {name}: the short run gives {value:.4g}, and gave {low:.4g} to "
                f"{high:.4g} when the full run was kept; run `python -m aelib measure {id}`"
            )
    return wrong


def _readings(experiment: Experiment, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {label(key): values for key, values in experiment.run(**settings).readings.items()}


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
