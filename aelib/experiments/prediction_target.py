"""Which diffusion models need a skip, and which a clock: by what they are taught to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
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

KINDS = {  # of net: is it told the time, and has it skips
    "whole": ("told", "skip"),
    "no skip": ("told", "no skip"),
    "no clock": ("not told", "skip"),
    "neither": ("not told", "no skip"),
}
LESS = tuple(kind for kind in KINDS if kind != "whole")
OWN = "noise, own first guess"  # its nets as they are usually sampled; see `MeanFirst`
BOTH_DRAW = {"noise / Gaussian": below(1), "image / Gaussian": below(1)}  # or there is no question
COMMON = (("Gaussian", "Fréchet"), *BOTH_DRAW, "another draw / Fréchet")


def against(kind: str) -> str:
    """What a reading calls such nets' distance over that of whole ones."""
    return f"{kind} / whole"


def ratios(kind: str) -> tuple[tuple | str, ...]:
    """Those readings of a claim on such nets that are ratios."""
    return (
        *((target, against(kind)) for target in (*objectives.TARGETS, OWN)),
        *((target, f"loss, {against(kind)}") for target in objectives.TARGETS),
        (kind, "image / noise"),
        (kind, "noise / Gaussian"),
        *BOTH_DRAW,
        "another draw / Fréchet",
    )


def distances(kind: str) -> tuple[tuple, ...]:
    """The Fréchet distances that a claim on such nets shows, whole nets beside them."""
    return tuple(
        (target, each, "Fréchet")
        for target in (*objectives.TARGETS, OWN)
        for each in ("whole", kind)
    )


TARGET_DECIDES = Claim(
    id="4.13",
    statement="Skips help a diffusion model that is to answer with the noise, and one that is to "
    "answer with the clean image does without.",
    source="this chapter, on what Badger's page, section 4, says of generators; Salimans and Ho "
    "2022",
    reading=("noise", "no skip / whole"),
    measure="Fréchet distance of samples without the skip, over that with it, same seed: nets of "
    "28 × 28 digits that answer with the noise and are told the time; their walks begin with the "
    "mean digit as the guess",
    supported={
        ("noise", "no skip / whole"): above(1.5),
        ("image", "no skip / whole"): below(1.2),
        ("no skip", "image / noise"): below(0.67),
        **BOTH_DRAW,
    },
    conditional={("noise", "no skip / whole"): above(1.5), **BOTH_DRAW},
    condition="For the noise alone: that the clean image does without is not shown.",
    controls=(*COMMON, (OWN, "no skip / whole"), ("velocity", "no skip / whole")),
    also=distances("no skip"),
    ratios=ratios("no skip"),
    fails_when="The nets are narrow or their training is short: in a trial with half the maps, "
    "which was not kept, those that answer with the noise drew worse than one Gaussian, even with "
    "skips. Or their own first guess counts: see the control. The targets differ in more than what "
    "is answered: the same error is worth another loss at each noise level, which was not set "
    "equal.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
CLOCK = Claim(
    id="4.22",
    statement="A diffusion model that is not told the time draws digits about as well as one "
    "that is where it answers with the clean image, and much worse where it answers with the "
    "noise.",
    source="Badger's page, section 4: “currently unclear why”",
    reading=("noise", "no clock / whole"),
    measure="Fréchet distance of samples of a net that is not told the time, over that of one that "
    "is, same seed: nets of 28 × 28 digits with skips that answer with the noise; their walks "
    "begin with the mean digit as the guess",
    supported={
        ("noise", "no clock / whole"): above(1.5),
        ("image", "no clock / whole"): below(1.2),
        **BOTH_DRAW,
    },
    conditional={
        ("noise", "no clock / whole"): above(1.2),
        ("image", "no clock / whole"): below(1.2),
        **BOTH_DRAW,
    },
    condition="Where it answers with the noise it draws worse, but not by half for certain.",
    controls=(
        *COMMON,
        (OWN, "no clock / whole"),
        ("velocity", "no clock / whole"),
        ("noise", "loss, no clock / whole"),
        ("image", "loss, no clock / whole"),
    ),
    also=distances("no clock"),
    ratios=ratios("no clock"),
    fails_when="Training is short: in a trial on 8 × 8 digits, which was not kept, the clock was "
    "worth nothing yet after 300 steps. As every walk begins with the mean digit, the first step "
    "needs no clock; the control with the nets' own first guess does. The loss is not shown to "
    "be higher; and the targets differ in how it weighs the noise levels, which was not set equal.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
NEITHER = Claim(
    id="4.30",
    statement="A diffusion model that answers with the clean image draws digits about as well with "
    "neither skip nor clock; one that answers with the noise then draws worse than one Gaussian.",
    source="this chapter, on what Badger's page, section 4, says of generators; Salimans and Ho "
    "2022",
    reading=("image", "neither / whole"),
    measure="Fréchet distance of samples of a net that has no skip and is not told the time, over "
    "that of one that has and is, same seed: nets of 28 × 28 digits that answer with the image",
    supported={
        ("image", "neither / whole"): below(1.2),
        ("neither", "noise / Gaussian"): above(1),
        **BOTH_DRAW,
    },
    conditional={("image", "neither / whole"): below(1.2), **BOTH_DRAW},
    condition="The image needs neither; the noise's samples are not shown to be worse than a "
    "Gaussian's.",
    controls=(
        *COMMON,
        (OWN, "neither / whole"),
        ("noise", "neither / whole"),
        ("velocity", "neither / whole"),
    ),
    also=distances("neither"),
    ratios=ratios("neither"),
    fails_when="Not tried: nets too narrow to hold a digit in their middle, and pictures that fill "
    "more directions than digits do. The targets also differ in how the loss weighs the noise "
    "levels.",
    rule_changed="2026-11-27",
    seen_before="first run",
)


class Clockless(nn.Module):
    """A U-Net that is not told the time, called as one that is: the times are ignored."""

    def __init__(self, **options):
        super().__init__()
        self.net = build(time=False, **options)
        self.shape = self.net.shape

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """What it says of `images`, (batch, channels, height, width)."""
        return self.net(images)


class MeanFirst(nn.Module):
    """A diffusion model that at the schedule's last time answers with what the mean digit makes.

    It is the best answer there is: ᾱ is 6e-8 then, and the state holds nothing of a digit. A net
    that answers with the noise would have to be right to √ᾱ, by which its error is divided.

    Source: of the trouble, Lin et al. (2024), arXiv 2305.08891, section 3; the remedy is ours.
    """

    mean: Tensor

    def __init__(self, model: nn.Module):
        super().__init__()
        self.module, self.shape = model, model.shape  # `Schedule` looks into a `module`
        self.register_buffer("mean", digits().train.mean(0))

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """What it says of `images`, (batch, channels, height, width), all at one time."""
        last = SCHEDULE.steps - 1
        if not (times == last).all():
            return self.module(images, times)
        mean = self.mean.expand_as(images)
        _, noise = SCHEDULE.found("image", objectives.to_model(mean), images, last)
        return SCHEDULE.wanted(SCHEDULE.target_of(self), mean, times, noise)


def nets_of(kind: str, seeds: int, width: int) -> list[nn.Module]:
    """U-Nets of one of `KINDS`, one a seed."""
    clock, skip = KINDS[kind]
    make = build if clock == "told" else Clockless
    return models.replicate(lambda: make(width=width, skips=skip == "skip"), seeds)


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
    """Fréchet distance of samples by target and kind of net; spectra of the first nets' output.

    Each distance is a mean over so many `draws` of `n` digits in `walk` steps. Spectra are of so
    many `images`.
    """
    readings: dict[tuple | str, Tensor] = {}
    drawn, spectra = {}, {}
    for kind in KINDS:
        nets = nets_of(kind, seeds * len(objectives.TARGETS), width)
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
            label=kind,
        )
        for number, target in enumerate(objectives.TARGETS):
            its, cell = slice(number * seeds, (number + 1) * seeds), (target, kind)
            for net in nets[its]:
                SCHEDULE.mark(net, target)
            begun = [MeanFirst(net) for net in nets[its]]

            def sample(unit: int, seed: int, nets: Sequence[nn.Module] = begun) -> Tensor:
                return draw(nets[unit], n, seed, walk)

            readings[(*cell, "loss")] = torch.as_tensor(history.loss[its, -1])
            readings[(*cell, "Fréchet")] = distance(sample, seeds, draws)
            drawn[cell] = on_screen(draw(begun[0], 10, 0, walk))
            if target == "noise":
                own = partial(sample, nets=nets[its])
                readings[OWN, kind, "Fréchet"] = distance(own, seeds, draws)
            if cell == ("image", "whole"):
                again = distance(sample, seeds, draws, first=5000)
                readings["another draw / Fréchet"] = again / readings[(*cell, "Fréchet")]
            if images and KINDS[kind][0] == "told":
                spectra[cell] = {
                    words: slopes(nets[its][0], time, images) for words, time in TIMES.items()
                }

    def over_whole(target: str, kind: str, quantity: str) -> Tensor:
        return readings[target, kind, quantity] / readings[target, "whole", quantity]

    gaussian = distance(lambda unit, seed: density(1)(n, seed), seeds, draws)
    readings["Gaussian", "Fréchet"] = gaussian
    for kind in LESS:
        far = {target: readings[target, kind, "Fréchet"] for target in objectives.TARGETS}
        readings |= {
            (target, against(kind)): over_whole(target, kind, "Fréchet") for target in (*far, OWN)
        }
        readings |= {
            (target, f"loss, {against(kind)}"): over_whole(target, kind, "loss") for target in far
        }
        readings[kind, "image / noise"] = far["image"] / far["noise"]
        readings[kind, "noise / Gaussian"] = far["noise"] / gaussian
    for target in ("noise", "image"):
        readings[f"{target} / Gaussian"] = readings[target, "whole", "Fréchet"] / gaussian
    named = {label(key): values for key, values in readings.items()}  # as chunks are joined
    return Result(named, {"drawn": drawn, "spectra": spectra}, ("drawn", "spectra"))


def picture(result: Result) -> Figure:
    """Fréchet distance by target and kind of net, and digits that the first net of each draws."""
    cells = {f"{target}, {kind}": (target, kind) for target in objectives.TARGETS for kind in KINDS}
    figure, (left, right) = figures.canvas(1, 2, height=0.95 + 0.19 * len(cells))
    figures.bars(
        {name: result[f"{name}, Fréchet"] for name in cells},
        xlabel="Fréchet distance",
        lines={"one Gaussian": float(result["Gaussian, Fréchet"].mean())},
        controls=[name for name, (_, kind) in cells.items() if kind in LESS],
        number=".0f",
        ax=left,
    )
    for row, cell in enumerate(cells.values()):  # each beside its bar
        images = torch.as_tensor(result.show["drawn"][cell])[:, 0]
        strip = images.permute(1, 0, 2).flatten(1)  # side by side
        right.imshow(strip, cmap="gray", vmin=0, vmax=1, extent=(0, 9, row + 0.45, row - 0.45))
    right.set(xlim=(0, 9), ylim=left.get_ylim(), aspect="equal", anchor="W")
    right.set_axis_off()
    return figure


EXPERIMENT = Experiment(
    claims=(TARGET_DECIDES, CLOCK, NEITHER),
    run=run,
    short={"seeds": 3, "steps": 3, "batch_size": 8, "width": 8, "n": 40, "walk": 2, "draws": 1,
           "images": 0},
    full={"seeds": 6, "steps": 2000, "batch_size": 32, "width": 16, "n": 500, "walk": 20,
          "draws": 2, "images": 4},
    picture=picture,
    chunk=1,
)  # fmt: skip
