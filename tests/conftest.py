"""What all tests share: a quiet, repeatable environment, also for the notebooks' kernels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

# Set before anything imports torch; a notebook's kernel is started from here and inherits it.
os.environ["AELIB_INTERACTIVE"] = "0"
os.environ["PYTHONHASHSEED"] = "0"
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the user's
os.environ.pop("JUPYTER_PATH", None)
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as tools/execute.py does


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """One headless browser for all tests: Playwright allows only one at a time.

    Without Chromium its tests are skipped, except under CI, where a missing browser is a failure.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail("no chromium on PATH; .ci/run installs it", pytrace=False)
    if found is None:
        pytest.skip("no chromium on PATH (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()
