"""Does a U-Net with attention generate digits, and which of its parts does that need?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from aelib import fit, measures, models, objectives, random, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import confidence, digits, entropy, frechet, reference
from aelib.experiments.keeping import Result

GENERATES = Claim(
    id="4.6",
    statement="A U-Net with attention, trained here as a diffusion model, generates digits.",
    source="the document, section 4; Ho et al. 2020",
    reading=("trained on", "Fréchet"),
    measure="Fréchet distance of 360 samples from the training images",
    unit="squared feature units",
    supported={
        ("trained on", "Fréchet"): below(30.0),
        ("Gaussian fit", "Fréchet"): above(40.0),
        ("trained on", "nearest / second"): above(0.85),
        ("trained on", "entropy"): above(2.1),
    },
    controls=(
        ("floor", "Fréchet"),
        ("Gaussian fit", "Fréchet"),
        ("white noise", "Fréchet"),
        ("mean image", "Fréchet"),
        ("real, held out", "nearest / second"),
        ("training images + noise", "Fréchet"),
        ("training images + noise", "nearest / second"),
        ("white noise", "confidence"),
        ("mean image", "confidence"),
        ("mean image", "entropy"),
    ),
    also=(("trained on", "confidence"),),
    fails_when="Training is stopped early, with the skips or without: then even a Gaussian scores "
    "better.",
)
PARTS_MATTER = Claim(
    id="4.7",
    statement="Of the U-Net's parts, skips and attention both matter for its samples.",
    source="the document, section 4",
    reading="without skips − whole",
    measure="Fréchet distance without skips, less that of the whole net, same seed and steps",
    unit="squared feature units",
    supported={
        "without skips − whole": above(5.0),
        "without attention − whole": above(5.0),
    },
    conditional={"without skips − whole": above(5.0)},
    controls=("whole − whole, other seed", ("Gaussian fit", "Fréchet")),
    also=(("whole", "Fréchet"), ("trained on", "Fréchet")),
    fails_when="The images are small: at 8 × 8 every place is a few convolutions away from every "
    "other, and attention has little to add. Whether it matters for larger images is not measured "
    "here.",
)

N = 360  # samples, as many as there are test digits
SCHEDULE = objectives.cosine_schedule(200)
PARTS: dict[str, dict] = {
    "whole": {},
    "no attention": {"attention": ()},
    "no skips": {"skips": False},
}


def train(nets: Sequence[nn.Module], steps: int, batch_size: int, seed: int = 0) -> None:
    """Train diffusion models of the digits, the step length falling to zero."""
    fit(
        nets,
        digits().train,
        objective=objectives.diffusion(SCHEDULE),
        steps=steps,
        batch_size=batch_size,
        lr=4e-3,
        schedule="cosine",
        seed=seed,
        label="U-Net",
    )


def diffusion_nets(seeds: int, **options) -> list[nn.Module]:
    """Small diffusion U-Nets, one a seed."""
    options = {"width": 16, "steps": SCHEDULE.steps, **options}
    return models.replicate(lambda: models.DiffusionUNet(digits().shape, **options), seeds)


def draw(model: nn.Module, n: int = N, seed: int = 0) -> Tensor:
    """`n` digits from a model in 25 random steps, clipped to grey levels."""
    return sampling.sample(model, SCHEDULE, n, steps=25, eta=1.0, seed=seed).clamp(0, 1)


def scores(images: Tensor) -> dict[str, Tensor]:
    """All we ask of sets of images, (sets, n, channels, height, width); none of it stands alone."""
    train = digits().train.flatten(1)
    two = torch.cdist(images.flatten(-3), train).topk(2, largest=False).values
    return {
        "Fréchet": frechet(images),
        "nearest": two[..., 0].mean(-1),
        "nearest / second": (two[..., 0] / two[..., 1]).mean(-1),
        "confidence": confidence(images),
        "entropy": entropy(images),
    }


def controls(seed: int) -> dict[str, Tensor]:
    """Sets of images that no net has drawn."""
    train = digits().train
    mean, directions, variances = measures.principal_directions(train)
    source = random.generator(seed)

    def white(*shape: int) -> Tensor:
        return random.normal(shape, train, source)

    gaussian = mean + (white(N, 64) * variances.clamp_min(0).sqrt()) @ directions
    chosen = train[torch.randperm(len(train), generator=source)[:N]]
    sets = {
        "real, held out": digits().test,
        "Gaussian fit": gaussian.view(-1, *digits().shape),
        "white noise": random.uniform((N, *digits().shape), train, source),
        "mean image": train.mean(0) + 0.01 * white(N, *digits().shape),
        "training images + noise": chosen + 0.2 * white(N, *digits().shape),
    }
    return {name: images.clamp(0, 1) for name, images in sets.items()}


@cache
def trained(seeds: int, steps: int, more: int) -> dict[str, list[nn.Module]]:
    """Each variant after the shorter training, and the whole net after the longer one."""
    nets = {name: diffusion_nets(seeds, **options) for name, options in PARTS.items()}
    for group in nets.values():
        train(group, steps, batch_size=32)
    nets["trained on"] = copy.deepcopy(nets["whole"])
    train(nets["trained on"], more, batch_size=64, seed=1)
    return nets


def run(seeds: int, steps: int, more: int, draws: int) -> Result:
    """Scores of each variant's samples, a mean over draws, and of the controls."""
    nets = trained(seeds, steps, more)
    readings = {}

    def note(name: str, sets: Tensor) -> None:  # (draws, seeds, n, …)
        for quantity, values in scores(sets).items():
            readings[name, quantity] = values.mean(0)

    for name, group in nets.items():
        drawn = [
            torch.stack([draw(model, seed=100 * number + seed) for seed, model in enumerate(group)])
            for number in range(draws)
        ]
        note(name, torch.stack(drawn))
    fakes = [controls(seed) for seed in range(seeds)]
    for name in fakes[0]:
        note(name, torch.stack([sets[name] for sets in fakes])[None])
    readings["floor", "Fréchet"] = measures.frechet_floor(reference(), N, draws=seeds)
    whole = readings["whole", "Fréchet"]
    readings |= {
        "without skips − whole": readings["no skips", "Fréchet"] - whole,
        "without attention − whole": readings["no attention", "Fréchet"] - whole,
        "whole − whole, other seed": whole - whole.roll(1),
    }
    return Result(readings, {"models": nets})


EXPERIMENT = Experiment(
    claims=(GENERATES, PARTS_MATTER),
    run=run,
    short={"seeds": 3, "steps": 100, "more": 420, "draws": 1},
    full={"seeds": 3, "steps": 1000, "more": 1500, "draws": 8},
)
