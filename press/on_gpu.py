"""Run the lessons on a GPU under the gpu profile, and keep how long each of their cells took.

`python -m press.on_gpu [NOTEBOOK …] [--keep FOLDER]`. Each notebook's cells run in their order in a
plain Python of their own, so a machine with torch and without Jupyter will do. Nothing goes into
the notebooks. A notebook that fails keeps nothing, and the end is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from press import environment
from press.files import CHAPTERS, ROOT, write_whole

KEPT = ROOT / "benchmarks" / "on_gpu"


def cells(path: Path) -> Iterator[tuple[int, str, str]]:
    """Each code cell's place in the notebook, counted from 1, the heading above it, its source."""
    heading = path.stem
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            yield number, heading, source
        elif titles := [line for line in source.splitlines() if line.startswith("#")]:
            heading = titles[-1].lstrip("# ")


def run(path: Path) -> dict[str, Any] | str:
    """What one lesson took, or how it failed."""
    from IPython.display import display
    from torch import cuda

    namespace: dict[str, Any] = {"__name__": "__main__", "display": display}
    took = []
    for number, heading, source in cells(path):
        began, said = time.perf_counter(), io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(compile(source, f"{path.name}, cell {number}", "exec"), namespace)
            if cuda.is_available():
                cuda.synchronize()  # or the next cell would be charged with what this one began
        except Exception:  # an author's cell may fail in any way
            return f"{path.name}, cell {number} ({heading}), failed:\n{traceback.format_exc()}"
        spent = round(time.perf_counter() - began, 2)
        took.append({"cell": number, "heading": heading, "seconds": spent})
    from aelib import runtime  # by now the lesson has chosen how torch is set up

    on_gpu = cuda.is_available()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "profile": runtime.profile().name,
        "device": cuda.get_device_name() if on_gpu else "no GPU",
        "machine": runtime.machine(),
        "versions": runtime.versions(),
        "gigabytes": round(cuda.max_memory_allocated() / 1e9, 2) if on_gpu else 0.0,
        "cells": took,
    }


def run_all(paths: Iterable[Path], folder: Path) -> int:
    """Run them one after the other and keep what they took; the exit status."""
    failed = 0
    # A process each: no notebook finds another's nets, caches or memory on the device.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        paths = list(paths)
        for path, outcome in zip(paths, pool.imap(run, paths, chunksize=1), strict=True):
            if isinstance(outcome, str):
                failed += 1
                print(outcome, file=sys.stderr, flush=True)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(outcome, indent=1, ensure_ascii=False) + "\n"
            write_whole(folder / f"{path.stem}.json", text.encode())
            print(f"{path.name}: {summary(outcome)}", flush=True)
    return 1 if failed else 0


def kept(lesson: str) -> dict[str, Any] | None:
    """What is kept of a lesson, such as "01_introduction"; None where no GPU has run it."""
    path = KEPT / f"{lesson}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def seconds(record: dict[str, Any]) -> float:
    """What all cells of a lesson took."""
    return sum(cell["seconds"] for cell in record["cells"])


def summary(record: dict[str, Any]) -> str:
    """Seconds in all and of the longest cell, the device, and the memory it took there."""
    longest = max((cell["seconds"] for cell in record["cells"]), default=0)
    memory = f", {record['gigabytes']:.1f} GB of its memory" if record["gigabytes"] else ""
    return f"{seconds(record):.0f} s on {record['device']}, longest cell {longest:.0f} s{memory}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m press.on_gpu",
        description="Run the lessons under the gpu profile; keep how long their cells took.",
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: chapters/*.ipynb")
    parser.add_argument("--keep", type=Path, default=KEPT, help="the folder to keep it in")
    given = parser.parse_args()
    for path in given.notebooks:
        if path.suffix != ".ipynb" or not path.is_file():
            parser.error(f"{path} is not a notebook here; give a path such as chapters/NAME.ipynb")
    environment.quiet()
    os.environ["AELIB_PROFILE"] = "gpu"
    return run_all(given.notebooks or sorted(CHAPTERS.glob("*.ipynb")), given.keep)


if __name__ == "__main__":
    sys.exit(main())
