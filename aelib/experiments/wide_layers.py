"""Do five layers, each wider than the input, become the identity when they are taught to copy?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, objectives
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.1",
    statement="Five hidden layers, each wider than the input, trained to copy photographs, do not "
    "become the identity within the steps in which white noise takes them towards it: they copy "
    "the directions in which photographs vary.",
    source="Badger's page, section 2, where memorising is learning the identity",
    reading="κ, weaker half",
    measure="copy coefficient along the 128 of 256 directions in which photographs vary least, "
    "held-out photographs, step of 0.1",
    supported={
        "κ, weaker half": below(0.1),
        "variance missed": below(0.25),
        "trained on white noise, κ": above(0.3),
        "x + MLP, κ": above(0.95),
    },
    conditional={
        "κ, weaker half": below(0.1),
        "variance missed": below(0.25),
        "x + MLP, κ": above(0.95),
    },
    condition="training was too short for white noise to take the same net towards the identity, "
    "so that what was seen may be a net that is hardly trained",
    controls=(
        "trained on white noise, κ",
        "x + MLP, κ",
        "untrained, κ",
        "PCA of equal error, κ",
    ),
    also=("κ", "κ at a tenth of the training", "κ, 16 strongest directions"),
    fails_when="The data use all directions, as white noise does; the start is biased towards the "
    "identity, as in x + MLP; or training is very long: κ goes on growing.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

STEP = 0.1


def by_direction(
    model: nn.Module | Callable, images: Tensor, directions: Tensor, step: float = STEP
) -> Tensor:
    """κ along each direction at each image, (n, k): a step out and in, and what of it comes out."""
    moves = step * directions.view(-1, 1, *images.shape[1:])  # (k, 1, channels, height, width)
    with torch.no_grad():
        change = model((images + moves).flatten(0, 1)) - model((images - moves).flatten(0, 1))
    change = change.view(*moves.shape[:1], len(images), -1)  # (k, n, d)
    return torch.einsum("knd,kd->nk", change, directions) / (2 * step)


def white(images: Tensor) -> Callable[[nn.Module, Tensor], Tensor]:
    """The objective of copying fresh white noise of the images' mean and deviation."""
    mean, deviation = float(images.mean()), float(images.std())

    def copy_noise(model: nn.Module, batch: Tensor) -> Tensor:
        return objectives.copy(model, mean + deviation * torch.randn_like(batch))

    return copy_noise


def run(seeds: int, steps: int, size: int) -> Result:
    """Photographs, and models to copy them: plain, with a skip, untrained, and PCA; white noise."""
    photos = data.load("photos", size=size, channels=1)
    _, directions, variances = measures.principal_directions(photos.train)
    d = len(variances)
    sample = photos.test[:: len(photos.test) // 20][:20]
    logs = sorted({1, *np.geomspace(max(1, steps // 50), steps, 9).astype(int), steps // 10})

    def build(skip: float = 0.0):
        return models.MLPAutoencoder(photos.shape, width=3 * d // 2, depth=5, skip=skip)

    def follow(nets: Sequence, label: str, steps: int, **options) -> np.ndarray:
        """Train; κ by direction at each record, (seeds, records, d)."""
        found: list[Tensor] = []

        def note(now: dict) -> None:
            each = [by_direction(net, sample, directions).mean(0) for net in now["models"]]
            found.append(torch.stack(each))

        recipe = {"steps": steps, "batch_size": 32, "lr": 5e-4, **options}
        at = [step for step in logs if step <= steps]
        fit(nets, photos.train, log_at=at, callback=note, label=label, **recipe)
        return torch.stack(found, 1).numpy()

    plain, noisy, untrained = (models.replicate(build, seeds) for _ in range(3))
    residual = models.replicate(lambda: build(skip=1.0), seeds)
    followed = {
        "photographs": follow(plain, "five wide layers", steps),
        "white noise": follow(noisy, "the same on noise", steps, objective=white(photos.train)),
    }
    follow(residual, "x + MLP", min(steps, 200))
    missed = measures.unexplained_variance(plain, photos.test)
    errors = measures.clean_error(plain, photos.test).mean(1)
    pca = measures.matched_pca([photos.train] * seeds, photos.test, errors.tolist())

    def kappa(nets: Sequence) -> Tensor:
        return measures.copy_coefficient(nets, photos.test, sigma=STEP).mean(1)

    at_end = followed["photographs"][:, -1]  # (seeds, d)
    readings = {
        "κ, weaker half": at_end[:, d // 2 :].mean(1),
        "variance missed": missed,
        "trained on white noise, κ": followed["white noise"][:, -1].mean(1),
        "κ": kappa(plain),
        "κ at a tenth of the training": followed["photographs"][:, logs.index(steps // 10)].mean(1),
        "κ, 16 strongest directions": at_end[:, :16].mean(1),
        "x + MLP, κ": kappa(residual),
        "untrained, κ": kappa(untrained),
        "PCA of equal error, κ": kappa(pca),
    }
    squares = (torch.arange(size)[:, None] // 2 + torch.arange(size) // 2).remainder(2).float()
    contrast = photos.test.flatten(1).std(1).argsort(descending=True)[5:200:39]
    noise = data.white_noise(3, photos.shape, seed=1)
    strange = torch.cat([photos.test[contrast], noise, squares.expand(1, *photos.shape)])
    with torch.no_grad():
        rows = {
            "input": strange,
            "five wide\nlayers": plain[0](strange),
            "x + MLP": residual[0](strange),
            "taught\nnoise": noisy[0](strange),
        }
    show = {
        "photos": photos,
        "plain": plain,
        "x + MLP": residual,
        "steps": np.array(logs),
        "followed": followed,
        "variances": variances,
        "strange": rows,
    }
    return Result(readings, show, keep=("steps", "followed", "variances", "strange"))


def picture(result: Result):
    """κ of each direction against its variance, and κ over the training."""
    figure, (left, right) = figures.canvas(1, 2, height=3.6)
    variances = np.asarray(result.show["variances"], dtype=float)
    chosen = np.unique(np.geomspace(1, (variances > 1e-9).sum(), 40).astype(int)) - 1
    chosen = chosen[::-1]  # the weakest first: variance increases
    followed = {name: np.asarray(rows) for name, rows in result.show["followed"].items()}
    ends = {name: rows[:, -1] for name, rows in followed.items()}
    halved = variances[int((ends["photographs"].mean(0) > 0.5).sum()) - 1]  # the last half copied
    figures.curves(
        variances[chosen],
        {f"taught {name}": rows[:, chosen] for name, rows in ends.items()},
        exact={"1 − exp(−λt)": 1 - np.exp(-np.log(2) * variances[chosen] / halved)},
        xlabel="variance of the direction, λ",
        ylabel="copy coefficient κ",
        logx=True,
        legend="above",
        ax=left,
    )
    half = len(variances) // 2
    figures.curves(
        result.show["steps"],
        {
            "all directions": followed["photographs"].mean(2),
            "weaker half": followed["photographs"][:, :, half:].mean(2),
            "taught noise": followed["white noise"].mean(2),
        },
        xlabel="training steps",
        ylabel="copy coefficient κ",
        logx=True,
        legend="above",
        ax=right,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 500, "size": 8},
    full={"seeds": 6, "steps": 10_000, "size": 16},
    picture=picture,
)
