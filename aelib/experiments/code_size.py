"""Does a net that bends its code beat PCA at equal code size?"""

# torch types what a module holds too widely.
# pyright: reportIndexIssue=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random
from aelib.claims import Claim, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.training import History

CLAIM = Claim(
    id="1.3",
    statement="A nonlinear autoencoder beats PCA at equal code size; where it falls behind, what "
    "it lacks is training, not ability.",
    source="Hinton and Salakhutdinov (2006)",
    reading="codes of 2 to 16",
    measure="unexplained variance of held-out digits over PCA's, at the worst code size",
    supported={
        "codes of 2 to 16": below(1),
        "codes of 32 and 48": below(1),
        "started at PCA, codes of 32 and 48": below(1),
        "100 training images, code of 8": below(1),
    },
    conditional={
        "codes of 2 to 16": below(1),
        "started at PCA, codes of 32 and 48": below(1),
    },
    condition="with a code of 48 the net must start at PCA, which it can be exactly; from "
    "random weights it falls behind; 100 training images are too few",
    controls=("linear net, codes of 32 and 48", "code of 48 after a tenth of the training"),
    also=("code of 48",),
    fails_when="The code is nearly as large as the data's own dimension and training starts from "
    "random weights, or training images are few.",
    units="divisions",
    ratios=("codes of 2 to 16", "codes of 32 and 48", "100 training images, code of 8"),
    rule_changed="2026-11-26",
    seen_before="first run",
)

CODES = (2, 4, 8, 16, 32, 48)
LARGE = CODES[-2:]
M = TypeVar("M", bound=nn.Module)


def bent(shape, code: int, seeds: int, width: int = 256) -> list[models.MLPAutoencoder]:
    """Nets with such a code and one hidden layer on each side of it."""
    return models.replicate(lambda: models.MLPAutoencoder(shape, width, depth=3, code=code), seeds)


def straight(shape, code: int, seeds: int) -> list[models.LinearAutoencoder]:
    """The same without hidden layers: linear, with biases."""
    return models.replicate(lambda: models.LinearAutoencoder(shape, code=code, bias=True), seeds)


@torch.no_grad()
def set_to_pca(net: models.MLPAutoencoder, images: Tensor, code: int) -> None:
    """Make a bent net PCA: hidden units in pairs, relu(z) − relu(−z) = z; the others feed nothing.

    Needs hidden layers at least twice as wide as the code.
    """
    mean, directions, _ = measures.principal_directions(images, code)
    pairs = torch.cat([directions, -directions])  # (2 · code, d)
    signs = torch.cat([torch.eye(code), -torch.eye(code)])  # (2 · code, code)
    first, into_code = net.encoder[0], net.encoder[2]
    from_code, last = net.decoder[0], net.decoder[2]
    first.weight[: 2 * code], first.bias[: 2 * code] = pairs, -pairs @ mean
    from_code.weight[: 2 * code], from_code.bias[: 2 * code] = signs, 0
    for layer, columns, bias in ((into_code, signs.T, 0), (last, pairs.T, mean)):
        layer.weight.zero_()
        layer.weight[:, : 2 * code] = columns
        layer.bias[:] = bias


def learn(nets: list[M], divisions: Sequence[data.Images], **options) -> list[M]:
    """Train one net on each division, all with the same budget."""
    follow(nets, divisions, **options)
    return nets


def follow(nets: Sequence[nn.Module], divisions: Sequence[data.Images], **options) -> History:
    """What `learn` does, and the history."""
    options = {"steps": 800, "lr": 3e-3, "schedule": "cosine", **options}
    return fit(nets, [digits.train for digits in divisions], **options)


def unexplained(nets: Sequence, divisions: Sequence[data.Images]) -> np.ndarray:
    """Unexplained variance of held-out images, one number a division."""
    test = [digits.test for digits in divisions]
    means = [digits.train.mean(0) for digits in divisions]
    return np.asarray(measures.unexplained_variance(nets, test, means))


def run(seeds: int, steps: int, codes: Sequence[int] = CODES) -> Result:
    """Nets and PCA through codes of many sizes, and from 100 images, one division a seed."""
    divisions = [data.load("digits", seed=random.moved(seed)) for seed in range(seeds)]
    shape = divisions[0].shape
    kinds = {
        "bent net": {c: bent(shape, c, seeds) for c in codes},
        "PCA": {c: measures.pca_filter([d.train for d in divisions], c) for c in codes},
        "linear net": {c: straight(shape, c, seeds) for c in codes if c in LARGE},
        "bent net, started at PCA": {c: bent(shape, c, seeds) for c in codes if c in LARGE},
    }
    for code, nets in kinds["bent net, started at PCA"].items():
        for net, digits in zip(nets, divisions, strict=True):
            set_to_pca(net, digits.train, code)
    logs = sorted({1, *np.geomspace(steps // 50, steps, 12).astype(int).tolist(), steps // 10})
    followed = {}
    for kind, nets in kinds.items():
        for code in nets if kind != "PCA" else ():
            rates = {"lr": 1e-3} if kind.endswith("PCA") else {}
            found: list[np.ndarray] = []  # of the largest code, along the training
            note = {"callback": lambda at, f=found: f.append(unexplained(at["models"], divisions))}
            note = {**note, "log_at": logs} if code == LARGE[-1] else {}
            follow(nets[code], divisions, steps=steps, **rates, **note)
            if found:
                followed[kind] = np.stack(found, 1)  # (divisions, records)
    errors = {  # each (divisions, codes)
        name: np.stack([unexplained(group, divisions) for group in nets.values()], axis=1)
        for name, nets in kinds.items()
    }
    few = [digits.take(100) for digits in divisions]
    few_pca = unexplained(measures.pca_filter([digits.train for digits in few], 8), few)
    few_nets = unexplained(learn(bent(shape, 8, seeds), few, steps=steps), few)
    ratio = errors["bent net"] / errors["PCA"]
    is_large = np.array([code in LARGE for code in codes])
    large = errors["PCA"][:, is_large]
    at_tenth = followed["bent net"][:, logs.index(steps // 10)]
    readings = {
        "codes of 2 to 16": ratio[:, ~is_large].max(1),
        "codes of 32 and 48": ratio[:, is_large].max(1),
        "started at PCA, codes of 32 and 48": (errors["bent net, started at PCA"] / large).max(1),
        "100 training images, code of 8": few_nets / few_pca,
        "linear net, codes of 32 and 48": (errors["linear net"] / large).max(1),
        "code of 48": ratio[:, -1],
        "code of 48 after a tenth of the training": at_tenth / large[:, -1],
    }
    first = divisions[0]
    chosen = [int((first.test_labels == n).nonzero()[1]) for n in (0, 2, 3, 5, 8)]
    real = first.test[chosen]
    with torch.no_grad():
        copies = {
            f"{name}, {code}": kinds[kind][code][0](real)
            for code in (codes[0], 8)
            for kind, name in (("bent net", "net"), ("PCA", "PCA"))
        }
    show = {
        "divisions": divisions,
        "models": kinds,
        "codes": np.array(codes),
        "errors": errors,
        "followed": {**followed, "steps": np.array(logs)},
        "copies": {"real": real, **copies},
    }
    return Result(readings, show, keep=("codes", "errors", "followed", "copies"))


def picture(result: Result):
    """Unexplained variance by code size, and along the training with a code of 48."""
    figure, (left, right) = figures.canvas(1, 2, height=3.8)
    errors, followed = result.show["errors"], dict(result.show["followed"])
    look: dict = {"logx": True, "logy": True, "legend": "above"}
    figures.curves(
        result.show["codes"],
        {name: errors[name] for name in ("bent net", "PCA")},
        xlabel="code size k",
        ylabel="variance unexplained",
        ax=left,
        **look,
    )
    steps = followed.pop("steps")
    names = {"bent net, started at PCA": "bent net from PCA"}
    figures.curves(
        steps,
        {names.get(name, name): rows for name, rows in followed.items()},
        lines={"PCA": float(np.mean(errors["PCA"][:, -1]))},
        xlabel="training steps, code of 48",
        ylabel="",
        ax=right,
        **look,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 250, "codes": [4, 8, 48]},
    full={"seeds": 10, "steps": 3000},
    picture=picture,
)
