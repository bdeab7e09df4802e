"""The nodes of a model, its layers by name: which there are, and what they give for images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.inversion.reading import OUTPUT, Forward, frozen, outputs


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
        known = [entry.name for entry in self.entries]
        raise KeyError(checks.message("layer", "a known name", name, checks.nearest(name, known)))

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


def layers(model: nn.Module, image: Tensor, forward: Forward | None = None) -> Layers:
    """Names, shapes and sizes of a model's layers, from one forward pass in evaluation mode.

    Args:
        model: any module; it is as before afterwards.
        image: (n, channels, height, width), of which the first is used, in [0, 1].
        forward: how images go through the model; None for model(images).

    Returns:
        `Layers`, in the order they first finish; a layer's share is its number of elements over the
        image's. A layer that runs more than once, or gives no single tensor, says so in its note.

    Raises:
        ValueError, TypeError: if the model cannot take the image.

    Source: chapter 4.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> layers(model, torch.zeros(1, 1, 8, 8))
    layer   kind        shape             elements   share
    0       Conv2d      4 × 6 × 6              144    2.25
    1       ReLU        4 × 6 × 6              144    2.25
    2       Flatten     144                    144    2.25
    output  Sequential  144                    144    2.25
    """
    check_model(model, image)
    entries = []
    with frozen(model):
        ran = trace(model, image[:1], forward)
    for name, (kind, given) in ran.items():
        shape = tuple(given[0].shape[1:]) if isinstance(given[0], Tensor) else ()
        elements = math.prod(shape) if isinstance(given[0], Tensor) else 0
        share = elements / image[0].numel()
        entries.append(Layer(name, kind, shape, elements, share, refusal(given, rows=1)))
    return Layers(tuple(entries))


def features(
    model: nn.Module, images: Tensor, layers: str | Sequence[str], forward: Forward | None = None
) -> dict[str, Tensor]:
    """What layers of a model give for images, by name, from one forward pass in evaluation mode.

    Args:
        model: any module, run where its weights are; it is as before afterwards.
        images: (n, channels, height, width), of the weights' dtype; any finite values.
        layers: module names (`aelib.layers` lists them), or "output".
        forward: how images go through the model; None for model(images).

    Returns:
        A copy of each layer's features, (n, …), in the order asked for. Gradients flow back to the
        images, if these ask for them, and never to the weights.

    Raises:
        ValueError, TypeError: for names the model does not have, layers that do not run, run more
            than once or give no single tensor, and images the model cannot take.

    Source: chapter 4.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> found = features(model, torch.zeros(5, 1, 8, 8), ["0", "output"])
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'0': (5, 4, 6, 6), 'output': (5, 144)}
    """
    check_model(model, images, span=None)
    names = check_names(model, layers)
    with frozen(model):
        ran = outputs(model, images.to(device_of(model, images)), forward, names)
    check_ran(ran, names)
    return {name: ran[name][1][0] for name in names}


def trace(model: nn.Module, images: Tensor, forward: Forward | None) -> dict[str, tuple[str, list]]:
    """`outputs` as an inversion would see them, of all layers.

    Gradients are on, as in the loop: torch's attention takes another path without.
    """
    with torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        return outputs(model, images, forward, copy=torch.Tensor.detach)


def device_of(model: nn.Module, images: Tensor) -> torch.device:
    """Where the model is; where the images are, if it has no weights."""
    return next((p.device for p in model.parameters()), images.device)


def check_model(
    model: nn.Module, images: Tensor, span: tuple[float, float] | None = (0, 1)
) -> None:
    """Refuse what is no module, and images that are not finite pixels of the model's dtype."""
    checks.module(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("model: a scripted one lets nobody in; give the module it was made from")
    checks.images(images, dtypes=(torch.float32, torch.float64))
    if span is not None:
        checks.values_in(images, "images", span, "let `forward` normalize them for the model")
    weights = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weights is not None and weights.dtype != images.dtype:
        expected, advice = f"{weights.dtype}, as the weights are", f"use images.to({weights.dtype})"
        raise TypeError(checks.message("images", expected, images, advice))


def check_names(model: nn.Module, layers: str | Sequence[str]) -> list[str]:
    """The names as a list: at least one, each once, all of them of the model's own modules."""
    if not isinstance(layers, str | Sequence):
        raise TypeError(checks.message("layers", "a name or a list of names", layers))
    names = [layers] if isinstance(layers, str) else list(layers)
    known = [name for name, _ in model.named_modules() if name] + [OUTPUT]
    for name in names:
        if name not in known:
            near = checks.nearest(name, known)
            near = near if len(near) < 600 else near[:600] + " …"
            raise ValueError(checks.message("layers", "names of the model", name, near))
    if not names or len(set(names)) < len(names):
        raise ValueError(checks.message("layers", "at least one name, each once", names))
    return names


def check_ran(
    ran: dict[str, tuple[str, list]], names: Sequence[str], rows: int | None = None
) -> None:
    """Refuse names of layers that did not run, or gave what cannot be used."""
    for name in names:
        if name not in ran:
            raise ValueError(
                f"layers: {name!r} is in the model but never runs; layers that do: "
                f"{_some([other for other in ran if not refusal(ran[other][1], rows)])}"
            )
        kind, given = ran[name]
        if why := refusal(given, rows):
            inside = [other for other in ran if other.startswith(name + ".")]
            good = [other for other in inside or ran if not refusal(ran[other][1], rows)]
            raise ValueError(f"layers: {name!r} ({kind}) {why}; can be read: {_some(good)}")


def refusal(given: list, rows: int | None = None) -> str:
    """Why a layer that gave this cannot be read, or for so many rows inverted; empty if it can."""
    if len(given) > 1:
        return f"runs {len(given)} times"
    output = given[0]
    if not isinstance(output, Tensor):
        return f"returns a {type(output).__name__}, not one tensor"
    if rows is not None and not output.is_floating_point():
        return f"returns {output.dtype}, not floats"
    if rows is not None and (output.dim() == 0 or len(output) != rows):
        return f"returns shape {tuple(output.shape)}, whose first axis is not the batch"
    return ""


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(map(repr, names[:most])) or "none"
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
