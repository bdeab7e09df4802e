"""A lesson's first cell: what it runs on, and help for cells that are run out of order."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.metadata import metadata
from importlib.resources import files
from typing import Any

from aelib import checks
from aelib.runtime.machine import header


def lesson(name: str) -> str:
    """Begin a lesson, and say what it runs on.

    From here on a cell that lacks a name says which cell of the lesson makes it.

    Args:
        name: the notebook's, such as "01_introduction".

    Raises:
        ValueError: for a lesson there is none of.
    """
    checks.choice(name, "name", list(_lessons()))
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:

        def explain(shell, kind, error, trace, tb_offset=None):
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            if words := lacks(name, getattr(error, "name", None)):
                print(words, file=sys.stderr)

        shell.set_custom_exc((NameError,), explain)
    return "\n\n".join(filter(None, [header(), _raw_marks()]))


def _raw_marks() -> str:
    """On Colab: where to read what it shows as it is written, {cite} and the like."""
    if "google.colab" not in sys.modules:
        return ""
    urls = metadata("aelib").get_all("Project-URL") or []
    pages = (url.removeprefix("Book, ") for url in urls if url.startswith("Book, "))
    where = next((f"at {page}" for page in pages), "on the book's own pages")
    return f"Colab shows references and boxes in their source. Set, they stand {where}"


def lacks(lesson: str, name: Any) -> str:
    """Which cell of the lesson makes this name, in words; "" where none does.

    >>> lacks("01_introduction", "no_such_name")
    ''
    """
    if name not in _lessons()[lesson]:
        return ""
    section, line = _lessons()[lesson][name]
    return (
        f"`{name}` is made in “{section}”, by the cell that begins\n\n    {line}\n\nRun it first."
    )


@cache
def _lessons() -> dict[str, dict[str, tuple[str, str]]]:
    content = files("aelib").joinpath("lessons.json").read_text(encoding="utf-8")
    return json.loads(content)
