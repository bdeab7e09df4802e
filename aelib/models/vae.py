"""The variational autoencoder: its encoder gives a distribution over codes, not one code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks, random
from aelib.models.autoencoders import Autoencoder, check_odd
from aelib.models.init import init_weights, make_activation


class Posterior(NamedTuple):
    """q(z|a) = N(mean, diag(exp(log_variance))) for each image: both (..., code)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One code for each image: mean + e·deviation, e ~ N(0, 1). Gradients pass through both.

        Drawn where the generator is; without one, from torch's global generator.
        """
        noise = random.normal(self.mean.shape, self.mean, generator)
        return self.mean + noise * (self.log_variance / 2).exp()


class VAE(Autoencoder):
    """A fully connected variational autoencoder: d → width → … → code → … → width → d.

    The layers of an `MLPAutoencoder` of the same width, depth and code, but for one: the encoder
    ends in twice as many numbers, a mean and a log-variance for each element of the code. `forward`
    and `encode` use the mean, so that the model is one fixed map and every measure of the book
    applies; what is random is drawn by the objective (`objectives.variational`).

    Args:
        shape: (channels, height, width) of an image; d is their product.
        width: elements of each hidden layer.
        depth: hidden layers, the code's included; odd.
        code: elements of the code.
        activation: one of `ACTIVATIONS`; neither code nor output has one.
        init, gain: how the weights are drawn (`init_weights`).
        bias: whether each layer has one.

    Raises:
        ValueError, TypeError: for an even depth, or a size that is no positive whole number.

    Source: Kingma and Welling (2014), arXiv 1312.6114; chapter 5.

    >>> model = VAE((1, 8, 8), width=32, depth=3, code=2)
    >>> model.posterior(torch.rand(5, 1, 8, 8)).sample().shape
    torch.Size([5, 2])
    """

    def __init__(self, shape: Sequence[int], width: int = 512, depth: int = 5, *, code: int,
                 activation: str = "relu", init: str = "torch", gain: float = 1.0,
                 bias: bool = True):  # fmt: skip
        shape = checks.shape(shape)
        checks.counts(width=width, depth=depth, code=code)
        check_odd(depth)
        elements, hidden = math.prod(shape), [width] * ((depth - 1) // 2)

        def layers(widths: list[int]) -> nn.Sequential:
            result = nn.Sequential()
            for fan_in, fan_out in pairwise(widths):
                result.append(nn.Linear(fan_in, fan_out, bias))
                result.append(make_activation(activation))
            return result[:-1]

        encoder = layers([elements, *hidden, 2 * code])
        super().__init__(shape, encoder, layers([code, *hidden, elements]))
        init_weights(self, init, gain)

    def posterior(self, images: Tensor) -> Posterior:
        """q(z|a): the code's mean and log-variance for each image, both (..., code)."""
        return Posterior(*self.encoder(images.flatten(-3)).chunk(2, dim=-1))

    def encode(self, images: Tensor) -> Tensor:
        """The code's mean, shape (..., code)."""
        return self.posterior(images).mean
