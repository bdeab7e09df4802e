"""Does squared error blur by itself, or only where the code has lost the detail?"""

# matplotlib types its arguments too narrowly.
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.code_size import CODES, bent, learn, unexplained
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="1.4",
    statement="Squared error need not blur: what is fitted to the end blurs only what was lost, "
    "and a variational autoencoder at its calibrated β is no exception.",
    source="Badger's page, section 1; the balance of detail, this chapter",
    reading="code of 32",
    measure="root mean square of the copies' detail over the real images', code of 32, held out",
    supported={
        "code of 32": above(0.9),
        "farthest below √(1 − ℓ)": below(0.05),
        "lost by the VAE at its calibrated β": below(0.05),
        "blur of equal error, below √(1 − ℓ)": above(0.15),
        "gained by a wider net, code of 8": below(0.05),
        "linear, stopped early, below √(1 − ℓ)": below(0.05),
    },
    conditional={
        "code of 32": above(0.9),
        "farthest below √(1 − ℓ)": below(0.05),
        "lost by the VAE at its calibrated β": below(0.05),
        "blur of equal error, below √(1 − ℓ)": above(0.15),
    },
    condition="the net must be fitted to the end and able to use its code: a linear net that is "
    "stopped early blurs more than was lost, a narrow net loses what the code could have held",
    controls=("blur of equal error, below √(1 − ℓ)", "blur of equal error"),
    also=(
        "code of 8",
        "VAE of β = 0.3",
        "2 · error of the VAE over its calibrated β",
        "photographs, overcomplete, above √(1 − ℓ)",
    ),
    fails_when="A linear net is stopped early, or the network is too small to write or to read its "
    "code.",
    units="divisions",
    rule_changed="2026-11-26",
    seen_before="first run",
)

WIDTHS = (16, 32, 64)
BETAS = (0.01, 0.02, 0.1, 0.3)
CALIBRATED = 0.02  # 2σ² for the error σ² that the net of this code leaves; a reading checks it


def detail(images: Tensor) -> Tensor:
    """The Laplacian: each inner pixel against its four neighbours."""
    kernel = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    return nn.functional.conv2d(images, kernel[None, None])


def detail_and_sharpness(nets: Sequence, images: Sequence[Tensor]) -> np.ndarray:
    """Lost detail ℓ, and the root mean square of the copy's detail over the real one: (nets, 2)."""
    points = []
    for real, copy in zip(images, measures.outputs(nets, images), strict=True):
        whole = detail(real).square().mean()
        lost, kept = (float(detail(part).square().mean() / whole) for part in (real - copy, copy))
        points.append((lost, kept**0.5))
    return np.array(points)


def above_balance(points: np.ndarray) -> np.ndarray:
    """Sharpness minus √(1 − ℓ), for each division; where ℓ is above 1, nothing is left."""
    return points[..., 1] - np.sqrt(np.maximum(0, 1 - points[..., 0]))


class Drawn(nn.Module):
    """A variational autoencoder whose copies are drawn, as its decoder sees them in training."""

    def __init__(self, vae: models.VAE):
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor) -> Tensor:
        return self.vae.decode(self.vae.posterior(images).sample())


def photographs(seeds: int, steps: int) -> np.ndarray:
    """The same of overcomplete nets on crops of photographs that none was trained on."""
    photos = data.load("photos", size=8, channels=1)
    nets = models.replicate(lambda: models.MLPAutoencoder(photos.shape, 256, depth=1), seeds)
    fit(nets, photos.train, steps=steps, batch_size=32)
    return detail_and_sharpness(nets, [photos.test] * seeds)


def early_stops(divisions: Sequence[data.Images], sigma: float = 0.2) -> list:
    """Linear nets of no code at all, trained from zero and stopped at t = 1/2σ² (claim 1.2)."""

    def stopped(images: Tensor):
        mean, directions, variances = measures.principal_directions(images)
        shares = 1 - torch.exp(-variances / (2 * sigma**2))
        return lambda x: measures.linear_filter(x, mean, directions, shares)

    return [stopped(digits.train) for digits in divisions]


def run(
    seeds: int,
    steps: int,
    codes: Sequence[int] = CODES,
    widths: Sequence[int] = WIDTHS,
    betas: Sequence[float] = BETAS,
) -> Result:
    """Sharpness against lost detail: nets, PCA, narrow nets, VAEs, and a blur of equal error."""
    divisions = [data.load("digits", seed=random.moved(seed)) for seed in range(seeds)]
    shape, test = divisions[0].shape, [digits.test for digits in divisions]

    def taught(build, **options) -> list:
        return learn(models.replicate(build, seeds), divisions, **{"steps": steps, **options})

    nets = {code: learn(bent(shape, code, seeds), divisions, steps=steps) for code in codes}
    narrow = {w: learn(bent(shape, 8, seeds, w), divisions, steps=steps) for w in widths}
    pca = {c: measures.pca_filter([digits.train for digits in divisions], c) for c in codes}
    drawn = {
        beta: [
            Drawn(vae)
            for vae in taught(
                lambda: models.VAE(shape, 256, depth=3, code=8),
                objective=objectives.variational(beta),
            )
        ]
        for beta in betas
    }
    blurs = measures.matched_blur(test, measures.clean_error(nets[8], test).mean(1))
    with random.seeded(1):
        points = {
            "net": [detail_and_sharpness(nets[code], test) for code in codes],
            "PCA": [detail_and_sharpness(pca[code], test) for code in codes],
            "narrow net": [detail_and_sharpness(narrow[width], test) for width in widths],
            "VAE": [detail_and_sharpness(drawn[beta], test) for beta in betas],
            "blur": [detail_and_sharpness(blurs, test)],
            "stopped early": [detail_and_sharpness(early_stops(divisions), test)],
            "photographs": [photographs(seeds, steps)],
        }
        calibrated = drawn[CALIBRATED]
        train = [digits.train for digits in divisions]
        errors = measures.clean_error(calibrated, train).mean(1)
    trained = np.stack(points["net"] + points["narrow net"])
    in_32, in_8 = (points["net"][list(codes).index(code)] for code in (32, 8))
    in_blur, in_narrow = points["blur"][0], points["narrow net"][0]
    vae = dict(zip(betas, points["VAE"], strict=True))
    readings = {
        "code of 32": in_32[:, 1],
        "farthest below √(1 − ℓ)": -above_balance(trained).min(0),
        "lost by the VAE at its calibrated β": in_8[:, 1] - vae[CALIBRATED][:, 1],
        "2 · error of the VAE over its calibrated β": 2 * errors / CALIBRATED,
        "gained by a wider net, code of 8": in_8[:, 1] - in_narrow[:, 1],
        "linear, stopped early, below √(1 − ℓ)": -above_balance(points["stopped early"][0]),
        "blur of equal error, below √(1 − ℓ)": -above_balance(in_blur),
        "blur of equal error": in_blur[:, 1],
        "code of 8": in_8[:, 1],
        "VAE of β = 0.3": vae[0.3][:, 1],
        "photographs, overcomplete, above √(1 − ℓ)": above_balance(points["photographs"][0]),
    }
    first = divisions[0]
    real = first.test[[int((first.test_labels == n).nonzero()[1]) for n in (0, 2, 3, 5, 8)]]
    shown = {
        "net, 32": nets[32],
        "net, 8": nets[8],
        "blur,\nsame error": blurs,
        "narrow\nnet, 8": narrow[16],
        "VAE, 8,\nβ = 0.02": calibrated,
        "VAE, 8,\nβ = 0.3": drawn[0.3],
    }
    with torch.no_grad(), random.seeded(1):
        copies = {"real": real} | {name: group[0](real) for name, group in shown.items()}
    show = {
        "divisions": divisions,
        "codes": np.array(codes),
        "betas": np.array(betas),
        "points": points,
        "copies": copies,
        "too sharp": above_balance(trained).max(),
        "models": {"net": nets, "narrow net": narrow, "VAE": drawn, "blur": blurs, "PCA": pca},
        "unexplained": unexplained(nets[8], divisions),
    }
    keep = ("codes", "betas", "points", "copies", "too sharp", "unexplained")
    return Result(readings, show, keep)


@figures.style()
def picture(result: Result):
    """Copies, and their sharpness against the detail they lost: a point a division."""
    figure, (left, right) = figures.canvas(1, 2, height=4.2)
    copies = {name: torch.as_tensor(rows) for name, rows in result.show["copies"].items()}
    figures.grid(list(copies.values()), labels=list(copies), ax=left)
    lost = np.linspace(0, 1, 100)
    right.plot(lost, np.sqrt(1 - lost), color="black", linewidth=1.2, linestyle="--")
    points = result.show["points"]
    for (name, found), stroke in zip(points.items(), figures.STROKES, strict=True):
        spots = np.concatenate(list(found.values() if isinstance(found, dict) else found))
        look = {"marker": stroke.marker, "edgecolors": "black", "linewidths": 0.6, "zorder": 3}
        right.scatter(*spots.T, 34, stroke.color, label=name, **look)
    right.set(xlabel="lost detail ℓ", ylabel="sharpness, share of the real", ylim=(0.3, 1.2))
    right.legend(loc="upper right", handletextpad=0, borderaxespad=0, fontsize=9)
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 600, "codes": [8, 32], "widths": [16], "betas": [0.02, 0.3]},
    full={"seeds": 10, "steps": 3000},
    picture=picture,
)
