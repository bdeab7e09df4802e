"""What do skips do to a copier, and what is a perfect copy worth as a denoiser?"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import data, figures, fit, inversion, measures, models, objectives, random
from aelib.claims import Claim, above, below, between
from aelib.experiments.digit_diffusion import build, digits
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.layer_or_search import ranks
from aelib.experiments.layers_read_back import leftover, medians, within
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = Claim(
    id="4.8",
    statement="With skips, the output of a U-Net holds a perfect picture of the corrupted input.",
    source="this chapter, on the argument about copying in Badger's page, section 4",
    reading=("untrained", "skips", "leftover"),
    measure="leftover f of the corrupted input at the output, untrained, with skips",
    supported={
        ("untrained", "skips", "leftover"): below(0.05),
        ("copier", "skips", "leftover"): below(0.05),
        ("denoiser", "skips", "leftover"): below(0.05),
    },
    # Not that one without skips leaves more: a longer search might find that picture, too.
    conditional={("copier", "skips", "leftover"): below(0.05)},
    # Of an untrained net our search may only not find it.
    refuted={
        ("copier", "skips", "leftover"): above(0.05),
        ("copier", "skips", "m_g/m_r"): below(0.1),
    },
    controls=(
        ("copier", "leftover, skips − no skips"),
        ("copier", "no skips", "leftover"),
        ("untrained", "no skips", "leftover"),
        ("untrained", "skips", "rank"),
    ),
    also=tuple(
        (state, skips, quantity)
        for state in ("untrained", "copier", "denoiser")
        for skips in ("skips", "no skips")
        for quantity in ("leftover", "m_g/m_r")
    ),
    condition="The net is trained to copy; in the untrained net and in the denoiser a search of "
    "300 evaluations does not find the picture.",
    fails_when="The net is untrained: our search, of 300 evaluations, does not find the picture "
    "then, though the rank says that hardly a direction is lost. What it leaves elsewhere is an "
    "upper limit too: on digits of 8 × 8 a copier without skips got there as well, after long "
    "training. And a picture is less than a copy.",
    rule_changed="2026-11-27",
)
OWN_LOSS = Claim(
    id="4.9",
    statement="For a perfect copy of the corrupted input the denoising loss is the corruption's "
    "own, σ² for each element.",
    source="Badger's page, section 4; this chapter's own loss of a copy",
    kind="closed form",
    reading="loss of the identity / σ²d",
    measure="loss of the identity on corrupted digits, over σ²d",
    supported={"loss of the identity / σ²d": between(0.99, 1.01)},
    controls=("loss of the copier with skips / σ²d", "loss of a denoiser / σ²d"),
    also=("copier with skips, distance from a copy / σ²d",),
    fails_when="The copy is learned rather than given: the trained copier already removes part of "
    "the noise, so its loss is not σ²d. Or the corrupted image is clipped, which takes some of the "
    "noise away.",
)
SKIPS_COPY = Claim(
    id="4.11",
    statement="Skips make plain copying trivial, and useless for denoising.",
    source="this chapter, on the argument about copying in Badger's page, section 4",
    reading="clean error, skips / no skips",
    measure="clean error of the copier with skips, over the one without, root mean square",
    supported={
        "clean error, skips / no skips": below(0.7),
        "gain, skips − no skips": below(0.0),
        ("copier", "skips", "gain"): below(1.0),
    },
    conditional={
        "clean error, skips / no skips": below(0.7),
        "gain, skips − no skips": below(0.0),
    },
    controls=("denoisers: gain, skips − no skips", "best linear gain"),
    also=(
        ("copier", "no skips", "gain"),
        ("denoiser", "skips", "gain"),
        ("copier", "no skips", "leftover"),
    ),
    condition="After as many steps copying is easier and cleaning worse, though not useless: the "
    "copier with skips still takes some noise away.",
    ratios=("clean error, skips / no skips",),
    fails_when="The nets are trained to denoise: then the skips help a little. And even the copier "
    "with skips is not useless: it cleans, though less than the best linear filter.",
)

SIGMA = 0.3
NOISE = data.gaussian(SIGMA)
STATES = ("untrained", "copier", "denoiser")
SKIPS = ("skips", "no skips")
OBJECTIVES = {"copier": objectives.copy, "denoiser": objectives.denoise(NOISE)}


def train(state: str, skips: str, seeds: int, steps: int) -> list[models.DiffusionUNet]:
    """U-Nets without a clock, in one of three states, with skips or without."""
    nets = models.replicate(lambda: build(time=False, skips=skips == "skips"), seeds)
    if state in OBJECTIVES:
        fit(
            nets,
            digits().train,
            objective=OBJECTIVES[state],
            steps=steps,
            batch_size=32,
            lr=3e-3,
            schedule="cosine",
            label=f"{state}, {skips}",
        )
    return nets


def noisy_digits() -> Tensor:
    """The test digits with noise of deviation SIGMA, the same every time."""
    return NOISE(digits().test, random.generator(0))


def squared(change: Tensor) -> Tensor:
    """‖·‖² of each image, a mean over images; (…, n, channels, height, width) to (…)."""
    return change.square().sum((-3, -2, -1)).mean(-1)


def slopes(nets: list[models.DiffusionUNet], images: int) -> Tensor:
    """Singular values of each net's Jacobian, falling, a mean over digits: (seeds, d)."""
    return measures.singular_values(nets, digits().test[:images]).mean(1)


def run(
    seeds: int, steps: int, inversions: int, invert_steps: int, images: int, n: int = 500
) -> Result:
    """Picture, copy and cleaning of each net on `n` digits, by (state, skips, quantity).

    Singular values of the trained nets' outputs are a mean over so many `images`.
    """
    clean, noisy = digits().test[:n], noisy_digits()[:n]
    shown = noisy[:inversions].clamp(0, 1)  # an inversion wants pixels
    own = squared(noisy - clean)
    nets = {
        (state, skips): train(state, skips, seeds, steps) for state in STATES for skips in SKIPS
    }
    readings = {}
    for place, group in nets.items():
        runs = [
            inversion.invert(model, shown, seeds=[seed], steps=invert_steps)
            for seed, model in enumerate(group)
        ]
        answers = measures.outputs(group, noisy)  # (seeds, n, …)
        readings |= {
            (*place, "leftover"): medians(runs, "output", leftover),
            (*place, "m_g/m_r"): medians(runs, "output", within),
            (*place, "from a copy"): squared(answers - noisy) / own,
            (*place, "loss"): squared(answers - clean),
            (*place, "clean error"): measures.clean_error(group, clean).mean(1).sqrt(),
            (*place, "gain"): measures.denoising_gain(group, clean, NOISE).mean(1),
        }

    def difference(state: str, quantity: str) -> Tensor:
        return readings[state, "skips", quantity] - readings[state, "no skips", quantity]

    wiener = measures.wiener_filter(digits().train, SIGMA)
    own_loss = SIGMA**2 * math.prod(digits().shape)
    draws = torch.cat([NOISE(clean, random.generator(seed)) - clean for seed in range(50)])
    readings |= {
        ("copier", "leftover, skips − no skips"): difference("copier", "leftover"),
        ("untrained", "skips", "rank"): [
            ranks(model, clean[0], ["output"])["output"] for model in nets["untrained", "skips"]
        ],
        "clean error, skips / no skips": readings["copier", "skips", "clean error"]
        / readings["copier", "no skips", "clean error"],
        "gain, skips − no skips": difference("copier", "gain"),
        "denoisers: gain, skips − no skips": difference("denoiser", "gain"),
        "best linear gain": measures.denoising_gain([wiener], clean, NOISE).mean(1).expand(seeds),
        "loss of the identity / σ²d": float(squared(draws)) / own_loss,
        "loss of the copier with skips / σ²d": float(readings["copier", "skips", "loss"].mean())
        / own_loss,
        "loss of a denoiser / σ²d": float(readings["denoiser", "skips", "loss"].mean()) / own_loss,
        "copier with skips, distance from a copy / σ²d": float(
            readings["copier", "skips", "from a copy"].mean()
        ),
    }
    show = {
        "leftover": {place: readings[(*place, "leftover")] for place in nets},
        "gain": {place: readings[(*place, "gain")] for place in nets},
        "best linear gain": readings["best linear gain"][0],
        "clean": on_screen(clean[:8]),
        "corrupted": on_screen(noisy[:8]),
        "returned": {
            place: on_screen(measures.outputs(group[:1], noisy[:8])[0])
            for place, group in nets.items()
        },
        "slopes": {state: slopes(nets[state, "skips"], images) for state in OBJECTIVES if images},
        "models": nets,
    }
    return Result(readings, show, [name for name in show if name != "models"])


def picture(result: Result) -> Figure:
    """How well each net's output determines its corrupted input, and what it is worth."""
    figure, axes = figures.canvas(1, 2, height=3.0)
    for ax, quantity, xlabel in (
        (axes[0], "leftover", "leftover f at the output"),
        (axes[1], "gain", "denoising gain in dB"),
    ):
        best = float(result.show["best linear gain"])
        figures.grouped_bars(
            {
                state: {skips: result.show[quantity][state, skips] for skips in SKIPS}
                for state in STATES
            },
            xlabel=xlabel,
            lines={"best linear": best} if quantity == "gain" else None,
            ax=ax,
        )
    return figure


def returned_picture(result: Result) -> Figure:
    """Eight digits, corrupted, and what a net of each kind returns for them."""
    places = list(itertools.product(STATES, SKIPS))
    rows = [result.show["returned"][place] for place in places]
    return figures.grid(
        [result.show["clean"], result.show["corrupted"], *rows],
        labels=["clean", "corrupted", *(f"{state},\n{skips}" for state, skips in places)],
        cell=0.36,
    )


EXPERIMENT = Experiment(
    claims=(PICTURE, OWN_LOSS, SKIPS_COPY),
    run=run,
    short={"seeds": 3, "steps": 3, "inversions": 1, "invert_steps": 5, "images": 0, "n": 60},
    full={"seeds": 6, "steps": 1000, "inversions": 4, "invert_steps": 300, "images": 2},
    picture=picture,
)
