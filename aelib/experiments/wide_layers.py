"""Do five layers, each wider than the input, become the identity when they are taught to copy?"""

from __future__ import annotations

from aelib import data, fit, measures, models, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.1",
    statement="Five hidden layers, each wider than the input, trained to copy photographs, do not "
    "become the identity within 10,000 steps.",
    source="the document, section 2",
    reading="κ",
    measure="copy coefficient κ for white noise of deviation 0.1, held-out photographs",
    supported={
        "κ": below(0.2),
        "variance missed": below(0.25),
        "x + MLP, κ": above(0.95),
    },
    controls=(
        "x + MLP, κ",
        "untrained, κ",
        "untrained, variance missed",
        "PCA, 10 directions, κ",
        "PCA, 10 directions, variance missed",
    ),
    fails_when="The start is biased towards the identity, as in x + MLP, or training is very long.",
)


def run(seeds: int, steps: int) -> Result:
    """Photographs, and models to copy them: plain, with a skip, untrained, and PCA."""
    profile = runtime.profile()  # "gpu": the paper's sizes
    size, channels = profile.pick(cpu=(16, 1), gpu=(32, 3))
    width = profile.pick(cpu=384, gpu=4096)
    photos = data.load("photos", size=size, channels=channels)

    def build(skip: float = 0.0):
        return models.MLPAutoencoder(photos.shape, width=width, depth=5, skip=skip)

    plain, untrained = (models.replicate(build, seeds) for _ in range(2))
    residual = models.replicate(lambda: build(skip=1.0), seeds)
    recipe = {"batch_size": 32, "lr": 5e-4}
    fit(plain, photos.train, steps=steps, label="five wide layers", **recipe)
    fit(residual, photos.train, steps=min(steps, 200), label="x + MLP", **recipe)
    pca = [measures.pca_filter(photos.train, 10)] * seeds

    readings = {}
    for name, kind in (
        ("", plain),
        ("x + MLP, ", residual),
        ("untrained, ", untrained),
        ("PCA, 10 directions, ", pca),
    ):
        readings[f"{name}κ"] = measures.copy_coefficient(kind, photos.test, sigma=0.1).mean(1)
        readings[f"{name}variance missed"] = measures.unexplained_variance(kind, photos.test)
    return Result(readings, {"photos": photos, "plain": plain, "x + MLP": residual})


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 1000},
    full={"seeds": 5, "steps": 10_000},
)
