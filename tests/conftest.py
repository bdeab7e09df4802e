"""What all tests share: a quiet, repeatable environment, also for the notebooks' kernels."""

from __future__ import annotations

import os

# Set before anything imports torch; a notebook's kernel is started from here and inherits it.
os.environ["AELIB_INTERACTIVE"] = "0"
os.environ["PYTHONHASHSEED"] = "0"
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the user's
os.environ.pop("JUPYTER_PATH", None)
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as tools/execute.py does
