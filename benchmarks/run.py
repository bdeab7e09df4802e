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
    for name, part in PARTS.items():
        if options.only in (None, name):
            found = part.measure(options.quick)
            print("", part.table(found), sep="\n", flush=True)
            if not options.quick:
                keep(name, found)


def keep(name: str, found: dict | list[dict]) -> None:
    """Write what a part found, with where and when; the other suites stay as they are.

    A part's rows belong to the suite of its name, or to the one that a row itself names.
    """
    here = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": runtime.machine(),
        "device": str(runtime.device()),
        "versions": runtime.versions(),
    }
    suites = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    fresh: dict[str, list[dict]] = {}
    for row in found if isinstance(found, list) else [found]:
        fresh.setdefault(row.get("suite", name), []).append(
            {key: value for key, value in row.items() if key != "suite"}
        )
    suites |= {suite: {**here, "rows": rows} for suite, rows in fresh.items()}
    runtime.write_whole(RESULTS, (json.dumps(suites, indent=1) + "\n").encode())
    print(f"\nkept in {RESULTS}", flush=True)


if __name__ == "__main__":
    main()
