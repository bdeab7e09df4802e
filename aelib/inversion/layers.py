"""Which layers a model has, what they give for an image, and whether one can be inverted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.inversion.reading import OUTPUT, Forward, frozen, reading, run
from aelib.runtime import out_of_memory


class Layer(NamedTuple):
    """One layer: its node name, what it is, and what it gives for one image."""

    name: str
    kind: str
    shape: tuple[int, ...]  # of one image's features; () where it is not one tensor
    elements: int
    share: float  # elements of the layer over elements of the image
    note: str  # why it cannot be inverted; empty where it can


@dataclass(frozen=True)
class Layers:
    """The layers of a model in the order they run. Iterate it, or print it."""

    entries: tuple[Layer, ...]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> Layer:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(unknown(name, [entry.name for entry in self.entries]))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of those that can be inverted."""
        return tuple(entry.name for entry in self.entries if not entry.note)

    def __str__(self) -> str:
        wide = max(len(entry.name) for entry in self.entries)
        kinds = max(len(entry.kind) for entry in self.entries)
        lines = [f"{'layer':<{wide}}  {'kind':<{kinds}}  {'shape':<16}{'elements':>10}{'share':>8}"]
        for name, kind, shape, elements, share, note in self.entries:
            counts = note or f"{' × '.join(map(str, shape)):<16}{elements:>10,}{share:>8.2f}"
            lines.append(f"{name:<{wide}}  {kind:<{kinds}}  {counts}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__


def layers(model: nn.Module, image: Tensor, forward: Forward = run) -> Layers:
    """Names, shapes and sizes of a model's layers, from one forward pass in evaluation mode.

    Args:
        model: any module; it is as before afterwards.
        image: (n, channels, height, width), of which the first is used, in [0, 1].
        forward: how images go through the model, if not as model(images).

    Returns:
        `Layers`, in the order they first finish; a layer's share is its number of elements over the
        image's. A layer that runs more than once, or gives no single tensor, says so in its note.

    Raises:
        ValueError, TypeError: if the model cannot take the image.

    Source: chapter 4.
    """
    check_model(model, image)
    seen = trace(model, image[:1], forward)
    size = image[0].numel()
    entries = []
    for name, (kind, outputs) in seen.items():
        note = _note(outputs, 1)
        shape = tuple(outputs[0].shape[1:]) if isinstance(outputs[0], Tensor) else ()
        elements = math.prod(shape) if shape or isinstance(outputs[0], Tensor) else 0
        entries.append(Layer(name, kind, shape, elements, elements / size, note))
    return Layers(tuple(entries))


def trace(
    model: nn.Module, images: Tensor, forward: Forward
) -> dict[str, tuple[str, list[object]]]:
    """By name: the kind of each module that ran and all it returned; last the model's output."""
    seen: dict[str, tuple[str, list[object]]] = {}
    handles = []
    try:
        # With gradients on, as in the loop: torch's attention takes another path without.
        with frozen(model), torch.enable_grad():
            for name, module in model.named_modules():
                if not name:
                    continue

                def note(module: nn.Module, inputs: tuple, output: object, name=name) -> None:
                    kept = output.detach() if isinstance(output, Tensor) else output
                    seen.setdefault(name, (type(module).__name__, []))[1].append(kept)

                handles.append(module.register_forward_hook(note))
            output = _forward(model, images, forward)
    finally:
        for handle in handles:
            handle.remove()
    seen.setdefault(OUTPUT, (type(model).__name__, [output]))
    return seen


def check_model(model: nn.Module, images: Tensor) -> None:
    """Refuse what is no module, and images that are not finite pixels of the model's dtype."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("model: a scripted one lets nobody in; give the module it was made from")
    checks.images(images)
    if images.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"images: expected float32 or float64, got {images.dtype}; for a faster net keep model "
            'and images in float32 and ask for precision="bf16"'
        )
    low, high = (float(value) for value in images.detach().aminmax())
    if low < 0 or high > 1:
        raise ValueError(
            f"images: expected pixels in [0, 1], got {low:.3g} to {high:.3g}; give them as one "
            "sees them, and let `forward` normalise them for the model"
        )
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is not None and first.dtype != images.dtype:
        raise TypeError(
            f"images: the model's weights are {first.dtype}, the images {images.dtype}; make them "
            f"alike, as with images.to({first.dtype})"
        )


def check_layers(
    model: nn.Module, images: Tensor, names: Sequence[str], forward: Forward
) -> dict[str, int]:
    """Refuse layers that cannot be inverted; else bytes of memory that one row needs, by layer.

    Raises:
        ValueError: for a name the model does not have; a layer that does not run, runs twice, gives
            no tensor, mixes the images of a batch, is not the same from run to run, passes no
            gradient, or is not finite.
    """
    known = [name for name, _ in model.named_modules() if name] + [OUTPUT]
    if not names:
        raise ValueError("layers: expected at least one name, got none; see aelib.layers(model, …)")
    for name in names:
        if name not in known:
            raise ValueError(unknown(name, known))
    if len(set(names)) < len(names):
        raise ValueError(f"layers: expected each name once, got {list(names)}")
    pair = torch.cat([images[:1], 1 - images[:1]])
    seen = trace(model, pair, forward)
    for name in names:
        if name not in seen:
            raise ValueError(
                f"layers: {name!r} is in the model but never runs; layers that do: "
                f"{_some([one for one in seen if not _note(seen[one][1], 2)])}"
            )
        kind, outputs = seen[name]
        if note := _note(outputs, 2):
            inside = [one for one in seen if one.startswith(name + ".")]
            good = [one for one in inside or seen if not _note(seen[one][1], 2)]
            raise ValueError(f"layers: {name!r} ({kind}) {note}; can be read: {_some(good)}")
    return {name: _probe(model, pair, name, forward) for name in names}


def _probe(model: nn.Module, pair: Tensor, name: str, forward: Forward) -> int:
    """Run the loop's own path once on one row and once on two; bytes autograd kept for one."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with reading(model, name, forward) as read, torch.enable_grad():
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        weights |= {b.untyped_storage().data_ptr() for b in model.buffers()}
        one = pair[:1].clone().requires_grad_()
        try:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                alone = read(one)
            if not alone.requires_grad:
                raise ValueError("no gradient flows back to the image")
            (gradient,) = torch.autograd.grad(alone.square().sum(), one)
            again, both = (
                read(images.clone().requires_grad_()).detach() for images in (pair[:1], pair)
            )
        except (RuntimeError, ValueError) as error:
            if out_of_memory(error):
                raise
            raise ValueError(
                f"layers: {name!r} cannot be inverted, since {_first_line(error)}; is there "
                "a step that is not differentiable, or changes in place what is needed again?"
            ) from error
    alone = alone.detach()
    if not (alone.isfinite().all() and gradient.isfinite().all()):
        raise ValueError(
            f"layers: {name!r} or its gradient is not finite for the first image; look at the "
            "model's weights and at how the images are normalised"
        )
    scale = alone.abs().max()
    if (alone - again).abs().max() > 1e-3 * scale:
        raise ValueError(
            f"layers: {name!r} is not the same from run to run in evaluation mode, so it cannot be "
            "matched; take the randomness out of the model, or fix it in `forward`"
        )
    if (alone[0] - both[0]).abs().max() > 1e-2 * scale:
        raise ValueError(
            f"layers: in {name!r} the images of a batch influence each other, in evaluation mode "
            "too (batch statistics?); make it treat each image alone"
        )
    return sum(size for at, size in kept.items() if at not in weights)


def unknown(name: str, known: Sequence[str]) -> str:
    """What to say of a layer's name that the model does not have."""
    text = checks.nearest(name, [str(one) for one in known])
    return f"layers: the model has no {name!r}; {text if len(text) < 600 else text[:600] + ' …'}"


def _forward(model: nn.Module, images: Tensor, forward: Forward) -> object:
    """The model's output, or what its refusal means."""
    what = f"{tuple(images.shape[1:])}"
    try:
        return forward(model, images.clone().requires_grad_().clone())
    except TypeError as error:
        raise ValueError(
            f"model: it could not be called with images alone ({_first_line(error)}); if it needs "
            "more inputs, say how: forward=lambda model, images: model(images, …)"
        ) from error
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        if out_of_memory(error):
            raise
        raise ValueError(
            f"model: it cannot take images of shape {what} ({_first_line(error)}); change their "
            "size or channels, or build the model for them"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".;")


def _note(outputs: list[object], rows: int) -> str:
    """Why a layer that gave these outputs cannot be inverted; empty if it can."""
    if len(outputs) > 1:
        return f"runs {len(outputs)} times"
    output = outputs[0]
    if not isinstance(output, Tensor):
        return f"returns a {type(output).__name__}, not one tensor"
    if not output.is_floating_point():
        return f"returns {output.dtype}, not floats"
    if output.dim() == 0 or len(output) != rows:
        return f"returns shape {tuple(output.shape)}, whose first axis is not the batch"
    return ""


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(map(repr, names[:most])) or "none"
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
