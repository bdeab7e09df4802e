"""Run each notebook as a reader on Colab does: alone in an empty folder, on an installed wheel.

`PYTHON -m press.alone [NOTEBOOK …]` builds the wheel of this checkout, installs it into that very
PYTHON beside what is there, and runs the notebooks. It ends with 1 if torch did not stay as it was,
if a cell fails, or if a card's verdict or a figure is missing or another than on the page. The
numbers of short runs may differ: Colab has other versions and processors.

With `--from-the-forge` it runs no notebook and builds no wheel: the head of the set-up cell itself
installs aelib, from the address it names, into a PYTHON without aelib.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from press import environment

PIP = [sys.executable, "-m", "pip"]
WITH = ("mnist", "pretrained")  # as the set-up cell asks


def install() -> None:
    """The wheel of this checkout, and what runs notebooks."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*PIP, "wheel", "-q", "--no-deps", "-w", folder, "."], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        asked = f"aelib[{','.join(WITH)}] @ {wheel.resolve().as_uri()}"
        subprocess.run([*PIP, "install", "-q", "--force-reinstall", "--no-deps", wheel], check=True)
        subprocess.run([*PIP, "install", "-q", asked, "nbclient", "ipykernel"], check=True)


def from_the_forge() -> list[str]:
    """Run the head of the set-up cell where there is no aelib; what is wrong with what it did."""
    from press import files, setup_cell  # here, because they need nbformat, which Colab has

    ask = "import aelib\nprint(aelib.__version__, aelib.__file__, sep='\\n')\n"
    with tempfile.TemporaryDirectory() as folder:  # from where this checkout is not imported
        done = subprocess.run(
            [sys.executable, "-c", setup_cell.head() + ask],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=subprocess.PIPE,
            text=True,
        )
    print(done.stdout, end="", flush=True)
    if done.returncode:
        return ["The head of the set-up cell failed; see above."]
    *said, found, file = done.stdout.splitlines()
    installed = [line.split()[2] for line in said if line.startswith("Installed aelib ")]
    if not installed or Path(file).is_relative_to(files.ROOT):
        return [f"aelib was here already, at {file}: choose a Python without it."]
    if installed != ["main"] and found != files.version():  # of main the head said that it is main
        return [f"The head asked for aelib {files.version()}, and {found} came."]
    return []


def torch_here() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def shows(notebook) -> list[str]:
    """The cards, with their verdicts, and the figures, in their order."""
    found = []
    for cell in notebook.code:
        for output in cell.outputs:
            about = output.get("metadata", {})
            if "claim" in about:
                found.append(f"claim {about['claim']['id']}: {about['claim']['verdict']}")
            if "figure" in about:
                found.append(f"figure {about['figure']['name']}")
    return found


def run(path: Path) -> list[str]:
    """Run one notebook alone; what is wrong with what it gave."""
    from press import execute  # here, because what it needs has only just been installed
    from press.notebooks import Notebook, read

    stored = read(path)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(shutil.copy(path, folder))
        try:
            content, _ = asyncio.run(execute.run(read(alone)))
        except execute.Failed as failure:
            return [str(failure)]
        left = sorted(one.name for one in Path(folder).iterdir() if one != alone)
    print(f"{path.name}: {time.perf_counter() - began:.0f} s", flush=True)
    here, there = shows(Notebook(path, content)), shows(stored)
    wrong = [
        f"{path.name}: the page shows {one}, and here it is missing"
        for one in there
        if one not in here
    ]
    wrong += [
        f"{path.name}: here stands {one}, and not on the page" for one in here if one not in there
    ]
    return wrong + [f"{path.name} leaves {name} behind" for name in left]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m press.alone", description="Run each notebook alone, on an installed wheel."
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: chapters/*.ipynb")
    parser.add_argument(
        "--from-the-forge", action="store_true", help="only let the set-up cell install aelib"
    )
    given = parser.parse_args()
    environment.quiet()
    before = torch_here()
    wrong = []
    if given.from_the_forge:
        wrong = from_the_forge()
    else:
        install()
    importlib.invalidate_caches()
    if before not in (None, torch_here()):
        print(f"torch was {before} and became {torch_here()}: widen aelib's ranges.")
        return 1
    if not given.from_the_forge:
        os.environ.pop("PYTHONPATH", None)  # the kernels must find the wheel, not this checkout
        paths = given.notebooks or sorted(Path("chapters").glob("*.ipynb"))
        wrong = [line for path in paths for line in run(path)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
