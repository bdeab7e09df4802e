"""Does a diffusion model draw best if its middle represents its input imperfectly?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, models, random
from aelib.claims import Claim, above
from aelib.experiments.digit_diffusion import (
    SCHEDULE,
    SHAPE,
    TIMES,
    density,
    digits,
    draw,
    train,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen
from aelib.experiments.prediction_target import DenseDenoiser

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="4.14",
    statement="Imperfect representation is favourable to a generator: of middles between 2 "
    "numbers and as many as the layers are wide, one inside draws best.",
    source="Badger's page, section 4",
    reading="widest / best inside",
    measure="Fréchet distance of samples with the widest middle, over that with the best one "
    "inside, which another draw has chosen; dense nets without a skip that answer with the image",
    supported={"widest / best inside": above(1.1), "narrowest / best inside": above(1.1)},
    conditional={"widest / best inside": above(1), "narrowest / best inside": above(1.1)},
    condition="by less than a tenth of the distance",
    controls=("another draw / widest", ("Gaussian", "Fréchet"), "best inside, numbers"),
    also=tuple(
        (f"middle of {size}", quantity)
        for size in (2, 4, 8, 16, 64, 256)
        for quantity in ("Fréchet", "little noise, leftover", "much noise, leftover")
    ),
    ratios=("widest / best inside", "narrowest / best inside", "another draw / widest"),
    fails_when="A wide middle is free to leave out what it does not need: the wider the middle, "
    "the less it is asked to represent.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)

SIZES = (2, 4, 8, 16, 64, 256)


def states(images: Tensor, time: int, seed: int) -> Tensor:
    """Images with the noise of a time, in the model's range."""
    noise = random.normal(images.shape, images, random.generator(seed))
    return SCHEDULE.noisy(images, torch.full((len(images),), time), noise)


@torch.no_grad()
def leftover(model: nn.Module, time: int) -> float:
    """The share of a noisy digit's variance that no linear reader finds in the middle's code.

    The reader is fitted by least squares to the training digits, with one noise each, and read on
    the test digits.
    """

    def codes_and_inputs(images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        inputs = states(images, time, seed)
        code, _ = model.code(inputs, torch.full((len(inputs),), time))
        return nn.functional.pad(code, (0, 1), value=1.0).double(), inputs.flatten(1).double()

    code, inputs = codes_and_inputs(digits().train, 0)
    reader = torch.linalg.lstsq(code, inputs).solution
    code, unseen = codes_and_inputs(digits().test, 1)
    error = (unseen - code @ reader).square().sum()
    return float(error / (unseen - inputs.mean(0)).square().sum())


def run(
    seeds: int, steps: int, batch_size: int, n: int, walk: int, sizes: Sequence[int] = SIZES
) -> Result:
    """Fréchet distance and what is left at the middle, by size of the middle and seed."""
    readings: dict = {}
    first, second, drawn = [], [], {}
    for size in sizes:
        nets = models.replicate(lambda size=size: DenseDenoiser(SHAPE, middle=size), seeds)
        train(nets, steps, batch_size, "image", lr=1e-3, label=f"middle of {size}")
        sets = [draw(model, n, seed, walk) for seed, model in enumerate(nets)]
        again = [draw(model, n, 50 + seed, walk) for seed, model in enumerate(nets)]
        first.append(frechet(torch.stack(sets)))
        second.append(frechet(torch.stack(again)))
        place = f"middle of {size}"
        readings[place, "Fréchet"] = second[-1]
        for words, time in TIMES.items():
            readings[place, f"{words}, leftover"] = [leftover(model, time) for model in nets]
        drawn[size] = on_screen(sets[0][:10])
    chosen = torch.stack(first[1:-1]).argmin(0)  # of those inside, by the first draw: (seeds,)
    inside = torch.stack(second[1:-1]).gather(0, chosen[None])[0]
    readings |= {
        "widest / best inside": second[-1] / inside,
        "narrowest / best inside": second[0] / inside,
        "best inside, numbers": torch.tensor(sizes[1:-1])[chosen],
        "another draw / widest": first[-1] / second[-1],
        ("Gaussian", "Fréchet"): frechet(
            torch.stack([density(1)(n, seed) for seed in range(seeds)])
        ),
    }
    return Result(readings, {"drawn": drawn}, ("drawn",))


def picture(result: Result) -> Figure:
    """Fréchet distance, and what is left at the middle, against its size."""
    figure, (left, right) = figures.canvas(1, 2)

    def by_size(quantity: str) -> Tensor:  # (seeds, sizes)
        rows = [torch.as_tensor(result[f"middle of {size}", quantity]) for size in SIZES]
        return torch.stack(rows, 1)

    figures.curves(
        SIZES,
        {"answers with the image": by_size("Fréchet")},
        lines={"Gaussian": float(result["Gaussian", "Fréchet"].mean())},
        xlabel="numbers in the middle",
        ylabel="Fréchet distance",
        logx=True,
        ax=left,
    )
    figures.curves(
        SIZES,
        {words: by_size(f"{words}, leftover") for words in TIMES},
        xlabel="numbers in the middle",
        ylabel="left of the noisy input",
        ylim=(0, 1.1),
        logx=True,
        legend="above",
        ax=right,
    )
    return figure


def samples_picture(result: Result) -> Figure:
    """Digits drawn by a net with a middle of each size, all from the same noise."""
    drawn = result.show["drawn"]
    return figures.grid(
        [drawn[size] for size in SIZES], labels=[f"{size} numbers" for size in SIZES], cell=0.6
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 3, "batch_size": 16, "n": 40, "walk": 3},
    full={"seeds": 6, "steps": 800, "batch_size": 64, "n": 400, "walk": 20},
    picture=picture,
    chunk=1,
)
