"""`UNet`: a convolutional autoencoder whose decoder may, or may not, see the encoder's features."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.models.init import init_weights, make_activation

SKIPS = {"none": 0, "concat": 1, "double": 2}  # copies of the encoder's features the decoder sees
# Channels last makes a step on a CPU a seventh to a quarter shorter: benchmarks/unet.py.
FASTER = torch.channels_last
NORMS = ("batch", "group", "none")


class OneImageBatch(UserWarning):
    """One image alone is being normalised by its own statistics."""


class UNet(nn.Module):
    """Convolutions that halve an image `downs` times and double it back, with or without skips.

    At level l, from 0 at full size to `downs`, there are width·2^l channels and two 3×3
    convolutions on the way down, two on the way up, each followed by the norm and the activation. A
    skip hands the features of a level on the way down to the same level on the way up.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by 2**downs.
        width: channels at full size.
        downs: how often the image is halved.
        skips: "none"; "concat", features concatenated with what comes from below; "double",
            concatenated twice. The second copy brings nothing new: it gives each feature two
            weights, so that a step moves their sum twice as far.
        norm: "batch", "group" (of 8 groups, or as many as divide the channels) or "none".
        hidden: units of a fully connected layer in the middle, or None for convolutions only.
        activation, init, gain: as in `MLPAutoencoder`.

    The weights lie in memory with their channels last. Where a writer asks for plain ones, move the
    model to torch.contiguous_format first.

    Raises:
        ValueError, TypeError: for sizes that do not fit, or unknown skips, norm or activation.

    Warns:
        OneImageBatch: when a batch of one is normalised by batch statistics, in training mode.

    Source: Ronneberger et al. (2015), arXiv 1505.04597; chapter 3, "With skips and without".

    >>> UNet((3, 8, 8), width=4, skips="concat")(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, shape: Sequence[int], width: int = 16, downs: int = 2, *,
                 skips: str = "none", norm: str = "batch", hidden: int | None = None,
                 activation: str = "relu", init: str = "he", gain: float = 1.0):  # fmt: skip
        super().__init__()
        checks.counts(width=width, downs=downs)
        self.shape = checks.shape(shape, multiple=2**downs)
        self.skips = checks.choice(skips, "skips", SKIPS)
        self.norm = checks.choice(norm, "norm", NORMS)
        widths = [width * 2**level for level in range(downs + 1)]

        def block(fan_in: int, fan_out: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (fan_in, fan_out):
                bias = norm != "batch"  # a batch norm would take it out again
                layers += [nn.Conv2d(channels, fan_out, 3, padding=1, bias=bias)]
                layers += [*make_norm(norm, fan_out), make_activation(activation)]
            return nn.Sequential(*layers)

        self.down = nn.ModuleList(
            block(before, after)
            for before, after in zip([self.shape[0], *widths], widths, strict=False)
        )
        self.halve = nn.MaxPool2d(2)
        self.middle = nn.Identity()
        if hidden is not None:
            checks.counts(hidden=hidden)
            small = (widths[-1], *(size // 2**downs for size in self.shape[1:]))
            self.middle = nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(small), hidden), make_activation(activation),
                nn.Linear(hidden, math.prod(small)), nn.Unflatten(1, small),
            )  # fmt: skip
        self.enlarge = nn.Upsample(scale_factor=2)
        self.up = nn.ModuleList(
            block(below + SKIPS[skips] * here, here)
            for here, below in zip(reversed(widths[:-1]), reversed(widths), strict=False)
        )
        self.last = nn.Conv2d(width, self.shape[0], 1)
        init_weights(self, init, gain)
        self.to(memory_format=FASTER)

    def encode(self, images: Tensor) -> Tensor:
        """The code z = E(a): (batch, width·2**downs, height / 2**downs, width / 2**downs)."""
        return self._down(images)[-1]

    def decode(self, code: Tensor) -> Tensor:
        """The image D(z).

        Raises:
            ValueError: with skips, for then the code is only a part of what the decoder needs.
        """
        if self.skips != "none":
            advice = "with skips the decoder also needs the encoder's features: use model(images)"
            raise ValueError(checks.message("skips", "'none' for decode", self.skips, advice))
        return self._up(code, [])

    def forward(self, images: Tensor) -> Tensor:
        """O(a)."""
        if self.training and self.norm == "batch" and len(images) == 1:
            warnings.warn(
                "a batch of one image under batch statistics: each layer subtracts the mean of "
                "this one image and divides by its deviation, so brightness and contrast are "
                "lost; use larger batches, model.eval() for running statistics, or norm='group'",
                OneImageBatch,
                stacklevel=2,
            )
        *features, code = self._down(images)
        return self._up(code, features)

    def _down(self, images: Tensor) -> list[Tensor]:
        """What each level hands on, the last one being the code."""
        features = [self.down[0](images)]
        for block in self.down[1:]:
            features.append(block(self.halve(features[-1])))
        features[-1] = self.middle(features[-1])
        return features

    def _up(self, code: Tensor, features: list[Tensor]) -> Tensor:
        copies = SKIPS[self.skips]
        for level, block in enumerate(self.up, 1):
            skipped = [features[-level]] * copies if copies else []
            code = block(torch.cat([self.enlarge(code), *skipped], dim=-3))
        return self.last(code).contiguous()

    def extra_repr(self) -> str:
        return f"shape={self.shape}, skips={self.skips!r}, norm={self.norm!r}"


def make_norm(norm: str, channels: int) -> list[nn.Module]:
    """The normalisation called `norm`, as a list of at most one layer."""
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    return [nn.GroupNorm(math.gcd(8, channels), channels)] if norm == "group" else []
