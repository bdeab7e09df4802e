"""The largest singular values of a Jacobian that is too large to be written down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aelib import checks, random, runtime
from aelib.measures.evaluate import Model, as_images
from aelib.measures.seeds import Seeds, over_seeds
from aelib.models import evaluating

PROBES = 16  # random vectors that measure what the leading directions leave


class Leading(NamedTuple):
    """The largest singular values of the Jacobian at each image, and how much there is in all.

    values: (n, k), falling, ≥ 0. energy: ‖J‖²_F, the sum of the squares of all singular values,
    estimated; (n,).
    """

    values: Tensor
    energy: Tensor

    @property
    def share(self) -> Tensor:
        """The share of ‖J‖²_F that these values hold, up to 1; NaN for a Jacobian of zeros."""
        total = self.energy.where(self.energy > 0, math.nan)
        return (self.values.square().sum(-1) / total).clamp_max(1)

    def rank(self, tolerance: float = 1e-3) -> Tensor:
        """How many values lie above `tolerance` times the largest, (n,): the numerical rank.

        Where all k do, and the Jacobian has more, the rank is k or above.

        >>> Leading(torch.tensor([[9.0, 3.0, 0.001]]), torch.tensor([90.0])).rank()
        tensor([2])
        """
        tolerance = checks.number(tolerance, "tolerance", above=0, below=1)
        return (self.values > tolerance * self.values[..., :1]).sum(-1)


@over_seeds("model", images=4)
@torch.inference_mode(False)
def leading_singular_values(
    model: Seeds[Callable[[Tensor], Tensor]],
    images: Seeds[Tensor],
    k: int = 20,
    *,
    iterations: int = 4,
    oversampling: int = 10,
    rows: int = 8,
    seed: int | torch.Generator = 0,
) -> Leading:
    """The k largest singular values of the Jacobian at each image, for an output of any shape.

    By randomized subspace iteration, from products J v and Jᵀ u alone: 2 · `iterations` + 2 of them
    with each of k + `oversampling` vectors. No value is above the true one but for rounding; the
    last ones may fall short where the spectrum is flat. `singular_values` is exact, for small
    images. ‖J‖²_F is that of the directions found, and of what they leave a Hutchinson estimate.

    Args:
        model: images to features, a row for each image, whatever the other rows are; twice
            differentiable by torch.
        images: (n, channels, height, width).
        k: how many values; all there are, where these are fewer.
        iterations: how often the subspace is refined.
        oversampling: how many vectors more than k.
        rows: vectors in one pass through the model; memory grows with it.
        seed: of the vectors to begin with, for every image the same; a Generator is advanced.

    Raises:
        ValueError: if the output carries no gradient, cannot be differentiated twice, or has no row
            for each image.

    Source: Halko, Martinsson & Tropp (2011), algorithms 4.4 and 5.1; Meyer et al. (2021) for the
        estimate of what is left.

    >>> found = leading_singular_values(lambda x: 3 * x.flatten(1)[:, :2], torch.zeros(1, 1, 8, 8))
    >>> found.values.round(decimals=3), found.energy.round(decimals=3), found.rank()
    (tensor([[3., 3.]]), tensor([18.]), tensor([2]))
    """
    images = as_images(images)
    checks.counts(k=k, rows=rows)
    checks.whole(iterations, "iterations", least=0)
    checks.whole(oversampling, "oversampling", least=0)
    checks.function(model, "model", "an nn.Module")
    # Torch's other ways to do attention can be differentiated once only.
    with evaluating(cast(Model, model)), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        found = [
            _leading(_Jacobian(model, image, rows), k, iterations, oversampling, seed)
            for image in images.split(1)
        ]
    values, energies = zip(*found, strict=True)
    return Leading(torch.stack(values), torch.stack(energies))


class _Jacobian:
    """Products with the Jacobian J (m, d) of a model at one image, `rows` vectors at a time."""

    def __init__(self, model: Any, image: Tensor, rows: int):
        self.model, self.image, self.rows = model, image, rows
        inputs, features = self._run(1)
        if _gradient(features, inputs, torch.zeros_like(features)) is None:
            got = checks.Described("one with no gradient")
            expected = "one whose output depends on its input"
            raise ValueError(checks.message("model", expected, got, "look for detach()"))
        self.shape = (features.shape[1], image.numel())

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """J v for the columns of (d, p): (m, p)."""
        return self._each(self._along, vectors)

    def transposed(self, vectors: Tensor) -> Tensor:
        """Jᵀ u for the columns of (m, p): (d, p)."""
        return self._each(self._back, vectors)

    def _each(self, product: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
        return torch.cat([product(some).detach() for some in vectors.T.split(self.rows)]).T

    def _along(self, vectors: Tensor) -> Tensor:
        inputs, features = self._run(len(vectors))
        weights, product = torch.zeros_like(features, requires_grad=True), None
        why = "its gradient has none"
        try:  # Jᵀ w is linear in w, and so its derivative along v is J v
            slopes = cast(Tensor, _gradient(features, inputs, weights, create_graph=True))
            product = _gradient(slopes.flatten(1), weights, vectors)
        except RuntimeError as error:
            if runtime.out_of_memory(error):
                raise
            why = str(error).strip().splitlines()[0]
        if product is None:
            expected = "one that torch can differentiate twice"
            raise ValueError(checks.message("model", expected, checks.Described(why)))
        return product

    def _back(self, vectors: Tensor) -> Tensor:
        inputs, features = self._run(len(vectors))
        return cast(Tensor, _gradient(features, inputs, vectors)).flatten(1)

    def _run(self, n: int) -> tuple[Tensor, Tensor]:
        inputs = self.image.expand(n, *self.image.shape[1:]).clone().requires_grad_()
        features = self.model(inputs.clone())  # a model may begin with an in-place step
        if not isinstance(features, Tensor) or features.dim() == 0 or len(features) != n:
            got = checks.Described(f"one that returns {checks.described(features)}")
            expected = f"one that gives a row for each image, ({n}, …)"
            raise ValueError(checks.message("model", expected, got))
        return inputs, features.flatten(1).to(inputs)


def _gradient(
    outputs: Tensor, inputs: Tensor, along: Tensor, create_graph: bool = False
) -> Tensor | None:
    """The gradient of outputs · along; None where there is no way back to the inputs."""
    if not outputs.requires_grad:
        return None
    return torch.autograd.grad(
        outputs, inputs, along, create_graph=create_graph, allow_unused=True
    )[0]


def _leading(
    jacobian: _Jacobian, k: int, iterations: int, oversampling: int, seed: int | torch.Generator
) -> tuple[Tensor, Tensor]:
    """The values, (k,), and ‖J‖²_F, ()."""
    generator = random.generator(seed)
    m, d = jacobian.shape
    p, like = min(k + oversampling, m, d), jacobian.image
    vectors = random.normal((d, p), like, generator)
    for _ in range(iterations):
        basis = torch.linalg.qr(jacobian @ vectors).Q
        vectors = torch.linalg.qr(jacobian.transposed(basis)).Q
    basis = torch.linalg.qr(jacobian @ vectors).Q  # (m, p)
    found = jacobian.transposed(basis)  # (d, p), whose values are those of J in this basis
    probes = random.normal((m, PROBES), like, generator)
    left = jacobian.transposed(probes - basis @ (basis.T @ probes))
    energy = found.square().sum() + left.square().sum() / PROBES
    return torch.linalg.svdvals(found)[:k], energy
