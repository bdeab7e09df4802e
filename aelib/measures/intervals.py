"""A mean over units, and how far from it the truth may lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks


class Interval(NamedTuple):
    """A mean over units and the ends of an interval about it, in the unit of the values."""

    value: float
    low: float
    high: float


def interval(values: Sequence[float] | Tensor, level: float = 0.95, log: bool = False) -> Interval:
    """The mean over units and its interval by Student's t.

    Args:
        values: one finite number a unit (a net, an image, a photograph), two or more.
        level: how often such an interval holds the mean of all units, if they are normal.
        log: take mean and interval on the logarithm, as for ratios; the mean is then the geometric
            one, and the numbers must be above 0.

    Equal values give an interval of no width: the units leave nothing to be unsure of, which is no
    proof that another unit would agree. Source: Student (1908).

    >>> [round(end, 2) for end in interval([1.0, 2.0, 6.0])]
    [3.0, -3.57, 9.57]
    """
    sample = torch.as_tensor(values, dtype=torch.float64)
    sample = checks.tensor(sample, "values", ("units",), advice="give one number a unit").cpu()
    n = len(sample)
    if n < 2:
        raise ValueError(checks.message("values", "two units or more", sample.tolist()))
    if not 0 < checks.number(level, "level") < 1:
        raise ValueError(checks.message("level", "a number between 0 and 1, such as 0.95", level))
    if log and sample.min() <= 0:
        raise ValueError(
            checks.message("values", "numbers above 0 where log=True", float(sample.min()))
        )
    if sample.min() == sample.max():  # the mean of equal numbers may round to another one
        return Interval(*[float(sample[0])] * 3)
    from scipy.special import stdtrit  # costs an import of aelib nothing this way

    used = sample.log() if log else sample
    mean = float(used.mean())
    half = float(stdtrit(n - 1, (1 + level) / 2)) * float(used.std()) / math.sqrt(n)
    ends = (mean, mean - half, mean + half)
    return Interval(*(map(math.exp, ends) if log else ends))
