"""The variational loss: squared error, and the price of the code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

from torch import Tensor

from aelib.objectives.checks import ObjectiveError


class Terms(NamedTuple):
    """The two terms of the variational loss for each image, both (...) and both per element.

    `error`: ‖D(z) − a‖²/d, a mean over the image's d elements.
    `price`: KL(q(z|a) ‖ N(0, 1))/d, a sum over the code divided by the same d.
    """

    error: Tensor
    price: Tensor


@dataclass(frozen=True)
class Variational:
    """Squared error plus β times the price of the code. Made by `variational`."""

    beta: float

    def __call__(self, net: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The loss of each image, shape (...); the code is drawn from torch's global generator."""
        error, price = variational_terms(net, images)
        return error + self.beta * price


def variational(beta: float | None = None, *, sigma: float | None = None) -> Variational:
    """The objective of a variational autoencoder: ‖D(z) − a‖²/d + (β/d) KL(q(z|a) ‖ N(0, 1)).

    One draw of z from q(z|a) for each image. Both terms are divided by d, the elements of an image,
    so the loss is the negative log-likelihood bound of a decoder with Gaussian errors of deviation
    σ_D, in units of 2σ_D²/d, exactly if β = 2σ_D². Programs that take the mean over pixels and the
    sum over the code pay, for the same β, d times this price.

    Args:
        beta: the weight β ≥ 0; 1 if neither is given. With 0 the code is drawn but costs nothing.
        sigma: σ_D > 0 instead, in grey levels: β = 2σ_D².

    Raises:
        TypeError, ValueError: for both at once, or a number out of range.

    Source: Kingma and Welling (2014), arXiv 1312.6114; Higgins et al. (2017) for β; chapter 5.
    """
    if beta is not None and sigma is not None:
        raise TypeError(f"beta, sigma: expected one of them, for β = 2σ²; got {beta} and {sigma}")
    for name, value, least in (("beta", beta, 0.0), ("sigma", sigma, None)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}: expected a number, got {value!r}")
        if not math.isfinite(value) or value < 0 or (least is None and value == 0):
            wanted = "0 or more" if least is not None else "above 0"
            raise ValueError(f"{name}: expected a finite number {wanted}, got {value!r}")
    if sigma is not None:
        return Variational(2 * float(sigma) ** 2)
    return Variational(1.0 if beta is None else float(beta))


def variational_terms(net: Callable[[Tensor], Tensor], images: Tensor) -> Terms:
    """The two terms apart, before β: see `Terms`.

    Args:
        net: with `posterior` (mean and log-variance of the code) and `decode`, as `models.VAE`.
        images: (..., channels, height, width).

    Raises:
        ObjectiveError: for a net without `posterior` or `decode`.

    Source: chapter 5.
    """
    missing = [name for name in ("posterior", "decode") if not hasattr(net, name)]
    if missing:
        raise ObjectiveError(
            f"model: the variational loss needs {' and '.join(missing)}, which "
            f"{type(net).__name__} lacks; use models.VAE, or another objective"
        )
    q = net.posterior(images)
    elements = images.shape[-3:].numel()
    error = (net.decode(q.sample()) - images).square().mean(dim=(-3, -2, -1))
    return Terms(error, kl_to_standard(q.mean, q.log_variance) / elements)


def kl_to_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) ‖ N(0, 1)) in nats, a sum over the last axis: (...).

    In closed form: ½ Σ (m² + s² − 1 − log s²). 0 exactly for the standard Gaussian.
    """
    return (mean.square() + log_variance.expm1() - log_variance).sum(-1) / 2
