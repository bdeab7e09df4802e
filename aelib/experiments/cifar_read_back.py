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
from aelib.experiments.trained_net_read_back import on_the_way

RESNET, VIT = ("ResNet stage4, trained − untrained", "ViT block3, trained − untrained")
AS_BUILT = "trained − as built"  # one more comparison of a stage: with nets as they are built

BESIDE = ("as built", "untrained", "trained")


def levelled(*places: tuple[str, str]) -> dict[tuple[str, str, str], Bound]:
    """Most searches of these nets and layers levelled off.

    Asked of the side of a difference that a longer search, which lowers f, could still move towards
    the other verdict.
    """
    return {(*place, "levelled off"): above(0.5) for place in places}


CLAIM = Claim(
    id="4.21",
    statement="Training to classify takes the picture out of late layers: read to a plateau, they "
    "give back less of it than untrained.",
    source="Badger's page, section 4, of accurate classifiers; this chapter",
    reading=RESNET,
    measure="leftover f at the last stage of the residual net, trained less untrained, of the same "
    "image; of two ways to search the one that comes nearer to it counts",
    units="images",
    supported={
        RESNET: above(0.05),
        f"ResNet stage4, {AS_BUILT}": above(0.05),
        VIT: above(0.05),
        **levelled(("ResNet trained", "stage4"), ("ViT trained", "block3")),
    },
    conditional={
        RESNET: above(0.05),
        f"ResNet stage4, {AS_BUILT}": above(0.05),
        VIT: below(0.05),
        **levelled(("ResNet trained", "stage4")),
    },
    refuted={
        RESNET: below(0.05),
        f"ResNet stage4, {AS_BUILT}": below(0.05),
        **levelled(("ResNet untrained", "stage4"), ("ResNet as built", "stage4")),
    },
    condition="of the residual net; all tokens of the transformer together keep the picture",
    controls=(
        "mean colour",
        "thumbnail",
        "ResNet stage1, trained − untrained",
        "ViT block0, trained − untrained",
        ("ResNet trained", "stage4", "m_g/m_r"),
        ("ViT trained", "block3", "m_g/m_r"),
    ),
    also=(
        *((f"ResNet {state}", "stage4", "nearest on the way") for state in BESIDE),
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
    measure="leftover f at the second stage, trained less untrained, of the same image; of two "
    "ways to search the one that comes nearer to it counts",
    units="images",
    supported={
        **dict.fromkeys(MIDDLE, below(-0.1)),
        f"ResNet stage2, {AS_BUILT}": below(-0.1),
        **levelled(("ResNet untrained", "stage2"), ("ResNet untrained", "stage3")),
    },
    conditional={
        **dict.fromkeys(MIDDLE, below(-0.1)),
        **levelled(("ResNet untrained", "stage2"), ("ResNet untrained", "stage3")),
    },
    refuted={MIDDLE[0]: above(-0.1), **levelled(("ResNet trained", "stage2"))},
    condition="beside untrained nets with the statistics of the images",
    controls=(
        "mean colour",
        "thumbnail",
        ("ResNet untrained", "stage2", "m_g/m_r"),
        ("ResNet trained", "stage2", "m_g/m_r"),
        ("ResNet untrained", "stage3", "m_g/m_r"),
        ("ResNet trained", "stage3", "m_g/m_r"),
    ),
    also=(
        *((f"ResNet {state}", "stage2", "nearest on the way") for state in BESIDE),
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
COMPARED = ("stage2", "stage4")  # stages that are read of nets as built, too
# Which of the two reads a net better differs between trained, untrained and as built.
WAYS = {"ResNet": ("default", "trained"), "ViT": ("default",)}
RECORDS = [50, 100, 200, 400]  # evaluations of a search after which we look how near it is
OF_SEARCH = ("m_g/m_r", "levelled off", "nearest on the way")
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
    group: Sequence[nn.Module],
    images: Tensor,
    layer: str,
    steps: int,
    least: int,
    ways: Sequence[str] = WAYS["ResNet"],
) -> dict[str, Tensor]:
    """A layer read to a plateau: by name (images, …), each of the nets in turn taking an image.

    Of the ways to search the one counts whose picture is nearest to the image; "levelled off" is
    1 where all of them have. "nearest on the way" is the least leftover at `RECORDS` and at the
    end, in either.
    """
    options = {
        "steps": steps,
        "until": inversion.LevelledOff(least=least),
        "log_at": [record for record in RECORDS if record < steps],
    }
    parts = []  # each by name (images of a net, …)
    for first, model in enumerate(group):
        mine = images[first :: len(group)]
        found = [inversion.invert(model, mine, layer, recipe=way, **options)[layer] for way in ways]
        one, start = inversion.nearer(*found), found[0].m_i_start[0]
        parts.append(
            {
                "images": one.images[0],
                "leftover": one.leftover[0],
                "nearest on the way": on_the_way(found),
                "m_g/m_r": one.ratio[0],
                "levelled off": torch.stack([each.levelled_off[0] for each in found]).amin(0),
                **{
                    name: (one.baselines[key].m_i / start).square()
                    for name, key in (("mean colour", "mean"), ("thumbnail", "thumbnail"))
                },
            }
        )
    return {name: torch.stack([part[name] for part in parts], 1).flatten(0, 1) for name in parts[0]}


def run(name: str, images: Sequence[int], untrained: int, steps: int, least: int) -> Result:
    """Each layer of each net read to a plateau, on test images, which none was trained on."""
    found = labelled(name)
    shown = found.test[list(images)]
    readings, pictures = {}, {}
    groups = nets(found.train[:512], untrained)
    for (kind, state), group in groups.items():
        asked = LAYERS[kind] if state != "as built" else COMPARED
        layers = {layer: read(group, shown, layer, steps, least, WAYS[kind]) for layer in asked}
        for layer, row in layers.items():
            place = (f"{kind} {state}", layer)
            readings[place] = row["leftover"]
            readings |= {(*place, name): row[name] for name in OF_SEARCH}
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
    short={"name": "photographs", "images": [1, 101, 201], "untrained": 3, "steps": 6, "least": 3},
    full={
        "name": "cifar10",
        "images": [1, 251, 501, 751, 1001, 1251, 1501, 1751, 126, 376, 626, 876],
        "untrained": 6,
        "steps": 4000,
        "least": 1000,
    },
    picture=picture,
    chunk=6,  # as many as there are untrained nets, which take images in turn
    chunked="images",
)
