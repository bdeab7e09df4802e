"""Does a diffusion model need attention where one corner of an image decides another?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import figures, fit, models, objectives, random
from aelib.claims import Claim, above
from aelib.experiments.digit_diffusion import SCHEDULE, draw
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="4.20",
    statement="Where two far corners of an image must agree, a U-Net with attention draws images "
    "that keep the rule, and a net of convolutions that see less than the way between them "
    "does not.",
    source="this chapter; Badger's page has U-Nets with attention",
    reading="attention − wider",
    measure="share of samples whose marks in two opposite corners are alike, of the net with "
    "attention less that of a wider one without, trained as long",
    supported={"attention − wider": above(0.3), "attention, alike": above(0.75)},
    conditional={"attention − wider": above(0.1)},
    condition="attention helps, but not to three of four images, or by less than three in ten",
    controls=(
        "wider, alike",
        "attention, no rule, alike",
        "real images, alike",
        "corners that share nothing, alike",
    ),
    also=(
        "attention, marks that can be read",
        "wider, marks that can be read",
        "attention, parameters",
        "wider, parameters",
    ),
    fails_when="Convolutions see the whole image, as those of a net that halves it twice do: claim "
    "4.28.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)
SIZE, MARK = 16, 3
STROKES = torch.stack(  # a bar lying, standing, and leaning either way
    [
        torch.tensor([[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
        torch.tensor([[0, 1, 0], [0, 1, 0], [0, 1, 0]]),
        torch.eye(3),
        torch.eye(3).flip(1),
    ]
).float()
CORNERS = ("top left", "top right", "bottom left", "bottom right")
NETS = {  # ten convolutions of 3 × 3 in a row see ten pixels far; the marks are eleven apart
    "attention": {"downs": 0, "attention": (0,)},
    "wider": {"downs": 0, "attention": (), "widening": 1.5},
    "halved twice": {"downs": 2, "attention": ()},
    "attention, no rule": {"downs": 0, "attention": (0,)},
}
WITH_ATTENTION = ("attention", "attention, no rule")


def corners(images: Tensor) -> Tensor:
    """The four corners of images, (n, 4, 3, 3), in the order of `CORNERS`."""
    ends = (slice(None, MARK), slice(-MARK, None))
    return torch.stack([images[:, 0, down, across] for down in ends for across in ends], 1)


def marked(n: int, seed: int, rule: bool = True) -> Tensor:
    """Black images with a bar in each corner, (n, 1, 16, 16), in [0, 1].

    How each bar lies and how bright it is are drawn at random; by the rule the bar at the bottom
    right lies as the one at the top left does.

    >>> bool((lying(marked(50, seed=0))[:, 0] == lying(marked(50, seed=0))[:, 3]).all())
    True
    """
    source = random.generator(seed)
    lies = torch.randint(len(STROKES), (n, len(CORNERS)), generator=source)
    if rule:
        lies[:, 3] = lies[:, 0]
    bright = 0.6 + 0.4 * torch.rand(n, len(CORNERS), 1, 1, generator=source)
    bars = bright * STROKES[lies]  # (n, corners, 3, 3)
    images = torch.zeros(n, 1, SIZE, SIZE)
    ends = (slice(None, MARK), slice(-MARK, None))
    for corner, (down, across) in enumerate((d, a) for d in ends for a in ends):
        images[:, 0, down, across] = bars[:, corner]
    return images


def lying(images: Tensor) -> Tensor:
    """How the bar of each corner lies, by the stroke that fits it best: (n, 4), 0 to 3."""
    return _fits(images).argmax(-1)


def readable(images: Tensor) -> Tensor:
    """Whether the two corners of the rule hold a bar: its stroke is 0.8 of their energy, (n,)."""
    energy = corners(images).square().sum((-2, -1))
    share = _fits(images).amax(-1).square() / energy.clamp(min=1e-6)
    return ((share > 0.8) & (energy > 0.3))[:, [0, 3]].all(1)


def _fits(images: Tensor) -> Tensor:
    strokes = STROKES / STROKES.square().sum((-2, -1), keepdim=True).sqrt()
    return torch.einsum("ncij,sij->ncs", corners(images), strokes)


def alike(images: Tensor, one: int = 0, other: int = 3) -> float:
    """The share of images whose bars lie alike in two corners; by chance a quarter."""
    lies = lying(images)
    return float((lies[:, one] == lies[:, other]).float().mean())


def nets_of(name: str, seeds: int, width: int) -> list[models.DiffusionUNet]:
    """U-Nets of one kind, one a seed."""
    options = dict(NETS[name])
    width = int(width * options.pop("widening", 1))
    return models.replicate(
        lambda: models.DiffusionUNet((1, SIZE, SIZE), width, steps=SCHEDULE.steps, **options),
        seeds,
    )


def run(
    nets: Sequence[str], seeds: int, train: int, steps: int, batch_size: int, width: int, n: int,
    walk: int,
) -> Result:  # fmt: skip
    """Nets of these kinds of `NETS`, as long trained; the share of samples that keep the rule."""
    readings: dict = {}
    real = marked(n, seed=1)
    made = {name: nets_of(name, seeds, width) for name in nets}
    by_rule, free = marked(train, seed=0), marked(train, seed=0, rule=False)
    groups = [[name for name in nets if name in WITH_ATTENTION]]  # one architecture, one graph
    groups += [[name] for name in nets if name not in WITH_ATTENTION]
    for names in filter(None, groups):
        fit(
            [net for name in names for net in made[name]],
            [free if "no rule" in name else by_rule for name in names for _ in range(seeds)],
            objective=objectives.diffusion(SCHEDULE, "image"),
            steps=steps,
            batch_size=batch_size,
            lr=3e-3,
            schedule="cosine",
            label=names[0],
        )
    for name, group in made.items():
        sets = [draw(net, n, seed, walk) for seed, net in enumerate(group)]
        readings[f"{name}, alike"] = [alike(images) for images in sets]
        readings[f"{name}, marks that can be read"] = [
            float(readable(images).float().mean()) for images in sets
        ]
        readings[f"{name}, parameters"] = [models.count_parameters(group[0])] * seeds
        if name == "attention":
            others = [alike(images, 1, 2) for images in sets]
            readings["corners that share nothing, alike"] = others
    readings["real images, alike"] = [alike(real)] * seeds
    shares = {name: torch.tensor(readings[f"{name}, alike"]) for name in nets}
    readings |= {
        f"{name} − wider": share - shares["wider"]
        for name, share in shares.items()
        if name not in ("wider", "attention, no rule")
    }
    readings["wider − chance"] = shares["wider"] - 1 / len(STROKES)
    return Result(readings)


def experiment(claim: Claim, nets: Sequence[str]) -> Experiment:
    """These kinds of nets beside each other; a run of its own for each claim, to stay short."""
    return Experiment(
        claims=(claim,),
        run=run,
        short={"nets": nets, "seeds": 3, "train": 200, "steps": 2, "batch_size": 8, "width": 16,
               "n": 40, "walk": 2},
        full={"nets": nets, "seeds": 6, "train": 8000, "steps": 3000, "batch_size": 64,
              "width": 16, "n": 500, "walk": 25},
        picture=picture,
        chunk=1,
    )  # fmt: skip


def picture(*results: Result) -> Figure:
    """The share of samples that keep the rule, by net, and what chance gives.

    Of one run or of several; of a net that several have the first one's.
    """
    shares = {key: values for one in reversed(results) for key, values in one.readings.items()}
    names = [name for name in (*NETS, "real images") if f"{name}, alike" in shares]
    figure, (ax,) = figures.canvas(1, 1, height=0.65 + 0.33 * len(names))
    figures.bars(
        {name: shares[f"{name}, alike"] for name in names},
        xlabel="share of images whose two corners are alike",
        controls=[name for name in names if name in ("attention, no rule", "real images")],
        lines={"chance": 1 / len(STROKES)},
        ax=ax,
    )
    return figure


EXPERIMENT = experiment(CLAIM, ["attention", "wider", "attention, no rule"])
