"""Inversion: read back what a layer still knows of its input, for any model.

    inversion = invert(model, images, layers=["layer1", "layer4"], seeds=3)
    inversion["layer1"].m_g  # (seeds, images)

An inversion is parameterization × loss × optimizer, a `Recipe` of small parts: what descends
(`parameterization`), what is made small (`losses`), how it descends (`optimizers`). `reading` looks
into a model without leaving a trace in it, `nodes` says what there is to read, `search` runs it
all, `result` is what comes back, and `classes`, `baselines` and `null` say what to compare it with.
`spectrum` says what a layer can know, without a search. `folder` inverts thousands of image files.
"""

from aelib.inversion.baselines import Baseline
from aelib.inversion.chunks import Chunk
from aelib.inversion.folder import FolderInversion, invert_folder
from aelib.inversion.given import invert_features, over_places
from aelib.inversion.losses import Along, SumL1, TotalVariation, cosine, l1, l2
from aelib.inversion.nodes import Layer, Layers, features, layers
from aelib.inversion.null import share_below
from aelib.inversion.optimizers import LBFGS, Adam, GradientDescent
from aelib.inversion.parameterization import Fourier, Pixels
from aelib.inversion.recipe import RECIPES, Blur, PinkNoise, Recipe, WhiteNoise
from aelib.inversion.result import Inversion, LayerInversion, load, nearer
from aelib.inversion.search import invert
from aelib.inversion.spectrum import spectrum
from aelib.inversion.stopping import LevelledOff

__all__ = [
    "LBFGS",
    "RECIPES",
    "Adam",
    "Along",
    "Baseline",
    "Blur",
    "Chunk",
    "FolderInversion",
    "Fourier",
    "GradientDescent",
    "Inversion",
    "Layer",
    "LayerInversion",
    "Layers",
    "LevelledOff",
    "PinkNoise",
    "Pixels",
    "Recipe",
    "SumL1",
    "TotalVariation",
    "WhiteNoise",
    "cosine",
    "features",
    "invert",
    "invert_features",
    "invert_folder",
    "l1",
    "l2",
    "layers",
    "load",
    "nearer",
    "over_places",
    "share_below",
    "spectrum",
]
