"""What an objective is, the error it raises, and what it asks of a model's output."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from aelib import checks

Objective = Callable[..., Tensor]  # (model, images) or (…, labels) → one loss per example


class ObjectiveError(ValueError):
    """The model, its images or their labels do not suit the objective; the text says why."""


def as_images(output: object, images: Tensor) -> Tensor:
    """A model's output, refused unless it has the shape of its images."""
    if isinstance(output, Tensor) and output.shape == images.shape:
        return output
    expected = f"one that gives back the shape it gets, {tuple(images.shape)}"
    got = checks.Described(f"one that returns {checks.described(output)}")
    advice = "change its shape argument or its last layer"
    raise ObjectiveError(checks.message("model", expected, got, advice))


def squared_error(output: object, target: Tensor) -> Tensor:
    """‖output − target‖²/d for each image of (..., channels, height, width): shape (...)."""
    return (as_images(output, target) - target).square().mean(dim=(-3, -2, -1))
