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
import overhead
import seeds

from aelib import runtime

RESULTS = Path(__file__).with_name("results.json")
PARTS = {"overhead": overhead, "seeds": seeds, "imports": imports}


def main() -> None:
    """Time each part, print it, and keep the whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, rough; nothing is kept")
    parser.add_argument("--only", choices=PARTS, help="one part; nothing is kept")
    options = parser.parse_args()
    print(runtime.header(), "·", runtime.machine())
    results = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": runtime.machine(),
        "device": str(runtime.device()),
        "versions": runtime.versions(),
    }
    for name, part in PARTS.items():
        if options.only in (None, name):
            results[name] = part.measure(options.quick)
            print("", part.table(results[name]), sep="\n", flush=True)
    if not (options.quick or options.only):
        runtime.write_whole(RESULTS, (json.dumps(results, indent=1) + "\n").encode())
        print(f"\nkept in {RESULTS}")


if __name__ == "__main__":
    main()
