"""The head of every lesson's set-up cell: it installs `aelib` where there is none, as on Colab.

Where there is another version it says so: the imports below may fail before `aelib` could.
`python -m press.setup_cell` writes it into the notebooks, with the address and the version in use.
What follows the head, the lesson's own imports, stays. No result depends on it, so it counts for no
digest, and a new version or address makes no notebook run again.
"""

from __future__ import annotations

import re
import sys

import nbformat

from press.address import present
from press.files import ROOT, version, write_whole
from press.notebooks import Notebook, notebooks

HEAD = '''\
import importlib.metadata
import importlib.util
import subprocess
import sys

BOOK = "{book}"
VERSION = "{version}"
AELIB = f"aelib[mnist,pretrained] @ git+{{BOOK}}@"


def install_aelib():
    """The release this page was made with, else what is there; torch stays as it is."""
    for tag in (f"v{{VERSION}}", "main"):
        command = [sys.executable, "-m", "pip", "install", "--quiet", AELIB + tag]
        pip = subprocess.run(command, capture_output=True, text=True)
        if pip.returncode == 0:
            return print(f"Installed aelib {{tag}} from {{BOOK}}.")
        said = [line.strip() for line in pip.stderr.splitlines()]
        why = [one for one in said if one.startswith(("fatal:", "ERROR:", "error: p"))]
        print(f"aelib {{tag}} could not be installed.", *(why or said)[:1])
    raise SystemExit(
        f"Without aelib this page cannot run. Is there a network, a book at {{BOOK}}? If "
        "it has moved, change BOOK above. In a clone, choose its .venv as the kernel."
    )


if importlib.util.find_spec("aelib") is None:  # as on Colab
    install_aelib()
    importlib.invalidate_caches()
elif (found := importlib.metadata.version("aelib")) != VERSION:
    print(f"This page was made with aelib {{VERSION}}. Here is {{found}}: a cell may fail.")
    print(f"For its own, pip install '{{AELIB}}v{{VERSION}}' and restart the kernel.")

'''
# From the cell's start to the first import that is not the head's own.
ANY_HEAD = re.compile(
    r"\Aimport importlib.*?(?=^(?:from|import) (?!importlib|subprocess|sys\b))", re.M | re.S
)
# A lesson used to be told the version, which is the head's concern.
TOLD = re.compile(r'(?<=ae\.runtime\.lesson\()("\w+"), VERSION(?=\))')


def head() -> str:
    """The head with the address and the version in use."""
    return HEAD.format(book=present(ROOT), version=version(ROOT))


def body(source: str) -> str:
    """A cell without the head, if it has one: what its results can depend on."""
    return TOLD.sub(r"\1", ANY_HEAD.sub("", source))


def renewed(source: str) -> str:
    """A set-up cell with the head in use."""
    return head() + body(source)


def stale() -> list[Notebook]:
    """The notebooks whose set-up cell, the first one tagged `setup`, has another head."""
    return [book for book in notebooks() if (cell := setup(book)).source != renewed(cell.source)]


def setup(book: Notebook) -> nbformat.NotebookNode:
    """Its set-up cell.

    Raises:
        ValueError: for a notebook without one.
    """
    for cell in book.code:
        if "setup" in cell.metadata.get("tags", []):
            return cell
    raise ValueError(f"{book.path.name} has no cell tagged `setup`")


def write() -> list[Notebook]:
    """Renew the heads; returns the notebooks that were changed."""
    changed = stale()
    for book in changed:
        cell = setup(book)
        cell.source = renewed(cell.source)
        write_whole(book.path, (nbformat.v4.writes(book.content) + "\n").encode())
    return changed


def main() -> int:
    for book in write():
        print(f"  {book.path.relative_to(ROOT)}")
    print("Every set-up cell is as it should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
