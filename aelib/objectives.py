"""What a net is asked to do: small callables that return one loss per example."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Objective = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def copy(net: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Copy the input: ‖O(a) − a‖²/d for each image.

    Args:
        net: maps (..., channels, height, width) to the same shape.
        images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.

    Returns:
        The mean squared error of each image, shape (...).

    Source: chapter 1, "Loss as likelihood".
    """
    return (net(images) - images).square().mean(dim=(-3, -2, -1))
