"""Run chapters with other seeds, and say which verdicts change.

``python tools/other_seeds.py BY [NOTEBOOK …]`` moves every seed of the book by BY, so that nets,
starts and noise are drawn anew and the data stay. Nothing is stored. A claim whose verdict changes
hangs on its seeds: that is a finding, for the claim's rule or for its number of seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from aelib import random

ROOT = Path(__file__).resolve().parents[1]
QUIET = {"OMP_NUM_THREADS": "1", "AELIB_INTERACTIVE": "0", "MPLBACKEND": "agg"}


def move_seeds(by: int) -> None:
    """Let every generator and every seeded block of aelib begin `by` further on."""
    import aelib  # noqa: F401  (all rooms, so that every name taken from runtime is there)

    begin, block = random.generator, random.seeded
    moved = (
        (begin, lambda seed, *rest, **named: begin(seed + by, *rest, **named)),
        (
            block,
            lambda seed, *rest, **named: block(None if seed is None else seed + by, *rest, **named),
        ),
    )
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "aelib":
            for key, value in list(vars(module).items()):
                for old, new in moved:
                    if value is old:
                        setattr(module, key, new)


def verdicts(path: Path, by: int) -> dict[str, list | dict]:
    """The verdict of each claim that the notebook judges, and the cells that failed.

    All cells run in this process.
    """
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell

    move_seeds(by)
    from aelib.claims import Card

    os.chdir(path.parent)
    shell, found, failed = InteractiveShell.instance(), {}, []
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "code":
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            done = shell.run_cell(cell.source)
        if isinstance(done.result, Card):
            found[done.result.claim.id] = done.result.verdict
        if not done.success:
            first = cell.source.strip().splitlines()[0]
            failed.append(f"{first} … {done.error_before_exec or done.error_in_exec!r}"[:200])
    return {"verdicts": found, "failed": failed}


def run(path: Path, by: int) -> dict[str, list | dict]:
    """What `verdicts` finds in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, __file__, str(by), str(path), "--here", str(answer)]
        done = subprocess.run(command, env={**os.environ, **QUIET}, stdout=subprocess.DEVNULL)
        if answer.is_file():
            return json.loads(answer.read_text())
    return {"verdicts": {}, "failed": [f"it ended with status {done.returncode}"]}


def main() -> int:
    """A line for each claim whose verdict changes; 1 where a cell or a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("by", type=int, help="what is added to every seed, such as 1000")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all chapters if left out")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # one, its answer to a file
    options = parser.parse_args()
    paths = [path.resolve() for path in options.notebooks]
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"expected notebooks; there is no such file: {', '.join(missing)}")
    if options.by < 1:
        parser.error(f"by: expected 1 or more, got {options.by}")
    if options.here:
        options.here.write_text(json.dumps(verdicts(paths[0], options.by)))
        return 0
    from aelib.claims import ledger

    paths = paths or sorted((ROOT / "chapters").glob("*.ipynb"))
    try:  # before the first run, for what cannot be read would only be known after hours
        stored = {
            (record["notebook"], record["id"]): record["verdict"]
            for folder in {path.parent for path in paths}
            for record in ledger(folder)
        }
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    changed, failed = 0, 0
    for path in paths:
        print(f"{path.name}, seeds moved by {options.by} …", flush=True)
        found = run(path, options.by)
        for claim, verdict in found["verdicts"].items():
            before = stored.get((path.stem, claim))
            if verdict != before:
                changed += 1
                print(f"  claim {claim}: {before} → {verdict}", flush=True)
        print(f"  {len(found['verdicts'])} claims judged", flush=True)
        lost = [id for book, id in stored if book == path.stem and id not in found["verdicts"]]
        if lost:
            print(f"  not judged: {', '.join(lost)}", file=sys.stderr)
        for failure in found["failed"]:
            print(f"  failed: {failure}", file=sys.stderr)
        failed += bool(lost or found["failed"])
    print(f"{changed} verdicts changed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
