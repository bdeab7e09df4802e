"""Measurements over seeds as charts draw them: never one run alone, always with their spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aelib import checks


def over_seeds(values: Mapping[str, Any], name: str, *points: int) -> dict[str, np.ndarray]:
    """Each series of the argument `name` as an array (seeds, *points), two seeds or more."""
    runs = {}
    for label, value in values.items():
        where = f"{name}[{label!r}]"
        runs[label] = checks.array(value, where, ("seeds", *points))
        if len(runs[label]) < 2:
            got, advice = checks.Described(1), "one run has no spread to show"
            raise ValueError(checks.message(where, "two seeds or more", got, advice))
    return runs


def spreads(
    runs: Mapping[str, np.ndarray], intervals: Mapping[str, Any] | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Low and high of each series: the interval given for it, else the seeds' extremes."""
    found = {label: (run.min(0), run.max(0)) for label, run in runs.items()}
    for label, interval in (intervals or {}).items():
        checks.choice(label, "intervals", runs)
        if hasattr(interval, "low"):  # an Interval of aelib.measures
            interval = (interval.low, interval.high)
        where = f"intervals[{label!r}]"
        low, high = checks.array(interval, where, (2, *runs[label].shape[1:]))
        if (low > high).any():
            raise ValueError(checks.message(where, "low not above high", [low, high]))
        found[label] = (low, high)
    return found
