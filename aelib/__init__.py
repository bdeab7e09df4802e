"""aelib: the package behind the book "Autoencoders: Learning by Copying".

Data flows one way, and no import runs back:

    checks · runtime · random → data → models → objectives → training → sampling → measures
    → figures → inversion → claims → experiments

A first run, with no network:

    import aelib as ae

    images = ae.data.load("digits")
    nets = ae.models.replicate(lambda: ae.models.MLPAutoencoder(images.shape, width=128), seeds=3)
    history = ae.fit(nets, images.train, steps=500)
    gain = ae.measures.denoising_gain(nets[0], images.test, noise=ae.data.gaussian(0.2))
    inversion = ae.invert(nets[0], images.test[:4], layers="encoder.0", seeds=3)
"""

from importlib.metadata import version

from aelib import (
    checks,
    claims,
    data,
    experiments,
    figures,
    inversion,
    measures,
    models,
    objectives,
    random,
    runtime,
    sampling,
    training,
)
from aelib.claims import Claim
from aelib.inversion import features, invert, layers
from aelib.training import fit

__version__ = version("aelib")
__all__ = [
    "Claim",
    "checks",
    "claims",
    "data",
    "experiments",
    "features",
    "figures",
    "fit",
    "inversion",
    "invert",
    "layers",
    "measures",
    "models",
    "objectives",
    "random",
    "runtime",
    "sampling",
    "training",
]
