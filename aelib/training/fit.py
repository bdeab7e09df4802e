"""`fit`: one training loop for every model, one seed or many, on whatever device there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aelib import objectives, runtime
from aelib.training.dry_run import check_losses
from aelib.training.history import History, Recorder
from aelib.training.learner import prepared
from aelib.training.plan import Plan


def fit(
    models: nn.Module | Sequence[nn.Module],
    images: Tensor | Sequence[Tensor],
    *,
    objective: objectives.Objective = objectives.copy,
    labels: Tensor | Sequence[Tensor] | None = None,
    steps: int = 1000,
    batch_size: int | None = 64,
    lr: float = 1e-3,
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adam",
    schedule: str | Callable[[int], float] | None = None,
    clip: float | None = None,
    ema: float | None = None,
    seed: int = 0,
    log_at: int | Sequence[int] = 50,
    metrics: Mapping[str, Callable[[nn.Module], float | Tensor]] | None = None,
    callback: Callable[[dict], object] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    vmap: bool | None = None,
    device: str | torch.device | None = None,
    precision: str = "no",
    progress: bool | None = None,
    label: str = "training",
) -> History:
    """Train a model, or one model per seed, in place; return what was recorded on the way.

    Args:
        models: a model, or a list of them (`models.replicate`), one per seed, all trained in this
            one call. They come back on the device they came from. In between all of a model is in
            training mode, also a batch norm that was put into evaluation mode; then as it was.
        images: (n, channels, height, width), finite floats; one tensor for all, or one per model.
            They are only read: no gradient enters them, or whatever they were computed from.
        objective: one loss per example (`objectives`); its mean over the batch is minimised. It
            is tried on two images before the first step.
        labels: whole numbers, (n,), one tensor for all or one per model, drawn with the images; the
            objective is then called as objective(model, images, labels).
        steps: optimizer steps.
        batch_size: images a step, drawn at random; None for all of them, in order.
        lr: step size.
        optimizer: "adam" (torch's, fused), "sgd", or a callable such as `functools.partial(
            torch.optim.SGD, momentum=0.9)`; it is called as optimizer(parameters, lr=lr).
        schedule: a factor of lr at each step: "cosine" or "linear" fall from 1 to 0 over `steps`;
            or a function of the steps done before, 0 at the first; None for a constant lr.
        clip: the length that the gradient of one model may have; a longer one is scaled down to it
            before the step. For losses that leap up. None to leave gradients as they are.
        ema: decay of an exponential moving average of the weights over the steps, such as 0.999;
            the models end with it, and metrics, callback and checkpoint see it. At step t the
            decay is at most (1 + t)/(10 + t), so that the start is soon forgotten. Buffers, such as
            batch statistics, are not averaged. None for the weights of the last step.
        seed: the i-th model draws its batches from seed + i. What a model or an objective draws
            (dropout, noise) comes from torch's global generator, which starts at `seed` for this
            call, is shared by the list, and afterwards is as it was. Threads share it too: of
            trainings that draw noise in several threads at once, none repeats.
        log_at: how many records, evenly spaced, or the very steps to record at (0 is before
            training). The first and the last step are recorded in any case.
        metrics: numbers to follow, each a function of the model, evaluated at every record without
            gradients and in eval mode.
        callback: called at every record, likewise, with a dict: "step"; "loss", one number a model;
            "metrics", by name, one number a model; "models", the list of them. Metrics and
            callback see the models on the device they came from, as the data there is. What a
            callback changes in them lasts with vmap=False and without ema only: one graph has its
            own copies, and averages give way to the weights again.
        checkpoint: a file (`torch.save`'s) written at every record, whole or not at all.
        resume: go on from the checkpoint if there is one; the end is bit for bit that of an
            unbroken run on the same machine. `steps` may be larger than before. Two objectives
            are told apart by their names: one lambda passes for another.
        vmap: train the seeds as one batched graph (True) or side by side, step by step (False).
            None takes what benchmarks/seeds.py measured as cheaper here. Both see the same batches.
        device: where to train; None is Accelerate's choice (a GPU if there is one). Launched by
            `accelerate launch`, each process takes its share of every batch. A process forked
            after a training on several threads hangs, as with all of PyTorch: spawn it.
        precision: "no" for float32, "bf16" or "fp16" for mixed precision.
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
        CheckpointError: if the checkpoint cannot be written, on a full disk; carries the history.

    >>> from aelib.models import MLPAutoencoder
    >>> model = MLPAutoencoder((1, 4, 4), width=8)
    >>> fit(model, torch.rand(20, 1, 4, 4), steps=100, schedule="cosine").loss.shape
    (1, 51)

    Source: chapter 1, "One loop".
    """
    plan = Plan(**locals())  # every argument, checked before any work
    scaler, stopped = plan.place.scaler, "finished"
    with prepared(plan) as learners, runtime.interruptible() as interrupted:
        recorder = Recorder(plan, learners)
        done = recorder.begin()
        with plan.bar(done) as bar:
            for step in range(done + 1, plan.steps + 1):
                for learner in learners:  # one for each model, or one for all as one graph
                    learner.set_rate(step - 1)
                    batch = learner.draw()  # images, any labels
                    with plan.place.autocast():
                        losses = objective(learner.model, *batch)  # (batch,) or (seeds, batch)
                    check_losses(losses, batch[0])
                    loss = losses.float().mean(-1)  # every seed its own: () or (seeds,)
                    scaler.scale(loss).backward(learner.ones)
                    learner.clip(scaler)
                    scaler.step(learner.optimizer)
                    learner.optimizer.zero_grad()
                    learner.average(step)
                    learner.total += loss.detach()
                scaler.update()
                bar.update()
                if recorder.due(step, interrupted.is_set()):
                    mean = np.mean(recorder.record())
                    bar.set_postfix_str(f"loss {mean:.4g}", refresh=False)
                    if plan.place.any(interrupted.is_set()) and step < plan.steps:
                        stopped = "interrupted"
                        break
    return recorder.history(stopped)
