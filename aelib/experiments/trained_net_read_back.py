"""Which layers of a net with a million photographs' training still hold a photograph?"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks, data, figures, inversion, measures, models, runtime
from aelib.claims import Claim, above, below
from aelib.data.photos import PHOTOS
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_jpeg, to_jpeg
from aelib.figures.theme import strokes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NET = "efficientnet_lite0"  # its trained weights come in a package, so no network is needed
LAYERS = {
    "bn1": "stem",
    "blocks.1.1": "block 2",
    "blocks.2.1": "block 4",
    "blocks.4.0": "block 8",
    "blocks.5.1": "block 12",
    "blocks.6.0": "block 15",
    "classifier": "head",
}
MIDDLE = ("block 4", "block 8")
LATE = ("block 15", "head")
READ = ("trained", "untrained")  # at every layer
# The photographs by the crop that shows most of its thing; chosen by eye before any was read back.
CROPS = {
    "chelsea": 2,
    "coffee": 3,
    "astronaut": 4,
    "china": 0,
    "motorcycle_left": 3,
    "flower": 4,
    "rocket": 0,
    "grace_hopper": 4,
}
WIDE = 192  # crops of this size show most of a photograph; they are then averaged down
FOLLOWED = "chelsea"  # the photograph whose picture is kept all along the search
SHOWN = ("chelsea", "coffee", "flower")  # those whose pictures are kept at its end
RECORDS = (0, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 450, 700, 1000, 1400, 2000)
SNAPSHOTS = (0, 5, 10, 20, 50, 100, 300, 700)  # and the end
# Late layers are searched without the leak: its gradient is not the loss's, and there the line
# search ends on it after some twenty evaluations.
TRAINED = inversion.RECIPES["trained"]
WITHOUT_LEAK = dataclasses.replace(TRAINED, leak=0.0)
RECIPES = dict.fromkeys(LAYERS.values(), TRAINED) | dict.fromkeys(
    ("block 12", "block 15", "head"), WITHOUT_LEAK
)
WHAT = "leftover f, the share of the start's error that is left after the search"
PLATEAU = (
    "a search makes 1,000 evaluations at least, and goes on until twice as many change f by less "
    "than 2 %, or to 2,000"
)

FADING = Claim(
    id="4.16",
    statement="In a net trained on ImageNet the first layer allows a near-perfect copy of a "
    "photograph, and late layers do not.",
    source="Badger's page, section 4, said there of early and of late layers of ResNet-50 and "
    "ViT-L/16",
    reading=("trained", "stem", "f"),
    measure=f"{WHAT}, at the stem of the trained net",
    supported={
        ("trained", "stem", "f"): below(0.01),
        ("trained", "block 15", "f / thumbnail's"): above(1.0),
        ("trained", "block 15", "levelled off"): above(0.5),
    },
    conditional={
        ("trained", "stem", "f"): below(0.01),
        ("trained", "block 15", "f"): above(0.1),
        ("trained", "block 15", "levelled off"): above(0.5),
    },
    condition="the last block leaves more than a tenth of the start's error, and a thumbnail of "
    "4 × 4 patches leaves as much",
    controls=("f of the mean colour", "f of the thumbnail", ("untrained", "block 15", "f")),
    also=(
        *(("trained", place, "f") for place in [*LAYERS.values()][1:]),
        ("trained", "head", "f / thumbnail's"),
        ("trained", "block 15", "m_g/m_r"),
        ("trained", "head", "m_g/m_r"),
        ("trained", "block 15", "pairs of photographs as near"),
        ("trained", "block 15", "energy in leading directions"),
        "numbers in block 15 / in the picture",
    ),
    units="photographs",
    ratios=(
        ("trained", "block 15", "f / thumbnail's"),
        ("trained", "head", "f / thumbnail's"),
    ),
    fails_when=f"One stops the search early: here {PLATEAU}. Early ends soon: at the second block "
    "the search ends with a quarter left, after it had been nearer. And f compares pixels: an eye "
    "still finds outlines at blocks 12 and 15, where f is near 1, and the longer the search the "
    "more.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)
KEEPING = Claim(
    id="4.17",
    statement="Training to classify makes the middle layers give more of a photograph back, not "
    "less.",
    source="this chapter; of ResNets' early layers, Badger (2022), arXiv 2211.06496",
    reading=("block 8", "trained / untrained"),
    measure="leftover f of the trained net over that of the same net untrained, same photograph, "
    "block 8",
    supported={
        **{
            (place, which): below(1.0)
            for place in MIDDLE
            for which in ("trained / untrained", "trained / as built")
        },
        **{("as built", place, "levelled off"): above(0.5) for place in MIDDLE},
    },
    conditional={
        **{(place, "trained / untrained"): below(1.0) for place in MIDDLE},
        # A longer search would lower what the untrained net leaves.
        **{("untrained", place, "levelled off"): above(0.5) for place in MIDDLE},
    },
    condition="beside an untrained net that has the statistics of photographs, as a trained one "
    "has; one as it is built, whose normalisation does next to nothing, gives back more than the "
    "trained one",
    controls=(
        *((place, "other weights / untrained") for place in MIDDLE),
        *(("untrained", place, "m_g/m_r") for place in MIDDLE),
        *(
            (state, place, "levelled off")
            for state in ("untrained", "as built")
            for place in MIDDLE
        ),
    ),
    also=(
        *(("as built", place, what) for place in MIDDLE for what in ("f", "m_g/m_r")),
        *(("trained", place, what) for place in MIDDLE for what in ("m_g/m_r", "levelled off")),
        *((state, "block 8", "energy in leading directions") for state in ("trained", "untrained")),
    ),
    units="photographs",
    ratios=tuple(
        (place, which)
        for place in MIDDLE
        for which in ("trained / untrained", "trained / as built", "other weights / untrained")
    ),
    fails_when="The untrained net is read as it is built, on plain images, by the recipe that "
    "reads such nets better; the other two are read by the one for trained nets. In the last "
    "blocks f is near 1 before training and after, though outlines come back after it. And the "
    "Jacobian counts otherwise: after training more of its energy lies in a few directions.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
NAMING = Claim(
    id="4.18",
    statement="Where what is read back lies farther from the photograph than a thumbnail of 4 × 4 "
    "patches does, the net still calls it what it calls the photograph.",
    source="this chapter; Feather et al. (2023)",
    reading=("trained", "block 15", "same class"),
    measure="share of photographs whose picture, read back from the last block, has the "
    "photograph's own class on top",
    supported={
        **{("trained", place, "same class"): above(0.5) for place in LATE},
        **{("trained", place, "f / thumbnail's"): above(1.0) for place in LATE},
    },
    conditional={
        ("trained", "head", "same class"): above(0.5),
        ("trained", "head", "f / thumbnail's"): above(1.0),
    },
    condition="of the head, not of the last block",
    controls=(
        ("trained", "start", "same class"),
        ("trained", "thumbnail", "same class"),
        ("trained", "other photographs", "same class"),
        *(("untrained", place, "same class") for place in LATE),
        ("untrained", "thumbnail", "same class"),
        ("untrained", "other photographs", "same class"),
    ),
    also=(*(("trained", place, "m_g/m_r") for place in LATE), ("trained", "start", "rank")),
    units="photographs",
    ratios=tuple(("trained", place, "f / thumbnail's") for place in LATE),
    fails_when="The search has not arrived; that it holds follows from arriving, for the class is "
    "computed from the layer. An untrained net's classes lie so near each other that they change "
    "within the same distance.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)


def photograph(name: str, size: int) -> Tensor:
    """Most of a photograph, (1, 3, size, size), by its name in `CROPS`; `size` divides 192."""
    names = [PurePath(file).stem for file, *_ in PHOTOS]
    holdout = names.index(checks.choice(name, "name", CROPS))
    crops = data.load(
        "photos", size=WIDE, channels=3, holdout=holdout, train=1, test=CROPS[name] + 1
    )
    return nn.functional.avg_pool2d(crops.test[-1:], WIDE // size)


def normalized() -> Callable[[nn.Module, Tensor], Tensor]:
    """How images go through the net, trained or with the statistics of photographs."""
    return models.normalization(NET, "imagenet")


def plain(net: nn.Module, images: Tensor) -> Tensor:
    """How they go through a net as it is built."""
    return net(images)


def nets(size: int) -> dict[str, nn.Module]:
    """The net with ImageNet's weights, untrained ones with photographs' statistics, and one as it
    is built.

    Raises:
        ModuleNotFoundError: without timm or the package of weights; says how to install them.
    """
    found = {"trained": models.classifier(NET, "imagenet", size=size).to(runtime.device())}
    sample = data.load("photos", size=size, channels=3, train=256, test=1).train
    seen = normalized()(nn.Identity(), sample.to(runtime.device()))
    for seed, name in enumerate(("untrained", "other weights")):
        net = models.classifier(NET, size=size, seed=seed).to(runtime.device())
        found[name] = models.calibrate(net, seen, batch_size=64)
    found["as built"] = models.classifier(NET, size=size).to(runtime.device())
    return found


@cache
def _photographs(size: int) -> Tensor:
    return torch.cat([photograph(name, size) for name in CROPS])


def searched(one: inversion.LayerInversion) -> dict[str, Tensor]:
    """How far the search for a layer's images came, one number a photograph."""
    thumbnail = (one.baselines["thumbnail"].m_i / one.m_i_start[0]).square()
    return {
        "f": one.leftover[0],
        "f / thumbnail's": one.leftover[0] / thumbnail,
        "m_g/m_r": one.ratio[0],
        "evaluations": one.iterations[0],
        "levelled off": torch.tensor([word == "levelled off" for word in one.stopped[0]]).float(),
    }


def of_layer(one: inversion.LayerInversion, null: Tensor) -> dict[str, Tensor]:
    """A layer's numbers, one a photograph."""
    return {
        **searched(one),
        "same class": (one.rank[0] == 1).float(),
        "rank": one.rank[0],
        "pairs of photographs as near": inversion.share_below(null, one.m_g)[0],
    }


def scores(net: nn.Module, images: Tensor) -> Tensor:
    """What the net says of each of a thousand classes, (images, classes) on the CPU."""
    with torch.no_grad():
        return normalized()(net, images.to(runtime.device())).cpu()


def classes(net: nn.Module, images: Tensor, every: Tensor) -> dict[str, Tensor]:
    """Whether thumbnails, and other photographs than the own one, are called the same."""

    def called(images: Tensor) -> Tensor:
        return scores(net, images).argmax(1)

    own, others = called(images), called(every)
    same = (own[:, None] == others[None]).sum(1) - 1  # but for the photograph itself
    return {
        "thumbnail": (called(measures.thumbnail(images)) == own).float(),
        "other photographs": same / (len(every) - 1),
    }


def answers(net: nn.Module, taken: Tensor, photograph: Tensor) -> np.ndarray:
    """Of pictures kept along a search, (2, pictures): the rank that the photograph's own class has
    for each, and which class each has on top."""
    own, found = scores(net, photograph[None]).argmax(), scores(net, taken)
    rank = 1 + (found > found[:, own, None]).sum(1)
    return torch.stack([rank, found.argmax(1)]).numpy()


def run(
    photographs: Sequence[str],
    layers: Sequence[str],
    steps: int,
    least: int,
    size: int,
    leading: int,
) -> Result:
    """Each photograph read back from each layer of the trained net and of untrained ones.

    Args:
        photographs: names in `CROPS`.
        layers: the net's names, in `LAYERS`; of nets that stand beside, those of `MIDDLE` alone.
        steps: evaluations at most.
        least: how many before a search may have levelled off. Of late layers the picture hardly
            leaves grey, and f is level after a few, long before m_g is.
        size: pixels a side.
        leading: how many of the Jacobian's singular values are found, at blocks 8 and 15.
    """
    states = nets(size)  # or there is nothing to read
    every = _photographs(size)
    images = every[
        [[*CROPS].index(checks.choice(name, "photographs", CROPS)) for name in photographs]
    ]
    records = [step for step in RECORDS if step < steps]
    readings: dict[Any, Any] = {}
    show: dict[str, Any] = {
        "records": np.array([*records, steps]),
        "layers": np.array([LAYERS[layer] for layer in layers]),
        "photographs": {
            name: to_jpeg(images[i : i + 1]) for i, name in enumerate(photographs) if name in SHOWN
        },
        "pictures": {},
        "trace": {},
        "snapshots": {},
        "answers": {},
    }
    for state, net in states.items():
        asked = [layer for layer in layers if state in READ or LAYERS[layer] in MIDDLE]
        forward = plain if state == "as built" else normalized()
        snapshots: dict[str, list[Tensor]] = {layer: [] for layer in asked}

        def follow(info: Mapping[str, Any], snapshots=snapshots) -> None:
            if info["step"] in SNAPSHOTS:
                followed = info["images"][photographs.index(FOLLOWED)]
                snapshots[info["layer"]].append(followed.cpu())

        found, null = {}, {}
        for layer in asked:
            one = inversion.invert(
                net,
                images,
                layer,
                # The recipe for trained nets reads a net as built less well.
                recipe="default" if state == "as built" else RECIPES[LAYERS[layer]],
                steps=steps,
                until=inversion.LevelledOff(least=least),
                forward=forward,
                log_at=records,
                batch_size=len(images),
                callback=follow if FOLLOWED in photographs else None,
                label=f"{state}, {LAYERS[layer]}",
            )
            null |= one.null(net, every, forward)
            found[layer] = one[layer]
            if FOLLOWED in photographs:  # where the search ended
                snapshots[layer].append(one[layer].images[0, photographs.index(FOLLOWED)])
        for layer in asked:
            for quantity, values in of_layer(found[layer], null[layer]).items():
                readings[state, LAYERS[layer], quantity] = values
        first = found[asked[0]]
        readings[state, "start", "same class"] = (first.rank_start[0] == 1).float()
        readings[state, "start", "rank"] = first.rank_start[0]
        for what, values in classes(net, images, every).items():
            readings[state, what, "same class"] = values
        if state == "trained":
            for name, what in (("mean", "mean colour"), ("thumbnail", "thumbnail")):
                line = (first.baselines[name].m_i / first.m_i_start[0]).square()
                readings[f"f of the {what}"] = line
            last = inversion.features(net, images[:1], "blocks.6.0", forward=normalized())
            share = last["blocks.6.0"].numel() / images[0].numel()
            readings["numbers in block 15 / in the picture"] = [share] * len(images)
            for layer, taken in snapshots.items():
                if taken:
                    followed = images[photographs.index(FOLLOWED)]
                    show["snapshots"][LAYERS[layer]] = to_jpeg(torch.stack(taken))
                    show["answers"][LAYERS[layer]] = answers(net, torch.stack(taken), followed)
                    show["answers"]["photograph"] = answers(net, followed[None], followed)
        if state in READ:
            show["pictures"][state] = {
                name: to_jpeg(torch.cat([found[layer].images[0, i : i + 1] for layer in asked]))
                for i, name in enumerate(photographs)
                if name in SHOWN
            }
            stretched = [layer for layer in asked if LAYERS[layer] in ("block 8", "block 15")]
            for layer, stretch in inversion.spectrum(
                net,
                images,
                stretched,
                leading,
                forward=normalized(),
                iterations=2,
                oversampling=leading // 2,
            ).items():
                readings[state, LAYERS[layer], "energy in leading directions"] = stretch.share.cpu()
        show["trace"][state] = {
            name: torch.stack([along(found[layer], i) for layer in asked])
            for i, name in enumerate(photographs)
        }
    for place in MIDDLE:
        before = readings["untrained", place, "f"]
        readings[place, "trained / untrained"] = readings["trained", place, "f"] / before
        readings[place, "trained / as built"] = (
            readings["trained", place, "f"] / readings["as built", place, "f"]
        )
        readings[place, "other weights / untrained"] = (
            readings["other weights", place, "f"] / before
        )
    return Result(readings, show, keep=tuple(show))


def along(one: inversion.LayerInversion, image: int) -> Tensor:
    """f and m_g/m_r of a photograph along the search, (2, records)."""
    f = (one.trace["m_i"][0, image] / one.m_i_start[0, image]).square()
    return torch.stack([f, one.trace["m_g"][0, image] / one.m_r[0, image]])


def left(result: Result, state: str, photograph: str) -> np.ndarray:
    """The leftover f of a photograph at the end of the search, (layers,)."""
    return np.asarray(result.show["trace"][state][photograph])[:, 0, -1]


def picture(result: Result, photographs: Sequence[str] = ("chelsea", "coffee")) -> Figure:
    """Photographs, and what each layer of the trained and of the untrained net gives back of them.

    Each with its leftover f.
    """
    rows, labels, notes = [], [], []
    places, known = result.show["layers"].tolist(), [*result.show["photographs"]]
    for name in photographs:
        checks.choice(name, "photographs", known)
        for state in ("trained", "untrained"):
            back = from_jpeg(result.show["pictures"][state][name])
            rows.append(torch.cat([from_jpeg(result.show["photographs"][name]), back]))
            labels.append(state)
            values = left(result, state, name).tolist()
            notes.append(["", *(f"{f:.3f}" if f < 0.01 else f"{f:.2f}" for f in values)])
    return figures.grid(
        rows,
        labels=labels,
        columns=["input", *(place.replace(" ", "\n") for place in places)],
        notes=notes,
    )


def depth_picture(result: Result) -> Figure:
    """What is left by depth, trained and untrained, and what knows next to nothing."""
    places = result.show["layers"].tolist()
    figure, (ax,) = figures.canvas()
    figures.curves(
        range(len(places)),
        {
            state: np.stack([left(result, state, name) for name in result.show["trace"][state]])
            for state in ("trained", "untrained")
        },
        lines={
            name: float(result[f"f of the {name}"].mean()) for name in ("mean colour", "thumbnail")
        },
        xlabel="",
        ylabel="leftover f",
        logy=True,
        legend="ends",
        ax=ax,
    )
    ax.set_xticks(range(len(places)), places)
    return figure


def search_picture(result: Result, photograph: str = FOLLOWED) -> Figure:
    """Leftover against distance in the layer along the search, a curve a layer.

    A search that heads for the corner is unfinished; one that levels off has lost something.
    """
    places = result.show["layers"].tolist()
    figure, axes = figures.canvas(1, 2)
    for ax, state in zip(axes, ("trained", "untrained"), strict=True):
        looks = strokes(places, "layers")
        for place, (f, ratio) in zip(places, result.show["trace"][state][photograph], strict=True):
            look = looks[place]
            ax.loglog(
                ratio, f, color=look.color, marker=look.marker, linestyle=look.dash, label=place
            )
        ax.set_title(state)
        ax.set_xlabel("$m_g/m_r$")
        ax.invert_xaxis()
    axes[0].set_ylabel("leftover f")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def watched(result: Result, n: int) -> Figure:
    """The followed photograph, and what each layer behind the stem gives back of it after `n`
    evaluations, one of `SNAPSHOTS` or all.

    Above each picture f, m_g/m_r and the rank that the photograph's class has for it; in its
    corner the class on top, where that is another. A layer whose search has ended keeps its last
    picture.
    """
    records, names = result.show["records"].tolist(), models.imagenet_classes()
    kept = [*SNAPSHOTS, records[-1]]
    if n not in kept:
        raise ValueError(checks.message("n", f"one of {kept}", n))
    answered = result.show["answers"]

    def called(top: int) -> str:
        return "\n".join(textwrap.wrap(names[top], 10, break_long_words=False))

    pictures = [from_jpeg(result.show["photographs"][FOLLOWED])[0]]
    heads, notes = [called(answered["photograph"][1, 0])], [""]
    places = result.show["layers"].tolist()
    searches = zip(places, result.show["trace"]["trained"][FOLLOWED], strict=True)
    for place, (f, ratio) in [*searches][1:]:
        until, record = kept.index(n) + 1, records.index(n)
        rank, top = answered[place][:, :until][:, -1]
        pictures.append(from_jpeg(result.show["snapshots"][place])[:until][-1])
        heads.append(f"{place}\nf = {f[record]:.2f}\n{ratio[record]:.2f} $m_r$\nrank {rank}")
        notes.append(called(top) if rank > 1 else "")
    return figures.grid([torch.stack(pictures)], columns=heads, notes=[notes])


EXPERIMENT = Experiment(
    claims=(FADING, KEEPING, NAMING),
    run=run,
    short={
        "photographs": ["chelsea", "coffee", "rocket"],
        "layers": list(LAYERS),
        "steps": 3,
        "least": 200,
        "size": 32,
        "leading": 1,
    },
    full={
        "photographs": list(CROPS),
        "layers": list(LAYERS),
        "steps": 2000,
        "least": 1000,
        "size": 96,
        "leading": 10,
    },
    picture=picture,
    chunk=1,
    chunked="photographs",
)
