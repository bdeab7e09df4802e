"""What is asked before a model is used: a shape and a gain that make sense, its mode."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from numbers import Real

from torch import nn

from aelib import checks


def check_shape(shape, **counts: int) -> tuple[int, int, int]:
    """`shape` as (channels, height, width), after checking it and the named positive counts."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    if len(sizes) != 3 or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(
            f"shape: expected (channels, height, width), such as (3, 32, 32), got {shape!r}"
        )
    for name, count in counts.items():
        checks.whole(count, name, least=1)
    return sizes


def check_gain(gain: float) -> None:
    """Raise ValueError unless `gain` is a finite number, 0 or more."""
    if isinstance(gain, bool) or not isinstance(gain, Real) or not 0 <= gain < math.inf:
        raise ValueError(f"gain: expected a finite number, 0 or more, got {gain!r}")


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
