"""Which parts of a diffusion U-Net do its samples need: skips, attention?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from aelib import figures, models
from aelib.claims import Claim, above, below, label
from aelib.experiments.digit_diffusion import (
    build,
    density,
    distance,
    draw,
    train,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS_MATTER = Claim(
    id="4.7",
    statement="Of the parts of a U-Net that answers with the clean image, skips and attention both "
    "matter for its samples.",
    source="this chapter; Badger's page, section 4, gives its U-Nets attention",
    reading="no skips / whole",
    measure="Fréchet distance without skips, over that of the whole net, same seed and "
    "steps; nets that answer with the clean image",
    supported={
        "no skips / whole": above(1.2),
        "no attention / whole": above(1.2),
        "whole / Gaussian": below(1),
    },
    conditional={"no skips / whole": above(1.2), "whole / Gaussian": below(1)},
    controls=(
        "whole, another draw / whole",
        "whole / Gaussian",
        ("Gaussian", "Fréchet"),
        ("mixture", "Fréchet"),
    ),
    also=(
        ("whole", "Fréchet"),
        ("no attention", "Fréchet"),
        ("no skips", "Fréchet"),
        ("whole", "parameters"),
        ("no attention", "parameters"),
        ("no skips", "parameters"),
    ),
    condition="Of skips only: attention was not shown to matter for these digits.",
    ratios=(
        "no skips / whole",
        "no attention / whole",
        "whole / Gaussian",
        "whole, another draw / whole",
    ),
    fails_when="The net answers with the clean image, as here: it has no noise to pass on, and "
    "draws as well without skips. And of 14 × 14 places each is a few convolutions away from "
    "every other, and attention has little to add.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

PARTS: dict[str, dict] = {
    "whole": {},
    "no attention": {"attention": ()},
    "no skips": {"skips": False},
}


def run(
    seeds: int,
    steps: int,
    batch_size: int,
    width: int,
    mixture: tuple[int, int],
    n: int,
    walk: int,
    draws: int,
) -> Result:
    """Fréchet distance of each variant's samples, beside densities in pixels, by seed.

    Each a mean over so many `draws` of `n` digits. `mixture` says how many Gaussians, in how many
    leading directions: claim 4.6's tuned one.
    """
    readings = {}

    for name, options in PARTS.items():
        nets = models.replicate(lambda options=options: build(width=width, **options), seeds)
        train(nets, steps, batch_size, lr=3e-3, ema=0.998)  # as the net of claim 4.6

        def sample(unit: int, seed: int, nets: Sequence = nets) -> Tensor:
            return draw(nets[unit], n, seed, walk)

        readings[name, "Fréchet"] = distance(sample, seeds, draws)
        readings[name, "parameters"] = [models.count_parameters(nets[0])] * seeds
        if name == "whole":
            again = distance(sample, seeds, draws, first=5000)
    for name, pair in (("mixture", mixture), ("Gaussian", (1,))):
        readings[name, "Fréchet"] = distance(
            lambda unit, seed, pair=pair: density(*pair)(n, seed), seeds, draws
        )
    whole = readings["whole", "Fréchet"]
    readings |= {
        "no skips / whole": readings["no skips", "Fréchet"] / whole,
        "no attention / whole": readings["no attention", "Fréchet"] / whole,
        "whole / Gaussian": whole / readings["Gaussian", "Fréchet"],
        "whole, another draw / whole": again / whole,
    }
    named = {label(key): values for key, values in readings.items()}  # as chunks are joined
    return Result(named)


def picture(result: Result) -> Figure:
    """Fréchet distance of each variant, and of what needs no net."""
    names = {**{name: name for name in PARTS}, "mixture": "tuned mixture", "Gaussian": "Gaussian"}
    figure, (ax,) = figures.canvas(1, 1, height=2.5)
    figures.bars(
        {words: result[f"{name}, Fréchet"] for name, words in names.items()},
        xlabel="Fréchet distance",
        controls=("tuned mixture", "Gaussian"),
        number=".0f",
        ax=ax,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(PARTS_MATTER,),
    run=run,
    short={"seeds": 3, "steps": 2, "batch_size": 4, "width": 8, "mixture": [2, 50], "n": 40,
           "walk": 3, "draws": 1},
    full={"seeds": 6, "steps": 2000, "batch_size": 64, "width": 16, "mixture": [240, 200],
          "n": 500, "walk": 20, "draws": 2},
    picture=picture,
)  # fmt: skip
