"""How far a set of images is from another as a whole: Fréchet distance, its floor, class scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aelib.measures.checks import as_generator, as_images, check_count
from aelib.measures.nets import chunk_size
from aelib.models import evaluating

Features = Callable[[Tensor], Tensor]


class ClassScore(NamedTuple):
    """What a classifier says of a set of images; neither number means anything alone.

    confidence: the largest probability for each image, (n,). Noise and a mean image score high.
    entropy: of the mean probabilities over the set, in nats; ln(classes) if all are equally many,
    0 if all images are taken for one class. label: the likeliest class of each image, (n,).
    """

    confidence: Tensor
    entropy: float
    label: Tensor


def image_features(features: Features, images: Tensor) -> Tensor:
    """features(images) for all images, chunk by chunk, flattened: (n, k), float64.

    `features` is a module or a function, such as a classifier's layer before its head; a module is
    run in evaluation mode. Without gradients.

    Raises:
        TypeError, ValueError: for images or features that cannot be measured.
    """
    images = as_images(images, "images")
    found = []
    with evaluating(features), torch.no_grad():
        for part in images.split(chunk_size(images)):
            answer = features(part.clone())
            if not isinstance(answer, Tensor) or answer.dim() < 2 or len(answer) != len(part):
                came = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
                raise ValueError(
                    f"features: expected one row for each of {len(part)} images, got {came}"
                )
            found.append(answer.flatten(1).double())
    found = torch.cat(found)
    if not found.isfinite().all():
        raise ValueError("features returned NaN or infinity; look at the net they come from")
    return found


def frechet_distance(first: Tensor, second: Tensor) -> float:
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
    """
    first, second = _as_features(first, "first"), _as_features(second, "second")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"second: expected {first.shape[1]} features, as first has, got {second.shape[1]}; "
            "measure both sets by the same features"
        )
    gap = (first.mean(0) - second.mean(0)).square().sum()
    one, other = (torch.atleast_2d(rows.T.cov()) for rows in (first, second))
    root = _root(one)
    middle = _root(root @ other @ root)
    distance = gap + one.trace() + other.trace() - 2 * middle.trace()
    return float(distance.clamp_min(0))  # rounding may leave −1e-12


def frechet_floor(
    features: Tensor, size: int, draws: int = 5, seed: int | torch.Generator = 0
) -> Tensor:
    """The distance of `size` real images from the other real ones: (draws,).

    What a perfect generator would score with so few samples, against as many references as are
    left. Needs more than k rows on both sides.

    Args:
        features: (n, k), of real images.
        size: how many of them play the samples; drawn anew each time.
        draws: how often. seed: of the draws.

    Source: chapter 4.
    """
    features = _as_features(features, "features")
    n, k = features.shape
    check_count(size, "size", k + 1, n - k - 1, f"{n} rows less {k + 1} to compare with")
    check_count(draws, "draws", 1)
    source, found = as_generator(seed), []
    for _ in range(draws):
        order = torch.randperm(n, generator=source, device=source.device).to(features.device)
        found.append(frechet_distance(features[order[:size]], features[order[size:]]))
    return torch.tensor(found, dtype=torch.float64)


def classifier_score(classifier: Features, images: Tensor) -> ClassScore:
    """Confidence, and the entropy over classes that keeps it honest: see `ClassScore`.

    `classifier` gives one number a class, before a softmax. Source: Salimans et al. (2016), arXiv
    1606.03498, whose inception score joins the two in one number; chapter 4.
    """
    shares = image_features(classifier, images).softmax(1)  # (n, classes)
    mean = shares.mean(0)
    entropy = -torch.special.xlogy(mean, mean).sum()
    top = shares.max(1)
    return ClassScore(top.values, float(entropy), top.indices)


def _as_features(features: Tensor, name: str) -> Tensor:
    if not isinstance(features, Tensor) or features.dim() != 2:
        came = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"{name}: expected features (n, k), got {came}; see image_features")
    features = features.detach().double()
    if not features.isfinite().all():
        raise ValueError(f"{name}: features must be finite, but hold NaN or infinity")
    n, k = features.shape
    if n <= k:
        raise ValueError(
            f"{name}: {n} rows of {k} features leave the covariance singular; give more than {k} "
            "images, or fewer features"
        )
    return features


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
