"""A mean over seeds, and how far apart they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks, random


class Interval(NamedTuple):
    """A mean over seeds and the ends of an interval about it, in the unit of the values."""

    value: float
    low: float
    high: float


def interval(
    values: Sequence[float] | Tensor,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int | torch.Generator = 0,
) -> Interval:
    """The mean over seeds and its percentile bootstrap interval; for two or three, their range.

    `values` holds one finite number a seed, at least two. Up to six seeds all nⁿ resamples are
    enumerated, so chance plays no part; beyond that `resamples` are drawn.

    How much it says: the interval never leaves [min, max], so it knows nothing of a rarer seed. For
    three seeds at 0.95 it *is* [min, max] (each end has 1/27 of the resamples): call it the range
    then. A range of n draws holds their distribution's median with probability 1 − 2¹⁻ⁿ: 50 % for
    two seeds, 75 % for three, 97 % for six. With few seeds read it as the spread among them, not as
    a promise of `level`.
    Source: Efron and Tibshirani (1993), ch. 13.

    >>> interval([1.0, 2.0, 6.0])
    Interval(value=3.0, low=1.0, high=6.0)
    """
    sample = torch.as_tensor(values, dtype=torch.float64)
    sample = checks.tensor(sample, "values", ("seeds",), advice="give one number a seed").cpu()
    n = len(sample)
    if n < 2:
        raise ValueError(checks.message("values", "two seeds or more", sample.tolist()))
    if not 0 < checks.number(level, "level") < 1:
        raise ValueError(checks.message("level", "a number between 0 and 1, such as 0.95", level))
    resamples = checks.whole(resamples, "resamples", least=1)
    if n <= 6:
        picks = torch.cartesian_prod(*[torch.arange(n)] * n)
    else:
        source = random.generator(seed)
        picks = torch.randint(n, (resamples, n), generator=source, device=source.device)
    means = sample[picks.to(sample.device)].mean(1).sort().values
    rank = max(1, math.ceil((1 - level) / 2 * len(means) - 1e-9))  # 1e-9: 1 − .95 is not .05
    ends = sample.mean(), means[rank - 1], means[-rank]
    return Interval(*(float(end.clamp(sample.min(), sample.max())) for end in ends))
