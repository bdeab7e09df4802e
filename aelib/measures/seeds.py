"""Seeds as an axis: a measure of one model, given a list of models, answers for each of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar, Union

import numpy as np
import torch
from torch import Tensor

from aelib import checks

T = TypeVar("T")
P = ParamSpec("P")
Seeds = Union[T, Sequence[T]]  # noqa: UP007, for | makes no alias that can be subscripted


def over_seeds(
    *names: str, **axes: int | tuple[int, ...]
) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Let the arguments called so be given once, or one a seed; results are stacked, seeds first.

    One a seed is a list, a tuple or a range; for an argument with a number of axes, also a tensor
    or array that has more. All that are given so must be equally many; the others are shared by all
    seeds, and a torch.Generator among them gives every seed the same draws. A row of the result is
    what the seed alone gives, bit for bit. Tensors and numbers become tensors, named tuples become
    named tuples of them, anything else, such as a filter, a list.

    Args:
        names: arguments that are no tensors, such as "model", or of any shape.
        axes: argument to the number of axes that one of it has, 4 for images, 0 for a number.

    >>> @over_seeds("model", x=1)
    ... def largest(model, x):
    ...     return float(model(x).max())
    >>> largest([torch.neg, torch.square], torch.tensor([1.0, 3.0]))
    tensor([-1.,  9.], dtype=torch.float64)
    """

    def decorate(measure: Callable[P, Any]) -> Callable[P, Any]:
        signature = inspect.signature(measure)

        @functools.wraps(measure)
        def over(*args: P.args, **kwargs: P.kwargs) -> Any:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments
            listed = {
                name: value
                for name, value in given.items()
                if (name in names or name in axes) and _is_listed(value, axes.get(name, ()))
            }
            if not listed:
                return measure(*args, **kwargs)
            n = _length(listed)
            sources = [value for value in given.values() if isinstance(value, torch.Generator)]
            states = [source.get_state() for source in sources]
            results = []
            for seed in range(n):
                for source, state in zip(sources, states, strict=True):
                    source.set_state(state)
                given.update({name: value[seed] for name, value in listed.items()})
                try:
                    results.append(over(*bound.args, **bound.kwargs))  # a list may hold lists
                except (TypeError, ValueError) as error:
                    kind = TypeError if isinstance(error, TypeError) else ValueError
                    raise kind(f"seed {seed}: {error}") from error
            return _stacked(results)

        return over

    return decorate


def _is_listed(value: Any, axes: int | tuple[int, ...]) -> bool:
    if isinstance(value, list | tuple | range):
        return True
    single = (axes,) if isinstance(axes, int) else axes
    tensor = isinstance(value, Tensor | np.ndarray) and len(single) > 0
    return tensor and value.ndim > min(single) and value.ndim not in single


def _length(listed: dict[str, Any]) -> int:
    lengths = {name: len(value) for name, value in listed.items()}
    n = next(iter(lengths.values()))
    if n == 0 or set(lengths.values()) != {n}:
        names = " and ".join(lengths)
        got = checks.Described(" and ".join(map(str, lengths.values())))
        raise ValueError(checks.message(names, "one for each seed, equally many", got))
    return n


def _stacked(results: list[Any]) -> Any:
    first = results[0]
    if isinstance(first, tuple):
        columns = [_stacked(list(column)) for column in zip(*results, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    if isinstance(first, Real):  # whole numbers and booleans as they are
        return torch.tensor(results, dtype=None if isinstance(first, Integral) else torch.float64)
    if not isinstance(first, Tensor):
        return results
    if len({tuple(result.shape) for result in results}) > 1:
        shapes = checks.Described(" and ".join(str(tuple(result.shape)) for result in results))
        raise ValueError(checks.message("results", "one shape for all seeds, to be stacked", shapes,
                                        "give each seed as many images"))  # fmt: skip
    return torch.stack(results)
