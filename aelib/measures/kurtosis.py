"""The shape of a distribution that is not known: how far from Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import as_images
from aelib.measures.seeds import Seeds, over_seeds


@over_seeds(images=4)
def excess_kurtosis(images: Seeds[Tensor]) -> Tensor:
    """E(x − x̄)⁴ / (E(x − x̄)²)² − 3 over the elements of each image: (n,), 0 for Gaussian ones.

    From −2 (two values, evenly) upwards without end; −1.2 for uniform values. The variance and the
    fourth moment divide by d. ValueError for an image without variance. Source: chapter 3.

    >>> excess_kurtosis(torch.linspace(0, 1, 1000).view(1, 1, 10, 100))
    tensor([-1.2000])
    """
    images = as_images(images)
    flat = images.flatten(1).double()
    centered = flat - flat.mean(1, keepdim=True)
    second = centered.square().mean(1)
    rounding = 8 * torch.finfo(images.dtype).eps
    constant = second <= (rounding * flat.abs().amax(1)).square()
    if constant.any():
        got = checks.Described(f"image {int(constant.nonzero()[0])} without any")
        raise ValueError(checks.message("images", "variance in each", got, "leave it out"))
    return (centered.pow(4).mean(1) / second.square() - 3).to(images.dtype)
