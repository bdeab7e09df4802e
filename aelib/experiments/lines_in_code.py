"""Does a straight line in code stay nearer the data than one in pixels?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aelib import figures, measures, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import copiers, digits, narrow, test_digits, vaes
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet, reference
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.3",
    statement="A straight line in code stays nearer the data than one in pixels.",
    source="what is commonly said; chapter 5",
    reading="narrow code ÷ pixels",
    measure="Fréchet distance at the middle of lines between test digits, code of 16 over pixels",
    supported={"narrow code ÷ pixels": below(0.9), "copier ÷ pixels": below(0.9)},
    conditional={"narrow code ÷ pixels": below(0.9)},
    refuted={"narrow code ÷ pixels": above(1), "copier ÷ pixels": above(1)},
    controls=("pixels, middle", "real digits, as many", "copies, narrow code"),
    also=(
        "variational ÷ pixels",
        "narrow code ÷ pixels, variance kept",
        "variational ÷ pixels, variance kept",
        "copier ÷ pixels, variance kept",
    ),
    ratios=tuple(
        f"{name} ÷ pixels{kept}"
        for name in ("copier", "narrow code", "variational")
        for kept in ("", ", variance kept")
    ),
    condition="The code is narrow: in a code as wide as the pixels the middle is nearly theirs.",
    fails_when="The code is wide. And in any code the middle of two draws lies too near the mean.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

POINTS = 9
PAIRS = (0, 9)  # of digits, those that the figure shows


def ends(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Where `n` lines begin and end: in test digits, drawn by seed."""
    first, last = test_digits(2 * n, seed).chunk(2)
    return first, last


def along(model, n: int, seed: int) -> Tensor:
    """Fréchet distance at each point of the lines, in code, or in pixels for None: (points,)."""
    return frechet(sampling.interpolate(*ends(n, seed), POINTS, model=model))


def stretched(model, n: int, seed: int) -> Tensor:
    """Fréchet distance at the middle, stretched to the variance of the ends."""
    points = [*ends(n, seed), digits().train]
    if model is not None:
        points = [measures.codes(model, images) for images in points]
    first, last, center = points[0], points[1], points[2].mean(0)
    middle = center + (first - center + last - center) / math.sqrt(2)
    return frechet(middle if model is None else sampling.decode(model, middle))


def run(seeds: int, steps: int, n: int) -> Result:
    """Lines in pixels and in three codes; their middles as they are and stretched."""
    nets: dict[str, Sequence] = {
        "pixels": [None] * seeds,
        "copier": copiers(seeds, steps),
        "narrow code": narrow(seeds, steps),
        "variational": vaes(seeds, steps, 0.1),
    }
    distances, kept = (  # (seeds, points) and (seeds,)
        {
            name: torch.stack([far(model, n, seed) for seed, model in enumerate(group)])
            for name, group in nets.items()
        }
        for far in (along, stretched)
    )
    floor = torch.as_tensor(measures.frechet_floor(reference(), n, draws=seeds))
    middles = {name: far[:, POINTS // 2] for name, far in distances.items()}
    bent = [name for name in nets if name != "pixels"]
    readings = {
        "pixels, middle": middles["pixels"],
        "real digits, as many": floor,
        "copies, narrow code": distances["narrow code"][:, 0],
        **{f"{name} ÷ pixels": middles[name] / middles["pixels"] for name in bent},
        **{f"{name} ÷ pixels, variance kept": kept[name] / kept["pixels"] for name in bent},
    }
    first, last = ends(n, 0)
    drawn = [None, nets["copier"][0], nets["narrow code"][0]]
    show = {
        "distances": distances,
        "floor": float(floor.mean()),
        "lines": [
            on_screen(
                sampling.interpolate(first[[pair]], last[[pair]], 7, model=model).flatten(0, 1)
            )
            for pair in PAIRS
            for model in drawn
        ],
    }
    return Result(readings, show, tuple(show))


def lines_picture(result: Result) -> Figure:
    """Two pairs of digits, each joined by a line in three spaces."""
    return figures.grid(
        [result.show["lines"][row] for row in range(6)],
        labels=["pixels", "copier", "narrow code"] * 2,
        cell=0.6,
    )


def picture(result: Result) -> Figure:
    """Fréchet distance along the line."""
    return figures.curves(
        np.linspace(0, 1, POINTS),
        result.show["distances"],
        lines={"real digits, as many": float(result.show["floor"])},
        xlabel="place on the line",
        ylabel="Fréchet distance",
        legend="above",
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 2, "n": 36},
    full={"seeds": 6, "steps": 6000, "n": 500},
    picture=picture,
)
