"""What is left of a start when layers are read back, before training and after?"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, inversion, measures, models, random
from aelib.claims import Claim, above, below, between
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.noisy_input_read_back import arrived

GAUSSIAN = Claim(
    id="3.8",
    statement="What an untrained deep net loses of its input comes back with nearly the kurtosis "
    "of Gaussian noise.",
    source="Badger's page, section 3",
    reading="kurtosis, untrained",
    measure="excess kurtosis of what is left after six layers, from a uniform start (0 is "
    "Gaussian)",
    supported={
        "kurtosis, untrained": between(-0.4, 0.4),
        "leftover f, untrained": above(0.4),
        "|kurtosis − equation|": below(0.3),
        "arrived, untrained": above(0.5),  # the other readings are of images that arrived
    },
    controls=(
        "kurtosis of the start",
        "kurtosis, trained",
        "mean colour, f from noise",
        "thumbnail, f from noise",
    ),
    also=(
        "in place g, untrained",
        "m_g/m_r, untrained",
        "numerical rank, untrained",
        "numerical rank, trained",
    ),
    fails_when="The net is trained: less is left then, and it keeps more of the start's own shape.",
    seen_before="first run",
    rule_changed="2026-11-26",
)
REMOVED = Claim(
    id="3.9",
    statement="Training removes the noise with which an untrained deep net's input comes back.",
    source="Badger's page, section 3",
    reading="from noise, trained − untrained",
    measure="change of the leftover f of the median image by training, last hidden layer of a "
    "dense net, from noise",
    supported={
        "from noise, trained − untrained": below(-0.1),
        "from noise, half the evaluations": below(-0.1),
        "arrived, trained": above(0.5),
        "arrived, untrained": above(0.5),
        "U-Net, from noise, trained − untrained": below(-0.1),
    },
    conditional={
        "from noise, trained − untrained": below(-0.1),
        "from noise, half the evaluations": below(-0.1),
        "arrived, trained": above(0.5),
        "arrived, untrained": above(0.5),
    },
    condition="the net is dense: of a U-Net without skips it was not shown",
    controls=(
        "from noise, untrained",
        "from other images, untrained",
        "U-Net, from noise, untrained",
        "mean colour, f from noise",
        "thumbnail, f from noise",
    ),
    also=(
        "from other images, trained − untrained",
        "U-Net, arrived, untrained",
        "m_g/m_r, trained",
        "m_g/m_r, untrained",
        "change on doubling, trained",
        "change on doubling, untrained",
    ),
    fails_when="The search stops early: after 150 evaluations the sign is the other one.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

HIDDEN = ("encoder.1", "encoder.3", "encoder.5", "decoder.1", "decoder.3", "decoder.5")
DEPTHS = (1, 2, 4, 6)  # of the hidden layers, those followed
LAYERS = tuple(HIDDEN[depth - 1] for depth in DEPTHS)
STATES = ("untrained", "trained")
STARTS = ("noise", "other images")
NUMBERS = ("f", "g", "kurtosis", "median f", "median f at half", "change", "m_g/m_r", "arrived")


def uniform_start(images: Tensor, seed: int) -> Tensor:
    """The images with uniform noise of deviation 0.3."""
    drawn = random.uniform(images.shape, images, random.generator(seed))
    return images + 0.3 * math.sqrt(12) * (drawn - 0.5)


def others(digits: data.Images, n: int, seed: int) -> Tensor:
    """`n` test images to start from, none of the first hundred."""
    drawn = torch.randperm(len(digits.test) - 100, generator=random.generator(seed))[:n]
    return digits.test[100 + drawn]


def leftovers(
    model: nn.Module, images: Tensor, start: Tensor, search: int, layers=LAYERS
) -> Tensor:
    """`NUMBERS` for each layer, (numbers, layers).

    f, g and kurtosis are over the images whose search has arrived, all at once, and over all images
    where none has; the others are of the median image.
    """
    plain = inversion.Recipe(parameterization=inversion.Pixels(), init_contrast=1.0, steps=search)
    half = [search // 2]
    result = inversion.invert(
        model,
        images,
        layers,
        recipe=plain,
        init=start,
        log_at=half,
        until=1e-4,
        label="reading back",
    )
    before, rows = start - images, []
    for layer in layers:
        found = result[layer]
        left = found.images[0] - images
        f_half = (found.trace["m_i"][0, :, 1] / found.m_i_start[0]).square()
        change = (found.leftover[0] / f_half.clamp_min(1e-12) - 1).abs()
        there = arrived(found)
        counted = there if there.any() else ~there
        start_left, end_left = before[counted], left[counted]
        energy = start_left.square().sum()
        rows.append(
            [
                float(end_left.square().sum() / energy),
                float((end_left * start_left).sum() / energy),
                float(measures.excess_kurtosis(end_left).mean()),
                float(found.leftover.median()),
                float(f_half.median()),
                float(change.median()),
                float(found.ratio.median()),
                float(there.float().mean()),
            ]
        )
    return torch.tensor(rows).T


def no_information(images: Tensor, start: Tensor) -> tuple[float, float]:
    """f of each image's mean colour, and of its 4 × 4 thumbnail: what a blank mind scores."""
    energy = (start - images).square().sum()
    return tuple(
        float((guess - images).square().sum() / energy)
        for guess in (measures.thumbnail(images, side=1), measures.thumbnail(images))
    )  # type: ignore[return-value]


def run(seeds: int, steps: int, search: int, images: int) -> Result:
    """Dense stacks and U-Nets, untrained and trained, read back from two kinds of start."""
    digits = data.load("digits")
    seen = digits.test[:images]
    kinds = {
        "dense": lambda: models.MLPAutoencoder(digits.shape, width=128, depth=6),
        "U-Net": lambda: models.UNet(digits.shape, 8, downs=1, norm="none"),
    }
    nets = {}
    for kind, build in kinds.items():
        for state in STATES:
            nets[kind, state] = models.replicate(build, seeds)
        fit(nets[kind, "trained"], digits.train, steps=steps, lr=2e-3, schedule="cosine")
    starts = {
        "noise": [uniform_start(seen, seed) for seed in range(seeds)],
        "other images": [others(digits, images, seed) for seed in range(seeds)],
    }

    def of(kind: str, state: str, start: str, layers) -> Tensor:
        pairs = zip(nets[kind, state], starts[start], strict=True)
        return torch.stack([leftovers(m, seen, s, search, layers) for m, s in pairs])

    noise = {state: of("dense", state, "noise", LAYERS) for state in STATES}
    other = {state: of("dense", state, "other images", LAYERS[-1:]) for state in STATES}
    unet = {state: of("U-Net", state, "noise", ["up.0"]) for state in STATES}
    at = NUMBERS.index
    last = {state: rows[:, :, -1] for state, rows in noise.items()}  # (seeds, numbers)
    f, g, kurtosis = (last["untrained"][:, at(name)] for name in ("f", "g", "kurtosis"))
    flat = torch.stack([measures.excess_kurtosis(s - seen).mean() for s in starts["noise"]])
    blank = torch.tensor([no_information(seen, s) for s in starts["noise"]])

    def both(rows: dict, name: str, of: str) -> dict:
        before, after = (rows[state][:, at(name), -1] for state in STATES)
        return {f"{of}, trained − untrained": after - before, f"{of}, untrained": before}

    half = [last[state][:, at("median f at half")] for state in STATES]
    readings = {
        "kurtosis, untrained": kurtosis,
        "leftover f, untrained": f,
        "in place g, untrained": g,
        "|kurtosis − equation|": (kurtosis - flat.mean() * g**4 / f**2).abs(),
        "kurtosis, trained": last["trained"][:, at("kurtosis")],
        "kurtosis of the start": flat,
        **both(noise, "median f", "from noise"),
        **both(other, "median f", "from other images"),
        **both(unet, "median f", "U-Net, from noise"),
        "U-Net, arrived, untrained": unet["untrained"][:, at("arrived"), -1],
        "from noise, half the evaluations": half[1] - half[0],
        "mean colour, f from noise": blank[:, 0],
        "thumbnail, f from noise": blank[:, 1],
    }
    for state in STATES:
        readings[f"arrived, {state}"] = last[state][:, at("arrived")]
        readings[f"m_g/m_r, {state}"] = last[state][:, at("m_g/m_r")]
        readings[f"change on doubling, {state}"] = last[state][:, at("change")]
        readings[f"numerical rank, {state}"] = [
            float(inversion.spectrum(net, seen[:1], LAYERS[-1], k=50)[LAYERS[-1]].rank(0.01))
            for net in nets["dense", state]
        ]
    show = {"from noise": noise, "blank": blank.mean(0), "flat": flat.mean()}
    return Result(readings, show, tuple(show))


def picture(result: Result):
    """Left: what is left by depth, beside a blank mind's. Right: its kurtosis and the equation."""
    noise, (mean, thumbnail) = result.show["from noise"], result.show["blank"]
    flat, at = float(result.show["flat"]), NUMBERS.index
    figure, (left, right) = figures.canvas(1, 2, height=4.4)
    figures.curves(
        DEPTHS,
        {state: noise[state][:, at("median f")] for state in STATES},
        lines={"the start": 1, "4 × 4 thumbnail": float(thumbnail), "mean colour": float(mean)},
        xlabel="hidden layer",
        ylabel="leftover f, median image, from noise",
        ax=left,
    )
    equation = {
        f"equation, {state}": flat
        * (noise[state][:, at("g")] ** 4 / noise[state][:, at("f")] ** 2).mean(0)
        for state in STATES
    }
    figures.curves(
        DEPTHS,
        {state: noise[state][:, at("kurtosis")] for state in STATES},
        exact=equation,
        lines={"Gaussian": 0, "the start": flat},
        xlabel="hidden layer",
        ylabel="excess kurtosis",
        ax=right,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(GAUSSIAN, REMOVED),
    run=run,
    short={"seeds": 3, "steps": 200, "search": 60, "images": 4},
    full={"seeds": 14, "steps": 3000, "search": 3000, "images": 12},
    picture=picture,
    chunk=2,
)
