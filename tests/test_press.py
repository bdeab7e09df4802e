"""The press as a whole: it needs no torch, and its surroundings reach any run of pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError, URLError

import nbformat
import pytest

from press import build
from press.files import digest, write_whole
from press.sphinx_ext import theme

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "press").rglob("*.py")
    if path.name != "__init__.py"
)


def test_no_part_of_the_press_imports_torch_or_the_package() -> None:
    assert "press.sphinx_ext.ledger" in MODULES
    code = (
        f"import sys, importlib\nfor name in {MODULES}: importlib.import_module(name)\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'torch', 'aelib'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_the_address_needs_nothing_but_python() -> None:
    """`make address` is called before anything is installed: -S leaves out all of site-packages."""
    command = [sys.executable, "-S", "-m", "press.address"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_digest_is_of_names_and_contents_but_not_of_caches(tmp_path: Path) -> None:
    def now() -> str:
        return digest(tmp_path, ("*.txt", "**/*.py"), "a text")

    (tmp_path / "a.txt").write_text("1")
    before = now()
    for name in ("b.md", "__pycache__/c.py", ".hidden/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
        assert now() == before, name
    (tmp_path / "a.txt").write_text("2")
    assert now() != before
    (tmp_path / "a.txt").write_text("1")
    assert now() == before
    (tmp_path / "a.txt").rename(tmp_path / "e.txt")
    assert now() != before


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ipynb"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- make links ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        ("a.md:1: [ok] https://a.b\n", 0, "Every external link leads somewhere."),
        ("a.md:7: [broken] https://a.b: 404\na.md:8: [ok] https://c.d\n", 1, "a.md:7: [broken]"),
        (None, 2, "no such builder"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, report, code: int, said: str
) -> None:
    def check(*options: str) -> subprocess.CompletedProcess[str]:
        assert "linkcheck" in options
        if report:
            build.LINKS.write_text(report)
        return subprocess.CompletedProcess([], 0 if report else 2, stdout="no such builder")

    monkeypatch.setattr(build, "answers", lambda address: True)
    monkeypatch.setattr(build, "LINKS", tmp_path / "output.txt")
    monkeypatch.setattr(build, "jupyter_book", check)
    assert build.links() == code
    assert said in "".join(capsys.readouterr())


def test_without_a_network_no_link_is_asked_for(monkeypatch, capsys) -> None:
    def refuse(*request, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(build, "urlopen", refuse)
    monkeypatch.setattr(build, "jupyter_book", lambda *options: pytest.fail("links were asked for"))
    assert build.links() == 1
    assert capsys.readouterr().err.startswith("There is no network here: neither https://github")


def test_a_host_that_refuses_is_a_network(monkeypatch) -> None:
    def forbid(request, **options):
        raise HTTPError(request.full_url, 403, "Forbidden", Message(), None)

    monkeypatch.setattr(build, "urlopen", forbid)
    assert build.answers("https://github.com")


# --- a repository elsewhere ----------------------------------------------------------------------


@pytest.mark.parametrize("host", ["github.com", "gitlab.example.org"])
def test_a_host_the_theme_knows_keeps_its_buttons(host: str) -> None:
    options = {"repository_url": f"https://{host}/you/fork", "use_issues_button": True}
    config = SimpleNamespace(html_theme_options=dict(options))
    theme.without_buttons(SimpleNamespace(), config)
    assert config.html_theme_options == options


def test_a_host_the_theme_does_not_know_is_no_end_of_the_build() -> None:
    options = {"repository_url": "https://git.example.org/github/fork", "use_issues_button": True}
    config = SimpleNamespace(html_theme_options=options)
    theme.without_buttons(SimpleNamespace(), config)
    assert options["repository_url"] == ""
    assert not options["use_issues_button"]
    assert not options["launch_buttons"]


# --- pytest --nbval, as anyone would type it -----------------------------------------------------

STORED = {
    "import os": [],
    "print(*(os.environ[name] for name in ('AELIB_INTERACTIVE', 'OMP_NUM_THREADS')))": [
        nbformat.v4.new_output("stream", text="0 1\n")
    ],
    "from IPython.display import HTML\nHTML('<p>held: <data>0.2</data></p>')": [
        nbformat.v4.new_output(
            "execute_result",
            execution_count=3,
            data={
                "text/html": "<p>held: <data>0.1</data></p>",
                "text/plain": "<IPython.core.display.HTML object>",
            },
        )
    ],
}


@pytest.mark.parametrize("ci", [None, "true"])
@pytest.mark.parametrize("said", ["held", "broken"])
def test_nbval_forgives_measured_numbers_and_nothing_else(tmp_path: Path, ci, said) -> None:
    for name in ("press", "tests/nbval.cfg", "conftest.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "chapters").mkdir()
    cells = [
        nbformat.v4.new_code_cell(
            source.replace("held", said), outputs=outputs, execution_count=count
        )
        for count, (source, outputs) in enumerate(STORED.items(), 1)
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "chapters" / "01.ipynb")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AELIB", "OMP", "JUPYTER", "MPL", "PYTEST", "CI"))
    } | ({"CI": ci} if ci else {})
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "chapters/"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    words = done.stdout + done.stderr
    assert done.returncode == (said == "broken"), words
    assert ("3 passed" if said == "held" else "1 failed, 2 passed") in words
