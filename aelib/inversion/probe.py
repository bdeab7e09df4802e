"""Whether a layer can be inverted, asked of the model itself before the first iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from aelib.inversion.descent import reference_noise
from aelib.inversion.nodes import PRECISE, check_ran, trace
from aelib.inversion.reading import Forward, alike, catching, first_line, weights_dtype
from aelib.runtime import out_of_memory

AT_ONCE = 8  # images looked at together, each beside one moved by noise


def check_layers(
    model: nn.Module,
    images: Tensor,
    names: Sequence[str],
    noise: Tensor,
    forward: Forward | None = None,
) -> dict[str, int]:
    """Refuse layers that cannot be inverted; else bytes of memory that one row needs, by layer.

    Three forward passes do for all layers: of the first image beside its negative, through the
    whole model; of the first image alone; and of all the images, eight at a time.

    Args:
        model: a `frozen` module.
        images: x, (n, channels, height, width), where the model is.
        names: layers of the model.
        noise: n, (channels, height, width): x + n is what an eye would forgive.
        forward: how images go through the model.

    Raises:
        ValueError: for a layer that does not run, runs several times, gives no tensor, mixes the
            images of a batch, is not the same from run to run, passes no gradient, is not finite
            for one of the images, or is the same for x and x + n, whichever of the images x is.
    """
    beside = check_ran(model, trace(model, images, forward, names), names, rows=2)
    alone, needed, broken = _alone(model, images[:1], names, forward)
    for name in broken:
        raise ValueError(
            f"layers: {name!r} or its gradient is not finite for the first image; look at the "
            "model's weights and at how the images are normalized"
        )
    for name in names:
        if len(alone[name]) != 1:
            raise ValueError(
                f"layers: {name!r} returns shape {tuple(alone[name].shape)} for one image, so its "
                "first axis is not the batch; turn it round in `forward`, or take another layer"
            )
    # Rounding grows through the layers of a model; in half the digits it is no small thing.
    much = 1e-2 if weights_dtype(model) in (None, *PRECISE) else 1e-1

    def differs(name: str, features: Tensor, by: float) -> bool:
        apart = (features - alone[name]).abs().max()
        return bool(apart > by * alone[name].abs().max())

    moved = {name: beside[name].detach()[:1].to(images.dtype) for name in names}
    again: dict[str, Tensor] = {}
    if any(differs(name, moved[name], 1e-3) for name in names):
        again, _, _ = _alone(model, images[:1], names, forward)
    for name in names:
        if differs(name, moved[name], 1e-3) and differs(name, again[name], 1e-3):
            raise ValueError(
                f"layers: {name!r} is not the same from run to run in evaluation mode, so it "
                "cannot be matched; take the randomness out of the model, or fix it in `forward`"
            )
        if differs(name, moved[name], much):
            raise ValueError(
                f"layers: in {name!r} the images of a batch influence each other, in evaluation "
                "mode too (batch statistics?); make it treat each image alone"
            )
    _check_each(model, images, names, noise, forward)
    return needed


def check_seeds(
    model: nn.Module,
    images: Tensor,
    names: Sequence[str],
    seeds: Sequence[int],
    forward: Forward | None = None,
) -> None:
    """Refuse layers that are not finite for an image moved by a seed's noise: they have no m_r.

    Args:
        model, images, names, forward: as for `check_layers`, which has passed them.
        seeds: other ones than it was given the noise of.
    """

    def look(seed: int, noise: Tensor, rows: range) -> None:
        for name, features in catch(images[rows.start : rows.stop] + noise).items():
            for row, moved in enumerate(features, rows.start):
                if not moved.isfinite().all():
                    raise ValueError(_moved(name, row, f"seed {seed}"))

    with torch.enable_grad(), catching(model, names, forward) as catch:
        for seed in seeds:
            noise = reference_noise(seed, images[0])
            for start in range(0, len(images), AT_ONCE):
                rows = range(start, min(start + AT_ONCE, len(images)))
                _halving(partial(look, seed, noise), rows)


def unfit(
    model: nn.Module,
    image: Tensor,
    names: Sequence[str],
    seeds: Sequence[int],
    forward: Forward | None = None,
) -> str:
    """Why `invert` would refuse these layers because of one image; "" if it would not.

    Args:
        model: a `frozen` module.
        image: x, (1, channels, height, width), where the model is.
        names, forward: layers, which other images have passed.
        seeds: of x moved by the first one's noise, a layer must say something.
    """
    first, *others = seeds
    moved = image + reference_noise(first, image[0])
    with torch.enable_grad(), catching(model, names, forward) as catch:
        for name, pair in catch(torch.cat([image, moved])).items():
            if not pair.isfinite().all():
                return f"{name} is not finite"
            if alike(*pair):
                return f"{name} is the same for x and x + n, so it says nothing of x"
            if why := _out_of_range(*pair):
                return f"{name} is {why}"
        for seed in others:
            for name, values in catch(image + reference_noise(seed, image[0])).items():
                if not values.isfinite().all():
                    return f"{name} is not finite for x moved by the noise of seed {seed}"
    _, _, broken = _alone(model, image, names, forward)
    return f"{broken[0]} has a gradient that is not finite" if broken else ""


def _alone(
    model: nn.Module, image: Tensor, names: Sequence[str], forward: Forward | None
) -> tuple[dict[str, Tensor], dict[str, int], list[str]]:
    """By layer: features of one image, and the bytes that are kept for its gradient.

    And the layers where one of the two is not finite.
    """
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> tuple[Tensor, int]:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor, tensor._version

    def unpack(kept: tuple[Tensor, int]) -> Tensor:
        tensor, version = kept
        if tensor._version != version:  # torch itself does not look where there are hooks
            raise RuntimeError("what its gradient needs was changed in place")
        return tensor

    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    row = image.detach().clone().requires_grad_()
    needed: dict[str, int] = {}
    failed: list[tuple[str, Exception]] = []
    broken: list[str] = []

    def look(name: str, features: Tensor) -> Tensor:
        """As the loop would find it: behind this layer nothing has been computed yet."""
        needed[name] = sum(size for at, size in saved.items() if at not in weights)
        alone = features.detach().clone()
        try:
            (gradient,) = torch.autograd.grad(features, row, alone, retain_graph=True)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            failed.append((name, error))
        else:
            if not (alone.isfinite().all() and gradient.isfinite().all()):
                broken.append(name)
        return alone

    keep = torch.autograd.graph.saved_tensors_hooks(pack, unpack)
    with torch.enable_grad(), catching(model, names, forward, keep=look) as catch, keep:
        try:
            alone = catch(row)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            raise ValueError(
                f"model: it takes two images and not one ({first_line(error)})"
            ) from error
    for name, error in failed:
        raise ValueError(
            f"layers: {name!r} cannot be inverted, since {first_line(error)}; is there "
            "a step that is not differentiable, or changes in place what is needed again?"
        ) from error
    return alone, needed, broken


def _check_each(
    model: nn.Module,
    images: Tensor,
    names: Sequence[str],
    noise: Tensor,
    forward: Forward | None,
) -> None:
    """Refuse layers that are not finite for one of the images, or constant in all of them."""
    live: set[str] = set()

    def look(rows: range) -> None:
        some = images[rows.start : rows.stop]
        for name, features in catch(torch.cat([some, some + noise])).items():
            first, second = features.flatten(1).chunk(2)
            for row, (here, there) in enumerate(zip(first, second, strict=True), rows.start):
                _check_finite(name, row, here, there)
                if not alike(here, there):
                    live.add(name)
                    if why := _out_of_range(here, there):
                        raise ValueError(
                            f"layers: {name!r} is {why} for images[{row}]; scale it in `forward`, "
                            "or give the model and the images in float64"
                        )

    # Nothing here asks for a gradient; but a forward pass may take one of its own.
    with torch.enable_grad(), catching(model, names, forward) as catch:
        try:
            for start in range(0, len(images), AT_ONCE):
                _halving(look, range(start, min(start + AT_ONCE, len(images))))
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            raise ValueError(
                f"model: it fails for images that ask for no gradient ({first_line(error)}); if it "
                "takes one itself, ask first: forward=lambda model, images: "
                "model(images.requires_grad_())"
            ) from error
    for name in names:
        if name not in live:
            raise ValueError(
                f"layers: {name!r} gives the same for x and x + n, so it says nothing of x; "
                "is there a ReLU whose inputs are all below 0?"
            )


def _check_finite(name: str, row: int, here: Tensor, there: Tensor) -> None:
    if not here.isfinite().all():
        raise ValueError(
            f"layers: {name!r} is not finite for images[{row}]; look at this image, and at what "
            "the model does with it"
        )
    if not there.isfinite().all():
        raise ValueError(_moved(name, row, "m_r"))


def _moved(name: str, row: int, whose: str) -> str:
    return (
        f"layers: {name!r} is not finite for images[{row}] moved by the noise of {whose}, whose "
        "pixels lie a little outside [0, 1], as those of a search do; clamp them in `forward`"
    )


def _out_of_range(here: Tensor, there: Tensor) -> str:
    """Why m_r of these features, and an m_g below it, cannot be told; "" if they can."""
    numbers = torch.finfo(here.dtype)
    kind = str(here.dtype).removeprefix("torch.")
    if not here.square().sum().isfinite():
        return f"too large: {kind} does not hold the sum of its squares"
    if (here - there).square().sum() < numbers.tiny / numbers.eps:
        return f"too small: {kind} does not hold the square of what noise changes in it"
    return ""


def _halving(look: Callable[[range], None], rows: range) -> None:
    """`look` at the rows, at half of them at a time where memory runs out."""
    try:
        look(rows)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or len(rows) == 1:
            raise
        half = len(rows) // 2
        _halving(look, rows[:half])
        _halving(look, rows[half:])
