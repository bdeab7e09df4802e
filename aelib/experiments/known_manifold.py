"""On a manifold that is known: where do lines in code, copiers, denoisers and walks lead?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, objectives, random, sampling
from aelib.claims import Claim, above, below, between
from aelib.data.shapes import RADIUS, SIZE, Shapes
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKUP = "nearest training picture"  # as a map: it stays on the manifold, and has learned nothing
LINE = Claim(
    id="5.10",
    statement="Half-way along a straight line in code lies a picture of the manifold, near the one "
    "half-way; half-way along a line in pixels does not.",
    source="what is commonly said; chapter 5",
    reading=("code of 2 ÷ pixels", "off the manifold"),
    measure="distance to the manifold of the middle of lines between two discs, code of 2 over "
    "pixels",
    supported={
        ("code of 2 ÷ pixels", "off the manifold"): below(0.5),
        ("code of 2 ÷ pixels", "from the true middle"): below(0.5),
        ("copier ÷ pixels", "off the manifold"): below(0.5),
        ("copier ÷ pixels", "from the true middle"): below(0.5),
    },
    conditional={
        ("code of 2 ÷ pixels", "off the manifold"): below(0.5),
        ("code of 2 ÷ pixels", "from the true middle"): below(0.5),
    },
    condition="The code is as narrow as the manifold.",
    controls=(
        ("pixels", "off the manifold"),
        ("copies, code of 2", "off the manifold"),
        ("copies, copier", "off the manifold"),
    ),
    also=(
        ("code of 2 ÷ pixels, far apart", "off the manifold"),
        ("copier ÷ pixels, far apart", "off the manifold"),
        ("code of 2", "off the manifold"),
        ("copier", "off the manifold"),
    ),
    ratios=tuple(
        (f"{name} ÷ pixels{far}", what)
        for name in ("code of 2", "copier")
        for far in ("", ", far apart")
        for what in ("off the manifold", "from the true middle")
    ),
    fails_when="The code is wide: what lies half-way between two of its codes is no more than a "
    "third nearer than what lies half-way between two pictures.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
WALK = Claim(
    id="5.11",
    statement="Noise in pixels and denoising walk along the manifold: the denoiser takes away what "
    "leads off it and leaves what leads along it. Noise in pixels and a wide copier do not; a "
    "copier with its noise in a code of two stays near it too.",
    source="Badger's page; Alain and Bengio 2014; chapter 5",
    reading=("denoiser", "off the manifold, 100 steps"),
    measure="distance to the manifold after 100 times noise of deviation 1 and denoising, as a "
    "share of the mean picture's",
    supported={
        ("denoiser", "noise taken away across"): above(0.9),
        ("denoiser", "noise taken away along"): below(0.3),
        ("denoiser", "off the manifold, 100 steps"): below(0.5),
        ("denoiser", "place moved, 100 steps"): above(1),
        ("copier", "off the manifold, 100 steps"): above(0.8),
        ("code of 2, noise in code", "off the manifold, 100 steps"): below(0.5),
    },
    conditional={
        ("denoiser", "noise taken away across"): above(0.9),
        ("denoiser", "noise taken away along"): below(0.3),
        ("denoiser", "off the manifold, 100 steps"): below(0.5),
        ("denoiser", "place moved, 100 steps"): above(1),
    },
    condition="Of the denoiser: of the copiers' walks one was not shown to go as said.",
    controls=(
        ("smooth change as far", "off the manifold, 100 steps"),
        ("blur, as accurate", "off the manifold, 100 steps"),
        ("Wiener filter", "off the manifold, 100 steps"),
        ("pixels", "off the manifold, 100 steps"),
        ("mean picture", "noise taken away along"),
        (LOOKUP, "off the manifold, 100 steps"),
        (LOOKUP, "noise taken away along"),
    ),
    also=(
        ("copier", "noise taken away across"),
        ("copier", "noise taken away along"),
        ("code of 2", "off the manifold, 100 steps"),
        ("code of 2, noise in code", "place moved, 100 steps"),
    ),
    ratios=(("code of 2", "off the manifold, 100 steps"),),  # one net's walkers run far away
    fails_when="A wide net has only learned to copy, or the noise is stronger than it was taught. "
    "And a list of the training pictures, which has learned nothing, walks along it as well.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
MEAN = Claim(
    id="5.12",
    statement="A walk that draws from P(x | x̃) keeps the data's spread; one that goes to the exact "
    "mean loses some of it, and so does a denoiser's.",
    source="Bengio et al. 2013, of draws; chapter 5, of means",
    reading=("exact mean", "spread"),
    measure="variance of the places of the discs nearest to the walkers over that of the data's, "
    "after 100, 200 and 300 times noise of deviation 1 and a step to the exact mean",
    supported={
        ("exact draw", "spread"): between(0.9, 1.1),
        ("exact mean", "spread"): below(1),
        ("denoiser", "spread"): below(1),
    },
    controls=(("data", "spread"), ("copier", "spread"), (LOOKUP, "spread")),
    also=(
        ("exact mean", "off the manifold, last step"),
        ("exact draw", "off the manifold, last step"),
        ("denoiser", "off the manifold, last step"),
    ),
    units="nets, and draws of the exact walks",
    fails_when="The data are spread evenly and the noise is weak: then mean and draw differ at "
    "their border alone. What a denoiser loses may be its errors' doing.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

STOPS = (1, 3, 10, 30, 100, 200, 300)
FAR = 2 * RADIUS  # discs so far apart do not overlap

Map = Callable[[Tensor], Tensor]


class Ground(NamedTuple):
    """A known manifold to stand on, and what an experiment on it needs.

    shapes: the manifold. train: pictures to train on. sigma: deviation of the noise that the
    denoiser is taught and the walks add. cells: of each number, in the data of the exact walks.
    ends: numbers between which a line is shown.
    """

    shapes: Shapes
    train: int
    sigma: float
    cells: tuple[int, ...]
    ends: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def narrow(self) -> str:
        """The net whose code is as narrow as the manifold."""
        return f"code of {len(self.shapes.names)}"

    @property
    def kinds(self) -> tuple[str, str, str]:
        """The nets that are trained."""
        return "copier", self.narrow, "denoiser"


DISCS = Ground(data.discs, 4096, 1.0, (26, 26), ((8.5, 9.0), (18.5, 17.0)))
ELLIPSES = Ground(
    data.ellipses, 16_384, 0.5, (16, 16, 6, 8), ((10.0, 10.5, 2.8, -35.0), (17.0, 16.0, 4.2, 35.0))
)


@cache
def images_of(ground: Ground) -> data.Images:
    """Pictures to train on, and others."""
    sample = ground.shapes.sample
    return data.Images("shapes", sample(ground.train, 0).images, sample(256, 1).images)


def nets(ground: Ground, kind: str, seeds: int, steps: int) -> list[models.MLPAutoencoder]:
    """Nets of 784 → 256 → … → 784, their code of 256 numbers or as narrow as the manifold."""
    code = len(ground.shapes.names) if kind == ground.narrow else None
    noise = data.gaussian(ground.sigma)
    objective = objectives.denoise(noise) if kind == "denoiser" else objectives.copy
    made = models.replicate(
        lambda: models.MLPAutoencoder((1, SIZE, SIZE), width=256, depth=5, code=code),
        seeds,
    )
    train = images_of(ground).train
    fit(made, train, objective=objective, steps=steps, schedule="cosine", label=kind)
    return made


def off(shapes: Shapes, images: Tensor) -> Tensor:
    """Distance to the manifold, the mean over pictures."""
    return shapes.nearest(images).distances.mean()


# ---- lines ---------------------------------------------------------------------------------------


def line_readings(ground: Ground, made: dict[str, list]) -> dict[tuple[str, str], Tensor]:
    """How far middles of lines are from the manifold and from the picture of the middle numbers."""
    shapes = ground.shapes
    numbers = shapes.sample(256, 1).numbers
    first, last = numbers.chunk(2)
    true = shapes.draw((first + last) / 2)
    far = (first - last)[:, :2].norm(dim=1) > FAR
    ends = shapes.draw(first), shapes.draw(last)

    def middle(model) -> tuple[Tensor, Tensor]:
        image = sampling.interpolate(*ends, points=3, model=model)[1]
        return shapes.nearest(image).distances, (image - true).flatten(1).norm(dim=1)

    pixels = middle(None)
    seeds = len(made["copier"])
    readings = {("pixels", "off the manifold"): pixels[0].mean().expand(seeds)}
    for kind in (ground.narrow, "copier"):
        found = [middle(model) for model in made[kind]]
        copies = torch.stack([off(shapes, measures.outputs(net, ends[0])) for net in made[kind]])
        readings[f"copies, {kind}", "off the manifold"] = copies
        readings[kind, "off the manifold"] = torch.stack([each[0].mean() for each in found])
        for which, what in enumerate(("off the manifold", "from the true middle")):
            for words, chosen in (("", far | True), (", far apart", far)):
                readings[f"{kind} ÷ pixels{words}", what] = torch.stack(
                    [each[which][chosen].mean() / pixels[which][chosen].mean() for each in found]
                )
    return readings


def line_pictures(ground: Ground, made: dict[str, list]) -> dict[str, Tensor]:
    """One long line: in pixels, in both codes of the first nets, and the truth."""
    draw = ground.shapes.draw
    first, last = (torch.tensor([numbers]) for numbers in ground.ends)
    shares = torch.linspace(0, 1, 7)[:, None]
    rows = {
        name: sampling.interpolate(draw(first), draw(last), points=7, model=model)[:, 0]
        for name, model in (
            ("pixels", None),
            ("copier", made["copier"][0]),
            (ground.narrow, made[ground.narrow][0]),
        )
    }
    return {**rows, "truth": draw(torch.lerp(first, last, shares))}


# ---- arrows --------------------------------------------------------------------------------------


def taken_away(ground: Ground, answer: Map, seed: int) -> tuple[Tensor, Tensor]:
    """What share of noise a map takes away, across the manifold and along it."""
    images, numbers = ground.shapes.sample(256, 1)
    noise = ground.sigma * random.normal(images.shape, images, random.generator(seed))
    arrows = (answer(images + noise) - images - noise).flatten(1)
    tangents = torch.linalg.qr(ground.shapes.tangents(numbers).flatten(2).mT).Q  # (n, d, k)
    noise = noise.flatten(1)

    def along(vectors: Tensor) -> Tensor:
        return (tangents @ (tangents.mT @ vectors[..., None]))[..., 0]

    def share(arrows: Tensor, noise: Tensor) -> Tensor:
        return -(arrows * noise).sum() / noise.square().sum()

    return (
        share(arrows - along(arrows), noise - along(noise)),
        share(along(arrows), along(noise)),
    )


def arrows_in_plane(shapes: Shapes, answer: Map, points: int = 9) -> tuple[Tensor, Tensor]:
    """Where shapes on a lattice of places are sent: places before and after, (points², 2) each."""
    numbers = shapes.grid(points, points, *[1] * (len(shapes.names) - 2))
    return numbers[:, :2], shapes.nearest(answer(shapes.draw(numbers))).numbers[:, :2]


def arrows_across(
    shapes: Shapes, answer: Map, heights: Sequence[float], seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The same on a slice through the manifold, (n, 2) each, in grey levels.

    First axis: along the manifold, from the middle, for a shape that goes across. Second axis: off
    it, along one direction of white noise.
    """
    numbers = shapes.grid(15, *[1] * (len(shapes.names) - 1))[1:-1:2]
    middle = numbers.mean(0)
    images, tangents = shapes.draw(numbers), shapes.tangents(numbers)[:, 0]
    speed = tangents.flatten(1).norm(dim=1)  # grey levels a pixel
    white = random.normal(images.shape[1:], images, random.generator(seed))
    normal = white / white.norm()
    start, end = [], []
    for height in heights:
        x = images + height * normal
        arrows = answer(x) - x
        along = (arrows * tangents).flatten(1).sum(1) / speed
        up = (arrows * normal).flatten(1).sum(1)
        across = (numbers - middle)[:, 0] * speed
        begin = torch.stack([across, torch.full_like(across, height)], 1)
        start.append(begin)
        end.append(begin + torch.stack([along, up], 1))
    return torch.cat(start), torch.cat(end)


# ---- walks ---------------------------------------------------------------------------------------


def noisy_walk(answer: Map, start: Tensor, steps: int, sigma: float, seed: int) -> Tensor:
    """x ← O(x + σe): the pictures at each of the stops up to `steps`, (stops, n, …)."""
    source, x, seen = random.generator(seed), start, []
    for step in range(1, steps + 1):
        x = answer(x + sigma * random.normal(x.shape, x, source))
        if step in STOPS:
            seen.append(x)
    return torch.stack(seen)


@cache
def cells_of(ground: Ground) -> Tensor:
    """The pictures of a ground's cells, (m, 784)."""
    return ground.shapes.draw(ground.shapes.cells(*ground.cells)).flatten(1)


def posterior(noisy: Tensor, sigma: float, ground: Ground) -> Tensor:
    """P(x | x̃) of the ground's cells, all as likely, under noise of deviation sigma: (n, m)."""
    known = cells_of(ground)
    half = known.square().sum(1) / 2
    return ((noisy.flatten(1) @ known.T - half) / sigma**2).softmax(1)


def exact_mean(ground: Ground) -> Map:
    """x̃ ↦ E[x | x̃] of the ground's cells under its noise: the best any denoiser can do."""
    known = cells_of(ground)
    return lambda x: (posterior(x, ground.sigma, ground) @ known).view(x.shape)


def exact_walk(
    start: Tensor,
    steps: int,
    draws: bool,
    seed: int,
    sigma: float | None = None,
    ground: Ground = DISCS,
) -> Tensor:
    """Walk by the posterior of the data, which are the ground's cells, all as likely.

    A mean picture lies off the manifold; `Shapes.nearest` says which shape it is most like.

    Args:
        start: shapes, (n, 1, 28, 28).
        steps: how many times x ← E[x | x̃], or x drawn from P(x | x̃); x̃ = x + σe.
        draws: draw, or go to the mean.
        seed: of the noise and the draws.
        sigma: deviation of the noise; the ground's if None.
        ground: whose data they are.

    Returns:
        The pictures at each of the stops up to `steps`, (stops, n, 1, 28, 28).
    """
    sigma = ground.sigma if sigma is None else sigma
    known = cells_of(ground)
    source = random.generator(seed)
    x, seen = start.flatten(1), []
    for step in range(1, steps + 1):
        noisy = x + sigma * random.normal(x.shape, x, source)
        share = posterior(noisy, sigma, ground)  # (n, m)
        drawn = torch.multinomial(share, 1, generator=source)[:, 0] if draws else None
        x = share @ known if drawn is None else known[drawn]
        if step in STOPS:
            seen.append(x.view(-1, 1, SIZE, SIZE))
    return torch.stack(seen)


def smooth_change(images: Tensor, far: Tensor, seed: int) -> Tensor:
    """Images changed by smooth noise, each as far as `far` (n,) says."""
    noise = random.normal(images.shape, images, random.generator(seed))
    smooth = nn.functional.avg_pool2d(noise, 7, 1, 3)
    return images + smooth * (far / smooth.flatten(1).norm(dim=1))[:, None, None, None]


def run(seeds: int, steps: int, walkers: int, walk: int, ground: Ground = DISCS) -> Result:
    """Lines, arrows and walks under three kinds of nets, and the controls; `walk` steps long."""
    shapes, sigma, narrow = ground.shapes, ground.sigma, ground.narrow
    in_code = f"{narrow}, noise in code"
    made = {kind: nets(ground, kind, seeds, steps) for kind in ground.kinds}
    train, test = images_of(ground).train, images_of(ground).test
    # What knowing nothing but the mean picture leaves.
    unit = off(shapes, train.mean(0, keepdim=True))
    filters: dict[str, Map] = {
        "Wiener filter": measures.wiener_filter(train, sigma),
        "mean picture": measures.mean_image(train),
        "pixels": lambda x: x,
        LOOKUP: lambda x: train[torch.cdist(x.flatten(1), train.flatten(1)).argmin(1)],
    }
    readings: dict[tuple[str, str], list] = {}

    def note(name: str, what: str, value: Tensor) -> None:
        readings.setdefault((name, what), []).append(float(value))

    stops = [stop for stop in STOPS if stop <= walk]
    hundred = sum(stop <= 100 for stop in stops) - 1
    far: dict[str, list[Tensor]] = {}  # from the manifold, by stops
    scattered: dict[str, list[Tensor]] = {}  # of numbers, by stops
    shown: dict[str, Tensor] = {}  # walkers at the stops
    ends: dict[str, Tensor] = {}  # where the walkers of the first unit are at the end
    plane = {"exact mean": arrows_in_plane(shapes, exact_mean(ground))}
    across = {}
    heights = torch.linspace(-30, 30, 7).tolist()
    start, begun = shapes.sample(walkers, 2)
    for seed in range(seeds):
        each = {kind: made[kind][seed] for kind in ground.kinds}
        error = float(measures.clean_error(each["denoiser"], test).mean())
        maps: dict[str, Map] = {
            name: lambda x, model=model: measures.outputs(model, x) for name, model in each.items()
        }
        # A net that has hardly learned errs more than any blur.
        maps["blur, as accurate"] = measures.matched_blur(test, min(error, 0.03))
        maps |= filters
        paths = {n: noisy_walk(answer, start, walk, sigma, seed) for n, answer in maps.items()}
        net = each[narrow]
        paths[in_code] = sampling.manifold_walk(
            net, start, walk, sigma=0.2 * measures.codes(net, test).std(0), seed=seed
        )[stops]
        gone = (paths["denoiser"][hundred] - start).flatten(1).norm(dim=1)
        paths["smooth change as far"] = smooth_change(start, gone, seed)[None]
        for name, draws in (("exact mean", False), ("exact draw", True)):
            paths[name] = exact_walk(start, walk, draws, seed, ground=ground)
        for name, answer in maps.items():
            taken = taken_away(ground, answer, seed)
            note(name, "noise taken away across", taken[0])
            note(name, "noise taken away along", taken[1])
            if seed == 0:
                plane[name] = arrows_in_plane(shapes, answer)
                across[name] = arrows_across(shapes, answer, heights)
        for name, path in paths.items():
            found = [shapes.nearest(images) for images in path]
            last = found[min(hundred, len(found) - 1)]
            note(name, "off the manifold, 100 steps", last.distances.mean() / unit)
            moved = (last.numbers - begun)[:, :2].norm(dim=1)
            note(name, "place moved, 100 steps", moved.mean())
            if len(found) == len(stops):
                row = torch.stack([one.distances.mean() / unit for one in found])
                far.setdefault(name, []).append(row)
                row = torch.stack([shapes.spread(one.numbers) for one in found])
                scattered.setdefault(name, []).append(row)
            if name in ("denoiser", "copier", "exact mean", "exact draw", LOOKUP):
                row = torch.stack([shapes.spread(one.numbers) for one in found[-3:]])
                note(name, "spread", row.mean())
                note(name, "off the manifold, last step", found[-1].distances.mean() / unit)
            if seed == 0:
                shown[name], ends[name] = on_screen(path[:, :2]), found[-1].numbers
        note("data", "spread", shapes.spread(shapes.sample(walkers, 3 + seed).numbers))
    show = {
        "lines": {name: on_screen(row) for name, row in line_pictures(ground, made).items()},
        "plane": plane,
        "across": across,
        "stops": torch.tensor(stops),
        "off": {name: torch.stack(rows) for name, rows in far.items()},
        "spread": {name: torch.stack(rows) for name, rows in scattered.items()},
        "walkers": shown,
        "ends": ends,
        "start": on_screen(start[:2]),
    }
    lines = line_readings(ground, made)
    return Result({**lines, **readings}, {**show, "models": made}, tuple(show))


def lines_picture(result: Result) -> Figure:
    """A line between two shapes: in pixels, in two codes, and the truth."""
    lines = result.show["lines"]
    return figures.grid(list(lines.values()), labels=list(lines))


def plane_picture(
    result: Result, names: Sequence[str] = ("copier", "denoiser", "exact mean")
) -> Figure:
    """The manifold as a plane: where each net sends the disc of each place, and the exact mean."""
    figure, axes = figures.canvas(1, len(names), height=2.6)
    for ax, name in zip(axes, names, strict=True):
        start, end = (result.show["plane"][name][i] for i in (0, 1))
        figures.field(
            end, start, end, title=name, xlabel="across, pixels", ylabel="down, pixels",
            points_label="", arrows_label="", ax=ax,
        )  # fmt: skip
        ax.invert_yaxis()
    return figure


def across_picture(result: Result, names: Sequence[str] = DISCS.kinds) -> Figure:
    """A slice through the manifold, the line at height 0: where each net sends pictures off it."""
    figure, axes = figures.canvas(1, len(names), height=2.6)
    for ax, name in zip(axes, names, strict=True):
        start, end = (torch.as_tensor(result.show["across"][name][i]) for i in (0, 1))
        figures.field(
            start[start[:, 1] == 0], start, end, title=name, xlabel="along it",
            ylabel="off it", points_label="", arrows_label="", ax=ax,
        )  # fmt: skip
    return figure


def walkers_picture(result: Result, walker: int = 0) -> Figure:
    """One walker at the stops, under each way to walk."""
    names = ("denoiser", "copier", "code of 2, noise in code", "exact mean", "exact draw")
    return figures.grid(
        [
            torch.cat([torch.as_tensor(result.show["start"])[[walker]], walk[:, walker]])
            for walk in (torch.as_tensor(result.show["walkers"][name]) for name in names)
        ],
        labels=[name.replace(", ", ",\n") for name in names],
        columns=["0", *map(str, result.show["stops"].tolist())],
        cell=0.8,
    )


def picture(result: Result) -> Figure:
    """How far walkers are from the manifold, and how widely they are spread over it, by steps."""
    figure, axes = figures.canvas(1, 2, height=2.9)
    names = ("denoiser", "copier", "code of 2, noise in code", "Wiener filter")
    figures.curves(
        result.show["stops"],
        {name: result.show["off"][name] for name in names},
        lines={"mean picture": 1.0},
        xlabel="steps",
        ylabel="distance to the manifold",
        logx=True,
        logy=True,
        legend="above",
        ax=axes[0],
    )
    figures.curves(
        result.show["stops"],
        {name: result.show["spread"][name] for name in ("denoiser", "exact mean", "exact draw")},
        lines={"data": 1.0},
        xlabel="steps",
        ylabel="variance of places",
        logx=True,
        legend="above",
        ax=axes[1],
    )
    return figure


EXPERIMENT = Experiment(
    claims=(LINE, WALK, MEAN),
    run=run,
    short={"seeds": 3, "steps": 5, "walkers": 8, "walk": 3},
    full={"seeds": 10, "steps": 6000, "walkers": 192, "walk": 300},
    picture=picture,
)
