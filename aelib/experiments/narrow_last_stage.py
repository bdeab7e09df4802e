"""Does a poor representation at the last stage keep a classifier from overfitting?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelib import figures, fit, inversion, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.cifar_classifiers import accuracy, labelled
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="4.12",
    statement="In classifiers it is not a poor representation at the last stage that prevents "
    "overfitting.",
    source="Badger's page, section 4, after Badger (2022), arXiv 2211.09639",
    reading="ρ of f and gap",
    measure="rank correlation, over how narrow the last stage is, of the leftover f there with the "
    "gap between training and test accuracy; −1 where the poorest overfits least",
    supported={
        "ρ of f and gap": above(-0.5),
        "training accuracy, shuffled labels, narrowest": above(0.9),
    },
    conditional={"ρ of f and gap": above(-0.5)},
    condition="the labels are true; that the narrowest nets learn shuffled ones by heart as well "
    "was not shown",
    refuted={"ρ of f and gap": below(-0.5)},
    controls=(
        "ρ of f and gap, shuffled labels",
        "ρ of f and gap, within one width",
        "ρ of width and gap",
        "training accuracy, true labels, narrowest",
        "training accuracy, true labels, widest",
    ),
    also=(
        "leftover, true labels, narrowest",
        "leftover, true labels, widest",
        "gap, true labels, narrowest",
        "gap, true labels, widest",
        "gap, shuffled labels, narrowest",
        "gap, shuffled labels, widest",
        "training accuracy, shuffled labels, widest",
        "m_g/m_r, true labels, narrowest",
        "m_g/m_r, true labels, widest",
    ),
    fails_when="The last stage is so narrow that the training images cannot be told apart in it.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)

LABELS = ("true labels", "shuffled labels")


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's ρ; 0 where one of them is constant."""
    from scipy.stats import spearmanr

    if first.unique().numel() == 1 or second.unique().numel() == 1:
        return 0.0
    return float(spearmanr(first, second)[0])


def run(name: str, seeds: int, train: int, test: int, train_steps: int, features: Sequence[int],
        images: int, steps: int) -> Result:  # fmt: skip
    """Nets with true and with shuffled labels, from narrow to wide: their gap and leftover."""
    found = labelled(name, size=16).take(train)
    test_images, test_labels = found.test[:test], found.test_labels[:test]
    shown = found.test[:: len(found.test) // images][:images]
    shuffled = found.train_labels[torch.randperm(train, generator=random.generator(0))]
    fitted, gaps, left, within = {}, {}, {}, {}
    for which, labels in zip(LABELS, (found.train_labels, shuffled), strict=True):
        columns: dict[str, list[list[float]]] = {}
        for count in features:
            nets = models.replicate(
                lambda count=count: models.SmallConvNet(found.shape, len(found.classes), 8, count),
                seeds,
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

    def over_widths(first: Tensor, second: Tensor) -> list[float]:
        return [rank_correlation(*pair) for pair in zip(first, second, strict=True)]

    true, mixed = LABELS
    wide = torch.tensor(features).float().expand(seeds, -1)
    readings = {
        "ρ of f and gap": over_widths(left[true], gaps[true]),
        "ρ of f and gap, shuffled labels": over_widths(left[mixed], gaps[mixed]),
        "ρ of f and gap, within one width": over_widths(left[true].T, gaps[true].T),
        "ρ of width and gap": over_widths(wide, gaps[true]),
    }
    for what, of in (("training accuracy", fitted), ("leftover", left), ("gap", gaps),
                     ("m_g/m_r", within)):  # fmt: skip
        for which in LABELS:
            readings[f"{what}, {which}, narrowest"] = of[which][:, 0]
            readings[f"{what}, {which}, widest"] = of[which][:, -1]
    baselines = {
        kind: float((one.m_i / read[0].m_i_start[0]).square().mean())
        for kind, one in read[0].baselines.items()
    }
    show = {
        "features": torch.tensor(features),
        "training accuracy": fitted,
        "gap": gaps,
        "leftover": left,
        "baselines": baselines,
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
        lines = {"mean colour": result.show["baselines"]["mean"]} if what == "leftover" else {}
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
           "features": [4, 16, 64], "images": 1, "steps": 10},
    full={"name": "cifar10", "seeds": 6, "train": 256, "test": 2000, "train_steps": 250,
          "features": [4, 16, 64, 256], "images": 4, "steps": 400},
    picture=picture,
)  # fmt: skip
