"""Does the loop of a diffusion draw pictures with a net that has only learned to copy?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import data, figures, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import N, copiers, denoisers, loop, narrow
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import digits, entropy, frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COPIED = Claim(
    id="5.6",
    statement="Repeated copying and noising again, from pure noise, draws samples.",
    source="Badger's page",
    reading="copier − Gaussian, 30 steps",
    measure="Fréchet distance of 360 drawn with the copier, 30 steps, minus that of a Gaussian in "
    "pixels",
    supported={
        "copier − Gaussian, 30 steps": below(0),
        "copier − Gaussian, 200 steps": below(0),
    },
    controls=("Gaussian in pixels", "noise"),
    also=("class entropy, 200 steps",),
    fails_when="The net has only learned to copy: a Gaussian fitted to the pixels does better.",
)
DENOISED = Claim(
    id="5.9",
    statement="The loop of claim 5.6 draws samples when the net has learned to denoise and the "
    "noise it takes out is put back.",
    source="chapter 5; Song et al. 2021",
    reading="denoiser, noise kept",
    measure="Fréchet distance of 360 drawn with the denoiser, noise kept, 200 steps",
    supported={
        "denoiser, noise kept": below(20),
        "denoiser, new noise": above(40),
        "copier, noise kept": above(40),
    },
    controls=(
        "denoiser, new noise",
        "copier, noise kept",
        "Gaussian in pixels",
        "mixture in pixels",
    ),
    also=("class entropy, noise kept", "class entropy, new noise"),
    fails_when="Either half is missing, or training is short; a narrow code with the noise kept "
    "gets about as far then. With new noise each step averages again, and classes are lost. And on "
    "these digits it is no feat: a mixture of ten Gaussians fitted to the pixels draws better.",
)

CORNERS = (
    ("copier", 30, 1.0),
    ("copier", 200, 1.0),
    ("copier", 200, 0.0),
    ("denoiser", 200, 1.0),
    ("denoiser", 200, 0.0),
)
DIAL = (0.0, 0.3, 0.6, 1.0)


def of_pixels(components: int, draws: range, n: int) -> Tensor:
    """Fréchet distances of draws from a Gaussian or a mixture fitted to the pixels, (draws,)."""
    fitted = sampling.fit_code(digits().train.flatten(1), components)
    sets = [fitted.sample(n, seed).view(-1, *digits().shape) for seed in draws]
    return torch.stack([frechet(images) for images in sets])


def run(seeds: int, steps: int, narrow_steps: int, draws: int, n: int = N) -> Result:
    """The loop with copier and denoiser, new noise and kept; the dial between them."""
    nets = {
        "copier": copiers(seeds, steps)[0],
        "code of 8": narrow(seeds, narrow_steps).models,
        "denoiser": denoisers(seeds, 2 * narrow_steps).models,
    }
    drawn = {  # each (draws, seeds, N, …)
        (name, count, eta): loop(nets[name], count, eta, range(draws), n)
        for name, count, eta in CORNERS
    }
    distance = {key: frechet(pictures).mean(0) for key, pictures in drawn.items()}  # (seeds,)
    dial = {
        name: torch.stack([frechet(loop(group, 50, eta, range(1), n))[0] for eta in DIAL], 1)
        for name, group in nets.items()
    }
    gaussian, mixture = (of_pixels(components, range(8), n).mean() for components in (1, 10))
    noise = torch.stack(
        [frechet(data.white_noise(n, digits().shape, seed)) for seed in range(seeds)]
    )
    readings = {
        "copier − Gaussian, 30 steps": distance["copier", 30, 1.0] - gaussian,
        "copier − Gaussian, 200 steps": distance["copier", 200, 1.0] - gaussian,
        "Gaussian in pixels": gaussian.expand(seeds),
        "mixture in pixels": mixture.expand(seeds),
        "noise": noise,
        "class entropy, 200 steps": entropy(drawn["copier", 200, 1.0]).mean(0),
        "denoiser, noise kept": distance["denoiser", 200, 0.0],
        "denoiser, new noise": distance["denoiser", 200, 1.0],
        "copier, noise kept": distance["copier", 200, 0.0],
        "class entropy, noise kept": entropy(drawn["denoiser", 200, 0.0]).mean(0),
        "class entropy, new noise": entropy(drawn["denoiser", 200, 1.0]).mean(0),
    }
    show = {
        "drawn": {key: on_screen(pictures[0, 0, :9]) for key, pictures in drawn.items()},
        "dial": dial,
        "gaussian": float(gaussian),
    }
    return Result(readings, show, tuple(show))


def loop_picture(result: Result) -> Figure:
    """Nine pictures from each corner: copier or denoiser, new noise or kept."""
    return figures.grid(
        [
            result.show["drawn"][name, 200, eta]
            for name in ("copier", "denoiser")
            for eta in (1.0, 0.0)
        ],
        labels=[
            f"{name},\n{noise}"
            for name in ("copier", "denoiser")
            for noise in ("new noise", "noise kept")
        ],
    )


def picture(result: Result) -> Figure:
    """Fréchet distance by the share of new noise."""
    return figures.curves(
        DIAL,
        result.show["dial"],
        lines={
            "Gaussian in pixels": float(result.show["gaussian"]),
            "mixture in pixels": float(result["mixture in pixels"].mean()),
        },
        xlabel="share of new noise η",
        ylabel="Fréchet distance",
        logy=True,
    )


EXPERIMENT = Experiment(
    claims=(COPIED, DENOISED),
    run=run,
    short={"seeds": 3, "steps": 10, "narrow_steps": 5, "draws": 1, "n": 40},
    full={"seeds": 6, "steps": 3000, "narrow_steps": 1500, "draws": 1},
    picture=picture,
)
