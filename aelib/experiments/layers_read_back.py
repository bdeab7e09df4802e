"""Which layers of a classifier still hold the picture, and does training change that?"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, inversion, models, objectives, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.cifar_classifiers import accuracy
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVALUATIONS = "evaluations to f = .05"
RESIDUAL = Claim(
    id="4.1",
    statement="In a residual net the first layer allows a near-perfect copy of the input without "
    "any training, and the last stage does not.",
    source="this chapter; Badger's page, section 4, says it of accurate nets (claim 4.19)",
    reading=("ResNet untrained", "stem"),
    measure="leftover f at the small residual net's stem, untrained, median image",
    supported={
        ("ResNet untrained", "stem"): below(0.01),
        ("ResNet untrained", "stage4", "f / thumbnail's"): above(1.0),
        ("ResNet untrained", "stage4", "levelled off"): above(0.5),
        ("ResNet as built", "stem"): below(0.01),
        ("ResNet as built", "stage4", "f / thumbnail's"): above(1.0),
        ("ResNet as built", "stage4", "levelled off"): above(0.5),
    },
    conditional={
        ("ResNet untrained", "stem"): below(0.01),
        ("ResNet untrained", "stage4", "f / thumbnail's"): above(1.0),
        ("ResNet untrained", "stage4", "levelled off"): above(0.5),
    },
    condition="where its normalisation has the statistics of photographs, as a trained net's has; "
    "of the net as it is built the second half was not shown",
    controls=(
        "f of the mean colour",
        "f of the thumbnail",
        ("ResNet untrained", "stage4", "m_g/m_r"),
        ("ResNet untrained", "stage4", "m_g/m_r of the start"),
        ("ResNet untrained", "stage4", "levelled off"),
        ("ResNet as built", "stage4", "m_g/m_r"),
    ),
    also=(
        *(("ResNet untrained", stage) for stage in ("stage1", "stage2", "stage3", "stage4")),
        ("ResNet as built", "stage4"),
    ),
    ratios=(
        ("ResNet untrained", "stage4", "f / thumbnail's"),
        ("ResNet as built", "stage4", "f / thumbnail's"),
    ),
    fails_when="Early means more than the first layer, or the net is read as it is built, its "
    "normalisation doing next to nothing. How late is late depends on the net: claim 4.27 reads "
    "ResNet-50.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
TRANSFORMER = Claim(
    id="4.2",
    statement="In an untrained vision transformer too, early layers allow a clear copy of the "
    "input, and late layers do not.",
    source="this chapter; Badger's page on transformers finds the copy clear to the last block",
    reading=("ViT untrained", "block5"),
    measure="leftover f at the small transformer's last block, untrained, median image",
    supported={
        ("ViT untrained", "embedding"): below(0.01),
        ("ViT untrained", "block5", "f / thumbnail's"): above(1.0),
    },
    conditional={
        ("ViT untrained", "embedding"): below(0.01),
        ("ViT untrained", "block5"): below(0.1),
        ("ViT untrained", "token", "f / thumbnail's"): above(1.0),
    },
    controls=(
        ("ViT untrained", "token", "m_g/m_r"),
        "elements of the token / of the image",
        "f of the mean colour",
        "f of the thumbnail",
    ),
    also=(("ViT untrained", "token"),),
    ratios=(
        ("ViT untrained", "block5", "f / thumbnail's"),
        ("ViT untrained", "token", "f / thumbnail's"),
    ),
    condition="Early and late are told apart by the class token, not by depth: all tokens together "
    "keep the picture through every block.",
    fails_when="One reads all tokens: untrained, they keep the picture through every block. It "
    "holds for the class token, which is what the classifier uses, and which has too few elements "
    "for an image.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
TRAINING = Claim(
    id="4.4",
    statement="Training to classify makes a transformer's tokens harder to read back, not emptier.",
    source="this chapter",
    reading=("ViT block5", "evaluations, trained / untrained"),
    measure="evaluations until the leftover in the last block is below .05, trained over "
    "untrained, same seed, median image; those of the whole search where it never is",
    supported={
        ("ViT block5", "evaluations, trained / untrained"): above(2.0),
        ("ViT trained", "block5"): below(0.05),
    },
    conditional={("ViT trained", "block5"): below(0.05)},
    condition="Not emptier; that they are harder to read back, the nets do not agree on.",
    controls=(
        ("ViT block5", "evaluations, between untrained seeds"),
        ("ViT untrained", "block5"),
        "f of the thumbnail",
        ("ViT trained", "block5", "m_g/m_r"),
        ("ResNet stage1", "between untrained seeds"),
        ("ResNet stage2", "stale statistics / untrained"),
    ),
    also=(
        ("ViT untrained", "block5", EVALUATIONS),
        ("ViT trained", "block5", EVALUATIONS),
        ("ViT trained", "training accuracy"),
        ("ResNet trained", "training accuracy"),
        ("ResNet stage1", "trained / untrained"),
        ("ResNet stage2", "trained / untrained"),
    ),
    ratios=(
        ("ViT block5", "evaluations, trained / untrained"),
        ("ViT block5", "evaluations, between untrained seeds"),
        ("ResNet stage1", "trained / untrained"),
        ("ResNet stage2", "trained / untrained"),
        ("ResNet stage1", "between untrained seeds"),
        ("ResNet stage2", "stale statistics / untrained"),
    ),
    fails_when="One stops after a hundred evaluations: then the tokens of a trained transformer "
    "look emptied.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

LAYERS = {
    "ResNet": ["stem", "stage1", "stage2", "stage3", "stage4"],
    "ViT": ["embedding", "block0", "block3", "block5", "token"],
}
ASKED = {"stale": ["stage2"], "as built": ["stem", "stage4"]}  # layers read of the control nets
KINDS = [(kind, state) for kind in LAYERS for state in ("untrained", "trained")]
BUILDERS = {"ResNet": models.SmallResNet, "ViT": models.SmallViT}


def pieces_of_photographs(size: int = 32) -> tuple[data.Images, Tensor, Tensor]:
    """Pieces, whose photograph each is, and a few lively ones from others."""
    photos = data.load("photos", size=size)
    names = sorted(set(photos.train_sources))
    labels = torch.tensor([names.index(source) for source in photos.train_sources])
    lively = photos.test[photos.test.flatten(1).std(1) > 0.15]
    return photos, labels, lively[:: len(lively) // 8]


def small_nets(seeds: int, steps: int, sample: int) -> dict[tuple[str, str], list[nn.Module]]:
    """Untrained and trained nets of each kind, with the statistics of `sample` pieces."""
    photos, labels, _ = pieces_of_photographs()
    device, nets = runtime.device(), {}
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
        for model in (*untrained, *trained):
            model.to(device)
        if kind == "ResNet":
            nets[kind, "stale"] = copy.deepcopy(trained)  # as training left its statistics
            nets[kind, "as built"] = copy.deepcopy(untrained)
            for model in (*untrained, *trained):
                models.calibrate(model, photos.train[:sample].to(device), batch_size=128)
        nets |= {(kind, "untrained"): untrained, (kind, "trained"): trained}
    return nets


def read_back(
    nets: Mapping[tuple[str, str], Sequence[nn.Module]], images: Tensor, steps: int, least: int
) -> dict[tuple[str, str], list[inversion.Inversion]]:
    """Layers read back until the search has levelled off, an inversion a seed, each net from a
    start of its own; `steps` evaluations at most, `least` at least."""
    return {
        (kind, state): [
            inversion.invert(
                model,
                images,
                ASKED.get(state, LAYERS[kind]),
                seeds=[seed],
                steps=steps,
                until=inversion.LevelledOff(least=least),
                log_at=range(0, steps, 4),
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


def above_thumbnail(result: inversion.LayerInversion) -> Tensor:
    """f over that of the 4 × 4 thumbnail: above 1 the layer gives back less than it."""
    return (result.m_i / result.baselines["thumbnail"].m_i).square()


def evaluations_to(result: inversion.LayerInversion, f: float = 0.05) -> Tensor:
    """Evaluations until the leftover is below f, by the trace; all, where it never is."""
    below_f = (result.trace["m_i"] / result.m_i_start[..., None]).square() < f
    steps = result.steps.expand(below_f.shape)
    return torch.where(below_f, steps, result.steps[-1]).amin(-1).float()


def lines(result: inversion.LayerInversion) -> dict[str, Tensor]:
    """The leftover of what has no detail, (images,)."""
    return {
        f"f of the {what}": (result.baselines[name].m_i / result.m_i_start[0]).square()
        for name, what in (("mean", "mean colour"), ("thumbnail", "thumbnail"))
    }


def run(seeds: int, train_steps: int, sample: int, images: int, steps: int, least: int) -> Result:
    """Small nets of both kinds, untrained and trained, read back layer by layer.

    Args:
        seeds: nets of each kind.
        train_steps: of those that are trained.
        sample: how many pieces of photographs give a residual net its statistics.
        images: pieces of other photographs that are read back.
        steps: evaluations at most.
        least: how many before a search may have levelled off.
    """
    photos, labels, lively = pieces_of_photographs()
    nets = small_nets(seeds, train_steps, sample)
    read = read_back(nets, lively[:images], steps, least)
    readings: dict[Any, Any] = {}
    seen = photos.train.to(runtime.device()), labels.to(runtime.device())
    for kind in LAYERS:
        right = [accuracy(model, *seen) for model in nets[kind, "trained"]]
        readings[f"{kind} trained", "training accuracy"] = right
    for (kind, state), runs in read.items():
        for layer in runs[0]:
            place = f"{kind} {state}", layer
            readings[place] = medians(runs, layer, leftover)
            readings[(*place, "m_g/m_r")] = medians(runs, layer, within)
            readings[(*place, "f / thumbnail's")] = medians(runs, layer, above_thumbnail)
            readings[(*place, EVALUATIONS)] = medians(runs, layer, evaluations_to)
            readings[(*place, "levelled off")] = torch.stack(
                [each[layer].levelled_off.mean() for each in runs]
            )
    untrained = read["ResNet", "untrained"]
    readings["ResNet untrained", "stage4", "m_g/m_r of the start"] = medians(
        untrained, "stage4", start_within
    )
    for line in lines(untrained[0]["stem"]):
        readings[line] = medians(untrained, "stem", lambda one, line=line: lines(one)[line])
    token = inversion.features(nets["ViT", "untrained"][0], lively[:1], "token")["token"]
    share = token.numel() / lively[0].numel()
    readings["elements of the token / of the image"] = [share] * seeds

    for kind, layer in (("ResNet", "stage1"), ("ResNet", "stage2")):
        before, after = (readings[f"{kind} {state}", layer] for state in ("untrained", "trained"))
        readings[f"{kind} {layer}", "trained / untrained"] = after / before
        readings[f"{kind} {layer}", "between untrained seeds"] = before / before.roll(1)
    stale = readings["ResNet stale", "stage2"] / readings["ResNet untrained", "stage2"]
    readings["ResNet stage2", "stale statistics / untrained"] = stale
    before, after = (
        readings[f"ViT {state}", "block5", EVALUATIONS] for state in ("untrained", "trained")
    )
    readings["ViT block5", "evaluations, trained / untrained"] = after / before
    readings["ViT block5", "evaluations, between untrained seeds"] = before / before.roll(1)

    show = {
        "pictures": {
            place: on_screen(
                torch.stack(
                    [lively[0], *(read[place][0][name].images[0, 0] for name in LAYERS[place[0]])]
                )
            )
            for place in KINDS
        },
    }
    return Result(readings, show, keep=tuple(show))


def read_back_picture(result: Result) -> Figure:
    """One image, and what five layers of the first net of each kind give back of it."""
    heads = map("\n".join, zip(*LAYERS.values(), strict=True))
    return figures.grid(
        [result.show["pictures"][place] for place in KINDS],
        labels=[f"{kind},\n{state}" for kind, state in KINDS],
        columns=["input", *heads],
    )


EXPERIMENT = Experiment(
    claims=(RESIDUAL, TRANSFORMER, TRAINING),
    run=run,
    short={"seeds": 3, "train_steps": 2, "sample": 16, "images": 1, "steps": 2, "least": 2},
    full={"seeds": 8, "train_steps": 150, "sample": 256, "images": 3, "steps": 2000, "least": 1000},
    picture=read_back_picture,
    chunk=2,  # with one, nothing would lie between untrained seeds
)
