"""A U-Net with self-attention that is told the time: the net of a diffusion model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from aelib import checks, runtime
from aelib.models.checks import check_gain, check_shape

GROUPS = 8  # of group normalisation; every width is a multiple of it
WIDEST = 4  # channels stop doubling at this many times the width


class DiffusionUNet(nn.Module):
    """Residual blocks down, a middle, residual blocks up; attention where asked for; skips or none.

    Called as net(x, times) with one whole number of time an example, or as net(x) with time=False.
    Returns the shape it gets. Level 0 is full size, level l is halved l times and has
    width · min(2**l, 4) channels.

    Nodes, in the order in which they run: `stem`, `encoder.0`, `down.0`, `encoder.1`, …,
    `middle.before`, `middle.attention`, `middle.after`, …, `decoder.1`, `up.1`, `decoder.0`,
    `output`. Each runs once a call and returns one tensor (batch, channels, height, width).
    `middle.attention` is there if the lowest level has attention. A skip carries what `encoder.l`
    returns to `decoder.l`, beside what comes from below.

    Args:
        shape: (channels, height, width) of an image; height and width divisible by 2**downs.
        width: channels at full size, a multiple of 8.
        downs: how often the image is halved.
        attention: the levels that have self-attention; () for none, None for the lowest alone.
        skips: whether the decoder sees the encoder's levels.
        time: whether the net is told the time.
        steps: times run from 0 to steps − 1, as a schedule's do.
        gain: of the last layer of each residual branch and of the output, at the start. 0 is the
            zero start of Ho et al.: until it is trained, such a net's output carries nothing, so
            there is nothing in it to invert.

    Raises:
        ValueError, TypeError: for sizes that do not fit, and in a call for images of another shape
            or times of the wrong dtype, shape or range. The range is looked at on a CPU only:
            elsewhere that look would wait for the device at every step.

    Source: Ho et al. (2020), arXiv 2006.11239, appendix B; Ronneberger et al. (2015), arXiv
    1505.04597; chapter 4.
    """

    def __init__(self, shape, width: int = 32, downs: int = 1, *,
                 attention: Sequence[int] | None = None, skips: bool = True, time: bool = True,
                 steps: int = 1000, gain: float = 1.0):  # fmt: skip
        super().__init__()
        self.shape = check_shape(shape, width=width)
        checks.whole(downs, "downs", least=0)
        checks.whole(steps, "steps", least=1)
        self.steps = steps if time else None
        if width % GROUPS:
            raise ValueError(
                f"width: expected a multiple of {GROUPS}, got {width}; try {-(-width // 8) * 8}"
            )
        if any(size % 2**downs for size in self.shape[1:]):
            raise ValueError(
                f"shape: height and width must be divisible by {2**downs} for downs={downs}, "
                f"got {self.shape}"
            )
        check_gain(gain)
        if attention is not None and not isinstance(attention, Iterable):
            raise TypeError(
                f"attention: expected the levels as a tuple, such as ({downs},), or () for none, "
                f"got {attention!r}"
            )
        attention = (downs,) if attention is None else tuple(attention)
        for level in attention:
            if checks.whole(level, "attention", least=0) > downs:
                raise ValueError(
                    f"attention: levels run from 0 to {downs} (downs), got {list(attention)}"
                )
        if not isinstance(skips, bool):
            raise TypeError(f"skips: expected True or False, got {skips!r}")
        self.skips, self.width = skips, width
        channels = [width * min(2**level, WIDEST) for level in range(downs + 1)]
        told = 4 * width if time else 0
        self.time = (
            nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
            if time
            else None
        )
        self.stem = nn.Conv2d(self.shape[0], width, 3, padding=1)
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.up = nn.ModuleList(), nn.ModuleList()
        for level, wide in enumerate(channels):
            above, below = channels[max(level - 1, 0)], channels[min(level + 1, downs)]
            there = level in attention
            self.encoder.append(Level(above, wide, told, there, gain))
            self.decoder.append(Level(below + skips * wide, wide, told, there, gain))
            if level < downs:
                self.down.append(nn.Conv2d(wide, wide, 3, stride=2, padding=1))
                self.up.append(
                    nn.Sequential(
                        nn.Upsample(scale_factor=2), nn.Conv2d(below, below, 3, padding=1)
                    )
                )
        self.middle = Middle(channels[-1], told, downs in attention, gain)
        self.output = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, self.shape[0], 3, padding=1)
        )
        _scale(self.output[-1], gain)

    def forward(self, images: Tensor, times: Tensor | None = None) -> Tensor:
        """What the net says of `images`, (batch, channels, height, width), at `times`, (batch,)."""
        told = self._told(images, times)
        hidden, kept = self.stem(images), []
        for level, block in enumerate(self.encoder):
            hidden = block(hidden, told)  # (batch, channels of the level, height / 2**level, …)
            kept.append(hidden)
            if level < len(self.down):
                hidden = self.down[level](hidden)
        hidden = self.middle(hidden, told)
        for level in reversed(range(len(self.decoder))):
            if level < len(self.up):
                hidden = self.up[level](hidden)
            if self.skips:
                hidden = torch.cat([hidden, kept[level]], dim=1)
            hidden = self.decoder[level](hidden, told)
        return self.output(hidden)

    def _told(self, images: Tensor, times: Tensor | None) -> Tensor | None:
        """What the blocks are told of the time, (batch, 4 · width); checks both arguments."""
        if images.dim() != 4 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"images: expected (batch, {', '.join(map(str, self.shape))}), got "
                f"{tuple(images.shape)}; build the net for their shape"
            )
        if self.time is None:
            if times is not None:
                raise ValueError("times: this net was built with time=False; call net(images)")
            return None
        if times is None:
            raise TypeError("times: expected one time for each image, net(images, times)")
        if not isinstance(times, Tensor) or times.dtype not in (torch.int64, torch.int32):
            came = times.dtype if isinstance(times, Tensor) else repr(times)
            raise TypeError(f"times: expected whole numbers in a tensor, got {came}; try .long()")
        if times.shape != images.shape[:1]:
            raise ValueError(
                f"times: expected one for each image, shape ({len(images)},), got "
                f"{tuple(times.shape)}; try times.expand({len(images)})"
            )
        outside = False
        if runtime.is_cpu(times.device):
            with contextlib.suppress(RuntimeError):  # under vmap no value can be looked at
                outside = bool(((times < 0) | (times >= self.steps)).any())
        if outside:
            raise ValueError(
                f"times: expected 0 to {self.steps - 1} (steps), got {int(times.min())} to "
                f"{int(times.max())}"
            )
        return self.time(time_waves(times, self.width).to(images.dtype))

    def extra_repr(self) -> str:
        return f"shape={self.shape}, skips={self.skips}, steps={self.steps}"


def time_waves(times: Tensor, width: int) -> Tensor:
    """Sines and cosines of the times, of periods from 2π to 2π · 10,000: (batch, width), float32.

    Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.5; chapter 4.
    """
    half = width // 2
    rates = torch.exp(
        -math.log(10_000) / max(half - 1, 1) * torch.arange(half, device=times.device)
    )
    angles = times[:, None] * rates  # (batch, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Level(nn.Module):
    """One residual block and, where asked for, attention: what `encoder.l` and `decoder.l` are."""

    def __init__(self, before: int, after: int, told: int, attention: bool, gain: float):
        super().__init__()
        self.block = Block(before, after, told, gain)
        self.attention = Attention(after, gain) if attention else None

    def forward(self, hidden: Tensor, told: Tensor | None) -> Tensor:
        hidden = self.block(hidden, told)
        return hidden if self.attention is None else self.attention(hidden)


class Middle(nn.Module):
    """A residual block, attention where asked for, a residual block, all at the lowest level."""

    def __init__(self, channels: int, told: int, attention: bool, gain: float):
        super().__init__()
        self.before = Block(channels, channels, told, gain)
        self.attention = Attention(channels, gain) if attention else None
        self.after = Block(channels, channels, told, gain)

    def forward(self, hidden: Tensor, told: Tensor | None) -> Tensor:
        hidden = self.before(hidden, told)
        if self.attention is not None:
            hidden = self.attention(hidden)
        return self.after(hidden, told)


class Block(nn.Module):
    """Twice norm, activation, convolution; the time comes in between, the input at the end."""

    def __init__(self, before: int, after: int, told: int, gain: float):
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.time = nn.Linear(told, after) if told else None
        self.second = nn.Sequential(
            nn.GroupNorm(GROUPS, after), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1)
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        _scale(self.second[-1], gain)

    def forward(self, hidden: Tensor, told: Tensor | None) -> Tensor:
        inner = self.first(hidden)
        if self.time is not None:
            inner = inner + self.time(told)[:, :, None, None]
        return self.shortcut(hidden) + self.second(inner)


class Attention(nn.Module):
    """Every place looks at every other: self-attention over the pixels of a feature map."""

    def __init__(self, channels: int, gain: float, heads: int | None = None):
        super().__init__()
        self.heads = heads or max(1, channels // 64)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.asks = nn.Conv2d(channels, 3 * channels, 1)  # queries, keys, values
        self.answers = nn.Conv2d(channels, channels, 1)
        _scale(self.answers, gain)

    def forward(self, hidden: Tensor) -> Tensor:
        _, channels, height, width = hidden.shape
        asked = self.asks(self.norm(hidden)).flatten(2)  # (batch, 3 · channels, places)
        asked = asked.unflatten(1, (3, self.heads, channels // self.heads)).transpose(-2, -1)
        queries, keys, values = asked.unbind(1)  # each (batch, heads, places, channels / heads)
        seen = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
        seen = seen.transpose(-2, -1).flatten(1, 2)  # (batch, channels, places)
        return hidden + self.answers(seen.unflatten(-1, (height, width)))


def _scale(layer: nn.Conv2d, gain: float) -> None:
    """Multiply a layer's first weights by `gain`."""
    with torch.no_grad():
        layer.weight.mul_(gain)
        layer.bias.mul_(gain)
