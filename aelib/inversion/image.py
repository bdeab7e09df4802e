"""What descends: an image written as numbers. Pixels, or Fourier coefficients of equal weight.

A parameterisation is two functions that undo each other, `image(numbers)` and `numbers(image)`, on
batches: (rows, count) and (rows, channels, height, width). Both are linear up to a constant, so a
row never depends on another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

GREY = 0.5  # the middle of the range of pixels

# Colour deviations of photographs along brightness, blue to yellow and green to magenta: the axes
# of Ohta, Kanade & Sakai (1980), "Color information for region segmentation".
_AXES = ((1 / math.sqrt(3),) * 3, (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
         (-1 / math.sqrt(6), 2 / math.sqrt(6), -1 / math.sqrt(6)))  # fmt: skip


class Parameterisation(Protocol):
    """How an image is written as numbers."""

    def image(self, numbers: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """(rows, count) numbers as (rows, channels, height, width)."""

    def numbers(self, image: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, count) numbers that draw it."""


@dataclass(frozen=True)
class Pixels:
    """The image is its own numbers."""

    def image(self, numbers: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """(rows, count) numbers as (rows, channels, height, width)."""
        return numbers.unflatten(1, shape)

    def numbers(self, image: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, count) numbers that draw it."""
        return image.flatten(1)


@dataclass(frozen=True)
class Fourier:
    """x = ½ + colour · F⁻¹(f^−slope · c): coefficients c that natural images give equal weight.

    Photographs have amplitudes that fall with frequency and colours that go together. Descending in
    c takes large steps where photographs vary much and small ones where they do not, which is a
    preconditioner and a prior in one.

    Args:
        slope: amplitude falls as frequency to this power.
        flat: cycles per image below which it does not rise further.
        colours: deviation of the three colour axes, brightness first, for three channels.

    Source: Olah, Mordvintsev & Schubert (2017), "Feature visualization"; the exponent and the
    colours were tuned here (benchmarks).
    """

    slope: float = 1.1
    flat: float = 2.0
    colours: tuple[float, float, float] = (1.0, 0.7, 0.5)

    def image(self, numbers: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """(rows, count) numbers as (rows, channels, height, width)."""
        channels, height, width = shape
        weights, mix, _ = self._basis(shape, numbers)
        spectrum = numbers.reshape(-1, channels, height, width // 2 + 1, 2)
        planes = torch.fft.irfft2(
            torch.view_as_complex(spectrum) * weights, s=(height, width), norm="ortho"
        )  # (rows, channels, height, width)
        return GREY + (planes if mix is None else torch.einsum("ck,rkhw->rchw", mix, planes))

    def numbers(self, image: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, count) numbers that draw it."""
        weights, _, unmix = self._basis(tuple(image.shape[1:]), image)
        planes = image - GREY
        if unmix is not None:
            planes = torch.einsum("kc,rchw->rkhw", unmix, planes)
        spectrum = torch.fft.rfft2(planes, norm="ortho") / weights
        return torch.view_as_real(spectrum).flatten(1)

    def _basis(
        self, shape: tuple[int, int, int], like: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Weight of each coefficient (height, width // 2 + 1), colour basis and its inverse."""
        return _basis(self, shape, like.dtype, like.device)


@lru_cache(maxsize=16)
def _basis(
    image: Fourier, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    channels, height, width = shape
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(width, dtype=torch.float64)
    lowest = image.flat / max(height, width)
    frequency = torch.hypot(down, across).clamp_min(lowest)
    weights = (frequency / lowest) ** -image.slope
    if channels != 3:
        return weights.to(device, dtype), None, None
    axes = torch.tensor(_AXES, dtype=torch.float64).T  # columns are the axes
    mix = axes * torch.tensor(image.colours, dtype=torch.float64)
    return tuple(part.to(device, dtype) for part in (weights, mix, torch.linalg.inv(mix)))
