"""The one reader of notebooks: cells, prose, the last run, and the claims among the outputs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

from press.files import CHAPTERS


class Judged(NamedTuple):
    """A claim's record as a cell's output carries it, and the id of its card on the page."""

    record: dict[str, Any]
    anchor: str


@dataclass(frozen=True)
class Notebook:
    """A stored notebook."""

    path: Path
    content: NotebookNode = field(repr=False)

    @property
    def code(self) -> list[NotebookNode]:
        """The code cells."""
        return [cell for cell in self.content.cells if cell.cell_type == "code"]

    @property
    def prose(self) -> list[str]:
        """The texts of the cells of words."""
        return [cell.source for cell in self.content.cells if cell.cell_type == "markdown"]

    @property
    def title(self) -> str:
        """The first heading; the file's name where there is none."""
        heading = re.search(r"^# +(.+)$", "\n".join(self.prose), re.MULTILINE)
        return heading[1].strip() if heading else self.path.stem

    @property
    def last_run(self) -> dict[str, Any]:
        """`seconds`, `machine` and `digest` of the run that was stored; empty if there was none."""
        return self.content.metadata.get("aelib", {})

    def claims(self) -> Iterator[Judged]:
        """The claims that were judged, in the order of their cards."""
        for cell in self.code:
            for output in cell.outputs:
                if record := output.get("metadata", {}).get("claim"):
                    html = output.get("data", {}).get("text/html", "")
                    anchor = re.search(r"""\bid=["']([^"']+)["']""", html)
                    yield Judged(record, anchor[1] if anchor else "")


def read(path: Path) -> Notebook:
    """The notebook at `path`.

    Raises:
        ValueError: for a file that is not a notebook; names it.
    """
    try:
        content = nbformat.v4.reads(path.read_text(encoding="utf-8"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cells without ids, as older editors wrote them
            nbformat.validate(content)
    except (ValueError, TypeError, AttributeError, nbformat.ValidationError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a notebook of format 4 ({why})") from error
    return Notebook(path, content)


def notebooks(folder: Path = CHAPTERS) -> list[Notebook]:
    """The notebooks of a folder, in the order of their names.

    Raises:
        FileNotFoundError: if there are none.
    """
    paths = sorted(Path(folder).glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no notebooks in {Path(folder).resolve()}")
    return [read(path) for path in paths]
