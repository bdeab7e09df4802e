"""Does hiding pixels stop a copier, and does its code read better than a denoiser's?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from aelib import data, figures, fit, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.family import GREY, MEMBERS, PATCH, dense, known, read_right
from aelib.experiments.judge import digits
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen
from aelib.measures.probes import STRENGTHS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="6.4",
    statement="A masked autoencoder cannot copy, and its code is read better than that of a "
    "denoiser of equal error.",
    source="He et al. 2022; Balestriero and LeCun 2024; chapter 6",
    reading="reader, masked − denoiser of equal error",
    measure="test digits read right with ten labels a class, masked autoencoder's code minus that "
    "of a denoiser with as large an error on clean digits (between five noises); 28 × 28",
    unit="percentage points",
    supported={
        "κ, masked / plain": below(0.5),
        "reader, masked − denoiser of equal error": above(1),
    },
    conditional={"κ, masked / plain": below(0.5)},
    condition="it cannot copy; a better reader than the denoiser's was not shown",
    controls=("reader, masked − noise of equal energy", "reader, masked − mask as noise"),
    also=(
        "reader, masked − plain",
        "reader, masked − pixels",
        "κ, denoiser of equal error / plain",
        "κ, mask as noise / plain",
        "error, masked / plain",
        "error, masked / largest of a denoiser",
    ),
    ratios=("error, masked / plain", "error, masked / largest of a denoiser"),
    fails_when="The net is read on what it cannot say without copying: single pixels.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)

SIGMAS = (0.2, 0.4, 0.6, 0.8, 1.2)
MASK = data.masked(MEMBERS["masked"].middle, GREY, PATCH)


def tasks(images: torch.Tensor, sigmas: Sequence[float]) -> dict[str, objectives.Objective]:
    """What the nets are asked to do, by name."""
    energy = MASK.share * (images - MASK.fill).square().mean()  # of what the mask changes
    noises = {f"noise {sigma:g}": sigma for sigma in sigmas}
    noises["noise of equal energy"] = float(energy.sqrt())
    return {
        "plain": objectives.copy,
        "masked": objectives.masked(MASK),
        "mask as noise": objectives.denoise(MASK),
        **{name: objectives.denoise(data.gaussian(sigma)) for name, sigma in noises.items()},
    }


def at_error(error: np.ndarray, errors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` (noises, nets) between two noises, where their errors are `error` (nets,)."""
    found = []
    for net, one in enumerate(error):
        order = errors[:, net].argsort()
        known_errors = np.log(errors[order, net])
        found.append(np.interp(np.log(one), known_errors, values[order, net]))
    return np.array(found)


def run(
    seeds: int,
    steps: int,
    draws: int,
    train: int = 4000,
    sigmas: Sequence[float] = SIGMAS,
    strengths: Sequence[float] = STRENGTHS,
) -> Result:
    """Nets of one kind and different tasks: their errors, copy coefficients and readers."""
    images = digits().take(train)
    labels, truth = known(images)
    mean, shape = images.train.mean(0), images.shape
    seen: dict[str, dict[str, np.ndarray]] = {}
    nets: dict[str, list[nn.Module]] = {}
    for name, objective in tasks(images.train, sigmas).items():
        nets[name] = models.replicate(lambda: dense(shape), seeds)
        options = {"objective": objective, "steps": steps, "lr": 2e-3, "schedule": "cosine"}
        fit(nets[name], images.train, label=name, **options)
        codes = [measures.codes(nets[name], side) for side in (images.train, images.test)]
        seen[name] = {
            "error": np.asarray(measures.unexplained_variance(nets[name], images.test, mean)),
            "κ": np.asarray(measures.copy_coefficient(nets[name], images.test, 0.1).mean(-1)),
            "reader": np.array(
                [
                    read_right(code, labels, test, truth, seed, draws, strengths)
                    for seed, (code, test) in enumerate(zip(*codes, strict=True))
                ]
            ),
        }
    flat = images.train.flatten(1), images.test.flatten(1)
    pixels = np.array(
        [
            read_right(flat[0], labels, flat[1], truth, seed, draws, strengths)
            for seed in range(seeds)
        ]
    )
    plain, masked = seen["plain"], seen["masked"]
    noises = [seen[f"noise {sigma:g}"] for sigma in sigmas]
    errors, kappas, readers = (
        np.array([row[column] for row in noises]) for column in ("error", "κ", "reader")
    )
    readings = {
        "κ, masked / plain": masked["κ"] / plain["κ"],
        "κ, mask as noise / plain": seen["mask as noise"]["κ"] / plain["κ"],
        "κ, denoiser of equal error / plain": at_error(masked["error"], errors, kappas)
        / plain["κ"],
        "error, masked / plain": masked["error"] / plain["error"],
        "error, masked / largest of a denoiser": masked["error"] / errors.max(0),
        "reader, masked − denoiser of equal error": masked["reader"]
        - at_error(masked["error"], errors, readers),
        "reader, masked − noise of equal energy": masked["reader"]
        - seen["noise of equal energy"]["reader"],
        "reader, masked − mask as noise": masked["reader"] - seen["mask as noise"]["reader"],
        "reader, masked − plain": masked["reader"] - plain["reader"],
        "reader, masked − pixels": masked["reader"] - pixels,
    }
    some = images.test[:8]
    hidden = MASK(some, random.generator(3))
    shown = {"digit": some, "shown": hidden}
    for name in ("masked", "plain"):
        shown[f"{name}, from what is shown"] = measures.outputs(nets[name][0], hidden)
        shown[f"{name}, from the digit"] = measures.outputs(nets[name][0], some)
    show = {
        "seen": {**seen, "pixels": {"reader": pixels}},
        "rows": {name: on_screen(row) for name, row in shown.items()},
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """What a reader of each code gets wrong, and how much each net copies."""
    seen = dict(result.show["seen"])
    pixels = 100 - np.asarray(seen.pop("pixels")["reader"])
    wrong = {name: 100 - np.asarray(row["reader"]) for name, row in seen.items()}
    kappa = {name: np.asarray(row["κ"]) for name, row in seen.items()}
    figure, axes = figures.canvas(1, 2, height=4.0)
    for ax, rows, label, number in zip(
        axes, (wrong, kappa), ("read wrong, %", "copy coefficient κ"), (".1f", ".3f"), strict=True
    ):
        figures.bars(
            rows,
            xlabel=label,
            number=number,
            controls=[name for name in seen if name != "masked"],
            intervals={name: measures.interval(list(row)) for name, row in rows.items()},
            lines={"pixels": float(pixels.mean())} if rows is wrong else None,
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "seeds": 3,
        "steps": 8,
        "draws": 1,
        "train": 200,
        "sigmas": [0.2, 0.8],
        "strengths": [0.01],
    },
    full={"seeds": 8, "steps": 2000, "draws": 3},
    picture=picture,
)
