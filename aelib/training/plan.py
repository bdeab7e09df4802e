"""What one training is to do: every argument of `fit`, checked before any work."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from aelib import checks, runtime
from aelib.models import count_parameters
from aelib.objectives import Objective
from aelib.training.distributed import Place, place
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


@dataclass(frozen=True)
class Plan:
    """The arguments of one `fit`, each as the training needs it.

    `images` and `labels` hold one tensor a model, `sizes` the images a step of each, `factor` gives
    the factor of lr after so many steps.
    """

    models: list[nn.Module]
    images: list[Tensor]
    labels: list[Tensor] | None
    objective: Objective
    steps: int
    batch_size: int | None
    sizes: list[int]
    lr: float
    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: str | None
    factor: Callable[[int], float]
    ema: float | None
    seed: int
    log_at: frozenset[int]
    metrics: dict[str, Callable]
    callback: Callable[[dict], object] | None
    checkpoint: Path | None
    vmap: bool | None
    place: Place
    bar: Callable


@torch.inference_mode(False)
def check_fit(
    models, images, objective, labels, steps, batch_size, lr, optimizer, schedule, ema, seed,
    log_at, metrics, callback, checkpoint, resume, vmap, device, precision, progress, label,
) -> Plan:  # fmt: skip
    """The plan for these arguments of `fit`; whatever cannot work is refused here, in its words."""
    models = _models(models)
    steps = checks.whole(steps, "steps", least=1)
    checks.function(objective, "objective", "ae.objectives.copy")
    images = _one_each(images, "images", len(models))
    distinct = {id(value): _images(value, objective) for value in images}
    images = [distinct[id(value)] for value in images]
    if labels is not None:
        pairs = zip(_one_each(labels, "labels", len(models)), images, strict=True)
        labels = [checks.labels(value, len(its)) for value, its in pairs]
    sizes = [len(value) for value in images]
    if batch_size is not None:
        batch_size = min(checks.whole(batch_size, "batch_size", least=1), *sizes)
        sizes = [batch_size] * len(models)
    lr = checks.number(lr, "lr", above=0)
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[checks.choice(optimizer, "optimizer", OPTIMIZERS)]
    checks.function(optimizer, "optimizer", "functools.partial(torch.optim.SGD, momentum=0.9)")
    name, factor = _schedule(schedule, steps)
    metrics = dict(metrics or {})
    if "loss" in metrics:
        raise ValueError(checks.message("metrics", "another name, for it is taken", "loss"))
    for key, metric in metrics.items():
        checks.function(metric, f"metrics[{key!r}]", "a function of the model")
    if callback is not None:
        checks.function(callback, "callback", "a function of a dict")
    here = place(device, precision)
    for size in sizes:
        if size % here.processes:
            expected = f"a multiple of {here.processes}, the processes that share it"
            raise ValueError(checks.message("batch_size", expected, size))
    for model, its, own in zip(models, images, labels or [None] * len(models), strict=True):
        dry_run(objective, model, its, own, min(sizes) // here.processes)
    return Plan(
        models=models,
        images=images,
        labels=labels,
        objective=objective,
        steps=steps,
        batch_size=batch_size,
        sizes=sizes,
        lr=lr,
        optimizer=optimizer,
        schedule=name,
        factor=factor,
        ema=None if ema is None else checks.number(ema, "ema", least=0, most=1),
        seed=checks.whole(seed, "seed"),
        log_at=_log_steps(log_at, steps),
        metrics=metrics,
        callback=callback,
        checkpoint=_checkpoint(checkpoint, resume),
        vmap=vmap,
        place=here,
        bar=functools.partial(
            runtime.progress, steps, label, progress if here.rank == 0 else False
        ),
    )


def _models(models) -> list[nn.Module]:
    listed = list(models) if isinstance(models, list | tuple) else [models]
    if not listed or not all(isinstance(model, nn.Module) for model in listed):
        raise TypeError(checks.message("models", "a torch.nn.Module, or a list of them", models))
    if len({id(model) for model in listed}) < len(listed):
        got = checks.Described("one model twice")
        raise ValueError(
            checks.message("models", "one model for each seed", got, "use models.replicate")
        )
    for model in listed:
        tensors = [*model.parameters(), *model.buffers()]
        for unusable, what, advice in (
            (is_lazy, "lazy", "call the model on some images first"),
            (lambda value: value.is_meta, "on the device meta", "build the model on a real one"),
            (Tensor.is_inference, "made in inference mode", "build the model outside it"),
        ):
            if any(map(unusable, tensors)):
                got = checks.Described(f"some that are {what}")
                raise ValueError(
                    checks.message("models", "weights that can be trained", got, advice)
                )
        if not count_parameters(model):
            got = checks.Described(f"{type(model).__name__} with none")
            raise ValueError(checks.message("models", "weights that can be trained", got))
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
