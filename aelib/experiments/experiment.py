"""What an experiment is, and how it is found, run, kept and judged."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from aelib import checks, figures, random, runtime
from aelib.claims import EARLIER, Card, Claim, Kept, Reading, label
from aelib.experiments.keeping import Result, Scratch, joined, pack, unpack

HOME = Path(__file__).parent / "kept"  # package data: there in a wheel and in Colab


@dataclass(frozen=True)
class Experiment:
    """A question, the claims that answer it, and the run that decides.

    Attributes:
        claims: with their rules, all decided by one run.
        run: called as run(**settings), returns a `Result`.
        short: settings for seconds: a test's, and the reader's own kernel.
        full: settings of record.
        picture: draws a result's figure from what `Result.keep` names.
        chunk: how many of the `seeds` a full run trains before it keeps what it has, so that it
            can be resumed, and made in several processes; None for all. The seeds of a chunk are
            drawn on from those before it, so a run that caches nets by their settings must not be
            cut.
        chunked: the setting that is cut: "seeds", a number, or one that is a list, such as
            "photographs". The readings of the parts are put one behind the other; of what they
            keep, dictionaries are joined, and the first of two things of one name stays.
    """

    claims: Sequence[Claim]
    run: Callable[..., Result]
    short: Mapping[str, Any]
    full: Mapping[str, Any]
    picture: Callable[[Result], Any] | None = None
    chunk: int | None = None
    chunked: str = "seeds"

    def __post_init__(self) -> None:
        if self.chunk is not None:
            checks.choice(self.chunked, f"claim {self.claims[0].id}, chunked", self.full)
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


def each() -> list[str]:
    """One claim's id for every experiment: all that has to be run to judge every claim."""
    return list(dict.fromkeys(found.claims[0].id for found in experiments().values()))


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
    """The kept full measurement of claim `id`, made under whatever profile; None without one.

    Args:
        id: such as "2.5".
        folder: where `measure` kept it; the package's own if None.

    Raises:
        ValueError: for a file that `measure` did not write.

    >>> kept("0.0") is None
    True
    """
    file = (HOME if folder is None else Path(folder)) / f"{id}.json"
    return Kept.load(file) if file.is_file() else None


def full_result(id: str, folder: str | Path | None = None) -> Result:
    """What the full run that decides claim `id` kept: readings, and what pictures draw from.

    The readings are those of every claim that the run decides.

    Raises:
        FileNotFoundError: where no full run is kept; says how to make one.
    """
    run, name = kept(id, folder), find(id).claims[0].id
    home = HOME if folder is None else Path(folder)
    if run is None:
        raise FileNotFoundError(
            checks.message(
                f"{home / id}.json",
                "the full run of a claim",
                checks.Described("nothing there"),
                f"run `python -m aelib measure {id}`",
            )
        )
    others = (kept(each.id, folder) for each in find(id).claims)
    readings = {key: row for other in others if other for key, row in other.readings.items()}
    arrays = home / f"{name}.npz"
    return Result(readings | dict(run.readings), unpack(arrays) if arrays.is_file() else {})


def card(id: str, live: Result | None = None, folder: str | Path | None = None) -> Card:
    """The claim judged by its kept run, with a live run beside it if there was one."""
    return claim(id).judge(live.readings if live else None, kept(id, folder))


def ledger() -> list[dict[str, Any]]:
    """The record of every claim that has a kept run, judged by it, in the order of the ids."""
    runs = {id: kept(id) for id in experiments()}
    return [
        {
            **claim(id).judge(None, run).record,
            "settings": dict(run.settings),
            "machine": run.record["machine"],
            "file": f"aelib/experiments/{Path(inspect.getfile(find(id).run)).name}",
        }
        for id, run in runs.items()
        if run is not None
    ]


def measure(
    id: str | Experiment, folder: str | Path | None = None, resume: bool = False, jobs: int = 1
) -> list[Path]:
    """Run the experiment of claim `id` at full length, and short as its witness; keep both.

    Of a run that it takes the place of, how stable it was stays, if its settings were these and its
    witness still holds; and its verdict beside it, if its seeds were others.

    Ctrl-C stops it at once. Of a run that is made in chunks the chunks that were done stay, and
    `resume` goes on behind them; half an experiment has no verdict, so nothing else is kept.

    Args:
        id: such as "2.5"; the other claims of its experiment are measured with it. Or an
            experiment of your own, such as one of the book's with other settings.
        folder: where to keep the result; the package's own if None, but not an experiment of your
            own.
        resume: go on with what an earlier call began; without it, begin anew.
        jobs: how many chunks at a time, each in a process of its own.

    Returns:
        The files written: one for each claim, and what pictures draw from.

    Raises:
        ValueError: for an unknown id, readings that are missing or not finite, or chunks that were
            made with other settings or seeds.
        OSError: if the result could not be kept there; raised before the run.
    """
    experiment = id if isinstance(id, Experiment) else find(id)
    if isinstance(id, Experiment) and folder is None:
        raise ValueError(checks.message("folder", "one for an experiment of your own", folder))
    home = runtime.check_writable(HOME if folder is None else folder, "a measurement")
    scratch = Scratch(home / ".unfinished" / experiment.claims[0].id, experiment.full, resume)
    began = datetime.now(timezone.utc)
    with _stopping_at_once():
        long_run = _in_chunks(experiment, scratch, jobs)
        with random.further(-random.offset()):  # a witness of what a reader's kernel will give
            short_run = experiment.run(**experiment.short)
    record = {
        "date": began.isoformat(timespec="seconds"),
        "seconds": f"{scratch.seconds:.0f}",
        "seed_offset": str(random.offset()),
        "profile": runtime.profile().name,
        "machine": runtime.machine(),
        **runtime.versions(),
    }
    result = []
    for each in experiment.claims:
        each.read(long_run.readings, f"full run of claim {each.id}")
        today = each.read(short_run.readings, f"short run of claim {each.id}")
        witness = {name: (found.value, found.low, found.high) for name, found in today.items()}
        known = {label(key): values for key, values in long_run.readings.items()}
        values = {name: known[name].reshape(-1).tolist() for name in map(label, each.keys)}
        rows = _earlier(each, experiment.full, today, home)
        result.append(Kept(each.id, values, experiment.full, record, witness, rows))
    paths = [each.save(home) for each in result]
    if long_run.keep:
        shown = {name: long_run.show[name] for name in long_run.keep}
        paths.append(runtime.write_whole(home / f"{experiment.claims[0].id}.npz", pack(shown)))
    if experiment.picture:
        drawn = figures.png(experiment.picture(long_run))
        paths.append(runtime.write_whole(home / f"{experiment.claims[0].id}.png", drawn))
    scratch.remove()
    return paths


VARIATIONS: Mapping[str, Mapping[str, str]] = {
    "other seeds": {"AELIB_SEED_OFFSET": "1000"},
    "other seeds again": {"AELIB_SEED_OFFSET": "2000"},
    "two threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "other kernels": {
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}
FULL_IF_UNDER = 600  # seconds for all of them together, by what the full run took


def vary(id: str, folder: str | Path | None = None, jobs: int = 1) -> list[Path]:
    """Run the experiment of claim `id` again with what should not matter changed; keep verdicts.

    Each of `VARIATIONS` is a process of its own: at full length where the full run was made on a
    machine like this one, and all of them together take under ten minutes; else short, and then
    the short run is made once more with nothing changed.

    Args:
        id: such as "2.5"; the other claims of its experiment are judged with it.
        folder: where `measure` kept the full run.
        jobs: how many processes at a time.

    Raises:
        FileNotFoundError: where no full run is kept.
        RuntimeError: for a process that failed; nothing is then kept.
    """
    experiment = find(id)
    home = runtime.check_writable(HOME if folder is None else folder, "a measurement")
    full_result(id, home)  # or there is nothing to vary
    runs = [(each, kept(each.id, home)) for each in experiment.claims]
    records = [run.record for _, run in runs if run]
    here = all(record["machine"] == runtime.machine() for record in records)  # a GPU's are faster
    seconds = max(int(record["seconds"]) for record in records)
    length = "full" if here and seconds * len(VARIATIONS) < FULL_IF_UNDER else "short"
    changes: list[str | None] = [*VARIATIONS] if length == "full" else [None, *VARIATIONS]

    def again(change: str | None) -> dict[str, list[float]]:
        command = [sys.executable, "-m", "aelib.experiments.once", id, length]
        variables = {"OMP_NUM_THREADS": "1", **os.environ, **VARIATIONS.get(change or "", {})}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            last = [f"it ended with {done.returncode}", *done.stderr.strip().splitlines()][-1]
            raise RuntimeError(f"claim {id}, {change or 'nothing changed'}: {last}")
        return json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor(jobs) as pool:
        again_all = dict(zip(changes, pool.map(again, changes), strict=True))
    paths = []
    for each, run in runs:
        if run is None:
            continue
        rows = [dict(row) for row in run.stability if row["change"] == EARLIER]
        rows += [_row(each, readings, change, length) for change, readings in again_all.items()]
        paths.append(run.with_stability(rows).save(home))
    return paths


def _row(claim: Claim, readings: Mapping, change: str | None, length: str) -> dict[str, Any]:
    """What a run says of a claim, as a row of its stability."""
    table = claim.read(readings, f"claim {claim.id}, {change}")
    main = table[label(claim.reading)]
    return {
        "change": change,
        "length": length,
        "verdict": claim.decide(table),
        "value": main.value,
        "low": main.low,
        "high": main.high,
    }


def _earlier(
    claim: Claim, settings: Mapping[str, Any], today: Mapping[str, Reading], home: Path
) -> list[dict[str, Any]]:
    """Rows of stability that an earlier kept run leaves to one that takes its place."""
    with contextlib.suppress(ValueError):  # what cannot be read, or by today's rule, leaves nothing
        before = kept(claim.id, home)
        if before and before.settings == settings and not stale(claim.id, today, home):
            rows = [dict(row) for row in before.stability]
            if before.record["seed_offset"] == str(random.offset()):
                return rows
            rows = [row for row in rows if row["change"] != EARLIER]
            return [*rows, _row(claim, before.readings, EARLIER, "full")]
    return []


def stale(id: str, today: Mapping[str, Reading], folder: str | Path | None = None) -> list[str]:
    """Where today's short run of claim `id` left what stood beside its kept run, in words.

    Args:
        id: the claim's.
        today: the readings of a short run, by label, as on a card.
        folder: where `measure` kept it.

    Returns:
        One sentence for each reading whose mean today lies outside the interval of then, by more
        than a thousandth, which other kernels may make. Of the main one, those of the rule and the
        controls: what the card only shows, such as how far a search came, may move with the
        processor. Empty where the kept run still speaks for the code, or where there is none.
    """
    then, asked = kept(id, folder), claim(id)
    rules = (*asked.supported, *asked.conditional, *asked.refuted)
    decides = {label(key) for key in (asked.reading, *rules, *asked.controls)}
    wrong = []
    for name, (_, low, high) in (then.witness if then else {}).items():
        if name not in today or name not in decides:  # or the claim has ceased to ask for it
            continue
        value = today[name].value
        slack = 1e-3 * max(abs(low), abs(high))
        if not low - slack <= value <= high + slack:
            wrong.append(
                f"claim {id}, {name}: the short run gives {value:.4g}, and gave {low:.4g} to "
                f"{high:.4g} when the full run was kept; run `python -m aelib measure {id}`"
            )
    return wrong


def _in_chunks(experiment: Experiment, scratch: Scratch, jobs: int = 1) -> Result:
    """The full run, a chunk of its seeds, or of another setting, at a time, or `jobs` at a time."""
    every = experiment.full.get(experiment.chunked, 1)
    n = len(every) if isinstance(every, Sequence) else every
    size = experiment.chunk or n
    firsts = range(0, n, size)
    if jobs > 1 and len(firsts) > 1:
        missing = [first for first in firsts if first not in scratch]
        with ProcessPoolExecutor(jobs, get_context("spawn"), _end_at_once) as pool:
            list(pool.map(partial(_keep_chunk, experiment, scratch), missing))
    parts = [scratch.load(first) or _run_chunk(experiment, scratch, first) for first in firsts]
    if len(parts) == 1:
        return parts[0]
    return joined(parts)


def _run_chunk(experiment: Experiment, scratch: Scratch, first: int) -> Result:
    """The chunk that begins with unit `first`; kept, unless it is the whole run."""
    settings = dict(experiment.full)
    every, size = settings.get(experiment.chunked), experiment.chunk
    listed = isinstance(every, Sequence)
    if size and every is not None:
        settings[experiment.chunked] = (
            every[first : first + size] if listed else min(size, every - first)
        )
    began = time.monotonic()
    with random.further(0 if listed else first):
        part = experiment.run(**settings)
    scratch.save(first, part, time.monotonic() - began, whole=settings == experiment.full)
    return part


def _keep_chunk(experiment: Experiment, scratch: Scratch, first: int) -> None:
    """A chunk in a process of its own: what it gives comes back through the scratch folder."""
    _run_chunk(experiment, scratch, first)


def _end_at_once() -> None:
    """Ctrl-C ends a process that makes a chunk; `fit` would hold it back."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
