"""The two classifiers of CIFAR-10 that chapter 4 reads: a residual net and a transformer.

Their weights are kept. `python -m aelib.experiments.cifar_classifiers` trains them anew on 10,000
images and prints how many of the 2,000 test images they read right.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from aelib import checks, data, fit, models, objectives, random, runtime
from aelib.data.images import Images
from aelib.experiments.photograph_copier import halved

KEPT = Path(__file__).parent / "kept"
FOLDER = "AELIB_CIFAR10"  # the environment variable that names a folder of train/ and test/
SETS = ("cifar10", "photographs")


class Kind(NamedTuple):
    """A classifier: how it is built and trained."""

    build: Callable[[], nn.Module]
    recipe: dict[str, Any]


def _warm(done: int, steps: int) -> float:
    """Up over the first tenth of the steps, then down to 0 along a cosine."""
    share = done / steps
    return 10 * share if share < 0.1 else (1 + math.cos(math.pi * (share - 0.1) / 0.9)) / 2


KINDS = {
    "ResNet": Kind(
        lambda: models.SmallResNet((3, 32, 32), 10),
        {
            "steps": 2400,
            "batch_size": 128,
            "lr": 0.2,
            "optimizer": functools.partial(
                torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4
            ),
        },
    ),
    "ViT": Kind(
        lambda: models.SmallViT((3, 32, 32), 10, width=96, depth=4),
        {
            "steps": 2500,
            "batch_size": 64,
            "lr": 1e-3,
            "optimizer": functools.partial(torch.optim.AdamW, weight_decay=0.05),
        },
    ),
}


def labelled(name: str, size: int = 32) -> Images:
    """Labelled colour images: "cifar10", or pieces of five "photographs" that come with the book.

    CIFAR-10 is read from the folder that the environment's AELIB_CIFAR10 names, in which lie
    `train` and `test` with a folder for each of ten classes, or else by `data.load("cifar10")`,
    which needs a network: 10,000 images to train and 2,000 to test. Of the photographs 1,536 pieces
    train and 512 test, and a piece's label is the photograph that it was cut from.

    Args:
        name: which.
        size: height and width in pixels; 32 or less.

    Raises:
        ValueError: for another name, or a folder that is not there or not divided so.
        ConnectionError: without such a folder, where the download fails.
    """
    if checks.choice(name, "name", SETS) == "photographs":
        pieces = data.load("photos", size=size)
        classes = sorted(set(pieces.train_sources))
        labels = torch.tensor([classes.index(source) for source in pieces.train_sources])
        cut = 512
        return Images(
            name, pieces.train[cut:], pieces.train[:cut], labels[cut:], labels[:cut], tuple(classes)
        )
    folder = os.environ.get(FOLDER)
    if not folder:
        try:
            return data.load("cifar10", size=size, train=10_000, test=2_000)
        except ConnectionError as error:
            advice = f"name a folder with its train/CLASS/ and test/CLASS/ in {FOLDER}"
            raise ConnectionError(f"{error}; or {advice}") from error
    sides = [Path(folder, side) for side in ("train", "test")]
    images = data.load(Path(folder), size=size) if all(map(Path.is_dir, sides)) else None
    if images is None or len(images.classes) != 10:
        expected = "a folder with train/CLASS/ and test/CLASS/ of CIFAR-10's ten classes"
        advice = "or unset it, and data.load('cifar10') fetches them where there is a network"
        raise ValueError(checks.message(FOLDER, expected, images or folder, advice))
    return images


def moved(images: Tensor, by: int = 4) -> Tensor:
    """Each image moved by up to `by` pixels, black where none came, and half of them mirrored.

    Draws from torch's global generator, which `fit` seeds. Source: He et al. (2016), section 4.2.

    Args:
        images: (..., channels, height, width).
        by: pixels, up or down and left or right.

    Returns:
        Images of the same shape.
    """
    flat = images.flatten(0, -4)
    n, channels, height, width = flat.shape
    padded = nn.functional.pad(flat, (by,) * 4)
    down, across = torch.randint(2 * by + 1, (2, n, 1), device=flat.device)
    rows, columns = (
        start + torch.arange(size, device=flat.device)
        for start, size in ((down, height), (across, width))
    )
    mirrored = torch.rand(n, 1, device=flat.device) < 0.5
    columns = columns.flip(1).where(mirrored, columns)
    each, channel = torch.arange(n, device=flat.device), torch.arange(channels, device=flat.device)
    taken = padded[
        each[:, None, None, None],
        channel[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    return taken.view_as(images)


def classify_moved(model: nn.Module, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """`objectives.classify` on images moved and mirrored anew at every call."""
    return objectives.classify(model, moved(images), labels)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images that a model in evaluation mode names right."""
    with torch.no_grad(), models.evaluating(model):
        right = [(model(some).argmax(1) == of) for some, of in batches(images, labels)]
    return float(torch.cat(right).float().mean())


def labels_of(images: Images) -> tuple[Tensor, Tensor]:
    """The labels of the training and of the test images in a set from `labelled`."""
    return cast(Tensor, images.train_labels), cast(Tensor, images.test_labels)


def batches(images: Tensor, labels: Tensor, size: int = 500) -> list[tuple[Tensor, Tensor]]:
    """Images and labels, `size` at a time."""
    return list(zip(images.split(size), labels.split(size), strict=True))


def train(
    kind: str,
    images: Images,
    objective: objectives.Objective = classify_moved,
    steps: int | None = None,
) -> nn.Module:
    """A classifier, trained; from the same start and in the same order however seeds are moved."""
    build, recipe = KINDS[checks.choice(kind, "kind", KINDS)]
    if steps is not None:
        recipe = {**recipe, "steps": steps}
    with random.further(-random.offset()):
        (model,) = models.replicate(build, seeds=1)
        model.to(memory_format=torch.channels_last)  # half the time of a step
        fit(
            model,
            images.train,
            labels=images.train_labels,
            objective=objective,
            schedule=functools.partial(_warm, steps=recipe["steps"]),
            label=kind,
            **recipe,
        )
    return model.to(memory_format=torch.contiguous_format).eval()


def file(kind: str, folder: Path = KEPT) -> Path:
    """Where a kind's weights are kept."""
    return folder / f"cifar_{checks.choice(kind, 'kind', KINDS).lower()}.safetensors"


def keep(kind: str, model: nn.Module, images: Images, folder: Path = KEPT) -> Path:
    """Write its weights in half precision, with its accuracy on both sides of `images`."""
    from safetensors.torch import save

    again = KINDS[kind].build()
    again.load_state_dict(halved(model))
    train_labels, test_labels = labels_of(images)
    measured = {
        "training": accuracy(model, images.train, train_labels),
        "test": accuracy(model, images.test, test_labels),
        "test, half precision": accuracy(again, images.test, test_labels),
    }
    notes = {name: f"{value:.4f}" for name, value in measured.items()}
    return runtime.write_whole(file(kind, folder), save(halved(model), notes))


def classifier(kind: str, folder: Path = KEPT) -> nn.Module:
    """A kept classifier of 32 × 32 colour images into CIFAR-10's classes, in evaluation mode.

    Args:
        kind: "ResNet" or "ViT".
        folder: where `keep` put its weights; the package's own unless said otherwise.

    Raises:
        ValueError: for an unknown kind, or where its weights are missing or are no such net's; says
            how to make them.
    """
    from safetensors.torch import load_file

    model = KINDS[checks.choice(kind, "kind", KINDS)].build()
    with _named(kind, folder):
        model.load_state_dict(load_file(file(kind, folder)))  # as float32
    return model.eval()


def accuracies(kind: str, folder: Path = KEPT) -> dict[str, float]:
    """What a kept classifier names right: "training", "test" and "test, half precision"."""
    from safetensors import safe_open

    with _named(kind, folder), safe_open(file(kind, folder), "pt") as weights:
        return {name: float(value) for name, value in weights.metadata().items()}


@contextlib.contextmanager
def _named(kind: str, folder: Path) -> Iterator[None]:
    """Inside the block whatever is wrong with the file says how to make it."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        got = checks.Described(f"none that fit ({str(error).splitlines()[0]})")
        advice = "run `python -m aelib.experiments.cifar_classifiers`"
        expected = f"the weights of the {kind}"
        raise ValueError(checks.message(str(file(kind, folder)), expected, got, advice)) from error


if __name__ == "__main__":
    pictures = labelled("cifar10")
    for each in KINDS:
        keep(each, train(each, pictures), pictures)
        print(each, accuracies(each))
