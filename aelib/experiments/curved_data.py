"""Does a net copy off data that turn, where it does not off data that are flat?"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, models, objectives
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.3",
    statement="From PyTorch's small start the net does not copy, off the data, a direction in "
    "which no data vary; it copies a good part of one in which data vary elsewhere, as on a "
    "circle, the less the longer it trains.",
    source="Badger's page, section 2; this chapter",
    reading="circle, at the end",
    measure="copy coefficient along the normal, points on a circle, after 4,000 steps",
    supported={
        "line, farthest from 0": below(0.1),
        "circle, early": above(0.35),
        "circle, at the end": above(0.35),
        "circle, early − at the end": above(0),
        "two crossing lines, at the end": above(0.35),
        "denoiser on the circle, at the end": below(0.15),
    },
    conditional={
        "line, farthest from 0": below(0.1),
        "circle, early": above(0.35),
        "circle, early − at the end": above(0),
        "two crossing lines, at the end": above(0.35),
        "denoiser on the circle, at the end": below(0.15),
    },
    condition="on a circle it holds early (after a tenth of the training); longer training takes "
    "part of the copying off the circle back, though not off two crossing lines",
    controls=("denoiser on the circle, at the end", "circle, untrained", "arc, at the end"),
    also=("arc, early", "line, He's start", "circle, He's start"),
    fails_when="The start is large: on the line, He's start leaves scrambled noise off the data.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

SHOWN = ("line", "circle", "circle, trained to denoise")


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
    """The same net on points of each shape; the circle also by a denoiser; over the training."""
    known, tenth = shapes(), steps // 10
    logs = sorted({0, tenth, *np.geomspace(max(1, steps // 80), steps, 10).astype(int).tolist()})
    ticks = torch.linspace(-1.2, 1.2, 13)
    lattice = torch.cartesian_prod(ticks, ticks).view(-1, 1, 1, 2)
    nets, followed = {}, {}

    def train(name: str, shape: str, init: str = "torch", **options) -> None:
        def copied(model: nn.Module) -> float:
            return normal_copy(model, *known[shape])

        nets[name] = models.replicate(
            lambda: models.MLPAutoencoder((1, 1, 2), width=64, depth=5, init=init), seeds
        )
        recipe = {"steps": steps, "log_at": logs, "metrics": {"κ": copied}, **options}
        history = fit(nets[name], known[shape][0], label=f"points on a {shape}", **recipe)
        followed[name] = history["κ"][:, np.isin(history.steps, logs)]

    for shape in known:
        train(shape, shape)
    denoising = objectives.denoise(data.gaussian(0.15))
    train("circle, trained to denoise", "circle", objective=denoising)
    for shape in ("line", "circle"):
        train(f"{shape}, He's start", shape, init="he")
    early = logs.index(tenth)
    readings = {
        "circle, at the end": followed["circle"][:, -1],
        "circle, early": followed["circle"][:, early],
        "circle, early − at the end": followed["circle"][:, early] - followed["circle"][:, -1],
        "circle, untrained": followed["circle"][:, 0],
        "line, farthest from 0": np.abs(followed["line"]).max(1),
        "two crossing lines, at the end": followed["two crossing lines"][:, -1],
        "arc, early": followed["arc of 30 degrees"][:, early],
        "arc, at the end": followed["arc of 30 degrees"][:, -1],
        "denoiser on the circle, at the end": followed["circle, trained to denoise"][:, -1],
        "line, He's start": followed["line, He's start"][:, -1],
        "circle, He's start": followed["circle, He's start"][:, -1],
    }
    with torch.no_grad():
        ends = {name: nets[name][0](lattice).view(-1, 2) for name in SHOWN}
    show = {
        "models": nets,
        "shapes": known,
        "steps": np.array(logs),
        "followed": {name: rows for name, rows in followed.items() if "He" not in name},
        "points": {name: known[name.split(",")[0]][0].reshape(-1, 2)[::8] for name in SHOWN},
        "lattice": lattice.view(-1, 2),
        "ends": ends,
    }
    return Result(readings, show, keep=("steps", "followed", "points", "lattice", "ends"))


def picture(result: Result):
    """Where nets of three kinds send the plane; and copying along the normal over the training."""
    figure, axes = figures.canvas(2, 2, height=6.4)
    for ax, name in zip(axes, SHOWN, strict=False):
        figures.field(
            result.show["points"][name],
            result.show["lattice"],
            result.show["ends"][name],
            title=name.replace(", trained to denoise", ", denoiser"),
            ax=ax,
            **dict.fromkeys(("xlabel", "ylabel", "points_label", "arrows_label"), ""),
        )
    names = {
        "two crossing lines": "crossing lines",
        "circle": "circle",
        "arc of 30 degrees": "arc",
        "circle, trained to denoise": "denoiser",
        "line": "line",
    }
    figures.curves(
        result.show["steps"][1:],
        {names[name]: result.show["followed"][name][:, 1:] for name in names},
        xlabel="training steps",
        ylabel="κ along the normal",
        logx=True,
        legend="ends",
        ax=axes[3],
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 600},
    full={"seeds": 10, "steps": 4000},
    picture=picture,
)
