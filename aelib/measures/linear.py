"""The linear world: principal directions, filters along them, and their gains in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import as_images
from aelib.measures.seeds import Seeds, over_seeds
from aelib.measures.spectra import as_spectrum


@over_seeds(images=4)
def principal_directions(
    images: Seeds[Tensor], k: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean (d,), the first k principal directions (k, d) and their variances (k,), falling.

    Rows are orthonormal; each row's largest element is positive, which fixes its sign. Variances
    are squared grey levels, over n and not n − 1, so that all of them sum to the mean ‖a − mean‖².
    k defaults to d: beyond the data's rank come directions of variance 0 that complete the basis.
    By singular values in float64, returned in the images' dtype. Needs two images, 1 ≤ k ≤ d.
    Source: chapter 1.

    >>> images = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).view(2, 1, 1, 2)
    >>> mean, directions, variances = principal_directions(images)
    >>> directions[0], variances
    (tensor([1., 0.]), tensor([1., 0.]))
    """
    images = as_images(images)
    if len(images) < 2:
        raise ValueError(checks.message("images", "two or more, to have directions", images))
    flat = images.flatten(1).double()
    d = flat.shape[1]
    limit = "the number of elements of an image"
    k = d if k is None else checks.whole(k, "k", least=1, most=d, limit=limit)
    mean = flat.mean(0)
    _, values, rows = torch.linalg.svd(flat - mean, full_matrices=False)
    if k > len(rows):
        rest = torch.linalg.qr(rows.T, mode="complete").Q[:, len(rows) :]
        rows = torch.cat([rows, rest.T])
    rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    variances = torch.zeros_like(mean)
    variances[: len(values)] = values.square() / len(flat)
    return mean.to(images), rows[:k].to(images), variances[:k].to(images)


def linear_filter(
    images: Tensor, mean: Tensor, directions: Tensor, shares: Tensor | Sequence[float]
) -> Tensor:
    """mean + Σᵢ sᵢ ⟨x − mean, vᵢ⟩ vᵢ: keeps the share sᵢ (k,) of each direction vᵢ, drops the rest.

    `directions` is (k, d) with orthonormal rows; the result has the images' shape. A linear model
    trained for time t from near zero is this filter with sᵢ = 1 − exp(−λᵢt). Source: chapter 1.

    >>> linear_filter(torch.ones(1, 1, 1, 2), torch.zeros(2), torch.eye(2), [0.25, 1.0])
    tensor([[[[0.2500, 1.0000]]]])
    """
    images = as_images(images)
    directions = as_orthonormal(directions, images)
    shares = torch.as_tensor(shares, dtype=torch.float64)
    shares = checks.tensor(shares, "shares", (len(directions),)).to(images)
    mean = as_vector(mean, images)
    codes = (images.flatten(1) - mean) @ directions.T  # (n, k)
    return (mean + (codes * shares) @ directions).reshape(images.shape)


def pca_reconstruct(images: Tensor, mean: Tensor, directions: Tensor) -> Tensor:
    """What k principal directions keep of each image: `linear_filter` with every share 1.

    `pca_filter` is the same as a map, fitted to training images.
    """
    return linear_filter(images, mean, directions, torch.ones(len(directions)))


def filter_gain(
    variances: Tensor | Sequence[float], shares: Tensor | Sequence[float], sigma: float
) -> Any:
    """Gain of `linear_filter` in dB: −10 log₁₀( Σᵢ ((1 − sᵢ)² λᵢ/σ² + sᵢ²) / d ).

    In closed form, for white noise and data of these variances λᵢ, of any distribution. Give all d
    of them, zeros too: d is read from their number. It is the ratio of mean energies, the mean of
    `denoising_gain` is of logarithms. Source: chapter 1.

    Args:
        variances: λᵢ, (d,), or (..., d) for several sets of data.
        shares: sᵢ, (d,), or (..., d) for several filters, such as training times.
        sigma: the noise's deviation.

    Returns:
        A number, or a tensor (...) in float64.

    >>> filter_gain([1.0, 0.0], torch.eye(2), sigma=2.0)
    tensor([3.0103, 2.0412], dtype=torch.float64)
    """
    sigma = checks.number(sigma, "sigma", above=0)
    variances = as_spectrum(variances).double()
    shares = torch.as_tensor(shares, dtype=torch.float64)
    shares = checks.tensor(shares, "shares", (..., variances.shape[-1])).to(variances)
    rest = ((1 - shares).square() * variances / sigma**2 + shares.square()).mean(-1)
    if rest.ndim:
        return -10 * rest.log10()
    return math.inf if rest == 0 else -10 * math.log10(rest)


def wiener_gain(variances: Tensor | Sequence[float], sigma: float) -> Any:
    """The most a linear filter gains, in dB: −10 log₁₀( Σᵢ λᵢ/(λᵢ + σ²) / d ), above 0.

    On Gaussian data nothing gains more. `variances` as in `filter_gain`; inf if all are 0.
    Source: Wiener (1949); chapter 1.

    >>> round(wiener_gain([0.25, 0.25], sigma=0.5), 2)
    3.01
    """
    variances = as_spectrum(variances).double()
    return filter_gain(variances, wiener_shares(variances, sigma), sigma)


def wiener_shares(variances: Tensor, sigma: float) -> Tensor:
    """λᵢ / (λᵢ + σ²): what the Wiener filter keeps of each direction."""
    return variances / (variances + checks.number(sigma, "sigma", above=0) ** 2)


def truncated_pca_gain(variances: Tensor | Sequence[float], k: int, sigma: float) -> Any:
    """Gain in dB of the first k directions: −10 log₁₀( (Σ_{i>k} λᵢ/σ² + k) / d ).

    `variances` as in `filter_gain`; 0 ≤ k ≤ d. Source: chapters 1 and 3.
    """
    variances = as_spectrum(variances).double()
    d = variances.shape[-1]
    k = checks.whole(k, "k", least=0, most=d, limit="the number of variances")
    return filter_gain(variances, (torch.arange(d) < k).double(), sigma)


@over_seeds(first=2, second=2)
def subspace_distance(first: Seeds[Tensor], second: Seeds[Tensor]) -> Any:
    """‖P₁ − P₂‖_F / √(2k) for the spans of the rows of two (k, d) matrices; P projects onto a span.

    From 0 (the same span) to 1 (at right angles; out of reach if 2k > d). The rows need not be
    orthonormal, only independent. Computed as ‖Q₂ − P₁Q₂‖_F / √k, which keeps small distances
    exact to 10⁻¹⁵. Source: chapter 1.

    >>> subspace_distance(torch.eye(4)[:2], torch.eye(4)[2:])
    1.0
    """
    first = checks.tensor(first, "first", ("k", "d"))
    second = checks.tensor(second, "second", tuple(first.shape))
    bases = []
    for name, rows in (("first", first), ("second", second)):
        if torch.linalg.matrix_rank(rows.double()) < len(rows):
            raise ValueError(checks.message(name, "independent rows", rows, "drop the others"))
        bases.append(torch.linalg.qr(rows.double().T).Q)  # (d, k)
    basis, other = bases
    return min(1.0, float((other - basis @ (basis.T @ other)).norm() / math.sqrt(len(first))))


def as_vector(mean: object, images: Tensor) -> Tensor:
    """A mean image of any shape as (d,), in the images' dtype, on their device."""
    flat = checks.tensor(mean, "mean", (...,)).flatten()
    return checks.tensor(flat, "mean", (images[0].numel(),)).to(images)


def as_orthonormal(directions: object, images: Tensor) -> Tensor:
    """A basis (k, d) with orthonormal rows, in the images' dtype, on their device."""
    rows = checks.tensor(directions, "directions", ("k", images[0].numel())).to(images)
    gap = rows @ rows.T - torch.eye(len(rows)).to(images)
    if not gap.abs().max() < 1e-3:
        got = checks.Described(f"products up to {gap.abs().max():.2g} off")
        advice = "use torch.linalg.qr on them"
        raise ValueError(checks.message("directions", "orthonormal rows", got, advice))
    return rows
