"""What spoils images: noise added or mixed in, brightness, contrast, missing pixels.

Each is called as corruption(images, generator), on (..., channels, height, width), gives the same
shape, dtype and device, and clips nothing. A generator draws on its own device, so one seed gives
one result wherever the images are; None draws from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aelib import checks, random


@dataclass(frozen=True)
class GaussianNoise:
    """Adds noise of mean `mean` and deviation `sigma` to images. Made by `gaussian`."""

    sigma: float
    mean: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy `images`.

        Raises:
            TypeError: if images are not floating-point.
        """
        noise = random.normal(images.shape, _floating(images), generator)
        return images + (noise * self.sigma + self.mean)


@dataclass(frozen=True)
class MixedNoise:
    """Fades images into noise: (1 − share)·a + share·(mean + sigma·noise). Made by `mixed`."""

    sigma: float
    share: float
    mean: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Faded `images`."""
        noise = random.normal(images.shape, _floating(images), generator)
        return (1 - self.share) * images + self.share * (noise * self.sigma + self.mean)


@dataclass(frozen=True)
class Shift:
    """Makes images brighter or darker. Made by `shift`."""

    by: float
    shared: bool = True

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Shifted `images`."""
        return images + self.by * _signs(self.shared, images, generator)


@dataclass(frozen=True)
class Contrast:
    """Stretches images about mid-grey. Made by `contrast`."""

    factor: float
    shared: bool = True

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Stretched `images`."""
        factors = self.factor ** _signs(self.shared, images, generator)
        return 0.5 + factors * (images - 0.5)


@dataclass(frozen=True)
class Mask:
    """Replaces a share of the pixels, whichever their channels. Made by `masked`."""

    share: float
    fill: float = 0.0
    patch: int = 1

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Masked `images`."""
        return images.where(~self.hidden(images, generator), self.fill)

    def hidden(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Which pixels a call with this generator would hide: boolean, (..., 1, height, width)."""
        *leading, _, height, width = images.shape
        if height % self.patch or width % self.patch:
            expected = f"sides divisible by {self.patch} (patch)"
            raise ValueError(checks.message("images", expected, images))
        size = (*leading, 1, height // self.patch, width // self.patch)
        hidden = random.uniform(size, _floating(images), generator) < self.share
        if self.patch == 1:
            return hidden
        return hidden.repeat_interleave(self.patch, -2).repeat_interleave(self.patch, -1)


def gaussian(sigma: float, mean: float = 0.0) -> GaussianNoise:
    """Independent Gaussian noise on every pixel.

    Args:
        sigma: the deviation, in the images' units; 0 adds the mean alone.
        mean: the mean. Badger's code uses 0.7 beside a sigma of 0.2.

    Raises:
        TypeError, ValueError: unless both are finite numbers and sigma is at least 0.

    Source: chapter 3.

    >>> noise, images = gaussian(0.2), torch.full((2, 1, 64, 64), 0.5)
    >>> noisy = noise(images, random.generator(0))
    >>> noisy.shape, round(float((noisy - images).std()), 2)
    (torch.Size([2, 1, 64, 64]), 0.2)
    """
    return GaussianNoise(checks.number(sigma, "sigma", least=0), checks.number(mean, "mean"))


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
    return MixedNoise(
        checks.number(sigma, "sigma", least=0),
        checks.number(share, "share", least=0, most=1),
        checks.number(mean, "mean"),
    )


def shift(by: float, shared: bool = True) -> Shift:
    """Images brighter by `by`; or, not `shared`, each brighter or darker by that, at even odds.

    Either way ‖e‖² = by²·d for every image: what differs is whether the batch shares e.

    Raises:
        TypeError, ValueError: unless `by` is a finite number.

    Source: chapter 3.
    """
    return Shift(checks.number(by, "by"), bool(shared))


def contrast(factor: float, shared: bool = True) -> Contrast:
    """Images stretched about ½: ½ + factor·(a − ½); not `shared`, by factor or 1/factor, evenly.

    Raises:
        TypeError, ValueError: unless `factor` is a finite number above 0.

    Source: chapter 3.
    """
    return Contrast(checks.number(factor, "factor", above=0), bool(shared))


def masked(share: float, fill: float = 0.0, patch: int = 1) -> Mask:
    """Images of which each pixel, with all its channels, is `fill` with probability `share`.

    Args:
        share: hidden, from 0 to 1, on average.
        fill: what stands in a hidden pixel.
        patch: the side of the squares that are hidden whole; it divides height and width.

    Raises:
        TypeError, ValueError: unless share and fill are finite numbers, share lies in [0, 1], and
            patch is a whole number of 1 or more.

    Source: chapter 3; in patches chapter 6.

    >>> masked(0.5, patch=2)(torch.ones(1, 1, 2, 4), random.generator(1))
    tensor([[[[1., 1., 0., 0.],
              [1., 1., 0., 0.]]]])
    """
    return Mask(
        checks.number(share, "share", least=0, most=1),
        checks.number(fill, "fill"),
        checks.whole(patch, "patch", least=1),
    )


def white_noise(n: int, shape: Sequence[int], seed: int = 0) -> Tensor:
    """Images that are nothing but noise: every value drawn evenly from [0, 1).

    Args:
        n: how many.
        shape: (channels, height, width), as in `Images.shape`.
        seed: the same seed gives the same images.

    Returns:
        float32, (n, channels, height, width).

    Raises:
        TypeError, ValueError: unless n and seed are whole numbers, n at least 1, shape three such.

    Source: chapter 2.

    >>> white_noise(3, (1, 8, 8)).shape
    torch.Size([3, 1, 8, 8])
    """
    size = (checks.whole(n, "n", least=1), *checks.shape(shape))
    return random.uniform(size, torch.empty(0), random.generator(seed))


def _floating(images: Tensor) -> Tensor:
    """Looked at in every step of a training, so at no more than this."""
    if not images.is_floating_point():
        raise TypeError(checks.message("images", "a floating-point tensor", images))
    return images


def _signs(shared: bool, images: Tensor, generator: torch.Generator | None) -> Tensor | int:
    """1 for all, or a random sign for each image."""
    if shared:
        return 1
    chance = random.uniform(images.shape[:-3], _floating(images), generator)
    return torch.where(chance < 0.5, -1.0, 1.0).to(images)[..., None, None, None]
