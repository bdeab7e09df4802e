"""What of a run is stored in its notebook: outputs, lean metadata, a digest of their origin.

A run that says the same as the stored one leaves the stored outputs alone, so that a checkout does
not change for another machine's last digits.
"""

from __future__ import annotations

import ast
import base64
import copy
import json
import math
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from press import setup_cell
from press.files import ROOT, digest
from press.notebooks import Notebook

FRONT = ("fig-one-image", ROOT / "assets" / "front.png")  # the picture of README and front page
MADE_FROM = ("aelib/**/*", "requirements.lock")  # besides the notebook's own code
CLAIM = re.compile(r"[\"'](\d+\.\d+)[\"']")  # as code names one
GLUED = "application/papermill.record/text/plain"
MOVES = re.compile(r"<data[^>]*>[^<]*</data>")  # what a card marks as measured


def digest_of(notebook: Notebook) -> str:
    """What the outputs were made from, and they themselves, so that another hand is noticed."""
    code = json.dumps([setup_cell.body(cell.source) for cell in notebook.code])
    outputs = json.dumps([cell.outputs for cell in notebook.code], sort_keys=True)
    named = {claim for cell in notebook.code for claim in CLAIM.findall(cell.source)}

    def counts(path: Path) -> bool:
        """Not what comes from the chapters, nor the kept run of another chapter's claim, unless
        the notebook's code names it."""
        if path.name == "lessons.json":
            return False
        claim = re.fullmatch(r"(\d+)\.\d+", path.stem) if path.parent.name == "kept" else None
        own = claim is None or claim[1] == notebook.path.stem[:2].lstrip("0")
        return own or path.stem in named

    return digest(ROOT, MADE_FROM, code, outputs, content=what_runs, counts=counts)


@cache  # what a kernel imports at its start counts, not what a file holds when it ends
def what_runs(path: Path) -> bytes:
    """A file's bytes; of Python what can change a result: no comments, docstrings, empty lines."""
    if path.suffix != ".py":
        return path.read_bytes()
    with tokenize.open(path) as file:
        lines = file.read().splitlines()
    tree = ast.parse("\n".join(lines))
    for token in tokenize.generate_tokens(iter([line + "\n" for line in lines]).__next__):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            words = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            if words and not lines[words.lineno - 1][: words.col_offset].strip():
                last = words.end_lineno or words.lineno
                lines[words.lineno - 1 : last] = [""] * (last - words.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip()).encode()


def agrees(stored: Any, fresh: Any) -> bool:
    """Whether two outputs say the same on two machines.

    Pictures may differ, a measured value may lie anywhere in its stored interval, and a glued
    number may move by a thousandth. Words, verdicts and all else must be the same.
    """
    if isinstance(stored, dict) and isinstance(fresh, dict):
        skipped = {key for key in stored if key.startswith("image/")}
        if {"value", "low", "high"} <= stored.keys() & fresh.keys():
            slack = 1e-6 * max(abs(stored["low"]), abs(stored["high"]))
            if not stored["low"] - slack <= fresh["value"] <= stored["high"] + slack:
                return False
            skipped |= {"value", "low", "high"}
        if GLUED in stored and GLUED in fresh:
            texts = stored[GLUED], fresh[GLUED]
            if texts[0] != texts[1] and not math.isclose(*map(float, texts), rel_tol=1e-3):
                return False
            skipped.add(GLUED)
        return stored.keys() == fresh.keys() and all(
            agrees(stored[key], fresh[key]) for key in stored.keys() - skipped
        )
    if isinstance(stored, list) and isinstance(fresh, list):
        return len(stored) == len(fresh) and all(map(agrees, stored, fresh))
    return stored == fresh


def comparable(cell: NotebookNode) -> list[NotebookNode]:
    """A cell's outputs as far as another machine has to give them too."""
    outputs = copy.deepcopy(cell.outputs)
    if "# NBVAL_IGNORE_OUTPUT" in cell.source:
        outputs = [output for output in outputs if output.get("metadata")]
    for output in outputs:
        if "claim" in output.get("metadata", {}):
            output.data["text/html"] = MOVES.sub("<data/>", output.data.get("text/html", ""))
    return outputs


def settle(
    notebook: Notebook, fresh: NotebookNode, machine: str, seconds: int, renew: bool = False
) -> Notebook:
    """What is to be stored: the fresh run, but with the old outputs where they say the same.

    On the machine that made them outputs repeat to the bit, so there any difference is the code's;
    on another the numbers may move. `renew` takes the fresh ones in any case.
    """
    old, last = notebook.code, notebook.last_run
    new = [cell for cell in fresh.cells if cell.cell_type == "code"]
    same = [cell.outputs for cell in old] == [cell.outputs for cell in new]
    if last and last["machine"] != machine and not renew:
        same = same or agrees(list(map(comparable, old)), list(map(comparable, new)))
    if same and last:
        for before, after in zip(old, new, strict=True):
            after.outputs = before.outputs
        machine, seconds = last["machine"], last["seconds"]
    widgets = (notebook.content if same else fresh).metadata.get("widgets")
    fresh.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        aelib={"seconds": seconds, "machine": machine},
        **({"widgets": widgets} if widgets else {}),
    )
    for cell in fresh.cells:
        tidy(cell)
    result = with_numbers(Notebook(notebook.path, nbformat.v4.reads(nbformat.v4.writes(fresh))))
    result.last_run["digest"] = digest_of(result)
    nbformat.validate(result.content)
    return result


# A number in the prose and, where no reader sees it, where it comes from and the range in which the
# words around it are true: 0.12<!-- loss:.2f from 0.1 to 0.2 -->. An author writes
# {glue:text}`loss:.2f`<!-- from 0.1 to 0.2 -->.
GLUED_IN_PROSE = re.compile(
    r"(?:\{glue:text\}`(?P<role>[\w.-]+(?::[^`]+)?)`(?:<!--(?P<asked> from [^>]*?) -->)?"
    r"|(?:[-+]?\d[\d.,]*(?:e[-+]?\d+)?%?|[-+]?nan%?|[-+]?inf%?)"
    r"<!-- (?P<note>[\w.-]+(?::\S+)?)(?P<kept> [^>]*?)? -->)"
)
RANGE = re.compile(r" from ([-+]?[\d.]+(?:e[-+]?\d+)?|-inf) to ([-+]?[\d.]+(?:e[-+]?\d+)?|inf)")


def with_numbers(notebook: Notebook) -> Notebook:
    """The notebook with the numbers its cells glued in its prose, readable wherever it is opened.

    Raises:
        ValueError: for a number that no cell glues, for two of one name, and for one that has left
            the range in which the words around it are true.
    """
    glued: dict[str, float] = {}
    for output in (output for cell in notebook.code for output in cell.outputs):
        if GLUED in output.get("data", {}) and "scrapbook" in output.metadata:
            name = output.metadata["scrapbook"]["name"]
            if name in glued:
                raise ValueError(f"{notebook.path.name}: two numbers are glued as {name}")
            glued[name] = float(output.data[GLUED])

    def number(found: re.Match) -> str:
        what, held = found["role"] or found["note"], found["asked"] or found["kept"] or ""
        name, _, form = what.partition(":")
        if name not in glued:
            raise ValueError(f"{notebook.path.name}: no cell glues {name}, which the prose names")
        value, around = glued[name], RANGE.fullmatch(held)
        if held and not around:
            raise ValueError(f"{notebook.path.name}: {name} has {held.strip()!r} for its range")
        if around and not float(around[1]) <= value <= float(around[2]):
            words = " ".join(found.string[max(0, found.start() - 80) : found.end() + 60].split())
            raise ValueError(
                f"{notebook.path.name}: {name} is {value:.6g}, and the words around it are true"
                f"{held}: “… {words} …”. Mend the words, then the range."
            )
        return f"{value:{form}}<!-- {what}{held} -->"

    content = copy.deepcopy(notebook.content)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = GLUED_IN_PROSE.sub(number, cell.source)
    return Notebook(notebook.path, content)


def tidy(cell: NotebookNode) -> None:
    """Keep of a cell's metadata what a reader or a page needs, and give its figure its words."""
    kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if key in cell.metadata}
    if cell.cell_type == "code":
        page = {
            key: value
            for key, value in kept.pop("mystnb", {}).items()
            if key not in ("image", "figure")
        }
        for output in cell.outputs:
            if figure := output.get("metadata", {}).get("figure"):
                page["image"] = {"alt": figure["alt"]}
                page["figure"] = {"caption": figure["caption"], "name": figure["name"]}
        kept |= {"mystnb": page} if page else {}
    cell.metadata = NotebookNode(kept)


def front_picture(notebook: Notebook) -> bytes | None:
    """The front page's figure, if this notebook drew it."""
    for cell in notebook.code:
        for output in cell.outputs:
            if output.get("metadata", {}).get("figure", {}).get("name") == FRONT[0]:
                picture = output.data.get("image/png")
                if picture is None:
                    raise SystemExit(f"{FRONT[0]}: the front page shows a PNG; this is none")
                return base64.b64decode(picture)
    return None
