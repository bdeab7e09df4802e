"""A notebook alone: its set-up cell where there is no aelib, another one, or no network."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import types
from email.message import Message
from pathlib import Path

import nbformat
import pytest

from aelib import runtime
from press import alone, setup_cell
from press.files import ROOT, version
from press.notebooks import Notebook, notebooks
from press.stored import GLUED, GLUED_IN_PROSE, digest_of, with_numbers

NOTEBOOKS = notebooks()
BEGINS = "import importlib.util\nimport subprocess\nimport sys\n\n"
OLD = [
    f"""{BEGINS}if importlib.util.find_spec("aelib") is None:  # on Colab
    address = "git+https://github.com/a/b"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", address])

""",
    f"""{BEGINS}BOOK, VERSION = "https://github.com/a/b", "0.1.0"


def install_aelib():
    raise SystemExit("from import import from")


if importlib.util.find_spec("aelib") is None:  # as on Colab
    install_aelib()
    importlib.invalidate_caches()

""",
]
OWN = 'import systems\nimport torch\n\nimport aelib as ae\n\nprint(ae.runtime.lesson("01_made"))'


# --- One home for the head -----------------------------------------------------------------------


def test_every_set_up_cell_has_the_head_of_today() -> None:
    names = [book.path.name for book in setup_cell.stale()]
    assert not names, "run: python -m press.setup_cell"


@pytest.mark.parametrize("own", [OWN, OWN.replace('made")', 'made", VERSION)')])
@pytest.mark.parametrize("before", ["", *OLD, setup_cell.HEAD.format(book="x", version="0.0.1")])
def test_a_head_is_written_once_and_the_lessons_own_lines_stay(before: str, own: str) -> None:
    after = setup_cell.renewed(before + own)
    assert after == setup_cell.head() + OWN
    assert setup_cell.renewed(after) == after
    assert setup_cell.body(after) == OWN
    assert f'"{version()}"' in after
    lines = [line for line in setup_cell.head().splitlines() if not line.startswith("BOOK = ")]
    assert max(map(len, lines)) <= 88, "as in all notebooks"


def test_a_long_address_is_no_fault_of_style(tmp_path: Path) -> None:
    """An address at a line's end may be as long as it is."""
    book = f"https://git.example.org/{'a' * 39}/{'b' * 100}"
    (tmp_path / "head.py").write_text(setup_cell.HEAD.format(book=book, version="0.1.0"))
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E501,RUF100"]
    done = subprocess.run([*ruff, tmp_path / "head.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def made(source: str) -> Notebook:
    cell = nbformat.v4.new_code_cell(source, id="setup", metadata={"tags": ["setup"]})
    return Notebook(Path("01_made.ipynb"), nbformat.v4.new_notebook(cells=[cell]))


def test_another_address_or_version_makes_no_notebook_run_again() -> None:
    digests = {digest_of(made(head + OWN)) for head in ("", *OLD, setup_cell.head())}
    assert len(digests) == 1
    assert digest_of(made(setup_cell.head() + OWN + "\nimport numpy")) not in digests


# --- The head at work ----------------------------------------------------------------------------


def run_head(monkeypatch, *fails: bool) -> list[str]:
    """Run the head where there is no aelib; pip fails or not, call by call. What pip was asked."""
    asked = []

    def pip(command, **options):
        asked.append(command[-1])
        failed = fails[len(asked) - 1]
        return types.SimpleNamespace(
            returncode=int(failed), stderr="noise: a\n  fatal: no such thing\n"
        )

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(setup_cell.head(), {})
    return asked


def test_on_colab_the_release_is_installed(monkeypatch, capsys) -> None:
    (asked,) = run_head(monkeypatch, False)
    assert asked.startswith("aelib[mnist,pretrained] @ git+https://")
    assert asked.endswith(f"@v{version()}")
    assert f"Installed aelib v{version()} from" in capsys.readouterr().out


def test_without_the_release_it_says_so_and_takes_what_there_is(monkeypatch, capsys) -> None:
    assert [one.rpartition("@")[2] for one in run_head(monkeypatch, True, False)] == [
        f"v{version()}",
        "main",
    ]
    said = capsys.readouterr().out
    assert f"aelib v{version()} could not be installed. fatal: no such thing\n" in said
    assert "Installed aelib main" in said


def test_with_nothing_to_install_it_ends_in_plain_words(monkeypatch) -> None:
    with pytest.raises(SystemExit, match=r"Is there a network, a book at https://.*clone"):
        run_head(monkeypatch, True, True)


def test_where_there_is_no_pip_it_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *a, **k: types.SimpleNamespace(
            returncode=1, stderr="/usr/bin/python3: No module named pip\n"
        ),
    )
    with pytest.raises(SystemExit):
        exec(setup_cell.head(), {})
    said = capsys.readouterr().out
    assert "could not be installed. /usr/bin/python3: No module named pip" in said


@pytest.mark.parametrize("found", [version(), "9.9.9"])
def test_where_aelib_is_nothing_is_installed_but_another_version_named(
    monkeypatch, capsys, found: str
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("pip was called"))
    monkeypatch.setattr("importlib.metadata.version", lambda name: found)
    exec(setup_cell.head(), {})
    said = capsys.readouterr().out
    assert (said == "") is (found == version())
    if said:
        assert f"made with aelib {version()}. Here is 9.9.9: a cell may fail.\n" in said
        assert re.search(rf"pip install 'aelib\[\S+\] @ git\+https://\S+@v{version()}' and", said)


# --- The head tried as a reader does --------------------------------------------------------------

INSTALLED = f"Installed aelib v{version()} from https://a.b/c/d.\n"
FELL_BACK = (
    f"aelib v{version()} could not be installed.\nInstalled aelib main from https://a.b/c.\n"
)


@pytest.mark.parametrize(
    ("said", "code", "wrong"),
    [
        (f"{INSTALLED}{version()}\n/site/aelib/__init__.py\n", 0, None),
        (f"{FELL_BACK}9.9.9\n/site/aelib/__init__.py\n", 0, None),
        (f"{INSTALLED}9.9.9\n/site/aelib/__init__.py\n", 0, f"for aelib {version()}, and 9.9.9"),
        (f"{version()}\n{ROOT}/aelib/__init__.py\n", 0, "aelib was here already, at"),
        (f"{INSTALLED}{version()}\n{ROOT}/aelib/__init__.py\n", 0, "aelib was here already, at"),
        ("", 1, "The head of the set-up cell failed"),
    ],
)
def test_the_head_is_tried_from_outside_and_its_words_are_held_to(
    monkeypatch, capsys, said: str, code: int, wrong: str | None
) -> None:
    def python(command, cwd, env, **options):
        assert command[2].startswith(setup_cell.head())
        assert not Path(cwd).is_relative_to(ROOT)
        assert "PYTHONPATH" not in env
        return types.SimpleNamespace(returncode=code, stdout=said)

    monkeypatch.setattr(subprocess, "run", python)
    monkeypatch.setattr(sys, "argv", ["press.alone", "--from-the-forge"])
    monkeypatch.setattr(alone, "install", lambda: pytest.fail("a wheel was built"))
    monkeypatch.setattr(alone, "run", lambda path: pytest.fail("a notebook was run"))
    monkeypatch.setattr(alone.environment, "quiet", lambda: None)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert alone.main() == (wrong is not None)
    told = capsys.readouterr()
    assert told.out == said
    assert (wrong or "") in told.err


# --- What is found -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knows", "where"),
    [("Book, https://a.github.io/b/", "at https://a.github.io/b/"), ("A, b", "on the book's own")],
)
def test_on_colab_it_says_where_the_page_is(monkeypatch, knows: str, where: str) -> None:
    """What is installed may be older than this checkout and know no address."""
    found = Message()
    found["Project-URL"] = knows
    monkeypatch.setattr(sys.modules["aelib.runtime.lesson"], "metadata", lambda name: found)
    assert runtime.lesson("01_introduction") == runtime.header()
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert f"Set, they stand {where}" in runtime.lesson("01_introduction")


# --- Numbers that can be read in the notebook ----------------------------------------------------


def glued(prose: str, **numbers: float) -> Notebook:
    outputs = [
        nbformat.v4.new_output(
            "display_data", {GLUED: repr(number)}, metadata={"scrapbook": {"name": name}}
        )
        for name, number in numbers.items()
    ]
    cells = [
        nbformat.v4.new_markdown_cell(prose, id="prose"),
        nbformat.v4.new_code_cell("", id="code", outputs=outputs),
    ]
    return Notebook(Path("01_made.ipynb"), nbformat.v4.new_notebook(cells=cells))


@pytest.mark.parametrize(
    "form",
    ["{{glue:text}}`a:{0}`", "7<!-- a:{0} -->", "-1,024.5%<!-- a:{0} -->", "nan<!-- a:{0} -->"],
)
@pytest.mark.parametrize(
    ("spec", "shown"), [(".2f", "0.12"), (".0%", "12%"), ("+.1e", "+1.2e-01"), (",.0f", "0")]
)
def test_a_number_in_the_prose_is_the_runs(form: str, spec: str, shown: str) -> None:
    once = with_numbers(glued(f"It is ({form.format(spec)}), no more.", a=0.1234))
    assert once.prose == [f"It is ({shown}<!-- a:{spec} -->), no more."]
    assert with_numbers(once).prose == once.prose


def test_a_number_that_no_cell_gives_is_refused() -> None:
    with pytest.raises(ValueError, match=r"01_made\.ipynb: no cell glues b"):
        with_numbers(glued("{glue:text}`b:.2f`", a=1.0))


def test_two_numbers_of_one_name_are_refused() -> None:
    """The second would stand in the words around the first."""
    twice = glued("{glue:text}`a:.2f`", a=1.0)
    twice.content.cells[1].outputs *= 2
    with pytest.raises(ValueError, match=r"01_made\.ipynb: two numbers are glued as a"):
        with_numbers(twice)


@pytest.mark.parametrize("form", ["{{glue:text}}`a:.1f`<!--{0} -->", "7<!-- a:.1f{0} -->"])
def test_a_number_stays_in_the_range_its_words_are_true_in(form: str) -> None:
    """A kept run that changes must not leave a sentence behind that is false."""
    for held in (" from 0.1 to 0.2", " from -inf to 0.2", " from 1e-2 to inf"):
        book = with_numbers(glued(f"It is {form.format(held)}, so less.", a=0.1234))
        assert book.prose == [f"It is 0.1<!-- a:.1f{held} -->, so less."]
        assert with_numbers(book).prose == book.prose
    said = r"01_made\.ipynb: a is 0\.1234, .* true from 0\.2 to 1: “… It is .*, so less\. …”"
    with pytest.raises(ValueError, match=said):
        with_numbers(glued(f"It is {form.format(' from 0.2 to 1')}, so less.", a=0.1234))
    with pytest.raises(ValueError, match="a has 'from 0 until 1' for its range"):
        with_numbers(glued(f"It is {form.format(' from 0 until 1')}.", a=0.1234))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_in_no_range(value: float) -> None:
    with pytest.raises(ValueError, match="true from 0 to 9"):
        with_numbers(glued("{glue:text}`a:.1f`<!-- from 0 to 9 -->", a=value))


@pytest.mark.parametrize("book", NOTEBOOKS, ids=lambda book: book.path.stem)
def test_the_numbers_in_the_prose_are_those_of_the_stored_run(book: Notebook) -> None:
    wrong = [
        now for now, was in zip(with_numbers(book).prose, book.prose, strict=True) if now != was
    ]
    assert not wrong, "run: make book"
    assert "{glue:" not in "".join(book.prose)


@pytest.mark.parametrize("book", NOTEBOOKS, ids=lambda book: book.path.stem)
def test_every_number_in_the_prose_has_its_range(book: Notebook) -> None:
    found = [one for prose in book.prose for one in GLUED_IN_PROSE.finditer(prose)]
    assert found
    assert [one[0] for one in found if not (one["kept"] or one["asked"])] == []
