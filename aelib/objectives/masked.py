"""`masked`: say what stands in the hidden pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from aelib import checks
from aelib.data.noise import Mask
from aelib.objectives.objective import as_images


class MaskedTerms(NamedTuple):
    """The squared error of each image in two parts, both (...): means over the elements there.

    `hidden`: of the pixels that were hidden; 0 for an image of which none was.
    `seen`: of the others, likewise.
    """

    hidden: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Masked:
    """The error on hidden pixels, with a fresh mask at every call. Made by `masked`."""

    mask: Mask

    def __call__(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The loss of each image, shape (...) for images (..., channels, height, width).

        Raises:
            ObjectiveError: if the model returns another shape.
        """
        return masked_terms(model, images, self.mask).hidden


def masked(mask: Mask) -> Masked:
    """The objective of a masked autoencoder: `masked(data.masked(0.5, fill=0.5, patch=4))`.

    The net gets the image with some pixels hidden, and only what it says of those counts. A pixel
    is asked for only where it was not shown, so there is nothing to copy. With
    `denoise(data.masked(…))` the same mask is a noise: all pixels count.

    Args:
        mask: which pixels are hidden, and what stands in their place.

    Raises:
        TypeError: for anything but a mask.
        ValueError: for a mask that hides nothing, or everything.

    Source: He et al. (2022), arXiv 2111.06377, in patches, by a transformer; chapter 6.

    >>> import torch
    >>> from aelib import data
    >>> objective = masked(data.masked(0.5, fill=0.5, patch=4))
    >>> objective(lambda images: images, torch.zeros(2, 1, 32, 32)).unique()  # all answered with ½
    tensor([0.2500])
    """
    if not isinstance(mask, Mask):
        raise TypeError(checks.message("mask", "a mask, such as data.masked(0.5)", mask))
    if not 0 < mask.share < 1:
        got = checks.Described("everything" if mask.share else "nothing")
        advice = "half is a good first try"
        raise ValueError(checks.message("mask", "one that hides a part of the image", got, advice))
    return Masked(mask)


def masked_terms(model: Callable[[Tensor], Tensor], images: Tensor, mask: Mask) -> MaskedTerms:
    """The error on the hidden pixels and on the others, apart: see `MaskedTerms`.

    Args:
        model: maps (..., channels, height, width) to the same shape.
        images: (..., channels, height, width).
        mask: drawn from torch's global generator.

    Raises:
        ObjectiveError: if the model returns another shape.

    Source: chapter 6.
    """
    hidden = mask.hidden(images)  # (..., 1, height, width)
    outputs = as_images(model(images.where(~hidden, mask.fill)), images)
    errors = (outputs - images).square().mean(-3, keepdim=True)  # over the channels
    parts = ((errors * part).sum((-3, -2, -1)) / part.sum((-3, -2, -1)).clamp_min(1)
             for part in (hidden, ~hidden))  # fmt: skip
    return MaskedTerms(*parts)
