"""The U-Net's step: `fit` against a bare loop, channels last against channels first, threads."""

from __future__ import annotations

import copy
from statistics import median

import torch
from overhead import bare
from timing import ratio, side_by_side

import aelib as ae
from aelib import random, runtime

# image side, width, steps: chapter 3's own size, and photographs.
SIZES = ((8, 16, 60), (16, 16, 30), (32, 32, 4))
BATCH = 64


def measure(quick: bool) -> list[dict]:
    """One row a size. On a CPU, seconds are of the processor on one thread, but for the threads."""
    rows = []
    cpu = runtime.is_cpu(runtime.device())
    for side, width, steps in SIZES:
        images = torch.rand(1500, 1, side, side, generator=random.generator(0))
        net = ae.models.UNet((1, side, side), width, skips="concat")
        start = copy.deepcopy(net.state_dict())
        first = copy.deepcopy(net).to(memory_format=torch.contiguous_format)

        def begin(net=net, start=start):
            net.load_state_dict(start)
            return net

        def with_fit(images=images, steps=steps, begin=begin):
            ae.fit(begin(), images, steps=steps, batch_size=BATCH)

        ways = {
            "bare": lambda images=images, steps=steps, begin=begin: bare(begin(), images, steps),
            "fit": with_fit,
            "channels first": lambda images=images, steps=steps, first=first: bare(
                first, images, steps
            ),
        }
        rounds = 3 if quick else 9
        with runtime.threads(1):
            times = side_by_side(ways, rounds, cpu=cpu)
        row = {
            "images": f"1×{side}×{side}, width {width}",
            "batch": BATCH,
            "bare_ms_a_step": 1e3 * median(times["bare"]) / steps,
            "fit_ms_a_step": 1e3 * median(times["fit"]) / steps,
            "fit_over_bare": ratio(times["fit"], times["bare"]),
            "channels_first_over_last": ratio(times["channels first"], times["bare"]),
        }
        if cpu:
            count = torch.get_num_threads()
            clock = side_by_side({"one": lambda: _on(1, with_fit), "all": with_fit}, rounds)
            row |= {"threads": count, "one_thread_over_all": ratio(clock["one"], clock["all"])}
        rows.append(row)
    return rows


def _on(count: int, way) -> None:
    with runtime.threads(count):
        way()


def table(rows: list[dict]) -> str:
    """The rows in print."""
    lines = ["U-Net, ms a step         bare     fit   fit/bare  first/last  one thread/all"]
    lines += [
        f"{row['images']:<20}{row['bare_ms_a_step']:>9.1f}{row['fit_ms_a_step']:>8.1f}"
        f"{row['fit_over_bare']:>11.3f}{row['channels_first_over_last']:>12.2f}"
        f"{row.get('one_thread_over_all', float('nan')):>16.2f}"
        for row in rows
    ]
    return "\n".join(lines)
