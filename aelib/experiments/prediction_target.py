"""Which diffusion models need a skip, and which a clock: by what they are taught to answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, fit, measures, models, objectives, random, sampling
from aelib.claims import Claim, above, below, label
from aelib.experiments.digit_diffusion import SCHEDULE, TIMES, at_time, draw
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import digits, frechet
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
    "8 × 8 digits that answer with the noise and are told the time",
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
        ("velocity", "no skip / skip"),
        "another draw / Fréchet",
    ),
    also=tuple(
        (target, "told", skip, quantity)
        for target in objectives.TARGETS
        for skip in SKIPS
        for quantity in (
            "Fréchet",
            *(f"{words}, {size}" for words in TIMES for size in ("largest", "median", "smallest")),
        )
    ),
    ratios=(
        *((target, "no skip / skip") for target in objectives.TARGETS),
        "without a skip, image / noise",
        "noise / Gaussian",
        "another draw / Fréchet",
    ),
    fails_when="Training is short: after 300 steps the skip was worth a fifth to the noise, and "
    "the nets that answer with it drew worse than one Gaussian. The digits are of 8 × 8 pixels, "
    "for at 28 × 28 nets as cheap that answer with the noise draw next to nothing.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)
CLOCK = Claim(
    id="4.22",
    statement="A diffusion model that is not told the time draws digits about as well as one "
    "that is where it answers with the clean image, and much worse where it answers with the "
    "noise.",
    source="Badger's page, section 4: “currently unclear why”",
    reading=("noise", "not told / told"),
    measure="Fréchet distance of samples of a net that is not told the time, over that of one that "
    "is, same seed: nets of 8 × 8 digits with skips that answer with the noise",
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
    fails_when="Training is short: after 300 steps the clock was worth nothing yet. The loss "
    "hardly shows it: in an image much of which is black, its own noise tells how much there is.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

CELLS = tuple(itertools.product(objectives.TARGETS, CLOCKS, SKIPS))
SIZES = {"largest": 0, "median": 31, "smallest": 63}  # of the 64 singular values, falling


class Clockless(nn.Module):
    """A U-Net that is not told the time, called as one that is: the times are ignored."""

    def __init__(self, **options):
        super().__init__()
        self.net = models.DiffusionUNet(digits().shape, time=False, **options)
        self.shape = self.net.shape

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """What it says of `images`, (batch, channels, height, width)."""
        return self.net(images)


def nets_of(clock: str, skip: str, seeds: int, width: int) -> list[nn.Module]:
    """U-Nets of one kind, one a seed."""

    def build() -> nn.Module:
        options = {"width": width, "skips": skip == "skip"}
        if clock == "not told":
            return Clockless(**options)
        return models.DiffusionUNet(digits().shape, steps=SCHEDULE.steps, **options)

    return models.replicate(build, seeds)


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


def slopes(model: nn.Module, time: int) -> Tensor:
    """How far the output stretches each direction of a noisy digit: singular values, falling."""
    image = digits().test[:1]
    noise = random.normal(image.shape, image, random.generator(0))
    state = SCHEDULE.noisy(image, torch.tensor([time]), noise)
    return measures.singular_values(lambda x: at_time(time)(model, x), state)[0]


def run(seeds: int, steps: int, batch_size: int, width: int, n: int, walk: int) -> Result:
    """Fréchet distance of samples and singular values of the output, by cell and seed."""
    readings: dict[tuple | str, Tensor] = {}
    drawn, spectra = {}, {}

    def sets(nets: Sequence[nn.Module], first: int) -> Tensor:
        return torch.stack([draw(net, n, first + seed, walk) for seed, net in enumerate(nets)])

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
            label=f"{clock}, {skip}",
        )
        for number, target in enumerate(objectives.TARGETS):
            its = slice(number * seeds, (number + 1) * seeds)
            trained[target, clock, skip] = nets[its], torch.as_tensor(history.loss[its, -1])
            for net in nets[its]:
                SCHEDULE.mark(net, target)

    for cell in CELLS:
        nets, readings[(*cell, "loss")] = trained[cell]
        pictures = sets(nets, 0)
        readings[(*cell, "Fréchet")] = frechet(pictures)
        drawn[cell] = on_screen(pictures[0, :10])
        if cell == ("image", "told", "skip"):
            readings["another draw / Fréchet"] = frechet(sets(nets, 50)) / frechet(pictures)
        for words, time in TIMES.items():
            found = torch.stack([slopes(net, time) for net in nets])  # (seeds, 64)
            for size, index in SIZES.items():
                readings[(*cell, f"{words}, {size}")] = found[:, index]
            spectra[(*cell, words)] = found[0]

    def ratio(quantity: str, over: tuple, under: tuple) -> Tensor:
        return readings[(*over, quantity)] / readings[(*under, quantity)]

    for target in objectives.TARGETS:
        whole = (target, "told", "skip")
        readings[target, "no skip / skip"] = ratio("Fréchet", (target, "told", "no skip"), whole)
        readings[target, "not told / told"] = ratio("Fréchet", (target, "not told", "skip"), whole)
        readings[target, "loss, not told / told"] = ratio(
            "loss", (target, "not told", "skip"), whole
        )
    fitted = sampling.fit_code(digits().train.flatten(1))
    gaussian = torch.stack([fitted.sample(n, seed) for seed in range(seeds)])
    readings["Gaussian", "Fréchet"] = frechet(gaussian.unflatten(-1, digits().shape))
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
    short={"seeds": 3, "steps": 3, "batch_size": 8, "width": 8, "n": 40, "walk": 2},
    full={"seeds": 6, "steps": 1500, "batch_size": 64, "width": 8, "n": 360, "walk": 20},
    picture=picture,
)
