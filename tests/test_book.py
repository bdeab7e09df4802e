"""press.execute and press.stored: what runs again, how it ends, and what is stored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from press.ledger import RECORD
from press.notebooks import Notebook
from press.stored import GLUED, digest_of, settle, what_runs

ROOT = Path(__file__).resolve().parents[1]
TINY = '''
"""A package of two functions."""

SCALE = 2


def used(x):
    """Called by the notebook."""
    return SCALE * x + 1  # a comment
'''
CARD = f"""
from IPython.display import display
record = dict.fromkeys({RECORD}) | {{{{"id": "1.1", "verdict": "{{}}"}}}}
display({{{{"text/html": "<p id='claim-1-1'></p>"}}}}, raw=True, metadata={{{{"claim": record}}}})
"""
MACHINE = """
def machine():
    return "an abacus"
"""


@dataclass(frozen=True)
class Book:
    """A book of one notebook and a package of a few lines, in a folder of its own."""

    root: Path

    @property
    def notebook(self) -> Path:
        return self.root / "chapters" / "01_tiny.ipynb"

    def write(self, *cells: str, prose: str = "# Tiny") -> None:
        """Make the notebook anew from code cells."""
        notebook = nbformat.v4.new_notebook()
        notebook.cells.append(nbformat.v4.new_markdown_cell(prose, id="prose"))
        for index, cell in enumerate(cells):
            notebook.cells.append(nbformat.v4.new_code_cell(cell, id=f"cell-{index}"))
        nbformat.write(notebook, self.notebook)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "press.execute", *options],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def execute(self, *options: str, code: int = 0) -> str:
        """Run the press; what it said."""
        with self.start(*options) as process:
            words, _ = process.communicate(timeout=120)
        assert process.returncode == code, words
        return words

    def runs(self, *options: str) -> bool:
        """Run the press; whether the notebook was executed."""
        return ": running" in self.execute(*options)

    def change(self, old: str, new: str) -> None:
        path = self.root / "aelib" / "tiny.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def read(self) -> nbformat.NotebookNode:
        return nbformat.read(self.notebook, as_version=4)

    def printed(self, cell: int = 1) -> str:
        return "".join(output.get("text", "") for output in self.read().cells[cell].outputs)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    root = tmp_path / "book"
    shutil.copytree(ROOT / "press", root / "press", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", root)
    (root / "chapters").mkdir()
    (root / "aelib").mkdir()
    (root / "aelib" / "__init__.py").write_text("from aelib import runtime\n")
    (root / "aelib" / "runtime.py").write_text(MACHINE)
    (root / "aelib" / "tiny.py").write_text(TINY)
    made = Book(root)
    made.write("from aelib.tiny import used\nprint('result', used(3))")
    return made


# --- When it runs --------------------------------------------------------------------------------


def test_a_change_of_the_package_changes_the_notebook(book: Book) -> None:
    assert book.runs()
    assert book.printed() == "result 7\n"
    book.change("SCALE * x", "SCALE * x + 100")
    assert book.runs()
    assert book.printed() == "result 107\n"
    book.change("SCALE = 2", "SCALE = 5")
    assert book.runs()
    assert book.printed() == "result 116\n"


def test_nothing_is_run_when_no_result_can_have_changed(book: Book) -> None:
    assert book.runs()
    stored = book.notebook.read_bytes()
    assert not book.runs()
    book.change("# a comment", "# another comment")
    book.change("Called by the notebook.", "Called by one notebook.\n\n    Twice.\n    ")
    assert not book.runs()
    assert book.notebook.read_bytes() == stored


def test_a_fresh_clone_runs_nothing_and_force_everything(book: Book, tmp_path: Path) -> None:
    assert book.runs()
    clone = Book(tmp_path / "clone")
    shutil.copytree(book.root, clone.root, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    assert not clone.runs()
    before = clone.notebook.read_bytes()
    assert clone.runs("--force")
    assert clone.notebook.read_bytes() == before


def test_a_check_runs_nothing_and_names_what_would_run(book: Book) -> None:
    before = book.notebook.read_bytes()
    words = book.execute("--check", code=1)
    assert "The code has changed since it ran: chapters/01_tiny.ipynb. Run: make book" in words
    assert ": running" not in words
    assert book.notebook.read_bytes() == before
    assert not (book.root / "aelib" / "lessons.json").exists()
    assert book.runs()
    assert "nothing that reaches it has changed" in book.execute("--check")


def test_prose_may_change_but_code_and_outputs_may_not(book: Book) -> None:
    assert book.runs()
    notebook = book.read()
    notebook.cells[0].source = "# Another title"
    nbformat.write(notebook, book.notebook)
    assert not book.runs()
    notebook.cells[1].outputs[0].text = "result 8\n"
    nbformat.write(notebook, book.notebook)
    assert book.runs()
    assert book.printed() == "result 7\n"
    notebook = book.read()
    notebook.cells[1].source = notebook.cells[1].source.replace("3", "4")
    nbformat.write(notebook, book.notebook)
    assert book.runs()
    assert book.printed() == "result 9\n"


def test_the_lock_and_the_packages_data_reach_the_notebook(book: Book) -> None:
    kept = book.root / "aelib" / "kept.json"
    kept.write_text("1")
    book.write(
        "import aelib, pathlib", "print(pathlib.Path(aelib.__path__[0], 'kept.json').read_text())"
    )
    assert book.runs()
    kept.write_text("2")
    assert book.runs()
    assert book.printed(2) == "2\n"
    with (book.root / "requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    assert book.runs()
    assert not book.runs()


# --- How it ends ---------------------------------------------------------------------------------


def test_a_failing_cell_is_reported_and_nothing_is_stored(book: Book) -> None:
    assert book.runs()
    book.write("print('fine')", "1 / 0")
    before = book.notebook.read_bytes()
    for _ in range(2):  # a notebook that failed is tried again
        words = book.execute(code=1)
        assert "01_tiny.ipynb, cell 3, failed" in words
        assert "1 / 0" in words
        assert "ZeroDivisionError" in words
        assert "Failed: chapters/01_tiny.ipynb" in words
    assert book.notebook.read_bytes() == before
    assert [path.name for path in book.notebook.parent.iterdir()] == ["01_tiny.ipynb"]


def test_a_cell_that_takes_too_long_is_stopped(book: Book) -> None:
    book.write("import time; time.sleep(60)")
    assert "longer than 1 s" in book.execute("--timeout", "1", code=1)


def test_what_is_written_while_it_runs_is_not_lost(book: Book) -> None:
    book.write("import pathlib, time; pathlib.Path('began').touch(); time.sleep(3)")
    process = book.start()
    wait((book.notebook.parent / "began").exists)
    notebook = book.read()
    notebook.cells[0].source = "# A better title"
    nbformat.write(notebook, book.notebook)
    words, _ = process.communicate(timeout=60)
    assert "changed while it ran" in words
    assert process.returncode == 1
    assert book.read() == notebook


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_the_kernels_and_keeps_the_notebooks(
    book: Book, stop: signal.Signals
) -> None:
    cell = "import os, time; open('pid{}', 'w').write(str(os.getpid())); time.sleep(120)"
    book.write(cell.format(2))
    book.notebook.rename(book.notebook.with_name("02_second.ipynb"))
    book.write(cell.format(1))
    before = book.notebook.read_bytes()
    process = book.start()
    files = [book.root / "chapters" / name for name in ("pid1", "pid2")]
    wait(lambda: all(file.exists() and file.read_text() for file in files))
    os.killpg(process.pid, stop) if stop is signal.SIGINT else process.send_signal(stop)
    words, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + stop
    assert "Stopped" in words
    assert "Traceback" not in words
    wait(lambda: not any(alive(int(file.read_text())) for file in files))
    assert book.notebook.read_bytes() == before
    assert sum(path.suffix == ".ipynb" for path in book.notebook.parent.iterdir()) == 2


def wait(condition, seconds: float = 30) -> None:
    """Wait until the condition holds; fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be collected does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_verdict_that_the_prose_denies_ends_with_1(book: Book) -> None:
    card = CARD.format("refuted")
    book.write(card, prose="# T\n\nClaim 1.1 {bdg-success}`supported`")
    words = book.execute(code=1)
    assert "claim 1.1 is refuted, but the prose says supported" in words
    assert "claim 1.1 is refuted" in book.execute(code=1), "also where nothing has to run"
    book.write(card, prose="# T\n\nClaim 1.1 {bdg-danger}`refuted`")
    book.execute()


def test_a_path_that_is_no_notebook_is_refused(book: Book) -> None:
    words = book.execute("chapters/none.ipynb", code=2)
    assert "chapters/none.ipynb is not a notebook here" in words
    book.notebook.write_text("{}")
    words = book.execute(code=2)
    assert "01_tiny.ipynb is not a notebook" in words
    assert "Traceback" not in words


# --- What is stored ------------------------------------------------------------------------------


def test_metadata_is_lean_and_figures_take_their_words_along(book: Book) -> None:
    figure = {"name": "fig-one", "alt": "A square.", "caption": "It is a square."}
    book.write(
        "from IPython.display import display\n"
        "display({'text/plain': '<Figure fig-one>'}, raw=True,"
        f" metadata={{'figure': {figure!r}}})"
    )
    notebook = book.read()
    notebook.metadata["toc"] = {"volatile": True}
    notebook.cells[1].metadata.update(
        tags=["define"], ExecuteTime="now", mystnb={"figure": {"name": "fig-old"}, "code_prompt": 1}
    )
    nbformat.write(notebook, book.notebook)
    assert book.runs()
    notebook = book.read()
    assert set(notebook.metadata) == {"kernelspec", "language_info", "aelib"}
    assert set(notebook.metadata.aelib) == {"seconds", "machine", "digest"}
    assert notebook.metadata.aelib.machine == "an abacus"
    assert notebook.cells[1].metadata == {
        "tags": ["define"],
        "mystnb": {
            "code_prompt": 1,
            "image": {"alt": "A square."},
            "figure": {"caption": "It is a square.", "name": "fig-one"},
        },
    }
    notebook.cells[1].source = "pass"
    nbformat.write(notebook, book.notebook)
    assert book.runs()
    assert book.read().cells[1].metadata.mystnb == {"code_prompt": 1}


def test_the_kernel_is_this_python_in_a_quiet_environment(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "home" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "Not this one", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    book.write(
        "import os, sys\n"
        "names = ('AELIB_INTERACTIVE', 'PYTHONHASHSEED', 'AELIB_SEED_OFFSET')\n"
        "print(sys.prefix, *map(os.environ.get, names), os.path.basename(os.getcwd()))"
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "home"))
    monkeypatch.setenv("AELIB_SEED_OFFSET", "7")
    assert book.runs()
    assert book.printed() == f"{sys.prefix} 0 0 None chapters\n"


# --- On another machine --------------------------------------------------------------------------


def made(machine: str | None, text: str = "7", **card: object) -> Notebook:
    """A stored notebook: a printed line, a figure, a glued number and a card, run on `machine`."""
    settings = {"value": 0.5, "verdict": "supported", "picture": "aaaa", "glued": "1.2345", **card}
    outputs = [
        nbformat.v4.new_output("stream", text=text),
        nbformat.v4.new_output("display_data", {"image/png": settings["picture"]}),
        nbformat.v4.new_output("display_data", {GLUED: settings["glued"]}),
        nbformat.v4.new_output(
            "display_data",
            {"text/html": f"<p>{settings['verdict']} <data>{settings['value']}</data></p>"},
            metadata={"claim": {"verdict": settings["verdict"], "value": settings["value"],
                                "low": 0.4, "high": 0.6}},
        ),
    ]  # fmt: skip
    cells = [
        nbformat.v4.new_code_cell("", id=f"cell-{index}", outputs=[output])
        for index, output in enumerate(outputs)
    ]
    cells[0].source = str(settings.get("source", ""))
    metadata = {"aelib": {"machine": machine, "seconds": 60}} if machine else {}
    content = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    return Notebook(ROOT / "chapters" / "01_made.ipynb", content)


MOVED = {"value": 0.55, "picture": "bbbb", "glued": "1.2346"}  # as another processor would


@pytest.mark.parametrize(
    ("fresh", "stays"),
    [
        (MOVED, True),
        ({"value": 0.7}, False),
        ({"verdict": "refuted"}, False),
        ({"glued": "1.3"}, False),
        ({"text": "8"}, False),
    ],
)
def test_another_machines_digits_leave_the_stored_outputs_alone(fresh: dict, stays: bool) -> None:
    stored = made("an abacus")
    new = made(None, **fresh).content
    result = settle(stored, new, "a slide rule", 5)
    assert ([cell.outputs for cell in result.code] == [c.outputs for c in stored.code]) is stays
    assert result.last_run["machine"] == ("an abacus" if stays else "a slide rule")
    assert result.last_run["seconds"] == (60 if stays else 5)
    assert result.last_run["digest"] == digest_of(result)


def test_a_notebook_is_made_from_the_kept_runs_that_its_code_names(monkeypatch) -> None:
    """05b once kept an old number of chapter 4's: 4.6 was another chapter's, and did not count."""
    counted: list[set[str]] = []

    def digest(root, patterns, *texts, content, counts):
        kept = Path("aelib/experiments/kept")
        counted.append({name for name in ("4.6", "5.7", "6.1") if counts(kept / f"{name}.json")})
        return ""

    monkeypatch.setattr("press.stored.digest", digest)
    for source in ("ae.experiments.card('5.7')", 'ae.experiments.full_result("4.6")'):
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        digest_of(Notebook(Path("05b_loops.ipynb"), content))
    assert counted == [{"5.7"}, {"5.7", "4.6"}]


@pytest.mark.parametrize(("machine", "renew"), [("an abacus", False), ("a slide rule", True)])
def test_the_same_machines_digits_and_forced_ones_are_stored(machine: str, renew: bool) -> None:
    fresh = made(None, **MOVED).content
    result = settle(made("an abacus"), fresh, machine, 5, renew)
    assert [cell.outputs for cell in result.code] == [cell.outputs for cell in fresh.cells]


def test_what_nbval_ignores_is_no_difference_on_another_machine() -> None:
    ignored = "print(ae.runtime.header())\n# NBVAL_IGNORE_OUTPUT"
    stored, fresh = made("an abacus", source=ignored), made(None, text="8", source=ignored)
    assert settle(stored, fresh.content, "a slide rule", 5).code[0].outputs[0].text == "7"


def test_only_what_can_change_a_result_is_in_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '''"""Words."""\n\n# why\ndef f():  # how\n    """What."""\n    return "#1"\n'''
    )
    assert what_runs(path) == b'def f():\n    return "#1"'
