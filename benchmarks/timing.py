"""Ways of doing one thing, timed side by side: A B A B, so that a busy machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from aelib import runtime


def side_by_side(
    ways: Mapping[str, Callable[[], object]], rounds: int, cpu: bool = False
) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that does not count.

    Args:
        ways: by name, what to time.
        rounds: how often each is timed.
        cpu: count this process's own processor seconds, which other programs hardly disturb; for
            one thread on a CPU only. Otherwise seconds by the clock.
    """
    clock = time.process_time if cpu else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            settle()
            began = clock()
            way()
            settle()
            if number:
                found[name].append(clock() - began)
    return found


def settle() -> None:
    """Wait for a GPU to finish what it was given."""
    if not runtime.is_cpu(runtime.device()):
        torch.accelerator.synchronize()


def ratio(first: list[float], second: list[float]) -> float:
    """The median over rounds of how many times longer the first took."""
    return median(mine / its for mine, its in zip(first, second, strict=True))
