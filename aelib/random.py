"""Where everything random comes from: seeds, generators, white noise. The one place that draws.

The environment's AELIB_SEED_OFFSET, a whole number, moves every seed of the book by so much:
models, starts, batches and noise are drawn anew, the data stay.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from aelib import checks, runtime

_further = 0


@contextlib.contextmanager
def further(by: int) -> Iterator[None]:
    """Inside the block every seed is moved by so much more.

    >>> with further(5):
    ...     moved(3)
    8
    """
    global _further
    before, _further = _further, _further + checks.whole(by, "by")
    try:
        yield
    finally:
        _further = before


def offset() -> int:
    """How far every seed is moved: by AELIB_SEED_OFFSET, and by `further` inside its blocks.

    Raises:
        ValueError: if it is set to anything but a whole number.
    """
    text = os.environ.get("AELIB_SEED_OFFSET") or "0"
    try:
        return int(text) + _further
    except ValueError:
        raise ValueError(checks.message("AELIB_SEED_OFFSET", "a whole number", text)) from None


def moved(seed: int, name: str = "seed") -> int:
    """`seed` as it is used: a whole number, moved by `offset`. For libraries that take an int.

    >>> moved(3)
    3
    """
    return checks.whole(seed, name) + offset()


def generator(seed: int | torch.Generator, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh generator started at `seed`; a generator is returned as it is, to be advanced.

    >>> int(torch.randint(10, (1,), generator=generator(0)))
    4
    """
    if isinstance(seed, torch.Generator):
        return seed
    return torch.Generator(device).manual_seed(moved(seed))


@contextlib.contextmanager
def seeded(seed: int | None, device: torch.device | None = None) -> Iterator[None]:
    """Inside the block torch's global generators start at `seed`; afterwards they are as before.

    They are the processor's and that of `device`, or of any GPU. None starts them where they are:
    the block's own draws then leave no trace outside.

    >>> with seeded(0):
    ...     first = torch.rand(2)
    >>> with seeded(0):
    ...     bool((torch.rand(2) == first).all())
    True
    """
    start = None if seed is None else moved(seed)
    before = state(device)
    try:
        if start is not None:
            torch.default_generator.manual_seed(start)
            kind = _kind(device)  # of other devices nothing was noted, so nothing is changed
            if kind == "cuda":
                with torch.cuda.device("cuda" if device is None else device):
                    torch.cuda.manual_seed(start)
            elif kind == "mps":
                torch.mps.manual_seed(start)
        yield
    finally:
        set_state(before, device)


def state(device: torch.device | None = None) -> dict[str, Tensor]:
    """The state of torch's global generators: the CPU's, and that of `device` or of any GPU."""
    states = {"cpu": torch.get_rng_state()}
    kind = _kind(device)
    if kind == "cuda":
        states["cuda"] = torch.cuda.get_rng_state("cuda" if device is None else device)
    elif kind == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_state(states: Mapping[str, Tensor], device: torch.device | None = None) -> None:
    """Put back what `state` gave; a device that is not here any more is passed over."""
    torch.set_rng_state(states["cpu"])
    kind = _kind(device)
    if kind == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], "cuda" if device is None else device)
    elif kind == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def _kind(device: torch.device | None) -> str:
    return (device or runtime.device()).type


def normal(shape: Sequence[int], like: Tensor, source: torch.Generator | None = None) -> Tensor:
    """White noise of mean 0 and standard deviation 1, with the dtype and device of `like`.

    It is drawn in float32 where the generator is, so that one seed is one noise on every device;
    without a generator, from torch's global one, where `like` is.

    >>> normal((2, 3), torch.zeros(1), generator(0)).shape
    torch.Size([2, 3])
    """
    return _drawn(torch.randn, shape, like, source)


def uniform(shape: Sequence[int], like: Tensor, source: torch.Generator | None = None) -> Tensor:
    """Numbers drawn evenly from [0, 1); all else as in `normal`.

    >>> uniform((2, 3), torch.zeros(1), generator(0)).shape
    torch.Size([2, 3])
    """
    return _drawn(torch.rand, shape, like, source)


def _drawn(
    draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor, source: torch.Generator | None
) -> Tensor:
    device = like.device if source is None else source.device
    return draw(tuple(shape), generator=source, dtype=torch.float32, device=device).to(like)
