"""What one training is to do: every argument of `fit`, checked before any work."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks, runtime
from aelib.models import count_parameters
from aelib.objectives import Objective
from aelib.training.distributed import place
from aelib.training.dry_run import dry_run, plain_name

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": functools.partial(torch.optim.Adam, fused=True),
    "sgd": torch.optim.SGD,
}
# The factor of lr at each step, by the steps done before it and the steps in all.
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "cosine": lambda done, steps: (1 + math.cos(math.pi * done / steps)) / 2,
    "linear": lambda done, steps: 1 - done / steps,
}


@dataclass(eq=False)
class Plan:
    """The arguments of one `fit`: whatever cannot work is refused here, all else made ready.

    `images` and `labels` become a list of one tensor a model, `log_at` the steps themselves,
    `checkpoint` the file. Beside them stand `sizes`, the images a step of each model, `factor`, the
    factor of lr after so many steps, and `place`, where all of it happens.
    """

    models: list[nn.Module]
    images: list[Tensor]
    objective: Objective
    labels: list[Tensor] | None
    steps: int
    batch_size: int | None
    lr: float
    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Any
    clip: float | None
    ema: float | None
    seed: int
    log_at: Any
    metrics: Any
    callback: Callable[[dict], object] | None
    checkpoint: Path | None
    resume: bool
    vmap: bool | None
    device: Any
    precision: str
    progress: bool | None
    label: str

    @torch.inference_mode(False)
    def __post_init__(self):
        self.models = _models(self.models)
        self.steps = checks.whole(self.steps, "steps", least=1)
        checks.function(self.objective, "objective", "ae.objectives.copy")
        images = _one_each(self.images, "images", len(self.models))
        ready = {id(value): _images(value, self.objective) for value in images}
        self.images = [ready[id(value)] for value in images]
        if self.labels is not None:
            labels = _one_each(self.labels, "labels", len(self.models))
            pairs = zip(labels, self.images, strict=True)
            self.labels = [checks.labels(value, len(its)) for value, its in pairs]
        self.sizes = [len(value) for value in self.images]
        if self.batch_size is not None:
            size = checks.whole(self.batch_size, "batch_size", least=1)
            self.batch_size = min(size, *self.sizes)
            self.sizes = [self.batch_size] * len(self.models)
        self.lr = checks.number(self.lr, "lr", above=0)
        if isinstance(self.optimizer, str):
            checks.choice(self.optimizer, "optimizer", OPTIMIZERS)
            self.optimizer = OPTIMIZERS[self.optimizer]
        checks.function(self.optimizer, "optimizer", "torch.optim.AdamW")
        self.schedule, self.factor = _schedule(self.schedule, self.steps)
        if self.clip is not None:
            self.clip = checks.number(self.clip, "clip", above=0)
        if self.ema is not None:
            self.ema = checks.number(self.ema, "ema", least=0, most=1)
        self.seed = checks.whole(self.seed, "seed")
        self.log_at = _log_steps(self.log_at, self.steps)
        self.metrics = dict(self.metrics or {})
        if "loss" in self.metrics:
            raise ValueError(checks.message("metrics", "names that are not taken", "loss"))
        for name, metric in self.metrics.items():
            checks.function(metric, f"metrics[{name!r}]", "a function of the model")
        if self.callback is not None:
            checks.function(self.callback, "callback", "a function of a dict")
        for name, value, words in (
            ("resume", self.resume, "True or False"),
            ("vmap", self.vmap, "True, False or None"),
        ):
            if not isinstance(value, bool) and not (name == "vmap" and value is None):
                raise TypeError(checks.message(name, words, value))
        self.checkpoint = _checkpoint(self.checkpoint, self.resume)
        self.place = place(self.device, self.precision)
        self.homes = [next(model.parameters()).device for model in self.models]
        for size in self.sizes:
            if size % self.place.processes:
                expected = f"a multiple of {self.place.processes}, the processes that share it"
                raise ValueError(checks.message("batch_size", expected, size))
        smallest = min(self.sizes) // self.place.processes
        labels = self.labels or [None] * len(self.models)
        for model, its, own in zip(self.models, self.images, labels, strict=True):
            dry_run(self.objective, model, its, own, smallest)

    def bar(self, done: int):
        """A bar for a person, drawn by the first process only."""
        show = self.progress if self.place.rank == 0 else False
        return runtime.progress(self.steps, self.label, show, done)


def _models(models) -> list[nn.Module]:
    listed = list(models) if isinstance(models, list | tuple) else [models]
    if not listed:
        raise TypeError(checks.message("models", "a torch.nn.Module, or a list of them", models))
    if len(set(map(id, listed))) < len(listed):
        got = checks.Described("one model twice")
        raise ValueError(checks.message("models", "a model for each seed", got, "build more"))
    for model in listed:
        weights = [*checks.module(model, "models").parameters(), *model.buffers()]
        if any(map(Tensor.is_inference, weights)):
            got = checks.Described(f"{type(model).__name__} made in torch.inference_mode")
            advice = "build it outside"
            raise ValueError(checks.message("models", "one that can learn", got, advice))
        if not count_parameters(model):
            got = checks.Described(f"{type(model).__name__} without parameters to train")
            raise ValueError(checks.message("models", "one that can learn", got))
    return listed


def _one_each(value, name: str, n: int) -> list:
    """One for each model: the list's own, or one for all."""
    listed = list(value) if isinstance(value, list | tuple) else [value] * n
    if len(listed) != n:
        got = checks.Described(f"{len(listed)} of them")
        raise ValueError(
            checks.message(name, f"one tensor for all, or one for each of {n} models", got)
        )
    return listed


def _images(value, objective: Objective) -> Tensor:
    value = checks.images(value)
    if span := getattr(objective, "span", None):
        checks.values_in(value, "images", span)
    checks.usual_range(value)
    return value.clone() if value.is_inference() else value


def _schedule(
    schedule: str | Callable[[int], float] | None, steps: int
) -> tuple[str | None, Callable[[int], float]]:
    """A schedule's name, as a checkpoint keeps it, and the factor of lr after so many steps."""
    if schedule is None:
        return None, lambda done: 1.0
    if callable(schedule):
        return plain_name(schedule), schedule
    chosen = SCHEDULES[checks.choice(schedule, "schedule", SCHEDULES)]
    return f"{schedule} over {steps} steps", lambda done: chosen(done, steps)


def _log_steps(log_at: int | Sequence[int], steps: int) -> frozenset[int]:
    """The steps to record at; the first and the last step are always among them."""
    if isinstance(log_at, int | Integral):
        n = checks.whole(log_at, "log_at", least=1)
        even = np.linspace(steps / n, steps, n).round().astype(int).tolist()
        return frozenset(step for step in even if step > 0) | {1, steps}
    chosen = (checks.whole(step, "log_at", least=0, most=steps, limit="steps") for step in log_at)
    return frozenset(chosen) | {1, steps}


def _checkpoint(path: str | Path | None, resume: bool) -> Path | None:
    """The checkpoint's file, after making sure that it may be written, or resumed from."""
    if path is None:
        if resume:
            got = checks.Described("resume=True alone")
            raise ValueError(checks.message("checkpoint", "a file to resume from", got))
        return None
    file = Path(path)
    if file.is_dir():
        raise ValueError(checks.message("checkpoint", "a file", f"{file}", "name a file in it"))
    runtime.check_writable(file.parent, "a checkpoint")
    if file.exists() and not resume:
        advice = "resume=True goes on from it, or give another name"
        got = checks.Described(f"{file}, which exists")
        raise FileExistsError(checks.message("checkpoint", "a new file", got, advice))
    return file
