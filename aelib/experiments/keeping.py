"""What a run gives, and how it is put into files and taken out again."""

from __future__ import annotations

import ast
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.claims import label


@dataclass(frozen=True)
class Result:
    """What a run gives.

    Attributes:
        readings: by key (a text, or a tuple where they are a table), one number per unit: arrays of
            shape (units,), made of whatever row of numbers was given, or () for a closed form.
        show: whatever the picture and the lesson draw from: images, curves, models, by name.
        keep: the names in `show` that a full run keeps: tensors, arrays, numbers, and dictionaries
            and lists of them. What `picture` draws from.

    >>> Result({"gain": [1.0, 2.0, 3.0]})["gain"].shape
    (3,)
    """

    readings: Mapping[Any, Any]
    show: Mapping[str, Any] = field(default_factory=dict)
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        arrays = {key: np.asarray(values, dtype=float) for key, values in self.readings.items()}
        object.__setattr__(self, "readings", arrays)

    def __getitem__(self, key: Any) -> np.ndarray:
        """A reading."""
        return self.readings[key]


def joined(parts: Sequence[Result]) -> Result:
    """The results of runs with other units, as of one: readings one behind the other.

    Of what they show dictionaries are joined; of two things of one name the first stays. A closed
    form, which has no units, is the first one's.

    >>> joined([Result({"gain": [1.0, 2.0]}), Result({"gain": [3.0]})])["gain"].tolist()
    [1.0, 2.0, 3.0]
    """
    readings = {
        label(key): np.concatenate([np.atleast_1d(part.readings[key]) for part in parts])
        if parts[0].readings[key].ndim
        else parts[0].readings[key]
        for key in parts[0].readings
    }
    return Result(readings, reduce(_union, (part.show for part in parts)), parts[0].keep)


def _union(first: Mapping, other: Mapping) -> dict:
    """Two nested dictionaries as one; where both have something, what `first` has."""
    joined = {**first, **{key: value for key, value in other.items() if key not in first}}
    for key in first.keys() & other.keys():
        if isinstance(first[key], Mapping):
            joined[key] = _union(first[key], other[key])
    return joined


def halved(model: nn.Module) -> dict[str, Tensor]:
    """A net's weights in half precision, as they are kept."""
    weights = model.state_dict().items()
    return {name: w.half() if w.is_floating_point() else w for name, w in weights}


def pack(show: Mapping[Any, Any], half: bool = True) -> bytes:
    """Tensors, arrays and numbers, in dictionaries and lists, as one npz; `half` the precision.

    What is too large or too small for half precision stays as it is, unless it comes in it already,
    as a net's weights do.

    Raises:
        TypeError: for anything else; names it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "shown.npz"
    >>> _ = file.write_bytes(pack({"gain": {4: np.ones(2)}, "σ": 0.5}))
    >>> unpack(file)["gain"][4].tolist(), float(unpack(file)["σ"])
    ([1.0, 1.0], 0.5)
    """
    arrays: dict[str, np.ndarray] = {}

    def walk(value: Any, path: tuple[Any, ...]) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list | tuple):
            for index, inner in enumerate(value):
                walk(inner, (*path, index))
        else:
            array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
            if array.dtype.kind not in "fiubU":
                where = checks.message(repr(path), "an array or a number to keep", value)
                raise TypeError(where)
            if half and array.dtype in (np.float32, np.float64):
                # Pictures and curves need no more than half precision, if they fit.
                fits = (np.abs(array) < 6e4).all() and (np.abs(array)[array != 0] > 1e-3).all()
                array = array.astype(np.float16 if fits else np.float32)
            arrays[repr(path)] = array

    walk(show, ())
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def unpack(file: Path) -> dict[Any, Any]:
    """What `pack` put into a file, as arrays; lists come back as dictionaries by index.

    Raises:
        ValueError: for a file that is anything else; names it.
    """
    result: dict[Any, Any] = {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                *path, last = ast.literal_eval(name)
                inner = result
                for key in path:
                    inner = inner.setdefault(key, {})
                array = arrays[name]
                inner[last] = array.astype(np.float32) if array.dtype == np.float16 else array
    except (ValueError, OSError, SyntaxError, KeyError, EOFError) as error:
        got = checks.Described(f"one that does not fit ({error})")
        advice = f"run `python -m aelib measure {file.stem}` again"
        raise ValueError(checks.message(str(file), "kept pictures", got, advice)) from error
    return result


class Scratch:
    """Where the chunks of an unfinished full run lie.

    Args:
        folder: for this experiment alone.
        settings: of the full run.
        resume: use what is there; otherwise it goes.

    Attributes:
        seconds: what the chunks took that were loaded or made here.

    Raises:
        ValueError: to resume what was begun with other settings, seeds or another aelib.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder, self.seconds = folder, 0.0
        made_with = {"settings": dict(settings), "offset": random.offset(), **runtime.versions()}
        note = folder / "settings.json"
        if resume and note.is_file():
            before = json.loads(note.read_text(encoding="utf-8"))
            if before != made_with:
                raise ValueError(
                    checks.message(
                        "resume",
                        f"a run of the same settings, seeds and versions, {made_with}",
                        checks.Described(f"one of {before} in {folder}"),
                        "begin anew without resume",
                    )
                )
        else:
            self.remove()
        self._note, self._made_with = note, made_with

    def __contains__(self, first: int) -> bool:
        return (self.folder / f"{first}.npz").is_file()

    def load(self, first: int) -> Result | None:
        """The chunk that begins with unit `first`; None where it was not done."""
        if first not in self:
            return None
        kept = unpack(self.folder / f"{first}.npz")
        self.seconds += float(kept["seconds"])
        return Result(kept["readings"], kept.get("show", {}), tuple(kept.get("show", {})))

    def save(self, first: int, part: Result, seconds: float, whole: bool = False) -> None:
        """Keep a chunk that is done, but for one that is the `whole` run."""
        self.seconds += seconds
        if whole:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._made_with, indent=1)
        runtime.write_whole(self._note, text.encode())
        shown = {name: part.show[name] for name in part.keep}
        content = pack(
            {"seconds": seconds, "readings": dict(part.readings), "show": shown}, half=False
        )
        runtime.write_whole(self.folder / f"{first}.npz", content)

    def remove(self) -> None:
        """Nothing stays."""
        shutil.rmtree(self.folder, ignore_errors=True)
