"""Evaluation mode for the length of a block."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import nn

from aelib import checks


@contextlib.contextmanager
def evaluating(model: Callable) -> Iterator[None]:
    """Evaluation mode for a module, or for the module a method such as model.decode belongs to.

    Afterwards each module is in its own mode again. A plain function is left as it is.

    Raises:
        ValueError: for a model whose weights have no values: lazy ones, or on the meta device.

    >>> model = nn.Dropout()
    >>> with evaluating(model):
    ...     model.training
    False
    """
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    modules = list(checks.module(owner).modules()) if isinstance(owner, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules[:1]:
        module.eval()
    try:
        yield
    finally:
        # One by one: a frozen batch norm stays frozen.
        for module, training in zip(modules, modes, strict=True):
            module.training = training
