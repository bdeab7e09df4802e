"""A lesson's first cell: what it runs on, and help for cells that are run out of order."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.metadata import metadata
from importlib.resources import files
from typing import Any

from aelib import checks
from aelib.runtime.machine import header, versions


def lesson(name: str, version: str | None = None) -> str:
    """Begin a lesson, and say what it runs on.

    From here on a cell that lacks a name says which cell of the lesson makes it.

    Args:
        name: the notebook's, such as "01_introduction".
        version: of aelib, that the notebook was made with. Where another is found, the words say
            so and what to do.

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
    return "\n\n".join(filter(None, [header(), _other_version(version), _raw_marks()]))


def _other_version(wanted: str | None) -> str:
    """What to say where the version found is not the notebook's own."""
    found = versions().get("aelib", "of no version")
    if wanted in (None, found):
        return ""
    # BOOK is the set-up cell's own name for the repository.
    home = _address("Repository") or "BOOK"
    return (
        f"This page was made with aelib {wanted}; here is aelib {found}. Cards and numbers may "
        "differ from the page's, and a cell may fail.\nTo have the page's own: on Colab, Runtime → "
        "Disconnect and delete runtime, then begin again;\nelsewhere, "
        f"pip install 'aelib[mnist,pretrained] @ git+{home}@v{wanted}' and restart the kernel"
        f"{'; BOOK is the address above' if home == 'BOOK' else ''}."
    )


def _raw_marks() -> str:
    """On Colab: where to read what it shows as it is written, {cite} and the like."""
    if "google.colab" not in sys.modules:
        return ""
    pages = _address("Book")
    where = f"at {pages}" if pages else "on the book's own pages"
    return f"Colab shows references and boxes in their source. Set, they stand {where}"


def _address(what: str) -> str:
    """The book's "Repository", or its pages, "Book"; "" where what is installed does not tell."""
    urls = metadata("aelib").get_all("Project-URL") or []
    return next((url.split(", ", 1)[1] for url in urls if url.startswith(f"{what}, ")), "")


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
