"""What spoils images: noise added or mixed in, brightness, contrast, missing pixels.

Each is called as corruption(images, generator), on (..., channels, height, width), and clips
nothing. A generator draws on its own device, so one seed gives one result wherever the images are;
None draws from torch's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from aelib import checks, random


@dataclass(frozen=True)
class GaussianNoise:
    """Adds noise of mean `mean` and deviation `sigma` to images. Made by `gaussian`."""

    sigma: float
    mean: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy `images`: the same shape, dtype and device.

        Raises:
            TypeError: if images are not floating-point.
        """
        noise = _drawn(torch.randn, images, images.shape, generator)
        return images + (noise * self.sigma + self.mean)


@dataclass(frozen=True)
class MixedNoise:
    """Fades images into noise: (1 − share)·a + share·(mean + sigma·noise). Made by `mixed`."""

    sigma: float
    share: float
    mean: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Faded `images`: the same shape, dtype and device."""
        noise = _drawn(torch.randn, images, images.shape, generator) * self.sigma + self.mean
        return (1 - self.share) * images + self.share * noise


@dataclass(frozen=True)
class Shift:
    """Makes images brighter or darker. Made by `shift`."""

    by: float
    shared: bool = True

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Shifted `images`: the same shape, dtype and device."""
        return images + self.by * _signs(self.shared, images, generator)


@dataclass(frozen=True)
class Contrast:
    """Stretches images about mid-grey. Made by `contrast`."""

    factor: float
    shared: bool = True

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Stretched `images`: the same shape, dtype and device."""
        factors = self.factor ** _signs(self.shared, images, generator)
        return 0.5 + factors * (images - 0.5)


@dataclass(frozen=True)
class Mask:
    """Replaces a share of the pixels, whichever their channels. Made by `masked`."""

    share: float
    fill: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Masked `images`: the same shape, dtype and device."""
        size = (*images.shape[:-3], 1, *images.shape[-2:])
        return images.where(_drawn(torch.rand, images, size, generator) >= self.share, self.fill)


def gaussian(sigma: float, mean: float = 0.0) -> GaussianNoise:
    """Independent Gaussian noise on every pixel: `gaussian(0.2)(images, generator)`.

    Args:
        sigma: the deviation, in the images' units; 0 adds the mean alone.
        mean: the mean. The source document uses 0.7 beside a sigma of 0.2.

    Raises:
        TypeError, ValueError: unless both are finite numbers and sigma is at least 0.

    Source: chapter 3.
    """
    return GaussianNoise(_deviation(sigma), _number("mean", mean))


def mixed(sigma: float, share: float, mean: float = 0.5) -> MixedNoise:
    """Images fading into noise: `mixed(0.2, 0.5)` is half the image and half noise.

    Args:
        sigma: the deviation of the noise, in the images' units.
        share: of the noise, from 0 to 1; the image keeps the rest.
        mean: of the noise; 0.5 is mid-grey.

    Raises:
        TypeError, ValueError: unless all are finite numbers, sigma at least 0, share in [0, 1].

    Source: chapter 3.
    """
    return MixedNoise(_deviation(sigma), _share(share), _number("mean", mean))


def shift(by: float, shared: bool = True) -> Shift:
    """Images brighter by `by`; or, not `shared`, each brighter or darker by that, at even odds.

    Either way ‖e‖² = by²·d for every image: what differs is whether the batch shares e.

    Raises:
        TypeError, ValueError: unless `by` is a finite number.

    Source: chapter 3.
    """
    return Shift(_number("by", by), bool(shared))


def contrast(factor: float, shared: bool = True) -> Contrast:
    """Images stretched about ½: ½ + factor·(a − ½); not `shared`, by factor or 1/factor, evenly.

    Raises:
        TypeError, ValueError: unless `factor` is a finite number above 0.

    Source: chapter 3.
    """
    if not _number("factor", factor) > 0:
        raise ValueError(f"factor: expected a number above 0, got {factor}")
    return Contrast(float(factor), bool(shared))


def masked(share: float, fill: float = 0.0) -> Mask:
    """Images of which each pixel, with all its channels, is `fill` with probability `share`.

    Raises:
        TypeError, ValueError: unless both are finite numbers and `share` lies in [0, 1].

    Source: chapter 3.
    """
    return Mask(_share(share), _number("fill", fill))


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
    checks.whole(count, "count", least=1)
    if len(shape) != 3:
        raise ValueError(f"shape: expected (channels, height, width), got {tuple(shape)}")
    for value in shape:
        checks.whole(value, "shape", least=1)
    return torch.rand((count, *shape), generator=random.generator(seed))


def _drawn(draw: Callable, images: Tensor, size: Sequence[int], generator) -> Tensor:
    """Random numbers of the images' dtype, in their place, drawn where the generator is."""
    if not images.is_floating_point():
        raise TypeError(f"images: expected a floating-point tensor, got {images.dtype}")
    where = images.device if generator is None else generator.device
    return draw(size, generator=generator, dtype=images.dtype, device=where).to(images.device)


def _signs(shared: bool, images: Tensor, generator) -> Tensor | int:
    """1 for all, or a random sign for each image."""
    if shared:
        return 1
    draws = _drawn(torch.rand, images, images.shape[:-3], generator)
    return torch.where(draws < 0.5, -1.0, 1.0).to(images)[..., None, None, None]


def _number(argument: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument}: expected a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{argument}: expected a finite number, got {value}")
    return float(value)


def _deviation(sigma: float) -> float:
    if _number("sigma", sigma) < 0:
        raise ValueError(f"sigma: expected a deviation of at least 0, got {sigma}")
    return float(sigma)


def _share(share: float) -> float:
    if not 0 <= _number("share", share) <= 1:
        raise ValueError(f"share: expected a share from 0 to 1, got {share}")
    return float(share)
