"""What does training to classify change in what layers keep, in nets that classify well?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import figures, inversion, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.cifar_classifiers import KINDS, classifier, labelled
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

RESNET, VIT = ("ResNet stage4, trained − untrained", "ViT block3, trained − untrained")
CLAIM = Claim(
    id="4.21",
    statement="Training to classify takes the picture out of late layers: read to a plateau, they "
    "give back less of it than untrained.",
    source="Badger's page, section 4, of accurate classifiers; this chapter",
    reading=RESNET,
    measure="leftover f at the last stage of the residual net, trained less untrained, of the same "
    "image",
    units="images",
    supported={RESNET: above(0.05), VIT: above(0.05)},
    conditional={RESNET: above(0.05), VIT: below(0.05)},
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
        ("ResNet untrained", "stage4"),
        ("ResNet trained", "stage4"),
        ("ViT untrained", "block3"),
        ("ViT trained", "block3"),
        ("ViT untrained", "token"),
        ("ViT trained", "token"),
    ),
    fails_when="The search stops early: then what is hard to read back passes for lost.",
    rule_changed="2026-11-26",
    seen_before="nothing",
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
    supported=dict.fromkeys(MIDDLE, below(-0.1)),
    conditional={MIDDLE[0]: below(-0.1)},
    condition="of the second stage; of the third it was not shown",
    controls=(
        "mean colour",
        "thumbnail",
        ("ResNet untrained", "stage2", "m_g/m_r"),
        ("ResNet trained", "stage2", "m_g/m_r"),
        ("ResNet untrained", "stage3", "m_g/m_r"),
        ("ResNet trained", "stage3", "m_g/m_r"),
    ),
    also=(
        ("ResNet untrained", "stage2"),
        ("ResNet trained", "stage2"),
        ("ResNet untrained", "stage3"),
        ("ResNet trained", "stage3"),
        ("ResNet untrained", "stage4", "correlation"),
        ("ResNet trained", "stage4", "correlation"),
        ("ResNet untrained", "pool", "correlation"),
        ("ResNet trained", "pool", "correlation"),
    ),
    fails_when="One looks at the first stage, which gives everything back before and after.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

LAYERS = {
    "ResNet": ["stem", "stage1", "stage2", "stage3", "stage4", "pool"],
    "ViT": ["embedding", "block0", "block1", "block2", "block3", "token"],
}
STATES = ("untrained", "trained")


def nets(sample: Tensor, untrained: int) -> dict[tuple[str, str], list[nn.Module]]:
    """The kept classifiers, and a few of each kind that were never trained, on the same images."""
    found = {}
    for kind, each in KINDS.items():
        found[kind, "untrained"] = models.replicate(each.build, untrained)
        found[kind, "trained"] = [classifier(kind)]
    for model in found["ResNet", "untrained"]:
        models.calibrate(model, sample)
    return found


def read(group: Sequence[nn.Module], images: Tensor, layer: str, steps: int) -> dict[str, Tensor]:
    """A layer read to a plateau: by name (images, …), each of the nets in turn taking an image."""
    parts = [
        inversion.invert(
            model, images[first :: len(group)], layer, steps=steps, until="levelled off"
        )[layer]
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


def run(name: str, images: int, untrained: int, steps: int) -> Result:
    """Each layer of each net read to a plateau, on images that none was trained on."""
    found = labelled(name)
    shown = found.test[1 :: len(found.test) // images][:images]
    readings, left, pictures, arrived = {}, {}, {}, {}
    for (kind, state), group in nets(found.train[:512], untrained).items():
        layers = {layer: read(group, shown, layer, steps) for layer in LAYERS[kind]}
        for layer, row in layers.items():
            place = (f"{kind} {state}", layer)
            readings[place] = row["leftover"]
            readings[(*place, "m_g/m_r")] = row["m_g/m_r"]
            readings[(*place, "correlation")] = measures.correlation(row["images"], shown)
            readings |= {line: row[line] for line in ("mean colour", "thumbnail")}
        rows = list(layers.values())
        left[kind, state] = torch.stack([row["leftover"] for row in rows], 1)
        arrived[kind, state] = torch.stack([row["arrived"] for row in rows], 1).float()
        pictures[kind, state] = on_screen(
            torch.stack([shown[:4], *(row["images"][:4] for row in rows)], 1)
        )  # (4, 1 + layers, …)
    for kind, layers in LAYERS.items():
        for layer in layers:
            before, after = (readings[f"{kind} {state}", layer] for state in STATES)
            readings[f"{kind} {layer}, trained − untrained"] = after - before
    show = {"leftover": left, "pictures": pictures, "arrived": arrived}
    return Result(readings, show, keep=tuple(show))


def picture(result: Result, image: int = 0) -> Figure:
    """One image, and what each layer gives back of it, untrained and trained."""
    heads = map("\n".join, zip(*LAYERS.values(), strict=True))
    places = [(kind, state) for kind in LAYERS for state in STATES]
    return figures.grid(
        [torch.as_tensor(result.show["pictures"][place][image]) for place in places],
        labels=[f"{kind},\n{state}" for kind, state in places],
        columns=["input", *heads],
    )


def depth_picture(result: Result) -> Figure:
    """By layer, what is left of the start's error, beside the mean colour and the thumbnail."""
    figure, axes = figures.canvas(1, 2)
    lines = {name: float(result.readings[name].mean()) for name in ("mean colour", "thumbnail")}
    for ax, (kind, layers) in zip(axes, LAYERS.items(), strict=True):
        figures.curves(
            range(len(layers)),
            {state: result.show["leftover"][kind, state] for state in STATES},
            lines=lines,
            xlabel="",
            ylabel="leftover f",
            legend="above",
            title=kind,
            ax=ax,
        )
        ax.set_xticks(range(len(layers)), layers, rotation=40, ha="right")
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM, MORE),
    run=run,
    short={"name": "photographs", "images": 3, "untrained": 3, "steps": 6},
    full={"name": "cifar10", "images": 8, "untrained": 4, "steps": 800},
    picture=picture,
)
