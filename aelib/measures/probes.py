"""What a straight line can read off features: a number by ridge, a class by logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from aelib import checks, random
from aelib.measures.evaluate import FLOATS
from aelib.measures.seeds import Seeds, over_seeds

PENALTIES = tuple(10.0**power for power in range(-3, 7))
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)


class Probe(NamedTuple):
    """Shares of a target's variance read on unseen examples: 1 is all of it, 0 none of it.

    r2: by the probe. shuffled: by the same probe taught with the targets in random order: what
    chance and the number of features give; about 0 if all is well. Below 0 is worse than answering
    the mean.
    """

    r2: float | Tensor
    shuffled: float | Tensor


@over_seeds("targets", "test_targets", "seed", features=(2, 4), test_features=(2, 4))
def ridge_probe(
    features: Seeds[Tensor],
    targets: Seeds[Tensor],
    test_features: Seeds[Tensor],
    test_targets: Seeds[Tensor],
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: Seeds[int] = 0,
) -> Probe:
    """R² of ridge regression from features to targets, on examples it was not taught with.

    Features are divided by their deviation first; the penalty is chosen among `penalties` by
    leaving out one taught example at a time, for each target by itself. With several targets,
    R² = 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖² over all of them, ȳ being the mean of the test targets.

    Args:
        features, targets: to fit, (n, k) or (n, channels, height, width), flattened here, and (n,)
            or (n, m).
        test_features, test_targets: to be read.
        penalties: to choose from; the features' scale is 1.
        seed: of the shuffled order.

    Raises:
        TypeError, ValueError: for tensors that do not fit together, are not finite, or targets that
            are all the same; for penalties that are none, or not above 0.

    A probe says what *can be read* once someone teaches the reading, not what the model knows. The
    raw pixels, probed in the same way, are the other control; a statistic of them the third.
    Source: Alain and Bengio (2016), arXiv 1610.01644; chapter 4.

    >>> features = torch.linspace(-1, 1, 30)[:, None]
    >>> round(ridge_probe(features, 3 * features, features, 3 * features).r2, 3)
    1.0
    """
    fit, test = _pair(features, test_features)
    y = _targets(targets, "targets", len(fit))
    y_test = _targets(test_targets, "test_targets", len(test))
    checks.tensor(torch.from_numpy(y_test), "test_targets", ("n", y.shape[1]))
    penalties = _above_zero(penalties, "penalties")
    order = np.random.default_rng(random.moved(cast(int, seed)) % 2**32).permutation(len(y))
    # One fit for both: a penalty of its own for each target, and the costly step is shared.
    both = _ridge(fit, np.hstack([y, y[order]]), test, penalties)
    spread = np.square(y_test - y_test.mean(0)).sum()
    return Probe(*(float(1 - np.square(y_test - read).sum() / spread) for read in both))


@over_seeds("seed", features=(2, 4), labels=1, test_features=(2, 4), test_labels=1)
def logistic_probe(
    features: Seeds[Tensor],
    labels: Seeds[Tensor],
    test_features: Seeds[Tensor],
    test_labels: Seeds[Tensor],
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: Seeds[int] = 0,
) -> Tensor:
    """Which test examples a linear classifier, fitted to labelled ones, reads right: (n,), boolean.

    Logistic regression (scikit-learn, one thread). All descriptions are read alike: centred,
    divided by one number to mean variance 1, and with the strength of regularisation that does best
    in three-fold cross-validation on the labelled examples alone; no test example is looked at
    before.

    Args:
        features, labels: to fit, (n, k) or (n, channels, height, width), flattened here, and (n,);
            at least three of each class.
        test_features, test_labels: to be read.
        strengths: of the fit (scikit-learn's C), to choose from.
        seed: of the folds.

    Raises:
        TypeError, ValueError: for shapes that do not fit, one class, or a class with fewer than
            three examples.

    Source: Alain and Bengio (2017), arXiv 1610.01644; chapter 5.

    >>> features, labels = torch.linspace(-1, 1, 8)[:, None], torch.arange(8) // 4
    >>> logistic_probe(features, labels, features, labels).all()
    tensor(True)
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    fit, test = _pair(features, test_features)
    classes = checks.labels(labels, len(fit))
    truth = checks.labels(test_labels, len(test), "test_labels")
    sizes = classes.unique(return_counts=True)[1].tolist()
    if len(sizes) < 2 or min(sizes) < 3:
        got = checks.Described(f"classes of {sizes}")
        raise ValueError(checks.message("labels", "two classes, three examples of each", got))
    mean = fit.mean(0)
    scale = (fit - mean).square().mean().sqrt().clamp_min(torch.finfo(fit.dtype).tiny)
    x, x_test = (((rows - mean) / scale).double() for rows in (fit, test))
    if len(x) < x.shape[1]:  # what the fitted rows do not span, the penalty keeps at 0
        span = torch.linalg.qr(x.mT).Q
        x, x_test = x @ span, x_test @ span
    x, x_test = (rows.numpy(force=True) for rows in (x, x_test))
    search = GridSearchCV(
        LogisticRegression(max_iter=300),
        {"C": _above_zero(strengths, "strengths")},
        cv=StratifiedKFold(3, shuffle=True, random_state=random.moved(cast(int, seed)) % 2**32),
    )
    # One thread: the fits are small, and their numbers are then the same everywhere.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a weak regulariser may need longer
        read = search.fit(x, classes.numpy(force=True)).predict(x_test)
    return torch.from_numpy(read).to(truth.device) == truth


def _ridge(
    fit: Tensor, targets: np.ndarray, test: Tensor, penalties: list[float]
) -> list[np.ndarray]:
    """What the ridge reads of the test rows, for the first and the second half of the targets."""
    from sklearn.linear_model import RidgeCV
    from threadpoolctl import threadpool_limits

    x, x_test = (rows.double().numpy(force=True) for rows in (fit, test))
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-12 * np.abs(x).max(), scale, 1.0)  # a dead feature stays 0
    with threadpool_limits(1):  # more threads than cores make these fits many times slower
        ridge = RidgeCV(alphas=penalties, alpha_per_target=True).fit((x - mean) / scale, targets)
        read = ridge.predict((x_test - mean) / scale)
    return np.split(read.reshape(len(x_test), -1), 2, axis=1)


def _pair(features: object, test_features: object) -> tuple[Tensor, Tensor]:
    """Both sets of features flattened, as many columns in each."""
    fit = checks.rows(features, "features", least=2, dtypes=FLOATS)
    test = checks.rows(test_features, "test_features", dtypes=FLOATS)
    return fit, checks.tensor(test, "test_features", ("n", fit.shape[1]))


def _targets(values: object, name: str, n: int) -> np.ndarray:
    """Targets as float64 (n, m)."""
    table = checks.tensor(values, name, (n, ...)).double().reshape(n, -1).numpy(force=True)
    if n < 3 or np.ptp(table, axis=0).max() == 0:
        got = checks.Described(f"{n}, of {len(np.unique(table))} values")
        raise ValueError(checks.message(name, "three or more that differ", got))
    return table


def _above_zero(values: Sequence[float], name: str) -> list[float]:
    numbers = [checks.number(value, name, above=0) for value in values]
    if not numbers:
        raise ValueError(checks.message(name, "one or more to choose from", numbers))
    return numbers
