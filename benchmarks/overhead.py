"""What our loops cost over bare ones that compute the same.

`fit` against a loop with the same model, the same draws and the same fused Adam; one evaluation of
`invert`, its optimizer's step and its bookkeeping with it, against the bare forward and backward of
the net cut off at the layer, on frozen weights in the same memory layout.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

import torch
from timing import ratio, side_by_side

import aelib as ae
from aelib import random, runtime

# image side, width, steps: a step of the first takes half a millisecond, of the last ten.
SIZES = ((8, 64, 1000), (8, 256, 300), (16, 512, 80))
BATCH = 64

# model, layer, at this many pixels a side.
READ = (
    ("resnet18", "layer2"),
    ("tf_efficientnet_lite0", "blocks.3"),  # timm's
    ("vit_b_32", "encoder.layers.encoder_layer_5"),
)
PIXELS = 96
EVALUATIONS = 8


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
    """Rows of both, on one thread; seconds are of the processor where that is the CPU."""
    found = fitting(quick)
    return found + [{"suite": "inversion overhead", **row} for row in inverting(quick)]


def inverting(quick: bool) -> list[dict]:
    """One row a problem. The difference of two lengths of run leaves out the set-up."""
    device = runtime.device()
    image = ae.data.load("photos", size=PIXELS, channels=3).test[:1].to(device)
    rows = []
    for name, layer in READ:
        if name.startswith("tf_") and not find_spec("timm"):
            print(f"timm is not installed: {name} was not measured")
            continue
        net = untrained(name).to(device)
        plain = cut(copy.deepcopy(net), layer)

        def bare(plain=plain):
            start = image.to(memory_format=torch.channels_last)
            for _ in range(2 * EVALUATIONS):
                given = start.clone().requires_grad_()
                features = plain(given)
                torch.autograd.grad(features, given, features.detach())

        def read(steps, net=net, layer=layer):
            ae.invert(net, image, layer, steps=steps, log_at=1)

        ways = {
            "bare": bare,
            "short": lambda read=read: read(EVALUATIONS),
            "long": lambda read=read: read(3 * EVALUATIONS),
        }
        with runtime.threads(1):
            times = side_by_side(ways, rounds=3 if quick else 11, cpu=runtime.is_cpu(device))
        spent = [long - short for long, short in zip(times["long"], times["short"], strict=True)]
        rows.append(
            {
                "problem": f"{name}/{layer}/{PIXELS}",
                "bare_ms": 1e3 * median(times["bare"]) / (2 * EVALUATIONS),
                "evaluation_ms": 1e3 * median(spent) / (2 * EVALUATIONS),
                "ratio": ratio(spent, times["bare"]),
            }
        )
    return rows


def cut(net: torch.nn.Module, layer: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The net frozen, its channels last, and ended behind a layer, as anyone would do it."""
    net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    caught = []

    class Reached(Exception):
        pass

    def stop(module, inputs, output):
        caught.append(output)
        raise Reached

    net.get_submodule(layer).register_forward_hook(stop)

    def features(images: torch.Tensor) -> torch.Tensor:
        with contextlib.suppress(Reached):
            net(images)
        return caught.pop()

    return features


def untrained(name: str) -> torch.nn.Module:
    """A net of torchvision, or of timm."""
    if not name.startswith("tf_"):
        return ae.models.classifier(name, size=PIXELS)
    import timm

    with random.seeded(0):
        return timm.create_model(name, pretrained=False)


def fitting(quick: bool) -> list[dict]:
    """One row a size."""
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
    fits = [row for row in rows if "layers" in row]
    reads = [row for row in rows if "problem" in row]
    lines = [f"{'fit against a bare loop':<52}bare ms    fit ms    ratio"]
    lines += [
        f"{row['layers']:<45}{row['bare_ms_a_step']:>14.3f}{row['fit_ms_a_step']:>10.3f}"
        f"{row['ratio']:>9.3f}"
        for row in fits
    ]
    lines += [f"{'an evaluation of invert against the bare net':<52}bare ms   eval ms    ratio"]
    lines += [
        f"{row['problem']:<45}{row['bare_ms']:>14.3f}{row['evaluation_ms']:>10.3f}"
        f"{row['ratio']:>9.3f}"
        for row in reads
    ]
    return "\n".join(lines)
