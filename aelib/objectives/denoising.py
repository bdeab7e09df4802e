"""`denoise`: give back the clean image from a spoilt one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from aelib.objectives.checks import check_same_shape


@dataclass(frozen=True)
class Denoise:
    """‖O(noise(a)) − a‖²/d for each image, with fresh noise at every call. Made by `denoise`."""

    noise: Callable[..., Tensor]

    def __call__(self, net: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The loss of each image, shape (...) for images (..., channels, height, width).

        Raises:
            ObjectiveError: if the net returns another shape.
        """
        output = net(self.noise(images, None))
        check_same_shape(output, images)
        return (output - images).square().mean(dim=(-3, -2, -1))


def denoise(noise: Callable[..., Tensor]) -> Denoise:
    """The objective of a denoising autoencoder: `denoise(data.gaussian(0.2))`.

    Args:
        noise: maps (images, generator) to spoilt images, as the makers in `data` do; it is called
            without a generator, so it draws from torch's global one, which `fit` seeds.

    Raises:
        TypeError: if `noise` is not callable.

    Source: Vincent et al. (2008), ICML; chapter 3.
    """
    if not callable(noise):
        raise TypeError(f"noise: expected a callable, such as data.gaussian(0.2), got {noise!r}")
    return Denoise(noise)
