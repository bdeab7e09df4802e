"""The variational autoencoder: its encoder gives a distribution over codes, not one code."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib.models.autoencoders import _Flat
from aelib.models.checks import check_shape
from aelib.models.weights import make_activation, start_weights


class Posterior(NamedTuple):
    """q(z|a) = N(mean, diag(exp(log_variance))) for each image: both (..., code)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One code for each image: mean + e·deviation, e ~ N(0, 1). Gradients pass through both.

        Drawn where the generator is; without one, from torch's global generator.
        """
        if generator is None:
            noise = torch.randn_like(self.mean)
        else:
            noise = torch.randn(
                self.mean.shape,
                generator=generator,
                device=generator.device,
                dtype=self.mean.dtype,
            ).to(self.mean.device)
        return self.mean + noise * (self.log_variance / 2).exp()


class VAE(_Flat):
    """A fully connected variational autoencoder: d → width → … → code → … → width → d.

    The layers of an `MLPAutoencoder` of the same width, depth and code, but for one: the encoder
    ends in twice as many numbers, a mean and a log-variance for each element of the code. `forward`
    and `encode` use the mean, so that the net is one fixed map and every measure of the book
    applies; what is random is drawn by the objective (`objectives.variational`).

    Args:
        shape: (channels, height, width) of an image; d is their product.
        width: elements of each hidden layer.
        depth: hidden layers, the code's included; odd.
        code: elements of the code.
        activation: one of `ACTIVATIONS`; neither code nor output has one.
        start, gain: how the weights are drawn (`start_weights`).
        bias: whether each layer has one.

    Raises:
        ValueError: for an even depth, or a size that is no positive whole number.

    Source: Kingma and Welling (2014), arXiv 1312.6114; chapter 5.
    """

    def __init__(self, shape, width: int = 512, depth: int = 5, *, code: int,
                 activation: str = "relu", start: str = "torch", gain: float = 1.0,
                 bias: bool = True):  # fmt: skip
        shape = check_shape(shape, width=width, depth=depth, code=code)
        if depth % 2 == 0:
            raise ValueError(
                f"depth: expected an odd number, for the code is in the middle, got {depth}"
            )
        elements, middle = math.prod(shape), (depth - 1) // 2
        outwards = [*[width] * middle, elements]

        def layers(widths: list[int]) -> nn.Sequential:
            made = nn.Sequential()
            for fan_in, fan_out in pairwise(widths):
                made.append(nn.Linear(fan_in, fan_out, bias))
                made.append(make_activation(activation))
            return made[:-1]

        encoder = layers([elements, *[width] * middle, 2 * code])
        super().__init__(shape, encoder, layers([code, *outwards]), 0.0)
        start_weights(self, start, gain)

    def posterior(self, images: Tensor) -> Posterior:
        """q(z|a): the code's mean and log-variance for each image, both (..., code)."""
        return Posterior(*self.encoder(images.flatten(-3)).chunk(2, dim=-1))

    def encode(self, images: Tensor) -> Tensor:
        """The code's mean, shape (..., code)."""
        return self.posterior(images).mean
