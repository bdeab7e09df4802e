"""The sparse autoencoder: more units than numbers in, of which few are on at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.models.autoencoders import Autoencoder
from aelib.models.init import init_weights
from aelib.models.modes import evaluating


class DeadUnitsWarning(UserWarning):
    """Some units of a code are on for none of the images."""


class UnitColumns(nn.Linear):
    """A linear layer whose columns count by their direction alone: each is divided by its norm.

    Without it a penalty on the code is made small by long columns and a short code.
    """

    def columns(self) -> Tensor:
        """The columns as they act, of norm 1: (out_features, in_features)."""
        return nn.functional.normalize(self.weight, dim=0)

    def forward(self, code: Tensor) -> Tensor:
        return nn.functional.linear(code, self.columns(), self.bias)


class SparseAutoencoder(Autoencoder):
    """One layer of units that are 0 or more: z = ReLU(W (a − b) + c), O(a) = V z + b.

    The columns of V have norm 1: they are the directions into which an input is taken apart.
    With `k` the k largest units stay and the others are 0 (top-k), so that `objectives.copy` is
    all the training it needs. Without it all stay, and a penalty on the code makes most of them
    0 (`objectives.sparse`), or none: then this is the plain autoencoder to compare it with. W
    starts as Vᵀ, which leaves fewer units that never turn on.

    Args:
        shape: (channels, height, width) of an input; features (n, d) go in as (n, d, 1, 1), and
            best as `scaling` gives them.
        code: units, usually more than the input has elements.
        k: how many stay on, at most `code`; None for all.

    Raises:
        ValueError, TypeError: for a k above `code`, or a size that is no positive whole number.

    Source: Bricken et al. (2023), "Towards Monosemanticity"; for k Makhzani and Frey (2014), arXiv
    1312.5663, and Gao et al. (2024), arXiv 2406.04093; chapter 6.

    >>> model = SparseAutoencoder((1, 8, 8), code=256, k=5)
    >>> code = model.encode(torch.rand(3, 1, 8, 8))
    >>> code.shape, (code > 0).sum(1).tolist()
    (torch.Size([3, 256]), [5, 5, 5])
    """

    encoder: nn.Linear
    decoder: UnitColumns

    def __init__(self, shape: Sequence[int], code: int, k: int | None = None):
        shape = checks.shape(shape)
        code = checks.whole(code, "code", least=1)
        if k is not None:
            k = checks.whole(k, "k", least=1, most=code, limit="the code")
        elements = math.prod(shape)
        super().__init__(shape, nn.Linear(elements, code), UnitColumns(code, elements))
        self.k = k
        init_weights(self, "lecun")
        with torch.no_grad():
            self.decoder.weight.copy_(self.decoder.columns())
            self.encoder.weight.copy_(self.decoder.weight.T)

    def encode(self, images: Tensor) -> Tensor:
        """The code z, 0 or more, shape (..., code)."""
        code = torch.relu(self.encoder(images.flatten(-3) - self.decoder.bias))
        if self.k is None:
            return code
        return code * (code >= code.topk(self.k, -1).values[..., -1:])

    def extra_repr(self) -> str:
        return f"shape={self.shape}, k={self.k}"


class Scaling(NamedTuple):
    """Features less their mean, over one number for all. Made by `scaling`."""

    mean: Tensor  # (d,)
    largest: Tensor  # ()

    def __call__(self, features: Tensor) -> Tensor:
        """Features (..., d) as a sparse autoencoder's inputs, (..., d, 1, 1)."""
        return ((features - self.mean) / self.largest)[..., None, None]


def scaling(features: Tensor) -> Scaling:
    """How a net's features are made inputs of a sparse autoencoder, in [−1, 1] as `fit` wants them.

    Args:
        features: (n, d) of the images to train on, n at least 2.

    Returns:
        A `Scaling`: what it gives of these features has mean 0 in each element, and 1 is the
        largest size of all.

    Raises:
        ValueError, TypeError: for features that are not finite, or the same for all images.

    >>> inputs = scaling(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))(torch.tensor([[4.0, 5.0]]))
    >>> inputs.flatten().tolist()
    [2.0, 0.0]
    """
    rows = checks.rows(features, "features", least=2)
    mean = rows.mean(0)
    largest = (rows - mean).abs().max()
    if largest <= 1e-5 * rows.abs().max():
        got = checks.Described("features that are the same for all images")
        advice = "read another layer, or calibrate the net's batch statistics (models.calibrate)"
        raise ValueError(checks.message("features", "features that differ", got, advice))
    return Scaling(mean, largest)


@torch.no_grad()
def dead_units(model: nn.Module, images: Tensor) -> Tensor:
    """The numbers of the units that are on (above 0) for none of the images.

    Args:
        model: with `encode`, to codes (n, code).
        images: (n, channels, height, width); some thousand, or a rare unit counts as dead.

    Returns:
        (dead,), whole numbers in order.

    Raises:
        TypeError: for a model without `encode`.

    Warns:
        DeadUnitsWarning: if there are any; says what to try.

    >>> dead_units(SparseAutoencoder((1, 8, 8), code=32), torch.randn(500, 1, 8, 8))
    tensor([], dtype=torch.int64)
    """
    checks.methods(model, "encode", advice="use models.SparseAutoencoder")
    with evaluating(model), torch.no_grad():
        on = (model.encode(checks.images(images)) > 0).any(0)  # type: ignore[operator]
    dead = (~on).nonzero().flatten()
    if len(dead):
        warnings.warn(
            f"{len(dead)} of {len(on)} units are on for none of {len(images)} images; try a "
            "smaller penalty or a larger k, fewer units, more steps, or inputs from models.scaling",
            DeadUnitsWarning,
            stacklevel=2,
        )
    return dead
