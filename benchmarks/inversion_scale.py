"""How an inversion's cost grows: with the layer's depth, not the net's; with the batch; on a GPU.

The first two run anywhere. The third needs a CUDA device and says so where there is none: it sets
iterations per second against what the chip's measured matrix and copy rates would allow.
"""

from __future__ import annotations

import time
from statistics import median

import torch
from timing import settle, side_by_side
from torch import nn

import aelib as ae
from aelib import random, runtime
from aelib.inversion.descent import reference_noise
from aelib.inversion.probe import check_layers
from aelib.inversion.reading import frozen, reader

STEPS = 10


def invert(net: nn.Module, images: torch.Tensor, layer: str, steps: int = STEPS, **how) -> None:
    ae.invert(net, images, layer, steps=steps, log_at=1, **how)


def depth(quick: bool) -> list[dict]:
    """The same early layer in nets of other depths, and the whole nets beside it.

    The difference of two lengths of run leaves out the set-up, which looks at the whole net once.
    """
    image = ae.data.load("photos", size=64, channels=3).test[:1]
    nets = {name: ae.models.classifier(name, size=64) for name in ("resnet50", "resnet101")}
    rows = []
    for layer in ("layer1", "output"):
        ways = {
            (name, steps): lambda net=net, at=layer, steps=steps: invert(net, image, at, steps)
            for name, net in nets.items()
            for steps in (STEPS, 3 * STEPS)
        }
        times = side_by_side(ways, 1 if quick else 5, cpu=runtime.is_cpu(runtime.device()))
        for name in nets:
            spent = median(times[name, 3 * STEPS]) - median(times[name, STEPS])
            rows.append(
                {"problem": f"{name}/{layer}/64", "method": "aelib",
                 "ms_an_iteration": 1e3 * spent / (2 * STEPS)}
            )  # fmt: skip
    return rows


def batch(quick: bool) -> list[dict]:
    """Milliseconds an iteration and an example, and the memory the loop holds, by batch size."""
    photos = ae.data.load("photos", size=64, channels=3).test
    net = ae.models.classifier("resnet18", size=64)
    sizes = (1, 4, 16) if quick else (1, 4, 16, 64)
    ways = {
        size: lambda size=size: invert(net, photos[:size], "layer2", batch_size=size)
        for size in sizes
    }
    times = side_by_side(ways, 1 if quick else 3, cpu=runtime.is_cpu(runtime.device()))
    with frozen(net):
        noise = reference_noise(0, photos[0])
        kept = check_layers(net, photos[:1], ["layer2"], noise)["layer2"]
    return [
        {"problem": "resnet18/layer2/64", "method": "aelib", "batch": size,
         "ms_an_iteration_and_example": 1e3 * median(spent) / (STEPS + 1) / size,
         "megabytes_kept_for_gradients": kept * size / 2**20}
        for size, spent in times.items()
    ]  # fmt: skip


def gpu(quick: bool) -> list[dict]:
    """Share of the binding ceiling: FLOPs over the matrix rate, or bytes over the copy rate."""
    place = runtime.device()
    if runtime.is_cpu(place):
        print("no GPU here: iterations per second against the chip's rates were not measured")
        return []
    matrix, copy = rates(place)
    rows = []
    for name, size, layer, count in (
        ("vit_l_16", 224, "encoder.layers.encoder_layer_23", 16),
        ("vit_l_16", 512, "encoder.layers.encoder_layer_23", 4),
        ("resnet50", 299, "layer4", 32),
    ):
        net = ae.models.classifier(name, size=size).to(place)
        images = torch.rand(count, 3, size, size, generator=random.generator(0)).to(place)
        flops = flops_of(net, images[:1], layer) * count
        spent = []
        for steps in (10, 10, 60):  # the first warms up; the two others give the slope
            settle()
            began = time.perf_counter()
            invert(net, images, layer, steps, precision="bf16", cuda_graphs=not quick,
                   batch_size=count)  # fmt: skip
            settle()
            spent.append(time.perf_counter() - began)
        each = (spent[2] - spent[1]) / 50
        rows.append(
            {"problem": f"{name}/{layer.rsplit('.', 1)[-1]}/{size}", "method": "aelib",
             "batch": count, "iterations_per_second": 1 / each,
             "share_of_matrix_rate": flops / each / matrix,
             "matrix_tflops": matrix / 1e12, "copy_terabytes": copy / 1e12}
        )  # fmt: skip
    return rows


def rates(place: torch.device) -> tuple[float, float]:
    """FLOP/s of a large bfloat16 product and bytes/s of a large copy, measured."""
    a = torch.randn(8192, 8192, device=place, dtype=torch.bfloat16)
    big = torch.empty(2**28, device=place)

    def best(work) -> float:
        spent = []
        for _ in range(8):
            settle()
            began = time.perf_counter()
            work()
            settle()
            spent.append(time.perf_counter() - began)
        return min(spent)

    return 2 * 8192**3 / best(lambda: a @ a), 2 * big.nbytes / best(big.clone)


def flops_of(net: nn.Module, image: torch.Tensor, layer: str) -> float:
    """Forward and input gradient of one image, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with (
        FlopCounterMode(display=False) as counter,
        frozen(net),
        reader(net, layer) as read,
        torch.enable_grad(),
    ):
        read(image.clone().requires_grad_()).sum().backward()
    return counter.get_total_flops()


def measure(quick: bool) -> list[dict]:
    """Rows of the three, on one thread where that is the CPU."""
    with runtime.threads(1):
        found = {"depth": depth(quick), "batch": batch(quick), "gpu": gpu(quick)}
    return [{"suite": f"inversion {name}", **row} for name, rows in found.items() for row in rows]


def table(rows: list[dict]) -> str:
    """The rows in print."""
    return "\n".join(
        "  ".join(
            f"{key.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else str(value)
            for key, value in row.items()
        )
        for row in rows
    )
