"""Filters fitted to images, which denoise without having learned to: the controls of a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.measures.evaluate import as_images
from aelib.measures.linear import linear_filter, principal_directions, wiener_shares
from aelib.measures.seeds import Seeds, over_seeds

Filter = Callable[[Tensor], Tensor]


@over_seeds(train=4)
def mean_image(train: Seeds[Tensor]) -> Filter | list[Filter]:
    """The map that answers every image with the mean of `train`. Source: chapter 3.

    >>> mean_image(torch.ones(5, 1, 1, 2))(torch.zeros(1, 1, 1, 2))
    tensor([[[[1., 1.]]]])
    """
    mean = as_images(train, "train").mean(0)
    return lambda images: mean.to(images).expand_as(images)


@over_seeds(images=4)
def thumbnail(images: Seeds[Tensor], side: int = 4) -> Tensor:
    """Images of side × side flat patches, each the mean of what it covers; 1 is the mean colour.

    What they look like to an eye that sees no detail. Patches overlap by a pixel where `side` does
    not divide the image's. Source: chapter 4.

    >>> thumbnail(torch.tensor([[[[0.0, 1.0, 4.0, 6.0]]]]), side=2)
    tensor([[[[0.5000, 0.5000, 5.0000, 5.0000]]]])
    """
    images = as_images(images)
    means = nn.functional.adaptive_avg_pool2d(images, checks.whole(side, "side", least=1))
    return nn.functional.interpolate(means, images.shape[-2:], mode="nearest")


@over_seeds(train=4)
def pca_filter(train: Seeds[Tensor], k: int | None = None) -> Filter | list[Filter]:
    """The map that keeps the first k principal directions of `train`, and its mean.

    Without k, every direction in which `train` varies. Source: chapter 1.

    >>> train = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).view(2, 1, 1, 2)
    >>> pca_filter(train, k=1)(torch.ones(1, 1, 1, 2))
    tensor([[[[1., 0.]]]])
    """
    images = as_images(train, "train")
    mean, directions, variances = principal_directions(images, k)
    if k is None:
        rounding = (8 * torch.finfo(images.dtype).eps) ** 2
        directions = directions[: max(1, int((variances > rounding * variances.sum()).sum()))]
    return lambda images: linear_filter(images, mean, directions, torch.ones(len(directions)))


@over_seeds(train=4, sigma=0)
def wiener_filter(train: Seeds[Tensor], sigma: Seeds[float]) -> Filter | list[Filter]:
    """The best linear denoiser of `train` for noise σ: `linear_filter` with sᵢ = λᵢ / (λᵢ + σ²).

    λᵢ are the variances along the principal directions of `train`. What it gains on them,
    `wiener_gain` says. Source: Wiener (1949); chapters 1 and 3.

    >>> train = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).view(2, 1, 1, 2)
    >>> wiener_filter(train, sigma=1.0)(torch.ones(1, 1, 1, 2))
    tensor([[[[0.5000, 0.0000]]]])
    """
    mean, directions, variances = principal_directions(as_images(train, "train"))
    shares = wiener_shares(variances.double(), checks.number(sigma, "sigma", above=0))
    return lambda images: linear_filter(images, mean, directions, shares)


@over_seeds(train=4, images=4, error=0)
def matched_pca(
    train: Seeds[Tensor], images: Seeds[Tensor], error: Seeds[float]
) -> Filter | list[Filter]:
    """As many principal directions of `train` as leave `images` a clean error of `error`.

    The last direction is kept in part, so that the mean of `clean_error` over `images` is `error`
    exactly. The control for a model that errs as much: what it gains beyond this filter is its own.

    Args:
        train: where the directions come from.
        images: where the error is measured; those the model is measured on.
        error: B in squared grey levels, as `clean_error` has it.

    Returns:
        A map from images to images of the same shape.

    Raises:
        ValueError: for an error below 0, or above what the mean of `train` alone leaves.

    Source: chapter 3, "Is it more than a blur?".

    >>> images = torch.tensor([[2.0, 1.0], [-2.0, -1.0], [2.0, -1.0], [-2.0, 1.0]])
    >>> images = images.view(4, 1, 1, 2)
    >>> matched_pca(images, images, error=0.5)(images[:1])  # the second direction left out
    tensor([[[[2., 0.]]]])
    """
    images = as_images(images)
    error = checks.number(error, "error", least=0)
    train = as_images(train, "train", shape=images.shape[1:]).to(images)
    mean, directions, _ = principal_directions(train)
    codes = (images.flatten(1) - mean).double() @ directions.double().T  # (n, d)
    energy = codes.square().mean(0) / codes.shape[1]  # what leaving a direction out costs
    most = float(energy.sum())
    if error > most * (1 + 1e-9):  # the same sum, taken elsewhere, may differ by a rounding
        got = checks.Described(f"{error:.4g}")
        expected = f"{most:.4g} or less, which the mean of train alone leaves"
        raise ValueError(checks.message("error", expected, got, "no PCA errs more"))
    left = energy.sum() - energy.cumsum(0)  # the error once directions 0 … k are kept
    shares = torch.ones(len(directions), dtype=torch.float64)
    last = int((left <= error).double().argmax()) if error >= left.min() else len(left) - 1
    shares[last + 1 :] = 0
    if energy[last] > 0:
        share_left = max(0.0, error - float(left[last])) / float(energy[last])
        shares[last] = 1 - min(1.0, math.sqrt(share_left))
    return lambda images: linear_filter(images, mean, directions, shares)


@over_seeds(images=4, error=0)
def matched_blur(images: Seeds[Tensor], error: Seeds[float]) -> Filter | list[Filter]:
    """A Gaussian blur, as wide as leaves `images` a clean error of `error` on average.

    Borders are continued by their last pixel. Args, returns and raises as in `matched_pca`.

    Source: chapter 3, "Is it more than a blur?".

    >>> images = torch.rand(3, 1, 8, 8)
    >>> torch.equal(matched_blur(images, error=0.0)(images), images)
    True
    """
    images = as_images(images)
    error = checks.number(error, "error", least=0)

    def blur(width: float) -> Filter:
        down, across = (_blur(size, width) for size in images.shape[2:])
        return lambda x: down.to(x) @ x @ across.to(x).T

    def excess(width: float) -> float:
        return float((blur(width)(images) - images).square().mean()) - error

    if error == 0:
        return blur(0.0)
    widest = 2.0 * max(images.shape[2:])
    if excess(widest) < 0:
        expected = f"{excess(widest) + error:.4g} or less, as a blur of {widest:g} pixels leaves"
        raise ValueError(checks.message("error", expected, checks.Described(f"{error:.4g}")))
    from scipy.optimize import brentq

    width: Any = brentq(excess, 0.0, widest, xtol=1e-4)
    return blur(width)


def _blur(size: int, width: float) -> Tensor:
    """The matrix (size, size) that blurs one row of pixels."""
    if width == 0:
        return torch.eye(size)
    from scipy.ndimage import gaussian_filter1d

    return torch.from_numpy(gaussian_filter1d(torch.eye(size).numpy(), width, 0, mode="nearest"))
