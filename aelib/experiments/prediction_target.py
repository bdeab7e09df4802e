"""Which diffusion models need a skip, and which a clock: by what they are taught to answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, fit, measures, models, objectives, runtime
from aelib.claims import Claim, above, below, label
from aelib.experiments.digit_diffusion import (
    SCHEDULE,
    TIMES,
    at_time,
    build,
    density,
    digits,
    distance,
    draw,
    state,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLOCKS, SKIPS = ("told", "not told"), ("skip", "no skip")

TARGET_DECIDES = Claim(
    id="4.13",
    statement="Skips help a net that is to answer with the noise, and one that is to answer with "
    "the clean image does without: what imperfect representation is worth to a generator depends "
    "on what it is asked.",
    source="Badger's page, section 4; Salimans and Ho 2022",
    reading=("noise", "no skip / skip"),
    measure="Fréchet distance of samples without the skip, over that with it, same seed: nets of "
    "28 × 28 digits that answer with the noise and are told the time",
    supported={
        ("noise", "no skip / skip"): above(1.5),
        ("image", "no skip / skip"): below(1.2),
        "without a skip, image / noise": below(0.67),
        "noise / Gaussian": below(1),
    },
    conditional={("noise", "no skip / skip"): above(1.5), "noise / Gaussian": below(1)},
    condition="For the noise alone: the clean image, too, is drawn better with a skip.",
    controls=(
        ("Gaussian", "Fréchet"),
        "noise / Gaussian",
        ("velocity", "no skip / skip"),
        "another draw / Fréchet",
    ),
    also=tuple(
        (target, "told", skip, "Fréchet") for target in objectives.TARGETS for skip in SKIPS
    ),
    ratios=(
        *((target, "no skip / skip") for target in objectives.TARGETS),
        "without a skip, image / noise",
        "noise / Gaussian",
        "another draw / Fréchet",
    ),
    fails_when="The nets are narrow or their training is short: in a trial with half the maps, "
    "which was not kept, those that answer with the noise drew worse than one Gaussian, even with "
    "skips.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
CLOCK = Claim(
    id="4.22",
    statement="A diffusion model that is not told the time draws digits about as well as one "
    "that is where it answers with the clean image, and much worse where it answers with the "
    "noise.",
    source="Badger's page, section 4: “currently unclear why”",
    reading=("noise", "not told / told"),
    measure="Fréchet distance of samples of a net that is not told the time, over that of one that "
    "is, same seed: nets of 28 × 28 digits with skips that answer with the noise",
    supported={
        ("noise", "not told / told"): above(1.5),
        ("image", "not told / told"): below(1.2),
    },
    conditional={("noise", "not told / told"): above(1.2), ("image", "not told / told"): below(1)},
    condition="The clock is worth something to the noise, and nothing to the image.",
    controls=(
        ("Gaussian", "Fréchet"),
        ("velocity", "not told / told"),
        ("noise", "loss, not told / told"),
        ("image", "loss, not told / told"),
        "another draw / Fréchet",
    ),
    also=tuple(
        (target, "not told", skip, "Fréchet") for target in objectives.TARGETS for skip in SKIPS
    ),
    ratios=(
        *((target, "not told / told") for target in objectives.TARGETS),
        *((target, "loss, not told / told") for target in ("noise", "image")),
        "another draw / Fréchet",
    ),
    fails_when="Training is short: in a trial on 8 × 8 digits, which was not kept, the clock was "
    "worth nothing yet after 300 steps. The loss hardly shows it: in an image much of which is "
    "black, its own noise tells how much there is.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

CELLS = tuple(itertools.product(objectives.TARGETS, CLOCKS, SKIPS))


class Clockless(nn.Module):
    """A U-Net that is not told the time, called as one that is: the times are ignored."""

    def __init__(self, **options):
        super().__init__()
        self.net = build(time=False, **options)
        self.shape = self.net.shape

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """What it says of `images`, (batch, channels, height, width)."""
        return self.net(images)


def nets_of(clock: str, skip: str, seeds: int, width: int) -> list[nn.Module]:
    """U-Nets of one kind, one a seed."""
    kind = build if clock == "told" else Clockless
    return models.replicate(lambda: kind(width=width, skips=skip == "skip"), seeds)


def as_labelled(model: Callable, images: Tensor, labels: Tensor) -> Tensor:
    """The objective of diffusion, with the place in `TARGETS` of what is wanted as a label.

    Takes images (…, channels, height, width) and labels (…); gives one loss an image.
    """
    times = torch.randint(SCHEDULE.steps, labels.shape, device=images.device)
    noise = torch.randn_like(images)
    answers = [SCHEDULE.wanted(target, images, times, noise) for target in objectives.TARGETS]
    chosen = labels[None, ..., None, None, None]
    wanted = torch.stack(answers).take_along_dim(chosen, 0)[0]
    error = model(SCHEDULE.noisy(images, times, noise), times) - wanted
    return error.square().flatten(-3).mean(-1)


def slopes(model: nn.Module, time: int, images: int) -> Tensor:
    """How far the output stretches each direction of noisy digits: singular values, falling.

    Of so many digits, (images, 784).
    """
    seen = torch.stack([state(time, index) for index in range(images)]).to(runtime.device())
    there = deepcopy(model).to(seen)
    return measures.singular_values(lambda x: at_time(time)(there, x), seen).cpu()


def run(
    seeds: int,
    steps: int,
    batch_size: int,
    width: int,
    n: int,
    walk: int,
    draws: int,
    images: int,
) -> Result:
    """Fréchet distance of samples, by cell and seed; spectra of the first nets' output.

    Each distance is a mean over so many `draws` of `n` digits in `walk` steps. Spectra are of so
    many `images`.
    """
    readings: dict[tuple | str, Tensor] = {}
    drawn, spectra = {}, {}

    trained = {}
    for clock, skip in itertools.product(CLOCKS, SKIPS):
        nets = nets_of(clock, skip, seeds * len(objectives.TARGETS), width)
        targets = torch.arange(len(objectives.TARGETS)).repeat_interleave(seeds)
        history = fit(
            nets,  # of all targets, which the labels tell apart: one graph
            digits().train,
            objective=as_labelled,
            labels=[target.expand(len(digits().train)) for target in targets],
            steps=steps,
            batch_size=batch_size,
            lr=4e-3,
            schedule="cosine",
            ema=0.998,
            label=f"{clock}, {skip}",
        )
        for number, target in enumerate(objectives.TARGETS):
            its = slice(number * seeds, (number + 1) * seeds)
            trained[target, clock, skip] = nets[its], torch.as_tensor(history.loss[its, -1])
            for net in nets[its]:
                SCHEDULE.mark(net, target)

    for cell in CELLS:
        nets, readings[(*cell, "loss")] = trained[cell]

        def sample(unit: int, seed: int, nets: Sequence[nn.Module] = nets) -> Tensor:
            return draw(nets[unit], n, seed, walk)

        readings[(*cell, "Fréchet")] = distance(sample, seeds, draws)
        drawn[cell] = on_screen(draw(nets[0], 10, 0, walk))
        if cell == ("image", "told", "skip"):
            readings["another draw / Fréchet"] = (
                distance(sample, seeds, draws, first=5000) / readings[(*cell, "Fréchet")]
            )
        if images and cell[1] == "told":
            spectra[cell] = {words: slopes(nets[0], time, images) for words, time in TIMES.items()}

    def ratio(quantity: str, over: tuple, under: tuple) -> Tensor:
        return readings[(*over, quantity)] / readings[(*under, quantity)]

    for target in objectives.TARGETS:
        whole = (target, "told", "skip")
        readings[target, "no skip / skip"] = ratio("Fréchet", (target, "told", "no skip"), whole)
        readings[target, "not told / told"] = ratio("Fréchet", (target, "not told", "skip"), whole)
        readings[target, "loss, not told / told"] = ratio(
            "loss", (target, "not told", "skip"), whole
        )
    readings["Gaussian", "Fréchet"] = distance(lambda unit, seed: density(1)(n, seed), seeds, draws)
    readings |= {
        "without a skip, image / noise": ratio(
            "Fréchet", ("image", "told", "no skip"), ("noise", "told", "no skip")
        ),
        "noise / Gaussian": ratio("Fréchet", ("noise", "told", "skip"), ("Gaussian",)),
    }
    named = {label(key): values for key, values in readings.items()}  # as chunks are joined
    return Result(named, {"drawn": drawn, "spectra": spectra}, ("drawn", "spectra"))


def picture(result: Result) -> Figure:
    """Fréchet distance by target, with skips and without; told the time, and not."""
    figure, axes = figures.canvas(1, 2, height=3.2)
    for ax, clock in zip(axes, CLOCKS, strict=True):
        figures.grouped_bars(
            {
                target: {skip: result[f"{target}, {clock}, {skip}, Fréchet"] for skip in SKIPS}
                for target in objectives.TARGETS
            },
            xlabel="Fréchet distance",
            lines={"Gaussian": float(result["Gaussian, Fréchet"].mean())},
            number=".0f",
            title=f"{clock} the time",
            ax=ax,
        )
    return figure


def samples_picture(result: Result) -> Figure:
    """Digits drawn by a net of each kind, all from the same noise."""
    return figures.grid(
        [result.show["drawn"][cell] for cell in CELLS],
        labels=[f"{target}\n{clock}, {skip}" for target, clock, skip in CELLS],
        cell=0.6,
    )


EXPERIMENT = Experiment(
    claims=(TARGET_DECIDES, CLOCK),
    run=run,
    short={"seeds": 3, "steps": 3, "batch_size": 8, "width": 8, "n": 40, "walk": 2,
           "draws": 1, "images": 0},
    full={"seeds": 6, "steps": 2500, "batch_size": 64, "width": 16, "n": 500, "walk": 20,
          "draws": 2, "images": 4},
    picture=picture,
    chunk=2,
)  # fmt: skip
