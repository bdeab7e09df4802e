"""A dry run before a long one: can this objective use this model and these images?"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from aelib import checks, random
from aelib.models import evaluating
from aelib.objectives import Objective, ObjectiveError

# What a model raises for inputs it cannot take, and an objective for a model it cannot use.
UNFIT = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)


def dry_run(
    objective: Objective,
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    smallest: int = 2,
) -> None:
    """Ask for the loss of two images, where the model is, in eval mode and without gradients.

    The two are the first ones or, with labels, those of the least and the largest label, so that a
    label out of range is seen here. It is asked in training mode too, where alone some layers
    change images in place; and, where a step may see a single image (`smallest` is 1), for one,
    which has no batch statistics. The model's modes and buffers and the global generators are left
    as they were.

    Raises:
        ValueError: if the objective cannot use this model and these images, gives anything but one
            loss per example, or one that is not finite; or if one of them changes the images in
            place, which are the caller's, and mostly the target as well.
    """
    chosen = [0, min(1, len(images) - 1)]
    if labels is not None:
        chosen = [int(labels.argmin()), int(labels.argmax())]
    device = next(model.parameters()).device
    with torch.inference_mode(False):  # there torch does not count what changes a tensor in place
        pair = images[chosen].to(device)
    inputs = (pair,) if labels is None else (pair, labels[chosen].to(device))
    untouched = pair._version
    with _as_it_was(model, device):
        try:
            losses = objective(model, *inputs)
        except ObjectiveError:
            raise
        except UNFIT as error:
            raise ValueError(_blame(objective, model, pair, error)) from error
    with _as_it_was(model, device), contextlib.suppress(*UNFIT):  # a dropout acts in training only
        objective(model.train(), *inputs)
    if pair._version != untouched:
        got = checks.Described("one that changes them in place")
        advice = "begin its forward with x = x.clone(), or take the plain form, such as F.relu(x)"
        raise ValueError(
            checks.message("model or objective", "one that only reads the images", got, advice)
        )
    check_losses(losses, pair)
    if not torch.isfinite(losses).all():
        got = checks.Described(f"losses ({plain_name(objective)}) that are NaN or infinite")
        advice = "try a smaller gain at the start"
        raise ValueError(checks.message("model", "a finite loss before any training", got, advice))
    if smallest > 1:
        return
    with _as_it_was(model, device):
        try:
            objective(model.train(), *(values[:1] for values in inputs))
        except UNFIT as error:
            got = checks.Described(f"1, which this model cannot train on ({error})")
            advice = "change batch_size, take more images, or a norm without batch statistics"
            raise ValueError(
                checks.message("batch_size", "2 or more images a step", got, advice)
            ) from error


@contextlib.contextmanager
def _as_it_was(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes, buffers and generators are as before."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with evaluating(model), torch.no_grad(), random.seeded(None, device):
        try:
            yield
        finally:
            for buffer, before in buffers:
                if not torch.equal(buffer, before):  # an expanded one cannot be written to
                    buffer.copy_(before)


def _blame(objective: Objective, model: nn.Module, images: Tensor, error: Exception) -> str:
    """Whose fault an error is: the objective's, where the model alone can take the images."""
    name, each = plain_name(objective), f"images {tuple(images.shape[1:])} of {images.dtype}"
    got = checks.Described(f"{type(error).__name__} from {name}: {error}")
    try:
        model(images)
    except UNFIT:
        return checks.message(
            "model", f"one that takes {each}", got,
            "build it for their shape and dtype, or change the objective",
        )  # fmt: skip
    return checks.message(
        "objective", "a function of (model, images) or (model, images, labels)", got,
        f"the model by itself takes these {each}",
    )  # fmt: skip


def check_losses(losses: object, images: Tensor) -> None:
    """Raise unless the objective gave one loss per example: anything else would mix the seeds."""
    leading = tuple(images.shape[:-3])
    if isinstance(losses, Tensor) and tuple(losses.shape) == leading:
        return
    raise ValueError(
        checks.message(
            "objective", f"one loss per example, shape {leading}",
            losses if isinstance(losses, Tensor) else checks.Described(type(losses).__name__),
            "end it with .mean(dim=(-3, -2, -1)), counting the axes from the end, since several "
            "seeds may stand in front of the batch",
        )
    )  # fmt: skip


def plain_name(value: object) -> str:
    """What a callable or a model is called, the same in the next process: without addresses."""
    return getattr(value, "__name__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
