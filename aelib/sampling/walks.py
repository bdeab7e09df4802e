"""Walks: an autoencoder applied again and again, with noise on the way and without.

Each function is pure: tensors and a seed in, tensors out. The model runs without gradients and in
evaluation mode (its own mode comes back afterwards). Noise is drawn where the generator is, so that
an int gives the same walk on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aelib import checks, random
from aelib.models import evaluating


class Autoencoder(Protocol):
    """What has both halves, as the autoencoders in `models` do."""

    def __call__(self, images: Tensor, /) -> Any: ...
    def encode(self, images: Tensor, /) -> Tensor: ...
    def decode(self, code: Tensor, /) -> Tensor: ...


def manifold_walk(
    model: Autoencoder,
    images: Tensor,
    steps: int,
    *,
    sigma: float | Tensor,
    clamp: tuple[float, float] | None = None,
    seed: int | torch.Generator = 0,
    callback: Callable[[dict], object] | None = None,
) -> Tensor:
    """Encode, add noise to the code, decode; and again: x ← D(E(x) + sigma · e).

    Args:
        model: with `encode` and `decode`, such as an `MLPAutoencoder`. A skip from input to output
            is no part of this walk.
        images: where each walker starts, (n, channels, height, width).
        steps: how many times, 1 or more.
        sigma: standard deviation of what is added to each element of the code, in the code's own
            units; or one an element, as in `0.2 * codes.std(0)`. 0 walks without noise.
        clamp: grey levels that every picture is kept within, such as (0, 1), as a stored image
            would be; None lets them go where the model sends them.
        seed: of e, white, drawn anew at each step: an int, or a torch.Generator, which is advanced.
        callback: called after every step with a dict: "step", how many are done, and "images".

    Returns:
        The whole path, (steps + 1, n, channels, height, width); path[0] is the start.

    Raises:
        TypeError, ValueError: for a model without encode and decode, a sigma that is negative or
            does not fit the code, zero steps; before the walk. ValueError if it leaves the finite
            numbers.

    Source: chapter 5.

    >>> import aelib as ae
    >>> model = ae.models.MLPAutoencoder((1, 8, 8), width=16, depth=3, code=2)
    >>> manifold_walk(model, torch.rand(4, 1, 8, 8), steps=10, sigma=0.2).shape
    torch.Size([11, 4, 1, 8, 8])
    """
    checks.methods(model, "encode", "decode", advice="self_map needs no code")
    images, source = checks.images(images), random.generator(seed)
    with evaluating(model), torch.no_grad():
        code = model.encode(images)
    if isinstance(sigma, Tensor) and sigma.ndim:
        checks.tensor(sigma, "sigma", tuple(code.shape[1:]), advice="one an element of the code")
    checks.number(sigma.min() if isinstance(sigma, Tensor) else sigma, "sigma", least=0)
    deviation = torch.as_tensor(sigma, dtype=code.dtype, device=code.device)

    def step(x: Tensor) -> Tensor:
        z = model.encode(x)
        noisy = z + deviation * random.normal(z.shape, z, source) if deviation.any() else z
        return model.decode(noisy)

    return _path(model, step, images, steps, clamp, callback)


def self_map(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    steps: int,
    *,
    clamp: tuple[float, float] | None = None,
    callback: Callable[[dict], object] | None = None,
) -> Tensor:
    """The model applied to its own output: x ← O(x). No noise, so no seed.

    Args:
        model: maps (n, channels, height, width) to the same shape.
        images, steps, clamp, callback: as in `manifold_walk`.

    Returns:
        The whole path, (steps + 1, n, channels, height, width). `measures.iterate` gives its end
        alone, for thousands of steps.

    Raises:
        TypeError, ValueError: for images that are none, zero steps, or a model that changes the
            shape or leaves the finite numbers.

    Source: chapter 5.

    >>> self_map(lambda x: x / 2, torch.ones(1, 1, 1, 1), steps=3).flatten()
    tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """
    return _path(model, model, checks.images(images), steps, clamp, callback)


def diffuse_without_diffusion(
    model: Callable[[Tensor], Tensor],
    n: int,
    sigmas: Sequence[float] | Tensor,
    *,
    eta: float = 1.0,
    shape: Sequence[int] | None = None,
    center: float | Tensor = 0.5,
    clamp: tuple[float, float] | None = None,
    seed: int | torch.Generator = 0,
    callback: Callable[[dict], object] | None = None,
) -> Tensor:
    """From pure noise, copy and noise again, a little less each time: x ← O(x) + σᵢ₊₁ e.

    The loop of a diffusion sampler without its model: what it runs may have learned nothing but to
    copy. It starts at center + σ₀ e and ends with a copy to which no noise is added, so it calls
    the model once for each sigma.

    `eta` = η says how much of e is new: e = √(1 − η²) (x − O(x))/σᵢ + η · white noise. With η = 1
    all of it is; with η = 0 the noise put back is what the model has just taken out, as in a DDIM
    sampler, and the loop is a fixed map of its start.

    Args:
        model: maps (n, channels, height, width) to the same shape.
        n: images to draw.
        sigmas: deviations in grey levels, each below the one before it and none negative, such as
            `torch.linspace(1, 0.05, 50)`.
        eta: the share η, from 0 to 1.
        shape: (channels, height, width); `model.shape` if left out.
        center: a grey level, or an image such as the mean of the data.
        clamp: grey levels that every copy is kept within, such as (0, 1); None for any.
        seed: of all noise: an int, or a torch.Generator, which is advanced.
        callback: called after every copy, before its noise, with a dict: "step", how many are done,
            and "images", the copies.

    Returns:
        (n, channels, height, width).

    Raises:
        TypeError, ValueError: for sigmas that are none, not falling, negative or not finite, a
            share outside [0, 1], a shape that is missing, or a model that changes it or leaves the
            finite numbers.

    Source: chapter 5; Song et al. (2021), arXiv 2010.02502, for η.

    >>> diffuse_without_diffusion(lambda x: x / 2, 4, [1, 0.5, 0.1], shape=(1, 8, 8)).shape
    torch.Size([4, 1, 8, 8])
    """
    n, source = checks.whole(n, "n", least=1), random.generator(seed)
    levels = _falling(sigmas)
    eta = checks.number(eta, "eta", least=0, most=1)
    clamp = None if clamp is None else checks.interval(clamp, "clamp")
    shape = checks.shape(getattr(model, "shape", None) if shape is None else tuple(shape))
    empty = torch.empty(())
    like = next(model.parameters(), empty) if isinstance(model, nn.Module) else empty
    try:
        x = torch.as_tensor(center).to(like).expand(n, *shape)
    except RuntimeError as error:
        raise ValueError(checks.message("center", f"one number or {shape}", center)) from error
    with evaluating(model), torch.no_grad():
        x = x + levels[0] * random.normal(x.shape, x, source)
        for step, (now, then) in enumerate(pairwise([*levels, 0.0]), 1):
            copy = _clamped(model(x.clone()), x, clamp, step)
            if callback is not None:
                callback({"step": step, "images": copy})
            noise = math.sqrt(1 - eta**2) * (x - copy) / now if eta < 1 and then else 0.0
            if eta and then:
                noise = noise + eta * random.normal(x.shape, x, source)
            x = copy + then * noise
    return x


def interpolate(
    first: Tensor, last: Tensor, points: int = 9, *, model: Autoencoder | None = None
) -> Tensor:
    """A straight line between two images, in pixels; or between their codes, decoded.

    Args:
        first, last: where the lines begin and end, (n, channels, height, width) each.
        points: on each line, both ends counted; 2 or more.
        model: with `encode` and `decode`, for D((1 − t) E(first) + t E(last)); None mixes pixels,
            (1 − t) first + t last. In code the ends are copies, not the images themselves.

    Returns:
        (points, n, channels, height, width).

    Raises:
        TypeError, ValueError: for images of two shapes, fewer than two points, or a model without
            encode and decode.

    Source: chapter 5.

    >>> interpolate(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), points=3).flatten()
    tensor([0.0000, 0.5000, 1.0000])
    """
    first = checks.images(first, "first")
    last = checks.images(last, "last", like=first)
    points = checks.whole(points, "points", least=2)
    shares = torch.linspace(0, 1, points, dtype=first.dtype, device=first.device)
    if model is None:
        return torch.stack([torch.lerp(first, last, share) for share in shares])
    checks.methods(model, "encode", "decode")
    with evaluating(model), torch.no_grad():
        start, end = model.encode(first.clone()), model.encode(last.clone())
        codes = torch.cat([torch.lerp(start, end, share) for share in shares])
        return model.decode(codes).unflatten(0, (points, len(first)))


def decode(model: Autoencoder, codes: Tensor) -> Tensor:
    """D(z) for each code, in evaluation mode and without gradients: (n, channels, height, width).

    Raises:
        TypeError, ValueError: for a model without `decode`, or codes of a width it cannot take.

    Source: chapter 5.

    >>> import aelib as ae
    >>> model = ae.models.MLPAutoencoder((1, 8, 8), width=16, depth=3, code=2)
    >>> decode(model, torch.randn(5, 2)).shape
    torch.Size([5, 1, 8, 8])
    """
    checks.methods(model, "decode")
    codes = checks.tensor(codes, "codes", ("n", "k", ...))
    with evaluating(model), torch.no_grad():
        try:
            return model.decode(codes.clone())
        except RuntimeError as error:
            expected = f"as many elements as model.encode(images) has ({error})"
            raise ValueError(checks.message("codes", expected, codes)) from error


def _path(model: Any, step: Callable[[Tensor], Tensor], images: Tensor, steps: int,
          clamp: tuple[float, float] | None,
          callback: Callable[[dict], object] | None) -> Tensor:  # fmt: skip
    """Every state of x ← step(x), from the images on."""
    steps = checks.whole(steps, "steps", least=1)
    clamp = None if clamp is None else checks.interval(clamp, "clamp")
    path = images.new_empty((steps + 1, *images.shape))
    path[0] = x = images
    with evaluating(model), torch.no_grad():
        for done in range(1, steps + 1):
            path[done] = x = _clamped(step(x.clone()), x, clamp, done)
            if callback is not None:
                callback({"step": done, "images": x})
    return path


def _clamped(output: Tensor, x: Tensor, clamp: tuple[float, float] | None, step: int) -> Tensor:
    """What the model made of x at a step, within `clamp`, after checking that it is images."""
    advice = f"step {step} pushes images away: take fewer steps or less noise"
    output = checks.output(output, x, advice=advice)
    return output if clamp is None else output.clamp(*clamp)


def _falling(sigmas: Sequence[float] | Tensor) -> list[float]:
    """Deviations as plain numbers, each below the one before."""
    levels = [checks.number(level, f"sigmas[{i}]", least=0) for i, level in enumerate(sigmas)]
    checks.whole(len(levels), "len(sigmas)", least=1)
    for i, (before, level) in enumerate(pairwise(levels), 1):
        if level >= before:
            advice = f"try torch.linspace(1, 0.05, {len(levels)})"
            raise ValueError(checks.message(f"sigmas[{i}]", f"below {before:g}", level, advice))
    return levels
