"""Where does a linear autoencoder end when it is trained by gradient descent?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.training import History

CLAIM = Claim(
    id="1.1",
    statement="A linear autoencoder with a code of 4, trained by gradient descent, ends on the "
    "data's principal subspace.",
    source="Bourlard and Kamp (1988); Baldi and Hornik (1989)",
    reading="code of 4",
    measure="distance of the decoder's subspace from PCA's; 0 the same, 1 at right angles",
    supported={
        "code of 4": below(0.05),
        "untrained": above(0.5),
        "random subspace": above(0.5),
    },
    controls=("untrained", "random subspace"),
    also=("code of 8, as many steps", "a column's |cosine| with the nearest direction"),
    fails_when="The variances on the two sides of the cut are nearly equal: then training takes "
    "very long, and with a tie there is no single principal subspace.",
)


def learn_subspace(
    images: Tensor, code: int, seeds: int, steps: int
) -> tuple[list[models.LinearAutoencoder], History]:
    """Linear autoencoders, and their distance from PCA's subspace along the training."""
    _, directions, _ = measures.principal_directions(images, code)

    def distance(model: nn.Module) -> float:
        columns = model.get_parameter("decoder.weight").T
        return float(measures.subspace_distance(columns, directions))

    nets = models.replicate(
        lambda: models.LinearAutoencoder(tuple(images.shape[1:]), code=code, gain=0.5), seeds
    )
    history = fit(
        nets,
        images,
        steps=steps,
        batch_size=None,
        lr=20.0,
        optimizer="sgd",
        log_at=range(0, steps + 1, 10),
        metrics={"distance": distance},
    )
    return nets, history


def run(seeds: int, steps: int) -> Result:
    """Codes of 4 and of 8 numbers; a random subspace, and single columns, beside them."""
    digits = data.load("digits")
    centred = digits.train - digits.train.mean(0)
    four, history_4 = learn_subspace(centred, 4, seeds, steps)
    _, history_8 = learn_subspace(centred, 8, seeds, steps)
    _, directions, variances = measures.principal_directions(centred)
    bases = [random.normal((4, 64), centred, random.generator(seed)) for seed in range(seeds)]
    columns = [model.get_parameter("decoder.weight").detach().T for model in four]  # (4, 64)
    cosines = [
        (nn.functional.normalize(column, dim=-1) @ directions[:4].T).abs().amax(-1).mean()
        for column in columns
    ]
    basis = torch.linalg.qr(columns[0].T).Q  # (64, 4)
    pictures = {  # of the first net; its subspace's part of each direction last
        "PCA's\ndirections": directions[:4],
        "the net's\ncolumns": columns[0],
        "directions from\nthe columns": directions[:4] @ basis @ basis.T,
    }
    readings = {
        "code of 4": history_4["distance"][:, -1],
        "untrained": history_4["distance"][:, 0],
        "random subspace": measures.subspace_distance(bases, directions[:4]),
        "code of 8, as many steps": history_8["distance"][:, -1],
        "a column's |cosine| with the nearest direction": cosines,
    }
    show = {
        "digits": digits,
        "directions": directions,
        "variances": variances,
        "columns": columns,
        "code of 4": followed(history_4),
        "code of 8": followed(history_8),
        "pictures": {name: rows.view(-1, *digits.shape) for name, rows in pictures.items()},
    }
    return Result(readings, show, keep=("variances", "code of 4", "code of 8", "pictures"))


def followed(history: History) -> dict[str, np.ndarray]:
    """Steps, distances and losses as arrays."""
    found = {name: history[name] for name in ("distance", "loss")}
    return {"steps": history.steps[1:], **{name: rows[:, 1:] for name, rows in found.items()}}


def picture(result: Result):
    """The distance along the training; directions and columns of one net."""
    figure, (top, bottom) = figures.canvas(2, 1, height=6.2)
    four, eight = result.show["code of 4"], result.show["code of 8"]
    figures.curves(
        four["steps"],
        {"code of 4": four["distance"], "code of 8": eight["distance"]},
        lines={"random subspace": float(result["random subspace"].mean())},
        xlabel="steps of gradient descent",
        ylabel="distance from\nPCA's subspace",
        logy=True,
        ax=top,
    )
    shown = {name: torch.as_tensor(rows) for name, rows in result.show["pictures"].items()}
    figures.grid(
        [0.5 + rows / rows.abs().amax((1, 2, 3), keepdim=True) / 2 for rows in shown.values()],
        labels=list(shown),
        ax=bottom,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 400},
    full={"seeds": 10, "steps": 400},
    picture=picture,
)
