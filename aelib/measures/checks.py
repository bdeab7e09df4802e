"""What may be measured: images, bases, spectra and numbers, refused with a reason or returned."""

from __future__ import annotations

import math
from numbers import Integral

import torch
from torch import Tensor

from aelib import random


def as_images(images: Tensor, name: str, like: Tensor | None = None, paired: bool = True) -> Tensor:
    """Finite images (n, channels, height, width); shaped as `like` and moved to where it is."""
    if not isinstance(images, Tensor) or images.dtype not in (torch.float32, torch.float64):
        found = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{name} must be a float32 or float64 tensor, got {found}; try .float()")
    if images.dim() != 4 or images.numel() == 0:
        raise ValueError(
            f"{name} must be (n, channels, height, width) with at least one image, got shape "
            f"{tuple(images.shape)}"
        )
    first = 0 if paired else 1  # paired: one for one, so as many of them too
    if like is not None and images.shape[first:] != like.shape[first:]:
        raise ValueError(
            f"{name} must have shape {'' if paired else '(n, ...) with '}"
            f"{tuple(like.shape[first:])}, got {tuple(images.shape[first:])}"
        )
    if not images.isfinite().all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity; look where from")
    return images.detach() if like is None else images.detach().to(like)


def as_vector(mean: Tensor, images: Tensor) -> Tensor:
    """A mean image as (d,), in the images' dtype and place."""
    mean = torch.as_tensor(mean).detach()
    if mean.numel() != images[0].numel() or not mean.isfinite().all():
        raise ValueError(
            f"mean must be {images[0].numel()} finite numbers, got shape {tuple(mean.shape)}"
        )
    return mean.to(images).flatten()


def as_orthonormal(directions: Tensor, images: Tensor) -> Tensor:
    """A basis (k, d) with orthonormal rows, in the images' dtype and place."""
    directions, d = torch.as_tensor(directions).detach(), images[0].numel()
    if directions.dim() != 2 or len(directions) == 0 or directions.shape[1] != d:
        raise ValueError(f"directions must be (k, {d}), got shape {tuple(directions.shape)}")
    directions = directions.to(images)
    gap = directions @ directions.T - torch.eye(len(directions)).to(images)
    if not gap.abs().max() < 1e-3:
        raise ValueError("the rows of directions must be orthonormal; use torch.linalg.qr on them")
    return directions


def as_spectrum(variances: Tensor) -> Tensor:
    """Variances in one row, finite and not negative, in float64."""
    variances = torch.as_tensor(variances, dtype=torch.float64).detach()
    if variances.dim() != 1 or len(variances) == 0:
        raise ValueError(f"variances must be one row of numbers, got {tuple(variances.shape)}")
    if not ((variances >= 0) & variances.isfinite()).all():
        raise ValueError("variances must be finite and not negative")
    return variances


def as_number(value: float, name: str, or_zero: bool = False) -> float:
    """A finite number above 0, or at least 0."""
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be one number, got {value!r}") from error
    if not (math.isfinite(number) and (number > 0 or (or_zero and number == 0))):
        raise ValueError(
            f"{name} must be {'0 or more' if or_zero else 'above 0'} and finite, got {value!r}"
        )
    return number


def check_count(value: int, name: str, low: int, high: float = math.inf, limit: str = "") -> None:
    """Refuse anything but a whole number from low to high; `limit` says what high is."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        upper = f" to {high} ({limit})" if limit else " or more"
        raise ValueError(f"{name} must be a whole number, {low}{upper}, got {value!r}")


def check_noise(energy: Tensor) -> None:
    """Refuse noise of energy 0, for measures divide by it."""
    if (energy == 0).any():
        raise ValueError(
            f"the noise left image {int((energy == 0).nonzero()[0])} unchanged; raise sigma, or "
            "use float64 if it is below rounding"
        )


def as_generator(seed: int | torch.Generator) -> torch.Generator:
    """The generator given, or a fresh one started at the seed."""
    return seed if isinstance(seed, torch.Generator) else random.generator(seed)
