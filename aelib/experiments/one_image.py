"""Taught a single image, which net learns to copy any, and which stores the one it saw?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aelib import data, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.6",
    statement="From one training image a shallow convolutional net learns to copy any image, and "
    "a fully connected one stores the image it saw.",
    source="Zhang et al. 2020; Radhakrishnan et al. 2018",
    reading="shallow conv, with the input",
    measure="correlation of output and new input, three convolutions at full size",
    supported={
        "shallow conv, with the input": above(0.7),
        "shallow conv, with the training image": below(0.4),
        "fully connected, with the training image": above(0.9),
        "fully connected, with the input": below(0.3),
        "fully connected, H": above(0.9),
    },
    controls=("untrained conv, with the input", "unrelated images"),
    also=("deep conv, with the input",),
    fails_when="The convolutional net is deep or halves the image: it then drifts towards the "
    "image it saw.",
)

KINDS: dict[str, Callable[[tuple[int, int, int]], nn.Module]] = {
    "shallow conv": lambda shape: models.ConvAutoencoder(shape, width=32, depth=3),
    "deep conv": lambda shape: models.ConvAutoencoder(shape, width=16, depth=16),
    "conv that halves thrice": lambda shape: models.ConvAutoencoder(
        shape, width=16, depth=6, downs=3
    ),
    "fully connected": lambda shape: models.MLPAutoencoder(shape, width=512, depth=3),
}


def run(seeds: int, slow_seeds: int, steps: int) -> Result:
    """Nets of each kind, each taught an image of its own; what they make of new images."""
    photos = data.load("photos", size=16, channels=1)
    vivid = photos.train[photos.train.flatten(1).std(1) > 0.2]
    taught_images = [vivid[7 * seed : 7 * seed + 1] for seed in range(seeds)]
    new = photos.test[photos.test.flatten(1).std(1) > 0.1][:100]

    def teach(kind: str, steps: int = steps) -> list[nn.Module]:
        slow = kind in ("deep conv", "conv that halves thrice")
        n = slow_seeds if slow else seeds
        nets = models.replicate(lambda: KINDS[kind](photos.shape), n)
        if steps:
            fit(nets, taught_images[:n], steps=steps, batch_size=None, label=kind)
        return nets

    def resemblance(nets: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
        """Correlation of the outputs with the new input, and with the image taught."""
        outputs = measures.outputs(nets, new)  # (seeds, n, channels, height, width)
        taught = torch.stack([image.expand_as(new) for image in taught_images[: len(nets)]])
        with_new = measures.correlation(outputs, new).mean(1)
        return with_new, measures.correlation(outputs, taught).mean(1)

    nets = {kind: teach(kind) for kind in KINDS}
    with_input, with_taught = {}, {}
    for kind, group in nets.items():
        with_input[kind], with_taught[kind] = resemblance(group)
    recall = measures.memory(nets["fully connected"], taught_images, new, times=200)
    unrelated = torch.stack([image.expand_as(new) for image in taught_images])
    readings = {
        "shallow conv, with the input": with_input["shallow conv"],
        "shallow conv, with the training image": with_taught["shallow conv"],
        "fully connected, with the training image": with_taught["fully connected"],
        "fully connected, with the input": with_input["fully connected"],
        "fully connected, H": recall.recalled.float().mean(1),
        "deep conv, with the input": with_input["deep conv"],
        "untrained conv, with the input": resemblance(teach("shallow conv", 0))[0],
        "unrelated images": measures.correlation(unrelated, new).mean(1),
    }
    show = {
        "models": nets,
        "taught": taught_images,
        "new": new,
        "with the input": with_input,
        "with the training image": with_taught,
    }
    return Result(readings, show)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 10, "slow_seeds": 3, "steps": 400},
    full={"seeds": 10, "slow_seeds": 10, "steps": 400},
)
