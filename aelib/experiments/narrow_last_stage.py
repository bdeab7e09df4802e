"""Does a poor representation at the last stage keep a classifier from overfitting?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from aelib import figures, fit, inversion, models, objectives, random
from aelib.claims import Claim, above
from aelib.experiments.cifar_classifiers import accuracy, labelled, labels_of
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

NARROW, WIDE = 16, 256  # features, of an image's 768 numbers
POORER = f"leftover − mean colour, {NARROW} features"
GAP = f"gap, true labels, {NARROW} features"
AS_MUCH = f"gap, {NARROW} features − {WIDE} features"
BY_HEART = f"training accuracy, shuffled labels, {NARROW} features"
CLAIM = Claim(
    id="4.12",
    statement="A last stage from which nothing of the picture can be read back does not keep a "
    "classifier from overfitting.",
    source="Badger's page, section 4, after Badger (2022), arXiv 2211.09639",
    reading=GAP,
    measure="training less test accuracy of nets whose last stage has 16 features, true labels",
    supported={POORER: above(0), GAP: above(0.3), AS_MUCH: above(-0.05), BY_HEART: above(0.95)},
    conditional={POORER: above(0), GAP: above(0.3), AS_MUCH: above(-0.05)},
    condition="the labels are true; that such nets learn shuffled ones by heart was not shown",
    controls=(
        "mean colour",
        "thumbnail",
        "gap, 4 features − 256 features",
        f"training accuracy, true labels, {NARROW} features",
        f"training accuracy, true labels, {WIDE} features",
        f"gap, shuffled labels, {NARROW} features",
        f"gap, shuffled labels, {WIDE} features",
    ),
    also=(
        f"gap, true labels, {WIDE} features",
        f"leftover, true labels, {NARROW} features",
        f"leftover, true labels, {WIDE} features",
        f"m_g/m_r, true labels, {NARROW} features",
        f"m_g/m_r, true labels, {WIDE} features",
        "training accuracy, true labels, 4 features",
        "training accuracy, shuffled labels, 4 features",
    ),
    fails_when="The last stage is so narrow that the training images cannot be told apart in it: "
    "with 4 features some nets do not fit, and what they do not fit they do not overfit.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

LABELS = ("true labels", "shuffled labels")


def run(name: str, seeds: int, train: int, test: int, train_steps: int, features: Sequence[int],
        images: int, steps: int) -> Result:  # fmt: skip
    """Nets with true and with shuffled labels, from narrow to wide: their gap and leftover."""
    found = labelled(name, size=16).take(train, seed=1)
    train_labels, test_labels = labels_of(found)
    test_images, test_labels = found.test[:test], test_labels[:test]
    shown = found.test[1 :: len(found.test) // images][:images]
    shuffled = train_labels[torch.randperm(train, generator=random.generator(0))]
    fitted, gaps, left, within = {}, {}, {}, {}
    for which, labels in zip(LABELS, (train_labels, shuffled), strict=True):
        columns: dict[str, list[list[float]]] = {}
        for count in features:
            nets = models.replicate(
                lambda count=count: models.SmallConvNet(found.shape, len(found.classes), 8, count),
                seeds,
                first=10,
            )
            fit(
                nets,
                found.train,
                labels=labels,
                objective=objectives.classify,
                steps=train_steps,
                lr=3e-3,
                schedule="cosine",
                label=f"{which}, {count} features",
            )
            learnt = [accuracy(net, found.train, labels) for net in nets]
            tested = [accuracy(net, test_images, test_labels) for net in nets]
            read = [
                inversion.invert(
                    net, shown, "features", seeds=[seed], steps=steps, until="levelled off"
                )["features"]
                for seed, net in enumerate(nets)
            ]
            for key, values in {
                "fitted": learnt,
                "gap": [a - b for a, b in zip(learnt, tested, strict=True)],
                "leftover": [float(one.leftover.mean()) for one in read],
                "within": [float(one.ratio.median()) for one in read],
            }.items():
                columns.setdefault(key, []).append(values)
        fitted[which], gaps[which], left[which], within[which] = (
            torch.tensor(columns[key]).T for key in ("fitted", "gap", "leftover", "within")
        )  # each (seeds, widths)

    readings = {}
    for what, of in (("training accuracy", fitted), ("leftover", left), ("gap", gaps),
                     ("m_g/m_r", within)):  # fmt: skip
        for which in LABELS:
            for column, count in enumerate(features):
                readings[f"{what}, {which}, {count} features"] = of[which][:, column]
    for count in features:
        there, wide = (readings[f"gap, true labels, {each} features"] for each in (count, WIDE))
        readings[f"gap, {count} features − {WIDE} features"] = there - wide
    for name, key in (("mean colour", "mean"), ("thumbnail", "thumbnail")):
        shares = [(one.baselines[key].m_i / one.m_i_start[0]).square().mean() for one in read]
        readings[name] = torch.stack(shares)  # a start is a seed's own
    readings[POORER] = (
        readings[f"leftover, true labels, {NARROW} features"] - readings["mean colour"]
    )
    show = {
        "features": torch.tensor(features),
        "training accuracy": fitted,
        "gap": gaps,
        "leftover": left,
        "mean colour": float(readings["mean colour"].mean()),
    }
    return Result(readings, show, keep=tuple(show))


def picture(result: Result) -> Figure:
    """By the last stage's width, the leftover there and the gap, with true and shuffled labels."""
    figure, axes = figures.canvas(1, 2)
    for ax, what, ylabel in zip(
        axes,
        ("leftover", "gap"),
        ("leftover f at the last stage", "training − test accuracy"),
        strict=True,
    ):
        lines = {"mean colour": float(result.show["mean colour"])} if what == "leftover" else {}
        figures.curves(
            result.show["features"],
            result.show[what],
            xlabel="features of the last stage",
            ylabel=ylabel,
            lines=lines,
            logx=True,
            legend="above",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"name": "photographs", "seeds": 3, "train": 64, "test": 64, "train_steps": 20,
           "features": [4, 16, 256], "images": 1, "steps": 10},
    full={"name": "cifar10", "seeds": 6, "train": 256, "test": 2000, "train_steps": 250,
          "features": [4, 16, 256], "images": 4, "steps": 400},
    picture=picture,
)  # fmt: skip
