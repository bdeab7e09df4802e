"""Taught a single image, which net learns to copy any, and which stores the one it saw?"""

# pyright: reportOptionalMemberAccess=false

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from aelib import data, figures, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.6",
    statement="From one training image a shallow convolutional net learns to copy new images, and "
    "a fully connected one stores the image it saw, whichever start both have.",
    source="Zhang et al. 2020; Radhakrishnan et al. 2018, and 2020 for the theorem that a fully "
    "connected net stores a single image",
    reading="shallow conv",
    measure="correlation of output and new input minus that of output and training image, three "
    "convolutions at full size, PyTorch's start",
    supported={
        "shallow conv": above(0.3),
        "shallow conv, He's start": above(0.3),
        "fully connected": below(-0.3),
        "fully connected, He's start": below(-0.3),
        "fully connected, H": above(0.7),
        "fully connected, He's start, H": above(0.7),
    },
    conditional={"shallow conv": above(0.3), "fully connected": below(-0.3)},
    condition="from PyTorch's start; from He's the difference is smaller or the image no attractor",
    controls=("untrained conv", "unrelated images"),
    also=("deep conv", "conv that halves thrice", "shallow conv, with the input"),
    fails_when="The convolutional net is deep or halves the image: it then drifts towards the "
    "image it saw.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

STARTS = {"torch": "", "he": ", He's start"}
SLOW = ("deep conv", "conv that halves thrice")
KINDS: dict[str, Callable[[tuple[int, int, int], str], nn.Module]] = {
    "shallow conv": lambda shape, init: models.ConvAutoencoder(shape, 32, 3, init=init),
    "deep conv": lambda shape, init: models.ConvAutoencoder(shape, 16, 16, init=init),
    "conv that halves thrice": lambda shape, init: models.ConvAutoencoder(
        shape, 16, 6, downs=3, init=init
    ),
    "fully connected": lambda shape, init: models.MLPAutoencoder(shape, 512, 3, init=init),
}


def run(seeds: int, steps: int, deep_start: str = "he") -> Result:
    """Nets of each kind, each taught an image of its own; what they make of new images.

    The two slow kinds have one start: sixteen layers from PyTorch's let nothing through.
    """
    photos = data.load("photos", size=16, channels=1)
    vivid = photos.train[photos.train.flatten(1).std(1) > 0.2]
    taught_images = [vivid[7 * seed : 7 * seed + 1] for seed in range(seeds)]
    new = photos.test[photos.test.flatten(1).std(1) > 0.1][:100]
    shown = new[[3, 11, 27, 38, 52, 66]]

    def teach(kind: str, init: str, steps: int = steps) -> list[nn.Module]:
        nets = models.replicate(lambda: KINDS[kind](photos.shape, init), seeds)
        if steps:
            fit(nets, taught_images, steps=steps, batch_size=None, label=kind)
        return nets

    def resemblance(nets: Sequence[nn.Module]) -> tuple[np.ndarray, np.ndarray]:
        """Correlation of the outputs with the new input, and with the image taught."""
        outputs = measures.outputs(nets, new)  # (seeds, n, channels, height, width)
        taught = torch.stack([image.expand_as(new) for image in taught_images])
        pair = (measures.correlation(outputs, new), measures.correlation(outputs, taught))
        return pair[0].mean(1).numpy(), pair[1].mean(1).numpy()

    nets = {}
    for kind in KINDS:
        for init in (deep_start,) if kind in SLOW else STARTS:
            nets[kind + ("" if kind in SLOW else STARTS[init])] = teach(kind, init)
    pairs = {name: resemblance(group) for name, group in nets.items()}
    readings = {name: pair[0] - pair[1] for name, pair in pairs.items()}
    for after in STARTS.values():
        name = f"fully connected{after}"
        recall = measures.memory(nets[name], taught_images, new, times=200)
        readings[f"{name}, H"] = recall.recalled.float().mean(1)
    before = resemblance(teach("shallow conv", "torch", 0))
    unrelated = torch.stack([image.expand_as(new) for image in taught_images])
    readings["shallow conv, with the input"] = pairs["shallow conv"][0]
    readings["untrained conv"] = before[0] - before[1]
    readings["unrelated images"] = measures.correlation(unrelated, new).mean(1)
    order = sorted(pairs, key=lambda name: list(KINDS).index(name.split(",")[0]))
    with torch.no_grad():
        copies = {name: nets[name][0](shown) for name in order if "He's" not in name}
    show = {
        "models": nets,
        "taught": taught_images,
        "new": new,
        "with the input": {name: pairs[name][0] for name in order},
        "with the training image": {name: pairs[name][1] for name in order},
        "lesson": taught_images[0],
        "copies": {"input": shown, **copies},
    }
    keep = ("with the input", "with the training image", "lesson", "copies")
    return Result(readings, show, keep)


def picture(result: Result):
    """The training image, new ones, and what four nets make of them."""
    lesson = torch.as_tensor(result.show["lesson"])
    copies = {name: torch.as_tensor(rows) for name, rows in result.show["copies"].items()}
    names = {"conv that halves thrice": "halving conv"}
    return figures.grid(
        [torch.cat([lesson, rows]) for rows in copies.values()],
        labels=[names.get(name, name).replace(" ", "\n") for name in copies],
        columns=["learned"] + ["new"] * 6,
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 200},
    full={"seeds": 10, "steps": 400},
    picture=picture,
)
