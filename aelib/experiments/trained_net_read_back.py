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

from aelib import checks, data, figures, inversion, measures, models, random, runtime
from aelib.claims import Bound, Claim, above, below
from aelib.data.photos import PHOTOS
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result, joined
from aelib.experiments.pictures import from_file, on_screen, to_file
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
COMPARED = tuple(
    f"trained / {state}{when}"
    for state in ("untrained", "as built")
    for when in ("", ", on the way")
)
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
RECORDS = (0, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 450, 700, 1000, 1400, 2000, 3000, 4200)
SNAPSHOTS = (0, 5, 10, 20, 50, 100, 300, 700)  # and the end
# Late layers are searched without the leak: its gradient is not the loss's, and there the line
# search ends on it after some twenty evaluations.
TRAINED = inversion.RECIPES["trained"]
WITHOUT_LEAK = dataclasses.replace(TRAINED, leak=0.0)
# A net as built is read better by another recipe than a trained one: where they are compared, each
# is read in both ways, and for each photograph the nearer one counts.
WAYS = {
    **dict.fromkeys(LAYERS.values(), (TRAINED,)),
    **dict.fromkeys(MIDDLE, (TRAINED, inversion.RECIPES["default"])),
    **dict.fromkeys(("block 12", *LATE), (WITHOUT_LEAK,)),
}
NOISE = (0.002, 0.005, 0.01, 0.02, 0.05)  # deviations of what is added to what was read back
FAINT = 0.01  # of these the one on the card: less than three of a screen's 256 levels
DRAWS = 20  # of the noise
ENERGY, PAIRS = "energy in leading directions", "pairs of photographs as near"
BY_LAYER = ("f", "m_g/m_r", "levelled off", "rank", PAIRS, ENERGY)  # kept of every layer
WHAT = "leftover f, the share of the start's error that is left after the search"
PLATEAU = (
    "a search makes 1,000 evaluations at least, and goes on until twice as many change f by less "
    "than 2 %, or to 2,000, in the last two layers to 6,000"
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
        ("trained", "block 15", PAIRS),
        ("trained", "block 15", ENERGY),
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


def less_than(state: str) -> dict[tuple[str, ...], Bound]:
    """The trained net leaves less than one in this state, where a search ends and where it had come
    nearest; and few searches in the other would lower what that leaves, if they were longer."""
    return {
        **{(place, f"trained / {state}"): below(1.0) for place in MIDDLE},
        **{(place, f"trained / {state}, on the way"): below(1.0) for place in MIDDLE},
        **{(state, place, "still falling"): below(0.5) for place in MIDDLE},
    }


KEEPING = Claim(
    id="4.17",
    statement="Training to classify makes the middle layers give more of a photograph back, not "
    "less.",
    source="this chapter; of ResNets' early layers, Badger (2022), arXiv 2211.06496",
    reading=("block 8", "trained / untrained"),
    measure="leftover f of the trained net over that of the same net untrained, same photograph, "
    "block 8; of two ways to search the one that comes nearer to it counts",
    supported={**less_than("untrained"), **less_than("as built")},
    conditional=less_than("untrained"),
    condition="beside an untrained net that has the statistics of photographs; beside one as it is "
    "built, whose normalisation does next to nothing, it is not shown",
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
        *((state, "block 8", ENERGY) for state in ("trained", "untrained")),
    ),
    units="photographs",
    ratios=tuple(
        (place, which) for place in MIDDLE for which in (*COMPARED, "other weights / untrained")
    ),
    fails_when="The untrained net is read as it is built, on plain images: how much it gives back "
    "differs from one draw of weights to the next. In the last blocks f is near 1 before training "
    "and after, though outlines come back after it. And the Jacobian counts otherwise: after "
    "training more of its energy lies in a few directions.",
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
        *(("trained", place, "same class on a screen") for place in LATE),
        *(("trained", place, "same class under noise") for place in (*LATE, "photograph")),
        *(("untrained", place, "same class") for place in LATE),
        ("untrained", "thumbnail", "same class"),
        ("untrained", "other photographs", "same class"),
    ),
    also=(*(("trained", place, "m_g/m_r") for place in LATE), ("trained", "start", "rank")),
    units="photographs",
    ratios=tuple(("trained", place, "f / thumbnail's") for place in LATE),
    fails_when="The search has not arrived; that it holds follows from arriving, for the class is "
    f"computed from the layer. Or noise of deviation {FAINT} is added to what was read back: then "
    "the name goes from many. (Rounded to a screen's 256 levels it stays.) An untrained net's "
    "classes lie so near each other that they change within the same distance.",
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


def nets(size: int, number: int) -> dict[str, nn.Module]:
    """The net with ImageNet's weights; untrained ones with photographs' statistics, the `number`-th
    pair of them; and the first of the two as it is built.

    Raises:
        ModuleNotFoundError: without timm or the package of weights; says how to install them.
    """
    found = {"trained": models.classifier(NET, "imagenet", size=size).to(runtime.device())}
    seed = 2 * number
    sample = data.load("photos", size=size, channels=3, train=256, test=1).train
    seen = normalized()(nn.Identity(), sample.to(runtime.device()))
    for name, mine in (("untrained", seed), ("other weights", seed + 1)):
        net = models.classifier(NET, size=size, seed=mine).to(runtime.device())
        found[name] = models.calibrate(net, seen, batch_size=64)
    found["as built"] = models.classifier(NET, size=size, seed=seed).to(runtime.device())
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
        "levelled off": one.levelled_off[0],
    }


def on_the_way(searches: Sequence[inversion.LayerInversion]) -> Tensor:
    """The least leftover at the records of several searches for the same images, (images,)."""
    nearest = torch.stack([one.trace["m_i"][0] for one in searches]).amin((0, 2))
    return (nearest / searches[0].m_i_start[0]).square()


def still_falling(one: inversion.LayerInversion) -> bool:
    """Whether f has fallen by more than 2 % since half of the evaluations for an image."""
    f = one.trace["m_i"][0, 0].square()
    half = int((one.steps <= float(one.iterations[0, 0]) / 2).sum()) - 1
    return bool(f[-1] < 0.98 * f[half])


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


def under_noise(net: nn.Module, pictures: Tensor, own: Tensor) -> Tensor:
    """How often pictures with noise have the classes `own` on top: (n, levels of `NOISE`)."""
    noises = torch.randn(DRAWS, 1, *pictures[0].shape, generator=random.generator(0))
    shares = []
    for level in NOISE:
        noisy = (pictures + level * noises).flatten(0, 1)
        called = scores(net, noisy).argmax(1).unflatten(0, (DRAWS, -1))
        shares.append((called == own).float().mean(0))
    return torch.stack(shares, 1)


def answers(net: nn.Module, taken: Tensor, photograph: Tensor) -> np.ndarray:
    """Of pictures kept along a search, (2, pictures): the rank that the photograph's own class has
    for each, and which class each has on top."""
    own, found = scores(net, photograph[None]).argmax(), scores(net, taken)
    rank = 1 + (found > found[:, own, None]).sum(1)
    return torch.stack([rank, found.argmax(1)]).numpy()


def read(
    net: nn.Module, image: Tensor, layer: str, **options: Any
) -> tuple[inversion.LayerInversion, Tensor, dict[str, Tensor]]:
    """A layer read in all `WAYS` that are its own; `options` as for `invert`.

    Returns:
        Of the ways the search that came nearer; the image along it, after each of `SNAPSHOTS` that
        it made, and at its end; the layer's numbers, (1,) each.
    """
    searches: list[inversion.LayerInversion] = []
    taken: list[list[Tensor]] = []

    def follow(info: Mapping[str, Any]) -> None:
        if info["step"] in SNAPSHOTS:
            taken[-1].append(info["images"][0].cpu())

    for recipe in WAYS[LAYERS[layer]]:
        taken.append([])
        one = inversion.invert(net, image, layer, recipe=recipe, callback=follow, **options)
        searches.append(one[layer])
    found = inversion.nearer(*searches)
    along = taken[next((k for k, each in enumerate(searches) if each.m_i == found.m_i), 0)]
    null = one.null(net, _photographs(image.shape[-1]), options["forward"])[layer]
    numbers = {
        **searched(found),
        "levelled off": torch.stack([each.levelled_off[0] for each in searches]).amin(0),
        "still falling": torch.tensor([float(any(map(still_falling, searches)))]),
        "on the way": on_the_way(searches),
        "same class": (found.rank[0] == 1).float(),
        "rank": found.rank[0],
        PAIRS: inversion.share_below(null, found.m_g)[0],
    }
    return found, torch.stack([*along, found.images[0, 0]]), numbers


def of_photograph(
    name: str, layers: Sequence[str], steps: int, late: int, least: int, size: int, leading: int
) -> Result:
    """One photograph read back from the trained net, and from untrained ones that are its own."""
    states = nets(size, [*CROPS].index(checks.choice(name, "photographs", CROPS)))
    image, every = photograph(name, size), _photographs(size)
    records = [step for step in RECORDS if step < late]
    readings: dict[Any, Any] = {}
    show: dict[str, Any] = {
        "records": np.array([*records, late]),
        "layers": np.array([LAYERS[layer] for layer in layers]),
        "photographs": {name: to_file(image)} if name in SHOWN else {},
        "pictures": {},
        "late pictures": {},
        "trace": {},
        "by layer": {},
        "under noise": {},
        "snapshots": {},
        "answers": {},
    }
    for state, net in states.items():
        asked = [layer for layer in layers if state in READ or LAYERS[layer] in MIDDLE]
        forward = plain if state == "as built" else normalized()
        found, taken = {}, {}
        for layer in asked:
            most = late if LAYERS[layer] in LATE else steps
            found[layer], taken[layer], numbers = read(
                net,
                image,
                layer,
                steps=most,
                until=inversion.LevelledOff(least=least),
                forward=forward,
                log_at=[record for record in records if record < most],
                label=f"{name}, {state}, {LAYERS[layer]}",
            )
            readings |= {(state, LAYERS[layer], what): number for what, number in numbers.items()}
        if state not in READ:
            continue
        for layer, stretch in inversion.spectrum(
            net,
            image,
            asked,
            leading,
            forward=forward,
            iterations=2,
            oversampling=leading // 2,
        ).items():
            readings[state, LAYERS[layer], ENERGY] = stretch.share.cpu()
        first = found[asked[0]]
        readings[state, "start", "same class"] = (first.rank_start[0] == 1).float()
        readings[state, "start", "rank"] = first.rank_start[0]
        for what, values in classes(net, image, every).items():
            readings[state, what, "same class"] = values
        show["trace"][state] = {
            name: torch.stack([along(found[layer], records) for layer in asked])
        }
        show["by layer"][state] = {
            what: {name: torch.cat([readings[state, LAYERS[layer], what] for layer in asked])}
            for what in BY_LAYER
        }
        back = {LAYERS[layer]: found[layer].images[0] for layer in asked}
        if name in SHOWN:
            show["pictures"][state] = {name: to_file(torch.cat([*back.values()]))}
        if state != "trained":
            continue
        last = {place: back[place] for place in LATE}
        own = scores(net, image).argmax(1)
        for place, picture in {**last, "photograph": image}.items():
            named = scores(net, on_screen(picture)).argmax(1) == own
            shares = under_noise(net, picture, own)
            readings[state, place, "same class on a screen"] = named.float()
            readings[state, place, "same class under noise"] = shares[:, NOISE.index(FAINT)]
            show["under noise"][place] = {name: shares[0]}
        if name in SHOWN:
            show["late pictures"] = {name: to_file(torch.cat([*last.values()]), quality=None)}
        for key, what in (("mean", "mean colour"), ("thumbnail", "thumbnail")):
            line = (first.baselines[key].m_i / first.m_i_start[0]).square()
            readings[f"f of the {what}"] = line
        block = inversion.features(net, image, "blocks.6.0", forward=forward)["blocks.6.0"]
        readings["numbers in block 15 / in the picture"] = [block.numel() / image.numel()]
        if name == FOLLOWED:
            show["answers"]["photograph"] = answers(net, image, image[0])
            for layer, pictures in taken.items():
                show["snapshots"][LAYERS[layer]] = to_file(pictures)
                show["answers"][LAYERS[layer]] = answers(net, pictures, image[0])
    for place in MIDDLE:
        for one, other in (
            ("trained", "untrained"), ("trained", "as built"), ("other weights", "untrained"),
        ):  # fmt: skip
            for when, what in (("", "f"), (", on the way", "on the way")):
                share = readings[one, place, what] / readings[other, place, what]
                readings[place, f"{one} / {other}{when}"] = share
    return Result(readings, show, keep=tuple(show))


def run(
    photographs: Sequence[str],
    layers: Sequence[str],
    steps: int,
    late: int,
    least: int,
    size: int,
    leading: int,
) -> Result:
    """Each photograph read back from each layer of the trained net and of untrained ones.

    Args:
        photographs: names in `CROPS`; each has untrained nets of its own, so that what these give
            is no affair of one draw of weights.
        layers: the net's names, in `LAYERS`; of nets that stand beside, those of `MIDDLE` alone.
        steps, late: evaluations at most, and in the last two layers.
        least: how many before a search may have levelled off. Of late layers the picture hardly
            leaves grey, and f is level after a few, long before m_g is.
        size: pixels a side.
        leading: how many of the Jacobian's singular values are found.
    """
    each = [of_photograph(name, layers, steps, late, least, size, leading) for name in photographs]
    return joined(each)


def along(one: inversion.LayerInversion, records: Sequence[int]) -> Tensor:
    """f and m_g/m_r for one image at the records of its search and at its end, (2, 1 + records).

    A search that has ended keeps its last.
    """
    f = (one.trace["m_i"][0, 0] / one.m_i_start[0, 0]).square()
    both = torch.stack([f, one.trace["m_g"][0, 0] / one.m_r[0, 0]])
    return both[:, [min(k, both.shape[1] - 1) for k in range(len(records) + 1)]]


def left(result: Result, state: str, photograph: str) -> np.ndarray:
    """The leftover f of a photograph at the end of the search, (layers,)."""
    return np.asarray(result.show["trace"][state][photograph])[:, 0, -1]


def back(result: Result, photograph: str, state: str = "trained") -> Tensor:
    """A photograph and what each layer gives back of it, (1 + layers, 3, size, size)."""
    places = result.show["layers"].tolist()
    every = from_file(result.show["pictures"][state][photograph])
    if state == "trained":
        late = [k for k, place in enumerate(places) if place in LATE]
        every[late] = from_file(result.show["late pictures"][photograph])
    return torch.cat([from_file(result.show["photographs"][photograph]), every])


def picture(result: Result, photographs: Sequence[str] = ("chelsea", "coffee")) -> Figure:
    """Photographs, and what each layer of the trained and of the untrained net gives back of them.

    Each with its leftover f.
    """
    rows, labels, notes = [], [], []
    places, known = result.show["layers"].tolist(), [*result.show["photographs"]]
    for name in photographs:
        checks.choice(name, "photographs", known)
        for state in READ:
            rows.append(back(result, name, state))
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
    """By layer, trained and untrained: f beside what knows next to nothing, m_g/m_r, the rank of
    the photograph's class, and the Jacobian's energy in its leading directions."""
    places = result.show["layers"].tolist()
    figure, axes = figures.canvas(2, 2, height=4.1)
    known = {
        name: float(result[f"f of the {name}"].mean()) for name in ("mean colour", "thumbnail")
    }
    for ax, (quantity, label, lines) in zip(
        axes,
        (
            ("f", "leftover f", known),
            ("m_g/m_r", "$m_g/m_r$", None),
            ("rank", "rank of the class", None),
            (ENERGY, "share of energy in\nleading directions", None),
        ),
        strict=True,
    ):
        kept = {state: result.show["by layer"][state][quantity] for state in READ}
        figures.curves(
            range(len(places)),
            {state: np.stack([*rows.values()]) for state, rows in kept.items()},
            lines=lines,
            xlabel="",
            ylabel=label,
            logy=quantity != ENERGY,
            legend="none",
            ax=ax,
        )
        ax.set_xticks(range(len(places)), [place.removeprefix("block ") for place in places])
    strokes_of_f = axes[0].get_lines()
    figure.legend(strokes_of_f, [*READ, *known], loc="outside upper center", ncols=4, frameon=False)
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

    pictures = [from_file(result.show["photographs"][FOLLOWED])[0]]
    heads, notes = [called(answered["photograph"][1, 0])], [""]
    places = result.show["layers"].tolist()
    searches = zip(places, result.show["trace"]["trained"][FOLLOWED], strict=True)
    for place, (f, ratio) in [*searches][1:]:
        until, record = kept.index(n) + 1, records.index(n)
        rank, top = answered[place][:, :until][:, -1]
        pictures.append(from_file(result.show["snapshots"][place])[:until][-1])
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
        "late": 3,
        "least": 200,
        "size": 32,
        "leading": 1,
    },
    full={
        "photographs": list(CROPS),
        "layers": list(LAYERS),
        "steps": 2000,
        "late": 6000,
        "least": 1000,
        "size": 96,
        "leading": 10,
    },
    picture=picture,
    chunk=1,
    chunked="photographs",
)
