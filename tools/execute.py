"""Run the notebooks whose results may have changed, and store what they print, draw and measure.

``python tools/execute.py [NOTEBOOK …] [--force]``. A notebook is run again when its code has
changed, or any definition of aelib that its code can reach, the lock file, the Python version, a
stored long measurement it names, or its own stored outputs. A change of prose, of a comment or of
code it never calls runs nothing. A notebook that fails is reported and stays as it was.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import IO

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
STAMPS = ROOT / "_build" / "executed.json"
FRONT = ("fig-one-image", ROOT / "assets" / "front.png")  # the picture of README and front page
KEPT_CELL_METADATA = ("tags", "mystnb")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


# --- What a notebook's results depend on ---------------------------------------------------------


def code_of(notebook: NotebookNode) -> list[str]:
    """The code cells' sources."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@cache
def provenance() -> ModuleType:
    """``aelib.provenance``, alone: importing the package would wait for torch each time."""
    spec = importlib.util.spec_from_file_location("provenance", ROOT / "aelib" / "provenance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs(path: Path, notebook: NotebookNode) -> str:
    """A hash of everything that can change what the notebook at ``path`` prints."""
    sources = code_of(notebook)
    total = hashlib.sha256(provenance().fingerprint(sources).encode())
    total.update(f"python {sys.version_info[0]}.{sys.version_info[1]}".encode())
    total.update((ROOT / "requirements.lock").read_bytes())
    everything = "\n".join(sources)
    for measured in sorted((path.parent / "measured").glob("*.json")):
        if measured.stem in everything:
            total.update(measured.name.encode() + measured.read_bytes())
    return total.hexdigest()


def outputs(notebook: NotebookNode) -> str:
    """A hash of what is stored, so that outputs changed by another hand are noticed."""
    stored = [
        (cell.get("outputs"), cell.metadata.get("mystnb"))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    text = json.dumps([stored, notebook.metadata.get("aelib")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_stamps() -> dict[str, dict[str, str]]:
    """What was recorded after earlier runs; empty in a fresh clone or when it cannot be read."""
    try:
        stamps = json.loads(STAMPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` so that ``path`` holds either the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# --- One notebook --------------------------------------------------------------------------------


def cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> str:
    """The machine in one line, as the run times page prints it."""
    count = cores()
    python = ".".join(platform.python_version_tuple()[:2])
    return (
        f"{count} core{'s' if count > 1 else ''}, {platform.machine()}, "
        f"Python {python}, torch {version('torch').split('+')[0]}"
    )


def tidy(notebook: NotebookNode, seconds: float) -> None:
    """Keep of the metadata what a reader or a page needs, and give each figure its words."""
    notebook.metadata = NotebookNode(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "aelib": {"seconds": round(seconds), "machine": machine()},
            **{key: notebook.metadata[key] for key in ("widgets",) if key in notebook.metadata},
        }
    )
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        if cell.cell_type == "code":
            page = {
                key: value
                for key, value in kept.pop("mystnb", {}).items()
                if key not in ("image", "figure")
            } | figure_words(cell)
            if page:
                kept["mystnb"] = page
        cell.metadata = NotebookNode(kept)


def figure_words(cell: NotebookNode) -> dict[str, dict[str, str]]:
    """A figure's alt text, caption and name, put where the page looks for them."""
    for output in cell.get("outputs", []):
        figure = output.get("metadata", {}).get("figure")
        if figure:
            return {
                "image": {"alt": figure["alt"]},
                "figure": {"caption": figure["caption"], "name": figure["name"]},
            }
    return {}


def front_picture(notebook: NotebookNode) -> bytes | None:
    """The front page's figure, if this notebook drew it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("figure", {}).get("name") == FRONT[0]:
                return base64.b64decode(output["data"]["image/png"])
    return None


def run(path: Path, timeout: int) -> int:
    """Run one notebook in a fresh kernel of this very Python and store it; 0 when all went well."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    seconds_before = notebook.metadata.get("aelib", {}).get("seconds")
    notebook.metadata.pop("widgets", None)
    at = {"cell": 0}

    def note(cell: NotebookNode, cell_index: int) -> None:
        at["cell"] = cell_index

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=timeout,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=note,
    )
    start = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        report(path, notebook, at["cell"], error.traceback or f"{error.ename}: {error.evalue}")
        return 1
    except CellTimeoutError:
        report(path, notebook, at["cell"], f"The cell ran longer than {timeout} s (--timeout).")
        return 1
    except DeadKernelError:
        report(path, notebook, at["cell"], "The kernel died: stopped, or out of memory.")
        return 1
    tidy(notebook, time.perf_counter() - start)
    nbformat.validate(notebook)
    if not same_but_for_time(notebook, before, seconds_before):
        write_whole(path, nbformat.writes(notebook) + "\n")
    if (picture := front_picture(notebook)) and path.is_relative_to(ROOT):
        FRONT[1].write_bytes(picture)
    complain(path, notebook)
    return 0


def same_but_for_time(notebook: NotebookNode, before: str, seconds: int | None) -> bool:
    """Whether only the run time differs: then a reader's checkout stays as it is."""
    timed = nbformat.from_dict(notebook)
    timed.metadata["aelib"] = timed.metadata["aelib"] | {"seconds": seconds}
    return nbformat.writes(timed) == before


def report(path: Path, notebook: NotebookNode, index: int, why: str) -> None:
    """Say which cell failed, show it, and why."""
    colours = sys.stdout.isatty()
    source = notebook.cells[index].source
    print(f"{shown(path)}, cell {index + 1}, failed; the stored notebook is unchanged.")
    print("\n".join(f"    {line}" for line in source.splitlines()))
    print(why if colours else ANSI.sub("", why))


def complain(path: Path, notebook: NotebookNode) -> None:
    """Name the cells that wrote to stderr: a page must not, and a test will say so too."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                print(f"{shown(path)}, cell {index + 1}, wrote to stderr: {output.text[:300]}")


def shown(path: Path) -> str:
    """The path as a person would type it from here."""
    return os.path.relpath(path)


# --- All of them ---------------------------------------------------------------------------------


@dataclass
class Job:
    """One notebook being run by a process of its own."""

    path: Path
    inputs: str
    process: subprocess.Popen[bytes]
    words: IO[bytes]
    noise: IO[bytes]
    started: float


def start(path: Path, key: str, timeout: int) -> Job:
    """Start a process that runs the notebook at ``path``."""
    environment = dict(os.environ)
    environment.update(
        AELIB_INTERACTIVE="0",
        PYTHONHASHSEED="0",
        JUPYTER_PREFER_ENV_PATH="1",  # the kernel of this Python, whatever the reader has at home
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )
    environment.pop("JUPYTER_PATH", None)
    # One thread each: the same sums in the same order on any machine, and small nets on a busy
    # machine lose far more by waiting for a second thread than they gain.
    environment.setdefault("OMP_NUM_THREADS", "1")
    words, noise = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    process = subprocess.Popen(
        [sys.executable, __file__, "--one", str(path), "--timeout", str(timeout)],
        env=environment,
        stdout=words,
        stderr=noise,
    )
    return Job(path, key, process, words, noise, time.perf_counter())


def said(job: Job) -> str:
    """What a finished process has to tell; the kernel's own chatter only where it failed."""
    job.words.seek(0)
    job.noise.seek(0)
    words = job.words.read() + (job.noise.read() if job.process.returncode else b"")
    return words.decode(errors="replace").strip()


def stop(running: list[Job]) -> None:
    """Ask each process to stop, which ends its kernel; insist after ten seconds."""
    for job in running:
        if job.process.poll() is None:
            job.process.send_signal(signal.SIGTERM)
    for job in running:
        try:
            job.process.wait(10)
        except subprocess.TimeoutExpired:
            job.process.kill()


def run_all(stale: dict[Path, str], jobs: int, timeout: int) -> list[Path]:
    """Run the notebooks ``jobs`` at a time and record each that ends well; returns the failed."""
    stamps, failed, running = read_stamps(), [], []
    waiting = list(stale.items())
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                path, key = waiting.pop(0)
                print(f"{shown(path)}: running", flush=True)
                running.append(start(path, key, timeout))
            time.sleep(0.1)
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                if words := said(job):
                    print(words)
                if job.process.returncode:
                    failed.append(job.path)
                    stamps.pop(name(job.path), None)
                else:
                    seconds = time.perf_counter() - job.started
                    print(f"{shown(job.path)}: done in {seconds:.0f} s", flush=True)
                    stored = nbformat.read(job.path, as_version=4)
                    stamps[name(job.path)] = {"inputs": job.inputs, "outputs": outputs(stored)}
                write_whole(STAMPS, json.dumps(stamps, indent=1, sort_keys=True))
    finally:
        stop(running)
    return failed


def name(path: Path) -> str:
    """The notebook's key among the stamps: its path from the book's root."""
    return os.path.relpath(path, ROOT).replace(os.sep, "/")


def find_stale(paths: list[Path], force: bool) -> dict[Path, str]:
    """The notebooks that have to run, each with the hash of what it depends on."""
    stamps, stale = read_stamps(), {}
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        key = inputs(path, notebook)
        if force or stamps.get(name(path)) != {"inputs": key, "outputs": outputs(notebook)}:
            stale[path] = key
        else:
            print(f"{shown(path)}: nothing that reaches it has changed")
    return stale


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: chapters/*.ipynb")
    parser.add_argument("--force", action="store_true", help="run them even if nothing changed")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default 2)")
    parser.add_argument(
        "--timeout", type=int, default=600, help="seconds a cell may take (default 600)"
    )
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.jobs < 1 or given.timeout < 1:
        parser.error("--jobs and --timeout must be 1 or more")
    for path in given.notebooks:
        if path.suffix != ".ipynb" or not path.is_file():
            parser.error(f"{path} is not a notebook here; give a path such as chapters/NAME.ipynb")
    return given


def main() -> int:
    given = arguments()
    if given.one is not None:
        return run(given.one, given.timeout)
    paths = [path.resolve() for path in given.notebooks]
    paths = paths or sorted((ROOT / "chapters").glob("*.ipynb"))
    if not paths:
        print("There are no notebooks in chapters/", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        failed = run_all(find_stale(paths, given.force), given.jobs, given.timeout)
    except KeyboardInterrupt:
        print("\nStopped. What was running is as it was before.", file=sys.stderr)
        return 130
    if failed:
        print("Failed: " + ", ".join(map(shown, failed)), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
