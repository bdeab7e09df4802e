"""Walks: an autoencoder applied again and again, with noise on the way and without.

Each function is pure: tensors and a seed in, tensors out. The net runs without gradients and in
evaluation mode (its own mode comes back afterwards). Noise is drawn where the generator is, so that
an int gives the same walk on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aelib import checks, random
from aelib.models import evaluating

Callback = Callable[[int, Tensor], object]  # (steps done, images)


def manifold_walk(
    net: nn.Module,
    images: Tensor,
    steps: int,
    *,
    noise: float | Tensor,
    limits: tuple[float, float] | None = None,
    seed: int | torch.Generator = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Encode, add noise to the code, decode; and again: x ← D(E(x) + noise · e).

    Args:
        net: with `encode` and `decode`, such as an `MLPAutoencoder`. A skip from input to output is
            no part of this walk.
        images: where each walker starts, (n, channels, height, width).
        steps: how many times, 1 or more.
        noise: deviation of what is added to each element of the code, in the code's own units; or
            one deviation an element, as in `0.2 * codes.std(0)`. 0 walks without noise.
        limits: grey levels that every picture is clipped to, such as (0, 1), as a stored image
            would be; None lets them go where the net sends them.
        seed: of e, white, drawn anew at each step: an int, or a torch.Generator, which is advanced.
        callback: called as callback(steps done, images) after every step.

    Returns:
        The whole path, (steps + 1, n, channels, height, width); path[0] is the start.

    Raises:
        TypeError, ValueError: for a net without encode and decode, a noise that is negative or does
            not fit the code, zero steps; before the walk. ValueError if it leaves the finite
            numbers.

    Source: chapter 5.
    """
    _check_images(images)
    steps = checks.whole(steps, "steps", least=1)
    code = _check_halves(net, images)
    scale = _deviation(noise, code)
    source = _generator(seed)

    def step(x: Tensor) -> Tensor:
        z = net.encode(x)
        return net.decode(z + scale * _white(z, source) if scale.any() else z)

    return _path(net, step, images, steps, limits, callback)


def self_map(
    net: Callable[[Tensor], Tensor],
    images: Tensor,
    steps: int,
    *,
    limits: tuple[float, float] | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The net applied to its own output: x ← O(x). No noise, so no seed.

    Args:
        net: maps (n, channels, height, width) to the same shape.
        images, steps, limits, callback: as in `manifold_walk`.

    Returns:
        The whole path, (steps + 1, n, channels, height, width). `measures.iterate` gives its end
        alone, for thousands of steps.

    Raises:
        TypeError, ValueError: for images that are none, zero steps, or a net that changes the shape
            or leaves the finite numbers.

    Source: chapter 5.
    """
    _check_images(images)
    steps = checks.whole(steps, "steps", least=1)
    return _path(net, net, images, steps, limits, callback)


def diffuse_without_diffusion(
    net: Callable[[Tensor], Tensor],
    count: int,
    sigmas: Sequence[float] | Tensor,
    *,
    fresh: float = 1.0,
    shape: Sequence[int] | None = None,
    centre: float | Tensor = 0.5,
    limits: tuple[float, float] | None = None,
    seed: int | torch.Generator = 0,
    callback: Callback | None = None,
) -> Tensor:
    """From pure noise, copy and noise again, a little less each time: x ← O(x) + σᵢ₊₁ e.

    The loop of a diffusion sampler without its model: the net may have learned nothing but to copy.
    It starts at centre + σ₀ e and ends with a copy to which no noise is added, so it calls the net
    once for each sigma.

    `fresh` = η says how much of e is new: e = √(1 − η²) (x − O(x))/σᵢ + η · white noise. With η = 1
    all of it is; with η = 0 the noise put back is what the net has just taken out, as in a DDIM
    sampler, and the loop is a fixed map of its start.

    Args:
        net: maps (n, channels, height, width) to the same shape.
        count: images to draw.
        sigmas: deviations in grey levels, each below the one before it and none negative, such as
            `torch.linspace(1, 0.05, 50)`.
        fresh: the share η, from 0 to 1.
        shape: (channels, height, width); `net.shape` if left out.
        centre: a grey level, or an image such as the mean of the data.
        limits: grey levels that every copy is clipped to, such as (0, 1); None clips nothing.
        seed: of all noise: an int, or a torch.Generator, which is advanced.
        callback: called as callback(steps done, images) after every copy, before its noise.

    Returns:
        (count, channels, height, width).

    Raises:
        TypeError, ValueError: for a schedule that is empty, not falling, negative or not finite, a
            share outside [0, 1], a shape that is missing, or a net that changes it or leaves the
            finite numbers.

    Source: chapter 5; Song et al. (2021), arXiv 2010.02502, for η.
    """
    count = checks.whole(count, "count", least=1)
    levels = _schedule(sigmas)
    if isinstance(fresh, bool) or not 0 <= fresh <= 1:
        raise ValueError(f"fresh: expected a share from 0 to 1, got {fresh!r}")
    _check_limits(limits)
    size = shape if shape is not None else getattr(net, "shape", None)
    if size is None or len(tuple(size)) != 3:
        raise ValueError(
            f"shape: expected (channels, height, width), got {size!r}; the net does not say it, so "
            "give shape=images.shape"
        )
    source = _generator(seed)
    like = next(net.parameters()) if isinstance(net, nn.Module) else torch.empty(())
    centre = torch.as_tensor(centre).to(like)
    x = torch.zeros((count, *size), dtype=like.dtype, device=like.device)
    try:
        x = x + centre
    except RuntimeError as error:
        raise ValueError(
            f"centre: expected a number or an image of shape {tuple(size)}, got "
            f"{tuple(centre.shape)}"
        ) from error
    kept = math.sqrt(1 - fresh**2)
    with evaluating(net), torch.no_grad():
        x = x + levels[0] * _white(x, source)
        for done, (level, following) in enumerate(zip(levels, [*levels[1:], 0.0], strict=True), 1):
            copy = _clipped(_checked(net(x), x, done), limits)
            if callback is not None:
                callback(done, copy)
            noise = kept * (x - copy) / level if kept and following else 0.0
            if fresh and following:
                noise = noise + fresh * _white(x, source)
            x = copy + following * noise
    return x


def interpolate(
    first: Tensor, last: Tensor, points: int = 9, *, net: nn.Module | None = None
) -> Tensor:
    """A straight line between two images, in pixels; or between their codes, decoded.

    Args:
        first, last: where the lines begin and end, (n, channels, height, width) each.
        points: on each line, both ends counted; 2 or more.
        net: with `encode` and `decode`, for D((1 − t) E(first) + t E(last)); None mixes pixels,
            (1 − t) first + t last. In code the ends are copies, not the images themselves.

    Returns:
        (points, n, channels, height, width).

    Raises:
        TypeError, ValueError: for images of two shapes, fewer than two points, or a net without
            encode and decode.

    Source: chapter 5.
    """
    _check_images(first, "first")
    _check_images(last, "last")
    if first.shape != last.shape:
        raise ValueError(
            f"first, last: expected one shape, got {tuple(first.shape)} and {tuple(last.shape)}"
        )
    points = checks.whole(points, "points", least=2)
    if net is not None:
        _check_halves(net, first)
    with evaluating(net or (lambda x: x)), torch.no_grad():
        ends = (first, last) if net is None else (net.encode(first), net.encode(last))
        share = torch.linspace(0, 1, points, dtype=first.dtype, device=first.device)
        line = torch.stack([torch.lerp(*ends, t) for t in share])  # (points, n, …)
        if net is None:
            return line
        return net.decode(line.flatten(0, 1)).unflatten(0, (points, len(first)))


def decode(net: nn.Module, codes: Tensor) -> Tensor:
    """D(z) for each code, in evaluation mode and without gradients: (n, channels, height, width).

    Raises:
        TypeError, ValueError: for a net without `decode`, or codes of a width it cannot take.

    Source: chapter 5.
    """
    if not hasattr(net, "decode"):
        raise TypeError(f"net: expected one with decode, got {type(net).__name__}")
    if not isinstance(codes, Tensor) or not codes.is_floating_point() or codes.dim() < 2:
        came = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise TypeError(f"codes: expected a floating-point tensor (n, code), got {came}")
    with evaluating(net), torch.no_grad():
        try:
            return net.decode(codes)
        except RuntimeError as error:
            raise ValueError(
                f"codes: this decoder cannot take codes of shape {tuple(codes.shape[1:])} each; "
                f"give them the width of net.encode(images) ({error})"
            ) from error


def _path(net, step, images: Tensor, steps: int, limits, callback: Callback | None) -> Tensor:
    """Every state of x ← step(x), from the images on."""
    _check_limits(limits)
    path = images.new_empty((steps + 1, *images.shape))
    path[0] = x = images
    with evaluating(net), torch.no_grad():
        for done in range(1, steps + 1):
            x = _clipped(_checked(step(x), x, done), limits)
            path[done] = x
            if callback is not None:
                callback(done, x)
    return path


def _clipped(images: Tensor, limits: tuple[float, float] | None) -> Tensor:
    return images if limits is None else images.clamp(*limits)


def _check_limits(limits: tuple[float, float] | None) -> None:
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        raise ValueError(f"limits: expected a lower and a higher grey level, got {limits!r}")


def _checked(output: Tensor, before: Tensor, done: int) -> Tensor:
    """The net's output, refused unless it is finite and shaped as what went in."""
    if not isinstance(output, Tensor) or output.shape != before.shape:
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"net: expected it to give back the shape it gets, {tuple(before.shape)}, got {came}"
        )
    if not output.isfinite().all():
        raise ValueError(
            f"net: step {done} left the finite numbers, so the map pushes images away; take fewer "
            "steps or less noise"
        )
    return output


def _check_halves(net: nn.Module, images: Tensor) -> Tensor:
    """The codes of the images, after checking that the net has both halves and they fit."""
    missing = [name for name in ("encode", "decode") if not callable(getattr(net, name, None))]
    if missing:
        raise TypeError(
            f"net: expected encode and decode, but {type(net).__name__} lacks "
            f"{' and '.join(missing)}; use one of the autoencoders in models, or self_map, which "
            "needs no code"
        )
    with evaluating(net), torch.no_grad():
        return net.encode(images)


def _deviation(noise: float | Tensor, code: Tensor) -> Tensor:
    """The noise's deviation as a tensor that fits one code."""
    scale = torch.as_tensor(noise, dtype=code.dtype, device=code.device)
    if not (scale.isfinite() & (scale >= 0)).all():
        raise ValueError(f"noise: expected deviations of 0 or more, all finite, got {noise!r}")
    if scale.dim() and scale.shape != code.shape[1:]:
        raise ValueError(
            f"noise: expected one number, or one for each element of a code of shape "
            f"{tuple(code.shape[1:])}, got shape {tuple(scale.shape)}"
        )
    return scale


def _schedule(sigmas: Sequence[float] | Tensor) -> list[float]:
    """A falling schedule of deviations as plain numbers."""
    levels = [float(level) for level in sigmas]
    if not levels:
        raise ValueError("sigmas: expected at least one deviation, got none")
    if not all(math.isfinite(level) and level >= 0 for level in levels):
        raise ValueError(f"sigmas: expected finite deviations of 0 or more, got {levels}")
    rise = [i for i in range(1, len(levels)) if levels[i] >= levels[i - 1]]
    if rise:
        raise ValueError(
            f"sigmas: expected a falling schedule, but sigmas[{rise[0]}] is {levels[rise[0]]:g} "
            f"after {levels[rise[0] - 1]:g}; try torch.linspace(1, 0.05, {len(levels)})"
        )
    return levels


def _check_images(images: Tensor, name: str = "images") -> None:
    """Refuse anything but finite floats (n, channels, height, width). Noise may have any range."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        came = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{name}: expected a floating-point tensor, got {came}")
    if images.dim() != 4 or images.numel() == 0:
        raise ValueError(
            f"{name}: expected (n, channels, height, width) with at least one image, got shape "
            f"{tuple(images.shape)}"
        )
    if not images.isfinite().all():
        raise ValueError(f"{name}: expected finite values, got some that are NaN or infinite")


def _white(like: Tensor, source: torch.Generator) -> Tensor:
    """White noise of deviation 1, shaped as `like`."""
    drawn = torch.randn(like.shape, generator=source, device=source.device, dtype=torch.float32)
    return drawn.to(like)


def _generator(seed: int | torch.Generator) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else random.generator(seed)
