"""What does training to classify change in what layers keep, in nets that classify well?"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import figures, inversion, measures, models
from aelib.claims import Bound, Claim, above, below, label
from aelib.experiments.cifar_classifiers import KINDS, classifier, labelled
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

RESNET, VIT = ("ResNet stage4, trained − untrained", "ViT block3, trained − untrained")
# Two more comparisons of a stage: with nets as they are built, and by another way to search.
AS_BUILT, EQUALIZED = "trained − as built", "trained − untrained, equalized"


def arrived(*places: tuple[str, str]) -> dict[tuple[str, str, str], Bound]:
    """Most searches of these nets and layers came to their end.

    Asked of the side of a difference that a longer search, which lowers f, could still move towards
    the other verdict.
    """
    return {(*place, "arrived"): above(0.5) for place in places}


CLAIM = Claim(
    id="4.21",
    statement="Training to classify takes the picture out of late layers: read to a plateau, they "
    "give back less of it than untrained.",
    source="Badger's page, section 4, of accurate classifiers; this chapter",
    reading=RESNET,
    measure="leftover f at the last stage of the residual net, trained less untrained, of the same "
    "image",
    units="images",
    supported={
        RESNET: above(0.05),
        f"ResNet stage4, {AS_BUILT}": above(0.05),
        VIT: above(0.05),
        **arrived(("ResNet trained", "stage4"), ("ViT trained", "block3")),
    },
    conditional={
        RESNET: above(0.05),
        f"ResNet stage4, {AS_BUILT}": above(0.05),
        VIT: below(0.05),
        **arrived(("ResNet trained", "stage4")),
    },
    refuted={
        RESNET: below(0.05),
        f"ResNet stage4, {AS_BUILT}": below(0.05),
        **arrived(("ResNet untrained", "stage4"), ("ResNet as built", "stage4")),
    },
    condition="of the residual net; all tokens of the transformer together keep the picture",
    controls=(
        "mean colour",
        "thumbnail",
        "ResNet stage1, trained − untrained",
        "ViT block0, trained − untrained",
        f"ResNet stage4, {EQUALIZED}",
        ("ResNet trained", "stage4", "m_g/m_r"),
        ("ViT trained", "block3", "m_g/m_r"),
    ),
    also=(
        ("ResNet as built", "stage4"),
        ("ResNet untrained", "stage4"),
        ("ResNet trained", "stage4"),
        ("ViT untrained", "block3"),
        ("ViT trained", "block3"),
        ("ViT untrained", "token"),
        ("ViT trained", "token"),
    ),
    fails_when="The search stops early: then what is hard to read back passes for lost.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

MIDDLE = ("ResNet stage2, trained − untrained", "ResNet stage3, trained − untrained")
MORE = Claim(
    id="4.23",
    statement="Training to classify lets the middle stages of a residual net give more of the "
    "picture back, not less.",
    source="Badger (2022), arXiv 2211.06496: training sharpens early layers and not late ones",
    reading=MIDDLE[0],
    measure="leftover f at the second stage, trained less untrained, of the same image",
    units="images",
    supported={
        **dict.fromkeys(MIDDLE, below(-0.1)),
        f"ResNet stage2, {AS_BUILT}": below(-0.1),
        f"ResNet stage2, {EQUALIZED}": below(-0.1),
        **arrived(("ResNet untrained", "stage2"), ("ResNet untrained", "stage3")),
    },
    conditional={
        **dict.fromkeys(MIDDLE, below(-0.1)),
        **arrived(("ResNet untrained", "stage2"), ("ResNet untrained", "stage3")),
    },
    refuted={MIDDLE[0]: above(-0.1), **arrived(("ResNet trained", "stage2"))},
    condition="beside untrained nets with the statistics of the images, and by one way to search",
    controls=(
        "mean colour",
        "thumbnail",
        ("ResNet untrained", "stage2", "m_g/m_r"),
        ("ResNet trained", "stage2", "m_g/m_r"),
        ("ResNet untrained", "stage3", "m_g/m_r"),
        ("ResNet trained", "stage3", "m_g/m_r"),
    ),
    also=(
        ("ResNet as built", "stage2"),
        ("ResNet untrained", "stage2"),
        ("ResNet trained", "stage2"),
        ("ResNet untrained", "stage3"),
        ("ResNet trained", "stage3"),
        ("ResNet untrained", "stage4", "correlation"),
        ("ResNet trained", "stage4", "correlation"),
        ("ResNet untrained", "pool", "correlation"),
        ("ResNet trained", "pool", "correlation"),
    ),
    fails_when="One looks at the first stage, which gives everything back before and after; beside "
    "untrained nets whose normalisation is left as it is built, which is nearly none.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

LAYERS = {
    "ResNet": ["stem", "stage1", "stage2", "stage3", "stage4", "pool"],
    "ViT": ["embedding", "block0", "block1", "block2", "block3", "token"],
}
STATES = ("untrained", "trained")
COMPARED = ("stage2", "stage4")  # stages read of nets as built, and by another search
SHOWN = 2  # images whose pictures are kept, of a chunk


def nets(sample: Tensor, untrained: int) -> dict[tuple[str, str], list[nn.Module]]:
    """The kept classifiers, and a few of each kind that were never trained, on the same images."""
    found = {}
    for kind, each in KINDS.items():
        found[kind, "untrained"] = models.replicate(each.build, untrained)
        found[kind, "trained"] = [classifier(kind)]
    found["ResNet", "as built"] = deepcopy(found["ResNet", "untrained"])
    for model in found["ResNet", "untrained"]:
        models.calibrate(model, sample)
    return found


def read(
    group: Sequence[nn.Module], images: Tensor, layer: str, steps: int, recipe: str = "default"
) -> dict[str, Tensor]:
    """A layer read to a plateau: by name (images, …), each of the nets in turn taking an image."""
    how = {"recipe": recipe, "steps": steps, "until": "levelled off"}
    parts = [
        inversion.invert(model, images[first :: len(group)], layer, **how)[layer]
        for first, model in enumerate(group)
    ]

    def in_turn(values: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(values), 1).flatten(0, 1)

    return {
        "images": in_turn([part.images[0] for part in parts]),
        "leftover": in_turn([part.leftover[0] for part in parts]),
        "m_g/m_r": in_turn([part.ratio[0] for part in parts]),
        "arrived": in_turn(
            [torch.tensor([why != "steps" for why in part.stopped[0]]) for part in parts]
        ),
        **{
            name: in_turn(
                [(part.baselines[key].m_i / part.m_i_start[0]).square() for part in parts]
            )
            for name, key in (("mean colour", "mean"), ("thumbnail", "thumbnail"))
        },
    }


def run(name: str, images: Sequence[int], untrained: int, steps: int) -> Result:
    """Each layer of each net read to a plateau, on test images, which none was trained on."""
    found = labelled(name)
    shown = found.test[list(images)]
    readings, pictures = {}, {}
    groups = nets(found.train[:512], untrained)
    for (kind, state), group in groups.items():
        asked = LAYERS[kind] if state != "as built" else COMPARED
        layers = {layer: read(group, shown, layer, steps) for layer in asked}
        for layer, row in layers.items():
            place = (f"{kind} {state}", layer)
            readings[place] = row["leftover"]
            readings[(*place, "m_g/m_r")] = row["m_g/m_r"]
            readings[(*place, "arrived")] = row["arrived"].float()
            readings[(*place, "correlation")] = measures.correlation(row["images"], shown)
            readings |= {line: row[line] for line in ("mean colour", "thumbnail")}
        rows = [shown, *(row["images"] for row in layers.values())]
        each = on_screen(torch.stack(rows, 1))  # (images, 1 + layers, …)
        pictures[kind, state] = dict(zip(images[:SHOWN], each, strict=False))
    for kind, layers in LAYERS.items():
        for layer in layers:
            before, after = (readings[f"{kind} {state}", layer] for state in STATES)
            readings[f"{kind} {layer}, trained − untrained"] = after - before
    for stage in COMPARED:
        after = readings["ResNet trained", stage]
        readings[f"ResNet {stage}, {AS_BUILT}"] = after - readings["ResNet as built", stage]
        before, after = (
            read(groups["ResNet", state], shown, stage, steps, "trained")["leftover"]
            for state in STATES
        )
        readings[f"ResNet {stage}, {EQUALIZED}"] = after - before
    named = {label(key): values for key, values in readings.items()}  # as chunks are joined
    return Result(named, {"pictures": pictures}, keep=("pictures",))


def picture(result: Result, index: int = 0) -> Figure:
    """One image of those kept, and what each layer gives back of it, untrained and trained."""
    heads = map("\n".join, zip(*LAYERS.values(), strict=True))
    places = [(kind, state) for kind in LAYERS for state in STATES]
    return figures.grid(
        [list(result.show["pictures"][place].values())[index] for place in places],
        labels=[f"{kind},\n{state}" for kind, state in places],
        columns=["input", *heads],
    )


EXPERIMENT = Experiment(
    claims=(CLAIM, MORE),
    run=run,
    short={"name": "photographs", "images": [1, 101, 201], "untrained": 3, "steps": 6},
    full={
        "name": "cifar10",
        "images": [1, 251, 501, 751, 1001, 1251, 1501, 1751, 126, 376, 626, 876],
        "untrained": 4,
        "steps": 1600,
    },
    picture=picture,
    chunk=4,  # as many as there are untrained nets, which take images in turn
    chunked="images",
)
