"""Whether a layer can be inverted, asked of the model itself before the first iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib.inversion.nodes import check_ran, trace
from aelib.inversion.reading import Forward, Read, first_line, reader
from aelib.runtime import out_of_memory


def check_layers(
    model: nn.Module,
    images: Tensor,
    names: Sequence[str],
    noise: Tensor,
    forward: Forward | None = None,
) -> dict[str, int]:
    """Refuse layers that cannot be inverted; else bytes of memory that one row needs, by layer.

    Args:
        model: a `frozen` module.
        images: x, (n, channels, height, width), where the model is.
        names: layers of the model.
        noise: n, (channels, height, width): x + n is what an eye would forgive.
        forward: how images go through the model.

    Raises:
        ValueError: for a layer that does not run, runs twice, gives no tensor, mixes the images of
            a batch, is not the same from run to run, passes no gradient, is not finite, or is the
            same for x and x + n, whichever of the images x is.
    """
    check_ran(trace(model, torch.cat([images[:1], 1 - images[:1]]), forward), names, rows=2)
    needed = {}
    for name in names:
        with reader(model, name, forward) as read, torch.enable_grad():
            needed[name] = _probe(model, read, images[0], name)
            if all(
                _constant(read(_batch(x, x + noise))) for x in images
            ):  # to the first that differs
                raise ValueError(
                    f"layers: {name!r} gives the same for x and x + n, so it says nothing of x; "
                    "is there a ReLU whose inputs are all below 0?"
                )
    return needed


def _batch(*images: Tensor) -> Tensor:
    return torch.stack(images).requires_grad_()


def _constant(pair: Tensor) -> bool:
    """Whether the features of two images differ by rounding at most."""
    first, second = pair.detach()
    rounding = 4 * torch.finfo(first.dtype).eps * first.abs().max()
    return bool((first - second).abs().max() <= rounding)


def _probe(model: nn.Module, read: Read, image: Tensor, name: str) -> int:
    """Take the loop's own path with an image alone and beside another; bytes saved for the one."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    row = _batch(image)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            alone = read(row)
        if not alone.requires_grad:
            raise ValueError("no gradient flows back to the image")
        (gradient,) = torch.autograd.grad(alone.square().sum(), row)
        beside = read(_batch(image, 1 - image)).detach()[:1]
    except (RuntimeError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise ValueError(
            f"layers: {name!r} cannot be inverted, since {first_line(error)}; is there "
            "a step that is not differentiable, or changes in place what is needed again?"
        ) from error
    alone = alone.detach()
    if not (alone.isfinite().all() and gradient.isfinite().all()):
        raise ValueError(
            f"layers: {name!r} or its gradient is not finite for the first image; look at the "
            "model's weights and at how the images are normalized"
        )

    def differs(features: Tensor, by: float) -> bool:
        return bool((features - alone).abs().max() > by * alone.abs().max())

    if differs(beside, 1e-3) and differs(read(row).detach(), 1e-3):
        raise ValueError(
            f"layers: {name!r} is not the same from run to run in evaluation mode, so it cannot be "
            "matched; take the randomness out of the model, or fix it in `forward`"
        )
    if differs(beside, 1e-2):
        raise ValueError(
            f"layers: in {name!r} the images of a batch influence each other, in evaluation mode "
            "too (batch statistics?); make it treat each image alone"
        )
    return sum(size for at, size in saved.items() if at not in weights)
