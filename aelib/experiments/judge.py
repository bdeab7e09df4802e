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

KEPT = Path(__file__).parent / "kept" / "judge.safetensors"
DRAWS = 8  # of a set of pictures; a distance by one draw scatters as much as nets differ


@cache
def digits() -> data.Images:
    """The digits of chapters 4 and 5."""
    return data.load("digits")


@cache
def judge() -> models.SmallConvNet:
    """A small classifier of digits, the same whatever the seeds; `describe` gives 32 features.

    Raises:
        ValueError: where its weights are missing or are no such net's; says how to make them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = models.SmallConvNet(digits().shape, 10)
    try:
        weights = load_file(KEPT)
        model.load_state_dict(weights)  # as float32, whatever it was kept in
    except (OSError, SafetensorError, RuntimeError) as error:
        got = checks.Described(f"none that fit ({str(error).splitlines()[0]})")
        advice = "run `python -m aelib.experiments.judge`"
        raise ValueError(checks.message(str(KEPT), "the judge's weights", got, advice)) from error
    return model.eval()


def train() -> models.SmallConvNet:
    """The judge, trained; from the same start and in the same order however seeds are moved."""
    with random.further(-random.offset()):
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


def keep(model: models.SmallConvNet, path: Path = KEPT) -> Path:
    """Write its weights in half precision."""
    from safetensors.torch import save

    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    return runtime.write_whole(path, save(weights))


def accuracy(model: models.SmallConvNet) -> float:
    """The share of test digits it reads right."""
    with torch.no_grad():
        right = model(digits().test).argmax(1) == digits().test_labels
    return float(right.float().mean())


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


if __name__ == "__main__":
    keep(train())
    print(f"{KEPT.name}: reads {100 * accuracy(judge()):.1f} % of the test digits right")
