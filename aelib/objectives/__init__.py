"""What a net is asked to do: small callables that return one loss per example.

An objective is called as objective(net, images), or objective(net, images, labels) where `fit` was
given labels. Images are (..., channels, height, width): a batch, or seeds and a batch where `fit`
trains the seeds as one graph. The result has one loss per example, of the leading axes' shape, so
count axes from the end. What an objective draws (noise, times) comes from torch's global generator,
one number per example: `torch.rand(images.shape[:-3])`. Whatever the net is called with must have
the same leading axes as its images.
"""

from aelib.objectives.checks import ObjectiveError
from aelib.objectives.classifying import classify
from aelib.objectives.copying import Objective, copy
from aelib.objectives.denoising import Denoise, denoise
from aelib.objectives.diffusing import Diffusion, diffusion
from aelib.objectives.variational import (
    Terms,
    Variational,
    kl_to_standard,
    variational,
    variational_terms,
)

__all__ = [
    "Denoise",
    "Diffusion",
    "Objective",
    "ObjectiveError",
    "Terms",
    "Variational",
    "classify",
    "copy",
    "denoise",
    "diffusion",
    "kl_to_standard",
    "variational",
    "variational_terms",
]
