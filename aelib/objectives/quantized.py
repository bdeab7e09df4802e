"""The loss of a vector-quantised autoencoder: squared error, and what ties codes to words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from aelib import checks
from aelib.models import VQAutoencoder
from aelib.objectives.objective import ObjectiveError, squared_error


class QuantizedTerms(NamedTuple):
    """The three terms for each image, all (...).

    `error`: ‖D(z̄) − a‖²/d, a mean over the image's d elements.
    `book`: ‖sg(z) − z̄‖²/k, a mean over the code's k elements, whose gradient moves the words only.
    `commitment`: ‖z − sg(z̄)‖²/k: the same number, whose gradient moves the encoder only.
    """

    error: Tensor
    book: Tensor
    commitment: Tensor


@dataclass(frozen=True)
class Quantized:
    """Squared error, the words' and β times the encoder's way. Made by `quantized`."""

    beta: float

    def __call__(self, model: VQAutoencoder, images: Tensor) -> Tensor:
        """The loss of each image, shape (...)."""
        error, book, commitment = quantized_terms(model, images)
        return error + book + self.beta * commitment


def quantized(beta: float = 0.25) -> Quantized:
    """The objective of a vector-quantised autoencoder: `quantized()`, for `models.VQAutoencoder`.

    ‖D(z̄) − a‖²/d + ‖sg(z) − z̄‖²/k + (β/k) ‖z − sg(z̄)‖², where z is what the encoder says, z̄ the
    words nearest to it, and sg lets no gradient through. The gradient of the first passes from z̄ to
    z as if they were one (`VQAutoencoder.quantize`); the second brings the words to the codes, the
    third the codes to the words.

    Args:
        beta: the weight β ≥ 0 of the third.

    Raises:
        TypeError, ValueError: for a weight out of range.

    Source: van den Oord et al. (2017), arXiv 1711.00937, equation 3, where β is 0.25; chapter 6.

    >>> quantized().beta
    0.25
    """
    return Quantized(checks.number(beta, "beta", least=0))


def quantized_terms(model: VQAutoencoder, images: Tensor) -> QuantizedTerms:
    """The three terms apart, before β: see `QuantizedTerms`.

    Args:
        model: with `continuous`, `nearest`, `quantize` and `decode`, as `models.VQAutoencoder`.
        images: (..., channels, height, width).

    Raises:
        ObjectiveError: for a model without them.

    Source: chapter 6.
    """
    names = ("continuous", "nearest", "quantize", "decode")
    try:
        checks.methods(model, *names, advice="use models.VQAutoencoder or another objective")
    except TypeError as error:
        raise ObjectiveError(str(error)) from None
    code = model.continuous(images)
    words = model.nearest(code)
    error = squared_error(model.decode(model.quantize(code)), images)
    book = (code.detach() - words).square().mean(-1)
    return QuantizedTerms(error, book, (code - words.detach()).square().mean(-1))
