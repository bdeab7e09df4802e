"""What does training do in the directions in which no data vary?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aelib import data, figures, fit, measures, models, objectives
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.wide_layers import by_direction

CLAIM = Claim(
    id="2.2",
    statement="Training copies the data's directions; in the others a linear net stays where it "
    "started, and so does what a deep net copies in place along each of them.",
    source="Badger's page, section 2; this chapter's equation off the data",
    reading="entries − α",
    measure="root mean square over directions off the data and images of κ's distance from the "
    "dial's α; largest over α = 0, ¼, ½, ¾, 1",
    supported={
        "entries − α": below(0.05),
        "|κ⊥ − α|": below(0.02),
        "κ∥ at α = 0": above(0.1),
        "linear, gain 0.1, τ⊥": below(0.05),
        "linear, gain 1, τ⊥": above(0.7),
        "noisy training, κ⊥ at α = 1": below(0.5),
        "deep, He's start, entries moved": below(0.05),
    },
    conditional={
        "entries − α": below(0.05),
        "|κ⊥ − α|": below(0.02),
        "κ∥ at α = 0": above(0.1),
        "linear, gain 0.1, τ⊥": below(0.05),
        "linear, gain 1, τ⊥": above(0.7),
        "noisy training, κ⊥ at α = 1": below(0.5),
    },
    condition="the MLP starts small, as PyTorch's does; from He's start training moves the single "
    "entries, up and down, and only their mean κ⊥ stays near 0",
    controls=("noisy training, κ⊥ at α = 1", "untrained, κ∥ at α = 0"),
    also=(
        "deep, He's start, |κ⊥|",
        "deep, He's start, entries before",
        "deep, He's start, τ⊥ before",
        "deep, He's start, τ⊥ after",
    ),
    fails_when="The training data, or noise added to it, reaches into those directions; or the "
    "start is large.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

SHAPE = (1, 8, 8)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
GAINS = (0.1, 0.3, 1.0)


def flat_photos(directions: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centred 8 × 8 photographs in a few directions: train, test, directions in, out."""
    photos = data.load("photos", size=8, channels=1)
    mean, basis, _ = measures.principal_directions(photos.train)
    train, test = (
        measures.pca_reconstruct(images, mean, basis[:directions]) - mean.view(photos.shape)
        for images in (photos.train, photos.test)
    )
    return train, test, basis[:directions], basis[directions:]


def run(seeds: int, steps: int, others: int = 1000) -> Result:
    """The identity dial on deep nets, the gain dial on linear ones, and their controls."""
    train, test, inside, outside = flat_photos()

    def dial(alpha: float, steps: int = steps, init: str = "torch", **options):
        nets = models.replicate(
            lambda: models.MLPAutoencoder(SHAPE, width=128, depth=5, skip=alpha, init=init), seeds
        )
        if steps:
            fit(nets, train, steps=steps, label=f"dial at {alpha}", **options)
        return nets

    def linear(gain: float):
        nets = models.replicate(lambda: models.LinearAutoencoder(SHAPE, gain=gain), seeds)
        fit(nets, train, steps=others, lr=2e-3, label=f"gain {gain}")
        return nets

    def kappa(nets, directions: Tensor) -> Tensor:
        return measures.copy_coefficient(nets, test, sigma=0.1, directions=directions).mean(1)

    def tau(nets) -> Tensor:
        return measures.transmission(nets, test, sigma=0.1, directions=outside).mean(1)

    def entries(nets) -> Tensor:
        """κ at each image along each direction off the data, (seeds, n, directions)."""
        return torch.stack([by_direction(net, test[:20], outside) for net in nets])

    def rms(values: Tensor) -> Tensor:
        return values.square().mean((1, 2)).sqrt()

    dialled = [dial(alpha) for alpha in ALPHAS]
    across = torch.stack([kappa(nets, outside) for nets in dialled], 1)  # (seeds, alphas)
    along = torch.stack([kappa(nets, inside) for nets in dialled], 1)
    subtracting = dial(1.0, steps=others, objective=objectives.denoise(data.gaussian(0.2)))
    before, after = (dial(0.0, steps=count, init="he") for count in (0, steps))
    spread = torch.stack(
        [rms(entries(nets) - alpha) for nets, alpha in zip(dialled, ALPHAS, strict=True)], 1
    )
    layers = {gain: linear(gain) for gain in GAINS}
    passed = {gain: tau(nets) for gain, nets in layers.items()}
    removed = {
        gain: measures.denoising_gain(nets, test, data.gaussian(0.2)).mean(1)
        for gain, nets in layers.items()
    }
    missed = {gain: measures.unexplained_variance(nets, test) for gain, nets in layers.items()}
    readings = {
        "entries − α": spread.amax(1),
        "deep, He's start, entries moved": rms(entries(after) - entries(before)),
        "deep, He's start, entries before": rms(entries(before)),
        "|κ⊥ − α|": (across - torch.tensor(ALPHAS)).abs().amax(1),
        "κ∥ at α = 0": along[:, 0],
        "linear, gain 0.1, τ⊥": passed[0.1],
        "linear, gain 1, τ⊥": passed[1.0],
        "noisy training, κ⊥ at α = 1": kappa(subtracting, outside),
        "deep, He's start, |κ⊥|": kappa(after, outside).abs(),
        "deep, He's start, τ⊥ before": tau(before),
        "deep, He's start, τ⊥ after": tau(after),
        "untrained, κ∥ at α = 0": kappa(dial(0.0, steps=0), inside),
    }
    show = {
        "κ⊥": across,
        "κ∥": along,
        "entries": spread,
        "passed": passed,
        "removed": removed,
        "missed": missed,
    }
    return Result(readings, show, keep=tuple(show))


def picture(result: Result):
    """The identity dial, and the gain dial."""
    figure, (left, right) = figures.canvas(1, 2)
    figures.curves(
        ALPHAS,
        {"off the data κ⊥": result.show["κ⊥"], "along it κ∥": result.show["κ∥"]},
        exact={"κ = α": ALPHAS},
        xlabel="identity dial α",
        ylabel="copy coefficient",
        ax=left,
    )
    passed = [np.asarray(result.show["passed"][gain]) for gain in GAINS]
    figures.curves(
        GAINS,
        {"off-data noise\npassed, τ⊥": np.stack(passed, 1)},
        exact={"gain²": [gain**2 for gain in GAINS]},
        xlabel="gain of the start",
        ylabel="transmission off the data",
        logx=True,
        logy=True,
        ax=right,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 200, "others": 500},
    full={"seeds": 10, "steps": 3000},
    picture=picture,
)
