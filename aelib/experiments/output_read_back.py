"""What does a U-Net's output say of its input: with a waist, without one, without batch norm?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models
from aelib.claims import Claim, above, below, between
from aelib.experiments.copier_and_denoiser import WHITE
from aelib.experiments.disjoint_halves import pooled_gain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.noisy_input_read_back import read_back

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        "leftover, waist": above(0.1),
        "G(0.2), waist": above(1),
    },
    refuted={"leftover, waist − no waist": below(0.1), "leftover, no waist": above(0.1)},
    controls=(
        "leftover, no waist",
        "leftover, waist, untrained",
        "leftover, PCA",
        "f of the thumbnail",
        "m_g/m_r, waist",
        "m_g/m_r, no waist",
    ),
    also=(
        "leftover, waist",
        "G(0.2), waist",
        "G(0.2), no waist",
        "read back / output, waist",
        "read back / output, no waist",
        "read back / output, PCA",
        "clean error, waist / no waist",
    ),
    ratios=(
        "read back / output, waist",
        "read back / output, no waist",
        "read back / output, PCA",
        "clean error, waist / no waist",
    ),
    fails_when="A net without a waist loses its input as well, at its poolings.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)
NORM = Claim(
    id="4.26",
    statement="What a copier's output says of its input is the same with batch normalisation and "
    "without.",
    source="Badger's page",
    reading="leftover, batch norm − none",
    measure="leftover f of the input read back from the output, of the net with batch "
    "normalisation, on its running statistics, less that of the net without, same seed",
    supported={"leftover, batch norm − none": between(-0.1, 0.1)},
    refuted={"|leftover, batch norm − none|": above(0.1)},
    controls=("leftover, between seeds", "leftover, waist, untrained"),
    also=(
        "leftover, no waist",
        "leftover, no norm",
        "m_g/m_r, no norm",
        "G(0.2), no norm",
        "clean error, batch norm / none",
    ),
    ratios=("clean error, batch norm / none",),
    fails_when="One runs the net on the statistics of the batch, which hold the input's own.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

GELU = {"activation": "gelu"}  # the waist's ReLUs may all be off: then its net says nothing
NETS = {  # all with batch norm but the last
    "no waist": GELU,
    "waist": {"hidden": 32, **GELU},
    "no norm": {"norm": "none", **GELU},
}
NUMBERS = 32  # in the waist, and kept by the PCA beside it; the image has 256


class Projection(nn.Module):
    """PCA as a net: the nearest picture in the leading directions of the training images."""

    def __init__(self, train: Tensor, k: int):
        super().__init__()
        mean, directions, _ = measures.principal_directions(train)
        self.mean = nn.Parameter(mean.view(1, -1))
        self.directions = nn.Parameter(directions[:k])

    def forward(self, images: Tensor) -> Tensor:
        away = images.flatten(1) - self.mean
        return (self.mean + away @ self.directions.mT @ self.directions).view_as(images)


def run(seeds: int, steps: int, search: int, images: int) -> Result:
    """Copiers of each kind, and the picture that the output of each gives back of its input."""
    photos = data.load("photos", size=16, channels=1)
    clean = photos.test[photos.test.flatten(1).std(1) > 0.1][::7][:images]
    start = photos.train.mean(0).expand_as(clean)
    nets: dict[str, list[nn.Module]] = {}
    for name, options in NETS.items():
        nets[name] = models.replicate(partial(models.UNet, photos.shape, 8, **options), seeds)
        fit(
            nets[name],
            photos.train,
            steps=steps,
            batch_size=32,
            lr=2e-3,
            schedule="cosine",
            label=name,
        )
    nets["waist, untrained"] = models.replicate(
        partial(models.UNet, photos.shape, 8, **NETS["waist"]), seeds
    )
    for net in nets["waist, untrained"]:
        models.calibrate(net, photos.train[:256])
    nets["PCA"] = [Projection(photos.train, NUMBERS)]

    readings: dict = {}
    rows = {"input": clean[:6]}
    error = {}
    for name, group in nets.items():
        found = [read_back(net.eval(), clean, start, ["output"], search)["output"] for net in group]
        f = torch.stack([one.leftover.median() for one in found])
        made = measures.outputs(group, clean)  # (nets, images, channels, height, width)
        away = (made - clean).flatten(2).norm(dim=2)
        back = torch.stack([one.m_i[0] for one in found])
        readings[f"leftover, {name}"] = f
        readings[f"m_g/m_r, {name}"] = torch.stack([one.ratio.median() for one in found])
        readings[f"read back / output, {name}"] = (back / away).median(1).values
        readings[f"G(0.2), {name}"] = pooled_gain(group, photos.test, WHITE)
        error[name] = measures.clean_error(group, photos.test).mean(1)
        rows |= {f"{name}: output": made[0, :6], f"{name}: read back": found[0].images[0, :6]}
        if name == "no waist":
            line = (found[0].baselines["thumbnail"].m_i / found[0].m_i_start[0]).square()
            readings["f of the thumbnail"] = line.median().expand(seeds)
    for quantity in ("leftover", "m_g/m_r", "read back / output", "G(0.2)"):
        readings[f"{quantity}, PCA"] = readings[f"{quantity}, PCA"].expand(seeds)
    f = {name: readings[f"leftover, {name}"] for name in nets}
    readings |= {
        "leftover, waist − no waist": f["waist"] - f["no waist"],
        "leftover, batch norm − none": f["no waist"] - f["no norm"],
        "|leftover, batch norm − none|": (f["no waist"] - f["no norm"]).abs(),
        "leftover, between seeds": f["no waist"] - f["no waist"].roll(1),
        "clean error, waist / no waist": error["waist"] / error["no waist"],
        "clean error, batch norm / none": error["no waist"] / error["no norm"],
    }
    return Result(readings, {"rows": rows}, ("rows",))


def picture(result: Result) -> Figure:
    """Pictures, what each net makes of them, and what its output gives back of them."""
    rows = {
        name: row
        for name, row in result.show["rows"].items()
        if not name.startswith(("waist, untrained", "PCA"))
    }
    return figures.grid(
        [torch.as_tensor(row) for row in rows.values()],
        labels=[name.replace(": ", ":\n") for name in rows],
        cell=0.6,
    )


EXPERIMENT = Experiment(
    claims=(WAIST, NORM),
    run=run,
    short={"seeds": 3, "steps": 6, "search": 4, "images": 3},
    full={"seeds": 6, "steps": 200, "search": 80, "images": 6},
    picture=picture,
)
