"""What does training to classify change in what layers keep, in nets that classify well?"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import figures, inversion, models
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

LAYERS = {
    "ResNet": ["stem", "stage1", "stage2", "stage3", "stage4", "pool"],
    "ViT": ["embedding", "block0", "block1", "block2", "block3", "token"],
}
STATES = ("untrained", "trained")


def nets(sample: Tensor) -> dict[tuple[str, str], nn.Module]:
    """The kept classifiers, and one of each kind that was never trained, calibrated on `sample`."""
    found = {}
    for kind, each in KINDS.items():
        (found[kind, "untrained"],) = models.replicate(each.build, seeds=1)
        found[kind, "trained"] = classifier(kind)
    models.calibrate(found["ResNet", "untrained"], sample)
    return found


def run(name: str, images: int, steps: int) -> Result:
    """Each layer of each net read to a plateau, on images that none was trained on."""
    found = labelled(name)
    shown = found.test[:: len(found.test) // images][:images]
    readings, left, pictures, arrived = {}, {}, {}, {}
    for (kind, state), model in nets(found.train[:512]).items():
        read = inversion.invert(model, shown, LAYERS[kind], steps=steps, until="levelled off")
        for layer in LAYERS[kind]:
            readings[f"{kind} {state}", layer] = read[layer].leftover[0]
            readings[f"{kind} {state}", layer, "m_g/m_r"] = read[layer].ratio[0]
        left[kind, state] = torch.stack([read[layer].leftover[0] for layer in LAYERS[kind]], 1)
        arrived[kind, state] = torch.tensor(
            [[word != "steps" for word in read[layer].stopped[0]] for layer in LAYERS[kind]]
        ).float()
        rows = [shown[:4], *(read[layer].images[0, :4] for layer in LAYERS[kind])]
        pictures[kind, state] = on_screen(torch.stack(rows, 1))  # (4, 1 + layers, …)
        first = read[LAYERS[kind][0]]
        for label, baseline in (("mean colour", "mean"), ("thumbnail", "thumbnail")):
            share = first.baselines[baseline].m_i / first.m_i_start[0]
            readings[label] = share.square()
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
    claims=(CLAIM,),
    run=run,
    short={"name": "photographs", "images": 3, "steps": 6},
    full={"name": "cifar10", "images": 8, "steps": 800},
    picture=picture,
)
