"""Which diffusion models need a skip, and which a clock: by what they are taught to answer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, measures, models, objectives
from aelib.claims import Claim, above, below
from aelib.experiments.digit_diffusion import (
    SHAPE,
    TIMES,
    at_time,
    density,
    draw,
    state,
    train,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen
from aelib.models.diffusion_unet import sinusoidal_embedding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGET_DECIDES = Claim(
    id="4.13",
    statement="A copy of the input at the output helps a net that is to answer with the noise, "
    "and one that is to answer with the clean image does without: what imperfect representation "
    "is worth to a generator depends on what it is asked.",
    source="Badger's page, section 4; Salimans and Ho 2022",
    reading=("noise", "told", "no skip / skip"),
    measure="Fréchet distance of samples without the skip, over that with it, same seed: nets that "
    "answer with the noise and are told the time",
    supported={
        ("noise", "told", "no skip / skip"): above(1.5),
        ("image", "told", "no skip / skip"): below(1.2),
        "without a skip, image / noise": below(0.67),
    },
    conditional={("noise", "told", "no skip / skip"): above(1.5)},
    condition="For the noise alone: the clean image, too, is drawn better with a skip.",
    controls=(
        ("Gaussian", "Fréchet"),
        ("velocity", "told", "no skip / skip"),
        ("image", "told", "skip", "another draw / Fréchet"),
    ),
    also=tuple(
        (target, "told", skip, quantity)
        for target in objectives.TARGETS
        for skip in ("skip", "no skip")
        for quantity in ("Fréchet", "little noise, largest", "little noise, median")
    ),
    ratios=(
        *((target, "told", "no skip / skip") for target in objectives.TARGETS),
        "without a skip, image / noise",
        ("image", "told", "skip", "another draw / Fréchet"),
    ),
    fails_when="The net is so wide that nothing is lost on the way: then no skip is needed for "
    "either.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)
CLOCK = Claim(
    id="4.22",
    statement="A diffusion model that is not told the time still draws digits where it answers "
    "with the clean image, and fails where it answers with the noise.",
    source="Badger's page, section 4: “currently unclear why”",
    reading=("noise", "skip", "not told / told"),
    measure="Fréchet distance of samples of a net that is not told the time, over that of one that "
    "is, same seed: nets that answer with the noise, with a skip",
    supported={
        ("noise", "skip", "not told / told"): above(1.5),
        ("image", "skip", "not told / told"): below(1.2),
    },
    conditional={
        ("noise", "skip", "not told / told"): above(1.2),
        "penalty, noise / image": above(1.2),
    },
    condition="The clock is worth more to the noise than to the image, not all to one and nothing "
    "to the other.",
    controls=(
        ("Gaussian", "Fréchet"),
        ("velocity", "skip", "not told / told"),
        ("noise", "no skip", "not told / told"),
        ("image", "no skip", "not told / told"),
    ),
    also=tuple(
        (target, "not told", "skip", quantity)
        for target in objectives.TARGETS
        for quantity in ("Fréchet", "loss / told")
    ),
    ratios=(
        *(
            (target, skip, "not told / told")
            for target in objectives.TARGETS
            for skip in ("skip", "no skip")
        ),
        "penalty, noise / image",
        *((target, "not told", "skip", "loss / told") for target in objectives.TARGETS),
    ),
    fails_when="The noise can be told from the image so well that the net reads the time off its "
    "input: in large images of many pixels.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)

CLOCKS = ("told", "not told")
SKIPS = ("skip", "no skip")
CELLS = tuple(itertools.product(objectives.TARGETS, CLOCKS, SKIPS))
SIZES = {"largest": 0, "median": math.prod(SHAPE) // 2, "smallest": -1}


class DenseDenoiser(nn.Module):
    """A dense diffusion model with a narrow or wide middle; called as model(x, times).

    Two layers in, the middle, two layers out. The encoder is `encoder`, and `middle` gives the code
    (batch, middle).

    Args:
        shape: (channels, height, width) of an image.
        width: of the hidden layers.
        middle: numbers in the middle; None for as many as `width`.
        skip: whether the output gets the input itself too, times a number: a learnt one, which the
            clock sets where there is one.
        time: whether the model is told the time; the times are ignored otherwise.
        steps: times run from 0 to steps − 1.
    """

    def __init__(self, shape: Sequence[int], width: int = 256, middle: int | None = None, *,
                 skip: bool = False, time: bool = True, steps: int = 200):  # fmt: skip
        super().__init__()
        self.shape, self.steps, self.width, self.time = tuple(shape), steps, width, time
        d, middle = math.prod(shape), middle or width
        self.first = nn.Linear(d, width)
        self.clock = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.encoder = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.middle = nn.Linear(width, middle)
        self.decoder = nn.Sequential(
            nn.Linear(middle, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.late = nn.Linear(width, width)
        self.last = nn.Linear(width, d)
        self.gain = nn.Linear(width, 1) if skip else None

    def code(self, images: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """The middle's numbers (batch, middle), and what the clock tells the layers after it."""
        waves = sinusoidal_embedding(times if self.time else torch.zeros_like(times), 64)
        early, late = self.clock(waves.to(images.dtype)).chunk(2, dim=1)
        return self.middle(self.encoder(self.first(images.flatten(1)) + early)), late

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """What it says of `images`, (batch, channels, height, width), at `times`, (batch,)."""
        code, late = self.code(images, times)
        hidden = nn.functional.silu(self.late(self.decoder(code)) + late)
        answer = self.last(hidden).view_as(images)
        if self.gain is not None:
            answer = answer + self.gain(late)[:, :, None, None] * images
        return answer


def run(seeds: int, steps: int, batch_size: int, width: int, n: int, walk: int) -> Result:
    """Fréchet distance of samples and singular values of the output, by cell and seed."""
    readings: dict[tuple, Tensor] = {}
    drawn, spectra = {}, {}
    for cell in CELLS:
        target, clock, skip = cell

        def build(clock=clock, skip=skip) -> nn.Module:
            options = {"skip": skip == "skip", "time": clock == "told"}
            return DenseDenoiser(SHAPE, width, **options)

        nets = models.replicate(build, seeds)
        history = train(nets, steps, batch_size, target, lr=1e-3, label=", ".join(cell))
        sets = torch.stack([draw(model, n, seed, walk) for seed, model in enumerate(nets)])
        again = torch.stack([draw(model, n, 50 + s, walk) for s, model in enumerate(nets)])
        readings[(*cell, "Fréchet")] = frechet(sets)
        readings[(*cell, "another draw / Fréchet")] = frechet(again) / frechet(sets)
        readings[(*cell, "loss")] = torch.as_tensor(history.loss[:, -1])
        for words, time in TIMES.items():
            values = torch.stack(
                [
                    measures.singular_values(
                        lambda x, model=model, time=time: at_time(time)(model, x),
                        state(time)[None],
                    )[0]
                    for model in nets
                ]
            )  # (seeds, d)
            for size, index in SIZES.items():
                readings[(*cell, f"{words}, {size}")] = values[:, index]
            spectra[(*cell, words)] = values[0]
        drawn[cell] = on_screen(sets[0, :10])
    for target in objectives.TARGETS:
        for clock in CLOCKS:
            with_it, without = (readings[target, clock, skip, "Fréchet"] for skip in SKIPS)
            readings[target, clock, "no skip / skip"] = without / with_it
        for skip in SKIPS:
            told, untold = (readings[target, clock, skip, "Fréchet"] for clock in CLOCKS)
            readings[target, skip, "not told / told"] = untold / told
            told, untold = (readings[target, clock, skip, "loss"] for clock in CLOCKS)
            readings[target, "not told", skip, "loss / told"] = untold / told
    readings["without a skip, image / noise"] = (
        readings["image", "told", "no skip", "Fréchet"]
        / readings["noise", "told", "no skip", "Fréchet"]
    )
    readings["penalty, noise / image"] = (
        readings["noise", "skip", "not told / told"] / readings["image", "skip", "not told / told"]
    )
    sets = torch.stack([density(1)(n, seed) for seed in range(seeds)])
    readings["Gaussian", "Fréchet"] = frechet(sets)
    return Result(readings, {"drawn": drawn, "spectra": spectra}, ("drawn", "spectra"))


def picture(result: Result) -> Figure:
    """Fréchet distance by target, with the skip and without; told the time and not."""
    figure, axes = figures.canvas(1, 2)
    gaussian = float(result["Gaussian", "Fréchet"].mean())
    for ax, clock in zip(axes, CLOCKS, strict=True):
        figures.grouped_bars(
            {
                target: {skip: result[target, clock, skip, "Fréchet"] for skip in SKIPS}
                for target in objectives.TARGETS
            },
            xlabel="Fréchet distance",
            lines={"Gaussian": gaussian},
            title=f"{clock} the time",
            ax=ax,
        )
    return figure


def samples_picture(result: Result) -> Figure:
    """Digits drawn by a net of each kind, all from the same noise."""
    cells = [cell for cell in CELLS if cell in result.show["drawn"]]
    return figures.grid(
        [result.show["drawn"][cell] for cell in cells],
        labels=["\n".join((target, f"{clock}, {skip}")) for target, clock, skip in cells],
        cell=0.6,
    )


EXPERIMENT = Experiment(
    claims=(TARGET_DECIDES, CLOCK),
    run=run,
    short={"seeds": 3, "steps": 3, "batch_size": 16, "width": 16, "n": 40, "walk": 3},
    full={"seeds": 6, "steps": 800, "batch_size": 64, "width": 256, "n": 400, "walk": 20},
    picture=picture,
    chunk=1,
)  # fmt: skip
