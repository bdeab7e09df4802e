"""When does a net store its training images, so that others are returned as one of them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from aelib import checks, data, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

MANY = Claim(
    id="2.4",
    statement="With many training images the net does not store them.",
    source="the document, section 2",
    reading="share, 1024 images",
    measure="share of held-out digits returned nearer to a training image, 1,024 images",
    supported={
        "share, 1024 images": below(0.1),
        "share, 4 images": above(0.85),
        "untrained, share, 1024 images": above(0.9),
    },
    controls=("untrained, share, 1024 images",),
    also=("PCA, share, 4 images", "PCA, share, 1024 images"),
    fails_when="There are few images: below some tens here, outputs resemble training images.",
)
FEW = Claim(
    id="2.5",
    statement="With few images training images are attractors; with many none is.",
    source="against the document, section 2; Radhakrishnan et al. 2018, 2020",
    reading="H, 4 images",
    measure="H, share of held-out digits that the iterated net takes to a training image, 4 images",
    supported={
        "H, 4 images": above(0.9),
        "H, 256 images": below(0.05),
        "H, 1024 images": below(0.05),
        "untrained, H, 4 images": below(0.05),
        "PCA, H, 4 images": below(0.05),
    },
    controls=("untrained, H, 4 images", "PCA, H, 4 images"),
    also=("H, 16 images", "H, 64 images"),
    fails_when="There is a skip from input to output, or one hidden layer and more than a few "
    "images.",
)

COUNTS, DEPTHS = (4, 16, 64), (1, 3, 5)
ALL_COUNTS = (*COUNTS, 256, 1024)
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "twice as wide": {"width": 256},
    "He's start": {"init": "he"},
    "tanh": {"activation": "tanh"},
    "x + MLP": {"skip": 1.0},
}


def stored(nets: Sequence, sets: Sequence[Tensor], digits: data.Images) -> tuple[Tensor, Tensor]:
    """For each model and its set: the share returned nearer to a training image, and H."""
    nearer = measures.nearer_training(nets, digits.test, sets)
    recall = measures.memory(nets, sets, digits.test[:60], times=500)
    return nearer.float().mean(1), recall.recalled.float().mean(1)


def train(sets: Sequence[Tensor], steps: int, **options) -> list[models.MLPAutoencoder]:
    """One net for each set of digits."""
    shape, n = checks.shape(sets[0].shape[1:]), len(sets[0])
    options = {"width": 128, "depth": 5, **options}
    nets = models.replicate(lambda: models.MLPAutoencoder(shape, **options), len(sets))
    if steps:
        fit(nets, sets, steps=steps, batch_size=min(n, 64), label=f"{n} digits")
    return nets


def run(seeds: int, steps: int, whole_map: bool = False) -> Result:
    """Share and H by number of images, with controls; by depth and kind too for `whole_map`."""
    digits, readings = data.load("digits"), {}

    def sets_of(n: int) -> list[Tensor]:
        return [digits.take(n, seed=seed).train for seed in range(seeds)]

    def note(nets: Sequence, n: int, label: str, who: str = "") -> None:
        shares, recalled = stored(nets, sets_of(n), digits)
        readings[f"{who}share, {label}"], readings[f"{who}H, {label}"] = shares, recalled

    for n in ALL_COUNTS:
        sets = sets_of(n)
        note(train(sets, steps), n, f"{n} images")
        note(train(sets, 0), n, f"{n} images", "untrained, ")
        note(measures.pca_filter(sets), n, f"{n} images", "PCA, ")  # all that they span
    if whole_map:
        for depth in DEPTHS[:-1]:
            for n in COUNTS:
                note(train(sets_of(n), steps, depth=depth), n, f"{n} images, depth {depth}")
        for name, options in VARIANTS.items():
            if options:
                note(train(sets_of(16), steps, **options), 16, f"16 images, {name}")
    return Result(readings)


EXPERIMENT = Experiment(
    claims=(MANY, FEW),
    run=run,
    short={"seeds": 3, "steps": 1000, "whole_map": True},
    full={"seeds": 6, "steps": 5000},
)
