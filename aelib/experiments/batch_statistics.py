"""What does a batch normalisation undo: noise, or what the images of a batch share?"""

# torch types what a Sequential holds too widely.
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random
from aelib.claims import Claim, above, below, between
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

SHARED = Claim(
    id="3.6",
    statement="In the experiment of Badger's code the gain is the batch's statistics undoing what "
    "the batch shares: brightness when noise is added, brightness and contrast when it is mixed "
    "in.",
    source="Badger's page, section 3, and his code; this chapter",
    reading="mixed, batch − running",
    measure="gain for 0.3 of the image and 0.7 of noise of mean 0.7 and deviation 0.2: one net on "
    "the batch's statistics over the same on running ones",
    unit="dB",
    supported={
        "mixed, batch − running": above(3),
        "mixed, batch − undone by hand": between(-1, 1),
        "mixed, own mean, batch − running": below(1),
        "added, batch − running": above(5),
    },
    controls=(
        "mixed, mean image",
        "mixed, PCA as accurate",
        "mixed, no net, batch standardised",
        "mixed, untrained",
        "mixed, no normalisation",
        "mixed, layer normalisation",
        "mixed, Wiener filter",
    ),
    also=(
        "mixed, batch statistics",
        "mixed, half the batch clean",
        "added, layer normalisation",
        "mixed, frozen on clean",
        "own shift, large, batch − running",
        "own shift, large, no net, batch standardised",
    ),
    fails_when="Each image has a mean of its own, the batch is small, or the net runs on "
    "statistics of other images.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)
GIVES = Claim(
    id="3.7",
    statement="A batch's own statistics take away white noise of mean zero.",
    source="Badger's page, section 3: batch normalisation gives denoising",
    reading="zero mean, batch − running",
    measure="gain for white noise of mean zero, σ = 0.2: one net on the batch's statistics over "
    "the same on running ones",
    unit="dB",
    supported={"zero mean, batch − running": above(0.5)},
    controls=("own shift, batch − running", "contrast, batch − running"),
    also=("zero mean, batch − no normalisation",),
    fails_when="The noise has mean zero: then there is nothing that the batch shares.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

SHARE, SIGMA, MEAN = 0.7, 0.2, 0.7  # Badger's noise, and how much of it its code mixes in
NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}
SIZES = (2, 8, 32, 128, 512)  # of the batch whose statistics are taken
HELD_OUT = 512
SHOWN = (
    "batch statistics",
    "running statistics",
    "undone by hand",
    "layer normalisation",
    "no normalisation",
)

Map = Callable[[Tensor], Tensor]


def own_mean(images: Tensor, generator: torch.Generator) -> Tensor:
    """The published mix, but each image's noise has a mean of 0.7 or 0.3 of its own."""
    signs = random.uniform((len(images), 1, 1, 1), images, generator).sub(0.5).sign()
    return data.mixed(SIGMA, SHARE)(images, generator) + SHARE * 0.2 * signs


NOISES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "mixed": data.mixed(SIGMA, SHARE, MEAN),
    "added": data.gaussian(SIGMA, MEAN),
    "mixed, own mean": own_mean,
    "zero mean": data.gaussian(SIGMA),
    "own shift": data.shift(0.2, shared=False),
    "own shift, large": data.shift(MEAN, shared=False),
    "contrast": data.contrast(1.5),
}
UNDO: dict[str, Map] = {
    "mixed": lambda x: (x - SHARE * MEAN) / (1 - SHARE),
    "added": lambda x: x - MEAN,
    "mixed, own mean": lambda x: (x - SHARE * 0.5) / (1 - SHARE),  # what all share
    "zero mean": lambda x: x,
}
LEFT = {"mixed": SHARE * SIGMA / (1 - SHARE), "added": SIGMA, "zero mean": SIGMA}


@cache  # cutting the crops takes longer than a short training
def pieces(size: int = 16) -> data.Images:
    """Pieces of five photographs, and others of the same five held out: one distribution."""
    crops = data.load("photos", size=size, channels=1)
    return data.Images("pieces", crops.train[:-HELD_OUT], crops.train[-HELD_OUT:])


def dense(shape: tuple[int, int, int], norm: str, width: int) -> nn.Module:
    """The net of Badger's dense code: six wide layers, one of `NORMS` behind the first."""
    model = models.MLPAutoencoder(shape, width, depth=6, activation="gelu")
    model.encoder.insert(2, NORMS[norm](width))
    return model


@cache  # three experiments look at the same nets
def copiers(norm: str, seeds: int, steps: int, width: int) -> list[nn.Module]:
    """Dense copiers of the pieces, with that normalisation."""
    images = pieces()
    nets = models.replicate(lambda: dense(images.shape, norm, width), seeds)
    recipe = {"batch_size": 128, "schedule": "cosine", "vmap": False, "label": f"{norm} norm"}
    fit(nets, images.train, steps=steps, **recipe)
    return nets


def on_batch(model: nn.Module, size: int = HELD_OUT) -> Map:
    """The model on the statistics of batches of `size` of whatever comes."""

    def run(images: Tensor) -> Tensor:
        with models.batch_statistics(model.eval()), torch.no_grad():
            return torch.cat([model(batch) for batch in images.split(size)])

    return run


def on_clean(model: nn.Module, clean: Tensor) -> Map:
    """The model on the statistics of clean images."""

    def run(images: Tensor) -> Tensor:
        with models.statistics_of(model.eval(), clean), torch.no_grad():
            return model(images)

    return run


def half_clean(model: nn.Module, clean: Tensor) -> Map:
    """Each half of the images in one batch with the clean ones of the other half."""
    run, half = on_batch(model), len(clean) // 2
    first = lambda x: run(torch.cat([x[:half], clean[half:]]))[:half]  # noqa: E731
    return lambda x: torch.cat([first(x), run(torch.cat([clean[:half], x[half:]]))[half:]])


def standardised(train: Tensor) -> Map:
    """No net: each pixel gets the mean and deviation over the batch that it has in `train`."""
    return lambda x: (x - x.mean(0)) / x.std(0) * train.std(0) + train.mean(0)


def pooled_gain(answer: Map, images: Tensor, noise: Callable, seed: int = 0) -> float:
    """10 log₁₀ of all the noise's energy over all that is left of it, in dB."""
    noisy = noise(images, random.generator(seed))
    left = measures.outputs(answer, noisy) - images
    return 10 * float(torch.log10((noisy - images).square().sum() / left.square().sum()))


def run(seeds: int, steps: int, width: int) -> Result:
    """The gain for each noise and each way to run the nets, by (noise, way)."""
    images = pieces()
    clean = images.test
    normed, layered, plain = (copiers(norm, seeds, steps, width) for norm in NORMS)
    on_batches = [on_batch(model) for model in normed]
    errors = [float(measures.clean_error(net, clean).mean()) for net in on_batches]
    untrained = models.replicate(lambda: dense(images.shape, "batch", width), seeds)
    ways: dict[str, list[Map]] = {
        "batch statistics": on_batches,
        "running statistics": list(normed),
        "frozen on clean": [on_clean(model, clean) for model in normed],
        "half the batch clean": [half_clean(model, clean) for model in normed],
        "no normalisation": list(plain),
        "layer normalisation": list(layered),
        "untrained": [on_batch(model) for model in untrained],
        "mean image": [measures.mean_image(images.train)] * seeds,
        "PCA as accurate": measures.matched_pca(images.train, clean, errors),
        "no net, batch standardised": [standardised(images.train)] * seeds,
    }
    table = {}
    for name, noise in NOISES.items():
        rows = dict(ways)
        if name in UNDO:
            undo = UNDO[name]
            rows["undone by hand"] = [lambda x, m=m, undo=undo: m(undo(x)) for m in normed]
        if name in LEFT:
            undo, best = UNDO.get(name, lambda x: x), measures.wiener_filter
            linear = best(images.train, LEFT[name])
            rows["Wiener filter"] = [lambda x, f=linear, undo=undo: f(undo(x))] * seeds
        for way, nets in rows.items():
            table[name, way] = torch.tensor([pooled_gain(net, clean, noise) for net in nets])

    readings = {f"{noise}, {way}": row for (noise, way), row in table.items()}
    for noise in NOISES:
        for name, other in (
            ("running", "running statistics"),
            ("undone by hand", "undone by hand"),
            ("no normalisation", "no normalisation"),
        ):
            if (noise, other) in table:
                gap = table[noise, "batch statistics"] - table[noise, other]
                readings[f"{noise}, batch − {name}"] = gap
    by_size = [
        [pooled_gain(on_batch(model, size), clean, NOISES["mixed"]) for size in SIZES]
        for model in normed
    ]
    some = clean[clean.flatten(1).std(1).argsort(descending=True)[10:200:28]]
    noisy = NOISES["mixed"](clean, random.generator(0))
    chosen = [int((clean == one).flatten(1).all(1).nonzero()[0]) for one in some]
    rows = {
        "clean": some,
        "mixed": noisy[chosen],
        "batch": on_batches[0](noisy)[chosen],
        "running": measures.outputs(normed[0], noisy)[chosen],
    }
    gains = {name: {way: table[name, way] for way in SHOWN} for name in UNDO}
    show = {"gains": gains, "by size": torch.tensor(by_size), "rows": rows}
    return Result(readings, show, keep=("gains", "by size", "rows"))


def picture(result: Result) -> Figure:
    """Left, the gain by corruption and way to run; right, over the size of the batch."""
    gains = result.show["gains"]
    figure, (left, right) = figures.canvas(1, 2, height=6)
    figures.grouped_bars(
        gains,
        xlabel="denoising gain (dB)",
        number=".1f",
        ax=left,
    )
    by_hand = float(gains["mixed"]["undone by hand"].mean())
    figures.curves(
        SIZES,
        {"batch statistics": result.show["by size"]},
        lines={"undone by hand": by_hand},
        xlabel="images in the batch",
        ylabel="gain, mixed noise (dB)",
        logx=True,
        ax=right,
    )
    return figure


def stretched(result: Result) -> Figure:
    """The same pictures as they are, and each stretched to [0, 1] by itself."""

    def stretch(images: Tensor) -> Tensor:
        low, high = images.amin((1, 2, 3), True), images.amax((1, 2, 3), True)
        return (images - low) / (high - low)

    rows = {name: torch.as_tensor(row) for name, row in result.show["rows"].items()}
    both = {**rows, **{f"{name},\nstretched": stretch(row) for name, row in rows.items()}}
    return figures.grid(list(both.values()), labels=list(both))


EXPERIMENT = Experiment(
    claims=(SHARED, GIVES),
    run=run,
    short={"seeds": 3, "steps": 80, "width": 256},
    full={"seeds": 10, "steps": 1200, "width": 320},
    picture=picture,
)
