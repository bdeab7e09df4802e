"""Do the units of a sparse autoencoder on a net's features mean one thing each?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks, data, figures, fit, inversion, measures, models, random, runtime
from aelib.claims import Claim, above
from aelib.data.images import Images
from aelib.experiments.cifar_classifiers import KINDS, classifier, labelled, labels_of
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import from_file, to_file
from aelib.models.pretrained import LITE0

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 10  # images that stand for a unit: those for which it is largest
CODE, K = 512, 16  # units of a dictionary, and how many stay on for an image


class Place(NamedTuple):
    """Where directions are looked for: a layer of a net, on images of a size and a set."""

    net: str
    layer: str
    size: int
    set: str
    eye: str  # which of the kept CIFAR-10 classifiers says whether two images are alike

    @property
    def forward(self) -> Callable[[nn.Module, Tensor], Tensor] | None:
        """How images go through the net."""
        return models.normalization(LITE0, "imagenet") if self.net == LITE0 else None


PLACES = {
    "ResNet": Place("ResNet", "stage3", 32, "cifar10", "ViT"),
    "EfficientNet": Place(LITE0, "blocks.4.0", 64, "cifar10", "ViT"),
    "EfficientNet, photographs": Place(LITE0, "blocks.4.0", 64, "photographs", "ViT"),
    "EfficientNet, large": Place(LITE0, "blocks.4.0", 96, "photographs", "ViT"),
    "ViT": Place("ViT", "block1", 32, "cifar10", "ResNet"),
}
EYES = {"ViT": "token", "ResNet": "pool"}
FIRST = tuple(PLACES)[:2]  # on which the claim is judged
DICTIONARIES = ("sparse", "plain", "frozen decoder", "principal directions", "channels",
                "untrained net, sparse", "images at random")  # fmt: skip

PICTURED = ("sparse", "plain", "untrained net, sparse")


def _less(name: str) -> str:
    return f"sparse − {name}"


CLAIM = Claim(
    id="6.2",
    statement="The units of a sparse autoencoder on a net's middle layer are more specific than "
    "a plain one's.",
    source="Bricken et al. 2023; the measure after Pach et al. 2025, arXiv 2504.02821; the "
    "controls after arXiv 2602.14111",
    reading=("ResNet", _less("plain")),
    measure="how alike a unit's ten top images are to another net, a mean cosine over pairs and "
    "units: sparse less plain, on the kept ResNet",
    units="autoencoders of each kind, on one trained net and half of the test images each",
    supported={
        (place, _less(name)): above(0)
        for place in FIRST
        for name in ("plain", "frozen decoder", "principal directions")
    },
    conditional={(place, _less("plain")): above(0) for place in FIRST},
    condition="A dictionary that nobody learned, of random or of principal directions, was not "
    "shown to be less specific.",
    controls=tuple((place, name) for place in FIRST for name in DICTIONARIES[2:]),
    also=(
        *((place, name) for place in FIRST for name in DICTIONARIES[:2]),
        *((place, "sparse, class entropy") for place in FIRST),
        *((place, "plain, class entropy") for place in FIRST),
        *((place, "sparse, explained") for place in FIRST),
        *((place, "frozen decoder, explained") for place in FIRST),
        *((place, "sparse, units used") for place in FIRST),
    ),
    fails_when="One asks what a unit does to the net instead of for which images it is on.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)


_cifar10 = cache(lambda: labelled("cifar10"))


@cache
def pictures(word: str, name: str, crops: int) -> Images:
    """Labelled images for a place: of its set, or of photographs where `name` is not "cifar10".

    Photographs are crops of seven, a quarter of them for testing, each labelled by the photograph
    that it was cut from.
    """
    place = PLACES[checks.choice(word, "places", PLACES)]
    if place.set == "cifar10" and name == "cifar10":
        found = _cifar10()
        return replace(
            found, train=resized(found.train, place.size), test=resized(found.test, place.size)
        )
    found = data.load("photos", size=place.size, channels=3, holdout=7, train=crops, test=1)
    classes = sorted(set(found.train_sources))
    labels, cut = torch.tensor([classes.index(one) for one in found.train_sources]), crops // 4
    return Images(
        "photographs",
        found.train[cut:],
        found.train[:cut],
        labels[cut:],
        labels[:cut],
        tuple(classes),
    )


def resized(images: Tensor, size: int) -> Tensor:
    """Images made larger or smaller, between pixels along straight lines."""
    if images.shape[-1] == size:
        return images
    return nn.functional.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True
    ).clamp(0, 1)


def net(place: Place, seed: int | None = None, sample: Tensor | None = None) -> nn.Module:
    """The trained net of a place; with a seed one that never was, calibrated on a sample."""
    if seed is None:
        if place.net == LITE0:
            return models.classifier(LITE0, "imagenet", size=place.size)
        return classifier(place.net)
    assert sample is not None, "a net that never was trained is calibrated on a sample"
    if place.net == LITE0:
        model = models.classifier(LITE0, size=place.size, seed=random.moved(seed))
        assert place.forward is not None
        sample = place.forward(nn.Identity(), sample)
    else:
        (model,) = models.replicate(KINDS[place.net].build, 1, first=random.moved(seed))
        if place.net == "ViT":  # no batch statistics to calibrate
            return model.eval()
    return models.calibrate(model, sample, batch_size=64).eval()


def pooled(
    model: nn.Module, images: Tensor, layer: str, forward: Any = None, at_once: int = 500
) -> Tensor:
    """A layer's features, averaged over places or over tokens: (n, d), on the CPU."""
    model.to(runtime.device())
    found = []
    for some in images.split(at_once):
        features = inversion.features(model, some, layer, forward)[layer].detach().cpu()
        found.append(inversion.over_places(features))
    return torch.cat(found)


class Features(NamedTuple):
    """What a net says of a set: inputs for dictionaries, (n, d, 1, 1), and how they were made."""

    net: nn.Module
    scaling: Any
    train: Tensor
    test: Tensor


def read(place: Place, images: Images, seed: int | None = None) -> Features:
    """The features of a trained net, or of one of a seed that was never trained."""
    return describe(place, net(place, seed, images.train[:256]), images)


def describe(place: Place, model: nn.Module, images: Images) -> Features:
    """The features of any net with the place's layer."""
    train, test = (
        pooled(model, some, place.layer, place.forward) for some in (images.train, images.test)
    )
    scaling = models.scaling(train)
    return Features(model, scaling, scaling(train), scaling(test))


def autoencoders(
    inputs: Sequence[Tensor],
    steps: int,
    code: int = CODE,
    k: int | None = K,
    frozen: bool = False,
    label: str = "sparse",
) -> list[models.SparseAutoencoder]:
    """An autoencoder for each set of inputs, each from its own seed; its decoder may be frozen."""
    shape = tuple(inputs[0].shape[1:])
    nets = models.replicate(lambda: models.SparseAutoencoder(shape, code, k), len(inputs))
    for each in nets:
        each.decoder.weight.requires_grad_(not frozen)
    fit(nets, list(inputs), steps=steps, batch_size=256, lr=2e-3, schedule="cosine", label=label)
    return nets


def both_ways(directions: Tensor) -> Callable[[Tensor], Tensor]:
    """Directions (k, d) as units: how far inputs go along each, and along its opposite."""

    def encode(inputs: Tensor) -> Tensor:
        along = inputs.flatten(1) @ directions.T
        return torch.cat([along, -along], 1).relu()

    return encode


def dictionaries(
    trained: Features, untrained: Sequence[Features], steps: int, code: int, k: int
) -> tuple[dict[str, list[Tensor]], dict[str, list[float]]]:
    """The units' values for the test images, (n, units), by dictionary: one for each seed.

    Beside them the share of the inputs' variance that is explained, where there is a decoder.
    """
    seeds = len(untrained)
    inputs = [trained.train] * seeds
    learned = {
        "sparse": autoencoders(inputs, steps, code, k),
        "plain": autoencoders(inputs, steps, code, None, label="plain"),
        "frozen decoder": autoencoders(inputs, steps, code, k, True, "frozen decoder"),
    }
    _, directions, _ = measures.principal_directions(trained.train, min(code // 2, 100))
    channels = torch.eye(trained.train.shape[1])
    found = {name: [(each, trained.test) for each in nets] for name, nets in learned.items()}
    nets = autoencoders([one.train for one in untrained], steps, code, k, label="untrained net")
    found["untrained net, sparse"] = [
        (each, one.test) for each, one in zip(nets, untrained, strict=True)
    ]
    with torch.no_grad():
        codes = {name: [each.encode(x) for each, x in pairs] for name, pairs in found.items()}
        explained = {
            name: [1 - float((each(x) - x).square().sum() / (x - x.mean(0)).square().sum())
                   for each, x in pairs]
            for name, pairs in found.items()
        }  # fmt: skip
    for name, basis in (("principal directions", directions), ("channels", channels)):
        codes[name] = [both_ways(basis)(trained.test)] * seeds
    codes["images at random"] = [
        torch.rand(len(trained.test), code, generator=random.generator(seed))
        for seed in range(seeds)
    ]
    return codes, explained


def top(code: Tensor) -> tuple[Tensor, Tensor]:
    """The `TOP` images of each unit that is on for as many: units (u,), images (TOP, u)."""
    values, images = code.topk(TOP, 0)
    used = (values[-1] > 0).nonzero().flatten()
    if not len(used):
        got = checks.Described("none, so none has top images")
        advice = "take a larger k, fewer units, or more images"
        raise ValueError(checks.message("code", f"units on for {TOP} images", got, advice))
    return used, images[:, used]


def alike(images: Tensor, seen: Tensor) -> Tensor:
    """The mean cosine over pairs of top images (TOP, u), seen as rows (n, e) of length 1: (u,)."""
    together = seen[images].sum(0).square().sum(-1)
    return (together - TOP) / (TOP * (TOP - 1))


def class_entropy(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The entropy of the labels of top images (TOP, u), in nats: (u,). 0 is one class alone."""
    share = nn.functional.one_hot(labels[images], classes).float().mean(0)
    return -(share * share.clamp_min(1e-9).log()).sum(-1)


def observer(kind: str, images: Tensor) -> Callable[[Tensor], Tensor]:
    """What a kept CIFAR-10 classifier makes of images, less the mean of these: rows of length 1."""
    model = classifier(kind)

    def look(some: Tensor) -> Tensor:
        return pooled(model, resized(some, 32), EYES[kind])

    mean = look(images).mean(0)
    return lambda some: nn.functional.normalize(look(some) - mean, dim=1)


def run(
    name: str,
    crops: int,
    places: Sequence[str],
    seeds: int,
    untrained: int,
    steps: int,
    code: int,
    k: int,
    sweep: Sequence[int],
) -> Result:
    """How alike the top images of each unit are, by place and dictionary; one k after the other.

    Args:
        name: "cifar10", or "photographs" for the run without it.
        crops: of photographs.
        places: in `PLACES`.
        seeds: autoencoders of each kind, each asked for half of the test images.
        untrained: nets that were never trained, which the seeds share.
        steps, code, k: of an autoencoder.
        sweep: other values of k, at the first place.
    """
    readings: dict[Any, Any] = {}
    show: dict[str, Any] = {"alike": {}, "pictures": {}, "sweep": {}}
    for word in places:
        place, images = PLACES[word], pictures(word, name, crops)
        labels, classes = labels_of(images)[1], len(images.classes)
        seen = observer(place.eye, images.test)(images.test)
        trained = read(place, images)
        others = [read(place, images, seed) for seed in range(untrained)]
        others = [others[seed % untrained] for seed in range(seeds)]
        codes, explained = dictionaries(trained, others, steps, code, k)
        show["alike"][word] = {}
        halves = [  # of the test images: a spread for what has no seed, too
            torch.randperm(len(images.test), generator=random.generator(seed))[::2]
            for seed in range(seeds)
        ]
        for which, rows in codes.items():
            found = [top(each[half]) for each, half in zip(rows, halves, strict=True)]
            tops = [(used, half[at]) for (used, at), half in zip(found, halves, strict=True)]
            likeness = [alike(shown, seen) for _, shown in tops]
            readings[word, which] = [float(each.mean()) for each in likeness]
            readings[word, f"{which}, class entropy"] = [
                float(class_entropy(shown, labels, classes).mean()) for _, shown in tops
            ]
            readings[word, f"{which}, units used"] = [
                len(used) / each.shape[1] for (used, _), each in zip(tops, rows, strict=True)
            ]
            if which in explained:
                readings[word, f"{which}, explained"] = explained[which]
            show["alike"][word][which] = torch.stack([each.mean() for each in likeness])
            if word == places[-1] and which in PICTURED:
                order = torch.randperm(len(likeness[0]), generator=random.generator(1))[:3]
                chosen = tops[0][1][:6, order].T  # (units, images), units drawn at random
                show["pictures"][which] = to_file(images.test[chosen.flatten()], quality=80)
        for which in DICTIONARIES[1:]:
            readings[word, _less(which)] = [
                one - other
                for one, other in zip(readings[word, "sparse"], readings[word, which], strict=True)
            ]
        if word == places[0]:
            show["sweep"] = swept(trained, seen, steps, code, sweep, seeds)
    return Result(readings, show, tuple(show))


def swept(
    trained: Features, seen: Tensor, steps: int, code: int, sweep: Sequence[int], seeds: int
) -> dict[str, Any]:
    """What each k explains, how alike its units' top images are, and how many units are used."""
    rows: dict[str, Any] = {"k": torch.tensor(sweep), "explained": [], "alike": [], "used": []}
    for k in sweep:
        nets = autoencoders([trained.train] * seeds, steps, code, k, label=f"k = {k}")
        x = trained.test
        with torch.no_grad():
            outs = [(each.encode(x), each(x)) for each in nets]
        tops = [top(z) for z, _ in outs]
        total = (x - x.mean(0)).square().sum()
        rows["explained"].append(torch.stack([1 - (y - x).square().sum() / total for _, y in outs]))
        rows["alike"].append(torch.stack([alike(shown, seen).mean() for _, shown in tops]))
        rows["used"].append(torch.tensor([len(used) / code for used, _ in tops]))
    return {n: r if n == "k" else torch.stack(r) for n, r in rows.items()}


def units_picture(result: Result) -> Figure:
    """Three units of each of some dictionaries, drawn at random, by their top images."""
    rows = {
        which: from_file(result.show["pictures"][which]).unflatten(0, (3, -1)) for which in PICTURED
    }
    return figures.grid(
        [units[i] for units in rows.values() for i in range(3)],
        labels=[f"{which}\nunit {i + 1}" for which in rows for i in range(3)],
    )


def picture(result: Result) -> Figure:
    """How alike the top images of a unit are, in each dictionary; a dot for each autoencoder."""
    table = result.show["alike"]
    figure, axes = figures.canvas(1, len(table))
    for ax, (word, rows) in zip(axes, table.items(), strict=True):
        figures.bars(
            {which: torch.as_tensor(rows[which]) for which in DICTIONARIES},
            xlabel="how alike",
            controls=DICTIONARIES[2:],
            title=word.replace(", ", ",\n"),
            ax=ax,
        )
        if ax is not axes[0]:
            ax.set_yticklabels([])
    return figure


def sweep_picture(result: Result) -> Figure:
    """What more units at once buy, and what they cost."""
    rows = result.show["sweep"]
    figure, axes = figures.canvas(1, 2)
    for ax, (what, title) in zip(
        axes, {"explained": "variance explained", "alike": "how alike"}.items(), strict=True
    ):
        figures.curves(
            rows["k"],
            {"top-k": torch.as_tensor(rows[what]).T},
            xlabel="units on at once, k",
            ylabel="",
            title=title,
            logx=True,
            legend="none",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "name": "photographs",
        "crops": 160,
        "places": list(FIRST),
        "seeds": 3,
        "untrained": 1,
        "steps": 5,
        "code": 24,
        "k": 12,
        "sweep": [12, 16],
    },
    full={
        "name": "cifar10",
        "crops": 8000,
        "places": [*FIRST, "EfficientNet, photographs"],
        "seeds": 6,
        "untrained": 6,
        "steps": 1500,
        "code": CODE,
        "k": K,
        "sweep": [2, 4, 8, 16, 32, 64, 128],
    },
    picture=picture,
)
