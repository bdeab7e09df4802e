"""Autoencoders as plain modules: linear, fully connected, convolutional. No training code here.

Every model maps images (batch, channels, height, width) to images of the same shape, and has
`encode` and `decode`, whose composition (plus the skip, if any) is its `forward`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from aelib.runtime import check_whole, nearest, seeded

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}

# Standard deviation of a weight at the start, times √fan_in.
STARTS = {"torch": 1 / math.sqrt(3), "lecun": 1.0, "he": math.sqrt(2)}


def replicate(build: Callable[[], nn.Module], seeds: int = 3, first: int = 0) -> list[nn.Module]:
    """`seeds` models from `build()`, the i-th one started from seed `first` + i.

    The global generator is left as it was. `fit` trains the list in one call.
    """
    check_whole("seeds", seeds, least=1)
    check_whole("first", first)
    models = []
    for seed in range(first, first + seeds):
        with seeded(seed):
            models.append(build())
    return models


def start_weights(model: nn.Module, start: str = "torch", gain: float = 1.0) -> nn.Module:
    """Draw every weight matrix of `model` anew: independent, mean 0, deviation gain·c/√fan_in.

    c is 1/√3 for "torch" (uniform; what PyTorch draws by default), 1 for "lecun" and √2 for "he"
    (normal). Biases follow PyTorch's default for "torch" and are 0 otherwise, times gain too.

    Raises:
        ValueError: for an unknown start, or a gain that is negative or not finite.
    """
    if start not in STARTS:
        raise ValueError(f"start is {start!r}; {nearest(start, list(STARTS))}")
    if not 0 <= gain < math.inf:
        raise ValueError(f"gain: expected a finite number, 0 or more, got {gain}")
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        fan_in = layer.weight[0].numel()
        bound = gain / math.sqrt(fan_in)
        if start == "torch":
            nn.init.uniform_(layer.weight, -bound, bound)
        else:
            nn.init.normal_(layer.weight, std=bound * STARTS[start])
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -bound, bound) if start == "torch" else nn.init.zeros_(
                layer.bias
            )
    return model


def _check(shape, **counts: int) -> tuple[int, int, int]:
    """`shape` as (channels, height, width), after checking it and the named positive counts."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    if len(sizes) != 3 or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(
            f"shape: expected (channels, height, width), such as (3, 32, 32), got {shape!r}"
        )
    for name, count in counts.items():
        check_whole(name, count, least=1)
    return sizes


def _activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; {nearest(name, list(ACTIVATIONS))}")
    return ACTIVATIONS[name]()


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
        shape = _check(shape, code=1 if code is None else code)
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
        shape = _check(shape, width=width, depth=depth, code=1 if code is None else code)
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
                part.append(_activation(activation))
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
        self.shape = _check(shape, width=width, depth=depth)
        check_whole("downs", downs, least=0)
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
                part.append(_activation(activation))
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


def count_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside the block the model is in evaluation mode; afterwards each module is in its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def check_copies(model: nn.Module, images: Tensor) -> None:
    """Raise a clear error unless `model` maps two of `images` to finite images of the same shape.

    The model's mode and buffers, and the global generators, are left as they were.
    """
    pair = images[:2]
    what = f"{tuple(pair.shape[1:])} of {pair.dtype}"
    try:
        with evaluating(model), torch.no_grad(), seeded(None, pair.device):
            output = model(pair.clone())
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"model: it cannot take these images, {what} each; build it for their shape and dtype "
            f"({error})"
        ) from error
    if not isinstance(output, Tensor) or output.shape != pair.shape:
        came = tuple(output.shape[1:]) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"model: an autoencoder gives back the shape it gets, {tuple(pair.shape[1:])} for each "
            f"image, but this one returns {came}; change the model's shape argument or its last "
            "layer"
        )
    if not torch.isfinite(output).all():
        raise ValueError(
            "model: its output is not finite before any training; try a smaller gain at the start"
        )
