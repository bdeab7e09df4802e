"""DDPM and DDIM: from noise to images, one step of a schedule at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.data.schedule import Schedule, to_images
from aelib.models import evaluating

CHUNK_ELEMENTS = 2**18  # of the samples that go through the net at once, unless told otherwise
HELD = 8  # times the samples are in memory at once: they, their noise, the guess, what a step adds

Net = Callable[[Tensor, Tensor], Tensor]


class Moment(NamedTuple):
    """What a callback sees after each step.

    step: 0, 1, …; time: the schedule's time the step started from.
    images: the samples as they are now, noise and all; guess: what the net takes them to become;
    both (n, channels, height, width) on the scale of images, [0, 1], not clipped.
    """

    step: int
    time: int
    images: Tensor
    guess: Tensor


def ddpm(
    net: Net,
    schedule: Schedule,
    shape: tuple[int, int, int],
    n: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    clip: bool = True,
    start: Tensor | None = None,
    chunk: int | None = None,
    callback: Callable[[Moment], object] | None = None,
    progress: bool | None = None,
) -> Tensor:
    """Draw images by undoing the noise in random steps.

    Each step draws x_s from the normal distribution that x_s has given x_t and the net's guess of
    x_0: q(x_s | x_t, x̂_0).

    Args:
        net: net(x, times) → the noise e in x, x in [−1, 1] and more; a module is run in evaluation
            mode. A plain function works too.
        schedule: the one the net was trained with.
        shape: (channels, height, width) of an image.
        n: how many to draw.
        steps: how many of the schedule's times to visit, evenly spaced; None for all of them.
        seed: of the first noise and of that of each step. The same seed gives the same images, for
            any chunk up to rounding.
        clip: whether the guess of x_0 is kept to the range of images at every step.
        start: the first noise, (n, channels, height, width), in place of a drawn one.
        chunk: samples that go through the net at once; None for about a quarter of a million
            elements of images. Smaller where memory is short.
        callback: called with a `Moment` after every step.
        progress: draw a bar; None draws it for a person only.

    Returns:
        (n, channels, height, width), where the net's parameters are, on the scale of images.

    Raises:
        ValueError, TypeError: before the first step, for arguments that cannot work, a net that
            knows another number of times than the schedule has, or more samples than memory holds;
            afterwards if the net returns another shape or something not finite.

    Source: Ho et al. (2020), arXiv 2006.11239, algorithm 2 and equation 7; chapter 4.
    """

    def step(state, guess, noise, now, then, draw):
        alpha = now / then  # ᾱ_t / ᾱ_s
        towards = math.sqrt(then) * (1 - alpha) / (1 - now)
        stay = math.sqrt(alpha) * (1 - then) / (1 - now)
        spread = math.sqrt((1 - alpha) * (1 - then) / (1 - now))
        mean = towards * guess + stay * state
        return mean + spread * draw() if spread > 0 else mean

    return _walk(
        step, net, schedule, shape, n, steps, seed, clip, start, chunk, callback, progress, "ddpm"
    )


def ddim(
    net: Net,
    schedule: Schedule,
    shape: tuple[int, int, int],
    n: int,
    *,
    steps: int | None = 50,
    eta: float = 0.0,
    seed: int = 0,
    clip: bool = True,
    start: Tensor | None = None,
    chunk: int | None = None,
    callback: Callable[[Moment], object] | None = None,
    progress: bool | None = None,
) -> Tensor:
    """Draw images by undoing the noise along a path that need not be random.

    Each step keeps the net's guess of the noise and lowers its share; `eta` replaces some of it by
    new noise. eta=0 adds none: the first noise decides the image. eta=1 is `ddpm`.

    Args: those of `ddpm`, and
        eta: 0 or more; at most 1 keeps the share of new noise below what a step can hold.

    Source: Song et al. (2021), arXiv 2010.02502, equation 12; chapter 4.
    """
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not 0 <= eta <= 1:
        raise ValueError(f"eta: expected a number from 0 (no new noise) to 1 (ddpm), got {eta!r}")

    def step(state, guess, noise, now, then, draw):
        variance = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
        kept = math.sqrt(max(1 - then - variance, 0.0))
        moved = math.sqrt(then) * guess + kept * noise
        return moved + math.sqrt(variance) * draw() if variance > 0 else moved

    return _walk(
        step, net, schedule, shape, n, steps, seed, clip, start, chunk, callback, progress, "ddim"
    )


def visited(schedule: Schedule, steps: int | None) -> list[int]:
    """`steps` of the schedule's times in the order of sampling: evenly from the last down to 0.

    A single step goes from the last straight to an image.

    Raises:
        ValueError: for more steps than the schedule has.
    """
    steps = schedule.steps if steps is None else checks.whole(steps, "steps", least=1)
    if steps > schedule.steps:
        raise ValueError(f"steps: the schedule has {schedule.steps} times, got {steps} to visit")
    last = schedule.steps - 1
    if steps == 1:
        return [last]
    return [round(last * (steps - 1 - number) / (steps - 1)) for number in range(steps)]


@torch.no_grad()
def _walk(
    step, net, schedule, shape, n, steps, seed, clip, start, chunk, callback, progress, label
) -> Tensor:
    """Noise, then one `step` a time. What is common to the samplers."""
    place, dtype = _home(net)
    state = _begin(net, schedule, shape, n, start, callback)
    times = visited(schedule, steps)
    source = random.generator(seed)
    elements = math.prod(shape)
    if chunk is None:
        chunk = max(1, CHUNK_ELEMENTS // elements)
    chunk = checks.whole(chunk, "chunk", least=1)

    def draw() -> Tensor:
        # Drawn whole and where the generator is: neither chunk nor device changes the noise.
        return torch.randn(n, *shape, generator=source).to(place, dtype)

    state = draw() if start is None else state.to(place, dtype)
    whole = torch.ones((), dtype=torch.bool, device=state.device)
    bar = runtime.progress(len(times), label, progress)
    with evaluating(net), bar:
        for number, time in enumerate(times):
            now = schedule.alphas_bar[time]
            later = number + 1 < len(times)
            then = schedule.alphas_bar[times[number + 1]] if later else 1.0
            answer = noise = torch.cat([_ask(net, part, time) for part in state.split(chunk)])
            whole &= answer.isfinite().all()  # clipping would hide an infinite answer
            guess = (state - math.sqrt(1 - now) * noise) / math.sqrt(now)
            if clip:
                guess = guess.clamp(-1, 1)
                noise = (state - math.sqrt(now) * guess) / math.sqrt(1 - now)
            state = step(state, guess, noise, now, then, draw)
            bar.update()
            if callback is not None:
                callback(Moment(number, time, to_images(state), to_images(guess)))
    if not (whole & state.isfinite().all()):  # asked once: a GPU would be waited for
        raise ValueError("net: it led to NaN or infinity; it has probably diverged in training")
    return to_images(state)


def _ask(net: Net, part: Tensor, time: int) -> Tensor:
    """The net's noise for a chunk, checked for its shape."""
    times = torch.full((len(part),), time, dtype=torch.int64, device=part.device)
    found = net(part, times)
    if not isinstance(found, Tensor) or found.shape != part.shape:
        came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"net: expected the noise in the shape of the images, {tuple(part.shape)}, got {came}"
        )
    return found.to(part)


def _home(net: Net) -> tuple[torch.device | None, torch.dtype]:
    """Where a net's parameters are, and their dtype; torch's own place for a function."""
    parameter = next(net.parameters(), None) if isinstance(net, nn.Module) else None
    return (None, torch.float32) if parameter is None else (parameter.device, parameter.dtype)


def _begin(net, schedule, shape, n, start, callback) -> Tensor | None:
    """The start given, after checking it and all that could stop a walk."""
    if not callable(net):
        raise TypeError(f"net: expected a callable net(x, times), got {type(net).__name__}")
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule: expected a Schedule, got {type(schedule).__name__}")
    schedule.check_net(net)
    checks.whole(n, "n", least=1)
    if (
        not isinstance(shape, Sequence)
        or len(shape) != 3
        or any(checks.whole(size, "shape") < 1 for size in shape)
    ):
        raise ValueError(f"shape: expected (channels, height, width), got {shape!r}")
    if tuple(getattr(net, "shape", shape)) != tuple(shape):
        raise ValueError(f"shape: this net was built for {tuple(net.shape)}, got {tuple(shape)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback: expected a callable callback(moment), got {callback!r}")
    if start is not None:
        _check_start(start, (n, *shape))
    place, dtype = _home(net)
    need = HELD * n * math.prod(shape) * dtype.itemsize
    instead = "draw fewer at a time, with another seed each"
    runtime.check_memory(f"n: {n} samples", need, place, instead)
    return start


def _check_start(start: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a first noise that is no tensor of this shape, or not finite."""
    if not isinstance(start, Tensor):
        raise TypeError(
            "start: expected a tensor (n, channels, height, width), here of shape "
            f"{shape}, got {type(start).__name__}"
        )
    if tuple(start.shape) != shape:
        raise ValueError(f"start: expected shape {shape}, got {tuple(start.shape)}")
    if not start.isfinite().all():
        raise ValueError("start: expected finite values, got some that are NaN or infinite")
