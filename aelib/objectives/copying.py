"""`copy`: give back the image that comes in."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from aelib.objectives.checks import check_same_shape

Objective = Callable[..., Tensor]  # (net, images) or (net, images, labels) → one loss per example


def copy(net: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Copy the input: ‖O(a) − a‖²/d for each image.

    Args:
        net: maps (..., channels, height, width) to the same shape.
        images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.

    Returns:
        The mean squared error of each image, shape (...).

    Raises:
        ObjectiveError: if the net returns another shape.

    Source: chapter 1, "Loss as likelihood".
    """
    output = net(images)
    check_same_shape(output, images)
    return (output - images).square().mean(dim=(-3, -2, -1))
