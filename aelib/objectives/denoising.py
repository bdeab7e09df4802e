"""`denoise`: give back the clean image from a spoilt one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from aelib import checks
from aelib.objectives.objective import squared_error


@dataclass(frozen=True)
class Denoise:
    """‖O(noise(a)) − a‖²/d for each image, with fresh noise at every call. Made by `denoise`."""

    noise: Callable[..., Tensor]

    def __call__(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The loss of each image, shape (...) for images (..., channels, height, width).

        Raises:
            ObjectiveError: if the model returns another shape.
        """
        return squared_error(model(self.noise(images, None)), images)


def denoise(noise: Callable[..., Tensor]) -> Denoise:
    """The objective of a denoising autoencoder: `denoise(data.gaussian(0.2))`.

    Args:
        noise: maps (images, generator) to spoilt images, as the makers in `data` do; it is called
            without a generator, so it draws from torch's global one, which `fit` seeds.

    Raises:
        TypeError: if `noise` is not callable.

    Source: Vincent et al. (2008), ICML; chapter 3.

    >>> import torch
    >>> objective = denoise(lambda images, generator: images + 0.5)
    >>> objective(lambda images: images, torch.zeros(2, 1, 8, 8))
    tensor([0.2500, 0.2500])
    """
    return Denoise(checks.function(noise, "noise", "data.gaussian(0.2)"))
