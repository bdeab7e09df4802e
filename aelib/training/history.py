"""What a training records: the history, who writes it, and the errors that carry it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from aelib import checks, random
from aelib.models import evaluating
from aelib.training.checkpoint import Checkpoint
from aelib.training.learner import Learner, at_home, handed_over
from aelib.training.plan import Plan


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What `fit` recorded: at each record, for each model.

    Attributes:
        steps: optimizer steps done at each record, shape (records,).
        loss: mean training loss since the record before, shape (models, records); NaN at step 0.
        metrics: each metric, shape (models, records).
        seconds: wall time of the training, resumed parts included.
        stopped: "finished", "interrupted" by Ctrl-C; in `TrainingDiverged` "diverged", in
            `CheckpointError` "not saved".
    """

    steps: np.ndarray
    loss: np.ndarray
    metrics: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str = "finished"

    def __getitem__(self, name: str) -> np.ndarray:
        """`history["loss"]` or a metric, shape (models, records)."""
        known = {"loss": self.loss, **self.metrics}
        if name not in known:
            raise KeyError(f"{name!r}; {checks.nearest(name, list(known))}")
        return known[name]

    def __repr__(self) -> str:
        models = f"{len(self.loss)} model{'s' if len(self.loss) != 1 else ''}"
        last = self.loss[:, -1] if self.loss.size else np.array([math.nan])
        loss = "" if np.isnan(last).any() else f", loss {last.mean():.4g}"
        at = self.steps[-1] if len(self.steps) else 0
        return f"History({self.stopped} at step {at}, {models}{loss}, {self.seconds:.1f} s)"


class _Carrying(Exception):
    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


class TrainingDiverged(_Carrying, RuntimeError):
    """The loss became NaN, infinite or a thousand times what it was.

    `history` keeps what came before; the weights are those that diverged.
    """


class CheckpointError(_Carrying, OSError):
    """The checkpoint could not be written; the file keeps what it held.

    `history` keeps what was recorded; the models keep what they have learned.
    """


class Recorder:
    """The records of a training so far, and what belongs to one.

    Attributes:
        done: steps done.
        since: of these, the steps since the last record, over which the loss is a mean.
        steps, rows: the steps recorded, and under each name a number for each model at each.
    """

    def __init__(self, plan: Plan, learners: Sequence[Learner]):
        self.plan, self.learners = plan, learners
        self.done = self.since = 0
        self.steps: list[int] = []
        self.rows: dict[str, list[list[float]]] = {name: [] for name in ("loss", *plan.metrics)}
        self.checkpoint = Checkpoint(plan, learners) if plan.checkpoint else None
        self.began = time.perf_counter()

    def begin(self) -> int:
        """Go on from the checkpoint, or record the start if asked to; the steps done."""
        resumed = self.checkpoint is not None and self.checkpoint.file.exists()
        if self.checkpoint and resumed:
            state = self.checkpoint.load()
            self.done, self.since, self.steps = state["done"], state["since"], state["steps"]
            self.rows, self.began = state["rows"], self.began - state["seconds"]
        if mark := getattr(self.plan.objective, "mark", None):
            mark(self.plan.models)  # what a sampler in a callback has to know
        if not resumed and 0 in self.plan.log_at:
            self.record()
        return self.done

    def due(self, step: int, interrupted: bool) -> bool:
        """Count a step done; whether to record it.

        An interruption's is recorded too, but several processes have to stop at one step, so they
        only look at records.
        """
        self.done, self.since = step, self.since + 1
        return step in self.plan.log_at or (interrupted and self.plan.place.processes == 1)

    def record(self) -> list[float]:
        """Record this step, keep it in the checkpoint and show it to the callback; the losses.

        Raises:
            TrainingDiverged: unless each loss is finite and not far above the first recorded.
            CheckpointError: if the file cannot be written.
        """
        total = torch.cat([learner.total.reshape(-1) for learner in self.learners])
        losses = self.plan.place.mean(total / self.since).tolist()  # NaN before the first step
        if self.since:
            self._check(losses)
        with handed_over(self.learners):
            with at_home(self.plan):
                info = {"step": self.done, "loss": losses, "metrics": self._measure()}
            due = self.done in self.plan.log_at
            if due:
                self._add(info)
                self.since = 0
                for learner in self.learners:
                    learner.total.zero_()
            if self.checkpoint and self.plan.place.rank == 0:
                self._save(self.checkpoint)
            if not due:  # an interruption's: not in the checkpoint, so that a resumed history is
                self._add(info)  # that of an unbroken run
            if self.plan.callback is not None:
                with at_home(self.plan), self._aside(*self.plan.models):
                    self.plan.callback({**info, "models": self.plan.models})
        return losses

    def history(self, stopped: str) -> History:
        """The records as arrays."""
        table = {
            name: np.array(rows, dtype=float).reshape(-1, len(self.plan.models)).T
            for name, rows in self.rows.items()
        }
        seconds = time.perf_counter() - self.began
        return History(np.array(self.steps, dtype=int), table.pop("loss"), table, seconds, stopped)

    def _add(self, info: dict) -> None:
        self.steps.append(info["step"])
        for name, values in {"loss": info["loss"], **info["metrics"]}.items():
            self.rows[name].append(values)

    def _measure(self) -> dict[str, list[float]]:
        """Each metric of each model."""
        metrics: dict[str, list[float]] = {name: [] for name in self.plan.metrics}
        for model in self.plan.models if metrics else []:
            with self._aside(model):
                for name, metric in self.plan.metrics.items():
                    metrics[name].append(float(metric(model)))
        return metrics

    @contextlib.contextmanager
    def _aside(self, *models: nn.Module) -> Iterator[None]:
        """Inside the block models are in eval mode, without gradients, and draws leave no trace."""
        with contextlib.ExitStack() as stack:
            for model in models:
                stack.enter_context(evaluating(model))
            stack.enter_context(torch.no_grad())
            stack.enter_context(random.seeded(None, self.plan.place.device))
            yield

    def _save(self, checkpoint: Checkpoint) -> None:
        seconds = time.perf_counter() - self.began
        state = {"done": self.done, "since": self.since, "steps": self.steps, "rows": self.rows}
        try:
            checkpoint.save({**state, "seconds": seconds})
        except OSError as error:
            raise CheckpointError(
                f"checkpoint: {error}; the models keep what they have learned, and this error's "
                "history the records",
                self.history("not saved"),
            ) from error

    def _check(self, losses: Sequence[float]) -> None:
        first = next((row for row in self.rows["loss"] if not any(map(math.isnan, row))), None)
        for number, loss in enumerate(losses):
            exploded = first is not None and loss > 1000 * max(first[number], 1e-3)
            if math.isfinite(loss) and not exploded:
                continue
            what = "is not finite"
            if first is not None and math.isfinite(loss):
                what = f"has grown to {loss:.3g}, from {first[number]:.3g}"
            since = self.steps[-1] if self.steps else 0
            raise TrainingDiverged(
                f"the loss of model {number} {what}, between steps {since} and {self.done}; its "
                f"weights are lost: build it anew and try a smaller lr (it is {self.plan.lr:g}), a "
                "smaller gain at the start, or precision='no'",
                self.history("diverged"),
            )
