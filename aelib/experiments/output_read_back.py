"""What does a U-Net's output say of its input: with a waist, without one, without batch norm?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, runtime
from aelib.claims import Claim, above, below, between
from aelib.experiments.copier_and_denoiser import WHITE
from aelib.experiments.disjoint_halves import pooled_gain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.noisy_input_read_back import arrived, read_back
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COPY_WELL = {"unexplained, waist": below(0.15), "unexplained, no waist": below(0.05)}

WAIST = Claim(
    id="4.25",
    statement="It is the waist of a U-Net that keeps its output from representing the input: the "
    "net copies and denoises, and its input does not come back.",
    source="Badger's page: a U-Net with a hidden MLP of 500, 100 and 500 units",
    reading="leftover, waist − no waist",
    measure="leftover f of the input read back from the output, of the net with a waist less that "
    "of the same net without one, same seed",
    supported={
        "leftover, waist − no waist": above(0.1),
        "G(0.2), waist": above(1),
        **COPY_WELL,
        "arrived, waist": above(0.5),
    },
    refuted={
        "leftover, waist − no waist": below(0.1),
        **COPY_WELL,
        "arrived, no waist": above(0.5),
    },
    controls=(
        "leftover, waist, untrained",
        "leftover, PCA",
        "leftover, thumbnail",
        "unexplained, PCA",
        "G(0.2), PCA",
    ),
    also=(
        "leftover, waist",
        "leftover, no waist",
        "arrived, no waist",
        "m_g/m_r, waist",
        "m_g/m_r, no waist",
        "G(0.2), no waist",
        "read back / output, waist",
        "read back / output, no waist",
        "read back / output, PCA",
    ),
    ratios=(
        "read back / output, waist",
        "read back / output, no waist",
        "read back / output, PCA",
    ),
    fails_when="A net without a waist loses much of its input as well. It is not the number of "
    "numbers: the projection of a PCA has as few, and gives nearly all back.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
COMPARABLE = {
    "unexplained, no waist": below(0.05),
    "unexplained, no norm": below(0.05),
    "arrived, no waist": above(0.5),
    "arrived, no norm": above(0.5),
}
NORM = Claim(
    id="4.26",
    statement="What a copier's output says of its input is the same with batch normalisation and "
    "without.",
    source="Badger's page",
    reading="leftover, batch norm − none",
    measure="leftover f of the input read back from the output, of the net with batch "
    "normalisation, on its running statistics, less that of the net without, same seed",
    supported={"leftover, batch norm − none": between(-0.1, 0.1), **COMPARABLE},
    refuted={"|leftover, batch norm − none|": above(0.1), **COMPARABLE},
    controls=("|leftover, between seeds|", "leftover, waist, untrained"),
    also=(
        "leftover, no waist",
        "leftover, no norm",
        "arrived, no waist",
        "arrived, no norm",
        "m_g/m_r, no norm",
        "G(0.2), no norm",
    ),
    fails_when="One runs the net on the statistics of the batch, which hold the input's own.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

KINDS = {"no waist": "batch", "waist": "batch", "no norm": "none"}  # and how each normalises
HELD_OUT = 128
BATCH = 44


class Projection(nn.Module):
    """PCA as a net: the nearest picture in the leading directions of the training images."""

    def __init__(self, train: Tensor, k: int):
        super().__init__()
        mean, directions, _ = measures.principal_directions(train, k)
        self.mean = nn.Parameter(mean.view(1, -1))
        self.directions = nn.Parameter(directions)

    def forward(self, images: Tensor) -> Tensor:
        away = images.flatten(1) - self.mean
        return (self.mean + away @ self.directions.mT @ self.directions).view_as(images)


def run(
    seeds: int,
    crops: int,
    steps: int,
    search: int,
    images: int,
    size: int,
    width: int,
    waist: int,
) -> Result:
    """Copiers of each kind, and the picture that the output of each gives back of its input.

    They learn on `crops` of photographs. `waist` numbers pass the waist, and are kept by the PCA
    beside it; the rest has `size`² pixels.
    """
    photos = data.load("photos", size=size, channels=1, train=crops)
    lively = photos.test[photos.test.flatten(1).std(1) > 0.1][::7]
    clean, held_out, device = lively[:images], photos.test[:HELD_OUT], runtime.device()
    start = photos.train.mean(0).expand_as(clean)

    def nets_of(kind: str) -> list[nn.Module]:
        # GELU, for the waist's ReLUs may all be off, and then its net says nothing.
        hidden = waist if kind == "waist" else None
        options = {"activation": "gelu", "norm": KINDS[kind], "hidden": hidden}
        build = partial(models.UNet, photos.shape, width, **options)
        return models.replicate(build, seeds)

    nets = {kind: nets_of(kind) for kind in KINDS}
    for kind, group in nets.items():
        fit(
            group,
            photos.train,
            steps=steps,
            batch_size=BATCH,
            lr=2e-3,
            schedule="cosine",
            label=kind,
        )
    nets["waist, untrained"] = nets_of("waist")
    for net in nets["waist, untrained"]:
        models.calibrate(net, photos.train[:256])
    nets["PCA"] = [Projection(photos.train, waist)]

    readings: dict = {}
    rows = {"input": clean[:6]}
    for name, group in nets.items():
        for net in group:
            net.eval()
        made = measures.outputs(group, clean)  # (nets, images, channels, height, width)
        away = (made - clean).flatten(2).norm(dim=2)
        measured = {
            "G(0.2)": pooled_gain(group, held_out, WHITE),
            "unexplained": measures.unexplained_variance(group, held_out, photos.train.mean(0)),
        }
        found = [
            read_back(net.to(device), clean.to(device), start.to(device), ["output"], search)[
                "output"
            ]
            for net in group
        ]
        back = torch.stack([one.m_i[0] for one in found])
        measured |= {
            "leftover": torch.stack([one.leftover.median() for one in found]),
            "m_g/m_r": torch.stack([one.ratio.median() for one in found]),
            "arrived": torch.stack([arrived(one).float().mean() for one in found]),
            "read back / output": (back / away).median(1).values,
        }
        for quantity, values in measured.items():  # the one PCA stands beside every net
            readings[f"{quantity}, {name}"] = torch.as_tensor(values).expand(seeds)
        rows |= {f"{name}: output": made[0, :6], f"{name}: read back": found[0].images[0, :6]}
        line = found[0].baselines["thumbnail"].m_i / found[0].m_i_start[0]
    f = {name: readings[f"leftover, {name}"] for name in nets}
    readings |= {
        "leftover, thumbnail": line.square().median().expand(seeds),
        "leftover, waist − no waist": f["waist"] - f["no waist"],
        "leftover, batch norm − none": f["no waist"] - f["no norm"],
        "|leftover, batch norm − none|": (f["no waist"] - f["no norm"]).abs(),
        "|leftover, between seeds|": (f["no waist"] - f["no waist"].roll(1)).abs(),
    }
    show = {"rows": {name: on_screen(row) for name, row in rows.items()}}
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Two pictures, what each net makes of them, and what its output gives back of them."""
    rows = {name: torch.as_tensor(row)[4:6] for name, row in result.show["rows"].items()}
    made, back = (
        torch.cat([rows[f"{kind}: {what}"] for kind in KINDS]) for what in ("output", "read back")
    )
    return figures.grid(
        [rows["input"].repeat(len(KINDS), 1, 1, 1), made, back],
        labels=["input", "output", "read back"],
        columns=[kind for kind in KINDS for _ in range(2)],
        cell=0.65,
    )


EXPERIMENT = Experiment(
    claims=(WAIST, NORM),
    run=run,
    short={"seeds": 3, "crops": 256, "steps": 4, "search": 4, "images": 3, "size": 16, "width": 8,
           "waist": 32},
    full={"seeds": 8, "crops": 8192, "steps": 4000, "search": 1000, "images": 8, "size": 32,
          "width": 16, "waist": 100},
    picture=picture,
    chunk=2,
)  # fmt: skip
