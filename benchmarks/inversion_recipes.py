"""Trained nets: what each part of the recipe for them brings, what else was tried, and the plateau.

The recipe's numbers were chosen on EfficientNet-Lite1 and -Lite2 and five other photographs; scored
here are EfficientNet-Lite0 and photographs that they were not chosen on.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor, nn

import aelib as ae
from aelib import runtime
from aelib.inversion import (
    LBFGS,
    RECIPES,
    Adam,
    Fourier,
    LevelledOff,
    Recipe,
    TotalVariation,
    cosine,
)
from aelib.measures import interval

NET, SIZE = "efficientnet_lite0", 96
LAYERS = ("blocks.1.1", "blocks.2.1", "blocks.3.2", "blocks.4.0", "blocks.5.1")
DEFAULT, TRAINED = RECIPES["default"], RECIPES["trained"]


def outside(images: Tensor) -> Tensor:
    """A regularizer: a tenth of the mean square by which values leave [0, 1]."""
    return 0.1 * (images - images.clamp(0, 1)).square().flatten(1).mean(1)


TRIED = {
    "default": DEFAULT,
    "trained": TRAINED,
    "without equalized steps": replace(TRAINED, equalize=0.0),
    "without the leak": replace(TRAINED, leak=0.0),
    "from the default's start": replace(TRAINED, init_contrast=DEFAULT.init_contrast),
    "with a steeper spectrum": replace(TRAINED, parameterization=Fourier(slope=1.5)),
    "with the cosine distance": replace(TRAINED, loss=cosine),
    "with a history of 20": replace(TRAINED, optimizer=LBFGS(20)),
    "with total variation": replace(TRAINED, regularizer=TotalVariation(0.001)),
    "with a penalty outside [0, 1]": replace(TRAINED, regularizer=outside),
    "default, with Adam": replace(DEFAULT, optimizer=Adam(0.1)),
}
PLATEAU, MOST = LevelledOff(), 2000


def measure(quick: bool) -> list[dict]:
    """Rows of both suites, on one thread."""
    net = ae.models.classifier(NET, "imagenet", size=SIZE)
    images = photographs(SIZE)
    with runtime.threads(1):
        return tried(net, images, quick) + plateaus(net, images, quick)


def photographs(size: int) -> Tensor:
    """The astronaut, the cat and the cup of coffee."""
    photos = ae.data.load("photos", size=size, channels=3)
    both = [*zip(photos.train_sources, photos.train, strict=True)]
    both += [*zip(photos.test_sources, photos.test, strict=True)]
    first = dict(reversed(both))  # a photograph's first crop
    return torch.stack([first[name] for name in ("astronaut", "chelsea", "coffee")])


def tried(net: nn.Module, images: Tensor, quick: bool) -> list[dict]:
    """Each recipe after 150 evaluations, beside the default on the same photographs and seeds."""
    rows = []
    for layer in LAYERS[1:2] if quick else LAYERS[1:4]:
        before: dict[str, Tensor] = {}
        for name, recipe in TRIED.items():
            seconds, one = read(net, images, layer, recipe, 15 if quick else 150, seeds=2)
            values = {"m_g_over_m_r": one.ratio.flatten(), "f": one.leftover.flatten()}
            before = before or values
            row = {"problem": f"{NET}/{layer}/{SIZE}", "recipe": name, "n": len(values["f"])}
            for key, mine in values.items():
                row[key] = float(mine.mean())
                share = interval(mine / before[key], log=True)
                row[f"{key}_of_default"] = f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
            rows.append({"suite": "inversion recipes", **row, "cpu_seconds": seconds / row["n"]})
    return rows


def plateaus(net: nn.Module, images: Tensor, quick: bool) -> list[dict]:
    """Where a search levels off, what it has by then, and what it cost; photographs' medians."""
    rows = []
    for layer in LAYERS:
        seconds, one = read(
            net, images, layer, TRAINED, 30 if quick else MOST, seeds=1, until=PLATEAU
        )
        words = [word for row in one.stopped for word in row]
        rows.append(
            {
                "suite": "inversion plateaus",
                "problem": f"{NET}/{layer}/{SIZE}",
                "levelled_off": f"{words.count('levelled off')} of {len(words)}",
                "evaluations": float(one.iterations.double().median()),
                "cpu_seconds": seconds / len(words),
                "m_g_over_m_r": float(one.ratio.median()),
                "f": float(one.leftover.median()),
                "f_thumbnail": float(
                    (one.baselines["thumbnail"].m_i / one.m_i_start[0]).square().median()
                ),
                "class_rank": float(one.rank.median()),
            }
        )
    return rows


def read(net: nn.Module, images: Tensor, layer: str, recipe: Recipe, steps: int, **how):
    """Processor seconds, and what was found."""
    forward = ae.models.normalization(NET, "imagenet")
    began = time.process_time()
    found = ae.invert(net, images, layer, recipe=recipe, steps=steps, forward=forward, **how)
    return time.process_time() - began, found[layer]


def table(rows: list[dict]) -> str:
    """The rows in print."""
    return "\n".join(
        "  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        for row in rows
    )
