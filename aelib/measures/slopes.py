"""The Jacobian of a net at an image, and its spectra."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aelib.measures.checks import as_images
from aelib.measures.nets import Net, chunk_size, run_chunk
from aelib.models import evaluating

LARGEST_SPECTRUM = 1024  # eigenvalues cost d³: a few seconds an image at this d


def jacobian(net: Net, image: Tensor) -> Tensor:
    """J[i, j] = ∂O(x)ᵢ / ∂xⱼ at one image, (channels, height, width): (d, d).

    Costs d forward and backward passes, batched. ValueError if the output carries no gradient.
    Source: chapter 2.
    """
    if isinstance(image, Tensor) and image.dim() == 3:
        image = image[None]
    image = as_images(image, "image")
    if len(image) != 1:
        raise ValueError(f"image must be one image, got a batch of {len(image)}; loop over them")
    parts = []
    with evaluating(net), torch.enable_grad():
        for rows in torch.eye(image.numel()).to(image).split(chunk_size(image)):
            inputs = image.expand(len(rows), *image.shape[1:]).clone().requires_grad_()
            outputs = run_chunk(net, inputs).flatten(1)
            slopes = None
            if outputs.requires_grad:
                (slopes,) = torch.autograd.grad(outputs, inputs, rows, allow_unused=True)
            if slopes is None:  # zeros would be a guess: it may be constant, or merely detached
                raise ValueError("net's output carries no gradient of its input; look for detach()")
            parts.append(slopes.flatten(1))
    return torch.cat(parts)


def spectral_radius(net: Net, images: Tensor) -> Tensor:
    """ρ = the largest |eigenvalue| of the Jacobian at each image: (n,), ≥ 0.

    Below 1 at a fixed point of O, nearby starts are drawn to it: an attractor. Exact, from all
    eigenvalues in float64; ValueError above d = 1024, where they cost too much. Source:
    Radhakrishnan et al. (2018), arXiv 1810.10333; chapter 2.
    """
    return _per_jacobian(net, images, lambda matrix: torch.linalg.eigvals(matrix).abs().max())


def singular_values(net: Net, images: Tensor) -> Tensor:
    """The Jacobian's singular values at each image, falling: (n, d), ≥ 0; all 1 for the identity.

    How far the net stretches each direction. ValueError above d = 1024.
    """
    return _per_jacobian(net, images, torch.linalg.svdvals)


def _per_jacobian(net: Net, images: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    images = as_images(images, "images")
    d = images[0].numel()
    if d > LARGEST_SPECTRUM:
        raise ValueError(
            f"images must have at most {LARGEST_SPECTRUM} elements for an exact spectrum, got {d}; "
            "use smaller images or fewer channels"
        )
    found = [measure(jacobian(net, image).double()) for image in images]
    return torch.stack(found).to(images)
