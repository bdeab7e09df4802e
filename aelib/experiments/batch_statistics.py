"""Where does the large gain of a net with batch normalisation come from?"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from aelib import data, fit, measures, models
from aelib.claims import Claim, above
from aelib.experiments.copier_and_denoiser import gains
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.skips import RECIPE, copying_unets, large_photos, unets

SHARED = Claim(
    id="3.6",
    statement="In the document's own experiment the large gain is batch normalisation removing a "
    "brightness shift that the batch shares.",
    source="the document, section 3; this chapter",
    reading="batch − running statistics",
    measure="gain for noise of mean 0.7 and deviation 0.2: batch statistics over running ones",
    unit="dB",
    supported={
        "batch − running statistics": above(5),
        "batch statistics − no normalisation": above(5),
        "shift, shared − of each its own": above(3),
    },
    controls=("mean image", "frozen on clean images", "no normalisation"),
    also=("batch statistics", "running statistics"),
    fails_when="Each image has a shift of its own, or the net runs on statistics of other images.",
)
GIVES = Claim(
    id="3.7",
    statement="Batch normalisation gives denoising.",
    source="the document, section 3",
    reading="zero mean, with − without",
    measure="gain for white noise of mean zero, σ = 0.2: with batch normalisation, on batch "
    "statistics, over without",
    unit="dB",
    supported={"zero mean, with − without": above(0.5)},
    conditional={"shared shift, with − without": above(3)},
    controls=("shift of each, with − without", "shared contrast, with − without"),
    fails_when="The noise has mean zero, differs from image to image, or is a contrast the batch "
    "shares, which here it makes worse.",
)

OWN = "the document's"
NOISES = {
    "zero mean": data.gaussian(0.2),
    OWN: data.gaussian(0.2, mean=0.7),
    "shared shift": data.shift(0.2),
    "shift of each": data.shift(0.2, shared=False),
    "shared contrast": data.contrast(1.5),
}

Map = Callable[[Tensor], Tensor]


def on_batch(model: nn.Module) -> Map:
    """The model on the statistics of whatever batch comes."""

    def run(images: Tensor) -> Tensor:
        with models.batch_statistics(model.eval()):
            return model(images)

    return run


def on_clean(model: nn.Module, clean: Tensor) -> Map:
    """The model on the statistics of clean images."""

    def run(images: Tensor) -> Tensor:
        with models.statistics_of(model.eval(), clean):
            return model(images)

    return run


def run(seeds: int, steps: int) -> Result:
    """The gain for each noise and each way to run the net; readings also by (way, noise)."""
    photos = large_photos()
    normed = unets(photos, seeds, norm="batch")
    fit(normed, photos.train, steps=steps, label="batch norm", **RECIPE)
    ways = {
        "batch statistics": [on_batch(model) for model in normed],
        "running statistics": normed,
        "frozen on clean images": [on_clean(model, photos.test) for model in normed],
        "no normalisation": copying_unets(photos, "no skips", seeds, steps),
    }
    table = {
        (way, noise): gains(nets, photos.test, NOISES[noise])
        for way, nets in ways.items()
        for noise in NOISES
    }

    def gap(noise: str, first: str, second: str) -> Tensor:
        return table[first, noise] - table[second, noise]

    mean_image = [measures.mean_image(photos.train)] * seeds
    readings = {
        "batch − running statistics": gap(OWN, "batch statistics", "running statistics"),
        "batch statistics − no normalisation": gap(OWN, "batch statistics", "no normalisation"),
        "shift, shared − of each its own": table["batch statistics", "shared shift"]
        - table["batch statistics", "shift of each"],
        "mean image": gains(mean_image, photos.test, NOISES[OWN]),
        **{way: table[way, OWN] for way in ways},
        **{
            f"{noise}, with − without": gap(noise, "batch statistics", "no normalisation")
            for noise in NOISES
        },
    }
    return Result({**readings, **table}, {"photos": photos, "table": table, "ways": ways})


EXPERIMENT = Experiment(
    claims=(SHARED, GIVES),
    run=run,
    short={"seeds": 3, "steps": 400},
    full={"seeds": 6, "steps": 2000},
)
