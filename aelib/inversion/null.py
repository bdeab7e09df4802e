"""How far apart a layer holds different images: what m_g is to be compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.inversion.descent import reference_noise
from aelib.inversion.nodes import PRECISE, check_model, check_names, device_of
from aelib.inversion.reading import Forward, frozen, reader, weights_dtype

if TYPE_CHECKING:
    from aelib.inversion.result import Inversion

AT_ONCE = 8  # images in one pass


def null_distances(
    model: nn.Module, images: Tensor, layers: Sequence[str], forward: Forward | None = None
) -> dict[str, Tensor]:
    """‖O(a) − O(b)‖ for all pairs of images, by layer: rising, (n (n − 1) / 2,), on the CPU.

    ValueError for less than two images, or two that are the same.

    >>> images = torch.tensor([0.0, 1.0, 0.5]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    >>> null_distances(nn.Flatten(), images, ["output"])["output"]
    tensor([1., 1., 2.])
    """
    n = len(images)
    if n < 2 or len(images.flatten(1).unique(dim=0)) < n:
        got = checks.Described(f"{n}, with {len(images.flatten(1).unique(dim=0))} different ones")
        advice = "give some beside the inversion's own"
        raise ValueError(checks.message("others", "two images or more, no two alike", got, advice))
    found = {}
    for name in layers:
        flat = _features(model, images, name, forward)
        pairs = [(flat[i + 1 :] - flat[i]).norm(dim=1) for i in range(n - 1)]
        found[name] = torch.cat(pairs).sort().values
    return found


def reference_distances(
    model: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    seed: int,
    forward: Forward | None = None,
) -> dict[str, Tensor]:
    """m_r of the images for a seed, by layer: (images,), on the CPU; by this model."""
    moved = images + reference_noise(seed, images[0])
    return {
        name: (
            _features(model, images, name, forward) - _features(model, moved, name, forward)
        ).norm(dim=1)
        for name in layers
    }


def unlike(
    model: nn.Module, kept: Inversion, forward: Forward | None = None, precision: str = "no"
) -> str:
    """Which number of a kept inversion this model does not give again; "" if it gives them all.

    Asked, within rounding, of the first image and seed: m_r, and m_g of the image that was found.
    """
    x, seed = kept.images[:1], kept.seeds[0]
    low = precision != "no" or weights_dtype(model) not in (None, *PRECISE)
    loose = 10 if low else 1
    for layer, result in kept.results.items():
        three = torch.cat([x, x + reference_noise(seed, x[0]), result.images[0, :1]])
        here, moved, found = _features(model, three, layer, forward, precision)
        rounding = loose * float(0.01 * result.m_r[0, 0] + 0.001 * here.norm())
        for name, other in (("m_r", moved), ("m_g", found)):
            was, now = float(getattr(result, name)[0, 0]), float((other - here).norm())
            if not (math.isnan(was) or abs(now - was) <= rounding):
                return f"{name} {was:.4g} in {layer!r}, now {now:.4g}"
    return ""


def share_below(null: Tensor, m_g: Tensor) -> Tensor:
    """The share of a null distribution, (pairs,), at or below each m_g; of its shape, 0 to 1.

    0 says that the layer has x_g nearer to x than any two of the images to each other: then it is
    a match. NaN where m_g is.

    Source: Feather et al. (2023), "Model metamers reveal divergent invariances"; chapter 4.

    >>> share_below(torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0.5, 2.0, 9.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    ordered = checks.tensor(null, "null", ("pairs",)).to(m_g).sort().values
    share = torch.searchsorted(ordered, m_g.contiguous(), right=True).to(m_g) / len(ordered)
    return share.where(~m_g.isnan(), math.nan)


@torch.inference_mode(False)
def _features(
    model: nn.Module,
    images: Tensor,
    layer: str,
    forward: Forward | None,
    precision: str = "no",
) -> Tensor:
    """A layer's features, (n, elements), on the CPU."""
    model = check_model(model, images, span=None)
    check_names(model, layer, images, forward)
    reading = reader(model, layer, forward, precision=precision)
    with frozen(model), reading as read, torch.enable_grad():
        here = images.detach().to(device_of(model, images))
        found = [read(some).detach().cpu() for some in here.split(AT_ONCE)]
        return torch.cat(found).flatten(1)
