"""`fit`: one training loop for every model, one seed or many, on whatever device there is."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aelib import objectives, runtime
from aelib.data import check_images
from aelib.models import check_copies, count_parameters
from aelib.training import checkpoint as checkpoints
from aelib.training.history import History, Seen, check_loss
from aelib.training.run import OPTIMISERS, Run

# On a CPU one batched graph pays only while a step is so small that the time goes into calling the
# operators; measured in benchmarks/seeds.py as parameters × batch, per seed.
SMALL_STEP = 4_000_000


def fit(
    models: nn.Module | Sequence[nn.Module],
    images: Tensor | Sequence[Tensor],
    *,
    objective: objectives.Objective = objectives.copy,
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
        models: an autoencoder, or a list of them (`models.replicate`), one per seed, all trained in
            this one call. They come back on the device they came from.
        images: (n, channels, height, width), finite floats; one tensor for all, or one per model.
        objective: one loss per example (`objectives`); its mean over the batch is minimised.
        steps: optimiser steps.
        batch: images a step, drawn at random; None for all of them, in order.
        lr: step size.
        optimiser: "adam", "sgd", or a callable such as `functools.partial(torch.optim.SGD,
            momentum=0.9)`; it is called as optimiser(parameters, lr=lr).
        seed: the i-th model draws its batches from seed + i.
        record: how many records, evenly spaced, or the very steps to record at (0 is before
            training).
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
        the checkpoint) are those of the last whole step.

    Raises:
        ValueError, TypeError: for arguments that cannot work, before the first step.
        FileExistsError: if the checkpoint is there and `resume` is False.
        TrainingDiverged: if the loss stops being finite or explodes; carries the history.

    Source: chapter 1, "One loop".
    """
    nets = [models] if isinstance(models, nn.Module) else list(models)
    if not nets or not all(isinstance(net, nn.Module) for net in nets):
        raise TypeError("models: expected an nn.Module or a non-empty list of them")
    sets = [images] * len(nets) if isinstance(images, Tensor) else list(images)
    if len(sets) != len(nets):
        raise ValueError(
            f"images: expected one tensor, or one per model ({len(nets)}), got {len(sets)}"
        )
    for number, one in enumerate(sets):
        if number == 0 or one is not sets[0]:
            check_images(one, "images")
    _check_count("steps", steps)
    smallest = min(len(one) for one in sets)
    if batch is not None:
        _check_count("batch", batch)
        batch = min(batch, smallest)
    if not (isinstance(lr, int | float) and math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr: expected a positive number, got {lr!r}")
    if isinstance(optimiser, str) and optimiser not in OPTIMISERS:
        raise ValueError(
            f"optimiser is {optimiser!r}; {runtime.nearest(optimiser, list(OPTIMISERS))}"
        )
    records = _record_steps(record, steps)
    for net, one in zip(nets, sets, strict=True):
        home = next(net.parameters(), one).device
        check_copies(net, one[:2].to(home))
    file = checkpoints.check(checkpoint, resume)

    accelerator = _accelerator(device, precision)
    share = accelerator.num_processes
    if (batch or smallest) % share:
        raise ValueError(
            f"batch: {batch or smallest} images cannot be shared by {share} processes; change batch"
        )
    if together is None:
        small = (batch or smallest) * count_parameters(nets[0]) < SMALL_STEP
        together = (
            len(nets) > 1 and (accelerator.device.type != "cpu" or small) and _can_stack(nets, sets)
        )
    run = Run(
        nets, sets, objective, batch, lr, optimiser, seed, together and len(nets) > 1, accelerator
    )
    seen = Seen(tuple(watch or ()), len(nets))
    about = run.about(seed) if file else {}
    if file and resume and file.exists():
        checkpoints.load(file, run, seen, about)

    began = time.perf_counter() - seen.seconds
    stopped = "finished"
    bar = runtime.progress(steps, label, progress if accelerator.is_main_process else False)
    bar.update(run.step)

    def history(how: str) -> History:
        return seen.history(time.perf_counter() - began, how)

    try:
        with bar, _interruptible() as interrupted:
            if run.step == 0 and 0 in records:
                seen.add(0, [math.nan] * len(nets), run.measure(watch or {}))
            while run.step < steps:
                run.advance()
                last = interrupted.is_set() or run.step == steps
                if run.step in records or last:
                    losses = run.losses()
                    check_loss(losses, seen, run.step, lr, history)
                    seen.add(run.step, losses, run.measure(watch or {}))
                    if file and accelerator.is_main_process:
                        seen.seconds = time.perf_counter() - began
                        checkpoints.save(file, run, seen, about)
                    bar.update(run.step - bar.n)
                    bar.set_postfix_str(f"loss {np.mean(losses):.4g}", refresh=False)
                if interrupted.is_set() and run.step < steps:
                    stopped = "interrupted"
                    break
    finally:
        run.release()
    return history(stopped)


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected a whole number of 1 or more, got {value!r}")


def _record_steps(record: int | Sequence[int], steps: int) -> frozenset[int]:
    """The steps to record at; the first and the last step are always among them."""
    if isinstance(record, int):
        _check_count("record", record)
        wanted = np.linspace(steps / record, steps, record).round().astype(int).tolist()
    else:
        wanted = [int(step) for step in record]
        if any(step < 0 or step > steps for step in wanted):
            raise ValueError(f"record: expected steps between 0 and {steps}, got {wanted}")
    return frozenset(wanted) | {1, steps}


def _can_stack(nets: Sequence[nn.Module], sets: Sequence[Tensor]) -> bool:
    """Whether the models can share one graph: one architecture, no buffers, sets of one length."""
    alike = {tuple((name, tuple(p.shape)) for name, p in net.named_parameters()) for net in nets}
    return (
        len(alike) == 1
        and not any(True for _ in nets[0].buffers())
        and len({len(s) for s in sets}) == 1
    )


def _accelerator(device: str | torch.device | None, precision: str):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if precision not in ("no", "bf16", "fp16"):
        raise ValueError(
            f"precision is {precision!r}; {runtime.nearest(precision, ('no', 'bf16', 'fp16'))}"
        )
    on_cpu = device is not None and runtime.device(device).type == "cpu"
    if AcceleratorState._shared_state:
        # Accelerate keeps the first choice of device and precision for the whole process.
        state = AcceleratorState()
        if state.mixed_precision != precision or (state.device.type == "cpu") != (
            on_cpu or not torch.accelerator.is_available()
        ):
            AcceleratorState._reset_state(reset_partial_state=state.num_processes == 1)
    return Accelerator(cpu=on_cpu, mixed_precision=precision)


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Inside the block the first Ctrl-C only sets the event, so that the step under way ends whole."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number, frame):
        event.set()
        signal.signal(signal.SIGINT, before)  # a second one is not held back

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
