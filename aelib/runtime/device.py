"""Where the numbers are computed: the device, and how many processor threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from aelib import checks


def device(name: str | torch.device | None = None) -> torch.device:
    """The device asked for, else a GPU if torch sees one, else the CPU.

    Raises:
        ValueError: if the device asked for does not exist here.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f'device: expected "cpu", "cuda" or "cuda:1", got {name!r}') from error
    try:
        torch.empty(1, device=found).tolist()  # only using it tells; a "meta" tensor fails here too
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f'device is {name!r}, but torch cannot use it here; try "cpu", or leave it out'
        ) from error
    return found


def is_cpu(device: torch.device) -> bool:
    """Whether a device is the CPU, where small operators cost more to call than to compute."""
    return device.type == "cpu"


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside the block torch uses `count` CPU threads; afterwards as many as before."""
    checks.whole(count, "count", least=1)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
