"""A distribution with a known score, and the shape of a distribution that is not known."""

from __future__ import annotations

import torch
from torch import Tensor

from aelib.measures.checks import as_images, as_number


def mixture_score(
    points: Tensor, means: Tensor, variance: float, weights: Tensor | None = None
) -> Tensor:
    """The score ∇ log p(x) of a mixture of round Gaussians, in closed form.

    p(x) = Σᵢ wᵢ N(x; mᵢ, v). With noise of deviation σ added to the mixture's own points, v is
    their variance plus σ², and the best denoiser is x + σ² times this (Tweedie).

    Args:
        points: (n, d), where to ask.
        means: (k, d), the mᵢ.
        variance: v, along each axis, above 0.
        weights: (k,), the wᵢ, above 0; they are scaled to sum to 1. None for equal ones.

    Returns:
        (n, d), in the points' dtype.

    Raises:
        ValueError: for points and means of different d, or weights that do not fit.

    Source: Alain and Bengio (2014), arXiv 1211.4246; chapter 3, "What a denoiser knows".
    """
    variance = as_number(variance, "variance")
    means = torch.as_tensor(means).to(points)
    if points.dim() != 2 or means.dim() != 2 or points.shape[1] != means.shape[1]:
        raise ValueError(
            f"points and means must be (n, d) and (k, d), got {tuple(points.shape)} and "
            f"{tuple(means.shape)}"
        )
    weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
    if weights.shape != means.shape[:1] or not ((weights > 0) & weights.isfinite()).all():
        raise ValueError(
            f"weights must be {len(means)} finite numbers above 0, got {weights.tolist()}"
        )
    towards = means - points[:, None]  # (n, k, d)
    exponents = weights.to(points).log() - towards.square().sum(-1) / (2 * variance)
    return (exponents.softmax(-1)[..., None] * towards).sum(1) / variance


def excess_kurtosis(images: Tensor) -> Tensor:
    """E(x − x̄)⁴ / (E(x − x̄)²)² − 3 over the elements of each image: (n,), 0 for Gaussian ones.

    From −2 (two values, evenly) upwards without end; −1.2 for uniform values. The variance and the
    fourth moment divide by d. ValueError for an image without variance. Source: chapter 3.
    """
    flat = as_images(images, "images").flatten(1).double()
    centred = flat - flat.mean(1, keepdim=True)
    second = centred.square().mean(1)
    rounding = 8 * torch.finfo(images.dtype).eps
    flat_ones = second <= (rounding * flat.abs().amax(1)).square()
    if flat_ones.any():
        raise ValueError(
            f"image {int(flat_ones.nonzero()[0])} has no variance, so its kurtosis means nothing; "
            "leave it out"
        )
    return (centred.pow(4).mean(1) / second.square() - 3).to(images.dtype)
