"""Autoencoders as plain modules: linear, fully connected, convolutional."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from aelib import checks
from aelib.models.checks import check_shape
from aelib.models.weights import make_activation, start_weights


class _Flat(nn.Module):
    """What the fully connected models share: flatten, encode, decode, unflatten, add the skip."""

    def __init__(
        self, shape: tuple[int, int, int], encoder: nn.Module, decoder: nn.Module, skip: float
    ):
        super().__init__()
        self.shape = shape
        self.encoder = encoder
        self.decoder = decoder
        self.skip = float(skip)

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


class LinearAutoencoder(_Flat):
    """One matrix, or two with a code between them: O(a) = W a, or O(a) = W₂ W₁ a.

    Args:
        shape: (channels, height, width) of an image; d is their product.
        code: elements of the code; None for a single d × d matrix (the encoder is then W and the
            decoder the identity).
        start, gain: how the weights are drawn (`start_weights`); gain=0 starts at W = 0.
        bias: whether each map has one.
        skip: the share α of the input added to the output.

    Source: chapter 1, "The linear autoencoder".
    """

    def __init__(self, shape, code: int | None = None, *, start: str = "lecun", gain: float = 1.0,
                 bias: bool = False, skip: float = 0.0):  # fmt: skip
        shape = check_shape(shape, code=1 if code is None else code)
        elements = math.prod(shape)
        encoder = nn.Linear(elements, elements if code is None else code, bias)
        decoder = nn.Identity() if code is None else nn.Linear(code, elements, bias)
        super().__init__(shape, encoder, decoder, skip)
        start_weights(self, start, gain)


class MLPAutoencoder(_Flat):
    """Fully connected layers: d → width → … → width → d, or with a narrow linear code within.

    Args:
        shape: (channels, height, width) of an image; d is their product.
        width: elements of each hidden layer; wider than d makes the net overcomplete.
        depth: hidden layers, the code's included.
        code: elements of the code, the middle hidden layer, then without an activation (depth must
            be odd); None makes the middle hidden layer, activation and all, the code.
        activation: one of `ACTIVATIONS`; "linear" for a deep linear net. The output has none.
        start, gain: how the weights are drawn (`start_weights`).
        bias: whether each layer has one.
        skip: the share α of the input added to the output, O(a) = MLP(a) + α a; 1 makes a residual
            net.

    Source: chapter 1, "Encoder, code, decoder"; chapter 2 for the overcomplete case.
    """

    def __init__(self, shape, width: int = 512, depth: int = 5, *, code: int | None = None,
                 activation: str = "relu", start: str = "torch", gain: float = 1.0,
                 bias: bool = True, skip: float = 0.0):  # fmt: skip
        shape = check_shape(shape, width=width, depth=depth, code=1 if code is None else code)
        if code is not None and depth % 2 == 0:
            raise ValueError(f"depth: expected an odd number when a code is given, got {depth}")
        elements, middle = math.prod(shape), (depth - 1) // 2
        widths = [elements] + [width] * depth + [elements]
        if code is not None:
            widths[middle + 1] = code
        encoder, decoder = nn.Sequential(), nn.Sequential()
        for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
            part = encoder if index <= middle else decoder
            part.append(nn.Linear(fan_in, fan_out, bias))
            if index != depth and not (code is not None and index == middle):
                part.append(make_activation(activation))
        super().__init__(shape, encoder, decoder, skip)
        start_weights(self, start, gain)


class ConvAutoencoder(nn.Module):
    """3×3 convolutions of one width, at full size or halved `downs` times and doubled back.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by 2**downs.
        width: channels of each hidden layer.
        depth: convolutions in all, at least 2 (and 2·downs where the image is halved).
        downs: how often the encoder halves the image; 0 keeps every layer at full size.
        activation, start, gain, skip: as in `MLPAutoencoder`.

    Source: chapter 2, "The architecture decides which failure you get".
    """

    def __init__(self, shape, width: int = 32, depth: int = 4, *, downs: int = 0,
                 activation: str = "relu", start: str = "he", gain: float = 1.0,
                 skip: float = 0.0):  # fmt: skip
        super().__init__()
        self.shape = check_shape(shape, width=width, depth=depth)
        checks.whole(downs, "downs", least=0)
        if depth < max(2, 2 * downs):
            raise ValueError(
                f"depth: expected at least {max(2, 2 * downs)} for downs={downs}, got {depth}"
            )
        if any(size % 2**downs for size in self.shape[1:]):
            raise ValueError(
                f"shape: height and width must be divisible by {2**downs} for downs={downs}, "
                f"got {self.shape}"
            )
        self.skip = float(skip)
        half = depth // 2
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for index in range(depth):
            fan_in = self.shape[0] if index == 0 else width
            last = index == depth - 1
            part = encoder if index < half else decoder
            if index >= depth - downs:
                part.append(nn.Upsample(scale_factor=2))
            stride = 2 if index < downs else 1
            part.append(nn.Conv2d(fan_in, self.shape[0] if last else width, 3, stride, 1))
            if not last:
                part.append(make_activation(activation))
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)
        start_weights(self, start, gain)

    def encode(self, images: Tensor) -> Tensor:
        """The code z = E(a), shape (batch, width, height / 2**downs, width / 2**downs)."""
        return self.encoder(images)

    def decode(self, code: Tensor) -> Tensor:
        """The image D(z), without the skip."""
        return self.decoder(code)

    def forward(self, images: Tensor) -> Tensor:
        """O(a) = D(E(a)) + skip · a."""
        copied = self.decode(self.encode(images))
        return copied + self.skip * images if self.skip else copied

    def extra_repr(self) -> str:
        return f"shape={self.shape}, skip={self.skip}"
