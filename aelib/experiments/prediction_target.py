"""Which diffusion models need a skip, and which a clock: by what they are taught to answer."""

from __future__ import annotations

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

WHOLE = ("told", "skip")  # the time; and the kinds of net that lack something, beside it
KINDS = {
    "skip": ("told", "no skip"),
    "clock": ("not told", "skip"),
    "both": ("not told", "no skip"),
}
RATIOS = {"skip": "no skip / skip", "clock": "not told / told", "both": "neither / both"}


BOTH_DRAW = {"noise / Gaussian": below(1), "image / Gaussian": below(1)}  # or there is no question


def without(lacking: str) -> str:
    """What a reading calls the nets that lack it."""
    return RATIOS[lacking].split(" / ")[0]


def ratios(lacking: str) -> tuple[tuple | str, ...]:
    """Those readings of a run that are ratios, by what its nets lack."""
    name = RATIOS[lacking]
    return (
        *((target, name) for target in objectives.TARGETS),
        *((target, f"loss, {name}") for target in objectives.TARGETS),
        (without(lacking), "image / noise"),
        (without(lacking), "noise / Gaussian"),
        *BOTH_DRAW,
        "another draw / Fréchet",
    )


def distances(lacking: str) -> tuple[tuple, ...]:
    """The Fréchet distances that a run reads, of nets that are whole and nets that are not."""
    return tuple(
        (target, *kind, "Fréchet")
        for target in objectives.TARGETS
        for kind in (WHOLE, KINDS[lacking])
    )


TARGET_DECIDES = Claim(
    id="4.13",
    statement="Skips help a diffusion model that is to answer with the noise, and one that is to "
    "answer with the clean image does without.",
    source="Badger's page, section 4; Salimans and Ho 2022",
    reading=("noise", "no skip / skip"),
    measure="Fréchet distance of samples without the skip, over that with it, same seed: nets of "
    "28 × 28 digits that answer with the noise and are told the time",
    supported={
        ("noise", "no skip / skip"): above(1.5),
        ("image", "no skip / skip"): below(1.2),
        ("no skip", "image / noise"): below(0.67),
        **BOTH_DRAW,
    },
    conditional={("noise", "no skip / skip"): above(1.5), **BOTH_DRAW},
    condition="For the noise alone: the clean image, too, is drawn better with a skip.",
    controls=(
        ("Gaussian", "Fréchet"),
        *BOTH_DRAW,
        ("velocity", "no skip / skip"),
        "another draw / Fréchet",
    ),
    also=distances("skip"),
    ratios=ratios("skip"),
    fails_when="The nets are narrow or their training is short: in a trial with half the maps, "
    "which was not kept, those that answer with the noise drew worse than one Gaussian, even with "
    "skips. The targets differ in more than what is answered: the same error is worth another loss "
    "at each noise level, which was not set equal.",
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
    lacking: str,
    seeds: int,
    steps: int,
    batch_size: int,
    width: int,
    n: int,
    walk: int,
    draws: int,
    images: int,
) -> Result:
    """Fréchet distance of samples of whole nets, and of nets that lack something, by target.

    `lacking` is one of `KINDS`. Each distance is a mean over so many `draws` of `n` digits in
    `walk` steps. Spectra of the first nets' output are of so many `images`.
    """
    less, name = KINDS[lacking], RATIOS[lacking]
    readings: dict[tuple | str, Tensor] = {}
    drawn, spectra = {}, {}
    for kind in (WHOLE, less):
        nets = nets_of(*kind, seeds * len(objectives.TARGETS), width)
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
            label=", ".join(kind),
        )
        for number, target in enumerate(objectives.TARGETS):
            its = slice(number * seeds, (number + 1) * seeds)
            for net in nets[its]:
                SCHEDULE.mark(net, target)

            def sample(unit: int, seed: int, nets: Sequence[nn.Module] = nets[its]) -> Tensor:
                return draw(nets[unit], n, seed, walk)

            cell = (target, *kind)
            readings[(*cell, "loss")] = torch.as_tensor(history.loss[its, -1])
            readings[(*cell, "Fréchet")] = distance(sample, seeds, draws)
            drawn[cell] = on_screen(draw(nets[its][0], 10, 0, walk))
            if cell == ("image", *WHOLE):
                again = distance(sample, seeds, draws, first=5000)
                readings["another draw / Fréchet"] = again / readings[(*cell, "Fréchet")]
            if images and kind[0] == "told":
                spectra[cell] = {
                    words: slopes(nets[its][0], time, images) for words, time in TIMES.items()
                }

    def far(target: str, kind: tuple[str, str], quantity: str = "Fréchet") -> Tensor:
        return readings[(target, *kind, quantity)]

    for target in objectives.TARGETS:
        for words, quantity in ((name, "Fréchet"), (f"loss, {name}", "loss")):
            readings[target, words] = far(target, less, quantity) / far(target, WHOLE, quantity)
    gaussian = distance(lambda unit, seed: density(1)(n, seed), seeds, draws)
    readings |= {
        ("Gaussian", "Fréchet"): gaussian,
        (without(lacking), "image / noise"): far("image", less) / far("noise", less),
        (without(lacking), "noise / Gaussian"): far("noise", less) / gaussian,
        "noise / Gaussian": far("noise", WHOLE) / gaussian,
        "image / Gaussian": far("image", WHOLE) / gaussian,
    }
    named = {label(key): values for key, values in readings.items()}  # as chunks are joined
    return Result(named, {"drawn": drawn, "spectra": spectra}, ("drawn", "spectra"))


def experiment(lacking: str, claim: Claim) -> Experiment:
    """Whole nets and nets that lack something; a run of its own for each thing, to stay short."""
    return Experiment(
        claims=(claim,),
        run=run,
        short={"lacking": lacking, "seeds": 3, "steps": 3, "batch_size": 8, "width": 8, "n": 40,
               "walk": 2, "draws": 1, "images": 0},
        full={"lacking": lacking, "seeds": 6, "steps": 2500, "batch_size": 64, "width": 16,
              "n": 500, "walk": 20, "draws": 2, "images": 4 if lacking == "skip" else 0},
        picture=picture,
        chunk=1,
    )  # fmt: skip


def picture(*results: Result) -> Figure:
    """Fréchet distance by target and kind of net, and digits that the first net of each draws.

    Of one run, or of several, whose kinds stand side by side; whole nets are those of the first.
    """
    words = {WHOLE: "whole", KINDS["clock"]: "no clock", KINDS["skip"]: "no skip"}
    words[KINDS["both"]] = "neither"
    readings, drawn = {}, {}
    for result in reversed(results):
        readings |= result.readings
        drawn |= result.show["drawn"]
    cells = {
        f"{target}, {name}": (target, *kind)
        for target in objectives.TARGETS
        for kind, name in words.items()
        if (target, *kind) in drawn
    }
    figure, (left, right) = figures.canvas(1, 2, height=0.95 + 0.19 * len(cells))
    figures.bars(
        {name: readings[label((*cell, "Fréchet"))] for name, cell in cells.items()},
        xlabel="Fréchet distance",
        lines={"one Gaussian": float(readings["Gaussian, Fréchet"].mean())},
        controls=[name for name, cell in cells.items() if cell[1:] != WHOLE],
        number=".0f",
        ax=left,
    )
    for row, cell in enumerate(cells.values()):  # each beside its bar
        images = torch.as_tensor(drawn[cell])[:, 0]
        strip = images.permute(1, 0, 2).flatten(1)  # side by side
        right.imshow(strip, cmap="gray", vmin=0, vmax=1, extent=(0, 9, row + 0.45, row - 0.45))
    right.set(xlim=(0, 9), ylim=left.get_ylim(), aspect="equal", anchor="W")
    right.set_axis_off()
    return figure


EXPERIMENT = experiment("skip", TARGET_DECIDES)
