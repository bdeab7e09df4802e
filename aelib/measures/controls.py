"""What denoises without having learned to: a PCA and a blur that err as much as a given net."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from aelib.measures.checks import as_images, as_number
from aelib.measures.linear import linear_filter, principal_directions

Filter = Callable[[Tensor], Tensor]


def mean_image(train: Tensor) -> Filter:
    """The map that answers every image with the mean of `train`. Source: chapter 3."""
    mean = as_images(train, "train").mean(0)
    return lambda images: mean.to(images).expand_as(images)


def matched_pca(train: Tensor, images: Tensor, error: float) -> Filter:
    """As many principal directions of `train` as leave `images` a clean error of `error`.

    The last direction is kept in part, so that the mean of `clean_error` over `images` is `error`
    exactly. The control for a net that errs as much: what it gains beyond this filter is its own.

    Args:
        train: where the directions come from.
        images: where the error is measured; those the net is measured on.
        error: B in squared grey levels, as `clean_error` has it.

    Returns:
        A map from images to images of the same shape.

    Raises:
        ValueError: for an error below 0, or above what the mean of `train` alone leaves.

    Source: chapter 3, "Is it more than a blur?".
    """
    images = as_images(images, "images")
    error = as_number(error, "error", or_zero=True)
    mean, directions, _ = principal_directions(as_images(train, "train", like=images, paired=False))
    codes = (images.flatten(1) - mean).double() @ directions.double().T  # (n, d)
    energy = codes.square().mean(0) / codes.shape[1]  # what leaving a direction out costs
    left = energy.sum() - energy.cumsum(0)  # the error once directions 0 … k are kept
    if error > energy.sum():
        raise ValueError(
            f"error: the mean of train alone leaves {float(energy.sum()):.4g}, and no PCA errs "
            f"more; got {error:.4g}"
        )
    shares = torch.ones(len(directions), dtype=torch.float64)
    first = int((left <= error).double().argmax()) if error >= left.min() else len(left) - 1
    shares[first + 1 :] = 0
    if energy[first] > 0:
        shares[first] = 1 - math.sqrt(max(0.0, error - float(left[first])) / float(energy[first]))
    return lambda images: linear_filter(images, mean, directions, shares)


def matched_blur(images: Tensor, error: float) -> Filter:
    """A Gaussian blur, as wide as leaves `images` a clean error of `error` on average.

    Borders are continued by their last pixel. Args, returns and raises as in `matched_pca`.

    Source: chapter 3, "Is it more than a blur?".
    """
    images = as_images(images, "images")
    error = as_number(error, "error", or_zero=True)

    def made(width: float) -> Filter:
        down, across = (_blur(size, width) for size in images.shape[2:])
        return lambda x: down.to(x) @ x @ across.to(x).T

    def excess(width: float) -> float:
        return float((made(width)(images) - images).square().mean()) - error

    if error == 0:
        return made(0.0)
    widest = 2.0 * max(images.shape[2:])
    if excess(widest) < 0:
        raise ValueError(
            f"error: even a blur of {widest:g} pixels leaves only {excess(widest) + error:.4g}, "
            f"got {error:.4g}; ask for less"
        )
    from scipy.optimize import brentq

    return made(brentq(excess, 0.0, widest, xtol=1e-4))


def _blur(size: int, width: float) -> Tensor:
    """The matrix (size, size) that blurs one row of pixels."""
    if width == 0:
        return torch.eye(size)
    from scipy.ndimage import gaussian_filter1d

    return torch.from_numpy(gaussian_filter1d(torch.eye(size).numpy(), width, 0, mode="nearest"))
