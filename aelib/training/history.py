"""What a training saw: the records, and the error that carries them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from aelib import checks


class TrainingDiverged(RuntimeError):
    """The loss became NaN, infinite or a thousand times what it was.

    `history` keeps what came before.
    """

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What `fit` saw: at each record, for each seed.

    Attributes:
        steps: optimiser steps done at each record, shape (records,).
        loss: mean training loss since the record before, shape (seeds, records); NaN at step 0.
        watched: each watched number, shape (seeds, records).
        seconds: wall time of the training, resumed parts included.
        stopped: "finished", "interrupted" by Ctrl-C, or "diverged" (in `TrainingDiverged`).
    """

    steps: np.ndarray
    loss: np.ndarray
    watched: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str = "finished"

    def __getitem__(self, name: str) -> np.ndarray:
        """`history["loss"]` or a watched number, shape (seeds, records)."""
        known = {"loss": self.loss, **self.watched}
        if name not in known:
            raise KeyError(f"{name!r}; {checks.nearest(name, list(known))}")
        return known[name]

    def __repr__(self) -> str:
        seeds = f"{len(self.loss)} seed{'s' if len(self.loss) != 1 else ''}"
        last = self.loss[:, -1] if self.loss.size else np.array([math.nan])
        loss = "" if np.isnan(last).any() else f", loss {last.mean():.4g}"
        at = self.steps[-1] if len(self.steps) else 0
        return f"History({self.stopped} at step {at}, {seeds}{loss}, {self.seconds:.1f} s)"


class Seen:
    """The records so far."""

    def __init__(self, names: Sequence[str], seeds: int):
        self.seeds, self.seconds = seeds, 0.0
        self.steps: list[int] = []
        self.rows: dict[str, list[list[float]]] = {name: [] for name in ("loss", *names)}

    def add(self, step: int, losses: list[float], watched: dict[str, list[float]]) -> None:
        """One record: a loss, and each watched number, for each seed."""
        self.steps.append(step)
        for name, row in {"loss": losses, **watched}.items():
            self.rows[name].append(row)

    def history(self, seconds: float, stopped: str) -> History:
        """The records as arrays."""
        table = {
            name: np.array(rows, dtype=float).reshape(-1, self.seeds).T
            for name, rows in self.rows.items()
        }
        loss = table.pop("loss")
        return History(np.array(self.steps, dtype=int), loss, table, seconds, stopped)


def check_loss(
    losses: Sequence[float], seen: Seen, step: int, lr: float, history: Callable[[str], History]
) -> None:
    """Raise `TrainingDiverged` unless each loss is finite and not far above the first recorded."""
    first = next((row for row in seen.rows["loss"] if not any(map(math.isnan, row))), None)
    for number, loss in enumerate(losses):
        exploded = first is not None and loss > 1000 * max(first[number], 1e-3)
        if math.isfinite(loss) and not exploded:
            continue
        what = "is not finite"
        if math.isfinite(loss):
            what = f"has grown to {loss:.3g}, from {first[number]:.3g}"
        since = seen.steps[-1] if seen.steps else 0
        raise TrainingDiverged(
            f"the loss of model {number} {what}, between steps {since} and {step}; try a smaller "
            f"lr (it is {lr:g}), a smaller gain at the start, or precision='no'",
            history("diverged"),
        )
