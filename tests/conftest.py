"""What tests share: a browser, a mark for what needs the book, a word where there is no GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from press import environment


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none; -ra, in pyproject.toml, prints how many and why.

    From here, and not by marks, so that all of them share one line.
    """
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here, so what needs one was not tested at all: make gpu")


BOOK = {"test_pages", "test_browser", "test_lessons", "test_published", "test_pdf"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the built pages or a browser; `make unit` leaves it out."""
    for item in items:
        if item.path.stem in BOOK or "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("book")


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A headless browser for a file of tests. Its event loop must not outlive the file:
    Playwright allows only one, and what the next file runs may want a loop of its own.

    Without Chromium its tests are skipped, except under CI, where a missing browser is a failure.
    """
    found = environment.chromium()
    if found is None and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail("no Chromium on PATH; .ci/run installs it, CHROMIUM names one", pytrace=False)
    if found is None:
        pytest.skip("no Chromium on PATH (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()
