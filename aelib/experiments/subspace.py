"""Where does a linear autoencoder end when it is trained by gradient descent?"""

from __future__ import annotations

from torch import Tensor, nn

from aelib import data, fit, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.training import History

CLAIM = Claim(
    id="1.1",
    statement="A linear autoencoder trained by gradient descent ends on the data's principal "
    "subspace.",
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
        "code of 4": history_4,
        "code of 8": history_8,
    }
    return Result(readings, show)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 400},
    full={"seeds": 10, "steps": 400},
)
