"""What an objective asks of a net's output, refused in words that say what to change."""

from __future__ import annotations

from torch import Tensor


class ObjectiveError(ValueError):
    """The net, its images or their labels do not suit the objective; the text says why."""


def check_same_shape(output: object, images: Tensor) -> None:
    """Raise `ObjectiveError` unless a net's output has the shape of its images."""
    if isinstance(output, Tensor) and output.shape == images.shape:
        return
    came = type(output).__name__
    if isinstance(output, Tensor):
        came = tuple(output.shape[images.ndim - 3 :])
    raise ObjectiveError(
        f"model: an autoencoder gives back the shape it gets, {tuple(images.shape[-3:])} for each "
        f"image, but this one returns {came}; change the model's shape argument or its last layer"
    )
