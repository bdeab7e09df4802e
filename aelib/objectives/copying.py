"""`copy`: give back the image that comes in."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from aelib.objectives.objective import squared_error


def copy(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Copy the input: ‖O(a) − a‖²/d for each image.

    Args:
        model: maps (..., channels, height, width) to the same shape.
        images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.

    Returns:
        The mean squared error of each image, shape (...).

    Raises:
        ObjectiveError: if the model returns another shape.

    Source: chapter 1, "Loss as likelihood".

    >>> import torch
    >>> copy(lambda images: images + 0.5, torch.zeros(2, 1, 8, 8))
    tensor([0.2500, 0.2500])
    """
    return squared_error(model(images), images)
