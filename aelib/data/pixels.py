"""From a Pillow picture to a tensor: modes, transparency, size, channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LUMA = (0.299, 0.587, 0.114)  # Rec. 601, the weights of Pillow's own grey


def plain(picture: Picture) -> Picture:
    """The same picture as 8-bit RGB, or as mode F in [0, 1] where 8 bits would lose something.

    Transparency is laid over white. 16-bit values divide by 65,535. Floats must be finite and
    within [0, 1] or [0, 255]. Raises ValueError for values that no scale of these explains.
    """
    from PIL import Image

    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float32)
        low, high = values.min(), values.max()  # NaN, where there is one
        most = 255 if picture.mode == "F" else 65535
        if not (low >= 0 and high <= most):
            raise ValueError(f"values from {low:g} to {high:g}, expected 0 to {most}")
        white = 1 if picture.mode == "F" and high <= 1 else most
        return Image.fromarray(values / np.float32(white))
    if "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
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


def with_channels(images: Tensor, channels: int) -> Tensor:
    """(…, 1 or 3, height, width) with 1 (luma) or 3 (grey three times) channels."""
    if images.shape[-3] == channels:
        return images
    if channels == 3:
        return images.repeat_interleave(3, dim=-3)
    weights = torch.tensor(LUMA).view(3, 1, 1)
    return (images * weights).sum(-3, keepdim=True).clamp(0, 1)
