"""What is made small: losses between features, and what an image may cost on its own.

A loss is a function of features (rows, …) and targets of the same shape, a regularizer one of
images (rows, channels, height, width); both give one value a row, (rows,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aelib import checks

Loss = Callable[[Tensor, Tensor], Tensor]
Regularizer = Callable[[Tensor], Tensor]


def l2(features: Tensor, targets: Tensor) -> Tensor:
    """½‖y − y*‖² / ‖y*‖²: half the squared distance, as a share of the target's square; ≥ 0.

    The share makes one setting fit every layer; a target of zeros is divided by nothing.
    """
    size = targets.flatten(1).square().sum(1)
    return (features - targets).flatten(1).square().sum(1) / (2 * size.where(size > 0, 1.0))


def l1(features: Tensor, targets: Tensor) -> Tensor:
    """‖y − y*‖₁ / ‖y*‖₁: the sum of absolute differences, as a share of the target's; ≥ 0."""
    size = targets.flatten(1).abs().sum(1)
    return (features - targets).flatten(1).abs().sum(1) / size.where(size > 0, 1.0)


def cosine(features: Tensor, targets: Tensor) -> Tensor:
    """1 − the cosine of the angle between y and y*: from 0 to 2. It does not see the length."""
    return 1 - torch.cosine_similarity(features.flatten(1), targets.flatten(1), dim=1)


@dataclass(frozen=True, eq=False)
class Along:
    """1 − the cosine of the angle between y and y*, both seen from `origin`: from 0 to 2.

    What is asked is the direction in which the features leave the origin, and not how far. A step
    from the mean of all features is small beside that mean, and `l2` would hardly notice it.
    """

    origin: Tensor  # of a row's features

    def __call__(self, features: Tensor, targets: Tensor) -> Tensor:
        origin = self.origin.to(features)
        return cosine(features - origin, targets - origin)


@dataclass(frozen=True)
class SumL1:
    """weight · Σ|y − y*|, not divided by anything: the published loop's loss."""

    weight: float

    def __call__(self, features: Tensor, targets: Tensor) -> Tensor:
        return self.weight * (features - targets).flatten(1).abs().sum(1)


@dataclass(frozen=True)
class TotalVariation:
    """weight · mean |difference| between neighbouring pixels: a regularizer for flat regions.

    The root is rounded at `eps` so that it has a slope everywhere. ValueError for images one pixel
    high or wide, which have no such pairs.
    """

    weight: float
    eps: float = 1e-3

    def __call__(self, images: Tensor) -> Tensor:
        if min(images.shape[2:]) < 2:
            expected = "2 pixels or more a side for TotalVariation"
            advice = "take a recipe without it"
            raise ValueError(checks.message("images", expected, images, advice))
        down = images.diff(dim=2)[..., :-1]
        across = images.diff(dim=3)[:, :, :-1]
        steps = (down.square() + across.square() + self.eps**2).sqrt() - self.eps
        return self.weight * steps.flatten(1).mean(1)
