"""Does a U-Net with attention generate digits, and which of its parts does that need?"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, fit, inversion, measures, models, objectives, random, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import once
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import confidence, digits, entropy, frechet, reference
from aelib.experiments.keeping import Result
from aelib.experiments.layers_read_back import leftover, medians, within
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENERATES = Claim(
    id="4.6",
    statement="A U-Net with attention, trained here as a diffusion model, generates digits.",
    source="Badger's page, section 4; Ho et al. 2020",
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
    also=(("trained on", "confidence"), ("real, held out", "confidence")),
    ratios=(("trained on", "nearest / second"),),
    fails_when="Training is stopped early: then the whole net scores hardly better than a "
    "Gaussian, and without skips it scores worse.",
)
PARTS_MATTER = Claim(
    id="4.7",
    statement="Of the U-Net's parts, skips and attention both matter for its samples.",
    source="Badger's page, section 4",
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
    condition="Of skips only: attention makes no difference at this size.",
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

NAMES = {  # what the figures show, and call them
    "real, held out": "real, held out",
    "trained on": "whole, trained on",
    "whole": "whole",
    "no attention": "no attention",
    "no skips": "no skips",
    "Gaussian fit": "Gaussian fit",
    "training images + noise": "training + noise",
}
NODES = ["encoder.1", "mid", "decoder.0", "output"]
TIMES = {"little noise": 20, "much noise": 120}
VARIANTS = ("trained on", "whole", "no skips")


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


def controls(seed: int, n: int = N) -> dict[str, Tensor]:
    """Sets of images that no net has drawn."""
    train = digits().train
    mean, directions, variances = measures.principal_directions(train)
    source = random.generator(seed)

    def white(*shape: int) -> Tensor:
        return random.normal(shape, train, source)

    gaussian = mean + (white(n, 64) * variances.clamp_min(0).sqrt()) @ directions
    chosen = train[torch.randperm(len(train), generator=source)[:n]]
    sets = {
        "real, held out": digits().test,
        "Gaussian fit": gaussian.view(-1, *digits().shape),
        "white noise": random.uniform((n, *digits().shape), train, source),
        "mean image": train.mean(0) + 0.01 * white(n, *digits().shape),
        "training images + noise": chosen + 0.2 * white(n, *digits().shape),
    }
    return {name: images.clamp(0, 1) for name, images in sets.items()}


@once
def trained(seeds: int, steps: int, more: int) -> dict[str, list[nn.Module]]:
    """Each variant after the shorter training, and the whole net after the longer one."""
    nets = {name: diffusion_nets(seeds, **options) for name, options in PARTS.items()}
    for group in nets.values():
        train(group, steps, batch_size=32)
    nets["trained on"] = copy.deepcopy(nets["whole"])
    train(nets["trained on"], more, batch_size=64, seed=1)
    return nets


def at_time(time: int) -> Callable[[nn.Module, Tensor], Tensor]:
    """How to call a diffusion model at one time, on images in [0, 1]."""

    def forward(model: nn.Module, images: Tensor) -> Tensor:
        times = torch.full((len(images),), time, device=images.device)
        return model(objectives.to_model(images), times)

    return forward


def states(time: int, n: int) -> Tensor:
    """What the model sees at a time, moved to [0, 1]."""
    noise = random.normal((n, *digits().shape), digits().test, random.generator(0))
    noisy = SCHEDULE.noisy(digits().test[:n], torch.full((n,), time), noise)
    return objectives.to_images(noisy).clamp(0, 1)


def inside(group: Sequence[nn.Module], steps: int) -> dict[str, dict[str, Tensor]]:
    """Layers of diffusion models read back at two times, (seeds, nodes) by time and quantity."""
    result: dict[str, dict[str, Tensor]] = {}
    for words, time in TIMES.items():
        runs = [
            inversion.invert(
                model,
                states(time, 2),
                NODES,
                seeds=[seed],
                steps=steps,
                until=0.01,  # of m_r: by then f has settled
                forward=at_time(time),
            )
            for seed, model in enumerate(group)
        ]
        result[words] = {
            name: torch.stack([medians(runs, node, measure) for node in NODES], 1)
            for name, measure in (("leftover", leftover), ("m_g/m_r", within))
        }
    return result


def shown(nets: dict[str, list[nn.Module]]) -> dict[str, Tensor]:
    """Samples of the first nets, what stands beside them, and a walk of the sampler."""
    train = digits().train
    drawn, walk = draw(nets["trained on"][0], 12, seed=5), []
    sampling.sample(nets["trained on"][0], SCHEDULE, 8, steps=12, seed=5, callback=walk.append)
    images = {
        "drawn": drawn,
        "nearest": train[measures.nearest_training(drawn, train).indices],
        "without skips": draw(nets["no skips"][0], 12, seed=5),
        "Gaussian": controls(5)["Gaussian fit"][:12],
        "real": digits().test[:12],
        "walk": torch.stack([step["images"] for step in walk]),
        "guesses": torch.stack([step["denoised"] for step in walk]),
    }
    return {name: on_screen(each) for name, each in images.items()}


def run(seeds: int, steps: int, more: int, draws: int, invert_steps: int, n: int = N) -> Result:
    """Scores of each variant's samples, a mean over draws, and of the controls."""
    nets = trained(seeds, steps, more)
    readings = {}

    def note(name: str, sets: Tensor) -> None:  # (draws, seeds, n, …)
        for quantity, values in scores(sets).items():
            readings[name, quantity] = values.mean(0)

    for name, group in nets.items():
        drawn = [
            torch.stack([draw(model, n, 100 * number + seed) for seed, model in enumerate(group)])
            for number in range(draws)
        ]
        note(name, torch.stack(drawn))
    fakes = [controls(seed, n) for seed in range(seeds)]
    for name in fakes[0]:
        note(name, torch.stack([sets[name] for sets in fakes])[None])
    readings["floor", "Fréchet"] = measures.frechet_floor(reference(), n, draws=seeds)
    whole = readings["whole", "Fréchet"]
    readings |= {
        "without skips − whole": readings["no skips", "Fréchet"] - whole,
        "without attention − whole": readings["no attention", "Fréchet"] - whole,
        "whole − whole, other seed": whole - whole.roll(1),
    }
    show = {
        "pictures": shown(nets),
        "scores": {
            quantity: {name: readings[name, quantity] for name in NAMES}
            for quantity in ("Fréchet", "nearest / second")
        },
        "floor": float(torch.as_tensor(readings["floor", "Fréchet"]).mean()),
        "models": nets,
    }
    if invert_steps:
        show["inside"] = {name: inside(nets[name], invert_steps) for name in VARIANTS}
    return Result(readings, show, [name for name in show if name != "models"])


def picture(result: Result) -> Figure:
    """Fréchet distance, and how much nearer the nearest training image is than the second."""
    figure, (left, right) = figures.canvas(1, 2)
    scores, fakes = result.show["scores"], ("real, held out", "Gaussian fit", "training + noise")
    figures.bars(
        {words: scores["Fréchet"][name] for name, words in NAMES.items()},
        xlabel="Fréchet distance",
        lines={"floor": float(result.show["floor"])},
        controls=fakes,
        number=".0f",
        ax=left,
    )
    figures.bars(
        {words: scores["nearest / second"][name] for name, words in NAMES.items()},
        xlabel="nearest / second nearest",
        controls=fakes,
        ax=right,
    )
    right.set_yticklabels([])
    return figure


def samples_picture(result: Result) -> Figure:
    """Digits drawn, the nearest training images, without skips, from a Gaussian, and real."""
    rows = ("drawn", "nearest", "without skips", "Gaussian", "real")
    return figures.grid(
        [result.show["pictures"][name] for name in rows],
        labels=[
            "drawn by\nthe U-Net",
            "nearest\ntraining",
            "without\nskips",
            "Gaussian\nfit",
            "real",
        ],
    )


def walk_picture(result: Result, step: int) -> Figure:
    """The sampler's images after a step of its walk, and the net's guess then."""
    pictures = result.show["pictures"]
    return figures.grid(
        [pictures["walk"][step], pictures["guesses"][step]],
        labels=["the state", "the net's\nguess"],
        cell=0.8,
    )


def inside_picture(result: Result) -> Figure:
    """Layers of the diffusion models read back, with little noise and with much."""
    figure, axes = figures.canvas(2, 2, height=6.2)
    for place, (words, top) in enumerate(itertools.product(TIMES, (True, False))):
        ax = axes[place // 2 + 2 * (place % 2)]
        quantity = "leftover" if top else "m_g/m_r"
        figures.curves(
            range(len(NODES)),
            {NAMES[name]: result.show["inside"][name][words][quantity] for name in VARIANTS},
            lines={"the start": 1.0} if top else {"m_r": 1.0},
            xlabel="",
            ylabel="leftover f" if top else "m_g / m_r",
            logy=not top,
            ylim=(-0.05, 1.4) if top else (3e-3, 10),
            title=words if top else None,
            legend="above" if top else "none",
            ax=ax,
        )
        ax.set_xticks(range(len(NODES)), NODES, rotation=40, ha="right")
    return figure


EXPERIMENT = Experiment(
    claims=(GENERATES, PARTS_MATTER),
    run=run,
    short={"seeds": 3, "steps": 2, "more": 2, "draws": 1, "invert_steps": 0, "n": 40},
    full={"seeds": 6, "steps": 300, "more": 500, "draws": 2, "invert_steps": 40},
    picture=picture,
)
