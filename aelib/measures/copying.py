"""How well a model copies, what it does to noise, and what the one says of the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from aelib import checks, random
from aelib.measures.evaluate import Model, as_images, energies, run_model
from aelib.measures.linear import as_orthonormal, as_vector
from aelib.measures.seeds import Seeds, over_seeds

Noise = Callable[[Tensor, torch.Generator], Tensor]


class Response(NamedTuple):
    """How a model answers noise, each (n,): `copy` is κ, `transmission` τ; both 1 if O(x) = x."""

    copy: Tensor
    transmission: Tensor


@over_seeds("model", images=4)
def clean_error(model: Seeds[Model], images: Seeds[Tensor]) -> Tensor:
    """B = ‖O(a) − a‖² / d for each image: (n,), squared grey levels, 0 for a perfect copy.

    Source: chapter 1.

    >>> clean_error(lambda x: x + 0.5, torch.zeros(2, 1, 4, 4))
    tensor([0.2500, 0.2500])
    """
    images = as_images(images)
    return energies(run_model(model, images) - images) / images[0].numel()


@over_seeds("model", "mean", images=4)
def unexplained_variance(
    model: Seeds[Model], images: Seeds[Tensor], mean: Seeds[Tensor] | None = None
) -> float | Tensor:
    """fvu = Σ‖O(a) − a‖² / Σ‖a − mean‖²: the error as a share of the variance, over all images.

    A ratio of sums, so a flat image cannot blow it up. 0 is a perfect copy; always answering `mean`
    scores 1. `mean` has d elements; without it, the images' own. ValueError if they do not vary.
    Source: chapter 1.

    >>> images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    >>> unexplained_variance([lambda x: x, torch.zeros_like], images)
    tensor([0., 2.], dtype=torch.float64)
    """
    images = as_images(images)
    center = images.mean(0) if mean is None else as_vector(mean, images)
    variance = energies(images - center.reshape(images[0].shape)).double().sum()
    rounding = 8 * torch.finfo(images.dtype).eps
    if not variance > rounding**2 * energies(images).double().sum():
        got = checks.Described("all equal to it")
        raise ValueError(checks.message("images", "some that differ from their mean", got))
    return float(energies(run_model(model, images) - images).double().sum() / variance)


@over_seeds("model", "noise", "seed", images=4)
def denoising_gain(
    model: Seeds[Model],
    images: Seeds[Tensor],
    noise: Seeds[Noise],
    seed: Seeds[int] | torch.Generator = 0,
) -> Tensor:
    """G = 10 log₁₀(‖e‖² / ‖O(a+e) − a‖²) for each image: (n,), in dB.

    `noise` maps (images, generator) to noisy images, as `data.gaussian(0.2)` does; e is what it
    added. 0 if the model leaves the noise as it is, negative if it hurts, inf if it restores the
    image exactly. ValueError if the noise leaves an image unchanged. Source: chapter 3.

    >>> denoising_gain(lambda x: 0.1 * x, torch.zeros(2, 1, 8, 8), lambda x, generator: x + 1)
    tensor([20., 20.])
    """
    images = as_images(images)
    add = checks.function(noise, "noise", "data.gaussian(0.2)")
    noisy = add(images, random.generator(cast(int, seed)))
    noisy = as_images(noisy, "noise(images, generator)", like=images)
    before = energies(noisy - images)
    _check_noise(before)
    return 10 * torch.log10(before / energies(run_model(model, noisy) - images))


@over_seeds("model", "seed", images=4, sigma=0, directions=2)
def response(
    model: Seeds[Model],
    images: Seeds[Tensor],
    sigma: Seeds[float],
    *,
    directions: Seeds[Tensor] | None = None,
    draws: int = 1,
    seed: Seeds[int] | torch.Generator = 0,
) -> Response:
    """κ = E⟨O(a+e) − O(a), e⟩ / E‖e‖² and τ = E‖O(a+e) − O(a)‖² / E‖e‖² for each image.

    e is white, of deviation `sigma` (grey levels). With `directions`, (k, d) with orthonormal rows,
    it lies in their span only, with deviation sigma along each: κ∥ and τ∥ for the data's own
    directions, κ⊥ and τ⊥ for the others. Each E is a mean over the image's `draws` of e, taken
    before dividing. One draw scatters κ around its mean, the more the fewer the directions; more
    draws, or a mean over images, narrow that. τ ≥ 0 and κ² ≤ τ. The identity has κ = τ = 1, a
    constant map 0 and 0, O(x) = Wx has κ = tr W / d and τ = ‖W‖² / d (Frobenius).
    Source: chapter 2.

    >>> response(lambda x: 0.5 * x, torch.zeros(2, 1, 8, 8), sigma=0.1)
    Response(copy=tensor([0.5000, 0.5000]), transmission=tensor([0.2500, 0.2500]))
    """
    images = as_images(images)
    sigma = checks.number(sigma, "sigma", above=0)
    draws = checks.whole(draws, "draws", least=1)
    basis = None if directions is None else as_orthonormal(directions, images)
    source = random.generator(cast(int, seed))
    clean = run_model(model, images)
    overlap, passed, energy = (images.new_zeros(len(images)) for _ in range(3))
    for _ in range(draws):
        noisy = images + sigma * _white(images, basis, source)
        noise = noisy - images  # what rounding left of it, so that the identity gets exactly 1
        change = run_model(model, noisy) - clean
        overlap += (change * noise).flatten(1).sum(1)
        passed += energies(change)
        energy += energies(noise)
    _check_noise(energy)
    return Response(overlap / energy, passed / energy)


def copy_coefficient(
    model: Seeds[Model], images: Seeds[Tensor], sigma: Seeds[float], **options: Any
) -> Tensor:
    """κ of `response`, with its options: (n,), the share of the noise that comes out as itself.

    >>> copy_coefficient([lambda x: x, torch.zeros_like], torch.zeros(2, 1, 8, 8), sigma=0.1)
    tensor([[1., 1.],
            [0., 0.]])
    """
    return response(model, images, sigma, **options).copy


def transmission(
    model: Seeds[Model], images: Seeds[Tensor], sigma: Seeds[float], **options: Any
) -> Tensor:
    """τ of `response`, with its options: (n,), the energy that comes out for the noise's energy."""
    return response(model, images, sigma, **options).transmission


@over_seeds(error=0, sigma=0, tau=0)
def predicted_gain(error: Seeds[float], sigma: Seeds[float], tau: Seeds[float]) -> float | Tensor:
    """G ≈ −10 log₁₀(B/σ² + τ) in dB, from the clean error B, the noise and the transmission τ.

    Exact on average for a linear O and noise of mean zero; otherwise it drops the overlap of the
    clean error with the answer to the noise. τ belongs to this sigma unless O is linear. It speaks
    of mean errors, the mean of `denoising_gain` of logarithms. Source: chapter 3.

    >>> round(predicted_gain(error=0.01, sigma=0.2, tau=0.25), 2)
    3.01
    """
    sigma = checks.number(sigma, "sigma", above=0)
    error, tau = checks.number(error, "error", least=0), checks.number(tau, "tau", least=0)
    rest = error / sigma**2 + tau
    return math.inf if rest == 0 else -10 * math.log10(rest)


@over_seeds(error=0, tau=0)
def break_even_noise(error: Seeds[float], tau: Seeds[float]) -> float | Tensor:
    """σ* = √(B / (1 − τ)), where `predicted_gain` is 0: with less noise than this the model hurts.

    In grey levels; inf if τ ≥ 1, for then no noise is large enough. Source: chapter 3.

    >>> round(break_even_noise(error=0.0075, tau=0.25), 3)
    0.1
    """
    error, tau = checks.number(error, "error", least=0), checks.number(tau, "tau", least=0)
    return math.sqrt(error / (1 - tau)) if tau < 1 else math.inf


def _white(images: Tensor, directions: Tensor | None, source: torch.Generator) -> Tensor:
    if directions is None:
        return random.normal(images.shape, images, source)
    draw = random.normal((len(images), len(directions)), images, source)
    return (draw @ directions).reshape(images.shape)


def _check_noise(energy: Tensor) -> None:
    """Refuse noise of energy 0, for measures divide by it."""
    if (energy == 0).any():
        got = checks.Described(f"image {int(energy.argmin())} unchanged")
        advice = "raise sigma, or use float64 if it is below rounding"
        raise ValueError(checks.message("noise", "a change of every image", got, advice))
