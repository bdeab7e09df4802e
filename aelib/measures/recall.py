"""Memory of the training set: where the iterated map goes, and whom an output resembles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aelib.measures.checks import as_images, as_number, check_count
from aelib.measures.nets import Net, chunk_size, run_chunk, run_net
from aelib.models import evaluating


class Nearest(NamedTuple):
    """The nearest training image of each image: `distance` (n,), Euclidean, and `which` (n,)."""

    distance: Tensor
    which: Tensor


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


def iterate(net: Net, images: Tensor, times: int) -> Tensor:
    """O(O(… O(a))), `times` times: the images' shape; `times=0` gives the images back.

    The one function whose result may be non-finite: the map may diverge. A chunk whose images no
    longer change stops early, which for a deterministic net gives the same end. Source: chapter 2.
    """
    images = as_images(images, "images")
    check_count(times, "times", 0)
    ends = []
    with evaluating(net), torch.no_grad():
        for part in images.split(chunk_size(images)):
            for _ in range(times):
                before, part = part, run_chunk(net, part, finite=False)
                if torch.equal(before, part):
                    break
            ends.append(part)
    return torch.cat(ends)


def memory(
    net: Net, training: Tensor, starts: Tensor, times: int = 2000, tolerance: float = 0.05
) -> Memory:
    """Which starts the iterated map carries to a training image, and to which: see `Memory`.

    A start x₀ recalls if x_T = O(…O(x₀)), after T = `times` steps, has ‖x_T − a‖ ≤ tolerance·‖a‖
    for a training image a, and x₀ itself had not: standing still is not recall. So starts should
    be held-out images or noise; one that begins at a training image never counts. Divergence does
    not count either. H = `memory(...).recalled.float().mean()`. ‖a‖ is not centred: where training
    images lie within tolerance of each other or of their mean (flat grey crops), arriving says
    little, so look at `nearest` too. ValueError for an all-zero training image.
    Source: Radhakrishnan et al. (2018), arXiv 1810.10333; chapter 2.
    """
    training = as_images(training, "training")
    starts = as_images(starts, "starts", like=training, paired=False)
    tolerance = as_number(tolerance, "tolerance")
    lengths = training.flatten(1).norm(dim=1)
    if (lengths == 0).any():
        raise ValueError(
            f"training image {int((lengths == 0).nonzero()[0])} is all zero, so nothing is within "
            "a share of its length; leave it out"
        )
    ends = iterate(net, starts, times)
    finite = ends.flatten(1).isfinite().all(1)
    ends = torch.where(finite[:, None, None, None], ends, starts)  # any finite stand-in
    distance, which = _nearest(ends, training, lengths)
    began = (starts - training[which]).flatten(1).norm(dim=1) / lengths[which]
    moved = (ends - starts).flatten(1).norm(dim=1) / lengths[which]
    recalled = finite & (distance <= tolerance) & (began > tolerance)
    return Memory(
        recalled,
        which.where(finite, -1),
        distance.where(finite, math.inf),
        began.where(finite, math.inf),
        moved.where(finite, math.inf),
    )


def nearest_training(images: Tensor, training: Tensor) -> Nearest:
    """The nearest training image of each image, and how far: ‖x − t‖, not divided by anything.

    Source: chapter 2.
    """
    training = as_images(training, "training")
    return _nearest(as_images(images, "images", like=training, paired=False), training)


def nearest_distance(images: Tensor, training: Tensor) -> Tensor:
    """min over the training images t of ‖x − t‖ for each image: (n,), ≥ 0, grey levels."""
    return nearest_training(images, training).distance


def nearer_training(net: Net, images: Tensor, training: Tensor) -> Tensor:
    """Whether min_t ‖O(x) − t‖ < ‖O(x) − x‖, for each held-out image x: (n,), boolean.

    True where the output is nearer to some training image t than to its input. Source: chapter 2.
    """
    training = as_images(training, "training")
    images = as_images(images, "images", like=training, paired=False)
    outputs = run_net(net, images)
    return _nearest(outputs, training).distance < (outputs - images).flatten(1).norm(dim=1)


def _nearest(images: Tensor, training: Tensor, lengths: Tensor | None = None) -> Nearest:
    """The nearest by ‖x − t‖, or by ‖x − t‖ / length of t."""
    distances, places = [], []
    for part in images.flatten(1).split(chunk_size(images)):
        # The usual shortcut ‖x‖² − 2⟨x, t⟩ + ‖t‖² loses small distances to rounding.
        table = torch.cdist(
            part, training.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
        )  # (part, training)
        found = (table if lengths is None else table / lengths).min(1)
        distances.append(found.values)
        places.append(found.indices)
    return Nearest(torch.cat(distances), torch.cat(places))
