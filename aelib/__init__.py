"""aelib: the package behind the book "Autoencoders: Learning by Copying".

Data flows one way, and no import runs back:

    runtime → provenance → data → models → objectives → training → measures → claims → figures

A first run, with no network:

    import aelib as ae

    images = ae.data.load("digits")
    nets = ae.models.replicate(lambda: ae.models.MLPAutoencoder(images.shape, width=128), seeds=3)
    history = ae.fit(nets, images.train, steps=500)
    gain = ae.measures.denoising_gain(nets[0], images.test, noise=ae.data.gaussian(0.2))
"""

from aelib import (
    claims,
    data,
    figures,
    measures,
    models,
    objectives,
    provenance,
    runtime,
    training,
)
from aelib.claims import Claim
from aelib.training import fit

__version__ = "0.1.0"
__all__ = [
    "Claim",
    "claims",
    "data",
    "figures",
    "fit",
    "measures",
    "models",
    "objectives",
    "provenance",
    "runtime",
    "training",
]
