"""What is left of a start when layers are read back, before training and after?"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aelib import data, fit, inversion, measures, models, random
from aelib.claims import Claim, above, below, between
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

GAUSSIAN = Claim(
    id="3.8",
    statement="What an untrained deep net loses of its input comes back as nearly Gaussian noise.",
    source="the document, section 3",
    reading="kurtosis, untrained",
    measure="excess kurtosis of what is left after six layers, from a uniform start (0 is "
    "Gaussian)",
    supported={
        "kurtosis, untrained": between(-0.4, 0.4),
        "leftover f, untrained": above(0.4),
        "|kurtosis − equation|": below(0.3),
    },
    controls=("kurtosis of the start", "kurtosis, trained"),
    also=("in place g, untrained",),
    fails_when="The net is trained: what is left then keeps more of the start's own noise, and "
    "over half of its kurtosis.",
)
REMOVED = Claim(
    id="3.9",
    statement="Training removes the noise with which an untrained deep net's input comes back.",
    source="the document, section 3",
    reading="from noise, trained − untrained",
    measure="change of the leftover f of the median image by training, last hidden layer, from "
    "noise",
    supported={"from noise, trained − untrained": below(-0.1)},
    conditional={"from other images, trained − untrained": below(-0.1)},
    controls=("from noise, untrained", "from other images, untrained"),
    fails_when="The leftover lies off the data: training teaches the layers to see the data's "
    "directions and no others.",
)

HIDDEN = ("encoder.1", "encoder.3", "encoder.5", "decoder.1", "decoder.3", "decoder.5")
STATES = ("untrained", "trained")
STARTS = ("noise", "other images")


def uniform_start(images: Tensor, seed: int) -> Tensor:
    """The images with uniform noise of deviation 0.3."""
    drawn = random.uniform(images.shape, images, random.generator(seed))
    return images + 0.3 * math.sqrt(12) * (drawn - 0.5)


def leftovers(model: nn.Module, images: Tensor, start: Tensor, search: int) -> Tensor:
    """f, g, excess kurtosis and the median image's f, for each hidden layer: (4, layers).

    The last is the median image's, for the others are over all images at once, and a single search
    that runs away can decide them.
    """
    plain = inversion.Recipe(parameterization=inversion.Pixels(), init_contrast=1.0, steps=search)
    result = inversion.invert(model, images, HIDDEN, recipe=plain, init=start, label="reading back")
    before, rows = start - images, []
    for layer in HIDDEN:
        left = result[layer].images[0] - images
        energy = before.square().sum()
        rows.append(
            [
                float(left.square().sum() / energy),
                float((left * before).sum() / energy),
                float(measures.excess_kurtosis(left).mean()),
                float(result[layer].leftover.median()),
            ]
        )
    return torch.tensor(rows).T


def run(seeds: int, steps: int, search: int) -> Result:
    """Stacks of six wide layers, untrained and trained, read back from two kinds of start."""
    digits = data.load("digits")
    images = digits.test[:24]
    untrained, trained = (
        models.replicate(lambda: models.MLPAutoencoder(digits.shape, width=128, depth=6), seeds)
        for _ in range(2)
    )
    fit(trained, digits.train, steps=steps, label="six layers")
    starts = {
        "noise": [uniform_start(images, seed) for seed in range(seeds)],
        "other images": [digits.test[100 + 40 * s : 124 + 40 * s] for s in range(seeds)],
    }
    left = {  # each (seeds, 4, layers)
        (state, start): torch.stack(
            [
                leftovers(model, images, begin, search)
                for model, begin in zip(nets, starts[start], strict=True)
            ]
        )
        for state, nets in zip(STATES, (untrained, trained), strict=True)
        for start in STARTS
    }
    last = {key: rows[:, :, -1] for key, rows in left.items()}  # (seeds, 4)
    f, g, kurtosis, _ = last["untrained", "noise"].T
    flat = torch.stack(
        [measures.excess_kurtosis(begin - images).mean() for begin in starts["noise"]]
    )
    readings = {
        "kurtosis, untrained": kurtosis,
        "leftover f, untrained": f,
        "in place g, untrained": g,
        "|kurtosis − equation|": (kurtosis - flat.mean() * g**4 / f**2).abs(),
        "kurtosis, trained": last["trained", "noise"][:, 2],
        "kurtosis of the start": flat,
    }
    for start in STARTS:
        before, after = (last[state, start][:, 3] for state in STATES)
        readings[f"from {start}, trained − untrained"] = after - before
        readings[f"from {start}, untrained"] = before
    return Result(readings, {"left": left, "kurtosis of the start": float(flat.mean())})


EXPERIMENT = Experiment(
    claims=(GAUSSIAN, REMOVED),
    run=run,
    short={"seeds": 3, "steps": 600, "search": 150},
    full={"seeds": 6, "steps": 600, "search": 1000},
)
