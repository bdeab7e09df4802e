"""What `fit` costs over a bare loop: the same model, the same draws, the same fused Adam."""

from __future__ import annotations

import copy
from statistics import median

import torch
from timing import ratio, side_by_side

import aelib as ae
from aelib import random, runtime

# image side, width, steps: a step of the first takes half a millisecond, of the last ten.
SIZES = ((8, 64, 1000), (8, 256, 300), (16, 512, 80))
BATCH = 64


def bare(model: torch.nn.Module, images: torch.Tensor, steps: int) -> None:
    """The loop anyone would write."""
    device = runtime.device()
    model, images = model.to(device).train(), images.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        drawn = images[torch.randint(len(images), (BATCH,), generator=generator).to(device)]
        loss = (model(drawn) - drawn).square().mean(dim=(-3, -2, -1)).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def measure(quick: bool) -> list[dict]:
    """One row a size, on one thread; seconds are of the processor where that is the CPU."""
    rows = []
    for side, width, steps in SIZES:
        shape = (1, side, side)
        images = torch.rand(1500, *shape, generator=random.generator(0))
        model = ae.models.MLPAutoencoder(shape, width=width)
        start = copy.deepcopy(model.state_dict())

        def begin(model=model, start=start):
            model.load_state_dict(start)
            return model

        ways = {
            "bare": lambda images=images, steps=steps, begin=begin: bare(begin(), images, steps),
            "fit": lambda images=images, steps=steps, begin=begin: ae.fit(
                begin(), images, steps=steps, batch_size=BATCH
            ),
        }
        with runtime.threads(1):
            cpu = runtime.is_cpu(runtime.device())
            times = side_by_side(ways, rounds=3 if quick else 11, cpu=cpu)
        rows.append(
            {
                "layers": f"{side * side}-{width}x5-{side * side}",
                "batch": BATCH,
                "bare_ms_a_step": 1e3 * median(times["bare"]) / steps,
                "fit_ms_a_step": 1e3 * median(times["fit"]) / steps,
                "ratio": ratio(times["fit"], times["bare"]),
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    """The rows in print."""
    lines = ["fit against a bare loop    bare ms    fit ms    ratio"]
    lines += [
        f"{row['layers']:<20}{row['bare_ms_a_step']:>14.3f}{row['fit_ms_a_step']:>10.3f}"
        f"{row['ratio']:>9.3f}"
        for row in rows
    ]
    return "\n".join(lines)
