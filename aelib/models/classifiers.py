"""Small classifiers: a residual net and a vision transformer like the large ones, a plain one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from aelib import checks


class SmallResNet(nn.Module):
    """ResNet-50 in small: it keeps as many elements at each stage, as a share of the input's.

    For three channels `stem` and `stage1` return 5.3 times the input's elements, `stage2` 2.7,
    `stage3` 1.3 and `stage4` 0.67, as ResNet-50 does. `pool` averages over places, `head` gives one
    number a class. Each of these nodes runs once a call and returns one tensor.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by 16.
        classes: how many.
        width: channels of the stem; 16 gives the shares above.
        depth: bottleneck blocks a stage.

    Raises:
        ValueError, TypeError: for sizes that do not fit, and in a call for images of another shape.

    Source: He et al. (2016), arXiv 1512.03385; chapter 4.
    """

    def __init__(self, shape: Sequence[int], classes: int, width: int = 16, depth: int = 1):
        super().__init__()
        self.shape = checks.shape(shape, multiple=16)  # halved by each of four stages
        checks.counts(classes=classes, width=width, depth=depth)
        self.stem = nn.Sequential(
            nn.Conv2d(self.shape[0], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        # Halved at each stage: four times the channels, then twice.
        self.stage1 = _stage(width, 4 * width, depth)
        self.stage2 = _stage(4 * width, 8 * width, depth)
        self.stage3 = _stage(8 * width, 16 * width, depth)
        self.stage4 = _stage(16 * width, 32 * width, depth)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(32 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """One number a class, before a softmax: (batch, classes)."""
        checks.sized(images, self.shape)
        hidden = self.stage1(self.stem(images))
        hidden = self.stage4(self.stage3(self.stage2(hidden)))
        return self.head(self.pool(hidden))

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


def _stage(before: int, after: int, depth: int) -> nn.Sequential:
    first = Bottleneck(before, after, 2)
    return nn.Sequential(first, *(Bottleneck(after, after, 1) for _ in range(depth - 1)))


class Bottleneck(nn.Module):
    """A narrow 3×3 convolution between two of 1×1, with the input added at the end."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        narrow = max(after // 4, 1)
        self.branch = nn.Sequential(
            nn.Conv2d(before, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, stride, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = (
            nn.Identity()
            if before == after and stride == 1
            else nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )
        )

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.relu(self.shortcut(hidden) + self.branch(hidden))


class SmallViT(nn.Module):
    """A vision transformer in small: patches to tokens, blocks of attention, one class token.

    Nodes, in the order in which they run: `embedding`, `block0`, `block1`, …, each returning
    tokens (batch, 1 + patches, width), the class token first; `token`, that token, normalised,
    (batch, width); `head`, (batch, classes). Each runs once a call and returns one tensor.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by `patch`.
        classes: how many.
        patch: side of the square that becomes one token, in pixels.
        width: elements of a token, divisible by `heads`.
        depth: blocks.
        heads: of each attention.
        ratio: hidden elements of a block's MLP, as a multiple of the width.

    Raises:
        ValueError, TypeError: for sizes that do not fit, and in a call for images of another shape.

    Source: Dosovitskiy et al. (2021), arXiv 2010.11929; chapter 4.
    """

    def __init__(self, shape: Sequence[int], classes: int, patch: int = 4, width: int = 64,
                 depth: int = 6, heads: int = 4, ratio: int = 2):  # fmt: skip
        super().__init__()
        checks.counts(classes=classes, patch=patch, width=width, depth=depth, heads=heads)
        checks.counts(ratio=ratio)
        self.shape = checks.shape(shape, multiple=patch)
        if width % heads:
            raise ValueError(checks.message("heads", f"a divisor of width={width}", heads))
        patches = math.prod(size // patch for size in self.shape[1:])
        self.embedding = Embedding(self.shape[0], patch, width, patches)
        self.depth = depth
        for number in range(depth):
            self.add_module(f"block{number}", TransformerBlock(width, heads, ratio))
        self.token = ClassToken(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """One number a class, before a softmax: (batch, classes)."""
        checks.sized(images, self.shape)
        tokens = self.embedding(images)
        for number in range(self.depth):
            tokens = self.get_submodule(f"block{number}")(tokens)
        return self.head(self.token(tokens))

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class Embedding(nn.Module):
    """Patches as tokens, the class token before them, to each its position added."""

    def __init__(self, channels: int, patch: int, width: int, patches: int):
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + patches, width))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)  # (batch, patches, width)
        class_token = self.class_token.expand(len(tokens), -1, -1)
        return torch.cat([class_token, tokens], dim=1) + self.positions


class TransformerBlock(nn.Module):
    """Tokens look at each other, then each thinks for itself; the input added after both."""

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)  # queries, keys, values
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.qkv(self.before_attention(tokens))  # (batch, tokens, 3 · width)
        qkv = qkv.unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        queries, keys, values = qkv.unbind(2)  # each (batch, heads, tokens, width / heads)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        tokens = tokens + self.proj(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.before_mlp(tokens))


class ClassToken(nn.Module):
    """The first token, normalised: all that the head gets to see."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens[:, 0])


class SmallConvNet(nn.Module):
    """Four convolutions and a short description of the image: features by which sets are compared.

    Nodes: `body`, (batch, elements); `features`, (batch, features), not negative; `head`,
    (batch, classes). Trained on labelled images, `model.describe` is the space in which the book
    measures every Fréchet distance.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by 4.
        classes: how many.
        width: channels of the first convolution.
        features: elements of the description; a Fréchet distance needs more images than these.

    Raises:
        ValueError, TypeError: for sizes that do not fit, and in a call for images of another shape.

    Source: chapter 4.

    >>> model = SmallConvNet((1, 8, 8), classes=10)
    >>> model.describe(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 32])
    """

    def __init__(self, shape: Sequence[int], classes: int, width: int = 16, features: int = 32):
        super().__init__()
        self.shape = checks.shape(shape, multiple=4)  # halved by two convolutions
        checks.counts(classes=classes, width=width, features=features)
        self.body = nn.Sequential(
            *_convolved(self.shape[0], width),
            *_convolved(width, 2 * width, 2),
            *_convolved(2 * width, 2 * width),
            *_convolved(2 * width, 4 * width, 2),
            nn.Flatten(),
        )
        elements = 4 * width * math.prod(size // 4 for size in self.shape[1:])
        self.features = nn.Sequential(nn.Linear(elements, features), nn.ReLU())
        self.head = nn.Linear(features, classes)

    def describe(self, images: Tensor) -> Tensor:
        """The features of images: (batch, features)."""
        checks.sized(images, self.shape)
        return self.features(self.body(images))

    def forward(self, images: Tensor) -> Tensor:
        """One number a class, before a softmax: (batch, classes)."""
        return self.head(self.describe(images))

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


def _convolved(before: int, after: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()
