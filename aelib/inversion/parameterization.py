"""What descends: an image written as parameters. Pixels, or Fourier coefficients of equal weight.

A parameterization is two functions that undo each other, on batches: `to_image` from (rows, n)
parameters to (rows, channels, height, width), and `to_parameters` back. Both are linear up to a
constant, and a row never depends on another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

Shape = tuple[int, int, int]  # channels, height, width

GRAY = 0.5  # the middle of the range of pixels

# Colour deviations of photographs along brightness, blue to yellow and green to magenta: the axes
# of Ohta, Kanade & Sakai (1980), "Color information for region segmentation".
_AXES = ((1 / math.sqrt(3),) * 3, (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
         (-1 / math.sqrt(6), 2 / math.sqrt(6), -1 / math.sqrt(6)))  # fmt: skip


def image_shape(images: Tensor) -> Shape:
    """(channels, height, width) of images (rows, channels, height, width)."""
    channels, height, width = images.shape[1:]
    return channels, height, width


class Parameterization(Protocol):
    """How an image is written as parameters."""

    def to_image(self, parameters: Tensor, shape: Shape) -> Tensor:
        """(rows, n) parameters as (rows, channels, height, width)."""
        ...

    def to_parameters(self, images: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, n) parameters that draw it."""
        ...


@dataclass(frozen=True)
class Pixels:
    """The image is its own parameters."""

    def to_image(self, parameters: Tensor, shape: Shape) -> Tensor:
        """(rows, n) parameters as (rows, channels, height, width)."""
        return parameters.unflatten(1, shape)

    def to_parameters(self, images: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, n) parameters that draw it."""
        return images.flatten(1)


@dataclass(frozen=True)
class Fourier:
    """x = ½ + color · F⁻¹(f^−slope · c): coefficients c that natural images give equal weight.

    Photographs have amplitudes that fall with frequency and colours that go together. Descending in
    c takes large steps where photographs vary much and small ones where they do not, which is a
    preconditioner and a prior in one.

    Args:
        slope: amplitude falls as frequency to this power.
        flat: cycles per image below which it does not rise further.
        colors: deviation of the three colour axes, brightness first, for three channels.

    Source: Olah, Mordvintsev & Schubert (2017), "Feature visualization"; the exponent and the
    colours were tuned here (benchmarks).
    """

    slope: float = 1.1
    flat: float = 2.0
    colors: tuple[float, float, float] = (1.0, 0.7, 0.5)

    def to_image(self, parameters: Tensor, shape: Shape) -> Tensor:
        """(rows, n) parameters as (rows, channels, height, width)."""
        channels, height, width = shape
        weights, mix, _ = _basis(self, shape, parameters.dtype, parameters.device)
        spectrum = parameters.reshape(-1, channels, height, width // 2 + 1, 2)
        planes = torch.fft.irfft2(
            torch.view_as_complex(spectrum) * weights, s=(height, width), norm="ortho"
        )  # (rows, channels, height, width)
        return GRAY + (planes if mix is None else torch.einsum("ck,rkhw->rchw", mix, planes))

    def to_parameters(self, images: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, n) parameters that draw it."""
        weights, _, unmix = _basis(self, image_shape(images), images.dtype, images.device)
        planes = images - GRAY
        if unmix is not None:
            planes = torch.einsum("kc,rchw->rkhw", unmix, planes)
        spectrum = torch.fft.rfft2(planes, norm="ortho") / weights
        return torch.view_as_real(spectrum).flatten(1)


def frequencies(height: int, width: int) -> Tensor:
    """Cycles per pixel of each coefficient, (height, width // 2 + 1), in float64."""
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    return torch.hypot(down, torch.fft.rfftfreq(width, dtype=torch.float64))


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept has to serve outside of it, too
def _basis(
    fourier: Fourier, shape: Shape, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Weight of each coefficient (height, width // 2 + 1), colour basis and its inverse."""
    channels, height, width = shape
    lowest = fourier.flat / max(height, width)
    frequency = frequencies(height, width).clamp_min(lowest)
    weights = ((frequency / lowest) ** -fourier.slope).to(device, dtype)
    if channels != 3:
        return weights, None, None
    axes = torch.tensor(_AXES, dtype=torch.float64).T  # columns are the axes
    mix = axes * torch.tensor(fourier.colors, dtype=torch.float64)
    return weights, mix.to(device, dtype), torch.linalg.inv(mix).to(device, dtype)
