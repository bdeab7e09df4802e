"""Is a code a better place than pixels for a linear reader?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import figures, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import copiers, denoisers, digits, masked, plain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.measures.probes import STRENGTHS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.2",
    statement="A copier's code is a better place than pixels for a linear reader.",
    source="what is commonly said; chapter 5",
    reading="copier − pixels, 10 labels a class",
    measure="test digits read right with ten labels a class, copier's code minus pixels",
    unit="percentage points",
    supported={"copier − pixels, 10 labels a class": above(1)},
    refuted={"copier − pixels, 10 labels a class": below(0)},  # between: too little to say
    controls=(
        "untrained − pixels, 10 labels a class",
        "32 directions − pixels, 10 labels a class",
        "masked − pixels, 10 labels a class",
    ),
    also=("denoiser − pixels, 10 labels a class", "masked − denoiser, 10 labels a class"),
    units="nets, each with its own labelled digits",
    fails_when="The net only copies. The code of a net taught to denoise is read better. Whether "
    "hiding pixels does more than noise, as Balestriero and LeCun (2024) find for larger images, "
    "the masked net beside it says for digits.",
    rule_changed="2026-11-26",
    seen_before="first run",
)


def labelled(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Indices of so many digits of each class, drawn by seed."""
    order = torch.randperm(len(labels), generator=random.generator(seed))
    return torch.cat([order[labels[order] == digit][:per_class] for digit in range(10)])


def read_right(
    train: Tensor,
    test: Tensor,
    per_class: int,
    seed: int,
    draws: int = 2,
    strengths: Sequence[float] = STRENGTHS,
) -> float:
    """Per cent of test digits read right; a mean over labelled draws."""
    labels, truth = digits().train_labels, digits().test_labels
    assert labels is not None
    assert truth is not None
    labels, truth = labels[: len(train)], truth[: len(test)]
    chosen = [labelled(labels, per_class, 10 * seed + draw) for draw in range(draws)]
    right = measures.logistic_probe(
        [train[picks] for picks in chosen],
        [labels[picks] for picks in chosen],
        test,
        truth,
        strengths=strengths,
    )
    return 100 * float(right.float().mean())


def run(
    seeds: int,
    steps: int,
    counts: Sequence[int],
    draws: int,
    n: int,
    strengths: Sequence[float] = STRENGTHS,
) -> Result:
    """Accuracy by number of labels on six descriptions, each seed its own net and labels.

    `counts` labels a class, 10 among them, of the first `n` training digits; each seed's accuracy
    is a mean over `draws` of them, on a quarter as many test digits.
    """
    train, test = digits().train[:n], digits().test[: n // 4]
    mean, basis, _ = measures.principal_directions(train, 32)
    nets = {
        "untrained": models.replicate(plain, seeds),
        "copier": copiers(seeds, steps),
        "denoiser": denoisers(seeds, steps),
        "masked": masked(seeds, steps),
    }
    descriptions = {
        "pixels": [(train, test)] * seeds,
        "32 directions": [tuple((images.flatten(1) - mean) @ basis.T for images in (train, test))]
        * seeds,
        **{
            name: list(zip(measures.codes(group, train), measures.codes(group, test), strict=True))
            for name, group in nets.items()
        },
    }
    accuracy = {  # each (seeds, numbers of labels)
        name: torch.tensor(
            [
                [read_right(one, other, count, seed, draws, strengths) for count in counts]
                for seed, (one, other) in enumerate(pairs)
            ]
        )
        for name, pairs in descriptions.items()
    }
    at_ten = {name: rows[:, list(counts).index(10)] for name, rows in accuracy.items()}
    readings = {
        f"{name} − pixels, 10 labels a class": right - at_ten["pixels"]
        for name, right in at_ten.items()
        if name != "pixels"
    }
    ahead = at_ten["masked"] - at_ten["denoiser"]
    readings["masked − denoiser, 10 labels a class"] = ahead
    show = {"accuracy": accuracy, "counts": torch.tensor(counts)}
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Accuracy of a linear reader by number of labels."""
    _, (ax,) = figures.canvas(1, 1, height=3.1)
    return figures.curves(
        result.show["counts"],
        result.show["accuracy"],
        xlabel="labelled digits of each class",
        ylabel="test digits read right, %",
        logx=True,
        ax=ax,
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 1, "counts": [10], "draws": 1, "n": 400, "strengths": [1.0]},
    full={"seeds": 6, "steps": 6000, "counts": [3, 10, 30], "draws": 2, "n": 4000},
    picture=picture,
)
