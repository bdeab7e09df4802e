"""What every run of pytest shares, `pytest --nbval chapters/` included: surroundings, order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from press import environment

environment.quiet()  # before anything imports torch; a notebook's kernel inherits it

ROOT = Path(__file__).parent
CELL_TIMEOUT = 600.0  # seconds, as press.execute allows; nbval's own is 2000


def pytest_configure(config: pytest.Config) -> None:
    """What nbval may overlook, and how long it waits, unless the command line says otherwise."""
    option = config.option
    if not hasattr(option, "nbval"):
        return  # nbval is not installed
    if option.nbval_sanitize_with is None:
        option.nbval_sanitize_with = str(ROOT / "tests" / "nbval.cfg")
    if option.nbval_cell_timeout == 2000:
        option.nbval_cell_timeout = CELL_TIMEOUT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks first, the longest before all: side by side, the run ends soonest so."""
    seconds: dict[Path, float] = {}
    for path in {item.path for item in items if item.path.suffix == ".ipynb"}:
        metadata = json.loads(path.read_text(encoding="utf-8")).get("metadata", {})
        seconds[path] = metadata.get("aelib", {}).get("seconds", 1)
    items.sort(key=lambda item: -seconds.get(item.path, 0))
