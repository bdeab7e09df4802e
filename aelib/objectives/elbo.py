"""The variational loss: squared error, and what the code tells; the evidence lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from aelib import checks
from aelib.models import VAE
from aelib.objectives.objective import ObjectiveError, squared_error


class Terms(NamedTuple):
    """The two terms of the variational loss for each image, both (...) and both per element.

    `error`: ‖D(z) − a‖²/d, a mean over the image's d elements.
    `kl`: KL(q(z|a) ‖ N(0, 1))/d in nats, a sum over the code divided by the same d.
    """

    error: Tensor
    kl: Tensor


@dataclass(frozen=True)
class Variational:
    """Squared error plus β times the KL divergence of the code. Made by `variational`."""

    beta: float

    def __call__(self, model: VAE, images: Tensor) -> Tensor:
        """The loss of each image, shape (...); the code is drawn from torch's global generator."""
        error, kl = variational_terms(model, images)
        return error + self.beta * kl


def variational(beta: float | None = None, *, sigma: float | None = None) -> Variational:
    """The objective of a variational autoencoder: ‖D(z) − a‖²/d + (β/d) KL(q(z|a) ‖ N(0, 1)).

    One draw of z from q(z|a) for each image. Both terms are divided by d, the elements of an image,
    so the loss is the negative log-likelihood bound of a decoder with Gaussian errors of deviation
    σ_D, in units of 2σ_D²/d, exactly if β = 2σ_D². Programs that take the mean over pixels and the
    sum over the code pay, for the same β, d times this divergence.

    Args:
        beta: the weight β ≥ 0; 1 if neither is given. With 0 the code is drawn but costs nothing.
        sigma: σ_D > 0 instead, in grey levels: β = 2σ_D².

    Raises:
        TypeError, ValueError: for both at once, or a number out of range.

    Source: Kingma and Welling (2014), arXiv 1312.6114; Higgins et al. (2017) for β; chapter 5.

    >>> variational(sigma=0.5) == variational(0.5)
    True
    """
    if sigma is None:
        return Variational(1.0 if beta is None else checks.number(beta, "beta", least=0))
    if beta is not None:
        raise TypeError(checks.message("beta, sigma", "one of them, for β = 2σ²", (beta, sigma)))
    return Variational(2 * checks.number(sigma, "sigma", above=0) ** 2)


def variational_terms(model: VAE, images: Tensor) -> Terms:
    """The two terms apart, before β: see `Terms`.

    Args:
        model: with `posterior` (mean and log-variance of the code) and `decode`, as `models.VAE`.
        images: (..., channels, height, width).

    Raises:
        ObjectiveError: for a model without `posterior` or `decode`.

    Source: chapter 5.
    """
    try:
        checks.methods(model, "posterior", "decode", advice="use models.VAE or another objective")
    except TypeError as error:
        raise ObjectiveError(str(error)) from None
    q = model.posterior(images)
    error = squared_error(model.decode(q.sample()), images)
    return Terms(error, kl_to_standard(q.mean, q.log_variance) / images.shape[-3:].numel())


def kl_to_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) ‖ N(0, 1)) in nats, a sum over the last axis: (...).

    In closed form: ½ Σ (m² + s² − 1 − log s²). 0 exactly for the standard Gaussian.
    """
    return (mean.square() + log_variance.expm1() - log_variance).sum(-1) / 2
