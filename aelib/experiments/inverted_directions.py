"""Does a picture of a sparse direction tell a trained net from one that never was?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from aelib import figures, inversion, random
from aelib.claims import Claim, above
from aelib.data.images import Images
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_jpeg, to_jpeg
from aelib.experiments.sparse_units import (
    PLACES,
    Features,
    Place,
    autoencoders,
    both_ways,
    observer,
    pictures,
    pooled,
    read,
    top,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATES = ("trained", "untrained", "random directions")
JUDGED = "ResNet"  # of `PLACES`
SHOWN, BESIDE = 6, 4  # directions in a figure, and top images beside each

CLAIM = Claim(
    id="6.3",
    statement="Inverting a sparse direction of a trained net gives a picture that tells it from "
    "one of an untrained net.",
    source="this chapter; the question after arXiv 2602.14111 and 2501.17727",
    reading="trained − untrained",
    measure="how well another net tells by its inverted picture alone which unit it is of: the "
    "share of other units whose top images are less like the picture than the own unit's; trained "
    "less untrained, the kept ResNet on crops of photographs",
    units="autoencoders, each with an untrained net of its own",
    supported={"trained − untrained": above(0), "trained − random directions": above(0)},
    conditional={"trained − untrained": above(0)},
    condition="Random directions of the trained net were not shown to be told less well.",
    controls=("untrained", "random directions", "pictures exchanged"),
    also=("trained", *(f"{state}, own unit" for state in STATES)),
    fails_when="One asks the net itself, whose own unit the picture drives before training and "
    "after. And a picture that matches the features a unit decodes to, instead of their direction "
    "from the mean, is the picture of no unit at all: in a first run all looked alike, and none "
    "was told.",
    rule_changed="2026-11-26",
    seen_before="first run",
)


class Directions(NamedTuple):
    """Units of one net: how they are found in inputs, their directions, and where 0 is."""

    features: Features
    encode: Callable[[Tensor], Tensor]  # inputs (n, d, 1, 1) to units (n, u)
    columns: Tensor  # (d, u), of norm 1
    origin: Tensor  # (d,)


def learned(features: Sequence[Features], steps: int, code: int, k: int) -> list[Directions]:
    """Those of a sparse autoencoder on each of several nets' features."""
    nets = autoencoders([one.train for one in features], steps, code, k)
    return [
        Directions(one, net.encode, net.decoder.columns().detach(), net.decoder.bias.detach())
        for one, net in zip(features, nets, strict=True)
    ]


def at_random(like: Directions, seed: int) -> Directions:
    """As many random directions as a dictionary has, each taken both ways, of the same net."""
    d, code = like.columns.shape
    drawn = random.normal((code // 2, d), like.columns, random.generator(seed))
    basis = nn.functional.normalize(drawn, dim=1)
    encode = both_ways(basis)
    return Directions(
        like.features,
        lambda inputs: encode(inputs.flatten(1) - like.origin),
        torch.cat([basis, -basis]).T,
        like.origin,
    )


class Inverted(NamedTuple):
    """Some units' pictures, their top images, and how well each is told by its picture."""

    pictures: Tensor  # (n, 3, size, size)
    top: Tensor  # (TOP, n), indices of test images
    told: Tensor  # (n,)
    exchanged: Tensor  # (n,), by the next unit's picture
    own: Tensor  # (n,), the share of test images for which the own unit is smaller


@torch.no_grad()
def inverted(
    place: Place,
    found: Directions,
    look: Callable[[Tensor], Tensor],
    test: Tensor,
    n: int,
    steps: int,
    seed: int,
) -> Inverted:
    """`n` units drawn by seed, each inverted along its direction."""
    features = found.features
    code = found.encode(features.test)
    used, tops = top(code)
    drawn = torch.randperm(len(used), generator=random.generator(seed))[:n]
    units = used[drawn]
    step = found.origin + found.columns[:, units].T

    def in_layer(inputs: Tensor) -> Tensor:
        return features.scaling.mean + features.scaling.largest * inputs

    recipe = replace(inversion.RECIPES["default"], loss=inversion.Along(in_layer(found.origin)))
    forward, shape = place.forward, (3, place.size, place.size)
    seen = inversion.invert_features(
        features.net,
        in_layer(step),
        place.layer,
        shape,
        recipe=recipe,
        steps=steps,
        seed=seed,
        forward=forward,
    ).clamp(0, 1)
    likeness = look(seen) @ nn.functional.normalize(look(test)[tops].mean(0), dim=1).T
    own = likeness.gather(1, drawn[:, None])
    others = likeness.shape[1] - 1
    told = (likeness < own).sum(1) / others
    other = likeness.roll(1, 0)
    exchanged = (other < other.gather(1, drawn[:, None])).sum(1) / others
    back = found.encode(features.scaling(pooled(features.net, seen, place.layer, forward)))
    driven = (code[:, units] < back.gather(1, units[:, None]).T).float().mean(0)
    return Inverted(seen, tops[:, drawn], told, exchanged, driven)


def some(images: Images, n: int) -> Images:
    """`n` of its training images and a quarter as many of its test images, drawn at random."""
    order = torch.randperm(len(images.test), generator=random.generator(0))[: n // 4]
    return replace(images.take(n), test=images.test[order])


def run(
    name: str,
    n: int,
    seeds: int,
    untrained: int,
    steps: int,
    code: int,
    k: int,
    directions: int,
    evaluations: int,
    shown: Sequence[str],
) -> Result:
    """How well another net tells units by their pictures: trained, untrained, random directions.

    Args:
        name: "cifar10", or "photographs" for the run without it.
        n: images to train the autoencoders on.
        seeds, untrained, steps, code, k: as in `sparse_units.run`.
        directions: units inverted, of each autoencoder.
        evaluations: of the net and its gradient, for each picture.
        shown: places of which pictures of one autoencoder are made, and nothing else, on a
            quarter of the images.
    """
    readings: dict[str, Any] = {}
    show: dict[str, Any] = {"pictures": {}, "told": {}}
    for word in (JUDGED, *shown):
        count, wanted = (seeds, n) if word == JUDGED else (1, n // 4)
        place, images = PLACES[word], some(pictures(word, name, 2 * wanted), wanted)
        look = observer(place.eye, images.test)
        trained = read(place, images)
        others = [read(place, images, seed) for seed in range(min(untrained, count))]
        sparse = learned([trained] * count, steps, code, k)
        groups = {
            "trained": sparse,
            "untrained": learned([others[i % len(others)] for i in range(count)], steps, code, k),
            "random directions": [at_random(each, seed) for seed, each in enumerate(sparse)],
        }
        show["pictures"][word] = {}
        for state, rows in groups.items():
            found = [
                inverted(place, each, look, images.test, directions, evaluations, seed)
                for seed, each in enumerate(rows)
            ]
            show["pictures"][word][state] = {
                "inverted": to_jpeg(found[0].pictures[:SHOWN]),
                "top": to_jpeg(images.test[found[0].top[:BESIDE, :SHOWN].T.flatten()], quality=80),
            }
            if word != JUDGED:
                continue
            readings[state] = torch.stack([each.told.mean() for each in found])
            readings[f"{state}, own unit"] = [float(each.own.mean()) for each in found]
            show["told"][state] = readings[state]
            if state == "trained":
                exchanged = torch.stack([each.exchanged.mean() for each in found])
                readings["pictures exchanged"] = show["told"]["pictures exchanged"] = exchanged
    for state in STATES[1:]:
        readings[f"trained − {state}"] = readings["trained"] - readings[state]
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """How well units are told by their pictures: a dot for each autoencoder."""
    told = result.show["told"]
    names = (*STATES, "pictures exchanged")
    return figures.bars(
        {name: torch.as_tensor(told[name]) for name in names},
        xlabel="share of other units that fit less well",
        lines={"chance": 0.5},
        controls=names[1:],
    )


def directions_picture(result: Result, place: str, state: str) -> Figure:
    """Directions of a net, drawn at random: each inverted, beside its top images."""
    shown = result.show["pictures"][place][state]
    seen, tops = from_jpeg(shown["inverted"]), from_jpeg(shown["top"])
    tops = tops.unflatten(0, (len(seen), -1))
    return figures.grid(
        [torch.stack(list(row)) for row in [seen, *tops.unbind(1)]],
        labels=["inverted", "top image", *(["next"] * (tops.shape[1] - 1))],
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "name": "photographs",
        "n": 80,
        "seeds": 3,
        "untrained": 1,
        "steps": 5,
        "code": 24,
        "k": 12,
        "directions": 3,
        "evaluations": 4,
        "shown": [],
    },
    full={
        "name": "photographs",
        "n": 800,
        "seeds": 6,
        "untrained": 6,
        "steps": 150,
        "code": 128,
        "k": 8,
        "directions": 10,
        "evaluations": 40,
        "shown": [],
    },
    picture=picture,
)
