"""The descent of a batch of runs, side by side: one layer, and for each run its seed and image."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aelib import checks, random, runtime
from aelib.inversion import cuda
from aelib.inversion.baselines import baselines
from aelib.inversion.equalizer import equalized
from aelib.inversion.leak import Leak
from aelib.inversion.optimizers import State
from aelib.inversion.parameterization import (
    GRAY,
    Fourier,
    Parameterization,
    Shape,
    image_shape,
)
from aelib.inversion.reading import Read
from aelib.inversion.recipe import Recipe
from aelib.inversion.stopping import LEVELLED_OFF, Levels, Until
from aelib.inversion.tracking import AskInPassing, Best, Runs, Trace, leave_at_once

REFERENCE_STD = 1 / 18  # of the noise that m_r stands for, as in Badger's code
Evaluation = tuple[State, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """What the runs of all layers share; run r is of seed r // images and image r % images."""

    recipe: Recipe
    images: Tensor  # x, (images, channels, height, width)
    seeds: tuple[int, ...]
    inits: Tensor  # (seeds, images, channels, height, width)
    steps: int
    until: Until
    log_at: tuple[int, ...]
    cuda_graphs: bool
    callback: Callable[[dict], object] | None

    def start(self, runs: Sequence[int]) -> Tensor:
        """The images at which these runs begin, (runs, channels, height, width)."""
        n = len(self.images)
        inits = self.inits[[run // n for run in runs], [run % n for run in runs]]
        return GRAY + self.recipe.init_contrast * (inits - GRAY)


def descend(
    task: Task,
    layer: str,
    read: Read,
    leak: Leak,
    runs: Sequence[int],
    interrupted: threading.Event,
    bar: Any,
) -> dict:
    """The runs of a layer side by side: fields of a `LayerInversion`, (runs, …), on the CPU."""
    recipe, n = task.recipe, len(task.images)
    seed, image = [run // n for run in runs], [run % n for run in runs]
    originals = task.images[image]
    init = task.start(runs)
    targets, m_r = _targets(read, originals, [task.seeds[s] for s in seed])
    _check_loss(recipe, targets)
    target, level = task.until.target, task.until.level
    limit = m_r * target if target else torch.full_like(m_r, -1)
    aim = {"targets": targets, "limit": limit}
    leak.set(0)
    parameterization = _parameterization(recipe, read, originals[0])
    state = recipe.optimizer.init(parameterization.to_parameters(init), task.steps)
    evaluate = evaluation(recipe, parameterization, read, image_shape(originals))
    if task.cuda_graphs:
        evaluate = cuda.cuda_graph(evaluate)
    batch, best = Runs(len(runs), init), Best(init, least=recipe.keep_best)
    trace = Trace(originals, task.log_at)
    levels = Levels(level, originals, task.steps) if level else None
    stop = leave_at_once if runtime.is_cpu(init.device) else AskInPassing()

    for step in range(task.steps + 1):
        if interrupted.is_set():
            break
        leak.set(recipe.leak * max(0.0, 1 - step / recipe.leak_steps))
        state, images, losses, m_g = evaluate(state, aim)
        reached = m_g <= aim["limit"]
        best.update(batch, images, losses, m_g, reached)
        stuck = state["stalled"] & losses.isfinite()
        if leak.on and bool(stuck.any()):
            # A line search may fail on a gradient that is not the loss's: the search begins anew.
            points = parameterization.to_parameters(best.images[batch.rows])
            state = _where(stuck, recipe.optimizer.init(points, task.steps), state)
        ended = {"reached": reached, "stalled": state["stalled"] & losses.isfinite()}
        ended["diverged"] = state["stalled"] & ~losses.isfinite()
        if levels is not None:
            ended[LEVELLED_OFF] = levels.update(step, batch.rows, best.images, best.m_g, m_r)
        batch.update(ended, step == task.steps)
        trace.update(step, best)
        bar.update(len(runs))
        going, over = stop(batch.active)
        if going is not None:  # some runs stopped: go on with the others
            batch.keep(going)
            state = {key: values[going] for key, values in state.items()}
            aim = {key: values[going] for key, values in aim.items()}
        if task.callback is not None and step in task.log_at:
            task.callback({"layer": layer, "step": step, "images": best.images.clone()})
        if over:
            bar.update(len(runs) * (task.steps - step))
            break
        if recipe.after_step is not None:
            images = state["point"].unflatten(1, originals.shape[1:])
            state["point"] = recipe.after_step(images, step / task.steps).flatten(1)
    fields = trace.fields(best) | batch.fields() | {"images": best.images, "m_r": m_r}
    fields |= baselines(read, originals, targets)
    fields["m_i_start"] = (init - originals).flatten(1).norm(dim=1)
    return {key: values.cpu() for key, values in fields.items()} | {"stopped": batch.stopped()}


def _where(rows: Tensor, these: State, others: State) -> State:
    """The state of `these` in some rows, of `others` in the rest."""
    return {
        key: torch.where(rows.view(-1, *(1,) * (value.ndim - 1)), these[key], value)
        for key, value in others.items()
    }


def _parameterization(recipe: Recipe, read: Read, image: Tensor) -> Parameterization:
    """The recipe's, its coefficients scaled by what the layer hears if the recipe says so."""
    fourier = recipe.parameterization
    if recipe.equalize and isinstance(fourier, Fourier):
        return equalized(fourier, read, image, recipe.equalize)
    return fourier


def evaluation(
    recipe: Recipe, parameterization: Parameterization, read: Read, shape: Shape
) -> Callable[[State, dict[str, Tensor]], Evaluation]:
    """One evaluation at the state's point, and the optimizer's answer to it.

    Returns:
        evaluate(state, aim): the next state; images, losses and m_g at the point, (rows, …).
    """

    def evaluate(state: State, aim: dict[str, Tensor]) -> Evaluation:
        parameters = state["point"].detach().requires_grad_()
        with torch.enable_grad():
            images = parameterization.to_image(parameters, shape)
            features = read(images)
            losses = recipe.loss(features, aim["targets"])
            if recipe.regularizer is not None:
                losses = losses + recipe.regularizer(images)
            (gradient,) = torch.autograd.grad(losses.sum(), parameters)
        with torch.no_grad():
            m_g = (features - aim["targets"]).flatten(1).norm(dim=1)
            state = recipe.optimizer.step(state, losses.detach(), gradient)
        return state, images.detach(), losses.detach(), m_g

    return evaluate


def reference_noise(seed: int, like: Tensor) -> Tensor:
    """n, one for all images of a seed, of the shape of `like`."""
    return REFERENCE_STD * random.normal(like.shape, like, random.generator(seed))


def _targets(read: Read, originals: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """O(x) for each run, and m_r = ‖O(x) − O(x + n)‖, n drawn from the run's seed alone."""
    noise = torch.stack([reference_noise(seed, originals[0]) for seed in seeds])
    with torch.enable_grad():  # the same path through the model as in the loop
        targets, moved = (
            read(images.detach().requires_grad_().clone()).detach()
            for images in (originals, originals + noise)
        )
    return targets, (targets - moved).flatten(1).norm(dim=1)


def _check_loss(recipe: Recipe, targets: Tensor) -> None:
    losses = recipe.loss(targets, targets)
    if losses.shape != targets.shape[:1]:
        expected = f"a loss that gives one value a row, {tuple(targets.shape[:1])}"
        raise ValueError(checks.message("recipe", expected, losses))
