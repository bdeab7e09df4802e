"""What tells a reader whether an exercise is solved.

A chapter's file has a function for each of its exercises, `ex_1_mean` for the one labelled
`ex-1-mean`: it takes the reader's answer, and raises AssertionError with a sentence that helps
where the answer is wrong. Nothing here shows a solution.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from aelib import checks


def exercises() -> dict[str, Any]:
    """Every exercise's test, by label."""
    result = {}
    for module in pkgutil.iter_modules(__path__):
        content = importlib.import_module(f"{__name__}.{module.name}")
        for name, test in inspect.getmembers(content, inspect.isfunction):
            if name.startswith("ex_"):
                result[name.replace("_", "-")] = test
    return result


def check(label: str, answer: Any) -> bool:
    """Say whether an answer is right, or what is wrong with it.

    Args:
        label: the exercise's, such as "ex-1-mean".
        answer: what the exercise asks for. None, `...`, or a function that returns one of them,
            is an exercise that was not tried yet.

    Returns:
        Whether it is right.

    Raises:
        ValueError: for a label no exercise has.

    >>> check("ex-1-mean", None)
    ex-1-mean: not tried yet.
    False
    """
    known = exercises()
    if label not in known:
        raise ValueError(
            checks.message("label", "an exercise's", label, checks.nearest(label, list(known)))
        )
    if _untried(answer):
        print(f"{label}: not tried yet.")
        return False
    try:
        known[label](answer)
    except NotTried:
        print(f"{label}: not tried yet.")
    except AssertionError as wrong:
        print(f"{label}: not yet. {wrong}")
    except Exception as error:  # a reader's own function may fail in any way
        print(f"{label}: not yet. It stopped with {type(error).__name__}: {error}")
    else:
        print(f"{label}: right.")
        return True
    return False


class NotTried(Exception):
    """An answer with nothing in it."""


def tried(value: Any) -> Any:
    """What an answer's function returned, for a test to look at.

    Raises:
        NotTried: for None and `...`, which a stub returns.
    """
    if _untried(value):
        raise NotTried
    return value


def _untried(value: Any) -> bool:
    return value is None or value is ...
