"""Several seeds: one batched graph, side by side step by step, or one after the other?

`aelib.training.ensemble.SMALL_STEP` comes from here: up to that size of a step, parameters ×
batch, one batched graph is the cheaper way on a CPU.
"""

from __future__ import annotations

import copy
import math
from statistics import median

import torch
from timing import side_by_side

import aelib as ae
from aelib import random, runtime

# image side, width; five hidden layers
SIZES = ((8, 32), (8, 64), (8, 128), (8, 256), (16, 512))
BATCHES = (16, 64, 256)
SEEDS = (3, 10)
WORK = 4e9  # parameters × batch × seeds × steps, about a quarter of a second on one core


def cell(side: int, width: int, batch: int, seeds: int, threads: int, rounds: int) -> dict:
    """One setting, all ways."""
    shape = (1, side, side)
    images = torch.rand(1500, *shape, generator=random.generator(0))
    nets = ae.models.replicate(lambda: ae.models.MLPAutoencoder(shape, width=width), seeds)
    size = ae.models.count_parameters(nets[0]) * batch
    steps = max(3, min(200, round(WORK / size / seeds)))
    settings = {"steps": steps, "batch_size": batch, "log_at": [steps]}
    start = copy.deepcopy(nets)

    def fresh() -> list[torch.nn.Module]:
        for net, old in zip(nets, start, strict=True):
            net.load_state_dict(old.state_dict())
        return nets

    ways = {
        "together": lambda: ae.fit(fresh(), images, vmap=True, **settings),
        "side by side": lambda: ae.fit(fresh(), images, vmap=False, **settings),
        "in turn": lambda: [ae.fit(net, images, **settings) for net in fresh()],
    }
    with runtime.threads(threads):
        cpu = threads == 1 and runtime.is_cpu(runtime.device())
        times = side_by_side(ways, rounds, cpu)
    return {
        "layers": f"{side * side}-{width}x5-{side * side}",
        "batch": batch,
        "seeds": seeds,
        "threads": threads,
        "size": size,
        **{
            f"{name.replace(' ', '_')}_ms_a_step": 1e3 * median(times[name]) / steps
            for name in ways
        },
    }


def measure(quick: bool) -> dict:
    """All settings, and the limit they speak for."""
    settings = [
        (side, width, batch, seeds, 1)
        for side, width in SIZES
        for batch in BATCHES
        for seeds in SEEDS
    ]
    settings += [(8, 64, 64, 3, 2), (8, 256, 64, 3, 2), (16, 512, 64, 3, 2)]
    if quick:
        settings = [(8, 64, 16, 3, 1), (8, 64, 64, 3, 1), (8, 256, 64, 3, 1)]
    rows = [cell(*setting, rounds=2 if quick else 5) for setting in settings]
    return {
        "rows": rows,
        "best_limit": best_limit(rows),
        "SMALL_STEP": ae.training.ensemble.SMALL_STEP,
    }


def best_limit(rows: list[dict]) -> int:
    """The size up to which to train together that loses least time, as a mean of ratios."""

    def lost(limit: int) -> float:
        chosen = [
            row["together_ms_a_step" if row["size"] <= limit else "side_by_side_ms_a_step"]
            / min(row["together_ms_a_step"], row["side_by_side_ms_a_step"])
            for row in rows
        ]
        return sum(map(math.log, chosen))

    return min([0, *sorted({row["size"] for row in rows})], key=lost)


def table(found: dict) -> str:
    """The rows in print, the cheapest way starred."""
    ways = ("together", "side by side", "in turn")
    lines = [
        f"{'seeds, ms a step':<24}batch seeds threads   params×batch"
        + "".join(f"{way:>14}" for way in ways)
    ]
    for row in sorted(found["rows"], key=lambda row: (row["threads"], row["size"])):
        times = [row[f"{way.replace(' ', '_')}_ms_a_step"] for way in ways]
        shown = "".join(f"{t:>13.3f}{'*' if t == min(times) else ' '}" for t in times)
        lines.append(
            f"{row['layers']:<22}{row['batch']:>7}{row['seeds']:>6}{row['threads']:>8}"
            f"{row['size']:>15,}{shown}"
        )
    limit = f"{found['best_limit']:,}; training.ensemble.SMALL_STEP is {found['SMALL_STEP']:,}"
    return "\n".join([*lines, f"together loses least up to params×batch = {limit}"])
