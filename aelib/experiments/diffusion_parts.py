"""Which parts of a diffusion U-Net do its samples need: skips, attention?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from aelib import figures, models
from aelib.claims import Claim, above, below, label
from aelib.experiments.digit_diffusion import (
    best_mixture,
    build,
    density,
    draw,
    train,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS_MATTER = Claim(
    id="4.7",
    statement="Of the parts of a U-Net that answers with the clean image, skips and attention both "
    "matter for its samples.",
    source="Badger's page, section 4",
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
    rule_changed="2026-11-26",
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
    components: Sequence[int],
    n: int,
    walk: int,
) -> Result:
    """Fréchet distance of each variant's samples, beside mixtures in pixels, by seed."""
    readings, drawn = {}, {}
    for name, options in PARTS.items():
        nets = models.replicate(lambda options=options: build(width=width, **options), seeds)
        train(nets, steps, batch_size, lr=3e-3, ema=0.998)  # as the net of claim 4.6
        sets = torch.stack([draw(model, n, seed, walk) for seed, model in enumerate(nets)])
        readings[name, "Fréchet"] = frechet(sets)
        readings[name, "parameters"] = [models.count_parameters(nets[0])] * seeds
        drawn[name] = on_screen(sets[0, :12])
        if name == "whole":
            again = torch.stack([draw(each, n, 50 + s, walk) for s, each in enumerate(nets)])
    number = best_mixture(components, n)
    for name, count in (("mixture", number), ("Gaussian", 1)):
        sets = torch.stack([density(count)(n, seed) for seed in range(seeds)])
        readings[name, "Fréchet"] = frechet(sets)
    whole = readings["whole", "Fréchet"]
    readings |= {
        "no skips / whole": readings["no skips", "Fréchet"] / whole,
        "no attention / whole": readings["no attention", "Fréchet"] / whole,
        "whole / Gaussian": whole / readings["Gaussian", "Fréchet"],
        "whole, another draw / whole": frechet(again) / whole,
    }
    named = {label(key): values for key, values in readings.items()}  # as chunks are joined
    return Result(named, {"drawn": drawn}, ("drawn",))


def picture(result: Result) -> Figure:
    """Fréchet distance of each variant, and of what needs no net."""
    names = (*PARTS, "mixture", "Gaussian")
    figure, (ax,) = figures.canvas(1, 1, height=2.5)
    figures.bars(
        {name: result[f"{name}, Fréchet"] for name in names},
        xlabel="Fréchet distance",
        controls=("mixture", "Gaussian"),
        number=".0f",
        ax=ax,
    )
    return figure


def samples_picture(result: Result) -> Figure:
    """Digits drawn by a net of each variant, all from the same noise."""
    drawn = result.show["drawn"]
    return figures.grid([drawn[name] for name in PARTS], labels=list(PARTS))


EXPERIMENT = Experiment(
    claims=(PARTS_MATTER,),
    run=run,
    short={"seeds": 3, "steps": 2, "batch_size": 4, "width": 8, "components": [2], "n": 40,
           "walk": 3},
    full={"seeds": 6, "steps": 2000, "batch_size": 64, "width": 16, "components": [40], "n": 250,
          "walk": 20},
    picture=picture,
)  # fmt: skip
