"""Does a net that bends its code beat PCA at equal code size?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from torch import nn

from aelib import data, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="1.3",
    statement="A nonlinear autoencoder beats PCA at equal code size.",
    source="Hinton and Salakhutdinov (2006)",
    reading="codes of 2 to 16",
    measure="unexplained variance of held-out digits over PCA's, at the worst code size",
    supported={
        "codes of 2 to 16": below(1),
        "codes of 32 and 48": below(1),
        "100 training images, code of 8": below(1),
        "linear net, best code": above(0.95),
    },
    conditional={"codes of 2 to 16": below(1), "linear net, best code": above(0.95)},
    controls=("linear net, best code",),
    fails_when="The code is nearly as large as the data's own dimension, or training images or "
    "steps are few.",
)

CODES = (2, 4, 8, 16, 32, 48)
M = TypeVar("M", bound=nn.Module)


def bent(shape, code: int, seeds: int, width: int = 256) -> list[nn.Module]:
    """Nets with such a code and one hidden layer on each side of it."""
    return models.replicate(lambda: models.MLPAutoencoder(shape, width, depth=3, code=code), seeds)


def straight(shape, code: int, seeds: int) -> list[nn.Module]:
    """The same without hidden layers: linear, with biases."""
    return models.replicate(lambda: models.LinearAutoencoder(shape, code=code, bias=True), seeds)


def learn(nets: list[M], divisions: Sequence[data.Images], **options) -> list[M]:
    """Train one net on each division, all with the same budget."""
    options = {"steps": 800, "lr": 3e-3, **options}
    fit(nets, [digits.train for digits in divisions], **options)
    return nets


def unexplained(nets: Sequence, divisions: Sequence[data.Images]) -> np.ndarray:
    """Unexplained variance of held-out images, one number a division."""
    test = [digits.test for digits in divisions]
    means = [digits.train.mean(0) for digits in divisions]
    return np.asarray(measures.unexplained_variance(nets, test, means))


def run(seeds: int, steps: int) -> Result:
    """Nets and PCA through codes of many sizes, and from 100 images, one division a seed."""
    divisions = [data.load("digits", seed=seed) for seed in range(seeds)]
    shape = divisions[0].shape
    kinds = {
        "bent net": {c: learn(bent(shape, c, seeds), divisions, steps=steps) for c in CODES},
        "PCA": {c: measures.pca_filter([d.train for d in divisions], c) for c in CODES},
        "linear net": {c: learn(straight(shape, c, seeds), divisions, steps=steps) for c in CODES},
    }
    errors = {  # each (divisions, codes)
        name: np.stack([unexplained(nets[code], divisions) for code in CODES], axis=1)
        for name, nets in kinds.items()
    }
    few = [digits.take(100) for digits in divisions]
    few_pca = unexplained(measures.pca_filter([digits.train for digits in few], 8), few)
    few_nets = unexplained(learn(bent(shape, 8, seeds), few, steps=steps), few)
    ratio = errors["bent net"] / errors["PCA"]
    readings = {
        "codes of 2 to 16": ratio[:, :4].max(1),
        "codes of 32 and 48": ratio[:, 4:].max(1),
        "100 training images, code of 8": few_nets / few_pca,
        "linear net, best code": (errors["linear net"] / errors["PCA"]).min(1),
    }
    return Result(readings, {"divisions": divisions, "models": kinds, "errors": errors})


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 800},
    full={"seeds": 10, "steps": 3000},
)
