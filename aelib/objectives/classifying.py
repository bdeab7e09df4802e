"""`classify`: name the class of the image that comes in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aelib import runtime
from aelib.objectives.checks import ObjectiveError


def classify(
    net: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor | None = None
) -> Tensor:
    """Say which class it is: the cross entropy −log p(label) of each image, in nats.

    Args:
        net: maps images to one score (logit) a class, (..., classes).
        images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.
        labels: whole numbers from 0 to classes − 1, of the leading axes' shape; `fit` passes its
            own `labels`.

    Returns:
        The loss of each image, shape (...). log(classes) is a net that knows nothing.

    Raises:
        ObjectiveError: without labels; for labels of another shape or out of range; if the net
            returns anything but one score a class.

    Source: chapter 4.
    """
    if labels is None:
        raise ObjectiveError("labels: classify needs a label for each image; fit(..., labels=...)")
    leading = tuple(images.shape[:-3])
    plain = isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.is_complex())
    if not plain or tuple(labels.shape) != leading:
        came = (
            f"{labels.dtype} of shape {tuple(labels.shape)}"
            if isinstance(labels, Tensor)
            else (type(labels).__name__)
        )
        raise ObjectiveError(f"labels: expected whole numbers of shape {leading}, got {came}")
    scores = net(images)  # (..., classes)
    if not isinstance(scores, Tensor) or tuple(scores.shape[:-1]) != leading:
        came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ObjectiveError(
            f"model: classify needs one score a class, {(*leading, 'classes')}, but this one "
            f"returns {came}; end it with a linear layer"
        )
    # A GPU would be waited for here at every step; `fit` has asked before the first one.
    if runtime.is_cpu(labels.device) or not torch.is_grad_enabled():
        low, high = (int(value) for value in labels.aminmax())
        if low < 0 or high >= scores.shape[-1]:
            raise ObjectiveError(
                f"labels: expected whole numbers from 0 to {scores.shape[-1] - 1}, for this model "
                f"scores {scores.shape[-1]} classes, got {low} to {high}"
            )
    return -scores.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
