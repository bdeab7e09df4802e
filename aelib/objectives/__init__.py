"""What a model is asked to do: small callables that return one loss per example.

An objective is called as objective(model, images), or objective(model, images, labels) where `fit`
was given labels. Images are (..., channels, height, width): a batch, or seeds and a batch where
`fit` trains the seeds as one graph. The result has one loss per example, of the leading axes'
shape, so count axes from the end. What an objective draws (noise, times) comes from torch's global
generator, one number per example: `torch.rand(images.shape[:-3])`. Whatever the model is called
with must have the same leading axes as its images.

Two attributes are optional. `span`, such as (0.0, 1.0): the values the images must lie in, which
`fit` looks at before the first step. `mark(models)`: called by `fit` then, too, to leave a note in
the models of what they are trained for.
"""

from aelib.objectives.classification import classify
from aelib.objectives.contractive import (
    Contractive,
    ContractiveTerms,
    contractive,
    contractive_terms,
)
from aelib.objectives.copying import copy
from aelib.objectives.denoising import Denoise, denoise
from aelib.objectives.elbo import (
    Terms,
    Variational,
    kl_to_standard,
    variational,
    variational_terms,
)
from aelib.objectives.masked import Masked, MaskedTerms, masked, masked_terms
from aelib.objectives.noise_prediction import Diffusion, diffusion
from aelib.objectives.objective import Objective, ObjectiveError
from aelib.objectives.quantized import Quantized, QuantizedTerms, quantized, quantized_terms
from aelib.objectives.schedule import (
    TARGETS,
    Schedule,
    cosine_schedule,
    linear_schedule,
    to_images,
    to_model,
)
from aelib.objectives.sparse import Sparse, SparseTerms, sparse, sparse_terms

__all__ = [
    "TARGETS",
    "Contractive",
    "ContractiveTerms",
    "Denoise",
    "Diffusion",
    "Masked",
    "MaskedTerms",
    "Objective",
    "ObjectiveError",
    "Quantized",
    "QuantizedTerms",
    "Schedule",
    "Sparse",
    "SparseTerms",
    "Terms",
    "Variational",
    "classify",
    "contractive",
    "contractive_terms",
    "copy",
    "cosine_schedule",
    "denoise",
    "diffusion",
    "kl_to_standard",
    "linear_schedule",
    "masked",
    "masked_terms",
    "quantized",
    "quantized_terms",
    "sparse",
    "sparse_terms",
    "to_images",
    "to_model",
    "variational",
    "variational_terms",
]
