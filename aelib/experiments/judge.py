"""The one judge of generated digits: every Fréchet distance of the book is in its features.

There is one for each size of digits, 8 × 8 and 28 × 28, and a picture's size says which one judges
it: distances of different sizes cannot be compared. Their weights are kept.
`python -m aelib.experiments.judge` trains both anew and prints how many of the test digits each
reads right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from aelib import checks, data, fit, measures, models, objectives, random, runtime
from aelib.experiments.keeping import halved

KEPT = Path(__file__).parent / "kept"
DRAWS = 8  # of a set of pictures; a distance by one draw scatters as much as nets differ
SETS = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}  # what `data.load` calls them


@cache
def digits(name: str = "digits") -> data.Images:
    """The digits of chapters 4 and 5: "digits" of 8 × 8, or "mnist" of 28 × 28."""
    return data.load(checks.choice(name, "name", SETS))


def size_of(images: Tensor) -> str:
    """Which digits are as large as these pictures, (…, 1, height, width).

    Raises:
        ValueError: for any other size, for which there is no judge.
    """
    for name, shape in SETS.items():
        if tuple(images.shape[-3:]) == shape:
            return name
    raise ValueError(checks.message("images", f"of a size in {list(SETS.values())}", images))


def weights_of(name: str) -> Path:
    """The file with a judge's weights."""
    return KEPT / f"judge.{name}.safetensors"


def untrained(name: str) -> models.SmallConvNet:
    """A judge before it has seen a digit."""
    return models.SmallConvNet(SETS[name], 10)


@cache
def judge(name: str = "digits") -> models.SmallConvNet:
    """A small classifier of digits, the same whatever the seeds; `describe` gives 32 features.

    Raises:
        ValueError: for unknown digits, or where its weights are missing or are no such net's; says
            how to make them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = untrained(checks.choice(name, "name", SETS))
    file = weights_of(name)
    try:
        model.load_state_dict(load_file(file))  # as float32, whatever it was kept in
    except (OSError, SafetensorError, RuntimeError) as error:
        got = checks.Described(f"none that fit ({str(error).splitlines()[0]})")
        advice = "run `python -m aelib.experiments.judge`"
        raise ValueError(checks.message(str(file), "the judge's weights", got, advice)) from error
    return model.eval()


def train(name: str = "digits") -> models.SmallConvNet:
    """A judge, trained; from the same start and in the same order however seeds are moved."""
    with random.further(-random.offset()):
        (model,) = models.replicate(lambda: untrained(name), seeds=1)
        fit(
            model,
            digits(name).train,
            labels=digits(name).train_labels,
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
    """The share of the test digits of its size that it reads right."""
    images = digits(next(name for name, shape in SETS.items() if shape == model.shape))
    with torch.no_grad():
        right = model(images.test).argmax(1) == images.test_labels
    return float(right.float().mean())


def features(images: Tensor) -> Tensor:
    """What the judge sees in pictures, clipped to grey levels: (n, 32), or (seeds, n, 32)."""
    return measures.image_features(judge(size_of(images)).describe, images.clamp(0, 1))


@cache
def reference(name: str = "digits") -> Tensor:
    """The features of the training digits."""
    return features(digits(name).train)


def frechet(images: Tensor) -> Tensor:
    """Fréchet distance from the training digits: a number, or (seeds,) for (seeds, n, …)."""
    of_real = reference(size_of(images))
    return torch.as_tensor(measures.frechet_distance(features(images), of_real))


def entropy(images: Tensor) -> Tensor:
    """Over the classes the judge sees, in nats; at most ln 10 = 2.30."""
    model = judge(size_of(images))
    return torch.as_tensor(measures.classifier_score(model, images.clamp(0, 1)).entropy)


def classes(images: Tensor) -> Tensor:
    """The class the judge sees in each picture, of any leading axes."""
    with torch.no_grad():
        flat = images.clamp(0, 1).flatten(0, -4)
        return judge(size_of(images))(flat).argmax(1).view(images.shape[:-3])


def confidence(images: Tensor) -> Tensor:
    """The mean of the largest probability the judge gives."""
    model = judge(size_of(images))
    return measures.classifier_score(model, images.clamp(0, 1)).confidence.mean(-1)


def main(names: Sequence[str] = tuple(SETS)) -> None:
    """Train the judges and keep their weights."""
    for name in names:
        file = keep(train(name), weights_of(name))
        judge.cache_clear()
        right = 100 * accuracy(judge(name))
        print(f"{file.name}: reads {right:.1f} % of the test digits right")


if __name__ == "__main__":
    main()
