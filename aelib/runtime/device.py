"""Where the numbers are computed: the device, and how many processor threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from aelib import checks

YES = ("y", "yes", "t", "true", "on", "1")  # as Accelerate reads its switches


def device(name: str | torch.device | None = None, double: bool = False) -> torch.device:
    """The device asked for, else a GPU if torch sees one, else the CPU.

    Where the environment's ACCELERATE_USE_CPU is true, a GPU is taken only if it is asked for: some
    hosted Macs report one that cannot be used.

    Args:
        name: as torch names it; None to have one chosen.
        double: choose one that has double precision, which Apple's GPUs have not.

    Raises:
        ValueError: if the device asked for does not exist here.

    >>> device("cpu")
    device(type='cpu')
    """
    if name is None:
        if os.environ.get("ACCELERATE_USE_CPU", "").lower() in YES:
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda")
        apple = torch.backends.mps.is_available() and not double
        return torch.device("mps" if apple else "cpu")
    try:
        result = torch.device(name)
        torch.empty(1, device=result).tolist()  # only using it tells; "meta" fails here too
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        expected = 'one that torch can use here, such as "cpu", "cuda" or "cuda:1"'
        got = checks.Described(repr(name))
        raise ValueError(
            checks.message("device", expected, got, "leave it out to have one chosen")
        ) from error
    return result


def is_cpu(device: torch.device) -> bool:
    """Whether a device is the CPU, where small operators cost more to call than to compute."""
    return device.type == "cpu"


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Inside the block torch uses `n` CPU threads; afterwards as many as before.

    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    n, before = checks.whole(n, "n", least=1), torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
