"""Do late layers of a net trained on noise images show noise, and is it the noise images' doing?"""

from __future__ import annotations

from copy import deepcopy

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import figures, fit, inversion, models, objectives, random, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.cifar_classifiers import accuracy, labelled
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_file, to_file

DIFFERENCE = "noise images − photographs with random labels"
LEVELLED = ("levelled off, noise images", "levelled off, photographs with random labels")
CLAIM = Claim(
    id="4.15",
    statement="Late layers of a net trained on noise images show noise because of the noise "
    "images.",
    source="Badger's page: a ResNet-50 trained on 10,000 images of noise with 100 labels",
    reading=DIFFERENCE,
    measure="share of fine detail in what the last stage gives back of photographs, of the net "
    "trained on noise images less that of the net trained on photographs with the same labels",
    supported={DIFFERENCE: above(0.03), **dict.fromkeys(LEVELLED, above(0.5))},
    refuted={DIFFERENCE: below(0.03), **dict.fromkeys(LEVELLED, above(0.5))},
    controls=(
        "photographs with random labels",
        "untrained",
        "photograph",
        "untrained, from white noise",
        "noise images − untrained",
    ),
    also=(
        "noise images",
        "noise images, from white noise",
        "noise images, statistics of photographs",
        "leftover, noise images",
        "leftover, photographs with random labels",
        "leftover, untrained",
        "m_g/m_r, noise images",
        "m_g/m_r, photographs with random labels",
        "training accuracy, noise images",
        "training accuracy, photographs with random labels",
    ),
    fails_when="The search begins at white noise: then the late layers of every net show noise, "
    "the start's own. Or it is asked how loud the noise is: it is louder after training on "
    "noise, while the normalisation keeps the statistics of noise images.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

CLASSES = 100
LAYER = "stage4"
TRAINED = ("noise images", "photographs with random labels")
STARTS = {
    "": inversion.Recipe(),  # smooth
    ", from white noise": inversion.Recipe(init=inversion.WhiteNoise(std=0.25)),
}


def fine_share(images: Tensor) -> Tensor:
    """Share of each image's variance at waves shorter than four pixels; of white noise 0.72.

    Args:
        images: (..., channels, height, width).

    Returns:
        (...), from 0 to 1.
    """
    power = torch.fft.fft2(images.double()).abs().square()
    power[..., 0, 0] = 0  # the mean is no detail
    down, across = (torch.fft.fftfreq(size).abs() for size in images.shape[-2:])
    fine = torch.maximum(down[:, None], across) > 0.25
    total = power.sum((-3, -2, -1))
    return (power * fine).sum((-3, -2, -1)) / total.where(total > 0, 1.0)


def small_nets(
    photographs: Tensor, seeds: int, steps: int, width: int
) -> tuple[dict[str, list[nn.Module]], dict[str, list[float]]]:
    """Nets untrained and trained on as many noise images or photographs, and how far they fit."""
    generator = random.generator(0)
    noise = 0.5 + 0.25 * random.normal(photographs.shape, photographs, generator)
    noise = noise.clamp(0, 1)  # as a file would hold it
    labels = torch.randint(CLASSES, (len(photographs),), generator=generator)

    def build() -> nn.Module:
        return models.SmallResNet(photographs.shape[1:], CLASSES, width)

    nets = {"untrained": models.replicate(build, seeds)}
    fitted = {}
    for name, images in zip(TRAINED, (noise, photographs), strict=True):
        nets[name] = models.replicate(build, seeds)
        fit(
            nets[name],
            images,
            labels=labels,
            objective=objectives.classify,
            steps=steps,
            lr=3e-3,
            schedule="cosine",
            label=name,
        )
        fitted[name] = [accuracy(model, images, labels) for model in nets[name]]
    for model in nets["untrained"]:
        models.calibrate(model, photographs[:256])
    nets["noise images, statistics of photographs"] = [
        models.calibrate(deepcopy(model), photographs[:256]) for model in nets["noise images"]
    ]
    return nets, fitted


def read_back(model: nn.Module, images: Tensor, start: str, seed: int, steps: int, least: int):
    """The last stage of a net read until the search has levelled off."""
    result = inversion.invert(
        model.to(runtime.device()),
        images,
        LAYER,
        recipe=STARTS[start],
        seeds=[seed],
        steps=steps,
        until=inversion.LevelledOff(least=least),
    )
    return result[LAYER]


def run(name: str, seeds: int, train: int, train_steps: int, images: int, steps: int, least: int,
        width: int) -> Result:  # fmt: skip
    """Nets of each kind; photographs none was trained on, read back from the last stage of each."""
    found = labelled(name)
    shown = found.test[:: len(found.test) // images][:images]
    nets, fitted = small_nets(found.train[:train], seeds, train_steps, width)
    readings = {
        f"training accuracy, {kind}": torch.tensor(values) for kind, values in fitted.items()
    }
    readings["photograph"] = fine_share(shown).mean().expand(seeds)
    rows = {"photograph": shown}
    for kind, group in nets.items():
        for start in STARTS if kind in ("untrained", "noise images") else [""]:
            read = [
                read_back(model, shown, start, seed, steps, least)
                for seed, model in enumerate(group)
            ]
            readings[kind + start] = torch.stack([fine_share(one.images[0]).mean() for one in read])
            rows[kind + start] = read[0].images[0]
            if not start:
                readings[f"leftover, {kind}"] = torch.stack([one.leftover.mean() for one in read])
                readings[f"m_g/m_r, {kind}"] = torch.stack([one.ratio.median() for one in read])
                levelled = torch.stack([one.levelled_off.mean() for one in read])
                readings[f"levelled off, {kind}"] = levelled
    for control in ("photographs with random labels", "untrained"):
        readings[f"noise images − {control}"] = readings["noise images"] - readings[control]
    show = {"rows": {kind: to_file(row[:4], quality=95) for kind, row in rows.items()}}
    return Result(readings, show, keep=tuple(show))


def picture(result: Result) -> Figure:
    """Photographs, and what the last stage of the first net of each kind gives back of them."""
    rows = result.show["rows"]
    labels = [kind.replace(", ", ",\n").replace(" with", "\nwith") for kind in rows]
    return figures.grid([from_file(row) for row in rows.values()], labels=labels)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"name": "photographs", "seeds": 3, "train": 64, "train_steps": 6, "images": 1,
           "steps": 6, "least": 6, "width": 4},
    full={"name": "cifar10", "seeds": 12, "train": 1000, "train_steps": 1500, "images": 8,
          "steps": 2000, "least": 1000, "width": 16},
    picture=picture,
    chunk=3,
)  # fmt: skip
