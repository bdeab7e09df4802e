"""The one judge of generated digits: every Fréchet distance of the book is in its features."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from aelib import data, fit, measures, models, objectives

DRAWS = 8  # of a set of pictures; a distance by one draw scatters as much as nets differ


@cache
def digits() -> data.Images:
    """The digits of chapters 4 and 5."""
    return data.load("digits")


@cache
def judge() -> models.SmallConvNet:
    """A small classifier of digits, trained once in a process; `describe` gives 32 features."""
    (model,) = models.replicate(lambda: models.SmallConvNet(digits().shape, 10), seeds=1)
    fit(
        model,
        digits().train,
        labels=digits().train_labels,
        objective=objectives.classify,
        steps=400,
        lr=2e-3,
        label="the judge",
    )
    return model.eval()


def features(images: Tensor) -> Tensor:
    """What the judge sees in pictures, clipped to grey levels: (n, 32), or (seeds, n, 32)."""
    return measures.image_features(judge().describe, images.clamp(0, 1))


@cache
def reference() -> Tensor:
    """The features of the training digits."""
    return features(digits().train)


def frechet(images: Tensor) -> Tensor:
    """Fréchet distance from the training digits: a number, or (seeds,) for (seeds, n, …)."""
    return torch.as_tensor(measures.frechet_distance(features(images), reference()))


def entropy(images: Tensor) -> Tensor:
    """Over the classes the judge sees, in nats; at most ln 10 = 2.30."""
    return torch.as_tensor(measures.classifier_score(judge(), images.clamp(0, 1)).entropy)


def classes(images: Tensor) -> Tensor:
    """The class the judge sees in each picture, of any leading axes."""
    with torch.no_grad():
        flat = images.clamp(0, 1).reshape(-1, *digits().shape)
        return judge()(flat).argmax(1).view(images.shape[:-3])


def confidence(images: Tensor) -> Tensor:
    """The mean of the largest probability the judge gives."""
    return measures.classifier_score(judge(), images.clamp(0, 1)).confidence.mean(-1)
