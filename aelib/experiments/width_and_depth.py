"""How wide must a layer be, so that nothing of the input is lost?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from aelib import data, figures, inversion, models
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.layer_or_search import ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="4.5",
    statement="A ReLU layer as wide as the input, with random weights and no biases, loses some of "
    "an image; one three times as wide can be read back whole; and deeper nets need more width.",
    source="this chapter; of injectivity, Puthawala et al. (2022)",
    reading=("rank", "ReLU", "width 1", "depth 1"),
    measure="rank of the Jacobian of one ReLU layer as wide as the input, at one image, as a share "
    "of the image's elements",
    supported={
        ("rank", "ReLU", "width 1", "depth 1"): below(0.8),
        ("rank", "ReLU", "width 3", "depth 1"): above(0.99),
        ("leftover", "ReLU", "width 3", "depth 1"): below(0.01),
        ("rank", "ReLU", "width 2", "depth 8 − depth 1"): below(-0.05),
    },
    controls=(
        ("rank", "linear", "width 1", "depth 1"),
        ("rank", "GELU", "width 1", "depth 1"),
        ("rank", "linear", "width 2", "depth 8"),
        ("leftover", "ReLU", "width 8", "depth 8"),
        ("rank", "ReLU", "width 8", "depth 8"),
        ("leftover", "linear", "width 3", "depth 8"),
    ),
    fails_when="There is no ReLU: a smooth activation needs hardly more than one unit for each "
    "pixel. Or the weights are chosen: the identity and a ReLU give any picture back. And in wide "
    "deep nets, whose rank is full, a poor picture may be the search's.",
)

WIDTHS, DEPTHS = (1, 2, 3, 8), (1, 2, 4, 8)
KINDS = {"ReLU": nn.ReLU, "GELU": nn.GELU, "linear": nn.Identity}
CELLS = (
    *(("ReLU", width, depth) for depth in DEPTHS for width in WIDTHS),
    *((kind, width, 1) for kind in ("GELU", "linear") for width in (1, 2)),
    *(("linear", width, 8) for width in (2, 3, 8)),
)


def dense(kind: str, width: int, depth: int, elements: int = 64) -> nn.Sequential:
    """`depth` layers of `width` times the image's elements, He's start."""
    layers: list[nn.Module] = [nn.Flatten()]
    for number in range(depth):
        layer = nn.Linear(elements * (width if number else 1), elements * width)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, KINDS[kind]()]
    return nn.Sequential(*layers)


def run(seeds: int, steps: int, cells: Sequence = CELLS) -> Result:
    """Leftover and rank of the last layer, by (quantity, kind, width, depth)."""
    images, readings = data.load("digits").test[:4], {}
    for kind, width, depth in cells:
        nets = models.replicate(
            lambda kind=kind, width=width, depth=depth: dense(kind, width, depth), seeds
        )
        left, rank = [], []
        for seed, model in enumerate(nets):
            # until 0.01 of m_r: by then f has settled
            result = inversion.invert(model, images, seeds=[seed], steps=steps, until=0.01)
            left.append(result["output"].leftover.median())
            last = f"{2 * depth}"
            rank.append(ranks(model, images[0], [last])[last])
        place = (kind, f"width {width}", f"depth {depth}")
        readings[("leftover", *place)] = torch.stack(left)
        readings[("rank", *place)] = torch.tensor(rank)
    two = ("rank", "ReLU", "width 2")
    readings[(*two, "depth 8 − depth 1")] = (
        readings[(*two, "depth 8")] - readings[(*two, "depth 1")]
    )
    show = {
        quantity: np.array(
            [
                [
                    float(readings[quantity, "ReLU", f"width {width}", f"depth {depth}"].mean())
                    for width in WIDTHS
                ]
                for depth in DEPTHS
            ]
        )
        for quantity in ("leftover", "rank")
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Leftover and rank of ReLU nets by width and depth, means over nets."""
    figure, axes = figures.canvas(1, 2)
    titles = {"leftover": "leftover f", "rank": "rank / elements"}
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        figures.heat(
            result.show[quantity],
            WIDTHS,
            DEPTHS,
            xlabel="width / elements of the image",
            ylabel="layers",
            label="",
            limits=(0, 1),
            title=title,
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 10},
    full={"seeds": 10, "steps": 300},
    picture=picture,
)
