"""Inversion: read back what a layer still knows of its input, for any network.

    found = invert(model, images, layers=["layer1", "layer4"], seeds=3)
    found["layer1"].m_g  # (seeds, images)

An inversion is image × distance × optimiser, a `Recipe` of small parts: what descends (`image`),
what is made small (`distance`), how it descends (`descent`). `reading` looks into a model without
leaving a trace in it, `layers` says what there is to read, `engine` runs it all, `found` is what
comes back.
"""

from aelib.inversion.descent import LBFGS, Adam, GradientDescent
from aelib.inversion.distance import TotalVariation, cosine, l1, l2
from aelib.inversion.engine import invert
from aelib.inversion.found import Found, Inversion, load
from aelib.inversion.image import Fourier, Pixels
from aelib.inversion.layers import Layer, Layers, layers
from aelib.inversion.recipe import RECIPES, Blur, Clouds, Noise, Recipe, SumL1

__all__ = [
    "LBFGS",
    "RECIPES",
    "Adam",
    "Blur",
    "Clouds",
    "Found",
    "Fourier",
    "GradientDescent",
    "Inversion",
    "Layer",
    "Layers",
    "Noise",
    "Pixels",
    "Recipe",
    "SumL1",
    "TotalVariation",
    "cosine",
    "invert",
    "l1",
    "l2",
    "layers",
    "load",
]
