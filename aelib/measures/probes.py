"""What a straight line can read off features: a ridge probe, with the control it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aelib import checks

PENALTIES = tuple(10.0**power for power in range(-3, 7))


class Probe(NamedTuple):
    """Shares of a target's variance read on unseen examples: 1 is all of it, 0 none of it.

    r2: by the probe. shuffled: by the same probe taught with the targets in random order: what
    chance and the number of features give; about 0 if all is well. Below 0 is worse than answering
    the mean.
    """

    r2: float
    shuffled: float


def linear_probe(
    seen: Tensor,
    targets: Tensor,
    unseen: Tensor,
    truths: Tensor,
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Probe:
    """R² of ridge regression from features to targets, on examples it was not taught with.

    Features are divided by their deviation first; the penalty is chosen among `penalties` by
    leaving out one taught example at a time, for each target by itself. With several targets,
    R² = 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖² over all of them, ȳ being the mean of the truths.

    Args:
        seen, unseen: features (n, …) and (m, …), flattened here.
        targets, truths: (n,) or (n, k), and (m,) or (m, k).
        penalties: to choose from; the features' scale is 1.
        seed: of the shuffled order.

    Raises:
        ValueError: for tensors that do not fit together, are not finite, or targets that are all
            the same; for penalties that are none, or not above 0.

    A probe says what *can be read* once someone teaches the reading, not what the net knows. The
    raw pixels, probed in the same way, are the other control; a statistic of them the third.
    Source: Alain and Bengio (2016), arXiv 1610.01644; chapter 4.
    """
    taught, asked = _table(seen, "seen"), _table(unseen, "unseen")
    wanted, answers = _table(targets, "targets"), _table(truths, "truths")
    for name, table, like, other in (
        ("targets", wanted, taught, "seen"),
        ("truths", answers, asked, "unseen"),
    ):
        if len(table) != len(like):
            raise ValueError(
                f"{name}: expected one for each of {other}, {len(like)}, got {len(table)}"
            )
    for name, table, like, other in (
        ("unseen", asked, taught, "seen"),
        ("truths", answers, wanted, "targets"),
    ):
        if table.shape[1] != like.shape[1]:
            raise ValueError(
                f"{name}: expected {like.shape[1]} columns, as {other} has, got {table.shape[1]}"
            )
    for name, table in (("targets", wanted), ("truths", answers)):
        if len(table) < 3 or np.ptp(table, axis=0).max() == 0:
            raise ValueError(f"{name}: expected three or more that differ; nothing to read here")
    checks.whole(seed, "seed", least=0)
    penalties = list(penalties)
    if not penalties or not all(isinstance(one, Real) and 0 < one < math.inf for one in penalties):
        raise ValueError(
            f"penalties: expected finite numbers above 0 to choose from, got {penalties}"
        )
    order = np.random.default_rng(seed).permutation(len(wanted))
    # One fit for both: a penalty of its own for each target, and the costly step is shared.
    both = _read(taught, np.hstack([wanted, wanted[order]]), asked, penalties)
    spread = np.square(answers - answers.mean(0)).sum()
    return Probe(*(float(1 - np.square(answers - found).sum() / spread) for found in both))


def _read(taught, wanted, asked, penalties) -> list[np.ndarray]:
    """What the ridge says of the asked ones, for the first and the second half of the targets."""
    from sklearn.linear_model import RidgeCV
    from threadpoolctl import threadpool_limits

    mean, scale = taught.mean(0), taught.std(0)
    scale = np.where(scale > 1e-12 * np.abs(taught).max(), scale, 1.0)  # a dead feature stays 0
    with threadpool_limits(1):  # more threads than cores make these fits many times slower
        ridge = RidgeCV(alphas=penalties, alpha_per_target=True).fit(
            (taught - mean) / scale, wanted
        )
        found = ridge.predict((asked - mean) / scale)
    return np.split(found.reshape(len(asked), -1), 2, axis=1)


def _table(values: Tensor, name: str) -> np.ndarray:
    """Values as float64 (n, k)."""
    values = torch.as_tensor(values).detach()
    if values.dim() == 0 or not values.numel():
        raise ValueError(f"{name}: expected one row an example, got shape {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError(f"{name}: must be finite, but holds NaN or infinity; look where from")
    return values.double().reshape(len(values), -1).numpy(force=True)
