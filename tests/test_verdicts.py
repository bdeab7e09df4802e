"""press.verdicts: the chapters again, with other seeds or on other kernels."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from press.notebooks import Notebook
from press.verdicts import again

CELL = """
import os
from IPython.display import display
seed = int(os.environ.get("AELIB_SEED_OFFSET", 0))
record = {"id": "1.1", "verdict": "supported" if seed < 1 else "refuted"}
display({"text/plain": "card"}, raw=True, metadata={"claim": record})
"""


@pytest.fixture
def notebook(tmp_path: Path):
    """Makes a notebook of code cells whose stored verdict on claim 1.1 is "supported"."""

    def make(*cells: str) -> Notebook:
        stored = {"claim": {"id": "1.1", "verdict": "supported"}}
        output = nbformat.v4.new_output("display_data", metadata=stored)
        made = [nbformat.v4.new_code_cell(cell) for cell in cells]
        made[-1].outputs = [output]
        content = nbformat.v4.new_notebook(cells=made)
        nbformat.write(content, tmp_path / "01_chance.ipynb")
        return Notebook(tmp_path / "01_chance.ipynb", content)

    return make


@pytest.mark.parametrize(("by", "turned"), [("1", 1), ("-1", 0)])
def test_a_verdict_that_hangs_on_its_seeds_is_found(notebook, capsys, by, turned):
    book = notebook(CELL)
    before = book.path.read_bytes()
    variables = {"AELIB_SEED_OFFSET": by}
    assert asyncio.run(again(book, "other seeds", variables)) == (turned, True)
    assert ("claim 1.1: supported → refuted" in capsys.readouterr().out) == bool(turned)
    assert book.path.read_bytes() == before


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("1 / 0", "failed: 1 / 0 … ZeroDivisionError"),
        ("1 +", "failed: 1 + … SyntaxError"),
        ("import os; os._exit(3)", "The kernel died"),
    ],
)
def test_a_claim_behind_a_failed_cell_is_named(notebook, capsys, cell, complaint):
    assert asyncio.run(again(notebook("x = 1", cell), "two threads", {})) == (0, False)
    words = capsys.readouterr().out
    assert complaint in words
    assert "not judged: 1.1" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("seeds", "1000", "nowhere.ipynb"), "nowhere.ipynb"),
        (("seeds", "0"), "by: expected a number other than 0"),
        (("kernels", "nowhere.ipynb"), "nowhere.ipynb"),
    ],
)
def test_what_cannot_be_run_is_named_before_anything_runs(arguments, words):
    command = [sys.executable, "-m", "press.verdicts", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
