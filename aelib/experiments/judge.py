"""The one judge of generated digits: every Fréchet distance of the book is in its features.

Its weights are kept. `python -m aelib.experiments.judge` trains it anew and prints how many of the
test digits it reads right.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from aelib import checks, data, fit, measures, models, objectives, random, runtime
from aelib.experiments.keeping import halved

WEIGHTS = Path(__file__).parent / "kept" / "judge.safetensors"
DRAWS = 8  # of a set of pictures; a distance by one draw scatters as much as nets differ
SHAPE = (1, 28, 28)


@cache
def digits() -> data.Images:
    """The digits of chapters 4 to 6, of 28 × 28 pixels."""
    return data.load("mnist")


def untrained() -> models.SmallConvNet:
    """A judge before it has seen a digit."""
    return models.SmallConvNet(SHAPE, 10)


@cache
def judge() -> models.SmallConvNet:
    """A small classifier of digits, the same whatever the seeds; `describe` gives 32 features.

    Raises:
        ValueError: where its weights are missing or are no such net's; says how to make them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = untrained()
    try:
        model.load_state_dict(load_file(WEIGHTS))  # as float32, whatever it was kept in
    except (OSError, SafetensorError, RuntimeError) as error:
        got = checks.Described(f"none that fit ({str(error).splitlines()[0]})")
        advice = "run `python -m aelib.experiments.judge`"
        raise ValueError(
            checks.message(str(WEIGHTS), "the judge's weights", got, advice)
        ) from error
    return model.eval()


def train() -> models.SmallConvNet:
    """A judge, trained; from the same start and in the same order however seeds are moved."""
    with random.further(-random.offset()):
        (model,) = models.replicate(untrained, seeds=1)
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


def keep(model: models.SmallConvNet, path: Path) -> Path:
    """Write its weights in half precision."""
    from safetensors.torch import save

    return runtime.write_whole(path, save(halved(model)))


def accuracy(model: models.SmallConvNet) -> float:
    """The share of the test digits that it reads right."""
    with torch.no_grad():
        right = model(digits().test).argmax(1) == digits().test_labels
    return float(right.float().mean())


def seen(images: Tensor) -> Tensor:
    """Pictures as the judge looks at them, clipped to grey levels.

    Raises:
        ValueError: for any other size than that of its digits.
    """
    checks.tensor(images, "images", (..., *SHAPE))
    return images.clamp(0, 1)


def features(images: Tensor) -> Tensor:
    """What the judge sees in pictures: (n, 32), or (seeds, n, 32)."""
    return measures.image_features(judge().describe, seen(images))


@cache
def reference() -> Tensor:
    """The features of the training digits."""
    return features(digits().train)


def frechet(images: Tensor) -> Tensor:
    """Fréchet distance from the training digits: a number, or (seeds,) for (seeds, n, …)."""
    return torch.as_tensor(measures.frechet_distance(features(images), reference()))


def entropy(images: Tensor) -> Tensor:
    """Over the classes the judge sees, in nats; at most ln 10 = 2.30."""
    return torch.as_tensor(measures.classifier_score(judge(), seen(images)).entropy)


def classes(images: Tensor) -> Tensor:
    """The class the judge sees in each picture, of any leading axes."""
    with torch.no_grad():
        return judge()(seen(images).flatten(0, -4)).argmax(1).view(images.shape[:-3])


def nearest_ratio(images: Tensor, n: int | None = None) -> Tensor:
    """Distance to the nearest of the first n training digits over that to the second nearest.

    A mean over pictures (..., n, 1, 28, 28): (...). It is low for copies.
    """
    known = digits().train[:n].flatten(1)
    two = torch.cdist(images.flatten(-3), known).topk(2, largest=False).values
    return (two[..., 0] / two[..., 1]).mean(-1)


def confidence(images: Tensor) -> Tensor:
    """The mean of the largest probability the judge gives."""
    return measures.classifier_score(judge(), seen(images)).confidence.mean(-1)


def main() -> None:
    """Train the judge and keep its weights."""
    file = keep(train(), WEIGHTS)
    judge.cache_clear()
    print(f"{file.name}: reads {100 * accuracy(judge()):.1f} % of the test digits right")


if __name__ == "__main__":
    main()
