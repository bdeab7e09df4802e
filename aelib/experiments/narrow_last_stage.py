"""Does a poor representation at the last stage keep a classifier from overfitting?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelib import figures, fit, inversion, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.cifar_classifiers import accuracy, labelled, labels_of
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.layers_read_back import lines

LABELS = ("true labels", "shuffled labels")
FEATURES = (4, 16, 256, 4096)  # of the last stage; an image has 768 numbers
NARROW, WIDE = FEATURES[1], FEATURES[-1]


def named(what: str, features: int, labels: str = LABELS[0]) -> str:
    """A reading of the nets with so many features, trained on these labels."""
    return f"{what}, {labels}, {features} features"


POORER = f"leftover − mean colour, {NARROW} features"
KEPT = f"leftover − thumbnail, {WIDE} features"
LINES = ("mean colour", "thumbnail")
LEVEL = named("levelled off", NARROW)
AS_MUCH = f"gap, {NARROW} features − {WIDE} features"
CLAIM = Claim(
    id="4.12",
    statement="A last stage from which next to nothing of the picture can be read back does not "
    "keep a classifier from overfitting: it overfits as much as one whose last stage keeps the "
    "picture.",
    source="Badger's page, section 4, after Badger (2022), arXiv 2211.09639",
    reading=named("gap", NARROW),
    measure="training less test accuracy of nets whose last stage has 16 features, true labels",
    supported={
        POORER: above(0),
        LEVEL: above(0.5),
        KEPT: below(0),
        named("gap", NARROW): above(0.3),
        AS_MUCH: above(-0.05),
        named("training accuracy", NARROW, "shuffled labels"): above(0.95),
    },
    conditional={
        POORER: above(0),
        LEVEL: above(0.5),
        KEPT: below(0),
        named("gap", NARROW): above(0.3),
        AS_MUCH: above(-0.05),
    },
    condition="The labels are true.",
    controls=(
        *LINES,
        f"gap, {FEATURES[0]} features − {WIDE} features",
        *(named("training accuracy", count) for count in (NARROW, WIDE)),
        *(named("gap", count, "shuffled labels") for count in (NARROW, WIDE)),
    ),
    also=(
        *(
            named(what, count, labels)
            for what in ("leftover", "gap", "training accuracy")
            for labels in LABELS
            for count in FEATURES
        ),
        *(named(what, count) for what in ("m_g/m_r", "levelled off") for count in (NARROW, WIDE)),
    ),
    fails_when="The last stage is so narrow that the training images cannot be told apart in it: "
    "what a net does not fit, it does not overfit.",
    rule_changed="2026-11-27",
    seen_before="first run",
)


def read_back(
    net: models.SmallConvNet, images: Tensor, seed: int, steps: int, least: int
) -> tuple[tuple[float, ...], dict[str, Tensor]]:
    """The last stage: mean leftover, median m_g/m_r, the share levelled off; and `lines`.

    A stage that answers none of the images, all its ReLUs silent, has lost them all.
    """
    with torch.no_grad():
        if not net.eval().describe(images).any():
            return (1.0, 0.0, 1.0), {}
    one = inversion.invert(
        net,
        images,
        "features",
        seeds=[seed],
        steps=steps,
        until=inversion.LevelledOff(least=least),
    )["features"]
    numbers = one.leftover.mean(), one.ratio.median(), one.levelled_off.mean()
    return tuple(map(float, numbers)), lines(one)


def run(
    name: str, seeds: int, train: int, test: int, train_steps: int, images: int, steps: int,
    least: int,
) -> Result:  # fmt: skip
    """Nets with true and with shuffled labels, from narrow to wide: their gap and leftover.

    Args:
        name: of labelled images.
        seeds: nets of each width.
        train, test: images; on as few as 256 a net overfits.
        train_steps: of the training.
        images: how many test images are read back from each net.
        steps: evaluations at most.
        least: how many before a search may have levelled off.
    """
    found = labelled(name, size=16).take(train, seed=1)
    train_labels, test_labels = labels_of(found)
    test_images, test_labels = found.test[:test], test_labels[:test]
    shown = found.test[1 :: len(found.test) // images][:images]
    shuffled = train_labels[torch.randperm(train, generator=random.generator(0))]
    readings: dict[str, Any] = {}
    for which, labels in zip(LABELS, (train_labels, shuffled), strict=True):
        for count in FEATURES:
            nets = models.replicate(
                lambda count=count: models.SmallConvNet(found.shape, len(found.classes), 32, count),
                seeds,
                first=10,
            )
            fit(
                nets,
                found.train,
                labels=labels,
                objective=objectives.classify,
                steps=train_steps,
                schedule="cosine",
                label=f"{which}, {count} features",
            )
            learnt = np.array([accuracy(net, found.train, labels) for net in nets])
            tested = np.array([accuracy(net, test_images, test_labels) for net in nets])
            read = [read_back(net, shown, seed, steps, least) for seed, net in enumerate(nets)]
            left, within, level = np.transpose([numbers for numbers, _ in read])
            readings |= {
                named("training accuracy", count, which): learnt,
                named("gap", count, which): learnt - tested,
                named("leftover", count, which): left,
                named("m_g/m_r", count, which): within,
                named("levelled off", count, which): level,
            }
    readings |= {
        line: [float(found[f"f of the {line}"].mean()) for _, found in read]
        for line in LINES  # each by a net's own start
    }
    readings |= {
        POORER: np.subtract(readings[named("leftover", NARROW)], readings[LINES[0]]),
        KEPT: np.subtract(readings[named("leftover", WIDE)], readings[LINES[1]]),
    }
    for count in FEATURES[:-1]:
        readings[f"gap, {count} features − {WIDE} features"] = np.subtract(
            readings[named("gap", count)], readings[named("gap", WIDE)]
        )
    return Result(readings)


def picture(result: Result) -> Figure:
    """By the last stage's width, the leftover there and the gap, with true and shuffled labels."""
    figure, axes = figures.canvas(1, 2)
    lines = {line: float(np.mean(result[line])) for line in LINES}
    for ax, what, ylabel in zip(
        axes,
        ("leftover", "gap"),
        ("leftover f at the last stage", "training − test accuracy"),
        strict=True,
    ):
        figures.curves(
            FEATURES,
            {
                labels: np.stack([result[named(what, count, labels)] for count in FEATURES], 1)
                for labels in LABELS
            },
            xlabel="features of the last stage",
            ylabel=ylabel,
            lines=lines if what == "leftover" else {},
            logx=True,
            legend="above",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"name": "photographs", "seeds": 3, "train": 32, "test": 32, "train_steps": 3,
           "images": 1, "steps": 4, "least": 4},
    full={"name": "cifar10", "seeds": 10, "train": 256, "test": 2000, "train_steps": 250,
          "images": 4, "steps": 2000, "least": 1000},
    picture=picture,
    chunk=2,
)  # fmt: skip
