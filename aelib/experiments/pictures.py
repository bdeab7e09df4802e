"""Pictures as a run keeps them."""

from __future__ import annotations

from torch import Tensor


def on_screen(images: Tensor) -> Tensor:
    """Images in the 256 levels a screen shows them in, which take little room when they are kept.

    >>> import torch
    >>> on_screen(torch.tensor([-0.5, 0.5, 2.0])).tolist()
    [0.0, 0.501960813999176, 1.0]
    """
    return (images.detach().clamp(0, 1) * 255).round() / 255
