"""Running a net over images: evaluation mode, chunks, no gradients, and its output checked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aelib.models import evaluating

Net = Callable[[Tensor], Tensor]

CHUNK_IMAGES, CHUNK_ELEMENTS = 1024, 2**22  # a chunk stops at whichever comes first


def chunk_size(images: Tensor) -> int:
    """How many of these images go through a net at once, so that big sets fit in memory."""
    return max(1, min(CHUNK_IMAGES, CHUNK_ELEMENTS // images[0].numel()))


def run_net(net: Net, images: Tensor) -> Tensor:
    """O(x) for all images: in evaluation mode, without gradients, chunk by chunk, checked."""
    with evaluating(net), torch.no_grad():
        return torch.cat([run_chunk(net, part) for part in images.split(chunk_size(images))])


def run_chunk(net: Net, images: Tensor, finite: bool = True) -> Tensor:
    """O(x) for one chunk, in whatever mode the net is, checked for type, shape and finiteness."""
    outputs = net(images.clone())  # a net may begin with an in-place step; images stay as they are
    if not isinstance(outputs, Tensor):
        raise TypeError(f"net must return a tensor of images, got {type(outputs).__name__}")
    if outputs.shape != images.shape:
        raise ValueError(
            f"net must return the shape it is given, {tuple(images.shape)}, got "
            f"{tuple(outputs.shape)}; build it for these images"
        )
    if finite and not outputs.isfinite().all():
        raise ValueError("net returned NaN or infinity; it has probably diverged in training")
    return outputs.to(images)


def energies(images: Tensor) -> Tensor:
    """‖x‖² of each image: (n,)."""
    return images.flatten(1).square().sum(1)
