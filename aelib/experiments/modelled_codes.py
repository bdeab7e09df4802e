"""Which code makes digits: the one that copies best, or the one that is easiest to model?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aelib import figures, fit, measures, models, objectives, random, runtime, sampling
from aelib.claims import Claim, above, below
from aelib.data.images import Images
from aelib.experiments.bottleneck_dial import DenseDenoiser
from aelib.experiments.digit_diffusion import (
    DIRECTIONS,
    SCHEDULE,
    SHAPE,
    TARGET,
    build,
    draw,
)
from aelib.experiments.digit_diffusion import digits as all_digits
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (8, 16, 32, 64)  # of the copiers' codes
BETA = 0.02  # twice the mean squared error of the copier with as large a code
OTHERS = ("variational, 32", "classifier's, 32", "untrained, 32")
CODES = (*(f"copier's, {size}" for size in SIZES), *OTHERS, "pixels")
WIDE, NARROW, EQUAL, FEATURES = "copier's, 64", "copier's, 16", "copier's, 32", OTHERS[1]
PAIRS = {"wide − narrow": (WIDE, NARROW), "classifier's − copier's": (FEATURES, EQUAL)}

CLAIM = Claim(
    id="6.5",
    statement="A code that is easy to model generates better than a code that copies better.",
    source="Rombach et al. 2022; Dieleman 2025; Zheng et al. 2025, arXiv 2510.11690",
    reading=("wide − narrow", "diffusion"),
    measure="Fréchet distance of 500 digits, by diffusion on the code of a copier of 28 × 28 "
    "digits: code of 64 less code of 16, all at one cost",
    unit="squared feature units",
    units="seeds, each with nets of its own",
    supported={
        ("wide − narrow", "copy error"): below(0),
        ("wide − narrow", "diffusion"): above(0),
        ("wide − narrow", "mixture"): above(0),
        ("classifier's − copier's", "copy error"): above(0),
        ("classifier's − copier's", "diffusion"): below(0),
    },
    conditional={
        ("wide − narrow", "copy error"): below(0),
        ("wide − narrow", "diffusion"): above(0),
    },
    condition="Of two copiers. It is not shown for a mixture as well, or a classifier's features, "
    "which copy worse, do not generate better than a copier's code of their size.",
    controls=(
        ("pixels", "diffusion"),
        ("pixels, U-Net", "diffusion"),
        ("pixels", "mixture"),
        ("untrained, 32", "diffusion"),
        "real, held out",
    ),
    also=(
        *((name, "diffusion") for name in (WIDE, NARROW, EQUAL, FEATURES)),
        *((name, "copies") for name in (WIDE, NARROW, FEATURES)),
        "cost of the U-Net's 3,000 steps / ours",
    ),
    fails_when="The model of the code is good enough for the wider code: all here are small, and "
    "trained as long as a reader waits.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)


class Named(nn.Module):
    """A copier's encoder and one number a class, to be trained to say which digit it is."""

    def __init__(self, copier: models.MLPAutoencoder, code: int, classes: int = 10):
        super().__init__()
        self.encoder, self.head = copier.encoder, nn.Linear(code, classes)

    def forward(self, images: Tensor) -> Tensor:
        """One number a class, (..., classes)."""
        return self.head(self.encoder(images.flatten(-3)))


class Pixels(nn.Module):
    """No code at all: pixels."""

    def encode(self, images: Tensor) -> Tensor:
        """(n, 784)."""
        return images.flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        """(n, 1, 28, 28)."""
        return code.unflatten(1, SHAPE)

    def forward(self, images: Tensor) -> Tensor:
        """The images."""
        return images


def copier(code: int, width: int) -> models.MLPAutoencoder:
    """A dense copier of the digits with a narrow code."""
    return models.MLPAutoencoder(SHAPE, width=width, depth=5, code=code)


def trained(name: str, images: Images, seeds: int, width: int, steps: int) -> list[Any]:
    """Nets with `encode` and `decode`, one a seed, for a name in `CODES`."""
    if name == "pixels":
        return [Pixels()] * seeds
    kind, size = name.split(", ")
    recipe = {"steps": steps, "schedule": "cosine", "lr": 2e-3, "label": name}
    if kind == "variational":
        vaes = models.replicate(
            lambda: models.VAE(SHAPE, width=width, depth=5, code=int(size)), seeds
        )
        fit(vaes, images.train, objective=objectives.variational(BETA), **recipe)
        return list(vaes)
    nets = models.replicate(lambda: copier(int(size), width), seeds)
    if kind == "classifier's":
        naming = [Named(each, int(size)) for each in nets]
        labels = images.train_labels
        half = {**recipe, "steps": steps // 2}  # the decoder's training is the other half
        fit(naming, images.train, labels=labels, objective=objectives.classify, **half)
        recipe = half
    if kind in ("classifier's", "untrained"):
        for each in nets:
            each.encoder.requires_grad_(False)
    fit(nets, images.train, **recipe)
    return list(nets)


class Span(NamedTuple):
    """Where each number of a code lies for the training images: from `low`, so `wide`."""

    low: Tensor
    wide: Tensor

    def to_unit(self, codes: Tensor) -> Tensor:
        """Codes (n, k) as a diffusion's images, (n, k, 1, 1) in [0, 1]."""
        return ((codes - self.low) / self.wide).clamp(0, 1)[..., None, None]

    def from_unit(self, images: Tensor) -> Tensor:
        """And back, (n, k)."""
        return images.flatten(1) * self.wide + self.low


def span(codes: Tensor) -> Span:
    """That of codes (n, k); a number that never changes stays what it is."""
    low, high = codes.aminmax(dim=0)
    return Span(low, (high - low).clamp_min(1e-6))


def drawn(
    nets: Sequence[Any], codes: Sequence[Tensor], width: int, steps: int, n: int, draws: int
) -> tuple[Tensor, list[DenseDenoiser]]:
    """Digits by diffusion on each net's code, (draws, seeds, n, 1, 28, 28), and its models."""
    spans = [span(each) for each in codes]
    inputs = [where.to_unit(each) for where, each in zip(spans, codes, strict=True)]
    shape = tuple(inputs[0].shape[1:])
    found = models.replicate(lambda: DenseDenoiser(shape, width, width), len(nets))
    fit(
        found,
        inputs,
        objective=objectives.diffusion(SCHEDULE, TARGET),
        steps=steps,
        lr=2e-3,
        schedule="cosine",
        label=f"diffusion on {shape[0]} numbers",
    )
    pairs = list(zip(nets, spans, found, strict=True))
    return each_draw(
        lambda seed, some: some[0].decode(some[1].from_unit(draw(some[2], n, seed))), pairs, draws
    ), found


@torch.no_grad()
def each_draw(make: Callable[[int, Any], Tensor], units: Sequence[Any], draws: int) -> Tensor:
    """make(seed, unit) for every unit and draw, each with a seed of its own: (draws, units, …)."""
    return torch.stack(
        [
            torch.stack([make(seed + 100 * one, unit) for seed, unit in enumerate(units)])
            for one in range(draws)
        ]
    )


def cost(model: nn.Module, *inputs: Tensor) -> float:
    """Multiplications and additions of a training step for one image: three times a pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return 3 * counter.get_total_flops() / len(inputs[0])


def in_pixels(train: Tensor, components: int) -> Callable[[int, int], Tensor]:
    """A mixture of Gaussians in the 50 leading directions of the digits, as draw(n, seed)."""
    mean, along, _ = measures.principal_directions(train, DIRECTIONS)
    fitted = sampling.fit_code((train.flatten(1) - mean) @ along.T, components, n_init=1)
    return lambda n, seed: (mean + fitted.sample(n, seed) @ along).unflatten(1, SHAPE)


def run(
    digits: int,
    seeds: int,
    width: int,
    unet: int,
    steps: int,
    components: int,
    n: int,
    draws: int,
    codes: Sequence[str],
) -> Result:
    """Copy error, and Fréchet distance of copies and samples, by code and by seed.

    Args:
        digits: how many to train on.
        seeds: nets of each kind.
        width: of the hidden layers, of copiers and denoisers.
        unet: the width of the U-Net.
        steps: of 64 digits or codes: for each copier, and for each diffusion on its code.
        components: of the mixture on each code.
        n: digits in a drawn set.
        draws: sets by each net, over which its Fréchet distance is averaged.
        codes: names in `CODES`.
    """
    images = all_digits().take(digits)
    train, test = images.train, images.test[:n]
    mixture = in_pixels(train, components)
    readings: dict[Any, Any] = {}
    pictures: dict[str, Tensor] = {"real": on_screen(test[:10])}
    costs: list[float] = []  # of the narrow code's nets, and of a step of the U-Net
    for name in codes:
        nets = trained(name, images, seeds, width, steps)
        with torch.no_grad():
            of_train = [each.encode(train) for each in nets]
            copies = torch.stack([each(test) for each in nets])
        readings[name, "copy error"] = (copies - test).square().mean((1, 2, 3, 4))
        readings[name, "copies"] = frechet(copies)
        by_diffusion, denoisers = drawn(nets, of_train, width, steps, n, draws)
        if name == "pixels":
            by_mixture = each_draw(lambda seed, make: make(n, seed), [mixture] * seeds, draws)
        else:
            fitted = [
                sampling.fit_code(each, components, seed, n_init=1)
                for seed, each in enumerate(of_train)
            ]
            by_mixture = each_draw(
                lambda seed, pair: pair[0].decode(pair[1].sample(n, seed)),
                list(zip(nets, fitted, strict=True)),
                draws,
            )
        for way, sets in (("diffusion", by_diffusion), ("mixture", by_mixture)):
            readings[name, way] = torch.stack([frechet(each) for each in sets]).mean(0)
            pictures[f"{name}, {way}"] = on_screen(sets[0, 0, :10])
        if name == NARROW:
            times = torch.zeros(8, dtype=torch.int64)
            x = of_train[0][:8, :, None, None]
            costs = [
                steps * (cost(nets[0], train[:8]) + cost(denoisers[0], x, times)),
                cost(build(width=unet), train[:8], times),
            ]
    unets = models.replicate(lambda: build(width=unet), seeds)
    ours, theirs = costs
    equal = max(1, round(ours / theirs))
    fit(unets, train, objective=objectives.diffusion(SCHEDULE, TARGET), steps=equal, lr=4e-3,
        schedule="cosine", label="U-Net")  # fmt: skip
    by_unet = each_draw(
        lambda seed, model: draw(model.to(runtime.device()), n, seed).cpu(), unets, draws
    )
    of_unet = torch.stack([frechet(each) for each in by_unet]).mean(0)
    readings["pixels, U-Net", "diffusion"] = of_unet
    pictures["pixels, U-Net, diffusion"] = on_screen(by_unet[0, 0, :10])
    real = [
        images.test[torch.randperm(len(images.test), generator=random.generator(i))[:n]]
        for i in range(seeds)
    ]
    readings["real, held out"] = frechet(torch.stack(real))
    batches = 3000 * 32 / 64  # of the kept net, which was trained on 32 digits a step
    readings["cost of the U-Net's 3,000 steps / ours"] = [batches * theirs / ours] * seeds
    for words, (one, other) in PAIRS.items():
        for quantity in ("copy error", "diffusion", "mixture"):
            readings[words, quantity] = (
                torch.as_tensor(readings[one, quantity]) - readings[other, quantity]
            )
    table = {
        name: {
            quantity: readings[name, quantity]
            for quantity in ("copy error", "copies", "diffusion", "mixture")
        }
        for name in codes
    }
    show = {"table": table, "pictures": pictures, "equal": equal,
            "unet": of_unet}  # fmt: skip
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """What a code loses in copying, and what is lost once it is drawn from a model, in Fréchet."""
    table = result.show["table"]
    figure, axes = figures.canvas(1, 3)
    words = {"copies": "copied", "diffusion": "drawn, diffusion", "mixture": "drawn, mixture"}
    for ax, (quantity, title) in zip(axes, words.items(), strict=True):
        figures.bars(
            {name: torch.as_tensor(row[quantity]) for name, row in table.items()},
            xlabel="Fréchet distance",
            title=title,
            controls=("pixels", "untrained, 32"),
            number=".0f",
            ax=ax,
        )
        if ax is not axes[0]:
            ax.set_yticklabels([])
    return figure


def samples_picture(result: Result, codes: Sequence[str] = (NARROW, WIDE, FEATURES)) -> Figure:
    """Ten digits, the first ones, from each of some codes, by diffusion and by a mixture."""
    shown = result.show["pictures"]
    names = [f"{code}, {way}" for code in codes for way in ("diffusion", "mixture")]
    names = ["real", *names, "pixels, U-Net, diffusion"]
    return figures.grid([shown[name] for name in names], labels=names, cell=0.6)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "digits": 150,
        "seeds": 3,
        "width": 8,
        "unet": 8,
        "steps": 4,
        "components": 2,
        "n": 40,
        "draws": 1,
        "codes": [WIDE, NARROW, EQUAL, FEATURES, "untrained, 32", "pixels"],
    },
    full={
        "digits": 4000,
        "seeds": 6,
        "width": 256,
        "unet": 16,
        "steps": 2500,
        "components": 10,
        "n": 500,
        "draws": 2,
        "codes": list(CODES),
    },
    picture=picture,
)
