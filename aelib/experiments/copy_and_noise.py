"""Does the loop of a diffusion draw pictures with a net that has only learned to copy?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import data, figures
from aelib.claims import Claim, above, below
from aelib.experiments.digit_diffusion import N, controls, density
from aelib.experiments.digit_nets import copiers, denoisers, digits, loop, narrow
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import entropy, frechet, nearest_ratio
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COPIED = Claim(
    id="5.6",
    statement="Repeated copying and noising again, from pure noise, draws samples.",
    source="Badger's page; its own schedule and kind of net have a claim of their own",
    reading="copier ÷ Gaussian, 30 steps",
    measure="Fréchet distance of 500 drawn with the copier, 30 steps, all noise new, over that of "
    "a Gaussian in pixels",
    supported={
        "copier ÷ Gaussian, 30 steps": below(1),
        "copier ÷ Gaussian, 200 steps": below(1),
    },
    refuted={
        "copier ÷ Gaussian, 30 steps": above(1),
        "copier ÷ Gaussian, 200 steps": above(1),
    },
    controls=("Gaussian in pixels", "noise"),
    also=("class entropy, 200 steps",),
    ratios=("copier ÷ Gaussian, 30 steps", "copier ÷ Gaussian, 200 steps"),
    fails_when="The net has only learned to copy: a Gaussian fitted to the pixels does better.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
DENOISED = Claim(
    id="5.9",
    statement="The same loop draws samples when the net has learned to denoise and the noise it "
    "takes out is put back.",
    source="Kadkhodaie and Simoncelli 2021; Song et al. 2021; chapter 5",
    reading="denoiser, noise kept ÷ Gaussian",
    measure="Fréchet distance of 500 drawn with the denoiser, noise kept, 200 steps, over that of "
    "a Gaussian in pixels",
    supported={
        "denoiser, noise kept ÷ Gaussian": below(1),
        "denoiser, new noise ÷ noise kept": above(1.5),
        "copier, noise kept ÷ Gaussian": above(1),
    },
    conditional={
        "denoiser, noise kept ÷ Gaussian": below(1),
        "denoiser, new noise ÷ noise kept": below(1),
    },
    refuted={"denoiser, noise kept ÷ Gaussian": above(1)},
    condition="With a denoiser the loop draws better than one Gaussian; but to put its own noise "
    "back makes it worse, not better.",
    controls=("copier, noise kept ÷ Gaussian", "denoiser, noise kept ÷ mixture"),
    also=(
        "denoiser, noise kept",
        "denoiser, new noise",
        "mixture in pixels",
        "class entropy, noise kept",
        "class entropy, new noise",
        "nearest / second, denoiser, new noise",
        "nearest / second, denoiser, noise kept",
        "nearest / second, real",
        "nearest / second, training digits + noise",
    ),
    ratios=(
        "denoiser, noise kept ÷ Gaussian",
        "denoiser, noise kept ÷ mixture",
        "denoiser, new noise ÷ noise kept",
        "copier, noise kept ÷ Gaussian",
    ),
    fails_when="The net has only learned to copy. And drawing means no more here than to be better "
    "than one Gaussian: a mixture of 40 in 50 directions is better than the loop that keeps its "
    "noise, and what the other draws lies nearer to single training digits than new digits do, by "
    "more than claims 4.6 and 5.7 allow what is to be no copies.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

CORNERS = (
    ("copier", "short", 1.0),
    ("copier", "long", 1.0),
    ("copier", "long", 0.0),
    ("denoiser", "long", 1.0),
    ("denoiser", "long", 0.0),
)
DIAL = (0.0, 0.3, 0.6, 1.0)
COMPONENTS = 40  # of 10, 20 and 40 the best mixture in pixels, as chapter 4 found


def of_pixels(components: int, draws: int, n: int) -> Tensor:
    """Fréchet distances of draws from a Gaussian or a mixture fitted to the pixels, (draws,)."""
    return frechet(torch.stack([density(components)(n, seed) for seed in range(draws)]))


def run(
    seeds: int,
    steps: int,
    draws: int,
    lengths: list[int],
    n: int = N,
    components: int = COMPONENTS,
) -> Result:
    """The loop with copier and denoiser, new noise and kept; the dial between them.

    `lengths` are the steps of the short loop, of the long ones and of those that turn the dial.
    """
    short, long, turned = lengths
    nets = {
        "copier": copiers(seeds, steps),
        "narrow code": narrow(seeds, steps),
        "denoiser": denoisers(seeds, steps),
    }
    drawn = {  # each (draws, seeds, n, …)
        (name, words, eta): loop(
            nets[name], short if words == "short" else long, eta, range(draws), n
        )
        for name, words, eta in CORNERS
    }
    distance = {key: frechet(pictures).mean(0) for key, pictures in drawn.items()}  # (seeds,)
    dial = {
        name: torch.stack([frechet(loop(group, turned, eta, range(1), n))[0] for eta in DIAL], 1)
        for name, group in nets.items()
    }
    gaussian, mixture = (of_pixels(number, seeds, n) for number in (1, components))
    white = [data.white_noise(n, digits().shape, seed) for seed in range(seeds)]
    compared = [controls(seed, components, n) for seed in range(seeds)]
    copied = torch.stack([sets["training images + noise"] for sets in compared])
    real = torch.stack([sets["real, held out"] for sets in compared])
    kept, new = distance["denoiser", "long", 0.0], distance["denoiser", "long", 1.0]

    def near(eta: float) -> Tensor:  # (seeds,)
        return nearest_ratio(drawn["denoiser", "long", eta]).mean(0)

    readings = {
        "copier ÷ Gaussian, 30 steps": distance["copier", "short", 1.0] / gaussian.mean(),
        "copier ÷ Gaussian, 200 steps": distance["copier", "long", 1.0] / gaussian.mean(),
        "Gaussian in pixels": gaussian,
        "mixture in pixels": mixture,
        "noise": frechet(torch.stack(white)),
        "class entropy, 200 steps": entropy(drawn["copier", "long", 1.0]).mean(0),
        "denoiser, noise kept": kept,
        "denoiser, new noise": new,
        "denoiser, noise kept ÷ Gaussian": kept / gaussian.mean(),
        "denoiser, noise kept ÷ mixture": kept / mixture.mean(),
        "denoiser, new noise ÷ noise kept": new / kept,
        "copier, noise kept ÷ Gaussian": distance["copier", "long", 0.0] / gaussian.mean(),
        "class entropy, noise kept": entropy(drawn["denoiser", "long", 0.0]).mean(0),
        "class entropy, new noise": entropy(drawn["denoiser", "long", 1.0]).mean(0),
        "nearest / second, denoiser, new noise": near(1.0),
        "nearest / second, denoiser, noise kept": near(0.0),
        "nearest / second, real": nearest_ratio(real),
        "nearest / second, training digits + noise": nearest_ratio(copied),
    }
    show = {
        "drawn": {key: on_screen(pictures[0, 0, :9]) for key, pictures in drawn.items()},
        "dial": dial,
        "gaussian": float(gaussian.mean()),
        "mixture": float(mixture.mean()),
    }
    return Result(readings, show, tuple(show))


def loop_picture(result: Result) -> Figure:
    """Nine pictures from each corner: copier or denoiser, new noise or kept."""
    return figures.grid(
        [
            result.show["drawn"][name, "long", eta]
            for name in ("copier", "denoiser")
            for eta in (1.0, 0.0)
        ],
        labels=[
            f"{name},\n{noise}"
            for name in ("copier", "denoiser")
            for noise in ("new noise", "noise kept")
        ],
        cell=0.8,
    )


def picture(result: Result) -> Figure:
    """Fréchet distance by the share of new noise."""
    return figures.curves(
        DIAL,
        result.show["dial"],
        lines={
            "Gaussian in pixels": float(result.show["gaussian"]),
            "mixture in pixels": float(result.show["mixture"]),
        },
        xlabel="share of new noise η",
        ylabel="Fréchet distance",
        logy=True,
    )


EXPERIMENT = Experiment(
    claims=(COPIED, DENOISED),
    run=run,
    short={"seeds": 3, "steps": 1, "draws": 1, "n": 36, "components": 2, "lengths": [2, 3, 2]},
    full={"seeds": 6, "steps": 6000, "draws": 2, "lengths": [30, 200, 50]},
    picture=picture,
)
