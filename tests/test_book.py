"""The notebooks' runner: it runs what a change can reach, nothing else, and never half stores."""

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

ROOT = Path(__file__).resolve().parents[1]
TINY = '''
"""A package of two functions."""

SCALE = 2


def used(x):
    """Called by the notebook."""
    return helper(x) + 1  # a comment


def helper(x):
    return SCALE * x


def unused(x):
    return -x
'''


@dataclass(frozen=True)
class Book:
    """A book of one notebook and a package of a few lines, in a folder of its own."""

    root: Path

    @property
    def notebook(self) -> Path:
        return self.root / "chapters" / "01_tiny.ipynb"

    @property
    def package(self) -> Path:
        return self.root / "aelib" / "tiny.py"

    def write(self, *cells: str, prose: str = "# Tiny") -> None:
        """Make the notebook anew from code cells."""
        notebook = nbformat.v4.new_notebook()
        notebook.cells.append(nbformat.v4.new_markdown_cell(prose, id="prose"))
        for index, cell in enumerate(cells):
            notebook.cells.append(nbformat.v4.new_code_cell(cell, id=f"cell-{index}"))
        nbformat.write(notebook, self.notebook)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(self.root / "tools" / "execute.py"), *options],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def execute(self, *options: str, code: int = 0) -> bool:
        """Run the tool; True if the notebook was executed."""
        with self.start(*options) as process:
            said, _ = process.communicate(timeout=120)
        assert process.returncode == code, said
        return ": running" in said

    def change(self, old: str, new: str) -> None:
        text = self.package.read_text()
        assert old in text
        self.package.write_text(text.replace(old, new))

    def read(self) -> nbformat.NotebookNode:
        return nbformat.read(self.notebook, as_version=4)

    def printed(self, cell: int = 1) -> str:
        return "".join(output.get("text", "") for output in self.read().cells[cell].outputs)

    def page(self) -> str:
        """The notebook's page as the book's builder renders it."""
        built = self.root / "html"
        subprocess.run(
            [sys.executable, "-m", "sphinx", "-Q", "-E", "-C", "-D", "extensions=myst_nb",
             "-D", "nb_execution_mode=off", "-D", "root_doc=01_tiny",
             str(self.notebook.parent), str(built)],
            check=True,
        )  # fmt: skip
        return (built / "01_tiny.html").read_text()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    for name in ("tools/execute.py", "aelib/provenance.py", "requirements.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "chapters").mkdir()
    (tmp_path / "aelib" / "__init__.py").touch()
    (tmp_path / "aelib" / "tiny.py").write_text(TINY)
    made = Book(tmp_path)
    made.write("from aelib.tiny import used\nprint('result', used(3))")
    return made


def test_a_change_that_reaches_the_notebook_changes_its_page(book: Book) -> None:
    assert book.execute()
    assert "result 7" in book.page()
    book.change("SCALE * x", "SCALE * x + 100")
    assert book.execute()
    assert book.printed() == "result 107\n"
    assert "result 107" in book.page()
    book.change("SCALE = 2", "SCALE = 5")
    assert book.execute()
    assert book.printed() == "result 116\n"


def test_nothing_is_run_when_no_result_can_have_changed(book: Book) -> None:
    assert book.execute()
    stored = book.notebook.read_bytes()
    assert not book.execute()
    book.change("return -x", "return -x - 1")
    book.change("# a comment", "# another comment")
    book.change("Called by the notebook.", "Called by one notebook.")
    assert not book.execute()
    assert book.notebook.read_bytes() == stored


def test_prose_may_change_but_code_and_outputs_may_not(book: Book) -> None:
    assert book.execute()
    notebook = book.read()
    notebook.cells[0].source = "# Another title"
    nbformat.write(notebook, book.notebook)
    assert not book.execute()
    notebook.cells[1].outputs[0].text = "result 8\n"
    nbformat.write(notebook, book.notebook)
    assert book.execute()
    assert book.printed() == "result 7\n"
    notebook = book.read()
    notebook.cells[1].source = notebook.cells[1].source.replace("3", "4")
    nbformat.write(notebook, book.notebook)
    assert book.execute()
    assert book.printed() == "result 9\n"


def test_the_lock_and_named_measurements_reach_the_notebook(book: Book) -> None:
    measured = book.root / "chapters" / "measured"
    measured.mkdir()
    (measured / "1.1.json").write_text("1")
    (measured / "9.9.json").write_text("1")
    book.write("print('kept', open('measured/1.1.json').read())")
    assert book.execute()
    (measured / "9.9.json").write_text("2")
    assert not book.execute()
    (measured / "1.1.json").write_text("2")
    assert book.execute()
    assert book.printed() == "kept 2\n"
    with (book.root / "requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    assert book.execute()


def test_a_fresh_clone_and_force_run_everything(book: Book) -> None:
    assert book.execute()
    assert book.execute("--force")
    shutil.rmtree(book.root / "_build")
    assert book.execute()


def test_a_failing_cell_is_reported_and_nothing_is_stored(book: Book) -> None:
    assert book.execute()
    book.write("print('fine')", "1 / 0")
    before = book.notebook.read_bytes()
    with book.start() as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "01_tiny.ipynb, cell 3, failed" in said
    assert "1 / 0" in said
    assert "ZeroDivisionError" in said
    assert book.notebook.read_bytes() == before
    assert [path.name for path in book.notebook.parent.iterdir()] == ["01_tiny.ipynb"]
    assert book.execute(code=1), "a notebook that failed is tried again"


def test_a_cell_that_takes_too_long_is_stopped(book: Book) -> None:
    book.write("import time; time.sleep(60)")
    with book.start("--timeout", "1") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "longer than 1 s" in said


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_the_kernel_and_keeps_the_notebook(book: Book, stop: signal.Signals) -> None:
    book.write("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(120)")
    before = book.notebook.read_bytes()
    process = book.start()
    told = book.root / "chapters" / "pid"
    wait(lambda: told.exists() and told.read_text())
    os.killpg(process.pid, stop) if stop is signal.SIGINT else process.send_signal(stop)
    process.communicate(timeout=30)
    assert process.returncode in (130, 143)
    wait(lambda: not alive(int(told.read_text())))
    assert book.notebook.read_bytes() == before
    assert sorted(path.name for path in book.notebook.parent.iterdir()) == ["01_tiny.ipynb", "pid"]


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
    assert book.execute()
    notebook = book.read()
    assert set(notebook.metadata) == {"kernelspec", "language_info", "aelib"}
    assert set(notebook.metadata.aelib) == {"seconds", "machine"}
    assert "torch" in notebook.metadata.aelib.machine
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
    assert book.execute()
    assert book.read().cells[1].metadata.mystnb == {"code_prompt": 1}


def test_the_kernel_is_this_python_in_a_quiet_environment(book: Book, tmp_path: Path) -> None:
    foreign = tmp_path / "home" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "Not this one", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    book.write(
        "import os, sys\n"
        "names = ('AELIB_INTERACTIVE', 'PYTHONHASHSEED')\n"
        "print(sys.prefix, *(os.environ[name] for name in names), os.path.basename(os.getcwd()))"
    )
    os.environ["JUPYTER_PATH"] = str(tmp_path / "home")
    try:
        assert book.execute()
    finally:
        del os.environ["JUPYTER_PATH"]
    assert book.printed() == f"{sys.prefix} 0 0 chapters\n"


def test_a_path_that_is_no_notebook_is_refused(book: Book) -> None:
    with book.start("chapters/none.ipynb") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "chapters/none.ipynb is not a notebook here" in said
    assert "Traceback" not in said
