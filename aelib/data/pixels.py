"""From an image file to a tensor: the right way up, transparency, depth, size, channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aelib import checks

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LUMA = (0.299, 0.587, 0.114)  # Rec. 601, the weights of Pillow's own grey

# How far a float picture may reach beyond [0, 1] and be clipped: what resampling with negative
# lobes (bicubic, Lanczos) adds at an edge. More is another scale, or more light than a screen has.
OVERSHOOT = 0.25


def check_channels(channels: int) -> None:
    """Channels that images can be turned into: 1 or 3."""
    if checks.whole(channels, "channels") not in (1, 3):
        raise ValueError(checks.message("channels", "1 (grey) or 3 (colour)", channels))


def open_plain(path: Path) -> tuple[Picture, bool]:
    """A file as a plain picture, the right way up; and whether Pillow cut its colours to 8 bits."""
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        deep = re.search(r"[A-Za-z];16[BLN]|'ppm'.*'RGB', \d{4,}\)", str(picture.tile))
        cut = deep is not None and picture.mode[0] not in "IF"  # asked before the pixels are read
        return plain(ImageOps.exif_transpose(picture)), cut


def plain(picture: Picture) -> Picture:
    """The same picture as 8-bit RGB, or as mode F in [0, 1] where 8 bits would lose something.

    Transparency is laid over white. Grey of 16 or 32 bits divides by 65,535; floats are taken to be
    in [0, 1] already and are clipped where they overshoot it by no more than `OVERSHOOT`: a file's
    own range never decides how bright it is. Raises ValueError for values beyond.
    """
    from PIL import Image

    clear = picture.info.get("transparency")
    if picture.mode[0] in "IF":
        white, spare = (1, OVERSHOOT) if picture.mode == "F" else (65535, 0)
        values = np.asarray(picture).astype(np.float32)
        values[values == clear] = white
        low, high = values.min(), values.max()  # NaN, where there is one
        if not (-spare <= low and high <= white + spare):
            raise ValueError(f"values from {low:g} to {high:g}, expected 0 to {white}")
        return Image.fromarray((values / np.float32(white)).clip(0, 1))
    if clear is not None or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        opaque = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(opaque, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def pixels_of(
    picture: Picture, size: tuple[int, int], box: tuple[int, int, int, int]
) -> np.ndarray:
    """The part of a plain picture inside `box`, averaged to (width, height).

    float32 in [0, 1], (1 or 3, height, width). In numpy, since torch's threads take longer to
    start than one small image takes to convert.
    """
    from PIL import Image

    # Pillow widens this filter as it shrinks a picture, so nothing aliases.
    values = np.array(picture.resize(size, Image.Resampling.BILINEAR, box=box), np.float32)
    if values.ndim == 2:  # mode F, already in [0, 1]
        return values.clip(0, 1)[None]  # (1, height, width)
    return np.ascontiguousarray(values.transpose(2, 0, 1)) / np.float32(255)  # (3, height, width)


def tensor_of(picture: Picture, size: int | None, channels: int) -> Tensor:
    """A plain picture's centre square, averaged to `size`; with None the whole of it as it is."""
    width, height = picture.size
    if size is None:
        pixels = pixels_of(picture, picture.size, (0, 0, width, height))
    else:
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        pixels = pixels_of(picture, (size, size), (left, top, left + short, top + short))
    return with_channels(torch.from_numpy(pixels), channels)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """(…, 1 or 3, height, width) with 1 (luma) or 3 (grey three times) channels."""
    if images.shape[-3] == channels:
        return images
    if channels == 3:
        return images.repeat_interleave(3, dim=-3)
    weights = torch.tensor(LUMA).view(3, 1, 1)
    return (images * weights).sum(-3, keepdim=True).clamp(0, 1)
