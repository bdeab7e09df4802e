"""The Jacobian of a model at an image, and its spectra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import Model, as_images, batch_size, run_batch
from aelib.measures.seeds import Seeds, over_seeds
from aelib.models import evaluating

LARGEST_SPECTRUM = 1024  # eigenvalues cost d³: a few seconds an image at this d


@over_seeds("model")
@torch.inference_mode(False)
def jacobian(model: Seeds[Model], image: Tensor) -> Tensor:
    """J[i, j] = ∂O(x)ᵢ / ∂xⱼ at one image, (channels, height, width): (d, d).

    Costs d forward and backward passes, batched. ValueError if the output carries no gradient.
    Source: chapter 2.

    >>> jacobian(lambda x: 2 * x, torch.zeros(1, 1, 2))
    tensor([[2., 0.],
            [0., 2.]])
    """
    image = as_images(image[None] if getattr(image, "ndim", 4) == 3 else image, "image")
    if len(image) != 1:
        raise ValueError(checks.message("image", "one image", image, "loop over them"))
    blocks = []
    with evaluating(cast(Model, model)), torch.enable_grad():
        for rows in torch.eye(image.numel()).to(image).split(batch_size(image)):
            inputs = image.expand(len(rows), *image.shape[1:]).clone().requires_grad_()
            outputs = run_batch(model, inputs).flatten(1)
            slopes = None
            if outputs.requires_grad:
                (slopes,) = torch.autograd.grad(outputs, inputs, rows, allow_unused=True)
            if slopes is None:  # zeros would be a guess: it may be constant, or merely detached
                expected, got = "one whose output depends on its input", "one with no gradient"
                got = checks.Described(got)
                raise ValueError(checks.message("model", expected, got, "look for detach()"))
            blocks.append(slopes.flatten(1))
    return torch.cat(blocks)


@over_seeds("model", images=4)
def spectral_radius(model: Seeds[Model], images: Seeds[Tensor]) -> Tensor:
    """ρ = the largest |eigenvalue| of the Jacobian at each image: (n,), ≥ 0.

    Below 1 at a fixed point of O, nearby starts are drawn to it: an attractor. Exact, from all
    eigenvalues in float64; ValueError above d = 1024, where they cost too much. Source:
    Radhakrishnan et al. (2018), arXiv 1810.10333; chapter 2.

    >>> spectral_radius(lambda x: x / 2, torch.zeros(3, 1, 2, 2))
    tensor([0.5000, 0.5000, 0.5000])
    """
    return _per_jacobian(model, images, lambda matrix: torch.linalg.eigvals(matrix).abs().max())


@over_seeds("model", images=4)
def singular_values(model: Seeds[Model], images: Seeds[Tensor]) -> Tensor:
    """The Jacobian's singular values at each image, falling: (n, d), ≥ 0; all 1 for the identity.

    How far the model stretches each direction. Exact; ValueError above d = 1024, where
    `leading_singular_values` finds the largest. Source: chapter 3.

    >>> singular_values(torch.relu, torch.tensor([[[[1.0, -1.0]]]]))
    tensor([[1., 0.]])
    """
    return _per_jacobian(model, images, torch.linalg.svdvals)


def _per_jacobian(model: Any, images: Any, measure: Callable[[Tensor], Tensor]) -> Tensor:
    images = as_images(images)
    if images[0].numel() > LARGEST_SPECTRUM:
        expected = f"at most {LARGEST_SPECTRUM} elements each, for an exact spectrum"
        raise ValueError(checks.message("images", expected, images, "use smaller ones"))
    return torch.stack([measure(jacobian(model, image).double()) for image in images]).to(images)
