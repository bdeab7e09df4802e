"""Does a picture of a sparse direction tell a trained net from one that never was?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from aelib import figures, inversion, measures, objectives, random
from aelib.claims import Claim, above
from aelib.data.images import Images
from aelib.experiments.cifar_classifiers import accuracy, labels_of, train
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_file, to_file
from aelib.experiments.sparse_units import (
    PLACES,
    Features,
    Place,
    alike,
    autoencoders,
    both_ways,
    describe,
    observer,
    pictures,
    pooled,
    read,
    top,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JUDGED = ("ResNet", "ViT", "EfficientNet")  # of `PLACES`
SHUFFLED = "labels shuffled"  # of the residual net alone: a net that learned, and no classes
HALVED = "trained, half the evaluations"  # how far the searches still have to go
STATES = ("trained", "untrained", "random directions", "frozen decoder", "principal directions")
PICTURED = ("trained", "untrained", "random directions", SHUFFLED)
SHOWN, BESIDE = 6, 2  # directions in a figure, and top images beside each


def _less(name: str) -> str:
    return f"trained − {name}"


CLAIM = Claim(
    id="6.3",
    statement="Inverting a sparse direction of a trained net gives a picture that tells it from "
    "one of an untrained net.",
    source="this chapter; the question after arXiv 2602.14111 and 2501.17727",
    reading=("ResNet", _less("untrained")),
    measure="how well another net tells by its inverted picture alone which unit it is of: the "
    "share of other units whose top images are less like the picture than the own unit's; trained "
    "less untrained, the kept ResNet on CIFAR-10",
    units="autoencoders, each with an untrained net of its own",
    supported={
        (place, _less(name)): above(0)
        for place in JUDGED
        for name in ("untrained", "random directions")
    },
    conditional={("ResNet", _less("untrained")): above(0)},
    condition="of the residual net; of the transformer and of EfficientNet as well, and against "
    "random directions of the same net, it was not shown",
    controls=(
        *((place, name) for place in JUDGED for name in STATES[1:]),
        ("ResNet", SHUFFLED),
        *((place, "pictures exchanged") for place in JUDGED),
    ),
    also=(
        *((place, state) for place in JUDGED for state in ("trained", HALVED)),
        *(("ResNet", f"{state}, own unit") for state in STATES[:2]),
        *(("ResNet", f"{state}, alike") for state in (*STATES[:2], SHUFFLED)),
    ),
    fails_when="One asks the net itself, whose own unit the picture drives before training and "
    "after. Three runs came before: one asked for the features that a unit decodes to instead of "
    "their direction from the mean, and no unit was told; by today's rule one saw the residual net "
    "alone on crops of seven photographs, and supported the claim, and one of six autoencoders "
    "and half the evaluations did not decide.",
    rule_changed="2026-11-26",
    seen_before="first run",
)


class Directions(NamedTuple):
    """Units of one net: how they are found in inputs, their directions, and where 0 is."""

    features: Features
    encode: Callable[[Tensor], Tensor]  # inputs (n, d, 1, 1) to units (n, u)
    columns: Tensor  # (d, u), of norm 1
    origin: Tensor  # (d,)


def learned(
    features: Sequence[Features], steps: int, code: int, k: int, frozen: bool = False
) -> list[Directions]:
    """Those of sparse autoencoders, one on each net's features; their decoders may be frozen."""
    nets = autoencoders([one.train for one in features], steps, code, k, frozen)
    return [
        Directions(one, net.encode, net.decoder.columns().detach(), net.decoder.bias.detach())
        for one, net in zip(features, nets, strict=True)
    ]


def two_ways(like: Directions, basis: Tensor) -> Directions:
    """The rows of a basis (k, d) and their opposites as directions of the same net."""
    encode = both_ways(basis)
    return Directions(
        like.features,
        lambda inputs: encode(inputs.flatten(1) - like.origin),
        torch.cat([basis, -basis]).T,
        like.origin,
    )


def at_random(like: Directions, seed: int) -> Directions:
    """As many random directions as a dictionary has, each taken both ways, of the same net."""
    d, code = like.columns.shape
    drawn = random.normal((code // 2, d), like.columns, random.generator(seed))
    return two_ways(like, nn.functional.normalize(drawn, dim=1))


def principal(like: Directions) -> Directions:
    """The principal directions of the inputs, as many as there are up to half a dictionary."""
    inputs = like.features.train
    k = min(like.columns.shape[1] // 2, inputs.shape[1] // 2)
    return two_ways(like, measures.principal_directions(inputs, k)[1])


class Inverted(NamedTuple):
    """Some units' pictures, their top images, and how well each is told by its picture."""

    pictures: Tensor  # (n, 3, size, size)
    top: Tensor  # (TOP, n), indices of test images
    told: Tensor  # (n,)
    exchanged: Tensor  # (n,), by the next unit's picture
    own: Tensor  # (n,), the share of test images for which the own unit is smaller
    alike: Tensor  # (), how alike the top images of all its units are, as in claim 6.2


@torch.no_grad()
def inverted(
    place: Place,
    found: Directions,
    look: Callable[[Tensor], Tensor],
    rows: Tensor,
    n: int,
    steps: int,
    seed: int,
) -> Inverted:
    """`n` units drawn by seed, each inverted along its direction.

    look: how another net sees images, rows of length 1; `rows`: so it sees the test images.
    """
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
    likeness = look(seen) @ nn.functional.normalize(rows[tops].mean(0), dim=1).T
    own = likeness.gather(1, drawn[:, None])
    others = likeness.shape[1] - 1
    told = (likeness < own).sum(1) / others
    other = likeness.roll(1, 0)
    exchanged = (other < other.gather(1, drawn[:, None])).sum(1) / others
    back = found.encode(features.scaling(pooled(features.net, seen, place.layer, forward)))
    driven = (code[:, units] < back.gather(1, units[:, None]).T).float().mean(0)
    return Inverted(seen, tops[:, drawn], told, exchanged, driven, alike(tops, rows).mean())


def some(images: Images, n: int) -> Images:
    """`n` of its training images and a quarter as many of its test images, drawn at random."""
    order = torch.randperm(len(images.test), generator=random.generator(0))[: n // 4]
    return replace(images.take(n), test=images.test[order])


def unlabelled(images: Images, steps: int) -> tuple[nn.Module, float]:
    """A residual net taught labels in random order; and the share of them that it has learned."""
    labels, _ = labels_of(images)
    order = torch.randperm(len(labels), generator=random.generator(0))
    shuffled = replace(images, train_labels=labels[order])
    model = train("ResNet", shuffled, objectives.classify, steps)
    return model, accuracy(model, images.train, labels[order])


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
    shuffled_steps: int,
    shown: Sequence[str],
) -> Result:
    """How well another net tells units by their pictures, of several nets and of controls.

    Args:
        name: "cifar10", or "photographs" for the run without it.
        n: images to train the autoencoders on.
        seeds, untrained, steps, code, k: as in `sparse_units.run`.
        directions: units inverted, of each autoencoder.
        evaluations: of the net and its gradient, for each picture.
        shuffled_steps: for which the net of shuffled labels is trained.
        shown: places of which pictures of one autoencoder are made, and nothing else, on a
            quarter of the images.
    """
    readings: dict[Any, Any] = {}
    show: dict[str, Any] = {"pictures": {}, "told": {}}
    for word in (*JUDGED, *shown):
        judged = word in JUDGED
        count, wanted = (seeds, n) if judged else (1, n // 4)
        place, every = PLACES[word], pictures(word, name, 2 * wanted)
        images = some(every, wanted)
        look = observer(place.eye, images.test)
        rows = look(images.test)
        trained = read(place, images)
        others = [read(place, images, seed) for seed in range(min(untrained, count))]
        sparse = learned([trained] * count, steps, code, k)
        groups = {
            "trained": sparse,
            "untrained": learned([others[i % len(others)] for i in range(count)], steps, code, k),
            "random directions": [at_random(each, seed) for seed, each in enumerate(sparse)],
        }
        if judged:
            groups["frozen decoder"] = learned([trained] * count, steps, code, k, frozen=True)
            groups["principal directions"] = [principal(each) for each in sparse]
        if word == "ResNet":
            model, right = unlabelled(every, shuffled_steps)
            show["shuffled labels named right"] = {random.moved(0): right}
            groups[SHUFFLED] = learned([describe(place, model, images)] * count, steps, code, k)
        told = show["told"][word] = {}
        for state, group in groups.items():
            found = [
                inverted(place, each, look, rows, directions, evaluations, seed)
                for seed, each in enumerate(group)
            ]
            if state in PICTURED and (word == "ResNet" or not judged):
                tops = images.test[found[0].top[:BESIDE, :SHOWN].T.flatten()]
                show["pictures"].setdefault(word, {})[state] = {
                    "inverted": to_file(found[0].pictures[:SHOWN]),
                    "top": to_file(tops, quality=80),
                }
            readings[word, state] = [float(each.told.mean()) for each in found]
            readings[word, f"{state}, own unit"] = [float(each.own.mean()) for each in found]
            readings[word, f"{state}, alike"] = [float(each.alike) for each in found]
            if state == "trained":
                readings[word, "pictures exchanged"] = [
                    float(each.exchanged.mean()) for each in found
                ]
                readings[word, HALVED] = [
                    float(
                        inverted(
                            place, each, look, rows, directions, evaluations // 2, seed
                        ).told.mean()
                    )
                    for seed, each in enumerate(group)
                ]
        for state in [*groups, "pictures exchanged"]:
            values = readings[word, state]
            told[state] = {random.moved(seed): value for seed, value in enumerate(values)}
            if state != "trained":
                pairs = zip(readings[word, "trained"], values, strict=True)
                readings[word, _less(state)] = [one - other for one, other in pairs]
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """How well units are told by their pictures, by net: a dot for each autoencoder."""
    names = ("trained", "untrained", SHUFFLED, *STATES[2:], "pictures exchanged")
    places = [word for word in JUDGED if word in result.show["told"]]
    figure, axes = figures.canvas(len(places), 1, height=2.4 * len(places))
    for word, ax in zip(places, axes, strict=True):
        told = result.show["told"][word]
        figures.bars(
            {name: [float(v) for v in told[name].values()] for name in names if name in told},
            xlabel="share of other units that fit less well" if word == places[-1] else "",
            lines={"chance": 0.5},
            controls=[name for name in names[1:] if name in told],
            title=word,
            ax=ax,
        )
    return figure


def directions_picture(result: Result, place: str, state: str, side: int = 64) -> Figure:
    """Directions of a net, drawn at random: each inverted, above its top images.

    All are shown with `side` pixels, so that figures of several nets have one size.
    """
    shown = result.show["pictures"][place][state]
    seen, tops = (
        nn.functional.interpolate(from_file(shown[name]), side, mode="area")
        for name in ("inverted", "top")
    )
    tops = tops.unflatten(0, (len(seen), -1))
    return figures.grid(
        [torch.stack(list(row)) for row in [seen, *tops.unbind(1)]],
        labels=["inverted", "top image", *(["next"] * (tops.shape[1] - 1))],
        cell=1.2,
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
        "directions": 2,
        "evaluations": 2,
        "shuffled_steps": 1,
        "shown": [],
    },
    full={
        "name": "cifar10",
        "n": 4000,
        "seeds": 10,
        "untrained": 10,
        "steps": 400,
        "code": 256,
        "k": 16,
        "directions": 10,
        "evaluations": 80,
        "shuffled_steps": 2400,
        "shown": ["EfficientNet, large"],
    },
    picture=picture,
)
