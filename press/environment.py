"""The surroundings in which a notebook runs for the record, for press and pytest; a browser."""

from __future__ import annotations

import os
import shutil

ALWAYS = {
    "AELIB_INTERACTIVE": "0",  # no bars, no live controls, whoever watches
    "PYTHONHASHSEED": "0",
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this Python, whatever the reader has at home
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
UNLESS_SET = {
    "MPLBACKEND": "agg",
    # One thread: sums in one order on one machine, and small nets lose more by waiting for a second
    # thread on a busy machine than they gain. Another processor still gives other last digits.
    "OMP_NUM_THREADS": "1",
}
NEVER = ("JUPYTER_PATH", "AELIB_SEED_OFFSET")


def quiet() -> None:
    """Set this process's environment, which kernels inherit; call it before torch is imported."""
    os.environ.update(ALWAYS)
    for name, value in UNLESS_SET.items():
        os.environ.setdefault(name, value)
    for name in NEVER:
        os.environ.pop(name, None)


def chromium() -> str | None:
    """A browser: the one CHROMIUM names, else the first of its usual names on PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = (shutil.which(name) for name in names)
    return os.environ.get("CHROMIUM") or next(filter(None, found), None)
