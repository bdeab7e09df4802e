"""What an image with no detail scores: the distances of its mean colour and of its thumbnail."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aelib.measures.controls import thumbnail

BASELINES = {"mean": 1, "thumbnail": 4}  # patches a side


class Baseline(NamedTuple):
    """Distances of what an image becomes without its detail, from the image itself."""

    m_g: Tensor  # in the layer, (images,)
    m_i: Tensor  # in the image, (images,)


def baselines(
    read: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """`m_g_…` and `m_i_…` of each baseline of images (rows, …) whose features are `targets`.

    >>> half = torch.tensor([0.0, 0, 1, 1]).expand(1, 1, 4, 4)
    >>> found = baselines(lambda images: 3 * images, half, 3 * half)
    >>> {name: float(values) for name, values in found.items()}
    {'m_g_mean': 6.0, 'm_i_mean': 2.0, 'm_g_thumbnail': 0.0, 'm_i_thumbnail': 0.0}
    """
    found = {}
    for name, side in BASELINES.items():
        plain = thumbnail(images, side)
        with torch.enable_grad():  # the same path through the model as the targets took
            features = read(plain.requires_grad_().clone()).detach()
        found[f"m_g_{name}"] = (features - targets).flatten(1).norm(dim=1)
        found[f"m_i_{name}"] = (plain.detach() - images).flatten(1).norm(dim=1)
    return found
