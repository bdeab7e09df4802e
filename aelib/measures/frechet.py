"""How far a set of images is from another as a whole: Fréchet distance, its floor, class scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks, random
from aelib.measures.evaluate import as_images, run_rows
from aelib.measures.seeds import Seeds, over_seeds

Features = Callable[[Tensor], Tensor]


class ClassScore(NamedTuple):
    """What a classifier says of a set of images; neither number means anything alone.

    confidence: the largest probability for each image, (n,). Noise and a mean image score high.
    entropy: of the mean probabilities over the set, in nats; ln(classes) if all are equally many,
    0 if all images are taken for one class. label: the likeliest class of each image, (n,).
    """

    confidence: Tensor
    entropy: float | Tensor
    label: Tensor


@over_seeds("features", images=4)
def image_features(features: Seeds[Features], images: Seeds[Tensor]) -> Tensor:
    """features(images) for all images, batch by batch, flattened: (n, k), float64.

    `features` is a module or a function, such as a classifier's layer before its head; a module is
    run in evaluation mode. Without gradients.

    Raises:
        TypeError, ValueError: for images or features that cannot be measured.

    >>> image_features(torch.nn.Flatten(), torch.rand(5, 1, 2, 2)).shape
    torch.Size([5, 4])
    """
    return run_rows(features, as_images(images), "features").flatten(1).double()


@over_seeds(first=2, second=2)
def frechet_distance(first: Seeds[Tensor], second: Seeds[Tensor]) -> float | Tensor:
    """Squared Fréchet distance of the normal distributions fitted to two sets of features.

    ‖μ − μ′‖² + tr(C + C′ − 2 (C^½ C′ C^½)^½), with unbiased covariances, in float64, by symmetric
    square roots. 0 for equal sets; larger for small sets than for large ones from the same source,
    so put `frechet_floor` beside it. In squared units of the features: numbers of different
    features cannot be compared. What features do not see, it does not see.

    Args:
        first, second: (n, k) and (m, k), as `image_features` gives them.

    Raises:
        ValueError: for sets of different width, not finite, or with no more rows than columns: the
            covariance would be singular and the distance mostly say how few there are.

    Source: Dowson and Landau (1982); Heusel et al. (2017), arXiv 1706.08500; chapter 4.

    >>> features = torch.tensor([[0.0], [2.0], [4.0]])
    >>> round(frechet_distance(features, features + 3), 4)
    9.0
    """
    features = _as_features(first, "first")
    others = _as_features(second, "second", features.shape[1])
    gap = (features.mean(0) - others.mean(0)).square().sum()
    covariance, other = (torch.atleast_2d(rows.T.cov()) for rows in (features, others))
    root = _root(covariance)
    middle = _root(root @ other @ root)
    distance = gap + covariance.trace() + other.trace() - 2 * middle.trace()
    return float(distance.clamp_min(0))  # rounding may leave −1e-12


def frechet_floor(
    features: Tensor, n: int, draws: int = 5, seed: int | torch.Generator = 0
) -> Tensor:
    """The distance of `n` real images from the other real ones: (draws,).

    What a perfect generator would score with so few samples, against as many references as are
    left. Needs more than k rows on both sides.

    Args:
        features: (rows, k), of real images.
        n: how many of them play the samples; drawn anew each time.
        draws: how often. seed: of the draws.

    Source: chapter 4.
    """
    features = _as_features(features, "features")
    rows, k = features.shape
    limit = f"{rows} rows less {k + 1} to compare with"
    n = checks.whole(n, "n", least=k + 1, most=rows - k - 1, limit=limit)
    draws, source = checks.whole(draws, "draws", least=1), random.generator(seed)
    distances = []
    for _ in range(draws):
        order = torch.randperm(rows, generator=source, device=source.device).to(features.device)
        distances.append(frechet_distance(features[order[:n]], features[order[n:]]))
    return torch.tensor(distances, dtype=torch.float64)


@over_seeds("classifier", images=4)
def classifier_score(classifier: Seeds[Features], images: Seeds[Tensor]) -> ClassScore:
    """Confidence, and the entropy over classes that keeps it honest: see `ClassScore`.

    `classifier` gives one number a class, before a softmax. Source: Salimans et al. (2016), arXiv
    1606.03498, whose inception score joins the two in one number; chapter 4.

    >>> score = classifier_score(torch.nn.Flatten(), 20 * torch.eye(2).view(2, 2, 1, 1))
    >>> score.label, round(score.entropy, 4)  # two classes, equally many: ln 2
    (tensor([0, 1]), 0.6931)
    """
    scores = image_features(classifier, images)  # (n, classes)
    if scores.shape[1] < 2:
        advice = "of one class every image is sure"
        raise ValueError(checks.message("classifier", "one of two classes or more", scores, advice))
    probabilities = scores.softmax(1)
    mean = probabilities.mean(0)
    entropy = -torch.special.xlogy(mean, mean).sum()
    top = probabilities.max(1)
    return ClassScore(top.values, float(entropy), top.indices)


def _as_features(features: object, name: str, k: int | str = "k") -> Tensor:
    advice = "measure both sets by the same features; see image_features"
    rows = checks.tensor(features, name, ("n", k), advice=advice).double()
    if len(rows) <= rows.shape[1]:
        advice = "the covariance is singular; give more images, or fewer features"
        raise ValueError(checks.message(name, "more rows than columns", rows, advice))
    return rows


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
