"""Which layers of a classifier still hold the picture, and does training change that?"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, inversion, models, objectives, random, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESIDUAL = Claim(
    id="4.1",
    statement="In a residual net, early layers allow a near-perfect copy of the input without any "
    "training, and late layers do not.",
    source="Badger's page, section 4",
    reading=("ResNet untrained", "stem"),
    measure="leftover f at the small residual net's stem, untrained",
    supported={
        ("ResNet untrained", "stem"): below(0.01),
        ("ResNet untrained", "stage4"): above(0.5),
        ("ResNet-50", "conv1", "by image"): below(0.05),
        ("ResNet-50", "layer4", "by image"): above(0.3),
    },
    controls=(
        "the start",
        ("ResNet untrained", "stage4", "m_g/m_r"),
        ("ResNet untrained", "stage4", "m_g/m_r of the start"),
        ("ResNet-50", "layer4", "m_g/m_r, by image"),
        ("ResNet-50, calibrated", "layer4", "m_g/m_r, by image"),
        ("ResNet-50, calibrated", "layer4", "m_g/m_r of the start, by image"),
    ),
    also=(
        ("ResNet untrained", "stage1"),
        ("ResNet untrained", "stage2"),
        ("ResNet-50", "layer2", "by image"),
        ("ResNet-50", "layer4", "m_g/m_r of the start, by image"),
        ("ResNet-50, calibrated", "layer4", "by image"),
    ),
    units="nets; of ResNet-50, images",
    fails_when="Early means more than the first stage. How late is late depends on the "
    "statistics: in calibrated nets our search finds the picture less deep.",
)
TRANSFORMER = Claim(
    id="4.2",
    statement="In a vision transformer too, early layers allow a clear copy of the input, and late "
    "layers do not.",
    source="Badger's page, section 4",
    reading=("ViT untrained", "embedding"),
    measure="leftover f at the small transformer's embedding, untrained",
    supported={
        ("ViT untrained", "embedding"): below(0.01),
        ("ViT untrained", "block5"): above(0.3),
    },
    conditional={
        ("ViT untrained", "embedding"): below(0.01),
        ("ViT untrained", "block5"): below(0.1),
        ("ViT untrained", "token"): above(0.2),
        ("ViT-L/16", "block 4", "by image"): below(0.1),
    },
    controls=(
        ("ViT untrained", "token", "m_g/m_r"),
        "elements of the token / of the image",
        "the start",
    ),
    also=(("ViT trained", "block5"), ("ViT-L/16", "block 0", "by image")),
    condition="Early and late are told apart by the class token, not by depth: all tokens together "
    "keep the picture through every block.",
    units="nets; of ViT-L/16, images",
    fails_when="One reads all tokens: untrained, they keep the picture through every block. It "
    "holds for the class token, which is what the classifier uses, and which has too few elements "
    "for an image.",
)
TRAINING = Claim(
    id="4.4",
    statement="Training to classify changes what layers keep: the first stages of a residual net "
    "see more, the tokens of a transformer less.",
    source="this chapter",
    reading=("ViT block5", "trained / untrained"),
    measure="leftover in the transformer's last block, trained over untrained, same seed",
    supported={
        ("ViT block5", "trained / untrained"): above(2.0),
        ("ResNet stage1", "trained / untrained"): below(0.9),
    },
    conditional={("ViT block5", "trained / untrained"): above(2.0)},
    controls=(
        ("ViT block5", "between untrained seeds"),
        ("ResNet stage1", "between untrained seeds"),
        ("ResNet stage2", "stale statistics / untrained"),
        ("ViT untrained", "block5", "m_g/m_r"),
        ("ViT trained", "block5", "m_g/m_r"),
    ),
    also=(("ResNet stage2", "trained / untrained"), ("ViT trained", "block5")),
    condition="Of transformers only: whether the first stage of a residual net sees more is not "
    "shown.",
    ratios=(
        ("ViT block5", "trained / untrained"),
        ("ResNet stage1", "trained / untrained"),
        ("ResNet stage2", "trained / untrained"),
        ("ViT block5", "between untrained seeds"),
        ("ResNet stage1", "between untrained seeds"),
        ("ResNet stage2", "stale statistics / untrained"),
    ),
    fails_when="One looks at the late stages, which know next to nothing before and after; and "
    "the gain of the first stage is not there in every seed.",
)

LAYERS = {
    "ResNet": ["stem", "stage1", "stage2", "stage3", "stage4", "pool"],
    "ViT": ["embedding", "block0", "block1", "block3", "block5", "token"],
}
KINDS = [(kind, state) for kind in LAYERS for state in ("untrained", "trained")]
BUILDERS = {"ResNet": models.SmallResNet, "ViT": models.SmallViT}
STAGES = ["conv1", "layer1", "layer2", "layer3", "layer4"]


def pieces_of_photographs(size: int = 32) -> tuple[data.Images, Tensor, Tensor]:
    """Pieces, whose photograph each is, and a few lively ones from others."""
    photos = data.load("photos", size=size)
    names = sorted(set(photos.train_sources))
    labels = torch.tensor([names.index(source) for source in photos.train_sources])
    lively = photos.test[photos.test.flatten(1).std(1) > 0.15]
    return photos, labels, lively[:: len(lively) // 8]


def small_nets(seeds: int, steps: int) -> dict[tuple[str, str], list[nn.Module]]:
    """Untrained and trained nets of each kind, on the same statistics."""
    photos, labels, _ = pieces_of_photographs()
    sample, nets = photos.train[:256], {}
    for kind, build in BUILDERS.items():
        untrained, trained = (
            models.replicate(lambda build=build: build(photos.shape, 5), seeds) for _ in range(2)
        )
        fit(
            trained,
            photos.train,
            labels=labels,
            objective=objectives.classify,
            steps=steps,
            batch_size=32,
            label=kind,
        )
        if kind == "ResNet":
            nets[kind, "stale"] = copy.deepcopy(trained)  # as training left its statistics
            for model in (*untrained, *trained):
                models.calibrate(model, sample, batch_size=128)
        nets |= {(kind, "untrained"): untrained, (kind, "trained"): trained}
    return nets


def read_back(
    nets: Mapping[tuple[str, str], Sequence[nn.Module]], images: Tensor, steps: int
) -> dict[tuple[str, str], list[inversion.Inversion]]:
    """Layers read back, an inversion a seed, each net from a start of its own."""
    return {
        (kind, state): [
            inversion.invert(
                model,
                images,
                LAYERS[kind] if state != "stale" else ["stage2"],
                seeds=[seed],
                steps=steps,
            )
            for seed, model in enumerate(group)
        ]
        for (kind, state), group in nets.items()
    }


def within(result: inversion.LayerInversion) -> Tensor:
    """m_g / m_r: below 1 the layer cannot tell, within the yardstick."""
    return result.m_g / result.m_r


def start_within(result: inversion.LayerInversion) -> Tensor:
    """The same for the image the search began at."""
    return result.trace["m_g"][..., 0] / result.m_r


def medians(runs: Sequence[inversion.Inversion], layer: str, measure) -> Tensor:
    """One number a seed: the median over images."""
    return torch.stack([measure(run[layer]).median() for run in runs])


def leftover(result: inversion.LayerInversion) -> Tensor:
    """f, the share of the start's error that is left."""
    return result.leftover


def large_model(name: str, weights: str | Path | None, size: int, blocks: int) -> nn.Module:
    """ResNet-50 or ViT-L/16; with random weights no more of its blocks than are read."""
    if weights is not None or not name.startswith("ViT"):
        return models.classifier(
            "vit_l_16" if name.startswith("ViT") else "resnet50", weights, size=size
        )
    from torchvision.models import VisionTransformer

    with random.seeded(0):  # ViT-L/16's sizes; a block that is not read need not be drawn
        return VisionTransformer(size, 16, blocks, 16, 1024, 4096).eval()


def read_large(
    steps: int, weights: str | Path | None = None, n: int = 3
) -> tuple[Tensor, dict[str, inversion.Inversion]]:
    """ResNet-50, as built and calibrated, and ViT-L/16 themselves, read back from `n` pieces.

    `weights`: None for random ones, "DEFAULT" or a file for trained ones, as `models.classifier`
    takes them. The "gpu" profile reads larger images, deeper, with 500 steps at least.
    """
    profile = runtime.profile()
    size, steps = profile.pick(cpu=64, gpu=224), profile.pick(cpu=steps, gpu=max(steps, 500))
    blocks = profile.pick(cpu=[0, 4], gpu=[0, 1, 4, 12, 23])
    device = runtime.device() if profile.name == "gpu" else None
    photos = data.load("photos", size=size, train=64, test=64)
    lively = photos.test[photos.test.flatten(1).std(1).argsort(descending=True)]
    apart = 30 // n
    images, results = lively[: apart * n : apart], {}
    tokens = [f"encoder.layers.encoder_layer_{block}" for block in blocks]
    for name, layers in (
        ("ResNet-50", STAGES),
        ("ResNet-50, calibrated", STAGES),
        ("ViT-L/16", tokens),
    ):
        model = large_model(name, weights, size, blocks[-1] + 1)
        model = model if device is None else model.to(device)
        if weights is None and name.endswith("calibrated"):
            sample = photos.train if device is None else photos.train.to(device)
            models.calibrate(model, sample, batch_size=128)
        forward = None if weights is None else models.imagenet
        results[name] = inversion.invert(model, images, layers, steps=steps, forward=forward)
    return images, results


def short_name(layer: str) -> str:
    """A layer's name in a figure."""
    return layer.replace("encoder.layers.encoder_layer_", "block ")


def run(
    seeds: int, train_steps: int, images: int, steps: int, large_steps: int, large_images: int
) -> Result:
    """Small nets of both kinds, untrained and trained; the large ones, untrained."""
    _, _, lively = pieces_of_photographs()
    nets = small_nets(seeds, train_steps)
    read = read_back(nets, lively[:images], steps)
    readings: dict[Any, Any] = {"the start": [1.0] * seeds}
    for (kind, state), runs in read.items():
        for layer in runs[0]:
            readings[f"{kind} {state}", layer] = medians(runs, layer, leftover)
            readings[f"{kind} {state}", layer, "m_g/m_r"] = medians(runs, layer, within)
    readings["ResNet untrained", "stage4", "m_g/m_r of the start"] = medians(
        read["ResNet", "untrained"], "stage4", start_within
    )
    token = inversion.features(nets["ViT", "untrained"][0], lively[:1], "token")["token"]
    share = token.numel() / lively[0].numel()
    readings["elements of the token / of the image"] = [share] * seeds

    for kind, layer in (("ViT", "block5"), ("ResNet", "stage1"), ("ResNet", "stage2")):
        before, after = (readings[f"{kind} {state}", layer] for state in ("untrained", "trained"))
        readings[f"{kind} {layer}", "trained / untrained"] = after / before
        readings[f"{kind} {layer}", "between untrained seeds"] = before / before.roll(1)
    stale = readings["ResNet stale", "stage2"] / readings["ResNet untrained", "stage2"]
    readings["ResNet stage2", "stale statistics / untrained"] = stale

    pieces, large = read_large(large_steps, n=large_images)
    for name, result in large.items():
        for layer in result:
            row, place = result[layer], (name, short_name(layer))
            readings[(*place, "by image")] = row.leftover[0]
            readings[(*place, "m_g/m_r, by image")] = within(row)[0]
            readings[(*place, "m_g/m_r of the start, by image")] = start_within(row)[0]
    show = {
        "leftover": by_layer(read, leftover),
        "m_g/m_r": by_layer(read, within),
        "pictures": {
            place: on_screen(
                torch.stack(
                    [lively[0], *(read[place][0][name].images[0, 0] for name in LAYERS[place[0]])]
                )
            )
            for place in KINDS
        },
        "large": {
            name: on_screen(
                torch.cat([pieces[:1], *(layers[layer].images[0, :1] for layer in layers)])
            )
            for name, layers in large.items()
        },
        "large layers": [
            "\n".join(pair)
            for pair in itertools.zip_longest(
                STAGES, map(short_name, large["ViT-L/16"]), fillvalue=""
            )
        ],
        "images": lively,
        "models": nets,
    }
    return Result(readings, show, ("leftover", "m_g/m_r", "pictures", "large", "large layers"))


def by_layer(read: Mapping, measure) -> dict[tuple[str, str], Tensor]:
    """Of each kind of net, untrained and trained, (seeds, layers)."""
    return {
        place: torch.stack([medians(read[place], layer, measure) for layer in LAYERS[place[0]]], 1)
        for place in KINDS
    }


def read_back_picture(result: Result) -> Figure:
    """One image, and what six layers of the first net of each kind give back of it."""
    heads = map("\n".join, zip(*LAYERS.values(), strict=True))
    return figures.grid(
        [result.show["pictures"][place] for place in KINDS],
        labels=[f"{kind},\n{state}" for kind, state in KINDS],
        columns=["input", *heads],
    )


def depth_picture(result: Result) -> Figure:
    """By layer, what is left of the start's error, and how near the search came in the layer."""
    figure, axes = figures.canvas(2, 2, height=6.2)
    for column, (kind, layers) in enumerate(LAYERS.items()):
        for ax, quantity, ylabel in (
            (axes[column], "leftover", "leftover f"),
            (axes[2 + column], "m_g/m_r", "m_g / m_r"),
        ):
            top = quantity == "leftover"
            figures.curves(
                range(len(layers)),
                {state: result.show[quantity][kind, state] for state in ("untrained", "trained")},
                lines={"the start": 1.0} if top else {"m_r": 1.0},
                xlabel="",
                ylabel=ylabel,
                logy=not top,
                ylim=(-0.05, 1.65) if top else (1e-3, 3),
                legend="above" if top else "none",
                title=kind if top else None,
                ax=ax,
            )
            ax.set_xticks(range(len(layers)), layers, rotation=40, ha="right")
    return figure


def large_picture(result: Result) -> Figure:
    """What layers of ResNet-50, as built and calibrated, and of ViT-L/16 give back."""
    large, heads = result.show["large"], result.show["large layers"]
    heads = heads.values() if isinstance(heads, dict) else heads
    return figures.grid(
        list(large.values()), labels=list(large), columns=["input", *map(str, heads)]
    )


EXPERIMENT = Experiment(
    claims=(RESIDUAL, TRANSFORMER, TRAINING),
    run=run,
    short={
        "seeds": 3,
        "train_steps": 2,
        "images": 1,
        "steps": 4,
        "large_steps": 1,
        "large_images": 3,
    },
    full={
        "seeds": 6,
        "train_steps": 150,
        "images": 2,
        "steps": 60,
        "large_steps": 40,
        "large_images": 8,
    },
    picture=read_back_picture,
)
