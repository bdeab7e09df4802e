"""Does a net copy off data that turn, where it does not off data that are flat?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib import data, fit, models, objectives
from aelib.claims import Claim, above, below, between
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.3",
    statement="Off the data the net does not copy a direction in which no data vary; it mostly "
    "copies one in which data vary elsewhere, as on a circle.",
    source="the document, section 2; this chapter",
    reading="line",
    measure="copy coefficient along the normal, points on a line",
    supported={
        "line": between(-0.1, 0.1),
        "circle": above(0.35),
        "two crossing lines": above(0.35),
        "circle, trained to denoise": below(0.15),
    },
    controls=("circle, trained to denoise", "circle, untrained", "arc of 30 degrees"),
    also=("line, He's start", "circle, He's start"),
    fails_when="The start is large: on the line, He's start leaves scrambled noise off the data.",
)


def shapes(points: int = 512) -> dict[str, tuple[Tensor, Tensor]]:
    """Points on each shape and their unit normals, both (points, 1, 1, 2)."""
    turn = torch.linspace(0, 2 * math.pi, points + 1)[:-1]
    circle = torch.stack([turn.cos(), turn.sin()], 1)
    arc = torch.stack([(turn / 12).cos(), (turn / 12).sin()], 1)
    line = torch.linspace(-0.9, 0.9, points)[:, None] * torch.tensor([0.8, 0.6])
    across = torch.tensor([-0.6, 0.8]).expand(points, 2)
    outer = line[line.norm(dim=1) > 0.3]  # away from the crossing
    quarter_turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    crossing = torch.cat([outer, outer @ quarter_turn])
    sideways = torch.cat([across[: len(outer)], across[: len(outer)] @ quarter_turn])
    pairs = {
        "line": (line, across),
        "circle": (0.8 * circle, circle),
        "two crossing lines": (crossing, sideways),
        "arc of 30 degrees": (0.8 * arc, arc),
    }
    return {
        name: (points.reshape(-1, 1, 1, 2), normals.reshape(-1, 1, 1, 2))
        for name, (points, normals) in pairs.items()
    }


def normal_copy(model: nn.Module, points: Tensor, normals: Tensor, step: float = 0.05) -> float:
    """κ for a step along the normal, out and in."""
    with torch.no_grad():
        change = model(points + step * normals) - model(points - step * normals)
    return float((change * normals).sum(dim=(1, 2, 3)).mean() / (2 * step))


def run(seeds: int, steps: int) -> Result:
    """The same net on points of each shape; the circle also by a denoiser; controls."""
    known = shapes()

    def train(shape: str, steps: int = steps, init: str = "torch", **options) -> Sequence:
        nets = models.replicate(
            lambda: models.MLPAutoencoder((1, 1, 2), width=64, depth=5, init=init), seeds
        )
        if steps:
            fit(nets, known[shape][0], steps=steps, label=f"points on a {shape}", **options)
        return nets

    nets = {
        "line": train("line"),
        "circle": train("circle"),
        "two crossing lines": train("two crossing lines"),
        "arc of 30 degrees": train("arc of 30 degrees"),
        "circle, trained to denoise": train(
            "circle", max(steps, 1000), objective=objectives.denoise(data.gaussian(0.15))
        ),
        "line, He's start": train("line", init="he"),
        "circle, He's start": train("circle", init="he"),
        "circle, untrained": train("circle", steps=0),
    }
    readings = {
        name: [normal_copy(model, *known[name.split(",")[0]]) for model in kind]
        for name, kind in nets.items()
    }
    return Result(readings, {"models": nets, "shapes": known})


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 800},
    full={"seeds": 10, "steps": 800},
)
