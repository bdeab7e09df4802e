"""Run the chapters with other seeds or on other kernels, and say which verdicts turn.

`python -m press.verdicts seeds 1000 [NOTEBOOK …]` moves every seed of the book by 1000: nets,
starts and noise are drawn anew, the data stay. `python -m press.verdicts kernels [NOTEBOOK …]`
keeps the seeds and adds up in another order, as another processor would. Nothing is stored. A
verdict that turns is a finding, for the claim's rule or for its number of seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from press import environment
from press.execute import Failed, in_turn, run
from press.ledger import order
from press.notebooks import Notebook, notebooks, read

KERNELS = {
    "AVX2 kernels": {
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "two threads": {"OMP_NUM_THREADS": "2"},
}


def verdicts(notebook: Notebook) -> dict[str, str]:
    """By claim, the verdicts among a notebook's outputs."""
    return {record["id"]: record["verdict"] for record, _ in notebook.claims()}


def complaints(notebook: Notebook) -> Iterable[str]:
    """The cells that failed, each with its first line and the error."""
    for cell in notebook.code:
        for output in cell.outputs:
            if output.output_type == "error":
                first = cell.source.strip().partition("\n")[0]
                yield f"{first} … {output.ename}: {output.evalue}"[:200]


async def again(notebook: Notebook, name: str, variables: dict[str, str]) -> tuple[int, bool]:
    """Run a notebook under `variables` and say what turned: how many did, and if all was judged."""
    words, before = [f"{notebook.path.name}, {name}"], verdicts(notebook)
    try:
        content, _ = await run(notebook, timeout=3600, on_error="go on", **variables)
        fresh = Notebook(notebook.path, content)
        after, failed = verdicts(fresh), list(complaints(fresh))
    except Failed as failure:
        after, failed = {}, [str(failure)]
    turned = [id for id in after if after[id] != before.get(id)]
    words += [f"  claim {id}: {before.get(id)} → {after[id]}" for id in sorted(turned, key=order)]
    words += [f"  {len(after)} claims judged"]
    lost = sorted(before.keys() - after.keys(), key=order)
    words += [f"  not judged: {', '.join(lost)}"] if lost else []
    words += [f"  failed: {failure}" for failure in failed]
    print("\n".join(words), flush=True)
    return len(turned), not (lost or failed)


def main() -> int:
    """1 where a verdict turned, or a cell or a notebook failed."""
    parser = argparse.ArgumentParser(
        prog="python -m press.verdicts",
        description="Which verdicts turn with other seeds or on other kernels?",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="seeds|kernels")
    seeds = kinds.add_parser("seeds", help="move every seed")
    seeds.add_argument("by", type=int, help="what is added to every seed, such as 1000")
    kernels = kinds.add_parser("kernels", help="the same seeds under " + " and ".join(KERNELS))
    for kind in (seeds, kernels):
        kind.add_argument("notebooks", nargs="*", type=Path, help="all chapters if left out")
        kind.add_argument("--jobs", type=int, default=2, help="how many at a time (default 2)")
    given = parser.parse_args()
    if given.kind == "seeds" and given.by == 0:
        parser.error("by: expected a number other than 0")
    try:
        books = [read(path.resolve()) for path in given.notebooks] or notebooks()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    environment.quiet()
    ways = KERNELS
    if given.kind == "seeds":
        ways = {f"seeds moved by {given.by}": {"AELIB_SEED_OFFSET": str(given.by)}}
    tasks = [again(book, name, variables) for name, variables in ways.items() for book in books]
    done = asyncio.run(in_turn(given.jobs, tasks))
    turned = sum(count for count, _ in done)
    print(f"{turned} verdicts turned")
    return 1 if turned or not all(well for _, well in done) else 0


if __name__ == "__main__":
    sys.exit(main())
