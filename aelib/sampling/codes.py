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

    def sample(self, n: int, seed: int | torch.Generator = 0) -> Tensor:
        """`n` codes, (n, k), for `sampling.decode`; drawn where the generator is."""
        n, source = checks.whole(n, "n", least=1), random.generator(seed)
        weights = self.weights.to(source.device)
        component = torch.multinomial(weights, n, replacement=True, generator=source)  # (n,)
        white = random.normal((n, self.means.shape[1]), self.means, source)
        component = component.to(self.means.device)
        return self.means[component] + (self.factors[component] @ white[..., None])[..., 0]


def fit_code(
    codes: Tensor, components: int = 1, seed: int = 0, *, n_init: int = 3
) -> CodeDistribution:
    """Fit a Gaussian, or a mixture of `components` of them, to codes of shape (n, k).

    One component is the codes' mean and covariance; more are scikit-learn's `GaussianMixture`, full
    covariances, on one thread. A millionth of the codes' mean variance is added to each
    covariance's diagonal, so that directions no code uses do no harm.

    Args:
        codes: (n, k), such as model.encode(images.train); n at least twice the components.
        components: 1 or more.
        seed: of the mixture's starts.
        n_init: starts of a mixture, of which the likeliest is kept, so that a poor one does no
            harm; it costs so many fits.

    Returns:
        A `CodeDistribution` in the codes' dtype, on their device.

    Raises:
        TypeError, ValueError: for codes of another shape, not finite, or all equal; for fewer codes
            than twice the components.

    Source: Ghosh et al. (2020), arXiv 1903.12436; chapter 5.

    >>> codes = torch.randn(100, 2, generator=random.generator(0))
    >>> fit_code(codes, components=3).sample(5).shape
    torch.Size([5, 2])
    """
    components = checks.whole(components, "components", least=1)
    n_init = checks.whole(n_init, "n_init", least=1)
    values = checks.tensor(codes, "codes", ("n", "k"), advice="flatten them first").cpu().double()
    checks.whole(len(codes), "len(codes)", least=2 * components)
    spread = float(values.var(0, correction=0).mean())
    if spread == 0:
        got = checks.Described("codes that are all equal")
        raise ValueError(checks.message("codes", "codes that differ", got, "train longer"))
    floor = 1e-6 * spread
    if components == 1:
        weights, means = values.new_ones(1), values.mean(0)[None]
        centered = values - means
        covariance = centered.T @ centered / len(values) + floor * torch.eye(values.shape[1])
        covariances = covariance[None]
    else:
        state = random.moved(seed) % 2**32  # what scikit-learn takes
        weights, means, covariances = _mixture(values, components, state, n_init, floor)
    factors = torch.linalg.cholesky(covariances)
    return CodeDistribution(weights.to(codes), means.to(codes), factors.to(codes))


def _mixture(
    values: Tensor, components: int, seed: int, n_init: int, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances of scikit-learn's mixture."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(components, reg_covar=floor, random_state=seed, n_init=n_init)
    # Small matrices: a second thread costs more than it brings, and one gives one result.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop is still a fit
        mixture.fit(values.numpy())
    weights, means, covariances = mixture.weights_, mixture.means_, mixture.covariances_
    return torch.from_numpy(weights), torch.from_numpy(means), torch.from_numpy(covariances)
