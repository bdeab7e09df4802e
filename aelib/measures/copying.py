"""How well a net copies, what it does to noise, and what the one says of the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aelib.measures.checks import (
    as_generator,
    as_images,
    as_number,
    as_orthonormal,
    as_vector,
    check_count,
    check_noise,
)
from aelib.measures.nets import Net, energies, run_net

Noise = Callable[[Tensor, torch.Generator], Tensor]


class Response(NamedTuple):
    """How a net answers noise, each (n,): `copy` is κ, `transmission` is τ; both 1 if O(x) = x."""

    copy: Tensor
    transmission: Tensor


def clean_error(net: Net, images: Tensor) -> Tensor:
    """B = ‖O(a) − a‖² / d for each image: (n,), squared grey levels, 0 for a perfect copy.

    Source: chapter 1.
    """
    images = as_images(images, "images")
    return energies(run_net(net, images) - images) / images[0].numel()


def unexplained_variance(net: Net, images: Tensor, mean: Tensor | None = None) -> float:
    """fvu = Σ‖O(a) − a‖² / Σ‖a − mean‖²: the error as a share of the variance, over all images.

    A ratio of sums, so a flat image cannot blow it up. 0 is a perfect copy; always answering `mean`
    scores 1. `mean` has d elements; without it, the images' own. ValueError if they do not vary.
    Source: chapter 1.
    """
    images = as_images(images, "images")
    centre = images.mean(0) if mean is None else as_vector(mean, images)
    variance = energies(images - centre.reshape(images[0].shape)).double().sum()
    rounding = 8 * torch.finfo(images.dtype).eps
    if not variance > rounding**2 * energies(images).double().sum():
        raise ValueError("images must differ from their mean, but all are equal to it; give more")
    return float(energies(run_net(net, images) - images).double().sum() / variance)


def denoising_gain(
    net: Net, images: Tensor, noise: Noise, seed: int | torch.Generator = 0
) -> Tensor:
    """G = 10 log₁₀(‖e‖² / ‖O(a+e) − a‖²) for each image: (n,), in dB.

    `noise` maps (images, generator) to noisy images, as `data.gaussian(0.2)` does; e is what it
    added. 0 if the net leaves the noise as it is, negative if it hurts, inf if it restores the
    image exactly. ValueError if the noise leaves an image unchanged. Source: chapter 3.
    """
    images = as_images(images, "images")
    if not callable(noise):
        raise TypeError(f"noise must be callable, as data.gaussian(0.2) is; got {noise!r}")
    noisy = as_images(noise(images, as_generator(seed)), "noise(images, generator)", like=images)
    before = energies(noisy - images)
    check_noise(before)
    return 10 * torch.log10(before / energies(run_net(net, noisy) - images))


def response(
    net: Net,
    images: Tensor,
    sigma: float,
    *,
    directions: Tensor | None = None,
    draws: int = 1,
    seed: int | torch.Generator = 0,
) -> Response:
    """κ = E⟨O(a+e) − O(a), e⟩ / E‖e‖² and τ = E‖O(a+e) − O(a)‖² / E‖e‖² for each image.

    e is white, of deviation `sigma` (grey levels). With `directions`, (k, d) with orthonormal rows,
    it lies in their span only, with deviation sigma along each: κ∥ and τ∥ for the data's own
    directions, κ⊥ and τ⊥ for the others. Each E is a mean over the image's `draws` of e, taken
    before dividing. One draw scatters κ around its mean, the more the fewer the directions; more
    draws, or a mean over images, narrow that. τ ≥ 0 and κ² ≤ τ. The identity has κ = τ = 1, a
    constant map 0 and 0, O(x) = Wx has κ = tr W / d and τ = ‖W‖² / d (Frobenius).
    Source: chapter 2.
    """
    images = as_images(images, "images")
    sigma = as_number(sigma, "sigma")
    check_count(draws, "draws", 1)
    if directions is not None:
        directions = as_orthonormal(directions, images)
    source = as_generator(seed)
    clean = run_net(net, images)
    overlap, passed, energy = (images.new_zeros(len(images)) for _ in range(3))
    for _ in range(draws):
        noisy = images + sigma * _white(images, directions, source)
        noise = noisy - images  # what rounding left of it, so that the identity gets exactly 1
        change = run_net(net, noisy) - clean
        overlap += (change * noise).flatten(1).sum(1)
        passed += energies(change)
        energy += energies(noise)
    check_noise(energy)
    return Response(overlap / energy, passed / energy)


def copy_coefficient(net: Net, images: Tensor, sigma: float, **options) -> Tensor:
    """κ of `response`, with its options: (n,), the share of the noise that comes out as itself."""
    return response(net, images, sigma, **options).copy


def transmission(net: Net, images: Tensor, sigma: float, **options) -> Tensor:
    """τ of `response`, with its options: (n,), the energy that comes out for the noise's energy."""
    return response(net, images, sigma, **options).transmission


def predicted_gain(error: float, sigma: float, tau: float) -> float:
    """G ≈ −10 log₁₀(B/σ² + τ) in dB, from the clean error B, the noise and the transmission τ.

    Exact on average for a linear O and noise of mean zero; otherwise it drops the overlap of the
    clean error with the answer to the noise. τ belongs to this sigma unless O is linear. It speaks
    of mean errors, the mean of `denoising_gain` of logarithms. Source: chapter 3.

    >>> round(predicted_gain(error=0.01, sigma=0.2, tau=0.25), 2)
    3.01
    """
    sigma = as_number(sigma, "sigma")
    error = as_number(error, "error", or_zero=True)
    tau = as_number(tau, "tau", or_zero=True)
    rest = error / sigma**2 + tau
    return math.inf if rest == 0 else -10 * math.log10(rest)


def break_even_noise(error: float, tau: float) -> float:
    """σ* = √(B / (1 − τ)), where `predicted_gain` is 0: with less noise than this the net hurts.

    In grey levels; inf if τ ≥ 1, for then no noise is large enough. Source: chapter 3.

    >>> round(break_even_noise(error=0.0075, tau=0.25), 3)
    0.1
    """
    error = as_number(error, "error", or_zero=True)
    tau = as_number(tau, "tau", or_zero=True)
    return math.sqrt(error / (1 - tau)) if tau < 1 else math.inf


def _white(images: Tensor, directions: Tensor | None, source: torch.Generator) -> Tensor:
    size = images.shape if directions is None else (len(images), len(directions))
    draw = torch.randn(size, generator=source, device=source.device, dtype=torch.float32).to(images)
    return draw if directions is None else (draw @ directions).reshape(images.shape)
