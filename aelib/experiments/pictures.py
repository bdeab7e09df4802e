"""Pictures as a run keeps them."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from aelib import checks


def on_screen(images: Tensor) -> Tensor:
    """Images in the 256 levels a screen shows them in, which take little room when they are kept.

    >>> import torch
    >>> on_screen(torch.tensor([-0.5, 0.5, 2.0])).tolist()
    [0.0, 0.501960813999176, 1.0]
    """
    return (images.detach().clamp(0, 1) * 255).round() / 255


def to_file(images: Tensor, quality: int | None = 85) -> np.ndarray:
    """Square colour images as the bytes of one file, side by side: a fifth of `on_screen`'s.

    Args:
        images: (n, 3, side, side), clipped to [0, 1]. Where 8 divides the side none leaks into the
            next.
        quality: of the JPEG, up to 95; None for a PNG, which gives `on_screen`'s back.

    Returns:
        Its bytes, whole numbers below 256, for `Result.keep`.

    >>> images = torch.zeros(2, 3, 8, 8)
    >>> images[1] = 1.0
    >>> from_file(to_file(images)).mean((1, 2, 3)).tolist()
    [0.0, 1.0]
    """
    from PIL import Image

    images = checks.images(images, "images")
    if images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(checks.message("images", "square ones of three channels", images))
    strip = on_screen(images).permute(2, 0, 3, 1).flatten(1, 2)  # (side, n · side, 3)
    file = io.BytesIO()
    pixels = Image.fromarray((strip * 255).round().byte().numpy(force=True))
    if quality is None:
        pixels.save(file, "png", optimize=True)
    else:
        pixels.save(file, "jpeg", quality=quality, subsampling=0)
    return np.frombuffer(file.getvalue(), np.uint8)


def from_file(content: np.ndarray) -> Tensor:
    """The images of `to_file`, (n, 3, side, side) floats in [0, 1]."""
    from PIL import Image

    with Image.open(io.BytesIO(np.asarray(content, np.uint8).tobytes())) as file:
        strip = torch.from_numpy(np.array(file)).float() / 255
    return strip.unflatten(1, (-1, len(strip))).permute(1, 3, 0, 2).contiguous()
