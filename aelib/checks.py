"""Every refusal of the package, in one wording: "name: expected …, got …; what to do".

Each function returns the value it was given, as the caller needs it, or raises before any work is
done: TypeError for a value of another kind, ValueError for one of the right kind that cannot be.
"""

from __future__ import annotations

import difflib
import math
import operator
import warnings
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Axes = Sequence["str | int | EllipsisType"]

IMAGES = ("n", "channels", "height", "width")


class ValueRangeWarning(UserWarning):
    """Some values lie outside [-1, 1], the widest range the book's models are made for."""


class Described(str):
    """Words for `message` that are shown as they are, without quotes."""


def message(name: str, expected: str, value: Any, advice: str = "") -> str:
    """The one wording of a refusal.

    >>> message("steps", "1 or more", 0, "leave it out for 1000")
    'steps: expected 1 or more, got 0; leave it out for 1000'
    """
    return f"{name}: expected {expected}, got {described(value)}{f'; {advice}' if advice else ''}"


def described(value: Any) -> str:
    """A value in a few words: plain ones as they are, tensors by dtype and shape, others by type.

    >>> described(torch.zeros(2, 3)), described("abc"), described(object()), described(object)
    ('torch.float32 of shape (2, 3)', "'abc'", 'object', 'the class object')
    """
    if isinstance(value, Described):
        return value
    if isinstance(value, Tensor | np.ndarray):
        kind = "" if isinstance(value, Tensor) else "a NumPy array, "
        return f"{kind}{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str | bytes | Real | list | tuple | dict | set | range):
        text = " ".join(repr(value).split())
        return text if len(text) <= 80 else f"{text[:76]} …"
    return type(value).__name__


def nearest(name: object, known: Collection[str]) -> str:
    """The end of a message about an unknown `name`: the nearest match first, then all known.

    >>> nearest("adm", ["adam", "sgd"])
    "did you mean 'adam'? known: 'adam', 'sgd'"
    """
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(map(repr, known))}"


def choice(value: Any, name: str, known: Collection[str]) -> str:
    """One of the known names.

    >>> choice("adam", "optimizer", ["adam", "sgd"])
    'adam'
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(message(name, "a known name", value, nearest(value, known)))
    return value


def whole(
    value: Any, name: str, least: int | None = None, most: float = math.inf, limit: str = ""
) -> int:
    """A whole number from `least` to `most`, as an int; `limit` says what `most` is.

    >>> whole(3, "steps", least=1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message(name, "a whole number", value))
    result = int(value)
    if least is not None and result < least:
        raise ValueError(message(name, f"{least} or more", value))
    if result > most:
        raise ValueError(message(name, f"{most} or less{f' ({limit})' if limit else ''}", value))
    return result


def counts(**values: Any) -> None:
    """Whole numbers, each 1 or more, by the caller's names for them.

    >>> counts(width=16, depth=3)
    """
    for name, value in values.items():
        whole(value, name, least=1)


def number(
    value: Any,
    name: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """A finite number within the ends that are given, as a float; `above`, `below` exclude theirs.

    A tensor or array of one element counts as a number.

    >>> number(0.5, "eta", least=0, most=1)
    0.5
    """
    single = isinstance(value, Tensor | np.ndarray) and value.ndim == 0
    if isinstance(value, bool) or not (single or isinstance(value, Real)):
        raise TypeError(message(name, "a number", value))
    result = float(value)
    limits = (
        (least, "{:g} or more", operator.ge),
        (above, "above {:g}", operator.gt),
        (most, "{:g} or less", operator.le),
        (below, "below {:g}", operator.lt),
    )
    given = [(bound, words, holds) for bound, words, holds in limits if bound is not None]
    if not math.isfinite(result) or not all(holds(result, bound) for bound, _, holds in given):
        words = " and ".join(words.format(bound) for bound, words, _ in given)
        expected = f"a finite number, {words}" if words else "a finite number"
        raise ValueError(message(name, expected, Described(f"{result:g}") if single else value))
    return result


def interval(value: Any, name: str) -> tuple[float, float]:
    """A lower and a higher number.

    >>> interval((0, 1), "clamp")
    (0.0, 1.0)
    """
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    if len(pair) != 2 or not number(pair[0], f"{name}[0]") < number(pair[1], f"{name}[1]"):
        raise ValueError(message(name, "a lower and a higher number, such as (0, 1)", value))
    return float(pair[0]), float(pair[1])


def function(value: Any, name: str, example: str) -> Callable:
    """Something callable; `example` says what would do.

    >>> function(abs, "objective", "aelib.objectives.copy")
    <built-in function abs>
    """
    if not callable(value):
        raise TypeError(message(name, f"a callable, such as {example}", value))
    return value


def methods(model: Any, *names: str, name: str = "model", advice: str = "") -> None:
    """A model with these methods.

    >>> methods([], "append")
    """
    missing = [method for method in names if not callable(getattr(model, method, None))]
    if missing:
        got = Described(f"{type(model).__name__} without {' and '.join(missing)}")
        raise TypeError(message(name, f"one with {' and '.join(names)}", got, advice))


def module(value: Any, name: str = "model") -> nn.Module:
    """A torch module whose weights have their values: none lazy, none on the meta device.

    >>> module(nn.Linear(2, 3))
    Linear(in_features=2, out_features=3, bias=True)
    """
    if not isinstance(value, nn.Module):
        raise TypeError(message(name, "a torch.nn.Module", value))
    for path, weight in (*value.named_parameters(), *value.named_buffers()):
        if is_lazy(weight):
            why, advice = "not made yet (lazy)", "call it on images once, before"
        elif weight.is_meta:
            why, advice = "without values (meta)", "build it on a device that holds values"
        else:
            continue
        got = Described(f"{type(value).__name__} whose {path} is {why}")
        raise ValueError(message(name, "one whose weights have values", got, advice))
    return value


def shape(value: Any, name: str = "shape", multiple: int = 1) -> tuple[int, int, int]:
    """The shape of an image, (channels, height, width), its sides divisible by `multiple`.

    >>> shape([1, 8, 8], multiple=4)
    (1, 8, 8)
    """
    sizes = tuple(value) if isinstance(value, tuple | list) else ()
    bad = any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 for n in sizes)
    if len(sizes) != 3 or bad:
        raise ValueError(message(name, "(channels, height, width), such as (3, 32, 32)", value))
    if any(size % multiple for size in sizes[1:]):
        below = (sizes[0], *(max(size // multiple, 1) * multiple for size in sizes[1:]))
        above = (sizes[0], *(-(-size // multiple) * multiple for size in sizes[1:]))
        fitting = f"{below} or {above}" if below != above else f"{above}"
        expected = f"height and width divisible by {multiple}"
        raise ValueError(message(name, expected, value, f"{fitting} would do"))
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def sized(value: Tensor, shape: Sequence[int], name: str = "images") -> None:
    """Images (n, *shape), looked at for their axes alone: for a model's forward.

    >>> sized(torch.zeros(2, 1, 8, 8), (1, 8, 8))
    """
    if value.ndim != 4 or tuple(value.shape[1:]) != tuple(shape):
        expected = f"(n, {', '.join(map(str, shape))})"
        raise ValueError(message(name, expected, value, "build the model for their shape"))


def tensor(
    value: Any,
    name: str,
    axes: Axes,
    *,
    dtypes: Collection[torch.dtype] | None = None,
    advice: str = "",
) -> Tensor:
    """A finite floating-point tensor with these axes, detached.

    Args:
        value: to be checked.
        name: what the caller calls it.
        axes: a name for an axis of any size, a number for one of that size, one ... for any more.
        dtypes: those allowed; None for any floating-point one.
        advice: what to do about another shape.

    >>> tensor(torch.zeros(4, 2), "codes", ("n", 2)).shape
    torch.Size([4, 2])
    """
    form = f"({', '.join('...' if axis is ... else str(axis) for axis in axes)})"
    expected = f"a floating-point tensor {form}"
    if not isinstance(value, Tensor):
        hint = "use torch.from_numpy" if isinstance(value, np.ndarray) else ""
        raise TypeError(message(name, expected, value, hint))
    if not value.is_floating_point():
        hint = f"use {name}.float() / 255" if value.dtype == torch.uint8 else f"use {name}.float()"
        raise TypeError(message(name, expected, value, hint))
    if dtypes is not None and value.dtype not in dtypes:
        known = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(message(name, f"a {known} tensor {form}", value, f"use {name}.float()"))
    if not _fits(value.shape, axes):
        raise ValueError(message(name, expected, value, advice))
    if value.numel() == 0:
        raise ValueError(message(name, f"{expected} with values in it", value))
    value = value.detach()
    if not torch.stack(value.aminmax()).isfinite().all():  # NaN, where there is one
        where = (~value.isfinite()).nonzero()
        got = Described(f"{len(where)} that are NaN or infinite, first {name}{where[0].tolist()}")
        raise ValueError(message(name, "finite values", got))
    return value


def _fits(shape: Sequence[int], axes: Axes) -> bool:
    sizes: list[Any] = list(shape)
    if ... in axes:  # it stands for as many axes as there are besides
        start = list(axes).index(...)
        sizes[start : start + len(sizes) + 1 - len(axes)] = [...]
    same = (isinstance(axis, str) or axis == size for axis, size in zip(axes, sizes, strict=False))
    return len(sizes) == len(axes) and all(same)


def array(value: Any, name: str, axes: Sequence[str | int], *, gaps: bool = False) -> np.ndarray:
    """Finite numbers (a tensor on any device, an array, nested lists) as a float64 array.

    `axes` as in `tensor`, without an open end; with `gaps`, NaN is let through.

    >>> array([[1, 2], [3, 4]], "points", ("n", 2)).shape
    (2, 2)
    """
    expected = f"numbers in an array ({', '.join(map(str, axes))})"
    try:
        plain = value.detach().double().cpu() if isinstance(value, Tensor) else value
        result = np.asarray(plain, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(message(name, expected, value)) from None
    if not _fits(result.shape, axes) or result.size == 0:
        raise ValueError(message(name, expected, Described(f"shape {result.shape}")))
    bad = np.isinf(result) if gaps else ~np.isfinite(result)
    if bad.any():
        got = Described(f"{bad.sum()} that are infinite{'' if gaps else ' or NaN'}")
        raise ValueError(message(name, "finite values", got, "look for a run that diverged"))
    return result


def as_many(value: Any, name: str, n: int, what: str) -> list:
    """`n` things in a sequence, as a list; `what` says which.

    >>> as_many(("in", "out"), "labels", 2, "texts, one a row")
    ['in', 'out']
    """
    result = list(value)
    if len(result) != n:
        raise ValueError(message(name, f"{n} {what}", Described(len(result))))
    return result


def images(
    value: Any,
    name: str = "images",
    *,
    like: Tensor | None = None,
    shape: Sequence[int] | None = None,
    span: tuple[float, float] | None = None,
    dtypes: Collection[torch.dtype] | None = None,
) -> Tensor:
    """Finite images (n, channels, height, width), n at least 1, detached.

    Args:
        value: to be checked; read once, never changed.
        name: what the caller calls them.
        like: images these pair with one for one: as many, of one shape. They come back with its
            dtype, on its device.
        shape: (channels, height, width) they must have.
        span: the values allowed, such as (0, 1); None for any.
        dtypes: those allowed; None for any floating-point one.

    Raises:
        TypeError: if they are no tensor, or hold whole numbers.
        ValueError: for other axes, no values, values that are not finite or outside `span`.

    >>> images(torch.zeros(2, 1, 8, 8), span=(0, 1)).shape
    torch.Size([2, 1, 8, 8])
    """
    axes = IMAGES if shape is None else ("n", *shape)
    advice = f"for one image use {name}[None]" if getattr(value, "ndim", 4) == 3 else ""
    result = tensor(value, name, axes if like is None else tuple(like.shape), dtypes=dtypes,
                    advice=advice)  # fmt: skip
    if span is not None:
        values_in(result, name, span)
    return result if like is None else result.to(like)


def values_in(value: Tensor, name: str, span: tuple[float, float], advice: str = "") -> None:
    """Values within `span`, both ends included; says so where they look like bytes or [-1, 1].

    Others get the `advice`. A millionth of the span beyond an end is rounding, and allowed.

    >>> values_in(torch.tensor([0.0, 1.0000001]), "images", (0, 1))
    """
    low, high = _ends(value)
    rounding = 1e-6 * (span[1] - span[0])
    if span[0] - rounding <= low and high <= span[1] + rounding:
        return
    if low >= 0 and high > 10:
        advice = f"if they run from 0 to 255, use {name} / 255"
    elif span == (0, 1) and -1 <= low < 0 and high <= 1:
        advice = f"if they run from -1 to 1, use ({name} + 1) / 2"
    got = Described(f"values from {low:.6g} to {high:.6g}")
    raise ValueError(message(name, f"values in [{span[0]:g}, {span[1]:g}]", got, advice))


def usual_range(value: Tensor, name: str = "images") -> None:
    """Warn of values outside [-1, 1], and refuse those beyond [-10, 10].

    The warning points at the line that called the caller.

    >>> usual_range(torch.ones(1, 1, 8, 8))
    """
    values_in(value, name, (-10, 10))
    low, high = _ends(value)
    if low < -1 or high > 1:
        warnings.warn(
            f"{name}: values from {low:.4g} to {high:.4g}; the book's models are made for [0, 1] "
            "or [-1, 1]",
            ValueRangeWarning,
            stacklevel=3,
        )


def _ends(value: Tensor) -> tuple[float, float]:
    low, high = value.detach().aminmax()
    return float(low), float(high)


def labels(value: Any, n: int, name: str = "labels", classes: int | None = None) -> Tensor:
    """Class labels: `n` whole numbers, from 0 to classes − 1 where `classes` is given; int64.

    >>> labels(torch.tensor([0, 2]), 2, classes=3).dtype
    torch.int64
    """
    expected = f"{n} whole numbers, one for each example"
    plain = isinstance(value, Tensor) and not (
        value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
    )
    if not plain:
        hint = f"use {name}.long()" if isinstance(value, Tensor) else ""
        raise TypeError(message(name, expected, value, hint))
    if tuple(value.shape) != (n,):
        raise ValueError(message(name, expected, value))
    if classes is not None:
        low, high = _ends(value)
        if low < 0 or high >= classes:
            got = Described(f"{low:g} to {high:g}")
            raise ValueError(message(name, f"whole numbers from 0 to {classes - 1}", got))
    return value.long()


def rows(
    value: Any, name: str, least: int = 1, dtypes: Collection[torch.dtype] | None = None
) -> Tensor:
    """Codes or features of `least` examples or more, (n, k) or as images, flattened to (n, k).

    >>> rows(torch.zeros(5, 3, 2, 2), "codes").shape
    torch.Size([5, 12])
    """
    axes = IMAGES if getattr(value, "ndim", 2) == 4 else ("n", "k")
    result = tensor(value, name, axes, dtypes=dtypes, advice="flatten what one example has")
    if len(result) < least:
        raise ValueError(message(name, f"{least} examples or more", value))
    return result.flatten(1)


def output(
    value: Any, like: Tensor, name: str = "model", advice: str = "", finite: bool = True
) -> Tensor:
    """What an autoencoder gave back: of the shape it got, and `finite`; else `advice` helps.

    >>> output(torch.ones(2, 3), like=torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    if not isinstance(value, Tensor) or value.shape != like.shape:
        got = Described(f"one that returns {described(value)}")
        expected = f"one that gives back the shape it gets, {tuple(like.shape)}"
        raise ValueError(message(name, expected, got, "change its shape argument or last layer"))
    if finite and not value.isfinite().all():
        got = Described("some that are NaN or infinite")
        raise ValueError(message(f"{name}(images)", "finite values", got, advice))
    return value
