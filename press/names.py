"""Which cell of a lesson makes which name, so that a lesson run out of order can say what it lacks.

`press.execute` writes them to aelib/lessons.json, which travels with the package.
"""

from __future__ import annotations

import ast
import json
import re

from press.files import ROOT, write_whole
from press.notebooks import Notebook, notebooks
from press.setup_cell import body

FILE = ROOT / "aelib" / "lessons.json"


def made(notebook: Notebook) -> dict[str, list[str]]:
    """By name: the section whose cell makes it first, and that cell's first line."""
    result: dict[str, list[str]] = {}
    section = notebook.title
    for cell in notebook.content.cells:
        if cell.cell_type == "markdown":
            section = (re.findall(r"^#+ +(.+)$", cell.source, re.MULTILINE) or [section])[-1]
            continue
        if cell.cell_type != "code":
            continue
        lines = [line for line in cell.source.splitlines() if line.strip()]
        first = next((line for line in lines if not line.startswith("#")), "")
        for name in _assigned(ast.parse(body(cell.source))):  # the set-up's head is no lesson's
            result.setdefault(name, [section, first])
    return result


def _assigned(tree: ast.Module) -> list[str]:
    """The names that a cell leaves behind; not those inside its functions and comprehensions."""
    found, open_nodes = [], list(ast.iter_child_nodes(tree))
    while open_nodes:
        node = open_nodes.pop(0)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
            continue
        if isinstance(
            node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        ):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [(each.asname or each.name).split(".")[0] for each in node.names]
        open_nodes += ast.iter_child_nodes(node)
    return found


def text() -> str:
    """What the file has to hold for the chapters as they stand."""
    found = {note.path.stem: made(note) for note in notebooks()}
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write() -> None:
    """Bring the file up to the chapters."""
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text():
        write_whole(FILE, text().encode())
