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
from aelib.claims import Claim, above, below
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
BY_SEARCH = (LAST, "Adam in pixels / L-BFGS in Fourier")  # the plain search's f over ours
# Of a picture spread evenly over all directions 1 less the rank would be unanswered.
BEYOND = ("stage4", "unanswered − an even picture's")

CLAIM = Claim(
    id="4.3",
    statement="The poor picture from a late layer is the layer's doing, not the search's.",
    source='Badger\'s page on transformers, which tells "approximate" from "exact" '
    "non-invertibility",
    reading=("stage4", "unanswered"),
    measure="share of a photograph, as it differs from grey, in the directions to which the last "
    "stage does not answer: its Jacobian stretches them by less than a thousandth of what it "
    "stretches others by",
    supported={("stage4", "unanswered"): above(0.5), BEYOND: above(0), BY_SEARCH: below(2)},
    conditional={
        ("stage4", "unanswered"): above(0.5),
        BEYOND: above(0),
        BY_SEARCH: above(2),
        (LAST, "f", *OURS): below(0.05),
    },
    refuted={("stage4", "unanswered"): below(0.5)},
    controls=(("stem", "unanswered"), "f of the mean colour", "f of the thumbnail"),
    also=(
        *((LAST, "f / thumbnail's", *search) for search in SEARCHES),
        *((LAST, "f", *search) for search in SEARCHES),
        (LAST, "Adam / L-BFGS", "pixels"),
        (LAST, "Adam / L-BFGS", "Fourier"),
        (LAST, "pixels / Fourier", "L-BFGS"),
        *((stage, what) for stage in STAGES for what in ("rank", "unanswered", "m_g/m_r", "f")),
    ),
    ratios=(
        BY_SEARCH,
        *((LAST, "f / thumbnail's", *search) for search in SEARCHES),
        (LAST, "Adam / L-BFGS", "pixels"),
        (LAST, "Adam / L-BFGS", "Fourier"),
        (LAST, "pixels / Fourier", "L-BFGS"),
    ),
    condition="Of an untrained residual net's last stage; in a transformer's last block it is the "
    "search that decides how much is left after 150 evaluations, and ours leaves less than a "
    "twentieth.",
    fails_when="The layer still answers most of the picture: then a better search, or a longer "
    "one, brings it back, as in transformer blocks. At the second stage the directions that "
    "the layer does not answer hold about half as much as the search leaves. All this is local, "
    "at the photographs themselves.",
    rule_changed="2026-11-28",
    seen_before="first run",
)


def squares(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    forward: Callable[[nn.Module, Tensor], object] | None = None,
) -> dict[str, Tensor]:
    """JᵀJ of each layer's Jacobian with respect to an image (c, h, w), (chw, chw) in float64."""
    model.eval()
    with warnings.catch_warnings():  # torch's own, about torch
        warnings.simplefilter("ignore", FutureWarning)
        jacobians = torch.func.jacfwd(
            lambda x: inversion.features(model, x[None], layers, forward)
        )(image)
    rows = {layer: jacobians[layer].flatten(-3).flatten(0, -2).double() for layer in layers}
    return {layer: each.T @ each for layer, each in rows.items()}


def stretches(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    forward: Callable[[nn.Module, Tensor], object] | None = None,
) -> dict[str, Tensor]:
    """How far each layer stretches the directions of an image (c, h, w): singular values, falling.

    Of the Jacobian with respect to the image, in float64, one for each of its elements.
    """
    return {
        layer: torch.linalg.eigvalsh(found).flip(0).clamp_min(0).sqrt()
        for layer, found in squares(model, image, layers, forward).items()
    }


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


def unanswered(
    model: nn.Module, image: Tensor, layers: Sequence[str], share: float = 1e-3
) -> dict[str, tuple[float, float]]:
    """Of an image (c, h, w), by layer: the layer's rank there, as of `ranks`; and the share of the
    image's difference from mid-grey that lies in the directions which do not count."""
    away = (image - 0.5).flatten().double()
    result = {}
    for layer, found in squares(model, image, layers).items():
        values, directions = torch.linalg.eigh(found)  # rising; directions in columns
        silent = values <= share**2 * values[-1]
        there = (directions[:, silent].T @ away).square().sum() / away.square().sum()
        result[layer] = float((~silent).double().mean()), float(there)
    return result


def search(which: Sequence[str], rate: float) -> inversion.Recipe:
    """The default recipe with these two parts; `rate` is Adam's step size."""
    parameterization, optimizer = which
    return dataclasses.replace(
        inversion.RECIPES["default"],
        parameterization=PARTS["parameterization"][parameterization],
        optimizer=PARTS["optimizer"][optimizer] or inversion.Adam(rate),
    )


def along(
    model: nn.Module, images: Tensor, recipe: inversion.Recipe, seed: int, steps: int
) -> tuple[Tensor, Tensor]:
    """f after each tenth of the search in a transformer's last block, median image, (records,);
    and the thumbnail's."""
    one = inversion.invert(model, images, "block5", seeds=[seed], steps=steps, recipe=recipe)[
        "block5"
    ]
    start = one.m_i_start[0]
    f = (one.trace["m_i"][0] / start[:, None]).square().median(0).values
    return f, (one.baselines["thumbnail"].m_i / start).square().median()


def run(seeds: int, images: int, steps: int, least: int, most: int) -> Result:
    """Ranks and leftovers by stage of a residual net; four searches in a transformer.

    Args:
        seeds: nets of each kind.
        images: photographs' crops for each.
        steps: evaluations of each of the four searches.
        least: evaluations in the residual net before a search may have levelled off.
        most: evaluations there, unless the search has levelled off before.
    """
    photos = data.load("photos", size=16, train=256, test=64)
    liveliest = photos.test.flatten(1).std(1).argsort(descending=True)
    vivid = photos.test[liveliest][: 5 * images : 5]
    nets = models.replicate(lambda: models.SmallResNet(photos.shape, 5), seeds)
    for model in nets:
        models.calibrate(model, photos.train, batch_size=128)
    runs = [
        inversion.invert(
            model, vivid, STAGES, seeds=[seed], steps=most, until=inversion.LevelledOff(least=least)
        )
        for seed, model in enumerate(nets)
    ]
    shares = [[unanswered(model, image, STAGES) for image in vivid] for model in nets]
    readings: dict[Any, Any] = {}
    for stage in STAGES:
        of_net = [np.mean([each[stage] for each in net], 0) for net in shares]
        readings[stage, "rank"], readings[stage, "unanswered"] = np.transpose(of_net)
        readings[stage, "m_g/m_r"] = medians(runs, stage, within)
        readings[stage, "f"] = medians(runs, stage, leftover)
    readings[BEYOND] = readings["stage4", "unanswered"] - (1 - readings["stage4", "rank"])
    for name, what in (("mean", "mean colour"), ("thumbnail", "thumbnail")):
        readings[f"f of the {what}"] = [
            float((run["stem"].baselines[name].m_i / run["stem"].m_i_start[0]).square().median())
            for run in runs
        ]

    pieces, _, lively = pieces_of_photographs()
    transformers = models.replicate(lambda: models.SmallViT(pieces.shape, 5), seeds)
    curves, thumbnails = {}, torch.empty(0)
    for which in SEARCHES:
        rates = RATES if which[1] == "Adam" else RATES[:1]
        each = []
        for rate in rates:
            found = [
                along(model, lively[:images], search(which, rate), seed, steps)
                for seed, model in enumerate(transformers)
            ]
            fs, lines = zip(*found, strict=True)
            thumbnails = torch.stack(lines)  # whatever the search: that of the net's start
            each.append(torch.stack(fs))
        curves[which] = min(each, key=lambda curve: float(curve[:, -1].median()))
        readings[(LAST, "f", *which)] = curves[which][:, -1]
        readings[(LAST, "f / thumbnail's", *which)] = curves[which][:, -1] / thumbnails
    for name, over, under in (
        (BY_SEARCH[1:], PLAIN, OURS),
        (("Adam / L-BFGS", "pixels"), PLAIN, ("pixels", "L-BFGS")),
        (("Adam / L-BFGS", "Fourier"), ("Fourier", "Adam"), OURS),
        (("pixels / Fourier", "L-BFGS"), ("pixels", "L-BFGS"), OURS),
    ):
        readings[(LAST, *name)] = readings[(LAST, "f", *over)] / readings[(LAST, "f", *under)]
    show = {
        "leftover": np.array([np.asarray(readings[stage, "f"]) for stage in STAGES]).T,
        "rank": np.array([readings[stage, "rank"] for stage in STAGES]).T,
        "unanswered": np.array([readings[stage, "unanswered"] for stage in STAGES]).T,
        "searches": {", ".join(which): curve for which, curve in curves.items()},
        "evaluations": np.linspace(0, steps, 11),
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Left, leftover, unanswered share and rank by stage; right, one layer and four searches."""
    figure, (left, right) = figures.canvas(1, 2, height=4.4)
    figures.curves(
        range(len(STAGES)),
        {
            "leftover f": result.show["leftover"],
            "unanswered": result.show["unanswered"],
            "rank / elements": result.show["rank"],
        },
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
    short={"seeds": 3, "images": 1, "steps": 10, "least": 10, "most": 10},
    full={"seeds": 10, "images": 4, "steps": 150, "least": 1000, "most": 2000},
    picture=picture,
)
