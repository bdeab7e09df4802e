"""Is a contractive penalty the denoising loss at small noise?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, objectives, random
from aelib.claims import Claim, below, between
from aelib.experiments.copier_and_denoiser import gains
from aelib.experiments.experiment import Experiment
from aelib.experiments.family import dense
from aelib.experiments.judge import digits
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAINT, SMALL, LARGE = 0.05, 0.1, 0.8
SIGMAS = (0.05, 0.1, 0.2, 0.4, 0.8)
LINEAR = 0.2  # the noise of the linear case

CLAIM = Claim(
    id="6.6",
    statement="The contractive penalty at small noise is the denoising loss: the losses agree, and "
    "nets trained by either denoise alike.",
    source="Alain and Bengio 2014; chapter 6",
    reading="loss / penalty, σ = 0.05",
    measure="what noise of deviation 0.05 adds to a copier's loss, over σ²‖J‖²/d; 28 × 28 digits",
    supported={
        "loss / penalty, σ = 0.05": between(0.9, 1.1),
        "gain, contractive − denoiser, σ = 0.1": between(-0.5, 0.5),
        "linear net, contractive, from the closed form": below(0.02),
    },
    conditional={"loss / penalty, σ = 0.05": between(0.9, 1.1)},
    condition="the losses agree; nets trained by them were not shown to denoise alike",
    controls=(
        "gain, plain − denoiser, σ = 0.1",
        "linear net, denoiser, from the closed form",
        "linear net, plain, from the closed form",
    ),
    also=(
        "loss / penalty, σ = 0.8",
        "gain, contractive − denoiser, σ = 0.8",
        "gain, plain − denoiser, σ = 0.8",
        "penalty on the code: its size / plain",
        "penalty on the code: gain − plain, σ = 0.8",
    ),
    ratios=("loss / penalty, σ = 0.05", "loss / penalty, σ = 0.8"),
    fails_when="The noise is so strong that the net bends within its reach.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)


@torch.no_grad()
def loss_over_penalty(net: nn.Module, images: Tensor, sigma: float, draws: int) -> float:
    """What noise adds to the copying loss, over what the penalty says: 1 where they agree.

    Noise comes with its opposite, so that what it adds on one side and takes on the other is out.
    """
    added = penalty = 0.0
    with random.seeded(0):
        for _ in range(draws):
            noise = sigma * random.normal(images.shape, images)
            sides = [(net(images + sign * noise) - images).square().mean() for sign in (1, -1)]
            error, slope = objectives.contractive_terms(net, images)
            added += float((sides[0] + sides[1]) / 2 - error.mean())
            penalty += float(sigma**2 * slope.mean())
    return added / penalty


def trained(
    images: Tensor, objective: objectives.Objective, seeds: int, steps: int, label: str
) -> list[nn.Module]:
    """Nets of the family's kind, all from the same starts and with the same batches."""
    nets: list[nn.Module] = models.replicate(lambda: dense(images.shape[1:]), seeds)
    options = {"objective": objective, "steps": steps, "lr": 2e-3, "schedule": "cosine"}
    fit(nets, images, label=label, **options)
    return nets


def linear(images: Tensor, seeds: int, steps: int, sigma: float = LINEAR) -> dict[str, np.ndarray]:
    """How far matrices trained by each loss end from W* = C (C + σ²)⁻¹: mean square, of W*'s."""
    flat = images.flatten(1).double()
    second = flat.T @ flat / len(flat)
    best = second @ torch.linalg.inv(second + sigma**2 * torch.eye(len(second)).double())
    target = flat @ best
    found = {}
    for name, objective in {
        "plain": objectives.copy,
        "denoiser": objectives.denoise(data.gaussian(sigma)),
        "contractive": objectives.contractive(sigma**2),
    }.items():
        nets = models.replicate(lambda: models.LinearAutoencoder(images.shape[1:]), seeds)
        fit(nets, images, objective=objective, steps=steps, lr=1e-2, schedule="cosine", label=name)
        answers = measures.outputs(nets, images).flatten(2).double()
        gap = (answers - target).square().sum((1, 2)) / target.square().sum()
        found[f"linear net, {name}, from the closed form"] = gap.numpy()
    return found


def run(
    seeds: int,
    steps: int,
    draws: int,
    train: int = 4000,
    test: int = 500,
    sigmas: Sequence[float] = SIGMAS,
) -> Result:
    """Copiers, denoisers and contractive nets at each noise; linear ones at one."""
    images = digits().take(train)
    clean = images.test[:test]
    plain = trained(images.train, objectives.copy, seeds, steps, "plain")
    ratios, gain = {}, {}
    for sigma in sigmas:
        noise = data.gaussian(sigma)
        nets = {
            "plain": plain,
            "denoiser": trained(images.train, objectives.denoise(noise), seeds, steps, "denoiser"),
            "contractive": trained(
                images.train, objectives.contractive(sigma**2), seeds, steps, "contractive"
            ),
        }
        gain[sigma] = {name: gains(group, clean, noise).numpy() for name, group in nets.items()}
        ratios[sigma] = np.array([loss_over_penalty(net, clean, sigma, draws) for net in plain])
    on_code = objectives.contractive(LARGE**2, part="code")
    coded = trained(images.train, on_code, seeds, steps, "penalty on the code")

    def of_code(nets: list[nn.Module]) -> np.ndarray:
        with random.seeded(0), torch.no_grad():
            terms = [objectives.contractive_terms(net, clean, "code") for net in nets]
        return np.array([float(term.slope.mean()) for term in terms])

    def ahead(name: str, other: str, sigma: float) -> np.ndarray:
        return gain[sigma][name] - gain[sigma][other]

    readings = {
        "loss / penalty, σ = 0.05": ratios[FAINT],
        "loss / penalty, σ = 0.8": ratios[LARGE],
        "gain, contractive − denoiser, σ = 0.1": ahead("contractive", "denoiser", SMALL),
        "gain, plain − denoiser, σ = 0.1": ahead("plain", "denoiser", SMALL),
        "gain, contractive − denoiser, σ = 0.8": ahead("contractive", "denoiser", LARGE),
        "gain, plain − denoiser, σ = 0.8": ahead("plain", "denoiser", LARGE),
        "penalty on the code: its size / plain": of_code(coded) / of_code(plain),
        "penalty on the code: gain − plain, σ = 0.8": gains(
            coded, clean, data.gaussian(LARGE)
        ).numpy()
        - gain[LARGE]["plain"],
        **linear(data.load("digits").train, seeds, steps),
    }
    names = ("plain", "denoiser", "contractive")
    show = {
        "sigmas": np.array(sigmas),
        "ratios": np.stack([ratios[sigma] for sigma in sigmas], 1),
        "gains": {name: np.stack([gain[s][name] for s in sigmas], 1) for name in names},
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """The two losses' ratio, and the gains of nets trained by either, by noise."""
    sigmas = np.round(result.show["sigmas"], 3)  # they are kept in half precision
    ratios = result.show["ratios"]
    figure, (left, right) = figures.canvas(1, 2, height=3.8)
    look: dict = {"logx": True, "xlabel": "noise σ", "legend": "above"}
    figures.curves(
        sigmas,
        {"plain copiers": ratios},
        lines={"equal": 1.0},
        ylabel="added by noise / penalty",
        ax=left,
        **look,
    )
    figures.curves(sigmas, result.show["gains"], ylabel="gain (dB)", ax=right, **look)
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "seeds": 3,
        "steps": 8,
        "draws": 2,
        "train": 200,
        "test": 50,
        "sigmas": [FAINT, SMALL, LARGE],
    },
    full={"seeds": 6, "steps": 1500, "draws": 8},
    picture=picture,
)
