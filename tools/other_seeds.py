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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUIET = {"OMP_NUM_THREADS": "1", "AELIB_INTERACTIVE": "0", "MPLBACKEND": "agg"}


def move_seeds(by: int) -> None:
    """Let every generator and every seeded block of aelib begin `by` further on."""
    import aelib  # noqa: F401  (all rooms, so that every name taken from runtime is there)
    from aelib import runtime

    begin, block = runtime.generator, runtime.seeded
    moved = (
        (begin, lambda seed, *place: begin(seed + by, *place)),
        (block, lambda seed, *place: block(None if seed is None else seed + by, *place)),
    )
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "aelib":
            for key, value in list(vars(module).items()):
                for old, new in moved:
                    if value is old:
                        setattr(module, key, new)


def verdicts(path: Path, by: int) -> dict[str, str]:
    """The verdict of each claim that the notebook judges, all cells run in this process."""
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell

    move_seeds(by)
    from aelib.claims import Card

    os.chdir(path.parent)
    shell, found = InteractiveShell.instance(), {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "code":
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            done = shell.run_cell(cell.source)
        if isinstance(done.result, Card):
            found[done.result.claim.id] = done.result.verdict
        if not done.success:
            first = cell.source.strip().splitlines()[0]
            print(f"  failed: {first} … {done.error_in_exec!r}"[:200], file=sys.stderr)
    return found


def main() -> int:
    """Each notebook in a process of its own; a line for each claim whose verdict changes.

    Returns 1 where a stored claim was not judged, because a cell before it failed.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("by", type=int, help="what is added to every seed, such as 1000")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all chapters if left out")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one, as JSON
    options = parser.parse_args()
    paths = [path.resolve() for path in options.notebooks]
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    if options.by < 1:
        parser.error(f"by: expected 1 or more, got {options.by}")
    if options.here:
        print(json.dumps(verdicts(paths[0], options.by)))
        return 0
    from aelib.claims import ledger

    changed, missing = 0, []
    for path in paths or sorted((ROOT / "chapters").glob("*.ipynb")):
        print(f"{path.name}, seeds moved by {options.by} …", flush=True)
        run = subprocess.run(
            [sys.executable, __file__, str(options.by), str(path), "--here"],
            env={**os.environ, **QUIET}, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found = json.loads(run.stdout.splitlines()[-1])
        stored = {
            record["id"]: record["verdict"]
            for record in ledger(path.parent)
            if record["notebook"] == path.stem
        }
        for claim, verdict in found.items():
            if verdict != stored.get(claim):
                changed += 1
                print(f"  claim {claim}: {stored.get(claim)} → {verdict}", flush=True)
        print(f"  {len(found)} claims judged", flush=True)
        missing += [claim for claim in stored if claim not in found]
    print(f"{changed} verdicts changed")
    if missing:
        print(f"not judged, for a cell failed: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
