"""Larger steps where a layer hears little: Fourier coefficients scaled by what the layer feels.

A trained layer hears some frequencies and colours a hundred times less than others, so a descent
moves those last. How much it hears is measured on noise, without the image that is sought.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aelib import random
from aelib.inversion.parameterization import Fourier, Shape, frequencies
from aelib.inversion.reading import Read

FAINTEST = 1e-3  # shares of the largest energy below this count as this
IMAGES, PROBES = 2, 4  # pink images, and random directions of the features at each
STD = 0.3  # of the pink images' coefficients
BANDS = 2  # an octave


@dataclass(frozen=True, eq=False)
class Equalized:
    """`fourier` with its coefficients times `gain`, (channels, height, width // 2 + 1, 1)."""

    fourier: Fourier
    gain: Tensor

    def to_image(self, parameters: Tensor, shape: Shape) -> Tensor:
        """(rows, n) parameters as (rows, channels, height, width)."""
        scaled = parameters.view(-1, *self.gain.shape[:3], 2) * self.gain
        return self.fourier.to_image(scaled.flatten(1), shape)

    def to_parameters(self, images: Tensor) -> Tensor:
        """(rows, channels, height, width) as the (rows, n) parameters that draw it."""
        coefficients = self.fourier.to_parameters(images)
        return (coefficients.view(-1, *self.gain.shape[:3], 2) / self.gain).flatten(1)


def equalized(fourier: Fourier, read: Read, like: Tensor, power: float) -> Equalized:
    """`fourier` with gains h^−power, h the share of energy that each coefficient gets to a layer.

    h is the mean of (∂⟨v, O(x)⟩/∂c)² over random signs v and pink images x, a mean too over the
    frequencies of half an octave, a number for each colour axis and band, as a share of the
    largest. Nothing of the image sought is in it.

    Args:
        fourier: the parameterization.
        read: images to features (see `reading.reader`).
        like: an image (channels, height, width); its size, dtype and device are used.
        power: 0 changes nothing; ½ would make the layer feel all coefficients alike.
    """
    channels, height, width = shape = (like.shape[0], like.shape[1], like.shape[2])
    generator = random.generator(0)
    size = (IMAGES, channels * height * (width // 2 + 1) * 2)
    coefficients = STD * random.normal(size, like, generator)
    energy = torch.zeros(channels, height, width // 2 + 1, dtype=torch.float64)
    with torch.enable_grad():
        coefficients.requires_grad_()
        for _ in range(PROBES):
            features = read(fourier.to_image(coefficients, shape))
            signs = random.normal(features.shape, features, generator).sign()
            (slopes,) = torch.autograd.grad((features * signs).sum(), coefficients)
            squares = slopes.view(IMAGES, *energy.shape, 2).square().sum(-1).mean(0)
            energy += squares.to(energy)
    bands = (
        (torch.log2(frequencies(height, width).clamp_min(0.5 / max(height, width))) * BANDS)
        .round()
        .long()
    )
    bands = (bands - bands.min()).flatten()
    totals = torch.zeros(channels, int(bands.max()) + 1, dtype=torch.float64)
    totals.index_add_(1, bands, energy.flatten(1))
    means = (totals / bands.bincount(minlength=totals.shape[1]).clamp_min(1))[:, bands]
    share = means / means.max().clamp_min(torch.finfo(means.dtype).tiny)
    gain = ((share + FAINTEST) / (1 + FAINTEST)) ** -power
    return Equalized(fourier, gain.view(*energy.shape, 1).to(like))
