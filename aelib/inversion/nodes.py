"""The nodes of a model, its layers by name: which there are, and what they give for images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.inversion.names import (
    COMPILED,
    OUTPUT,
    Node,
    is_glob,
    matching,
    named_modules,
    parse,
)
from aelib.inversion.reading import Call, Forward, frozen, outputs, weights_dtype

PRECISE = (torch.float32, torch.float64)  # dtypes of images; weights may be of less precise ones
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


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
    """Names, shapes and sizes of a model's layers, from two forward passes in evaluation mode.

    Args:
        model: any module; it is as before afterwards.
        image: (n, channels, height, width), of which the first is used, in [0, 1].
        forward: how images go through the model; None for model(images).

    Returns:
        `Layers`, in the order they finish; a layer's share is its number of elements over the
        image's. A layer that runs more than once, or gives no single tensor, says so in its note;
        its calls ("relu#0", "relu#1") and parts ("attention[0]", "output[logits]") follow as
        entries of their own, under the names that `invert` and `features` take.

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
    model = check_model(model, image)
    found = _listed(model, image, forward)
    return Layers(tuple(_layer(name, *entry, image[0].numel()) for name, entry in found.items()))


@torch.inference_mode(False)  # a caller's own would let no gradient through
def _listed(model: nn.Module, images: Tensor, forward: Forward | None) -> dict[str, Entry]:
    with frozen(model):
        found, more = (entries(trace(model, images, forward, rows=n), n) for n in (ROWS, ROWS + 1))
    # An axis that is not the batch's may be as long as one batch, but not as two.
    return {
        name: (kind, given, why or (more[name][2] if name in more else ""))
        for name, (kind, given, why) in found.items()
    }


def _layer(name: str, kind: str, given: Tensor | None, note: str, pixels: int) -> Layer:
    if given is None:
        return Layer(name, kind, (), 0, 0.0, note)
    shape = tuple(given.shape[1:])
    return Layer(name, kind, shape, math.prod(shape), math.prod(shape) / pixels, note)


def features(
    model: nn.Module, images: Tensor, layers: str | Sequence[str], forward: Forward | None = None
) -> dict[str, Tensor]:
    """What layers of a model give for images, by name, from one forward pass in evaluation mode.

    Args:
        model: any module, run where its weights are; it is as before afterwards.
        images: (n, channels, height, width), of the weights' dtype (of the first floating-point
            one; float32 for less precise ones); any finite values.
        layers: names (`aelib.layers` lists them), or globs: * within one dotted part, ** across
            dots, ? one character.
        forward: how images go through the model; None for model(images).

    Returns:
        A copy of each layer's features, (n, …), in the order asked for; floats in the images'
        dtype. Gradients flow back to the images, if these ask for them, and never to the weights.

    Raises:
        ValueError, TypeError: for names the model does not have, layers that do not run, run more
            than once or give no single tensor, and images the model cannot take.

    Source: chapter 4.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> found = features(model, torch.zeros(5, 1, 8, 8), ["0", "output"])
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'0': (5, 4, 6, 6), 'output': (5, 144)}
    """
    model = check_model(model, images, span=None)
    names = check_names(model, layers, images, forward)
    with frozen(model):
        ran = outputs(model, images.to(device_of(model, images)), forward, _modules(model, names))
    found = check_ran(model, ran, names)
    return {
        name: given.to(images.dtype) if given.is_floating_point() else given
        for name, given in found.items()
    }


ROWS = 2  # in a trace: one would not tell the axis of a batch from any other of length 1


def trace(
    model: nn.Module,
    images: Tensor,
    forward: Forward | None,
    names: Sequence[str] = (),
    rows: int = ROWS,
) -> list[Call]:
    """All calls of a `frozen` model for the first image and its negative, as a loop would see them.

    Gradients are on, as in the loop: torch's attention takes another path without. Values are kept
    of the layers of these names alone. More `rows` than two begin with the first image again.
    """
    first = images[:1].detach().to(device_of(model, images))
    with torch.enable_grad():
        both = torch.cat([first, 1 - first]).repeat(-(-rows // 2), 1, 1, 1)
        return outputs(model, both[:rows].requires_grad_(), forward, keep=_modules(model, names))


def device_of(model: nn.Module, images: Tensor) -> torch.device:
    """Where the model is; where the images are, if it has no weights."""
    return next((p.device for p in model.parameters()), images.device)


def check_model(
    model: nn.Module, images: Tensor, span: tuple[float, float] | None = (0, 1)
) -> nn.Module:
    """The module behind what torch.compile or DataParallel made of it.

    Raises:
        ValueError, TypeError: for what is no module that can be read, and images that are not
            finite pixels of the model's dtype.
    """
    checks.module(model)
    while isinstance(model, WRAPPERS) or COMPILED in model._modules:
        inside = "module" if isinstance(model, WRAPPERS) else COMPILED
        model = checks.module(getattr(model, inside))
    for name, module in model.named_modules():
        _check_module(name, module)
    devices = {str(p.device): name for name, p in reversed(list(model.named_parameters()))}
    if len(devices) > 1:
        got = checks.Described(" and ".join(f"{at} ({name})" for at, name in devices.items()))
        raise ValueError(
            checks.message("model", "weights on one device", got, "move it: model.to(device)")
        )
    checks.images(images, dtypes=PRECISE)
    if span is not None:
        checks.values_in(images, "images", span, "let `forward` normalize them for the model")
    weights = weights_dtype(model)
    dtype = weights if weights in PRECISE else torch.float32
    if weights is not None and images.dtype != dtype:
        expected = f"{dtype}, as the first of the weights is"
        if dtype != weights:
            expected = f"{dtype}, to be made {weights} as the first of the weights is"
        raise TypeError(checks.message("images", expected, images, f"use images.to({dtype})"))
    return model


def _check_module(name: str, module: nn.Module) -> None:
    """Refuse a module inside a model that lets nobody in."""
    where = f"model: {name!r} in it" if name else "model: it"
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(f"{where} is scripted and lets nobody in; give the module it was made from")
    if isinstance(module, torch.fx.GraphModule) and "eval" in vars(module):
        raise TypeError(
            f"{where} is exported (torch.export) and has no evaluation mode; give the module it "
            "was made from"
        )
    if ".quantized" in type(module).__module__:
        raise TypeError(
            f"{where} is quantised ({type(module).__name__}) and passes no gradient; give the "
            "model as it was before"
        )
    if isinstance(module, WRAPPERS) and len(getattr(module, "device_ids", None) or ()) > 1:
        raise ValueError(f"{where} is spread over several devices; put its .module in its place")


def check_names(
    model: nn.Module,
    layers: str | Sequence[str],
    images: Tensor,
    forward: Forward | None = None,
) -> list[str]:
    """The names as a list: at least one, each once, of places in the model; globs are expanded.

    A glob stands for those of `aelib.layers` that can be inverted, which takes a forward pass.
    """
    if not isinstance(layers, str | Sequence):
        raise TypeError(checks.message("layers", "a name or a list of names", layers))
    asked = [layers] if isinstance(layers, str) else list(layers)
    known = [*named_modules(model), OUTPUT]
    plain = [name for name in asked if not (isinstance(name, str) and is_glob(name))]
    for name in plain:
        if not isinstance(name, str) or parse(name, known) is None:
            raise ValueError(
                checks.message("layers", "names of the model", name, _near(name, known))
            )
    if not asked or len(set(plain)) < len(plain):
        raise ValueError(checks.message("layers", "at least one name, each once", asked))
    if len(plain) == len(asked):
        return asked
    readable = _readable(_listed(model, images, forward))
    names: dict[str, None] = {}
    for name in asked:
        some = [name] if name in plain else matching(name, readable)
        if not some:
            expected = "a glob that matches layers that can be read"
            raise ValueError(checks.message("layers", expected, name, _near(name, readable)))
        names |= dict.fromkeys(some)
    return list(names)


def _near(name: object, known: Sequence[str]) -> str:
    near = checks.nearest(name, known)
    return near if len(near) < 600 else near[:600] + " …"


def _modules(model: nn.Module, names: Sequence[str]) -> set[str]:
    """The modules in which these places are."""
    known = {*named_modules(model), OUTPUT}
    return {node.module for name in names if (node := parse(name, known)) is not None}


Entry = tuple[str, "Tensor | None", str]  # the module's kind, what it gave, why it cannot be read


def entries(ran: Sequence[Call], rows: int | None = None) -> dict[str, Entry]:
    """By name: all that was given, each call and each part, in the order they came."""
    times, done = Counter(call.name for call in ran), Counter[str]()
    found: dict[str, Entry] = {}
    for name, kind, returned, given in ran:
        node = Node(name)
        if times[name] > 1:
            found.setdefault(name, (kind, given.get(()), f"runs {times[name]} times"))
            node = Node(name, done[name])
        done[name] += 1
        if () not in given:
            found[str(node)] = (kind, None, f"returns a {returned}, not one tensor")
        for path, tensor in given.items():
            found[str(node._replace(path=path))] = (kind, tensor, refusal(tensor, rows))
    return found


def _readable(found: dict[str, Entry]) -> list[str]:
    return [name for name, (_, _, note) in found.items() if not note]


def check_ran(
    model: nn.Module, ran: Sequence[Call], names: Sequence[str], rows: int | None = None
) -> dict[str, Tensor]:
    """By name: what was given.

    Raises:
        ValueError: for names of layers that did not run, or gave what cannot be used.
    """
    found, known = entries(ran, rows), {*named_modules(model), OUTPUT}
    readable = _readable(found)
    given: dict[str, Tensor] = {}
    for name in names:
        node = parse(name, known) or Node(name)
        times = sum(call.name == node.module for call in ran)
        if not times:
            raise ValueError(
                f"layers: {name!r} is in the model but never runs; layers that do: "
                f"{_some(readable)}"
            )
        if times == 1 and node.call == 0:
            node = node._replace(call=None)
        if str(node) in found:
            kind, tensor, why = found[str(node)]
        else:
            kind, tensor, why = (
                next(call.kind for call in ran if call.name == node.module),
                None,
                "",
            )
            many = node.call is not None and node.call >= times
            why = f"runs {times} times, counted from 0" if many else "gives no such part"
        if why or tensor is None:
            inside = [other for other in readable if other.startswith(_inside(node))]
            raise ValueError(
                f"layers: {name!r} ({kind}) {why}; can be read: {_some(inside or readable)}"
            )
        given[name] = tensor
    return given


def _inside(node: Node) -> tuple[str, ...]:
    """How the names begin of what is in a module: its calls, their parts, the modules in it."""
    return tuple(f"{node.module}{mark}" for mark in "#[.")


def refusal(given: Tensor, rows: int | None = None) -> str:
    """Why a tensor cannot be read, for so many rows to be inverted; empty if it can."""
    if rows is None:
        return ""
    if not given.is_floating_point():
        return f"returns {given.dtype}, not floats"
    if given.dim() == 0 or len(given) != rows:
        return f"returns shape {tuple(given.shape)}, whose first axis is not the batch"
    if given.numel() == 0:
        return f"returns shape {tuple(given.shape)}, which has nothing in it"
    return "" if given.requires_grad else "passes no gradient back to the image"


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(map(repr, names[:most])) or "none"
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
