"""Does the loop of Badger's page draw digits with the kind of net that the page ran it with?

The page: a₀ = 𝒩(0.7, 0.2), then aₙ₊₁ = c·O(aₙ) + d·𝒩(0.7, 0.2) with c = n/N and d = 1 − n/N, for
N = 30 and 200, and what is shown is O(aₙ); the net is a U-Net that has learned to copy, and "batch
norm on this page is not switched to evaluation mode". "This works fairly well", it says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random, runtime, sampling
from aelib.claims import Claim, above, below, label
from aelib.experiments.batch_statistics import MEAN, SIGMA, on_batch
from aelib.experiments.copy_and_noise import COMPONENTS, of_pixels
from aelib.experiments.digit_diffusion import N, digits
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import entropy, frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.13",
    statement="The loop of Badger's page draws samples with a convolutional copier on the batch's "
    "statistics.",
    source="Badger's page, “Diffusion with no Diffusion”",
    reading=("batch statistics ÷ Gaussian", "short loop"),
    measure="Fréchet distance of 500 drawn in 30 steps, the batch's statistics, over that of a "
    "Gaussian in pixels",
    supported={
        ("batch statistics ÷ Gaussian", "short loop"): below(1),
        ("batch statistics ÷ Gaussian", "long loop"): below(1),
        ("batch ÷ running statistics", "short loop"): below(1),
    },
    conditional={
        ("batch statistics ÷ Gaussian", "short loop"): below(1),
        ("batch ÷ running statistics", "short loop"): below(1),
    },
    condition="In 30 steps; in 200 it was not shown.",
    refuted={
        ("batch statistics ÷ Gaussian", "short loop"): above(1),
        ("batch statistics ÷ Gaussian", "long loop"): above(1),
    },
    controls=(
        ("Gaussian in pixels", "Fréchet"),
        ("mixture in pixels", "Fréchet"),
        ("noise", "Fréchet"),
        ("untrained, batch statistics", "short loop"),
    ),
    also=(
        ("batch statistics", "short loop"),
        ("batch statistics", "long loop"),
        ("running statistics", "short loop"),
        ("running statistics", "long loop"),
        ("our loop, batch statistics", "short loop"),
        ("our loop, running statistics", "short loop"),
        ("batch statistics, class entropy", "short loop"),
    ),
    ratios=(
        ("batch statistics ÷ Gaussian", "short loop"),
        ("batch statistics ÷ Gaussian", "long loop"),
        ("batch ÷ running statistics", "short loop"),
    ),
    fails_when="The net has only learned to copy: a Gaussian fitted to the pixels does better.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

LOOPS = ("short loop", "long loop")  # on the page of 30 and 200 steps
WAYS = ("batch statistics", "running statistics", "untrained, batch statistics")

Map = Callable[[Tensor], Tensor]


def unet(shape: tuple[int, int, int]) -> nn.Module:
    """The page's kind of net: a U-Net with batch normalisation and doubled skips, 16 wide."""
    return models.UNet(shape, width=16, downs=2, skips="double", norm="batch")


def copiers(images: data.Images, seeds: int, steps: int) -> list[nn.Module]:
    """Copiers of these images."""
    nets = models.replicate(lambda: unet(images.shape), seeds)
    fit(nets, images.train, steps=steps, batch_size=32, schedule="cosine", label="U-Nets")
    return nets


def published_loop(answer: Map, steps: int, n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """The page's loop from pure noise: the last of `steps` copies, (n, channels, height, width)."""
    source = random.generator(seed)

    def noise() -> Tensor:
        return MEAN + SIGMA * random.normal((n, *shape), torch.empty(()), source)

    a = noise()
    for step in range(1, steps):
        c = step / steps
        a = c * answer(a) + (1 - c) * noise()
    return answer(a)


def our_loop(answer: Map, steps: int, n: int, images: data.Images, seed: int) -> Tensor:
    """x ← O(x) + σe, σ falling from 1 to 0.05, around the mean image: the chapter's own loop."""
    return sampling.diffuse_without_diffusion(
        answer, n, torch.linspace(1, 0.05, steps), shape=images.shape,
        center=images.train.mean(0), clamp=(0, 1), seed=seed,
    )  # fmt: skip


def on_device(net: nn.Module, answer: Callable[[nn.Module], Map]) -> Map:
    """The map that `answer` makes of a net, computed on a GPU where there is one."""
    device = runtime.device()
    there = answer(net.to(device))
    return lambda images: there(images.to(device)).cpu()


def run(
    seeds: int,
    steps: int,
    lengths: list[int],
    draws: int,
    n: int = N,
    components: int = COMPONENTS,
) -> Result:
    """The page's loop with each net in both modes, and ours; each distance a mean over draws.

    The pictures drawn together are one batch; `lengths` are the steps of the short loop and of the
    long one.
    """
    images = digits()
    nets = copiers(images, seeds, steps)
    bare = models.replicate(lambda: unet(images.shape), seeds)
    readings: dict[tuple, list[float]] = {}
    drawn = {}

    def note(name: str, loop: str, make: Callable[[int], Tensor], seed: int) -> None:
        sets = torch.stack([make(seed + 100 * draw) for draw in range(draws)])
        readings.setdefault((name, loop), []).append(float(frechet(sets).mean()))
        what = f"{name}, class entropy"
        readings.setdefault((what, loop), []).append(float(entropy(sets).mean()))
        if seed == 0:
            drawn[name, loop] = on_screen(sets[0, :9])

    for seed, (net, untrained) in enumerate(zip(nets, bare, strict=True)):
        maps = {
            "batch statistics": on_device(net, lambda net: on_batch(net, n)),
            "running statistics": on_device(net, lambda net: partial(measures.outputs, net.eval())),
            "untrained, batch statistics": on_device(untrained, lambda net: on_batch(net, n)),
        }
        for name, answer in maps.items():
            for loop, length in zip(LOOPS, lengths, strict=True):
                if name != WAYS[2] or loop == LOOPS[0]:
                    note(name, loop, partial(published_loop, answer, length, n, images.shape), seed)
        for name in WAYS[:2]:
            ours = partial(our_loop, maps[name], lengths[0], n, images)
            note(f"our loop, {name}", LOOPS[0], ours, seed)
        net.cpu()
    gaussian, mixture = (of_pixels(number, seeds, n) for number in (1, components))
    white = [
        random.normal((n, *images.shape), images.train, random.generator(seed))
        for seed in range(seeds)
    ]
    both = {name: torch.tensor([readings[name, loop] for loop in LOOPS]) for name in WAYS[:2]}
    table = {
        **readings,
        **{
            ("batch statistics ÷ Gaussian", loop): both["batch statistics"][i] / gaussian.mean()
            for i, loop in enumerate(LOOPS)
        },
        ("batch ÷ running statistics", "short loop"): both["batch statistics"][0]
        / both["running statistics"][0],
        ("Gaussian in pixels", "Fréchet"): gaussian,
        ("mixture in pixels", "Fréchet"): mixture,
        ("noise", "Fréchet"): frechet(MEAN + SIGMA * torch.stack(white)),
    }
    show = {
        "drawn": drawn,
        "Gaussian": float(gaussian.mean()),
        "mixture": float(mixture.mean()),
        "error": measures.clean_error(nets, images.test[:n]).mean(1),
    }
    named = {label(key): values for key, values in table.items()}  # as a kept run has them
    return Result(named, {**show, "models": nets}, tuple(show))


def loop_picture(result: Result) -> Figure:
    """Nine pictures from the page's loops and from ours, in both modes."""
    rows = [(name, loop) for name in WAYS[:2] for loop in LOOPS]
    rows += [(f"our loop, {name}", LOOPS[0]) for name in WAYS[:2]]
    return figures.grid(
        [result.show["drawn"][row] for row in rows],
        labels=[
            name.replace(", ", ",\n") if "our" in name else f"{name},\n{loop}"
            for name, loop in rows
        ],
    )


def picture(result: Result) -> Figure:
    """Fréchet distances of the page's loop, by mode and length, beside what needs no net."""
    figure, (ax,) = figures.canvas(1, 1)
    values = {f"{name}, {loop}": result[f"{name}, {loop}"] for name in WAYS[:2] for loop in LOOPS}
    values |= {
        name: result[f"{name}, Fréchet"]
        for name in ("noise", "Gaussian in pixels", "mixture in pixels")
    }
    figures.bars(
        values, xlabel="Fréchet distance", number=".0f", ax=ax,
        controls=("noise", "Gaussian in pixels", "mixture in pixels"),
    )  # fmt: skip
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 2, "lengths": [2, 3], "draws": 1, "n": 36, "components": 3},
    full={"seeds": 6, "steps": 1500, "lengths": [30, 200], "draws": 2},
    picture=picture,
)
