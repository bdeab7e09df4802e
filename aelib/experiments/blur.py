"""Does squared error blur by itself, or only where the code has lost the detail?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.code_size import CODES, bent, learn, unexplained
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="1.4",
    statement="Squared error need not blur: it blurs only where the code lost the detail.",
    source="the document, section 1; the balance of detail, this chapter",
    reading="code of 32",
    measure="sharpness of held-out copies over the real images', code of 32",
    supported={
        "code of 32": above(0.95),
        "farthest below √(1 − ℓ)": below(0.05),
        "gained by a wider net, code of 8": below(0.05),
        "blur of equal error, below √(1 − ℓ)": above(0.15),
    },
    conditional={
        "code of 32": above(0.95),
        "farthest below √(1 − ℓ)": below(0.05),
        "blur of equal error, below √(1 − ℓ)": above(0.15),
    },
    controls=("blur of equal error, below √(1 − ℓ)", "blur of equal error"),
    also=("code of 8", "VAE of β = 0.3, from √(1 − ℓ)"),
    fails_when="The network is too small to write or to read its code, and then it blurs what the "
    "code could have held.",
)

WIDTHS = (16, 32, 64)
BETAS = (0.1, 0.3)


def detail(images: Tensor) -> Tensor:
    """The Laplacian: each inner pixel against its four neighbours."""
    kernel = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    return nn.functional.conv2d(images, kernel[None, None])


def detail_and_sharpness(nets: Sequence, divisions: Sequence[data.Images]) -> np.ndarray:
    """On held-out images: lost detail ℓ, and sharpness over the real one, (divisions, 2)."""
    real = [digits.test for digits in divisions]
    copies = measures.outputs(nets, real)
    lost = [
        float(detail(images - copy).square().mean() / detail(images).square().mean())
        for images, copy in zip(real, copies, strict=True)
    ]
    return np.stack([lost, np.asarray(measures.relative_sharpness(list(copies), real))], 1)


def above_balance(points: np.ndarray) -> np.ndarray:
    """Sharpness minus √(1 − ℓ), for each division."""
    return points[..., 1] - np.sqrt(1 - points[..., 0])


class Drawn(nn.Module):
    """A variational autoencoder whose copies are drawn, as its decoder sees them in training."""

    def __init__(self, vae: models.VAE):
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor) -> Tensor:
        return self.vae.decode(self.vae.posterior(images).sample())


def run(seeds: int, steps: int) -> Result:
    """Sharpness against lost detail: nets, PCA, narrow nets, VAEs, and a blur of equal error."""
    divisions = [data.load("digits", seed=seed) for seed in range(seeds)]
    shape = divisions[0].shape
    nets = {code: learn(bent(shape, code, seeds), divisions, steps=steps) for code in CODES}
    narrow = {w: learn(bent(shape, 8, seeds, w), divisions, steps=steps) for w in WIDTHS}
    pca = {c: measures.pca_filter([digits.train for digits in divisions], c) for c in CODES}
    vaes = {
        beta: learn(
            models.replicate(lambda: models.VAE(shape, 256, depth=3, code=8), seeds),
            divisions,
            steps=steps,
            objective=objectives.variational(beta),
        )
        for beta in BETAS
    }
    drawn = {beta: [Drawn(vae) for vae in group] for beta, group in vaes.items()}
    test = [digits.test for digits in divisions]
    blurs = measures.matched_blur(test, measures.clean_error(nets[8], test).mean(1))
    with random.seeded(1):
        points = {
            "net": [detail_and_sharpness(nets[code], divisions) for code in CODES],
            "PCA": [detail_and_sharpness(pca[code], divisions) for code in CODES],
            "narrow net": [detail_and_sharpness(narrow[width], divisions) for width in WIDTHS],
            "VAE": [detail_and_sharpness(drawn[beta], divisions) for beta in BETAS],
            "blur": [detail_and_sharpness(blurs, divisions)],
        }
    trained = np.stack(points["net"] + points["narrow net"])
    in_32, in_8 = (points["net"][CODES.index(code)] for code in (32, 8))
    in_blur, in_narrow = points["blur"][0], points["narrow net"][0]
    readings = {
        "code of 32": in_32[:, 1],
        "farthest below √(1 − ℓ)": -above_balance(trained).min(0),
        "gained by a wider net, code of 8": in_8[:, 1] - in_narrow[:, 1],
        "blur of equal error, below √(1 − ℓ)": -above_balance(in_blur),
        "blur of equal error": in_blur[:, 1],
        "code of 8": in_8[:, 1],
        "VAE of β = 0.3, from √(1 − ℓ)": above_balance(points["VAE"][1]),
    }
    show = {
        "divisions": divisions,
        "points": points,
        "too sharp": above_balance(trained).max(),
        "models": {"net": nets, "narrow net": narrow, "VAE": drawn, "blur": blurs, "PCA": pca},
        "unexplained": unexplained(nets[8], divisions),
    }
    return Result(readings, show)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 800},
    full={"seeds": 10, "steps": 3000},
)
