"""In which order does descent learn the directions of the data, and what is an early stop worth?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="1.2",
    statement="Gradient descent learns the directions in order of variance, "
    "sᵢ(t) = 1 − exp(−λᵢt); stopping early comes within 0.2 dB of the Wiener filter.",
    source="Saxe et al. (2014); Ali et al. (2019); Badger's page, section 3",
    reading="best early stop",
    measure="dB by which the best early stop falls short of Wiener on held-out digits; worst σ",
    supported={
        "best early stop": below(0.2),
        "largest deviation from the formula": below(0.02),
        "change where the data do not vary": below(1e-3),
        "best truncated PCA": above(0.2),
        "one factor for all": above(0.2),
    },
    controls=("best truncated PCA", "one factor for all", "trained to the end"),
    also=("stop at t = 1/2σ²", "best early stop, photographs"),
    fails_when="The stopping time ignores σ, the steps are Adam's, or the start is not near zero.",
    unit="dB",
    units="divisions",
)

SIGMAS = (0.1, 0.2, 0.3, 0.5)
LR = 4.0
STOPS = sorted({0, *np.geomspace(1, 800, 48).round().astype(int).tolist()})
FOLLOWED = {1: "v₁", 5: "v₅", 15: "v₁₅", 30: "v₃₀"}
TIMES = 2 * LR * np.array(STOPS) / 64


def follow(model: nn.Module, images: Tensor, stops: Sequence[int], **options) -> Tensor:
    """The matrix W of a linear model at each of the stops, (stops, d, d)."""
    basis = torch.eye(images[0].numel()).view(-1, *images.shape[1:])
    matrices = []

    def note(model: nn.Module) -> int:
        matrices.append(model(basis).flatten(1).T)
        return len(matrices)

    plain = {"batch_size": None, "lr": LR, "optimizer": "sgd"}
    options = {**plain, "steps": stops[-1], "log_at": stops, **options}
    fit(model, images, metrics={"matrices": note}, **options)
    return torch.stack(matrices)


def gain(matrix: Tensor, images: Tensor, sigma: float) -> float:
    """Gain of x ↦ Wx on centred images, in dB: the exact mean over noise."""
    flat = images.flatten(1)
    error = float((flat @ matrix.T - flat).square().mean())
    return measures.predicted_gain(error, sigma, float(matrix.square().mean()) * len(matrix))


def shortfalls(
    path: Tensor, test: Tensor, directions: Tensor, variances: Tensor, sigma: float
) -> dict[str, float]:
    """dB below the Wiener filter on held-out images: the stops and the controls."""
    moments = (test.flatten(1) @ directions.T).double().square().mean(0)  # (d,)

    def filtered(shares: Tensor) -> float:
        """The best of some filters, (filters, d)."""
        return float(torch.as_tensor(measures.filter_gain(moments, shares, sigma)).max())

    whole = (variances > 1e-6).double()
    cut = torch.ones(65, 64, dtype=torch.float64).tril(-1)  # the first k directions, k from 0
    factors = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None].expand(-1, 64)
    best = {
        "best early stop": max(gain(matrix, test, sigma) for matrix in path),
        "stop at t = 1/2σ²": filtered(1 - torch.exp(-variances / (2 * sigma**2))),
        "best truncated PCA": filtered(cut),
        "one factor for all": filtered(factors),
        "trained to the end": filtered(whole),
    }
    wiener = filtered(variances / (variances + sigma**2))
    return {name: wiener - value for name, value in best.items()}


def photographs(seed: int) -> float:
    """dB by which the best stop falls short of Wiener on 8 × 8 photographs, by the formula."""
    crops = data.load("photos", size=8, channels=1, seed=random.moved(seed))
    mean, directions, variances = measures.principal_directions(crops.train)
    moments = ((crops.test.flatten(1) - mean) @ directions.T).double().square().mean(0)
    variances, gaps = variances.double(), []
    for sigma in SIGMAS:
        shares = 1 - torch.exp(-variances * torch.tensor(TIMES[1:, None]))  # (times, d)
        best = float(measures.filter_gain(moments, shares, sigma).max())
        wiener = measures.filter_gain(moments, variances / (variances + sigma**2), sigma)
        gaps.append(wiener - best)
    return float(max(gaps))


def untouched(digits: data.Images, seed: int, steps: int) -> tuple[Tensor, Tensor, float]:
    """Twenty digits, a start of the usual size: the shares before and after, and the change
    in the 45 directions in which the twenty do not vary."""
    images = digits.take(20, seed=random.moved(seed)).train
    images = images - images.mean(0)
    _, directions, _ = measures.principal_directions(images)
    (model,) = models.replicate(lambda: models.LinearAutoencoder(digits.shape), seeds=1, first=seed)
    start, end = follow(model, images, [0, 1, steps])[[0, -1]]
    change = float(((end - start) @ directions[19:].T).abs().max())
    before, after = ((directions @ w @ directions.T).diagonal() for w in (start, end))
    return before, after, change


def other_path(
    build: Callable[[], nn.Module], digits: Sequence[data.Images], steps: int, **options
) -> list[float]:
    """The best gain at σ = 0.2 on the way, for another start, depth or optimiser."""
    stops = sorted({0, *np.geomspace(1, steps, 30).astype(int).tolist(), steps})
    best = []
    for seed, split in enumerate(digits):
        (model,) = models.replicate(build, seeds=1, first=seed)
        mean = split.train.mean(0)
        path = follow(model, split.train - mean, stops, **options)
        best.append(max(gain(matrix, split.test - mean, 0.2) for matrix in path))
    return best


def run(seeds: int, steps: int, others: bool = True) -> Result:
    """One matrix from zero, by division of the digits; twenty digits; photographs; other paths.

    No reading is of the other paths: a picture is.
    """
    divisions = [data.load("digits", seed=random.moved(seed)) for seed in range(seeds)]
    shares, deviations, table, gains, worlds = [], [], [], [], []
    for digits in divisions:
        mean, directions, variances = measures.principal_directions(digits.train)
        mean, variances = mean.view(digits.shape), variances.double()
        model = models.LinearAutoencoder(digits.shape, gain=0.0)
        path = follow(model, digits.train - mean, STOPS)
        inside = directions @ path @ directions.T  # (stops, d, d)
        formula = 1 - torch.exp(-torch.tensor(TIMES)[:, None] * variances)
        deviations.append(float((inside - torch.diag_embed(formula)).abs().max()))
        shares.append(inside.diagonal(dim1=1, dim2=2))
        test = digits.test - mean
        table.append([shortfalls(path, test, directions, variances, sigma) for sigma in SIGMAS])
        gains.append([gain(matrix, test, 0.2) for matrix in path])
        worlds.append((mean, directions, variances))
    short = {  # each (divisions, sigmas)
        name: np.array([[cell[name] for cell in row] for row in table]) for name in table[0][0]
    }
    before, after, change = zip(
        *(untouched(digits, seed, steps) for seed, digits in enumerate(divisions)), strict=True
    )
    elsewhere = [photographs(seed) for seed in range(seeds)]
    gains = np.array(gains)
    wiener = gains.max(1) + short["best early stop"][:, 1]
    shape = divisions[0].shape

    def one_matrix(gain: float = 0.0):
        return lambda: models.LinearAutoencoder(shape, gain=gain)

    adam = {"optimizer": "adam", "lr": 1e-3}
    paths = {
        "Wiener filter": wiener,
        "one matrix, from zero": gains.max(1),
        "best truncated PCA": wiener - short["best truncated PCA"][:, 1],
    }
    if others:
        paths |= {
            "two matrices, small start": other_path(
                lambda: models.LinearAutoencoder(shape, code=64, gain=0.1), divisions, 500, lr=8.0
            ),
            "one matrix, large start": other_path(one_matrix(1.0), divisions, 800),
            "one matrix, Adam": other_path(one_matrix(), divisions, 400, **adam),
            "Adam, batches of 64": other_path(one_matrix(), divisions, 1000, batch_size=64, **adam),
        }
    readings = {
        "best early stop": short["best early stop"].max(1),
        "largest deviation from the formula": deviations,
        "change where the data do not vary": change,
        "best truncated PCA": short["best truncated PCA"].min(1),
        "one factor for all": short["one factor for all"].min(1),
        "trained to the end": short["trained to the end"].min(1),
        "stop at t = 1/2σ²": short["stop at t = 1/2σ²"].max(1),
        "best early stop, photographs": elsewhere,
    }
    show = {
        "divisions": divisions,
        "worlds": worlds,
        "shares": {i: torch.stack([share[:, i - 1] for share in shares]) for i in FOLLOWED},
        "variances": torch.stack([variances for _, _, variances in worlds]),
        "before": torch.stack(before),
        "after": torch.stack(after),
        "short": short,
        "gains": gains,
        "paths": {name: np.asarray(gained) for name, gained in paths.items()},
    }
    keep = ("shares", "variances", "before", "after", "short", "gains", "paths")
    return Result(readings, show, keep)


def picture(result: Result):
    """The shares that are copied: over time from zero, and by direction from twenty digits."""
    figure, (left, right) = figures.canvas(1, 2, height=3.2)
    shares = result.show["shares"]
    figures.curves(
        TIMES[1:],
        {name: shares[i][:, 1:] for i, name in FOLLOWED.items()},
        xlabel="training time t",
        ylabel="share copied, sᵢ",
        logx=True,
        legend="above",
        ax=left,
    )
    for i in FOLLOWED:
        rate = float(result.show["variances"][0][i - 1])
        formula = 1 - np.exp(-rate * TIMES[1:])
        left.plot(TIMES[1:], formula, color="black", linewidth=1, linestyle=":")
    figures.curves(
        np.arange(1, 65),
        {"start": result.show["before"], "end": result.show["after"]},
        xlabel="direction, strongest first",
        ylabel="share copied, sᵢ",
        legend="above",
        ax=right,
    )
    right.axvline(19.5, color="black", linewidth=1, linestyle=":")
    return figure


def paths_picture(result: Result):
    """The best gain on the way at σ = 0.2, for other starts, depths and optimisers."""
    return figures.bars(
        result.show["paths"],
        xlabel="best denoising gain on the way, σ = 0.2 (dB)",
        controls=("Wiener filter", "best truncated PCA"),
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 1000, "others": False},
    full={"seeds": 10, "steps": 1500},
    picture=picture,
)
