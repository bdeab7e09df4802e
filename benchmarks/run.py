"""All benchmarks: prints a table and keeps benchmarks/results.json. `make bench` runs this.

Nothing here is a test: times depend on the machine. Within one table the ways are timed side by
side, in turn, so their ratios hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path

import imports
import inversion
import inversion_scale
import overhead
import sampler
import seeds
import unet

from aelib import runtime

RESULTS = Path(__file__).with_name("results.json")
PARTS = {
    "overhead": overhead,
    "sampler": sampler,
    "seeds": seeds,
    "unet": unet,
    "imports": imports,
    "inversion": inversion,
    "inversion scale": inversion_scale,
}


def main() -> None:
    """Time each part, print it, and keep the whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, rough; nothing is kept")
    parser.add_argument("--only", choices=PARTS, help="one part; the others' rows stay")
    options = parser.parse_args()
    print(runtime.header(), "·", runtime.machine())
    rows = []
    for name, part in PARTS.items():
        if options.only in (None, name):
            found = part.measure(options.quick)
            print("", part.table(found), sep="\n", flush=True)
            found = found if isinstance(found, list) else [found]
            rows += [{"suite": name, **row} for row in found]
    if options.quick:
        return
    results = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "name": runtime.machine(),
            "device": str(runtime.device()),
            "versions": runtime.versions(),
        },
        "rows": rows
        + [row for row in kept() if row["suite"] not in {one["suite"] for one in rows}],
    }
    runtime.write_whole(RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    print(f"\nkept in {RESULTS}")


def kept() -> list[dict]:
    """The rows of earlier runs; a run of one part leaves those of the others as they are."""
    return json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []


if __name__ == "__main__":
    main()
