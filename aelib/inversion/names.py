"""Names of what can be read in a model: a module, one of its calls, a part of what it returns.

"layer1"        a module that runs once
"relu#1"        the second call of one that runs several times
"attention[0]"  a part: an index of a tuple or list, a key of a dictionary, a field
"x#1[0][keys]"  all of it
"layer?.**"     a glob: * within one dotted part, ** across dots, ? one character
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

OUTPUT = "output"  # names the model's own output, unless a module is called so
COMPILED = "_orig_mod"  # how torch.compile calls the module that it wraps

Path = tuple[str, ...]


class Node(NamedTuple):
    """A place in a model."""

    module: str
    call: int | None = None  # counted from 0 within a forward pass; None for the only one
    path: Path = ()  # into what the module returns

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        return self.module + call + "".join(f"[{key}]" for key in self.path)


def parse(name: str, known: Collection[str]) -> Node | None:
    """The place that a name stands for, among modules of these names; None for none.

    >>> parse("relu#1[keys]", ["relu"])
    Node(module='relu', call=1, path=('keys',))
    """
    if name in known:
        return Node(name)
    match = re.fullmatch(r"(.+?)(?:#(\d+))?((?:\[[^\[\]]+\])*)", name)
    if match is None or match[1] not in known:
        return None
    call = None if match[2] is None else int(match[2])
    return Node(match[1], call, tuple(re.findall(r"\[(.+?)\]", match[3])))


def is_glob(name: str) -> bool:
    """Whether it stands for whatever it matches."""
    return "*" in name or "?" in name


def matching(glob: str, names: Sequence[str]) -> list[str]:
    """Those of the names that a glob matches, in their order.

    >>> matching("b.*", ["a", "b.0", "b.0.1", "b.1[0]"])
    ['b.0', 'b.1[0]']
    """
    wild = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    pieces = re.split(r"(\*\*|\*|\?)", glob)
    pattern = re.compile("".join(wild.get(piece, re.escape(piece)) for piece in pieces))
    return [name for name in names if pattern.fullmatch(name)]


def parts(output: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in what a module returns, with the way to it."""
    if isinstance(output, Tensor):
        yield path, output
        return
    inside: Mapping[object, object] = {}
    if isinstance(output, Mapping):
        inside = output
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        inside = cast(Any, output)._asdict()
    elif isinstance(output, tuple | list):
        inside = dict(enumerate(output))
    elif dataclasses.is_dataclass(output):
        fields = dataclasses.fields(output)
        inside = {field.name: getattr(output, field.name) for field in fields}
    for key, value in inside.items():
        yield from parts(value, (*path, str(key)))


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules inside a model by name, those that torch.compile wraps in the wrapper's place."""
    return {
        ".".join(key for key in name.split(".") if key != COMPILED): module
        for name, module in model.named_modules()
        if name
    }
