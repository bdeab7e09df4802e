"""What is asked before a model is used: a shape that makes sense, memory, its mode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from aelib import runtime
from aelib.runtime import check_whole


def check_shape(shape, **counts: int) -> tuple[int, int, int]:
    """`shape` as (channels, height, width), after checking it and the named positive counts."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    if len(sizes) != 3 or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(
            f"shape: expected (channels, height, width), such as (3, 32, 32), got {shape!r}"
        )
    for name, count in counts.items():
        check_whole(name, count, least=1)
    return sizes


def check_memory(what: str, need: int, place: torch.device | None, instead: str) -> None:
    """Refuse work that needs more bytes at `place` than are free there.

    A trial allocation would not tell: a system may promise memory that it does not have. Only where
    a device does not say what is free is one made.

    Args:
        what: the argument and what it asks for, as the message begins: "n: 9 samples".
        need: bytes.
        place: the device; None for the processor.
        instead: what to do, as the message ends.

    Raises:
        ValueError: says how much is needed, and how much is free.
    """
    place = torch.Generator().device if place is None else place
    free, there = runtime.free_memory(place), ""
    if free is not None:
        if not runtime.on_cpu(place):  # what torch holds and has not given out
            free += torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        short, there = need > free, f" ({free / 2**30:,.1f} GiB free)"
    else:
        short = need >= 2**63  # no size of a tensor
        try:
            torch.empty(0 if short else need, dtype=torch.uint8, device=place)
        except (RuntimeError, MemoryError):
            short = True
    if short:
        raise ValueError(
            f"{what} need {need / 2**30:,.1f} GiB, more than there is{there}; {instead}"
        )


@contextlib.contextmanager
def evaluating(net: Callable) -> Iterator[None]:
    """Evaluation mode for a module, or for the module a method such as net.decode belongs to.

    Afterwards each module is in its own mode again. A plain function is left as it is.
    """
    owner = net if isinstance(net, nn.Module) else getattr(net, "__self__", None)
    modes = []
    if isinstance(owner, nn.Module):
        modes = [(module, module.training) for module in owner.modules()]
        owner.eval()
    try:
        yield
    finally:
        for module, training in modes:  # one by one: a frozen batch norm stays frozen
            module.training = training
