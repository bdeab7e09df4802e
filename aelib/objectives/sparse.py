"""`sparse`: give back the input with a code whose numbers are mostly 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from aelib import checks
from aelib.objectives.objective import ObjectiveError, squared_error


class SparseTerms(NamedTuple):
    """The two terms of the sparse loss for each image, both (...) and both per element.

    `error`: ‖D(z) − a‖²/d, a mean over the image's d elements.
    `l1`: ‖z‖₁/d, the sum of the code's sizes divided by the same d.
    """

    error: Tensor
    l1: Tensor


@dataclass(frozen=True)
class Sparse:
    """Squared error plus λ times the sum of the code's sizes. Made by `sparse`."""

    penalty: float

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        """The loss of each image, shape (...)."""
        error, l1 = sparse_terms(model, images)
        return error + self.penalty * l1


def sparse(penalty: float) -> Sparse:
    """The objective of a sparse autoencoder: ‖D(z) − a‖²/d + (λ/d) ‖z‖₁, z = E(a).

    Both terms are divided by d, the elements of an image. If the decoder's columns are orthonormal
    the best code is what the columns see of the image, each number drawn λ/2 towards 0.

    Args:
        penalty: λ ≥ 0, in units of the input; 0 for a plain autoencoder.

    Raises:
        TypeError, ValueError: for a penalty below 0, or no number.

    Source: Olshausen and Field (1996); Bricken et al. (2023), "Towards Monosemanticity"; chapter 6.

    >>> import torch
    >>> from aelib.models import SparseAutoencoder
    >>> sparse(0.1)(SparseAutoencoder((1, 8, 8), code=256), torch.rand(3, 1, 8, 8)).shape
    torch.Size([3])
    """
    return Sparse(checks.number(penalty, "penalty", least=0))


def sparse_terms(model: nn.Module, images: Tensor) -> SparseTerms:
    """The two terms apart, before λ: see `SparseTerms`.

    Args:
        model: with `encode` and `decode`, as the book's autoencoders; a code of any axes behind the
            leading ones. The decoder's columns should have a fixed norm
            (`models.SparseAutoencoder`), or long columns make the penalty small.
        images: (..., channels, height, width).

    Raises:
        ObjectiveError: for a model without `encode` or `decode`, or one that returns another shape.
    """
    try:
        checks.methods(model, "encode", "decode", advice="use models.SparseAutoencoder")
    except TypeError as error:
        raise ObjectiveError(str(error)) from None
    code = model.encode(images)  # type: ignore[operator]
    error = squared_error(model.decode(code), images)  # type: ignore[operator]
    l1 = code.abs().flatten(images.ndim - 3).sum(-1)
    return SparseTerms(error, l1 / images.shape[-3:].numel())
