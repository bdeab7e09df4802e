"""Which layers of ResNet-50 and ViT-L/16, untrained or trained, still hold a photograph?

With random weights here. Where trained ones can be had,

    python -m aelib.experiments.large_nets_read_back RESNET50 VIT_L_16 --out FOLDER

reads these, each a file of weights, or torchvision's name for some that it downloads, "DEFAULT";
judges claim 4.19; and keeps the measurement, with digests of the nets, for `judged`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks, data, figures, inversion, models, random, runtime
from aelib.claims import Card, Claim, above, below
from aelib.experiments.experiment import Experiment, kept, measure
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_file, to_file
from aelib.experiments.trained_net_read_back import (
    CROPS,
    TRAINED,
    WIDE,
    WITHOUT_LEAK,
    photograph,
    searched,
)
from aelib.models.weights import Weights
from aelib.training.checkpoint import fingerprint_of_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETS = {"ResNet-50": "resnet50", "ViT-L/16": "vit_l_16"}
STAGES = ["conv1", "layer1", "layer2", "layer3", "layer4"]
LAST = "last block"
BLOCKS = 24  # of ViT-L/16
EARLY, LATE = ("ResNet-50", "conv1"), ("ResNet-50", "layer4")
FIRST, DEEP = ("ViT-L/16", "block 0"), ("ViT-L/16", LAST)
FOUND = "least f of the two last layers"
LINES = ("f of the mean colour", "f of the thumbnail")
ARRIVED = (
    *((*place, "levelled off") for place in (LATE, DEEP)),
    *((*place, "m_g/m_r") for place in (LATE, DEEP)),
)

TRAINED_MEASURE = "leftover f at the first block of ViT-L/16"

UNTRAINED = Claim(
    id="4.27",
    statement="Before any training our search finds no photograph in the last stage of ResNet-50 "
    "with the statistics of photographs, and finds it in ViT-L/16's last block.",
    source="this chapter; of untrained vision transformers, Badger's page on them",
    reading=(*LATE, "f"),
    measure="leftover f at the last stage of ResNet-50 with random weights and the statistics of "
    "photographs",
    supported={
        (*EARLY, "f"): below(0.05),
        (*LATE, "f / thumbnail's"): above(1.0),
        (*LATE, "levelled off"): above(0.5),
        (*DEEP, "f"): below(0.05),
    },
    conditional={
        (*EARLY, "f"): below(0.05),
        (*LATE, "f / thumbnail's"): above(1.0),
        (*LATE, "levelled off"): above(0.5),
    },
    condition="of ResNet-50; that ViT-L/16 gives it back from its last block is not shown",
    controls=(*LINES, (*LATE, "m_g/m_r of the start"), *ARRIVED),
    also=(
        *(("ResNet-50", stage, "f") for stage in STAGES[1:4]),
        (*FIRST, "f"),
        (*DEEP, "evaluations"),
    ),
    ratios=((*LATE, "f / thumbnail's"),),
    units="photographs",
    fails_when="It is said of what the layer has lost rather than of what our search finds: late "
    "in ResNet-50 the picture hardly leaves grey. The net has the statistics of photographs here; "
    "claim 4.29 reads it as it is built.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
ACCURATE = Claim(
    id="4.19",
    statement="In accurate ViT-L/16 and ResNet-50 early layers allow a near-perfect copy of the "
    "input without prior knowledge of it, and late layers do not.",
    source="Badger's page, section 4",
    reading=(*FIRST, "f"),
    measure=f"{TRAINED_MEASURE}; here with random weights",
    supported={
        (*EARLY, "f"): below(0.05),
        (*LATE, "f / thumbnail's"): above(1.0),
        (*LATE, "levelled off"): above(0.5),
        (*FIRST, "f"): below(0.05),
        (*DEEP, "f / thumbnail's"): above(1.0),
        (*DEEP, "levelled off"): above(0.5),
    },
    refuted={FOUND: below(0.05)},  # a search that was cut short refutes nothing
    controls=(*LINES, *ARRIVED),
    ratios=tuple((*place, "f / thumbnail's") for place in (LATE, DEEP)),
    units="photographs",
    fails_when="Of an accurate net whose weights come in a package, claim 4.16 says what holds.",
    open="it is about nets trained on ImageNet, whose weights have to be downloaded; the readings "
    "are of the same nets with random weights",
    rule_changed="2026-11-27",
    seen_before="first run",
)

CLOSED = dataclasses.replace(ACCURATE, measure=TRAINED_MEASURE, open="")  # with trained weights


def net(name: str, weights: Weights | None, size: int, blocks: int, sample: int) -> nn.Module:
    """ResNet-50 or ViT-L/16. With random weights the one has the statistics of `sample` pieces of
    photographs, the other no more than `blocks` of its blocks."""
    if weights is not None:
        return models.classifier(name, weights, size=size).to(runtime.device())
    if name == "vit_l_16":
        from torchvision.models import VisionTransformer

        with random.seeded(0):  # ViT-L/16's sizes; a block that is not read need not be drawn
            return VisionTransformer(size, 16, blocks, 16, 1024, 4096).eval().to(runtime.device())
    model = models.classifier(name, size=size).to(runtime.device())
    pieces = data.load("photos", size=size, channels=3, train=sample, test=1).train
    seen = models.normalization(name)(nn.Identity(), pieces)
    return models.calibrate(model, seen.to(runtime.device()), batch_size=64)


def check_size(size: int) -> None:
    """ViT-L/16 cuts images into patches of 16 × 16, and a photograph's crop has `WIDE` pixels."""
    checks.whole(size, "size", least=1)
    if size % 16 or WIDE % size:
        raise ValueError(checks.message("size", f"one that 16 divides, and it {WIDE}", size))


def of_layer(one: inversion.LayerInversion) -> dict[str, Tensor]:
    """A layer's numbers, one a photograph."""
    return {**searched(one), "m_g/m_r of the start": one.trace["m_g"][0, :, 0] / one.m_r[0]}


def run(
    photographs: Sequence[str],
    blocks: Sequence[int],
    steps: Mapping[str, int],
    least: int,
    size: int,
    sample: int,
    shown: int,
    weights: Mapping[str, Weights] | None = None,
    digests: Mapping[str, str] | None = None,
) -> Result:
    """Each photograph read back from the stages of ResNet-50 and from blocks of ViT-L/16.

    Args:
        photographs: names in `CROPS`.
        blocks: which of ViT-L/16's 24, in order; with random weights the last that is read is the
            last that is built.
        steps: evaluations at most, by net: "resnet50" and "vit_l_16".
        least: how many before a search may have levelled off.
        size: pixels a side: 16, 32, 48, 64, 96 or 192.
        sample: how many pieces of photographs give an untrained ResNet-50 its statistics.
        shown: of how many photographs the pictures are kept.
        weights: None for random ones, or for each net what `models.classifier` takes.
        digests: of nets with these weights, which they must have.
    """
    for block in blocks:
        checks.whole(block, "blocks", least=0, most=BLOCKS - 1)
    check_size(size)
    images = torch.cat([photograph(name, size) for name in photographs])
    given = {name: weights[name] if weights else None for name in NETS.values()}
    nets = {  # both before the work: a file may be missing or of another net
        name: net(name, given[name], size, blocks[-1] + 1, sample) for name in given
    }
    for name, digest in (digests or {}).items():
        if (is_now := fingerprint_of_model(nets[name])) != digest:
            raise ValueError(checks.message(f"weights of {name}", f"those of {digest}", is_now))
    tokens = {f"encoder.layers.encoder_layer_{block}": f"block {block}" for block in blocks[:-1]}
    tokens[f"encoder.layers.encoder_layer_{blocks[-1]}"] = LAST
    readings: dict[Any, Any] = {}
    show: dict[str, Any] = {"layers": {}, "leftover": {}, "pictures": {}}
    for title, name in NETS.items():
        layers = tokens if name == "vit_l_16" else dict(zip(STAGES, STAGES, strict=True))
        model = nets.pop(name)
        found: dict[str, inversion.LayerInversion] = {}
        early, late = [*layers][:-1], [*layers][-1:]
        plan = {TRAINED: early, WITHOUT_LEAK: late} if weights else {"default": early + late}
        for recipe, group in plan.items():
            one = inversion.invert(
                model,
                images,
                group,
                steps=steps[name],
                until=inversion.LevelledOff(least=least),
                recipe=recipe,
                forward=models.normalization(name, given[name]),
                batch_size=len(images),
                label=title,
            )
            found |= {layer: one[layer] for layer in group}
        for layer, place in layers.items():
            for quantity, values in of_layer(found[layer]).items():
                readings[title, place, quantity] = values
        first = found[next(iter(layers))]
        for line, of in zip(LINES, ("mean", "thumbnail"), strict=True):
            readings[line] = (first.baselines[of].m_i / first.m_i_start[0]).square()
        show["layers"][title] = np.array(list(layers.values()))
        show["leftover"][title] = torch.stack([found[layer].leftover[0] for layer in layers], 1)
        show["pictures"][title] = {
            name: to_file(
                torch.cat([images[i : i + 1], *(found[x].images[0, i : i + 1] for x in layers)])
            )
            for i, name in enumerate(photographs[:shown])
        }
    readings[FOUND] = torch.minimum(readings[(*LATE, "f")], readings[(*DEEP, "f")])
    return Result(readings, show, keep=tuple(show))


def picture(result: Result, photograph: str = "") -> Figure:
    """What the layers of both nets give back of a photograph, the first one unless named, each
    with its leftover f."""
    known = [*result.show["pictures"]["ResNet-50"]]
    at = known.index(checks.choice(photograph or known[0], "photograph", known))
    left = [result.show["leftover"][title][at].tolist() for title in NETS]
    layers = [result.show["layers"][title].tolist() for title in NETS]
    return figures.grid(
        [from_file(result.show["pictures"][title][known[at]]) for title in NETS],
        labels=list(NETS),
        columns=["input", *map("\n".join, itertools.zip_longest(*layers, fillvalue=""))],
        notes=[["", *(f"{f:.3f}" if f < 0.01 else f"{f:.2f}" for f in row)] for row in left],
    )


# On two processors of 37 billion operations a second each the full run takes some 85 minutes at
# most: of a photograph of 96 pixels one evaluation at all five stages of ResNet-50 costs 7.5
# billion, at the four blocks of ViT-L/16 80 billion.
EXPERIMENT = Experiment(
    claims=(UNTRAINED, ACCURATE),
    run=run,
    short={
        "photographs": ["chelsea", "coffee", "rocket"],
        "blocks": [0, 1],
        "steps": {"resnet50": 1, "vit_l_16": 1},
        "least": 2,
        "size": 32,
        "sample": 4,
        "shown": 1,
    },
    full={
        "photographs": list(CROPS),
        "blocks": [0, 4, 12, 23],
        "steps": {"resnet50": 2000, "vit_l_16": 400},
        "least": 1000,
        "size": 96,
        "sample": 256,
        "shown": 2,
    },
    picture=picture,
)


def with_weights(resnet50: Weights, vit_l_16: Weights, size: int = WIDE) -> Experiment:
    """The experiment that decides claim 4.19: these readings, of trained nets.

    Args:
        resnet50, vit_l_16: as `models.classifier` takes weights: a file, or "DEFAULT" to download.
        size: pixels a side: 16, 32, 48, 64, 96 or 192.
    """
    check_size(size)  # before the nets are read
    weights = {"resnet50": str(resnet50), "vit_l_16": str(vit_l_16)}
    digests = {
        name: fingerprint_of_model(net(name, each, size, BLOCKS, 0))
        for name, each in weights.items()
    }
    longer = {"steps": dict.fromkeys(weights, 2000), "size": size}
    return dataclasses.replace(
        EXPERIMENT,
        claims=(CLOSED,),
        full={**EXPERIMENT.full, **longer, "weights": weights, "digests": digests},
    )


def judged(folder: str | Path) -> Card:
    """Claim 4.19, judged by what was measured with trained weights and kept in a folder."""
    return CLOSED.judge(None, kept(CLOSED.id, folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure claim 4.19 on the weights that the command line names; keep and print its verdict."""
    parser = argparse.ArgumentParser(
        "large_nets_read_back", description="Decide claim 4.19 on trained weights."
    )
    for name in NETS.values():
        parser.add_argument(name, help='a file of weights, or "DEFAULT" to download them')
    parser.add_argument("--out", required=True, help="the folder to keep the measurement in")
    parser.add_argument("--size", type=int, default=WIDE, help=f"pixels a side (default: {WIDE})")
    given = parser.parse_args(arguments)
    try:
        measure(with_weights(given.resnet50, given.vit_l_16, given.size), given.out)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    card = judged(given.out)
    print(card)
    for place, reading in card.readings.items():
        print(f"  {place}: {reading.value:.3g} ({reading.low:.3g} to {reading.high:.3g})")


if __name__ == "__main__":
    main()
