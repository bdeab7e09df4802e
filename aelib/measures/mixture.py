"""A distribution with a known score: a mixture of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from aelib import checks


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

    >>> mixture_score(torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2), variance=2.0)
    tensor([[-1.5000,  0.0000]])
    """
    variance = checks.number(variance, "variance", above=0)
    points = checks.tensor(points, "points", ("n", "d"))
    means = checks.tensor(means, "means", ("k", points.shape[1])).to(points)
    weights = torch.ones(len(means)) if weights is None else weights
    weights = checks.tensor(weights, "weights", (len(means),)).to(points)
    if not (weights > 0).all():
        raise ValueError(checks.message("weights", "above 0 each", weights.tolist()))
    offsets = means - points[:, None]  # (n, k, d)
    exponents = weights.log() - offsets.square().sum(-1) / (2 * variance)
    return (exponents.softmax(-1)[..., None] * offsets).sum(1) / variance
