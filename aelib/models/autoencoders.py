"""Autoencoders as plain modules: linear, fully connected, convolutional."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from aelib import checks
from aelib.models.init import init_weights, make_activation


class Autoencoder(nn.Module):
    """What all of them share: an encoder and a decoder of flat images, and the skip."""

    def __init__(
        self, shape: tuple[int, int, int], encoder: nn.Module, decoder: nn.Module, skip: float = 0.0
    ):
        super().__init__()
        self.shape = shape
        self.encoder = encoder
        self.decoder = decoder
        self.skip = checks.number(skip, "skip")

    def encode(self, images: Tensor) -> Tensor:
        """The code z = E(a), shape (batch, code)."""
        return self.encoder(images.flatten(-3))

    def decode(self, code: Tensor) -> Tensor:
        """The image D(z), shape (batch, channels, height, width), without the skip."""
        return self.decoder(code).unflatten(-1, self.shape)

    def forward(self, images: Tensor) -> Tensor:
        """O(a) = D(E(a)) + skip · a."""
        copied = self.decode(self.encode(images))
        return copied + self.skip * images if self.skip else copied

    def extra_repr(self) -> str:
        return f"shape={self.shape}, skip={self.skip}"


class LinearAutoencoder(Autoencoder):
    """One matrix, or two with a code between them: O(a) = W a, or O(a) = W₂ W₁ a.

    Args:
        shape: (channels, height, width) of an image; d is their product.
        code: elements of the code; None for a single d × d matrix (the encoder is then W and the
            decoder the identity).
        init, gain: how the weights are drawn (`init_weights`); gain=0 starts at W = 0.
        bias: whether each map has one.
        skip: the share α of the input added to the output.

    Raises:
        ValueError, TypeError: for sizes that are no positive whole numbers, an unknown init.

    Source: chapter 1, "The linear autoencoder".

    >>> model = LinearAutoencoder((1, 8, 8), code=4)
    >>> model.encoder.weight.shape, model.decoder.weight.shape
    (torch.Size([4, 64]), torch.Size([64, 4]))
    """

    def __init__(self, shape: Sequence[int], code: int | None = None, *, init: str = "lecun",
                 gain: float = 1.0, bias: bool = False, skip: float = 0.0):  # fmt: skip
        shape = checks.shape(shape)
        elements = math.prod(shape)
        if code is None:
            encoder, decoder = nn.Linear(elements, elements, bias), nn.Identity()
        else:
            code = checks.whole(code, "code", least=1)
            encoder, decoder = nn.Linear(elements, code, bias), nn.Linear(code, elements, bias)
        super().__init__(shape, encoder, decoder, skip)
        init_weights(self, init, gain)


class MLPAutoencoder(Autoencoder):
    """Fully connected layers: d → width → … → width → d, or with a narrow linear code within.

    Args:
        shape: (channels, height, width) of an image; d is their product.
        width: elements of each hidden layer; wider than d makes the model overcomplete.
        depth: hidden layers, the code's included.
        code: elements of the code, the middle hidden layer, then without an activation (depth must
            be odd); None makes the middle hidden layer, activation and all, the code.
        activation: one of `ACTIVATIONS`; "linear" for a deep linear model. The output has none.
        init, gain: how the weights are drawn (`init_weights`).
        bias: whether each layer has one.
        skip: the share α of the input added to the output, O(a) = MLP(a) + α a; 1 makes a residual
            model.

    Raises:
        ValueError, TypeError: for sizes that do not fit, an unknown activation or init.

    Source: chapter 1, "Encoder, code, decoder"; chapter 2 for the overcomplete case.

    >>> import torch
    >>> model = MLPAutoencoder((1, 8, 8), width=32, depth=3, code=2)
    >>> model.encode(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, shape: Sequence[int], width: int = 512, depth: int = 5, *,
                 code: int | None = None, activation: str = "relu", init: str = "torch",
                 gain: float = 1.0, bias: bool = True, skip: float = 0.0):  # fmt: skip
        shape = checks.shape(shape)
        checks.counts(width=width, depth=depth)
        widths = [math.prod(shape), *[width] * depth, math.prod(shape)]
        middle = (depth - 1) // 2
        if code is not None:
            widths[middle + 1] = checks.whole(code, "code", least=1)
            check_odd(depth)
        encoder, decoder = nn.Sequential(), nn.Sequential()
        for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
            half = encoder if index <= middle else decoder
            half.append(nn.Linear(fan_in, fan_out, bias))
            if index != depth and not (code is not None and index == middle):
                half.append(make_activation(activation))
        super().__init__(shape, encoder, decoder, skip)
        init_weights(self, init, gain)


class ConvAutoencoder(Autoencoder):
    """3×3 convolutions of one width, at full size or halved `downs` times and doubled back.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by 2**downs.
        width: channels of each hidden layer.
        depth: convolutions in all, at least 2 (and 2·downs where the image is halved).
        downs: how often the encoder halves the image; 0 keeps every layer at full size.
        activation, init, gain, skip: as in `MLPAutoencoder`.

    Raises:
        ValueError, TypeError: for sizes that do not fit, an unknown activation or init.

    Source: chapter 2, "The architecture decides which failure you get".
    """

    def __init__(self, shape: Sequence[int], width: int = 32, depth: int = 4, *, downs: int = 0,
                 activation: str = "relu", init: str = "he", gain: float = 1.0,
                 skip: float = 0.0):  # fmt: skip
        checks.counts(width=width)
        checks.whole(downs, "downs", least=0)
        checks.whole(depth, "depth", least=max(2, 2 * downs))
        shape = checks.shape(shape, multiple=2**downs)
        encoder, decoder = nn.Sequential(), nn.Sequential()
        for index in range(depth):
            first, last = index == 0, index == depth - 1
            half = encoder if index < depth // 2 else decoder
            if index >= depth - downs:
                half.append(nn.Upsample(scale_factor=2))
            fan_in, fan_out = shape[0] if first else width, shape[0] if last else width
            half.append(nn.Conv2d(fan_in, fan_out, 3, stride=2 if index < downs else 1, padding=1))
            if not last:
                half.append(make_activation(activation))
        super().__init__(shape, encoder, decoder, skip)
        init_weights(self, init, gain)

    def encode(self, images: Tensor) -> Tensor:
        """The code z = E(a), shape (batch, width, height / 2**downs, width / 2**downs)."""
        return self.encoder(images)

    def decode(self, code: Tensor) -> Tensor:
        """The image D(z), without the skip."""
        return self.decoder(code)


def check_odd(depth: int) -> None:
    """Raise unless `depth` is odd, so that a code is the middle one of the hidden layers."""
    if depth % 2 == 0:
        advice = "the code is the middle hidden layer"
        raise ValueError(checks.message("depth", "an odd number with a code", depth, advice))
