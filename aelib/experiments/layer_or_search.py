"""Is a poor picture from a layer the layer's doing, or the search's?"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, inversion, models
from aelib.claims import Claim, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.layers_read_back import leftover, medians, pieces_of_photographs, within

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="4.3",
    statement="The poor picture from a late layer is the layer's doing, not the search's.",
    source="Badger's page, section 4; this chapter",
    reading=("stage4", "rank"),
    measure="rank of the last stage's Jacobian, as a share of the image's elements",
    supported={
        ("stage4", "rank"): below(0.95),
        ("stage2", "rank"): below(0.95),
        ("ViT block5", "f", "plain descent"): below(0.05),
    },
    conditional={
        ("stage4", "rank"): below(0.95),
        ("stage2", "rank"): below(0.95),
        ("ViT block5", "f", "L-BFGS"): below(0.05),
    },
    controls=(("stem", "rank"), ("ViT block5", "f", "plain descent")),
    also=tuple(
        (stage, quantity)
        for stage in ("stem", "stage1", "stage2", "stage3", "stage4")
        for quantity in ("rank", "m_g/m_r", "f")
    ),
    condition="Of residual nets, from the second stage on; in a transformer's last block the poor "
    "picture was the search's.",
    fails_when="The layer still responds to every direction: then a better search brings the "
    "picture back, as in transformer blocks, where untuned plain descent falls short in as many "
    "evaluations and L-BFGS does not.",
)

SEARCHES = ("plain descent", "L-BFGS")
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def stretches(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    forward: inversion.Forward | None = None,
) -> dict[str, Tensor]:
    """How far each layer stretches the directions of an image (c, h, w): singular values, falling.

    Of the Jacobian with respect to the image, in float64, one for each of its elements.
    """
    model.eval()
    with warnings.catch_warnings():  # torch's own, about torch
        warnings.simplefilter("ignore", FutureWarning)
        jacobians = torch.func.jacfwd(
            lambda x: inversion.features(model, x[None], layers, forward)
        )(image)
    result = {}
    for layer in layers:
        rows = jacobians[layer].flatten(-3).flatten(0, -2).double()
        squares = torch.linalg.eigvalsh(rows.T @ rows)  # rising
        result[layer] = squares.flip(0).clamp_min(0).sqrt()
    return result


def ranks(
    model: nn.Module, image: Tensor, layers: Sequence[str], share: float = 1e-3
) -> dict[str, float]:
    """The share of an image's directions that each layer answers: its Jacobian's rank at (c, h, w).

    A direction counts if its singular value is over `share` of the largest.
    """
    return {
        layer: float((values > share * values[0]).sum()) / image.numel()
        for layer, values in stretches(model, image, layers).items()
    }


def plain_descent() -> inversion.Recipe:
    """Adam on the pixels, the search most people write."""
    return dataclasses.replace(
        inversion.RECIPES["default"],
        parameterization=inversion.Pixels(),
        optimizer=inversion.Adam(),
    )


def run(seeds: int, steps: int) -> Result:
    """Ranks and leftovers by stage of a residual net; two searches in a transformer."""
    photos = data.load("photos", size=16, train=256, test=64)
    vivid = photos.test[photos.test.flatten(1).std(1).argsort(descending=True)][:20:10]
    nets = models.replicate(lambda: models.SmallResNet(photos.shape, 5), seeds)
    for model in nets:
        models.calibrate(model, photos.train, batch_size=128)
    runs = [
        inversion.invert(model, vivid, STAGES, seeds=[seed], steps=steps)
        for seed, model in enumerate(nets)
    ]
    shares = [ranks(model, vivid[0], STAGES) for model in nets]
    readings = {}
    for stage in STAGES:
        readings[stage, "rank"] = [share[stage] for share in shares]
        readings[stage, "m_g/m_r"] = medians(runs, stage, within)
        readings[stage, "f"] = medians(runs, stage, leftover)

    pieces, _, lively = pieces_of_photographs()
    transformers = models.replicate(lambda: models.SmallViT(pieces.shape, 5), seeds)
    for name, recipe in zip(SEARCHES, (plain_descent(), "default"), strict=True):
        runs = [
            inversion.invert(model, lively[:2], "block5", seeds=[seed], steps=steps, recipe=recipe)
            for seed, model in enumerate(transformers)
        ]
        readings["ViT block5", "f", name] = medians(runs, "block5", leftover)
    show = {
        "leftover": np.array([np.asarray(readings[stage, "f"]) for stage in STAGES]).T,
        "rank": np.array([readings[stage, "rank"] for stage in STAGES]).T,
        "searches": {name: readings["ViT block5", "f", name] for name in SEARCHES},
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Left, leftover and rank by stage; right, one layer and two searches."""
    figure, (left, right) = figures.canvas(1, 2)
    figures.curves(
        range(len(STAGES)),
        {"leftover f": result.show["leftover"], "rank / elements": result.show["rank"]},
        xlabel="",
        ylabel="share",
        title="untrained residual net, 16 × 16",
        legend="above",
        ax=left,
    )
    left.set_xticks(range(len(STAGES)), STAGES, rotation=40, ha="right")
    figures.bars(
        {name: result.show["searches"][name] for name in SEARCHES},
        xlabel="leftover f",
        title="transformer, last block",
        controls=("plain descent",),
        number=".3f",
        ax=right,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 10},
    full={"seeds": 6, "steps": 300},
    picture=picture,
)
