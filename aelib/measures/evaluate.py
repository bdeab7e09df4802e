"""How a model is run: in evaluation mode, without gradients, in batches, its output checked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.seeds import Seeds, over_seeds
from aelib.models import evaluating

Model = Callable[[Tensor], Tensor]

FLOATS = (torch.float32, torch.float64)
MAX_IMAGES, MAX_ELEMENTS = 1024, 2**22  # a batch stops at whichever comes first

as_images = functools.partial(checks.images, dtypes=FLOATS)


@over_seeds("model", images=4)
def outputs(model: Seeds[Model], images: Seeds[Tensor]) -> Tensor:
    """O(x) of each image, (n, channels, height, width), without gradients.

    >>> outputs([torch.neg, torch.square], torch.ones(3, 1, 8, 8)).shape
    torch.Size([2, 3, 1, 8, 8])
    """
    return run_model(model, as_images(images))


@over_seeds("model", images=4)
def codes(model: Seeds[Any], images: Seeds[Tensor]) -> Tensor:
    """model.encode(images), (n, k) or as the model gives it, without gradients. Source: chapter 5.

    >>> from aelib.models import LinearAutoencoder
    >>> codes(LinearAutoencoder((1, 8, 8), code=3), torch.ones(5, 1, 8, 8)).shape
    torch.Size([5, 3])
    """
    checks.methods(model, "encode")
    return run_rows(cast(Any, model).encode, as_images(images), "model.encode")


def batch_size(images: Tensor) -> int:
    """How many of these images go through a model at once, so that big sets fit in memory."""
    return max(1, min(MAX_IMAGES, MAX_ELEMENTS // images[0].numel()))


def run_model(model: Any, images: Tensor) -> Tensor:
    """O(x) for all images: in evaluation mode, without gradients, batch by batch, checked."""
    with evaluating(model), torch.no_grad():
        return torch.cat([run_batch(model, batch) for batch in images.split(batch_size(images))])


def run_batch(model: Any, images: Tensor, finite: bool = True) -> Tensor:
    """O(x) for one batch, in whatever mode the model is; `finite` refuses NaN and infinity too."""
    checks.function(model, "model", "an nn.Module, or a list of them")
    answers = model(images.clone())  # a model may begin with an in-place step; images stay
    return checks.output(answers, images, finite=finite).to(images)


def run_rows(function: Any, images: Tensor, name: str) -> Tensor:
    """function(images) for all images, one row for each, as `run_model` does: (n, k, ...)."""
    checks.function(function, name, "an nn.Module")
    rows = []
    with evaluating(function), torch.no_grad():
        for batch in images.split(batch_size(images)):
            answers = function(batch.clone())
            rows.append(checks.tensor(answers, f"{name}(images)", (len(batch), "k", ...)))
    return torch.cat(rows)


def energies(images: Tensor) -> Tensor:
    """‖x‖² of each image: (n,)."""
    return images.flatten(1).square().sum(1)
