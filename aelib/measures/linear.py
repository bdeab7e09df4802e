"""The linear world: principal directions, filters along them, and their gains in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aelib.measures.checks import (
    as_images,
    as_number,
    as_orthonormal,
    as_spectrum,
    as_vector,
    check_count,
)


def principal_directions(images: Tensor, k: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The mean (d,), the first k principal directions (k, d) and their variances (k,), falling.

    Rows are orthonormal; each row's largest element is positive, which fixes its sign. Variances
    are squared grey levels, over n and not n − 1, so that all of them sum to the mean ‖a − mean‖².
    k defaults to d: beyond the data's rank come directions of variance 0 that complete the basis.
    By singular values in float64, returned in the images' dtype. Needs two images, 1 ≤ k ≤ d.
    Source: chapter 1.
    """
    images = as_images(images, "images")
    if len(images) < 2:
        raise ValueError("images must hold at least two images to have directions, got 1")
    flat = images.flatten(1).double()
    d = flat.shape[1]
    k = d if k is None else k
    check_count(k, "k", 1, d, "the number of elements of an image")
    mean = flat.mean(0)
    _, values, rows = torch.linalg.svd(flat - mean, full_matrices=False)
    if k > len(rows):
        rest = torch.linalg.qr(rows.T, mode="complete").Q[:, len(rows) :]
        rows = torch.cat([rows, rest.T])
    rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    variances = torch.zeros_like(mean)
    variances[: len(values)] = values.square() / len(flat)
    return mean.to(images), rows[:k].to(images), variances[:k].to(images)


def linear_filter(images: Tensor, mean: Tensor, directions: Tensor, shares: Tensor) -> Tensor:
    """mean + Σᵢ sᵢ ⟨x − mean, vᵢ⟩ vᵢ: keeps the share sᵢ (k,) of each direction vᵢ, drops the rest.

    `directions` is (k, d) with orthonormal rows; the result has the images' shape. A linear net
    trained for time t from near zero is this filter with sᵢ = 1 − exp(−λᵢt). Source: chapter 1.
    """
    images = as_images(images, "images")
    directions = as_orthonormal(directions, images)
    shares = torch.as_tensor(shares, dtype=torch.float64).to(images)
    if shares.shape != directions.shape[:1]:
        raise ValueError(
            f"shares (or variances) must be one number for each of the {len(directions)} "
            f"directions, got shape {tuple(shares.shape)}"
        )
    mean = as_vector(mean, images)
    codes = (images.flatten(1) - mean) @ directions.T  # (n, k)
    return (mean + (codes * shares) @ directions).reshape(images.shape)


def pca_reconstruct(images: Tensor, mean: Tensor, directions: Tensor) -> Tensor:
    """What k principal directions keep of each image: `linear_filter` with every share 1."""
    return linear_filter(images, mean, directions, torch.ones(len(directions)))


def wiener(
    images: Tensor, mean: Tensor, directions: Tensor, variances: Tensor, sigma: float
) -> Tensor:
    """The best linear denoiser for noise σ: `linear_filter` with sᵢ = λᵢ / (λᵢ + σ²).

    λᵢ are the `variances` (k,) along the directions; what they do not span counts as variance 0.
    Source: Wiener (1949); chapters 1 and 3.
    """
    sigma = as_number(sigma, "sigma")
    variances = as_spectrum(variances)
    return linear_filter(images, mean, directions, variances / (variances + sigma**2))


def filter_gain(variances: Tensor, shares: Tensor, sigma: float) -> float:
    """Gain of `linear_filter` in dB: −10 log₁₀( Σᵢ ((1 − sᵢ)² λᵢ/σ² + sᵢ²) / d ).

    In closed form, for white noise and data of these variances λᵢ, of any distribution. Give all d
    of them, zeros too: d is read from their number. It is the ratio of mean energies, the mean of
    `denoising_gain` is of logarithms. Source: chapter 1.
    """
    sigma = as_number(sigma, "sigma")
    variances = as_spectrum(variances)
    shares = torch.as_tensor(shares, dtype=torch.float64).to(variances)
    if shares.shape != variances.shape:
        raise ValueError(
            f"shares must be as many as variances ({len(variances)}), got {tuple(shares.shape)}"
        )
    rest = ((1 - shares).square() * variances / sigma**2 + shares.square()).mean().item()
    return math.inf if rest == 0 else -10 * math.log10(rest)


def wiener_gain(variances: Tensor, sigma: float) -> float:
    """The most a linear filter gains, in dB: −10 log₁₀( Σᵢ λᵢ/(λᵢ + σ²) / d ), above 0.

    On Gaussian data nothing gains more. `variances` as in `filter_gain`; inf if all are 0.
    Source: Wiener (1949); chapter 1.
    """
    sigma = as_number(sigma, "sigma")
    variances = as_spectrum(variances)
    return filter_gain(variances, variances / (variances + sigma**2), sigma)


def truncated_pca_gain(variances: Tensor, keep: int, sigma: float) -> float:
    """Gain in dB of the first k = `keep` directions: −10 log₁₀( (Σ_{i>k} λᵢ/σ² + k) / d ).

    `variances` as in `filter_gain`; 0 ≤ keep ≤ d. Source: chapters 1 and 3.
    """
    variances = as_spectrum(variances)
    check_count(keep, "keep", 0, len(variances), "the number of variances")
    return filter_gain(variances, (torch.arange(len(variances)) < keep).double(), sigma)


def subspace_distance(first: Tensor, second: Tensor) -> float:
    """‖P₁ − P₂‖_F / √(2k) for the spans of the rows of two (k, d) matrices; P projects onto a span.

    From 0 (the same span) to 1 (at right angles; out of reach if 2k > d). The rows need not be
    orthonormal, only independent. Computed as ‖Q₂ − P₁Q₂‖_F / √k, which keeps small distances
    exact to 10⁻¹⁵. Source: chapter 1.
    """
    first, second = torch.as_tensor(first), torch.as_tensor(second)
    bases = []
    for name, rows in (("first", first), ("second", second)):
        if rows.dim() != 2 or rows.numel() == 0 or rows.shape != first.shape:
            raise ValueError(
                f"first and second must both be (k, d), got {tuple(first.shape)} for first and "
                f"{tuple(second.shape)} for second"
            )
        if not rows.isfinite().all() or torch.linalg.matrix_rank(rows.double()) < len(rows):
            raise ValueError(f"the rows of {name} must be finite and independent; drop the others")
        bases.append(torch.linalg.qr(rows.double().T).Q)  # (d, k)
    one, two = bases
    return min(1.0, float((two - one @ (one.T @ two)).norm() / math.sqrt(len(first))))


def effective_rank(values: Tensor) -> Tensor:
    """Participation ratio (Σλ)² / Σλ² over the last axis of a spectrum of variances λ ≥ 0.

    From 1 (one direction has it all) to the number of values (all alike). For singular values,
    square them first. ValueError for a spectrum of zeros. Source: chapter 5.
    """
    if not isinstance(values, Tensor):
        values = torch.tensor(values, dtype=torch.float64)
    if values.dim() == 0 or values.numel() == 0 or not (values >= 0).all():
        raise ValueError("values must hold at least one variance, none negative or not a number")
    largest = values.amax(-1, keepdim=True)
    if not ((largest > 0) & largest.isfinite()).all():
        raise ValueError("every spectrum in values needs a value above 0, and none infinite")
    scaled = values / largest  # squares of tiny variances would underflow
    return scaled.sum(-1).square() / scaled.square().sum(-1)
