"""A trial before a long run: can this objective use this model and these images?"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from aelib import random
from aelib.models import evaluating
from aelib.objectives import Objective, ObjectiveError

# What a model raises for inputs it cannot take, and an objective for a model it cannot use.
UNFIT = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)


def try_objective(
    objective: Objective, model: nn.Module, images: Tensor, labels: Tensor | None = None
) -> None:
    """Ask for the loss of two images, where the model is, in eval mode and without gradients.

    The two are the first ones or, with labels, those of the least and the largest label, so that a
    label out of range is seen here. The model's mode and the global generators are left as they
    were.

    Raises:
        ValueError: if the objective cannot use this model and these images, gives anything but one
            loss per example, or one that is not finite.
    """
    chosen = [0, min(1, len(images) - 1)]
    if labels is not None:
        chosen = [int(labels.argmin()), int(labels.argmax())]
    place = next(model.parameters()).device
    pair = images[chosen].to(place)
    given = (pair,) if labels is None else (pair, labels[chosen].to(place))
    try:
        with evaluating(model), torch.no_grad(), random.seeded(None, place):
            each = objective(model, *given)
    except ObjectiveError:
        raise
    except UNFIT as error:
        raise ValueError(
            f"model: it cannot take these images, {tuple(pair.shape[1:])} of {pair.dtype} each, "
            f"for the objective {plain_name(objective)}; build it for their shape and dtype, or "
            f"change the objective ({error})"
        ) from error
    check_each(each, pair)
    if not torch.isfinite(each).all():
        raise ValueError(
            f"model: the loss ({plain_name(objective)}) is not finite before any training; try a "
            "smaller gain at the start"
        )


def check_each(each: object, images: Tensor) -> None:
    """Raise unless the objective gave one loss per example: anything else would mix the seeds."""
    wanted = tuple(images.shape[:-3])
    if isinstance(each, Tensor) and tuple(each.shape) == wanted:
        return
    came = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
    raise ValueError(
        f"objective: expected one loss per example, shape {wanted}, got {came}; end it with "
        ".mean(dim=(-3, -2, -1)), counting the axes from the end, since several seeds may stand in "
        "front of the batch"
    )


def plain_name(thing: object) -> str:
    """What a callable or a model is called, the same in the next process: without addresses."""
    return getattr(thing, "__name__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))
