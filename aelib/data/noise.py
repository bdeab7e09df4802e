"""What spoils images: Gaussian noise added to them, and images that are nothing but noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from aelib import runtime
from aelib.data.images import check_whole


@dataclass(frozen=True)
class GaussianNoise:
    """Adds noise of mean `mean` and deviation `sigma` to images. Made by `gaussian`."""

    sigma: float
    mean: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy `images`: the same shape, dtype and device, not clipped to any range.

        A generator draws on its own device, so one seed gives one noise wherever the images are.

        Raises:
            TypeError: if images are not floating-point.
        """
        if not images.is_floating_point():
            raise TypeError(f"images: expected a floating-point tensor, got {images.dtype}")
        where = images.device if generator is None else generator.device
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=where)
        return images + (noise.to(images.device) * self.sigma + self.mean)


def gaussian(sigma: float, mean: float = 0.0) -> GaussianNoise:
    """Independent Gaussian noise on every pixel: `gaussian(0.2)(images, generator)`.

    Args:
        sigma: the deviation, in the images' units; 0 adds the mean alone.
        mean: the mean. The source document uses 0.7 beside a sigma of 0.2.

    Raises:
        TypeError, ValueError: unless both are finite numbers and sigma is at least 0.

    Source: chapter 3.
    """
    for argument, value in (("sigma", sigma), ("mean", mean)):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{argument}: expected a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{argument}: expected a finite number, got {value}")
    if sigma < 0:
        raise ValueError(f"sigma: expected a deviation of at least 0, got {sigma}")
    return GaussianNoise(float(sigma), float(mean))


def white_noise(count: int, shape: Sequence[int], seed: int = 0) -> Tensor:
    """Images that are nothing but noise: every value drawn evenly from [0, 1).

    Args:
        count: how many.
        shape: (channels, height, width), as in `Images.shape`.
        seed: the same seed gives the same images.

    Returns:
        float32, (count, channels, height, width).

    Source: chapter 2.
    """
    check_whole("count", count, least=1)
    if len(shape) != 3:
        raise ValueError(f"shape: expected (channels, height, width), got {tuple(shape)}")
    for value in shape:
        check_whole("shape", value, least=1)
    return torch.rand((count, *shape), generator=runtime.generator(seed))
