"""`fit`: one training loop for every model, one seed or many, on whatever device there is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks, objectives, random, runtime
from aelib.models import count_parameters
from aelib.training import checkpoint as checkpoints
from aelib.training.history import History, Seen, check_loss
from aelib.training.launch import accelerator as accelerate
from aelib.training.run import OPTIMISERS, Run, borrowed
from aelib.training.stack import Stack
from aelib.training.trial import try_objective

# On a CPU one batched graph pays only while a step, parameters × batch of one model, is so small
# that the time goes into calling the operators. benchmarks/seeds.py: any limit from 2 to 4.7
# million loses least over three and ten seeds; above it the ways without a graph cost the same.
SMALL_STEP = 4_000_000


def fit(
    models: nn.Module | Sequence[nn.Module],
    images: Tensor | Sequence[Tensor],
    *,
    objective: objectives.Objective = objectives.copy,
    labels: Tensor | Sequence[Tensor] | None = None,
    steps: int = 1000,
    batch: int | None = 64,
    lr: float = 1e-3,
    optimiser: str | Callable[..., torch.optim.Optimizer] = "adam",
    seed: int = 0,
    record: int | Sequence[int] = 50,
    watch: Mapping[str, Callable[[nn.Module], float | Tensor]] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    together: bool | None = None,
    device: str | torch.device | None = None,
    precision: str = "no",
    progress: bool | None = None,
    label: str = "training",
) -> History:
    """Train a model, or one model per seed, in place; return what was seen on the way.

    Args:
        models: a model, or a list of them (`models.replicate`), one per seed, all trained in this
            one call. They come back on the device they came from.
        images: (n, channels, height, width), finite floats; one tensor for all, or one per model.
        objective: one loss per example (`objectives`); its mean over the batch is minimised. It
            is tried on two images before the first step.
        labels: whole numbers, (n,), one tensor for all or one per model, drawn with the images; the
            objective is then called as objective(net, images, labels).
        steps: optimiser steps.
        batch: images a step, drawn at random; None for all of them, in order.
        lr: step size.
        optimiser: "adam", "sgd", or a callable such as `functools.partial(torch.optim.SGD,
            momentum=0.9)`; it is called as optimiser(parameters, lr=lr).
        seed: the i-th model draws its batches from seed + i. What a model or an objective draws
            (dropout, noise) comes from torch's global generator, which starts at `seed` for this
            call, is shared by the list, and afterwards is as it was.
        record: how many records, evenly spaced, or the very steps to record at (0 is before
            training). The first and the last step are recorded in any case.
        watch: numbers to follow, each a function of the model, evaluated at every record without
            gradients and in eval mode.
        checkpoint: a file (safetensors) written at every record, whole or not at all.
        resume: go on from the checkpoint if there is one; the end is bit for bit that of an
            unbroken run on the same machine. `steps` may be larger than before.
        together: train the seeds in one batched graph (True) or side by side, step by step (False).
            None takes what benchmarks/seeds.py measured as cheaper here. Both see the same batches.
        device: where to train; None is Accelerate's choice (a GPU if there is one). Launched by
            `accelerate launch`, each process takes its share of every batch.
        precision: "no" for float32, "bf16" or "fp16" for Accelerate's mixed precision.
        progress: draw a bar; None draws it for a person only.
        label: the bar's name.

    Returns:
        A `History`. After Ctrl-C it is shorter, `stopped` says "interrupted", and the models (and
        the checkpoint) are those of the last whole step. A second Ctrl-C stops at once. With
        several processes the first one waits for the next record.

    Raises:
        ValueError, TypeError: for arguments that cannot work, before the first step.
        FileExistsError: if the checkpoint is there and `resume` is False.
        TrainingDiverged: if the loss stops being finite or explodes; carries the history.

    Source: chapter 1, "One loop".
    """
    nets = list(models) if isinstance(models, list | tuple) else [models]
    _check_nets(nets)
    sets = list(images) if isinstance(images, list | tuple) else [images] * len(nets)
    if len(sets) != len(nets):
        raise ValueError(
            f"images: expected one tensor, or one per model ({len(nets)}), got {len(sets)}"
        )
    for one in {id(one): one for one in sets}.values():
        checks.usual_range(checks.images(one))
    known = None if labels is None else _check_labels(labels, sets)
    steps = checks.whole(steps, "steps", least=1)
    seed = checks.whole(seed, "seed")
    sizes = [len(one) for one in sets]
    if batch is not None:
        batch = min(checks.whole(batch, "batch", least=1), *sizes)
        sizes = [batch]
    if isinstance(lr, bool) or not (isinstance(lr, Real) and math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr: expected a positive number, got {lr!r}")
    if isinstance(optimiser, str) and optimiser not in OPTIMISERS:
        raise ValueError(
            f"optimiser is {optimiser!r}; {checks.nearest(optimiser, list(OPTIMISERS))}"
        )
    records = _record_steps(record, steps)
    watch = dict(watch or {})
    if "loss" in watch or not all(map(callable, watch.values())):
        raise ValueError(f"watch: expected functions by name, not by the name loss, got {watch}")
    for net, one, its in zip(nets, sets, known or [None] * len(nets), strict=True):
        try_objective(objective, net, one, its)
    file = checkpoints.check(checkpoint, resume)

    accelerator = accelerate(device, precision)
    place, share = accelerator.device, accelerator.num_processes
    for size in sizes:
        if size % share:
            raise ValueError(
                f"batch: {size} images cannot be shared by {share} processes; change batch"
            )
    seen = Seen(tuple(watch), len(nets))
    stopped = "finished"
    with borrowed(nets, place), random.seeded(seed, place):
        stack = _stack(nets, sets, known, objective, sizes, together, place)
        run = Run(nets, sets, known, stack, objective, batch, lr, optimiser, seed, accelerator)
        about = run.about() if file else {}
        if file and resume and file.exists():
            checkpoints.load(file, run, seen, about, steps)
        began = time.perf_counter() - seen.seconds

        def history(how: str) -> History:
            return seen.history(time.perf_counter() - began, how)

        show = progress if accelerator.is_main_process else False
        bar = runtime.progress(steps, label, show, done=run.step)
        try:
            with bar, runtime.interruptible() as interrupted:
                if run.step == 0 and 0 in records:
                    seen.add(0, [math.nan] * len(nets), run.measure(watch))
                while run.step < steps:
                    run.advance()
                    bar.update()
                    due = run.step in records
                    # Many processes have to stop at one step, so they only look at records.
                    if not due and (share > 1 or not interrupted.is_set()):
                        continue
                    losses = run.losses()
                    check_loss(losses, seen, run.step, lr, history)
                    row = (run.step, losses, run.measure(watch))
                    stop = run.anywhere(interrupted.is_set()) and run.step < steps
                    if due:
                        seen.add(*row)
                        run.start_mean()
                    if file and accelerator.is_main_process:
                        seen.seconds = time.perf_counter() - began
                        checkpoints.save(file, run, seen, about)
                    if not due:  # an interruption's: not in the checkpoint, so that a resumed
                        seen.add(*row)  # history is that of an unbroken run
                    bar.set_postfix_str(f"loss {np.mean(losses):.4g}", refresh=False)
                    if stop:
                        stopped = "interrupted"
                        break
        finally:
            run.release()
    return history(stopped)


def _check_nets(nets: Sequence[nn.Module]) -> None:
    if not nets or not all(isinstance(net, nn.Module) for net in nets):
        raise TypeError("models: expected an nn.Module or a non-empty list of them")
    if len({id(net) for net in nets}) < len(nets):
        raise ValueError("models: one model stands there twice; build one for each seed")
    if not all(map(count_parameters, nets)):
        raise ValueError("models: one of them has no parameters to train")


def _check_labels(labels: Tensor | Sequence[Tensor], sets: Sequence[Tensor]) -> list[Tensor]:
    """The labels of each model, int64, one for each of its images."""
    each = list(labels) if isinstance(labels, list | tuple) else [labels] * len(sets)
    if len(each) != len(sets):
        raise ValueError(
            f"labels: expected one tensor, or one per model ({len(sets)}), got {len(each)}"
        )
    for one, images in zip(each, sets, strict=True):
        if not isinstance(one, Tensor) or one.is_floating_point() or one.dtype == torch.bool:
            came = one.dtype if isinstance(one, Tensor) else type(one).__name__
            raise TypeError(f"labels: expected a tensor of whole numbers, got {came}; try .long()")
        if one.shape != images.shape[:1]:
            raise ValueError(
                f"labels: expected one for each of the {len(images)} images, shape "
                f"({len(images)},), got {tuple(one.shape)}"
            )
    distinct = {id(one): one.long() for one in each}
    return [distinct[id(one)] for one in each]


def _record_steps(record: int | Sequence[int], steps: int) -> frozenset[int]:
    """The steps to record at; the first and the last step are always among them."""
    if isinstance(record, Integral):
        count = checks.whole(record, "record", least=1)
        wanted = np.linspace(steps / count, steps, count).round().astype(int).tolist()
        return frozenset(step for step in wanted if step > 0) | {1, steps}
    chosen = [checks.whole(step, "record", least=0) for step in record]
    if any(step > steps for step in chosen):
        raise ValueError(f"record: expected steps between 0 and {steps}, got {chosen}")
    return frozenset(chosen) | {1, steps}


def _stack(nets, sets, labels, objective, sizes, together, place) -> Stack | None:
    """The models as one graph, if that is asked for, or possible and cheaper."""
    if len(nets) == 1 or together is False:
        return None
    small = sizes[0] * count_parameters(nets[0]) <= SMALL_STEP
    if together is None and runtime.is_cpu(place) and not small:
        return None
    try:
        if len(set(sizes)) > 1:
            raise ValueError("together: without batch= all models need as many images")
        pair = sets[0][:2].to(place)
        given = [pair.expand(len(nets), *pair.shape)]
        if labels is not None:
            given.append(labels[0][:2].to(place).expand(len(nets), -1))
        return Stack(nets, lambda stack: objective(stack, *given))
    except ValueError:
        if together:
            raise
        return None
