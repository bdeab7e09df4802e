"""Spectra of variances: how many directions a code, or a set of images, uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import FLOATS
from aelib.measures.seeds import Seeds, over_seeds


@over_seeds(codes=(2, 4))
def spectrum(codes: Seeds[Tensor]) -> Tensor:
    """Variances of the codes along their own principal directions, falling: (k,), all ≥ 0.

    `codes` is (n, k), or images to compare them with, each flattened to k elements. Variances are
    over n, in the codes' units squared, so their sum is the mean ‖z − mean‖². `effective_rank` of
    them is the code's effective dimension. Source: chapter 5.

    >>> spectrum(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor([1., 0.])
    """
    flat = checks.rows(codes, "codes", least=2, dtypes=FLOATS).double()
    values = torch.linalg.svdvals(flat - flat.mean(0)).square() / len(flat)
    variances = flat.new_zeros(flat.shape[1])
    variances[: len(values)] = values
    return variances.to(torch.as_tensor(codes).dtype)


def directions_for(variances: Tensor | Sequence[float], share: float = 0.95) -> Any:
    """How many of the largest variances hold this share of their sum. Source: chapter 5.

    Of the last axis: one row gives a number, (seeds, k) gives (seeds,).

    >>> directions_for([6.0, 3.0, 1.0], share=0.9)
    2
    """
    share = checks.number(share, "share", above=0, most=1)
    ordered = as_spectrum(variances).double().sort(descending=True).values
    if not (ordered[..., 0] > 0).all():
        raise ValueError(checks.message("variances", "one above 0 in every row", ordered.tolist()))
    shares = ordered.cumsum(-1) / ordered.sum(-1, keepdim=True)
    n = (shares < share - 1e-12).sum(-1) + 1
    return n if n.ndim else int(n)


def effective_rank(values: Tensor | Sequence[float]) -> Tensor:
    """Participation ratio (Σλ)² / Σλ² over the last axis of a spectrum of variances λ ≥ 0.

    From 1 (one direction has it all) to the number of values (all alike). For singular values,
    square them first. ValueError for a spectrum of zeros. Source: chapter 5.

    >>> effective_rank(torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0]]))
    tensor([4., 1.])
    """
    values = as_spectrum(values, "values")
    largest = values.amax(-1, keepdim=True)
    if not (largest > 0).all():
        raise ValueError(checks.message("values", "one above 0 in every row", values.tolist()))
    scaled = values / largest  # squares of tiny variances would underflow
    return scaled.sum(-1).square() / scaled.square().sum(-1)


def as_spectrum(values: Tensor | Sequence[float], name: str = "variances") -> Tensor:
    """Finite variances of at least 0, (..., k); a list becomes float64."""
    if not isinstance(values, Tensor):
        values = torch.as_tensor(values, dtype=torch.float64)
    values = checks.tensor(values, name, (..., "k"))
    if not (values >= 0).all():
        raise ValueError(checks.message(name, "0 or more each", values.tolist()))
    return values
