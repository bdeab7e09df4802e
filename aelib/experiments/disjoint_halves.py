"""Do two denoisers agree that never saw the same image?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="3.11",
    statement="Two denoisers trained on disjoint halves of the data agree once the halves are "
    "large, and what is left of their disagreement is mostly their starts'.",
    source="Kadkhodaie et al. 2024; this chapter",
    reading="700 digits each",
    measure="disagreement of two denoisers, each trained on its own 700 digits, as a share of σ² "
    "(σ = 0.3)",
    supported={
        "700 digits each": below(0.1),
        "4 digits each": above(0.3),
        "700 each, net − Wiener, gain": above(0),
        "the start's share": above(0.5),
    },
    conditional={"700 digits each": below(0.1), "4 digits each": above(0.3)},
    condition="agreement alone is meant, which two Wiener filters have as well",
    controls=(
        "mean images of 4",
        "Wiener filters of 4",
        "Wiener filters of 700",
        "same 700, another start",
    ),
    also=("gain, net of 700", "gain, Wiener of 700"),
    units="pairs of nets",
    ratios=("the start's share",),
    fails_when="Each half holds few images. And agreement alone proves little: two Wiener filters "
    "agree better.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

SIZES = (4, 32, 200, 700)
SIGMA = 0.3
NOISE = data.gaussian(SIGMA)


def pairs(digits: data.Images, n: int, seeds: int) -> list[Tensor]:
    """Pairs of disjoint sets of `n` digits: two in a row are a pair."""
    both = [digits.take(2 * n, seed=random.moved(seed)).train for seed in range(seeds)]
    return [half for images in both for half in (images[:n], images[n:])]


def denoisers(sets: Sequence[Tensor], steps: int, first: int = 0) -> Sequence[nn.Module]:
    """A denoiser for each set."""
    shape = tuple(sets[0].shape[1:])
    nets = models.replicate(
        lambda: models.MLPAutoencoder(shape, width=128, depth=3), len(sets), first
    )
    objective = objectives.denoise(NOISE)
    fit(nets, sets, objective=objective, steps=steps, label="halves", seed=first)
    return nets


def pooled_gain(nets: Sequence[Callable], images: Tensor, noise: Callable, seed: int = 0) -> Tensor:
    """10 log₁₀ of the noise's energy over the error's, all images together: dB for each net."""
    noisy = noise(images, random.generator(seed))
    with torch.no_grad():
        left = torch.stack([(model(noisy) - images).square().sum() for model in nets])
    return 10 * torch.log10((noisy - images).square().sum() / left)


def run(seeds: int, steps: int) -> Result:
    """Disagreement within pairs of denoisers, Wiener filters and mean images, by their size."""
    digits = data.load("digits")
    noisy = NOISE(digits.test, random.generator(5))

    def disagreement(first: Callable, second: Callable) -> float:
        with torch.no_grad():
            return float((first(noisy) - second(noisy)).square().mean() / SIGMA**2)

    def within_pairs(nets: Sequence[Callable]) -> list[float]:
        return [disagreement(*pair) for pair in zip(nets[::2], nets[1::2], strict=True)]

    sets = {n: pairs(digits, n, seeds) for n in SIZES}
    nets = {n: denoisers(sets[n], steps) for n in SIZES}
    wiener = {n: measures.wiener_filter(sets[n], SIGMA) for n in SIZES}
    means = {n: measures.mean_image(sets[n]) for n in SIZES}
    curves = {  # each (pairs, sizes)
        name: torch.tensor([within_pairs(group[n]) for n in SIZES]).T
        for name, group in (
            ("two denoisers", nets),
            ("two Wiener filters", wiener),
            ("two mean images", means),
        )
    }
    others = denoisers(sets[700], steps, first=50)
    net_gain = pooled_gain(nets[700][::2], digits.test, NOISE)
    wiener_gain = pooled_gain(wiener[700][::2], digits.test, NOISE)
    between = curves["two denoisers"][:, -1]
    # Each of a pair against the same digits from another start.
    within = torch.tensor(
        [disagreement(*pair) for pair in zip(nets[700], others, strict=True)]
    ).view(-1, 2)
    readings = {
        "700 digits each": between,
        "4 digits each": curves["two denoisers"][:, 0],
        "same 700, another start": within.mean(1),
        "the start's share": within.mean(1) / between,
        "Wiener filters of 4": curves["two Wiener filters"][:, 0],
        "Wiener filters of 700": curves["two Wiener filters"][:, -1],
        "mean images of 4": curves["two mean images"][:, 0],
        "gain, net of 700": net_gain,
        "gain, Wiener of 700": wiener_gain,
        "700 each, net − Wiener, gain": net_gain - wiener_gain,
    }
    show = {"curves": curves, "same digits, another start": within.mean(1)}
    return Result(readings, show, tuple(show))


def picture(result: Result):
    """Disagreement against the size of a half, and what the start alone makes of 700."""
    started = float(torch.as_tensor(result.show["same digits, another start"]).mean())
    return figures.curves(
        SIZES,
        result.show["curves"],
        lines={"same 700, two starts": started},
        xlabel="digits in each half",
        ylabel="disagreement / σ²",
        logx=True,
        logy=True,
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 300},
    full={"seeds": 10, "steps": 2000},
    picture=picture,
)
