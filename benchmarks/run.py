"""All benchmarks: prints a table and keeps benchmarks/results.json. `make bench` runs this.

Nothing here is a test: times depend on the machine. Within one table the ways are timed side by
side, in turn, so their ratios hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

import imports
import inversion
import inversion_recipes
import inversion_scale
import overhead
import sampler
import seeds
import unet
from filelock import FileLock

from aelib import runtime

RESULTS = Path(__file__).with_name("results.json")
PARTS = {
    "overhead": overhead,
    "sampler": sampler,
    "seeds": seeds,
    "unet": unet,
    "imports": imports,
    "inversion": inversion,
    "inversion recipes": inversion_recipes,
    "inversion scale": inversion_scale,
}


def main() -> None:
    """Time each part, print it, and keep the whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="minutes, rough; nothing is kept")
    parser.add_argument("--only", choices=PARTS, help="one part; the others' rows stay")
    parser.add_argument(
        "--problem",
        choices=inversion.PROBLEMS,
        nargs="+",
        default=(),
        help="of the inversion, some problems; several processes may each take others",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="of the inversion, measure again what was measured before by the same code",
    )
    options = parser.parse_args()
    print(runtime.header(), "·", runtime.machine())
    for name, part in PARTS.items():
        if options.only not in (None, name):
            continue
        if part is inversion:
            piecewise(options)
            continue
        found = part.measure(options.quick)
        print("", part.table(found), sep="\n", flush=True)
        if not options.quick:
            keep(name, found)


def piecewise(options: argparse.Namespace) -> None:
    """The inversion: hours, so each piece is kept when it is done, and none is measured twice."""
    for piece in inversion.parts(options.quick, options.problem):
        if not (options.quick or options.fresh) and piece in measured(inversion.version()):
            continue
        found = inversion.measure_part(piece, options.quick)
        print("", inversion.table(found), sep="\n", flush=True)
        if not options.quick:
            keep("inversion", found, inversion.Part._fields)


def measured(version: str) -> set[tuple]:
    """The pieces of the inversion that are kept and were measured by this version."""
    rows = stored().get("inversion", {}).get("rows", [])
    return {identity(row, inversion.Part._fields) for row in rows if row.get("version") == version}


def identity(row: dict, fields: Collection[str]) -> tuple:
    """What tells a row's piece from others."""
    return tuple(row.get(field) for field in fields)


def stored() -> dict:
    """What is kept, by suite."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def keep(name: str, found: dict | list[dict], fields: Collection[str] = ()) -> None:
    """Write what a part found, with where and when; the other suites stay as they are.

    A part's rows belong to the suite of its name, or to the one that a row itself names. With
    `fields`, what was found is a piece of its suite: rows that differ from it in one of these stay.
    Processes that write at the same time wait for each other.
    """
    here = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": runtime.machine(),
        "device": str(runtime.device()),
        "versions": runtime.versions(),
    }
    fresh: dict[str, list[dict]] = {}
    for row in found if isinstance(found, list) else [found]:
        fresh.setdefault(row.get("suite", name), []).append(
            {key: value for key, value in row.items() if key != "suite"}
        )
    with FileLock(RESULTS.with_suffix(".lock")):
        suites = stored()
        for suite, rows in fresh.items():
            if fields:
                new = {identity(row, fields) for row in rows}
                others = suites.get(suite, {}).get("rows", [])
                rows = [row for row in others if identity(row, fields) not in new] + rows
                rows.sort(key=lambda row: identity(row, fields))
            suites[suite] = {**here, "rows": rows}
        text = re.sub(
            r"\[[^][{}]*\]", lambda plain: " ".join(plain[0].split()), json.dumps(suites, indent=1)
        )
        runtime.write_whole(RESULTS, (text + "\n").encode())
    print(f"\nkept in {RESULTS}", flush=True)


if __name__ == "__main__":
    main()
