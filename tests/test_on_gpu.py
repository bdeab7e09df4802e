"""The lessons on a GPU: what is kept of them, and what a cell that fails says."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from press import environment, on_gpu
from press.notebooks import notebooks


def notebook(path: Path, *sources: str) -> Path:
    """A notebook of code cells, and of words where a source begins with #."""
    make = nbformat.v4
    cells = [
        (make.new_markdown_cell if source.startswith("#") else make.new_code_cell)(source)
        for source in sources
    ]
    path.write_text(nbformat.v4.writes(make.new_notebook(cells=cells)))
    return path


def test_a_lesson_s_cells_run_in_one_namespace_and_their_times_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("AELIB_PROFILE", "gpu")
    code = "import aelib as ae\nassert ae.runtime.profile().name == 'gpu'\ndisplay(a); print(a)"
    path = notebook(tmp_path / "one.ipynb", "# One", "a = 1", "b = a", "## Two", code)
    assert on_gpu.run_all([path], tmp_path / "kept") == 0
    record = json.loads((tmp_path / "kept" / "one.json").read_text())
    assert [(cell["cell"], cell["heading"]) for cell in record["cells"]] == [
        (2, "One"),
        (3, "One"),
        (5, "Two"),
    ]
    assert record["profile"] == "gpu"


def test_a_cell_that_fails_is_named_and_nothing_of_its_lesson_is_kept(tmp_path, capsys):
    path = notebook(tmp_path / "one.ipynb", "# One", "a = 1", "a / 0")
    assert on_gpu.run_all([path], tmp_path / "kept") == 1
    said = capsys.readouterr().err
    assert said.startswith("one.ipynb, cell 3 (One), failed:")
    assert "ZeroDivisionError" in said
    assert not (tmp_path / "kept").exists()


def test_a_summary_says_all_the_longest_the_device_and_its_memory():
    cells = [{"cell": 1, "heading": "One", "seconds": s} for s in (1.2, 30.4)]
    record = {"device": "a GPU", "gigabytes": 0.26, "cells": cells}
    words = "32 s on a GPU, longest cell 30 s, 0.3 GB of its memory"
    assert on_gpu.summary(record) == words


def test_what_is_kept_is_of_lessons_and_of_a_gpu():
    lessons = {book.path.stem for book in notebooks()}
    for path in on_gpu.KEPT.glob("*.json"):
        assert path.stem in lessons, f"{path} is of no lesson; delete it"
        assert on_gpu.kept(path.stem)["device"] != "no GPU"


def test_a_notebook_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["on_gpu", "nowhere.ipynb"])
    monkeypatch.setattr(environment, "quiet", lambda: pytest.fail("work was begun"))
    with pytest.raises(SystemExit):
        on_gpu.main()
    assert "nowhere.ipynb is not a notebook here" in capsys.readouterr().err
