"""What does training to classify change in what layers keep, in nets that classify well?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import checks, figures, inversion, measures, models, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.cifar_classifiers import KINDS, classifier, labelled
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_jpeg, to_jpeg

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
        ("ResNet trained", "stage4", "levelled off"),
        ("ViT trained", "block3", "levelled off"),
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
        ("ResNet trained", "stage2", "levelled off"),
        ("ResNet trained", "stage3", "levelled off"),
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
SHOWN = 1  # of so many images of a chunk the pictures are kept


def nets(kind: str, sample: Tensor, images: Sequence[int]) -> dict[str, list[nn.Module]]:
    """For each image a net that was never trained, its statistics those of `sample`; and the kept
    classifier, one for all."""
    build, device = KINDS[kind].build, runtime.device()
    untrained = [models.replicate(build, 1, first=place)[0].to(device) for place in images]
    if kind == "ResNet":
        for model in untrained:
            models.calibrate(model, sample.to(device))
    return {"untrained": untrained, "trained": [classifier(kind).to(device)]}


def read(group: Sequence[nn.Module], images: Tensor, layer: str, steps: int) -> dict[str, Tensor]:
    """A layer read until the search has levelled off: by name (images, …), by a net of its own for
    each image, or by one for all."""
    shares = images.split(len(images) // len(group))
    parts = [
        inversion.invert(model, some, layer, steps=steps, until="levelled off")[layer]
        for model, some in zip(group, shares, strict=True)
    ]
    arrived = [word == "levelled off" for part in parts for word in part.stopped[0]]
    return {
        "images": torch.cat([part.images[0] for part in parts]),
        "leftover": torch.cat([part.leftover[0] for part in parts]),
        "m_g/m_r": torch.cat([part.ratio[0] for part in parts]),
        "levelled off": torch.tensor(arrived).float(),
        **{
            name: torch.cat(
                [(part.baselines[of].m_i / part.m_i_start[0]).square() for part in parts]
            )
            for name, of in (("mean colour", "mean"), ("thumbnail", "thumbnail"))
        },
    }


def run(name: str, images: Sequence[int], steps: int) -> Result:
    """Each layer of each net read until the search has levelled off, on images none was trained on.

    Args:
        name: as `labelled` takes it.
        images: places among the test images; 0 is the first.
        steps: evaluations at most.
    """
    found = labelled(name)
    for place in images:
        checks.whole(place, "images", least=0, most=len(found.test) - 1)
    shown = found.test[list(images)]
    readings, pictures = {}, {}
    for kind, layers in LAYERS.items():
        for state, group in nets(kind, found.train[:512], images).items():
            rows = {layer: read(group, shown, layer, steps) for layer in layers}
            for layer, row in rows.items():
                place = (f"{kind} {state}", layer)
                readings[place] = row["leftover"]
                readings[(*place, "m_g/m_r")] = row["m_g/m_r"]
                readings[(*place, "levelled off")] = row["levelled off"]
                readings[(*place, "correlation")] = measures.correlation(row["images"], shown)
                readings |= {line: row[line] for line in ("mean colour", "thumbnail")}
            pictures[kind, state] = {
                str(place): to_jpeg(
                    torch.stack([shown[i], *(row["images"][i] for row in rows.values())]),
                    quality=90,
                )
                for i, place in enumerate(images[:SHOWN])
            }
        for layer in layers:
            before, after = (readings[f"{kind} {state}", layer] for state in STATES)
            readings[f"{kind} {layer}, trained − untrained"] = after - before
    return Result(readings, {"pictures": pictures}, keep=("pictures",))


def picture(result: Result, image: str = "") -> Figure:
    """One image, the first unless its place is named, and what each layer gives back of it."""
    heads = map("\n".join, zip(*LAYERS.values(), strict=True))
    places = [(kind, state) for kind in LAYERS for state in STATES]
    known = [*result.show["pictures"][places[0]]]
    at = checks.choice(image or known[0], "image", known)
    return figures.grid(
        [from_jpeg(result.show["pictures"][place][at]) for place in places],
        labels=[f"{kind},\n{state}" for kind, state in places],
        columns=["input", *heads],
    )


EXPERIMENT = Experiment(
    claims=(CLAIM, MORE),
    run=run,
    short={"name": "photographs", "images": [1, 171, 341], "steps": 6},
    full={"name": "cifar10", "images": list(range(1, 2000, 167)), "steps": 1200},
    picture=picture,
    chunk=2,
    chunked="images",
)
