"""`check_images`: stop bad images before a long run."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor


class ValueRangeWarning(UserWarning):
    """Some values lie outside [-1, 1], the widest range the book's nets are made for."""


def check_images(images: Tensor, name: str = "images") -> None:
    """Stop bad images before they cost an hour. Reads the tensor once and changes nothing.

    Args:
        images: expected floating-point, finite, (n, channels, height, width), n at least 1.
        name: what the caller calls them, for the messages.

    Raises:
        TypeError: if they are no tensor, or hold whole numbers or complex ones.
        ValueError: for another number of axes, no values, values that are not finite, or values
            beyond [-10, 10].

    Warns:
        ValueRangeWarning: for values outside [-1, 1].
    """
    expected = "expected a floating-point tensor of shape (n, channels, height, width)"
    if not isinstance(images, Tensor):
        hint = "; use torch.from_numpy" if isinstance(images, np.ndarray) else ""
        raise TypeError(f"{name}: {expected}, got {type(images).__name__}{hint}")
    if not images.is_floating_point():
        hint = f"; use {name}.float() / 255" if images.dtype == torch.uint8 else ""
        raise TypeError(f"{name}: {expected}, got {images.dtype}{hint}")
    if images.ndim != 4:
        hint = f"; for one image use {name}[None]" if images.ndim == 3 else ""
        raise ValueError(f"{name}: {expected}, got shape {tuple(images.shape)}{hint}")
    if images.numel() == 0:
        raise ValueError(f"{name}: {expected} with values in it, got shape {tuple(images.shape)}")
    low, high = (float(value) for value in images.detach().aminmax())  # NaN, where there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        where = (~images.detach().isfinite()).nonzero()
        raise ValueError(
            f"{name}: expected finite values, got {len(where)} that are NaN or infinite, the first"
            f" at {name}{where[0].tolist()}"
        )
    span = f"values from {low:.4g} to {high:.4g}"
    if low < -10 or high > 10:
        raise ValueError(
            f"{name}: expected values in [0, 1], got {span};"
            " if they run from 0 to 255, divide by 255"
        )
    if low < -1 or high > 1:
        warnings.warn(
            f"{name}: {span}; the book's nets are made for [0, 1] or [-1, 1]",
            ValueRangeWarning,
            stacklevel=2,
        )
