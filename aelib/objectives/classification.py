"""`classify`: name the class of the image that comes in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aelib import checks, runtime
from aelib.objectives.objective import ObjectiveError


def classify(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor | None = None
) -> Tensor:
    """Say which class it is: the cross entropy −log p(label) of each image, in nats.

    Args:
        model: maps images to one score (logit) a class, (..., classes).
        images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.
        labels: whole numbers from 0 to classes − 1, of the leading axes' shape; `fit` passes its
            own `labels`.

    Returns:
        The loss of each image, shape (...). log(classes) is a model that knows nothing.

    Raises:
        ObjectiveError: without labels; for labels of another shape or out of range; if the model
            returns anything but one score a class.

    Source: chapter 4.

    >>> model = lambda images: torch.zeros(2, 10)
    >>> classify(model, torch.zeros(2, 1, 8, 8), torch.tensor([3, 7]))
    tensor([2.3026, 2.3026])
    """
    leading = tuple(images.shape[:-3])
    if not (isinstance(labels, Tensor) and _whole(labels) and tuple(labels.shape) == leading):
        expected = f"a label for each image, whole numbers of shape {leading}"
        raise ObjectiveError(checks.message("labels", expected, labels, "fit(..., labels=...)"))
    scores = model(images)  # (..., classes)
    if not isinstance(scores, Tensor) or tuple(scores.shape[:-1]) != leading:
        expected = f"one score a class, {(*leading, 'classes')}"
        advice = "end it with a linear layer"
        raise ObjectiveError(checks.message("model(images)", expected, scores, advice))
    # A GPU would be waited for here at every step; `fit` has asked before the first one.
    if runtime.is_cpu(labels.device) or not torch.is_grad_enabled():
        low, high = (int(value) for value in labels.aminmax())
        if low < 0 or high >= scores.shape[-1]:
            expected = f"whole numbers from 0 to {scores.shape[-1] - 1}, the model's classes"
            got = checks.Described(f"{low} to {high}")
            raise ObjectiveError(checks.message("labels", expected, got))
    return -scores.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _whole(labels: Tensor) -> bool:
    """Whether these are whole numbers by their kind."""
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
