"""A gradient through the flat sides of ReLUs, so that a search can turn on a unit that is off.

The model's answers stay exact: only the slope that a flat side passes back is not 0 but a little.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

TOPS = {nn.ReLU: math.inf, nn.ReLU6: 6.0}  # where each stops rising


class Leak:
    """The slope of the flat sides, set from step to step."""

    def __init__(self, device: torch.device):
        self.slope = torch.zeros((), device=device)  # a tensor, so that a CUDA graph reads it anew
        self.on = False

    def set(self, slope: float) -> None:
        """Pass back `slope` times the gradient from now on; 0 is the true gradient."""
        self.slope.fill_(slope)
        self.on = slope > 0


@contextlib.contextmanager
def leaky(model: nn.Module, device: torch.device) -> Iterator[Leak]:
    """Inside the block the model's nn.ReLU and nn.ReLU6 modules leak as the `Leak` says.

    Other activations, and torch.nn.functional.relu called by a model's own code, stay as they are.

    >>> relu, image = nn.ReLU(), torch.tensor([-1.0, 2.0], requires_grad=True)
    >>> with leaky(relu, image.device) as leak:
    ...     leak.set(0.1)
    ...     relu(image), torch.autograd.grad(relu(image).sum(), image)[0]
    (tensor([0., 2.], grad_fn=<_LeakyGradientBackward>), tensor([0.1000, 1.0000]))
    """
    leak = Leak(device)
    # A module with a forward of its own is somebody's experiment, and is left alone.
    modules = [m for m in model.modules() if type(m) in TOPS and "forward" not in vars(m)]
    try:
        for module in modules:
            module.__dict__["forward"] = partial(_forward, leak, module)
        yield leak
    finally:
        for module in modules:
            del module.__dict__["forward"]


def _forward(leak: Leak, module: nn.Module, given: Tensor) -> Tensor:
    if not leak.on:
        return type(module).forward(module, given)
    kind = _LeakyInPlace if module.inplace else _LeakyGradient
    return cast(Tensor, kind.apply(given, leak.slope, TOPS[type(module)]))


class _LeakyGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor, slope: Tensor, top: float) -> Tensor:
        output = given.clamp(0, top)
        ctx.save_for_backward(output, slope)
        ctx.top = top
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        output, slope = ctx.saved_tensors
        (gradient,) = gradients
        true = torch.ops.aten.hardtanh_backward(gradient, output, 0, ctx.top)
        return torch.lerp(true, gradient, slope.to(gradient.dtype)), None, None


class _LeakyInPlace(_LeakyGradient):
    """Whoever else holds what is given, such as a shortcut, holds the answer afterwards."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, slope: Tensor, top: float) -> Tensor:
        output = given.clamp_(0, top)
        ctx.mark_dirty(output)
        ctx.save_for_backward(output, slope)
        ctx.top = top
        return output
