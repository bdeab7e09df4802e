"""A mean over seeds, and how far it is to be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aelib.measures.checks import as_generator, check_count


class Interval(NamedTuple):
    """A mean over seeds with its bootstrap interval, in the unit of the values."""

    value: float
    low: float
    high: float


def interval(
    values: Sequence[float] | Tensor,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int | torch.Generator = 0,
) -> Interval:
    """The mean over seeds with its percentile bootstrap interval: (value, low, high).

    `values` holds one finite number a seed, at least two. Up to six seeds all nⁿ resamples are
    enumerated, so chance plays no part; beyond that `resamples` are drawn.

    How much it says: the interval never leaves [min, max], so it knows nothing of a rarer seed. For
    three seeds at 0.95 it *is* [min, max] (each end has 1/27 of the resamples). A range of n draws
    holds their distribution's median with probability 1 − 2¹⁻ⁿ: 50 % for two seeds, 75 % for three,
    97 % for six. With few seeds read it as the spread seen, not as a promise of `level`.
    Source: Efron and Tibshirani (1993), ch. 13.

    >>> interval([1.0, 2.0, 6.0])
    Interval(value=3.0, low=1.0, high=6.0)
    """
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"values must be one number a seed, got shape {tuple(values.shape)}")
    sample = torch.tensor([float(value) for value in values], dtype=torch.float64)
    n = len(sample)
    if n < 2:
        raise ValueError(f"values must hold at least two seeds for an interval, got {n}; run more")
    if not sample.isfinite().all():
        raise ValueError(f"values must be finite, got {sample.tolist()}; see why that seed failed")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, as 0.95 does, got {level!r}")
    check_count(resamples, "resamples", 1)
    if n <= 6:
        picks = torch.cartesian_prod(*[torch.arange(n)] * n)
    else:
        source = as_generator(seed)
        picks = torch.randint(n, (resamples, n), generator=source, device=source.device)
    means = sample[picks.to(sample.device)].mean(1).sort().values
    rank = max(1, math.ceil((1 - level) / 2 * len(means) - 1e-9))  # 1e-9: 1 − .95 is not .05
    ends = sample.mean(), means[rank - 1], means[-rank]
    return Interval(*(float(end.clamp(sample.min(), sample.max())) for end in ends))
