"""A U-Net with self-attention that is told the time: the model of diffusion."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from aelib import checks, runtime

GROUPS = 8  # of group normalisation; every width is a multiple of it
WIDEST = 4  # channels stop doubling at this many times the width


class DiffusionUNet(nn.Module):
    """Residual blocks down, a middle, residual blocks up; attention where asked for; skips or none.

    Called as model(x, times) with one whole number of time an example, or as model(x) with
    time=False. Returns the shape it gets. Level 0 has a place for every patch of the image, level
    l is halved l times and has width · min(2**l, 4) channels.

    Nodes, in the order in which they run: `stem`, `encoder.0`, `down.0`, `encoder.1`, …,
    `mid.block1`, `mid.attention`, `mid.block2`, `mid`, …, `decoder.1`, `up.0`, `decoder.0`,
    `output`. Each runs once a call and returns one tensor (batch, channels, height, width).
    `mid.attention` is there if the lowest level has attention. A skip carries what `encoder.l`
    returns to `decoder.l`, beside what comes from below.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by
            patch · 2**downs.
        width: channels at level 0, a multiple of 8.
        downs: how often the image is halved.
        attention: the levels that have self-attention; () for none, None for the lowest alone.
        skips: whether the decoder sees the encoder's levels.
        time: whether the model is told the time.
        steps: times run from 0 to steps − 1, as a schedule's do.
        patch: pixels along each side of a patch, which are one place to the net; 2 makes it four
            times as cheap as 1, and loses nothing, for a place has as many channels more.
        gain: of the last layer of each residual branch and of the output, at the start. 0 is the
            zero start of Ho et al.: until it is trained, such a model's output carries nothing, so
            there is nothing in it to invert.

    Attributes:
        schedule_digest: of the schedule it was trained with, so that no other samples from it; None
            before training, and in weights alone (`state_dict`), which do not hold it.
        diffusion_target: what it was trained to answer, one of `objectives.TARGETS`; likewise.

    Raises:
        ValueError, TypeError: for sizes that do not fit, and in a call for images of another shape
            or times of the wrong dtype, shape or range. The range is looked at on a CPU only:
            elsewhere that look would wait for the device at every step.

    Source: Ho et al. (2020), arXiv 2006.11239, appendix B; Ronneberger et al. (2015), arXiv
    1505.04597; chapter 4.

    >>> model = DiffusionUNet((1, 8, 8), width=8, steps=200)
    >>> model(torch.rand(2, 1, 8, 8), torch.tensor([0, 199])).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, shape: Sequence[int], width: int = 32, downs: int = 1, *,
                 attention: Sequence[int] | None = None, skips: bool = True, time: bool = True,
                 steps: int = 1000, patch: int = 1, gain: float = 1.0):  # fmt: skip
        super().__init__()
        checks.counts(width=width, steps=steps, patch=patch)
        checks.whole(downs, "downs", least=0)
        checks.number(gain, "gain", least=0)
        if width % GROUPS:
            advice = f"try {-(-width // GROUPS) * GROUPS}"
            raise ValueError(checks.message("width", f"a multiple of {GROUPS}", width, advice))
        if not isinstance(skips, bool):
            raise TypeError(checks.message("skips", "True or False", skips))
        self.shape = checks.shape(shape, multiple=patch * 2**downs)
        self.steps = steps if time else None
        self.skips, self.width, self.patch = skips, width, patch
        self.schedule_digest: str | None = None
        self.diffusion_target: str | None = None
        levels = (downs,) if attention is None else attention
        if not isinstance(levels, Sequence):
            advice = f"({downs},) is the lowest alone"
            raise TypeError(checks.message("attention", "a tuple of levels", levels, advice))
        for level in levels:
            checks.whole(level, "attention", least=0, most=downs, limit="downs")
        channels = [width * min(2**level, WIDEST) for level in range(downs + 1)]
        embedded = 4 * width if time else 0
        self.time_embedding = None
        if time:
            self.time_embedding = nn.Sequential(
                nn.Linear(width, embedded), nn.SiLU(), nn.Linear(embedded, embedded), nn.SiLU()
            )
        channels_in = self.shape[0] * patch**2
        self.stem = nn.Conv2d(channels_in, width, 3, padding=1)
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.up = nn.ModuleList(), nn.ModuleList()
        for level, here in enumerate(channels):
            above, below = channels[max(level - 1, 0)], channels[min(level + 1, downs)]
            attends = level in levels
            self.encoder.append(Stage(above, here, embedded, attends, gain))
            self.decoder.append(Stage(below + skips * here, here, embedded, attends, gain))
            if level < downs:
                self.down.append(nn.Conv2d(here, here, 3, stride=2, padding=1))
                self.up.append(
                    nn.Sequential(
                        nn.Upsample(scale_factor=2), nn.Conv2d(below, below, 3, padding=1)
                    )
                )
        self.mid = MidBlock(channels[-1], embedded, downs in levels, gain)
        last = _scaled(nn.Conv2d(width, channels_in, 3, padding=1), gain)
        self.output = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), last, nn.PixelShuffle(patch)
        )

    def forward(self, images: Tensor, times: Tensor | None = None) -> Tensor:
        """What it says of `images`, (batch, channels, height, width), at `times`, (batch,)."""
        embedding = self._embedding(images, times)
        hidden, features = self.stem(functional.pixel_unshuffle(images, self.patch)), []
        for level, stage in enumerate(self.encoder):
            hidden = stage(
                hidden, embedding
            )  # (batch, channels of the level, height / 2**level, …)
            features.append(hidden)
            if level < len(self.down):
                hidden = self.down[level](hidden)
        hidden = self.mid(hidden, embedding)
        for level in reversed(range(len(self.decoder))):
            if level < len(self.up):
                hidden = self.up[level](hidden)
            if self.skips:
                hidden = torch.cat([hidden, features[level]], dim=1)
            hidden = self.decoder[level](hidden, embedding)
        return self.output(hidden)

    def _embedding(self, images: Tensor, times: Tensor | None) -> Tensor | None:
        """The times as the blocks are told them, (batch, 4 · width); checks both arguments."""
        checks.sized(images, self.shape)
        if self.time_embedding is None or self.steps is None:
            if times is not None:
                raise ValueError(
                    checks.message("times", "none, for the model has time=False", times)
                )
            return None
        expected = f"{len(images)} whole numbers, one for each image"
        if not isinstance(times, Tensor) or times.dtype not in (torch.int64, torch.int32):
            advice = "call model(images, times)" if times is None else "use times.long()"
            raise TypeError(checks.message("times", expected, times, advice))
        if times.shape != images.shape[:1]:
            advice = f"use times.expand({len(images)})"
            raise ValueError(checks.message("times", expected, times, advice))
        if runtime.is_cpu(times.device):
            with contextlib.suppress(RuntimeError):  # under vmap no value can be looked at
                checks.labels(times, len(times), "times", self.steps)
        waves = sinusoidal_embedding(times, self.width)
        return self.time_embedding(waves.to(images.dtype))

    def extra_repr(self) -> str:
        return f"shape={self.shape}, patch={self.patch}, skips={self.skips}, steps={self.steps}"


def sinusoidal_embedding(times: Tensor, width: int) -> Tensor:
    """Sines and cosines of the times, of periods from 2π to 2π · 10,000: (batch, width), float32.

    Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.5; chapter 4.
    """
    half = width // 2
    rates = torch.exp(
        -math.log(10_000) / max(half - 1, 1) * torch.arange(half, device=times.device)
    )
    angles = times[:, None] * rates  # (batch, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Stage(nn.Module):
    """One residual block and, where asked for, attention: what `encoder.l` and `decoder.l` are."""

    def __init__(self, before: int, after: int, embedded: int, attention: bool, gain: float):
        super().__init__()
        self.block = ResBlock(before, after, embedded, gain)
        self.attention = Attention(after, gain) if attention else None

    def forward(self, hidden: Tensor, embedding: Tensor | None) -> Tensor:
        hidden = self.block(hidden, embedding)
        return hidden if self.attention is None else self.attention(hidden)


class MidBlock(nn.Module):
    """A residual block, attention where asked for, a residual block, all at the lowest level."""

    def __init__(self, channels: int, embedded: int, attention: bool, gain: float):
        super().__init__()
        self.block1 = ResBlock(channels, channels, embedded, gain)
        self.attention = Attention(channels, gain) if attention else None
        self.block2 = ResBlock(channels, channels, embedded, gain)

    def forward(self, hidden: Tensor, embedding: Tensor | None) -> Tensor:
        hidden = self.block1(hidden, embedding)
        if self.attention is not None:
            hidden = self.attention(hidden)
        return self.block2(hidden, embedding)


class ResBlock(nn.Module):
    """Twice norm, activation, convolution; the time comes in between, the input at the end."""

    def __init__(self, before: int, after: int, embedded: int, gain: float):
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.time_proj = nn.Linear(embedded, after) if embedded else None
        last = nn.Conv2d(after, after, 3, padding=1)
        self.second = nn.Sequential(nn.GroupNorm(GROUPS, after), nn.SiLU(), _scaled(last, gain))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, hidden: Tensor, embedding: Tensor | None) -> Tensor:
        inner = self.first(hidden)
        if self.time_proj is not None:
            inner = inner + self.time_proj(embedding)[:, :, None, None]
        return self.shortcut(hidden) + self.second(inner)


class Attention(nn.Module):
    """Every pixel of a feature map looks at every other: self-attention."""

    def __init__(self, channels: int, gain: float):
        super().__init__()
        self.heads = max(1, channels // 64)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)  # queries, keys, values
        self.proj = _scaled(nn.Conv2d(channels, channels, 1), gain)

    def forward(self, hidden: Tensor) -> Tensor:
        _, channels, height, width = hidden.shape
        qkv = self.qkv(self.norm(hidden)).flatten(2)  # (batch, 3 · channels, pixels)
        qkv = qkv.unflatten(1, (3, self.heads, channels // self.heads)).transpose(-2, -1)
        queries, keys, values = qkv.unbind(1)  # each (batch, heads, pixels, channels / heads)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        attended = attended.transpose(-2, -1).flatten(1, 2)  # (batch, channels, pixels)
        return hidden + self.proj(attended.unflatten(-1, (height, width)))


@torch.no_grad()
def _scaled(layer: nn.Module, gain: float) -> nn.Module:
    """A layer whose first weights are multiplied by `gain`."""
    for parameter in layer.parameters():
        parameter.mul_(gain)
    return layer
