"""What `import aelib` costs beyond torch's own import, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

CODE = """
import json, time
stamps = [time.perf_counter()]
for name in ("torch", "aelib", "accelerate"):
    __import__(name)
    stamps.append(time.perf_counter())
print(json.dumps([after - before for before, after in zip(stamps, stamps[1:])]))
"""


def measure(quick: bool) -> dict:
    """Median seconds; accelerate's are paid by the first `fit`, not by the import."""
    runs = [
        json.loads(subprocess.check_output([sys.executable, "-c", CODE], text=True))
        for _ in range(2 if quick else 7)
    ]
    names = ("torch_seconds", "aelib_seconds_beyond_torch", "accelerate_seconds_at_first_fit")
    return {name: median(run[place] for run in runs) for place, name in enumerate(names)}


def table(found: dict) -> str:
    """The numbers in print."""
    return "\n".join(f"{name.replace('_', ' '):<36}{found[name]:>7.2f}" for name in found)
