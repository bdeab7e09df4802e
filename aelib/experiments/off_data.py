"""What does training do in the directions in which no data vary?"""

from __future__ import annotations

import torch
from torch import Tensor

from aelib import data, fit, measures, models, objectives
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.2",
    statement="Training copies the data's directions; in the others a linear net stays where it "
    "started, and so does a deep net's copy coefficient.",
    source="the document, section 2; this chapter's equation off the data",
    reading="|κ⊥ − α|",
    measure="largest distance of κ⊥ from the dial's α, over α = 0, ¼, ½, ¾, 1",
    supported={
        "|κ⊥ − α|": below(0.02),
        "deep, He's start, |κ⊥|": below(0.05),
        "κ∥ at α = 0": above(0.1),
        "linear, gain 0.1, τ⊥": below(0.05),
        "linear, gain 1, τ⊥": above(0.7),
        "noisy training, κ⊥ at α = 1": below(0.5),
    },
    controls=("noisy training, κ⊥ at α = 1", "untrained, κ∥ at α = 0"),
    also=("deep, He's start, τ⊥ before", "deep, He's start, τ⊥ after"),
    fails_when="The training data, or noise added to it, reaches into those directions.",
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


def run(seeds: int, steps: int) -> Result:
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
        fit(nets, train, steps=1000, lr=2e-3, label=f"gain {gain}")
        return nets

    def kappa(nets, directions: Tensor) -> Tensor:
        return measures.copy_coefficient(nets, test, sigma=0.1, directions=directions).mean(1)

    def tau(nets) -> Tensor:
        return measures.transmission(nets, test, sigma=0.1, directions=outside).mean(1)

    dialled = [dial(alpha) for alpha in ALPHAS]
    across = torch.stack([kappa(nets, outside) for nets in dialled], 1)  # (seeds, alphas)
    along = torch.stack([kappa(nets, inside) for nets in dialled], 1)
    subtracting = dial(1.0, steps=800, objective=objectives.denoise(data.gaussian(0.2)))
    before, after = (dial(0.0, steps=count, init="he") for count in (0, steps))
    layers = {gain: linear(gain) for gain in GAINS}
    passed = {gain: tau(nets) for gain, nets in layers.items()}
    removed = {
        gain: measures.denoising_gain(nets, test, data.gaussian(0.2)).mean(1)
        for gain, nets in layers.items()
    }
    missed = {gain: measures.unexplained_variance(nets, test) for gain, nets in layers.items()}
    readings = {
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
    show = {"κ⊥": across, "κ∥": along, "passed": passed, "removed": removed, "missed": missed}
    return Result(readings, show)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 300},
    full={"seeds": 10, "steps": 3000},
)
