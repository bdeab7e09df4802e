"""Is a poor picture from a layer the layer's doing, or the search's?"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

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

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
PARTS = {
    "parameterization": {"pixels": inversion.Pixels(), "Fourier": inversion.Fourier()},
    "optimizer": {"Adam": None, "L-BFGS": inversion.LBFGS()},
}
RATES = (0.02, 0.1)  # of Adam; that with the least leftover counts
SEARCHES = tuple(itertools.product(*PARTS.values()))
PLAIN, OURS = ("pixels", "Adam"), ("Fourier", "L-BFGS")
LAST = "ViT block5"

CLAIM = Claim(
    id="4.3",
    statement="The poor picture from a late layer is the layer's doing, not the search's.",
    source='Badger\'s page on transformers, which tells "approximate" from "exact" '
    "non-invertibility",
    reading=("stage4", "rank"),
    measure="rank of the last stage's Jacobian, as a share of the image's elements",
    supported={
        ("stage4", "rank"): below(0.95),
        ("stage2", "rank"): below(0.95),
        (LAST, "f", *PLAIN): below(0.05),
    },
    conditional={
        ("stage4", "rank"): below(0.95),
        ("stage2", "rank"): below(0.95),
        (LAST, "f", *OURS): below(0.05),
    },
    controls=(("stem", "rank"), (LAST, "f", *PLAIN), "f of the mean colour", "f of the thumbnail"),
    also=(
        *((LAST, "f", *search) for search in SEARCHES),
        (LAST, "Adam / L-BFGS", "pixels"),
        (LAST, "Adam / L-BFGS", "Fourier"),
        (LAST, "pixels / Fourier", "L-BFGS"),
        *((stage, what) for stage in STAGES for what in ("rank", "m_g/m_r", "f")),
    ),
    ratios=(
        (LAST, "Adam / L-BFGS", "pixels"),
        (LAST, "Adam / L-BFGS", "Fourier"),
        (LAST, "pixels / Fourier", "L-BFGS"),
    ),
    condition="Of residual nets, from the second stage on; in a transformer's last block the poor "
    "picture was the search's.",
    fails_when="The layer still responds to every direction: then a better search brings the "
    "picture back, as in transformer blocks. The rank is local, at the photographs themselves.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)


def stretches(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    forward: Callable[[nn.Module, Tensor], object] | None = None,
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


def search(which: Sequence[str], rate: float) -> inversion.Recipe:
    """The default recipe with these two parts; `rate` is Adam's step size."""
    parameterization, optimizer = which
    return dataclasses.replace(
        inversion.RECIPES["default"],
        parameterization=PARTS["parameterization"][parameterization],
        optimizer=PARTS["optimizer"][optimizer] or inversion.Adam(rate),
    )


def along(model: nn.Module, images: Tensor, recipe: inversion.Recipe, seed: int, steps: int):
    """f after each tenth of the search in a transformer's last block, median image, (records,)."""
    one = inversion.invert(model, images, "block5", seeds=[seed], steps=steps, recipe=recipe)[
        "block5"
    ]
    return (one.trace["m_i"][0] / one.m_i_start[0, :, None]).square().median(0).values


def run(seeds: int, images: int, steps: int, most: int) -> Result:
    """Ranks and leftovers by stage of a residual net; four searches in a transformer.

    Args:
        seeds: nets of each kind.
        images: photographs' crops for each.
        steps: evaluations of each of the four searches.
        most: evaluations in the residual net, unless the search has levelled off before.
    """
    photos = data.load("photos", size=16, train=256, test=64)
    liveliest = photos.test.flatten(1).std(1).argsort(descending=True)
    vivid = photos.test[liveliest][: 5 * images : 5]
    nets = models.replicate(lambda: models.SmallResNet(photos.shape, 5), seeds)
    for model in nets:
        models.calibrate(model, photos.train, batch_size=128)
    runs = [
        inversion.invert(model, vivid, STAGES, seeds=[seed], steps=most, until="levelled off")
        for seed, model in enumerate(nets)
    ]
    shares = [[ranks(model, image, STAGES) for image in vivid] for model in nets]
    readings: dict[Any, Any] = {}
    for stage in STAGES:
        readings[stage, "rank"] = [np.mean([each[stage] for each in net]) for net in shares]
        readings[stage, "m_g/m_r"] = medians(runs, stage, within)
        readings[stage, "f"] = medians(runs, stage, leftover)
    for name, what in (("mean", "mean colour"), ("thumbnail", "thumbnail")):
        readings[f"f of the {what}"] = [
            float((run["stem"].baselines[name].m_i / run["stem"].m_i_start[0]).square().median())
            for run in runs
        ]

    pieces, _, lively = pieces_of_photographs()
    transformers = models.replicate(lambda: models.SmallViT(pieces.shape, 5), seeds)
    curves = {}
    for which in SEARCHES:
        rates = RATES if which[1] == "Adam" else RATES[:1]
        each = [
            torch.stack(
                [
                    along(model, lively[:images], search(which, rate), seed, steps)
                    for seed, model in enumerate(transformers)
                ]
            )
            for rate in rates
        ]
        curves[which] = min(each, key=lambda curve: float(curve[:, -1].median()))
        readings[(LAST, "f", *which)] = curves[which][:, -1]
    for name, over, under in (
        (("Adam / L-BFGS", "pixels"), PLAIN, ("pixels", "L-BFGS")),
        (("Adam / L-BFGS", "Fourier"), ("Fourier", "Adam"), OURS),
        (("pixels / Fourier", "L-BFGS"), ("pixels", "L-BFGS"), OURS),
    ):
        readings[(LAST, *name)] = readings[(LAST, "f", *over)] / readings[(LAST, "f", *under)]
    show = {
        "leftover": np.array([np.asarray(readings[stage, "f"]) for stage in STAGES]).T,
        "rank": np.array([readings[stage, "rank"] for stage in STAGES]).T,
        "searches": {", ".join(which): curve for which, curve in curves.items()},
        "evaluations": np.linspace(0, steps, 11),
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Left, leftover and rank by stage; right, one layer and four searches."""
    figure, (left, right) = figures.canvas(1, 2, height=4.4)
    figures.curves(
        range(len(STAGES)),
        {"leftover f": result.show["leftover"], "rank / elements": result.show["rank"]},
        lines={"thumbnail's f": float(result["f of the thumbnail"].mean())},
        xlabel="",
        ylabel="share",
        title="untrained residual net",
        legend="above",
        ax=left,
    )
    left.set_xticks(range(len(STAGES)), STAGES, rotation=40, ha="right")
    figures.curves(
        result.show["evaluations"],
        result.show["searches"],
        xlabel="evaluations",
        ylabel="leftover f",
        title="transformer, last block",
        logy=True,
        legend="above",
        ax=right,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "images": 1, "steps": 10, "most": 10},
    full={"seeds": 6, "images": 4, "steps": 150, "most": 1000},
    picture=picture,
)
