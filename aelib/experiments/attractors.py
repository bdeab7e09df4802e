"""Where does a copier with a code of two numbers draw its digits, and does training change it?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from aelib import checks, data, figures, fit, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment, full_result
from aelib.experiments.keeping import Result
from aelib.models.autoencoders import Autoencoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIRECTIONS = 32  # the fixed first and last layer: the digits' principal directions, as many
MANY_DIGITS, FEW_DIGITS = "4,000 digits", "20 digits"  # what nets are taught
NEAR = 0.05  # of an image's length: so near to it an answer is the image, as in `measures.memory`
EARLY = 300  # steps, with which the end is compared
BASINS = 40  # cells in each direction, of which each says where its middle ends

MANY = Claim(
    id="5.17",
    statement="Taught 4,000 digits, a copier with a code of two numbers has more attractors at the "
    "end of its training than early on: one before training, many after.",
    source="Radhakrishnan et al. 2020, Fumero et al. 2026",
    reading="attractors, 4,000 digits",
    measure="fixed points of z → E(D(z)) that draw their surroundings, at least: those that "
    "Newton's method finds from a lattice over the square of the codes; 4,000 digits of 28 × 28, "
    "at the end of training",
    units="nets",
    supported={
        "attractors, 4,000 digits": above(10),
        "end / 300 steps": above(2),
        "before training": below(1.5),
    },
    conditional={"attractors, 4,000 digits": above(1.5), "end / 300 steps": above(1)},
    condition="There are more at the end, but not more than ten and twice as many as after 300 "
    "steps.",
    refuted={"end / 300 steps": below(1)},
    controls=("before training", "weights shuffled"),
    also=("attractors, 20 digits", "index of all fixed points", "walked, of the codes' deviation"),
    ratios=("end / 300 steps",),
    fails_when="The weights are as large, but shuffled: it is what they have learned that makes "
    "many attractors, and not their size.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)
TAUGHT = Claim(
    id="5.18",
    statement="Applied again and again, a copier with a code of two ends on digits it was taught "
    "where it was taught twenty, and on none where it was taught 4,000.",
    source="Radhakrishnan et al. 2020, Fumero et al. 2026",
    reading="H, 20 digits",
    measure="H, share of held-out digits that the net, applied 400 times, takes to a training "
    "image; both seen in the net's 32 directions",
    units="nets",
    supported={"H, 20 digits": above(0.5), "H, 4,000 digits": below(0.05)},
    conditional={"H, 20 digits": above(0.05), "H, 4,000 digits": below(0.05)},
    condition="Taught twenty, fewer than half of the walks end on one of them.",
    refuted={"H, 20 digits": below(0.05)},
    controls=(
        "before training, H, 20 digits",
        "before training, H, 4,000 digits",
        "copied, 20 digits",
        "copied, 4,000 digits",
    ),
    fails_when="The digits are more than a code of two numbers can tell apart: what a net does not "
    "copy it cannot end on, so of 4,000 digits nothing else could come.",
    rule_changed="2026-11-27",
    seen_before="prototype",
)


def build(shape: Sequence[int], mean: Tensor, directions: Tensor, width: int) -> Autoencoder:
    """A copier with a code of two numbers.

    Its first and last layer are fixed: what an image has of each direction, and back. Between them
    stand two hidden layers to the code and two from it, tanh, so that it is smooth.

    Args:
        shape: of an image.
        mean: the mean image, (d,).
        directions: the first principal directions, (k, d).
        width: of the hidden layers.
    """
    k, d = directions.shape
    inner = models.MLPAutoencoder((1, 1, k), width, depth=5, code=2, activation="tanh")
    first, last = nn.Linear(d, k), nn.Linear(k, d)
    for layer, weight, bias in (
        (first, directions, -directions @ mean),
        (last, directions.T, mean),
    ):
        layer.load_state_dict({"weight": weight, "bias": bias})
        layer.requires_grad_(False)
    encoder, decoder = cast(nn.Sequential, inner.encoder), cast(nn.Sequential, inner.decoder)
    return Autoencoder(
        checks.shape(shape), nn.Sequential(first, *encoder), nn.Sequential(*decoder, last)
    )


def learned(model: Autoencoder) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder without the fixed layers, which undo one another."""
    encoder, decoder = cast(nn.Sequential, model.encoder), cast(nn.Sequential, model.decoder)
    return encoder[1:], decoder[:-1]


def trained(model: Autoencoder) -> list[nn.Parameter]:
    """The weights of the layers that are not fixed."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def step_of(model: Autoencoder) -> Callable[[Tensor], Tensor]:
    """One application in the code, z → E(D(z)), in double precision: (n, 2) to (n, 2)."""
    encoder, decoder = learned(model)
    return copy.deepcopy(nn.Sequential(*decoder, *encoder)).double().requires_grad_(False)


def square(codes: Tensor) -> tuple[Tensor, float]:
    """Lower left corner (2,) and side of the square that holds all codes, with a margin."""
    low, high = codes.double().amin(0), codes.double().amax(0)
    side = 1.2 * float((high - low).max())
    return (low + high - side) / 2, side


def lattice(corner: Tensor, side: float, across: int) -> Tensor:
    """The middles of `across` × `across` cells of a square, (n, 2), rows from the lower left."""
    places = (torch.arange(across, dtype=torch.float64) + 0.5) / across
    return corner + side * torch.cartesian_prod(places, places).flip(1)


def slopes(step: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """The Jacobian of a map of the plane at each place, (n, 2, 2)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        rows = [torch.autograd.grad(row.sum(), z, retain_graph=True)[0] for row in step(z).T]
    return torch.stack(rows, 1)


def fixed_points(
    step: Callable[[Tensor], Tensor], corner: Tensor, side: float, across: int, rounds: int = 20
) -> tuple[Tensor, Tensor, Tensor]:
    """The fixed points of a map of the plane in a square, as far as Newton's method finds them.

    Args:
        step: the map, (n, 2) to (n, 2), differentiable, in double precision.
        corner, side: the square.
        across: starts in each direction.
        rounds: of Newton's method; none moves further than a tenth of the side.

    Returns:
        Their places (m, 2); how far the map stretches around each at most, (m,), below 1 for an
        attractor; their index (m,), −1 for a saddle, else 1. Where arrows point inwards all along
        the square's edge, the indices of all fixed points add up to 1.

    >>> push = lambda z: torch.tanh(2 * z)  # in each of two directions: −.96, 0, .96
    >>> places, stretch, index = fixed_points(push, torch.full((2,), -1.5), 3.0, across=9)
    >>> len(places), int((stretch < 1).sum()), int(index.sum())
    (9, 4, 1)
    """
    eye = torch.eye(2, dtype=torch.float64)
    z = lattice(corner, side, across)
    for _ in range(rounds):
        move = torch.linalg.lstsq(slopes(step, z) - eye, (z - step(z))[..., None]).solution[..., 0]
        z = z + move * (0.1 * side / move.norm(dim=1, keepdim=True)).clamp(max=1)
    inside = ((z >= corner) & (z <= corner + side)).all(1)
    z = z[inside & ((step(z) - z).norm(dim=1) < 1e-9 * side)]
    if len(z):  # many starts find the same one
        _, groups = ((z - corner) / side * 1e5).round().unique(dim=0, return_inverse=True)
        z = torch.stack([z[groups == group][0] for group in range(int(groups.max()) + 1)])
    matrices = slopes(step, z)
    stretch = torch.linalg.eigvals(matrices).abs().amax(1)
    return z, stretch, torch.linalg.det(matrices - eye).sign()


def shuffled(model: Autoencoder, seed: int) -> Autoencoder:
    """The same net with the trained weights of each layer in another order."""
    mixed = copy.deepcopy(model)
    generator = random.generator(seed)
    for weight in trained(mixed):
        order = torch.randperm(weight.numel(), generator=generator)
        weight.data = weight.data.flatten()[order].view_as(weight)
    return mixed


def attractors(model: Autoencoder, images: Tensor, across: int) -> int:
    """How many attractors a net's code has."""
    _, stretch, _ = fixed_points(step_of(model), *square(measures.codes(model, images)), across)
    return int((stretch < 1).sum())


def index(model: Autoencoder, images: Tensor, across: int) -> float:
    """The index of all the fixed points found: 1 where none was missed."""
    *_, each = fixed_points(step_of(model), *square(measures.codes(model, images)), across)
    return float(each.sum())


def stage(model: Autoencoder, images: Tensor, labels: Tensor, across: int, times: int):
    """What a page shows of a net in half precision: weights, codes, fixed points, basins."""
    weights = parameters_to_vector(trained(model)).detach().half()
    again = copy.deepcopy(model)
    vector_to_parameters(weights.float(), trained(again))
    step = step_of(again)
    codes = measures.codes(again, images)
    corner, side = square(codes)
    places, stretch, _ = fixed_points(step, corner, side, 2 * across)
    walkers = lattice(corner, side, BASINS)
    for _ in range(times):
        walkers = step(walkers)
    targets = places[stretch < 1]
    distances = torch.cdist(walkers, targets)
    far, basin = nn.functional.pad(distances, (0, 1), value=torch.inf).min(1)  # there may be none
    return {
        "weights": weights,
        "corner": corner,
        "side": side,
        "codes": codes[:200].half(),
        "labels": labels[:200].to(torch.uint8),
        "attractors": targets.float(),
        "others": places[stretch >= 1].half(),
        "basins": basin.where(far < 0.02 * side, 255).to(torch.uint8),  # 255: still under way
    }


def run(
    seeds: int, steps: int, width: int, across: int, records: Sequence[int], times: int
) -> Result:
    """Attractors along the training of nets taught many digits and few, and what they are."""
    digits = data.load("mnist")
    mean, directions, _ = measures.principal_directions(digits.train, DIRECTIONS)
    held_out = digits.test[:60]
    log_at = sorted({0, min(EARLY, steps), *records, steps})

    def follow(sets: Sequence[data.Images], name: str) -> tuple[list, dict, dict]:
        """Trained nets; attractors by seed and record, and the first net's stages; H."""
        images = [each.train for each in sets]
        found: dict[int, list[int]] = {}  # by step; the first one is recorded, too
        stages = {}
        seen = [measures.pca_reconstruct(each, mean, directions) for each in images]
        nets = models.replicate(lambda: build(digits.shape, mean, directions, width), seeds)

        def note(now: dict) -> None:
            pairs = zip(now["models"], images, strict=True)
            found[now["step"]] = [attractors(net, each, across) for net, each in pairs]
            if now["step"] in (0, *records, steps):
                labels = checks.labels(sets[0].train_labels, len(images[0]))
                stages[now["step"]] = stage(now["models"][0], images[0], labels, across, times)

        def recalled() -> Tensor:
            ends = measures.memory(nets, seen, held_out, times)
            return ends.recalled.float().mean(1)

        def copied(model: Autoencoder, taught: Tensor) -> Tensor:
            gaps = (measures.outputs(model, taught) - taught).flatten(1).norm(dim=1)
            return (gaps <= NEAR * taught.flatten(1).norm(dim=1)).float().mean()

        before = recalled()
        options = {"steps": steps, "lr": 2e-3, "batch_size": min(64, len(images[0]))}
        fit(nets, images, **options, log_at=log_at, callback=note, label=name)
        recall = {
            f"before training, H, {name}": before,
            f"H, {name}": recalled(),
            f"copied, {name}": [copied(net, one) for net, one in zip(nets, seen, strict=True)],
        }
        counts = torch.tensor(list(found.values())).T
        return (
            nets,
            {"steps": torch.tensor(list(found)), "attractors": counts, "stages": stages},
            recall,
        )

    few = [digits.take(20, seed=random.moved(seed)) for seed in range(seeds)]
    nets, many_show, many = follow([digits] * seeds, MANY_DIGITS)
    _, few_show, taught = follow(few, FEW_DIGITS)
    counts = many_show["attractors"].double()  # (seeds, records)
    readings = {
        **many,
        **taught,
        "attractors, 4,000 digits": counts[:, -1],
        "attractors, 20 digits": few_show["attractors"][:, -1],
        "before training": counts[:, 0],
        "end / 300 steps": counts[:, -1]
        / counts[:, many_show["steps"].tolist().index(min(EARLY, steps))],
        "index of all fixed points": [index(net, digits.train, across) for net in nets],
        "weights shuffled": [
            attractors(shuffled(net, seed), digits.train, across) for seed, net in enumerate(nets)
        ],
        "walked, of the codes' deviation": [walked(net, held_out, times) for net in nets],
    }
    show = {
        "mean": mean,
        "directions": directions,
        "width": width,
        "few": few[0].train.half(),
        MANY_DIGITS: many_show,
        FEW_DIGITS: few_show,
    }
    return Result(readings, show, tuple(show))


def walked(model: Autoencoder, images: Tensor, times: int) -> float:
    """How far codes of images have come after so many applications, of the codes' deviation."""
    codes = measures.codes(model, images).double()
    step, ends = step_of(model), codes
    for _ in range(times):
        ends = step(ends)
    return float((ends - codes).norm(dim=1).mean() / codes.var(0).sum().sqrt())


def shown(result: Result | None = None) -> dict[str, Any]:
    """What `figures.attractors` draws from, of the run's first net: stages, mean and directions.

    Args:
        result: of a run of this experiment; the kept full one if None.

    Raises:
        FileNotFoundError: where no full run is kept.
    """
    show = (full_result(MANY.id) if result is None else result).show
    mean, directions = (torch.as_tensor(show[key]).float() for key in ("mean", "directions"))
    few = torch.as_tensor(show["few"]).float()
    stages: dict[str, list[figures.Stage]] = {}
    for name, images in ((MANY_DIGITS, data.load("mnist").train), (FEW_DIGITS, few)):
        stages[name] = []
        seen = measures.pca_reconstruct(images, mean, directions).flatten(1)
        for steps, kept in sorted(show[name]["stages"].items()):
            found = {key: torch.as_tensor(kept[key]) for key in kept if key != "weights"}
            net = build((1, 28, 28), mean, directions, int(show["width"]))
            vector_to_parameters(torch.as_tensor(kept["weights"]).float(), trained(net))
            encoder, decoder = learned(net)
            side = float(found.pop("side"))
            ends = net.decode(found["attractors"].float()).flatten(1).detach()
            gaps = torch.cdist(ends, seen) / seen.norm(dim=1)
            known = (gaps <= NEAR).any(1).tolist()
            one = figures.Stage(steps, decoder, encoder, side=side, taught=known, **found)
            stages[name].append(one)
    return {"stages": stages, "mean": mean, "directions": directions}


def picture(result: Result) -> Figure:
    """The number of attractors along the training, from the first step on."""
    rows = {name: result.show[name] for name in (MANY_DIGITS, FEW_DIGITS)}
    return figures.curves(
        np.asarray(rows[MANY_DIGITS]["steps"])[1:],
        {name: np.asarray(row["attractors"])[:, 1:] for name, row in rows.items()},
        xlabel="training step",
        ylabel="attractors of the code",
        logx=True,
        logy=True,
    )


EXPERIMENT = Experiment(
    claims=(MANY, TAUGHT),
    run=run,
    short={"seeds": 3, "steps": 60, "width": 16, "across": 5, "records": [], "times": 20},
    full={"seeds": 10, "steps": 3000, "width": 48, "across": 31,
          "records": [0, 30, 100, 300, 1000], "times": 400},
    picture=picture,
)  # fmt: skip
