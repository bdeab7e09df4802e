"""Memory of the training set: which starts end on its images, and whom an output resembles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import Model, as_images, batch_size, run_model
from aelib.measures.iteration import iterate
from aelib.measures.seeds import Seeds, over_seeds


class Nearest(NamedTuple):
    """The nearest training image of each image: `distances` (n,), Euclidean, `indices` (n,)."""

    distances: Tensor
    indices: Tensor


class Memory(NamedTuple):
    """Where each start ended, all (n,); a being the training image numbered `nearest`.

    `recalled`: it came to a training image from outside (the share of these is the book's H).
    `nearest`: the training image it ended nearest to, -1 if it left the finite numbers.
    `distance`, `began`, `moved`: ‖x_T − a‖, ‖x_0 − a‖ and ‖x_T − x_0‖ over ‖a‖; inf if it diverged.
    """

    recalled: Tensor
    nearest: Tensor
    distance: Tensor
    began: Tensor
    moved: Tensor


@over_seeds("model", training=4, starts=4)
def memory(
    model: Seeds[Model],
    training: Seeds[Tensor],
    starts: Seeds[Tensor],
    times: int = 2000,
    tolerance: float = 0.05,
) -> Memory:
    """Which starts the iterated map carries to a training image, and to which: see `Memory`.

    A start x₀ recalls if x_T = O(…O(x₀)), after T = `times` steps, has ‖x_T − a‖ ≤ tolerance·‖a‖
    for a training image a, and x₀ itself had not: standing still is not recall. So starts should
    be held-out images or noise; one that begins at a training image never counts. Divergence does
    not count either. H = `memory(...).recalled.float().mean()`. ‖a‖ is not centred: where training
    images lie within tolerance of each other or of their mean (flat grey crops), arriving says
    little, so look at `nearest` too. ValueError for an all-zero training image.
    Source: Radhakrishnan et al. (2018), arXiv 1810.10333; chapter 2.

    >>> training = torch.ones(1, 1, 4, 4)
    >>> memory(lambda x: training.expand_as(x), training, torch.zeros(2, 1, 4, 4)).recalled
    tensor([True, True])
    """
    training = as_images(training, "training")
    starts = as_images(starts, "starts", shape=training.shape[1:]).to(training)
    tolerance = checks.number(tolerance, "tolerance", above=0)
    lengths = training.flatten(1).norm(dim=1)
    if (lengths == 0).any():
        got = checks.Described(f"image {int(lengths.argmin())} all zero")
        advice = "nothing is within a share of its length; leave it out"
        raise ValueError(checks.message("training", "images with a length", got, advice))
    ends = iterate(model, starts, times)
    finite = ends.flatten(1).isfinite().all(1)
    ends = torch.where(finite[:, None, None, None], ends, starts)  # any finite stand-in
    distance, index = _nearest(ends, training, lengths)
    began = (starts - training[index]).flatten(1).norm(dim=1) / lengths[index]
    moved = (ends - starts).flatten(1).norm(dim=1) / lengths[index]
    recalled = finite & (distance <= tolerance) & (began > tolerance)
    return Memory(
        recalled,
        index.where(finite, -1),
        distance.where(finite, math.inf),
        began.where(finite, math.inf),
        moved.where(finite, math.inf),
    )


@over_seeds(images=4, training=4)
def nearest_training(images: Seeds[Tensor], training: Seeds[Tensor]) -> Nearest:
    """The nearest training image of each image, and how far: ‖x − t‖, not divided by anything.

    Source: chapter 2.

    >>> training = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    >>> nearest_training(torch.full((1, 1, 1, 1), 0.75), training)
    Nearest(distances=tensor([0.2500]), indices=tensor([1]))
    """
    training = as_images(training, "training")
    return _nearest(as_images(images, shape=training.shape[1:]).to(training), training)


def nearest_distance(images: Seeds[Tensor], training: Seeds[Tensor]) -> Tensor:
    """min over the training images t of ‖x − t‖ for each image: (n,), ≥ 0, grey levels."""
    return nearest_training(images, training).distances


@over_seeds("model", images=4, training=4)
def nearer_training(model: Seeds[Model], images: Seeds[Tensor], training: Seeds[Tensor]) -> Tensor:
    """Whether min_t ‖O(x) − t‖ < ‖O(x) − x‖, for each held-out image x: (n,), boolean.

    True where the output is nearer to some training image t than to its input. Source: chapter 2.
    """
    training = as_images(training, "training")
    images = as_images(images, shape=training.shape[1:]).to(training)
    outputs = run_model(model, images)
    return _nearest(outputs, training).distances < (outputs - images).flatten(1).norm(dim=1)


def _nearest(images: Tensor, training: Tensor, lengths: Tensor | None = None) -> Nearest:
    """The nearest by ‖x − t‖, or by ‖x − t‖ / length of t."""
    distances, indices = [], []
    for batch in images.flatten(1).split(batch_size(images)):
        # The usual shortcut ‖x‖² − 2⟨x, t⟩ + ‖t‖² loses small distances to rounding.
        table = torch.cdist(
            batch, training.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
        )  # (batch, training)
        least = (table if lengths is None else table / lengths).min(1)
        distances.append(least.values)
        indices.append(least.indices)
    return Nearest(torch.cat(distances), torch.cat(indices))
