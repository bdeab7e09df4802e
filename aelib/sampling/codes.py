"""Sampling a code: a Gaussian, or a mixture of them, fitted to the codes of the training images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from aelib import checks, random


@dataclass(frozen=True)
class CodeDistribution:
    """A mixture of Gaussians over codes of k elements. Made by `fit_code`.

    Attributes:
        weights: of the components, (components,), summing to 1.
        means: (components, k).
        factors: lower triangular, (components, k, k): a component's covariance is L Lᵀ.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def sample(self, count: int, seed: int | torch.Generator = 0) -> Tensor:
        """`count` codes, (count, k), for `sampling.decode`; drawn where the generator is."""
        count = checks.whole(count, "count", least=1)
        source = seed if isinstance(seed, torch.Generator) else random.generator(seed)
        shares, k = self.weights.to(source.device), self.means.shape[1]
        which = torch.multinomial(shares, count, replacement=True, generator=source)
        white = torch.randn(count, k, generator=source, device=source.device).to(self.means)
        which = which.to(self.means.device)
        return self.means[which] + (self.factors[which] @ white[..., None])[..., 0]  # (count, k)


def fit_code(codes: Tensor, components: int = 1, seed: int = 0) -> CodeDistribution:
    """Fit a Gaussian, or a mixture of `components` of them, to codes of shape (n, k).

    One component is the codes' mean and covariance; more are scikit-learn's `GaussianMixture`, full
    covariances, on one thread. A millionth of the codes' mean variance is added to each
    covariance's diagonal, so that directions no code uses do no harm.

    Args:
        codes: (n, k), such as net.encode(images.train); n above the number of components.
        components: 1 or more.
        seed: of the mixture's start.

    Returns:
        A `CodeDistribution` in the codes' dtype and place.

    Raises:
        TypeError, ValueError: for codes of another shape, not finite, or all equal; for fewer codes
            than twice the components.

    Source: Ghosh et al. (2020), arXiv 1903.12436; chapter 5.
    """
    if not isinstance(codes, Tensor) or not codes.is_floating_point() or codes.dim() != 2:
        came = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise TypeError(
            f"codes: expected a floating-point tensor (n, k), got {came}; flatten them first"
        )
    components = checks.whole(components, "components", least=1)
    seed = checks.whole(seed, "seed", least=0)
    if len(codes) < 2 * components:
        raise ValueError(
            f"codes: expected at least two for each of {components} components, got {len(codes)}"
        )
    values = codes.detach().double().cpu()
    if not values.isfinite().all():
        raise ValueError("codes: expected finite values, got some that are NaN or infinite")
    spread = float(values.var(0, correction=0).mean())
    if spread == 0:
        raise ValueError("codes: they are all equal, so there is nothing to fit; train longer")
    floor = 1e-6 * spread
    if components == 1:
        centred = values - values.mean(0)
        weights, means = torch.ones(1, dtype=torch.float64), values.mean(0)[None]
        covariances = (centred.T @ centred / len(values))[None]
        covariances = covariances + floor * torch.eye(values.shape[1], dtype=torch.float64)
    else:
        weights, means, covariances = _mixture(values, components, seed, floor)
    parts = (weights, means, torch.linalg.cholesky(covariances))
    return CodeDistribution(*(part.to(codes) for part in parts))


def _mixture(values: Tensor, components: int, seed: int, floor: float) -> tuple[Tensor, ...]:
    """Weights, means and covariances of scikit-learn's mixture."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    # Small matrices: a second thread costs more than it brings, and one gives one result.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop is still a fit
        fitted = GaussianMixture(components, reg_covar=floor, random_state=seed).fit(values.numpy())
    found = (fitted.weights_, fitted.means_, fitted.covariances_)
    return tuple(torch.from_numpy(part) for part in found)
