"""Inversion against its peers: seconds to a distance that an eye forgives, and what is then seen.

Every method gets the same cut-off net, layer, image, start and thread. One clock, in the net's own
forward pass, counts this process's processor seconds from the first evaluation on, so that nobody's
set-up counts. The engine's settings were chosen on other nets (ResNet-34, ViT-B/32, RegNet) and
other photographs than those scored here.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
import warnings
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

import aelib as ae
from aelib import random, runtime

# model, pixels a side, layers; early, middle and late.
PROBLEMS = (
    ("resnet18", 128, ("layer1", "layer3", "layer4")),
    ("resnet50", 96, ("layer1", "layer3", "layer4")),
    ("vit_b_16", 64, ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_11")),
)
STEPS = 150  # of the engine; every method then has the same time
PUBLISHED = 500  # of the published loop
FACTORS = (0.1, 0.3, 1, 3, 10)  # on the published step size, for its best-tuned form
TRIAL = 100  # iterations by which the best factor is chosen


class Enough(Exception):
    """Raised inside a method when its time is up."""


class Clock(nn.Module):
    """The cut-off net, which notes what each evaluation costs and reaches."""

    def __init__(self, net: nn.Module, image: Tensor, start: Tensor):
        super().__init__()
        self.features, self.image, self.start, self.first = net, image, start, start
        self.mark, self.then = math.inf, None  # after so many seconds, what is noted as `then`
        with torch.no_grad():
            noise = random.normal(image.shape, image, random.generator(7)) / 18
            self.target = net(image)
            self.m_r = float((self.target - net(image + noise)).norm())
        self.m_i_start = float((start - image).norm())
        self.m_g, self.m_i = math.inf, self.m_i_start
        self.seconds, self.evaluations = 0.0, 0
        self.arrived: float | None = None  # seconds until m_g < m_r
        self.needed: int | None = None  # evaluations until then
        self.since: float | None = None

    def forward(self, given: Tensor) -> Tensor:
        output = self.features(given)
        now = time.process_time()
        if self.since is not None:
            self.seconds += now - self.since
        elif not torch.allclose(given.detach(), self.first, atol=2e-3):
            return output  # a method's own look at the net, before it begins
        self.evaluations += 1
        self.m_g = float((output.detach() - self.target).norm())
        self.m_i = float((given.detach() - self.image).norm())
        if self.arrived is None and self.m_g < self.m_r:
            self.arrived, self.needed = self.seconds, self.evaluations
        if self.seconds >= self.mark and self.then is None:
            self.then = (self.m_g, self.m_i, self.seconds)
        if self.then is not None and self.arrived is not None:
            raise Enough
        self.since = time.process_time()  # what was noted here is on nobody's account
        return output


def engine(clock: Clock, steps: int) -> None:
    """aelib, as it is called by a reader; its recipe takes contrast from the start first."""
    clock.first = 0.5 + ae.inversion.RECIPES["default"].init_contrast * (clock.start - 0.5)
    ae.invert(clock, clock.image, "output", steps=steps, init=clock.start, log_at=1)


def published(clock: Clock, steps: int, factor: float = 1.0) -> None:
    """The loop of Badger (2022) as its code has it: L1, a step, a blur; weights get gradients."""
    for weight in clock.features.parameters():
        weight.requires_grad_(True)
    image = clock.start.clone()
    for i in range(steps):
        image = image.detach().requires_grad_()
        loss = 0.15 * (clock(image) - clock.target).abs().sum()
        loss.backward()
        with torch.no_grad():
            image = image - factor * (0.1 * (steps - i) + 0.1 * i) / steps * image.grad
            width = (2.4 * (steps - i) + 0.4 * i) / steps
            image = torchvision.transforms.functional.gaussian_blur(image, 3, width)
        if not image.isfinite().all():
            return
    clock(image)


def plenoptic(clock: Clock, steps: int) -> None:
    """plenoptic's Metamer with its own defaults."""
    import plenoptic as po

    for weight in clock.features.parameters():
        weight.requires_grad_(False)
    metamer = po.Metamer(clock.image, clock)
    metamer.setup(clock.start)
    metamer.synthesize(max_iter=steps, stop_criterion=0)


def lucent(clock: Clock, steps: int) -> None:
    """lucent's Fourier image and Adam with their own defaults, on the distance to the target."""
    from lucent.optvis import objectives, param, render
    from lucent.optvis.param.color import color_correlation_normalized as colours

    size = clock.image.shape[-1]

    def picture() -> tuple[list[Tensor], Callable[[], Tensor]]:
        numbers, image = param.image(size, fft=True, decorrelate=True)
        raw = torch.logit(clock.start.clamp(1e-4, 1 - 1e-4))  # the start, in lucent's numbers
        unmix = torch.linalg.inv(torch.as_tensor(colours, dtype=raw.dtype))
        raw = torch.einsum("kc,nchw->nkhw", unmix, raw)
        frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size))
        spectrum = torch.fft.rfft2(raw * 4, norm="ortho") * frequency.clamp_min(1 / size)
        numbers[0].data.copy_(torch.view_as_real(spectrum))
        return numbers, image

    @objectives.wrap_objective()
    def near() -> Callable:
        return lambda layer: (layer("features") - clock.target).square().mean()

    render.render_vis(
        clock, near(), picture, transforms=[], thresholds=(steps,), preprocess=False,
        progress=False, show_image=False, fixed_image_size=size,
    )  # fmt: skip


def run(method: Callable, make: Callable[[], Clock], mark: float = math.inf, **how) -> Clock:
    """One method on one problem, quiet, until it is done, or has arrived and passed its mark."""
    clock = make()
    clock.mark = mark
    quiet = io.StringIO()
    with contextlib.suppress(Enough), contextlib.redirect_stdout(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(quiet):
            method(clock, **how)
    return clock


def row(problem: str, method: str, clock: Clock, **more) -> dict:
    """One row: when it arrived, and its picture at the mark, or at its end if that came before."""
    m_g, m_i, seconds = clock.then or (clock.m_g, clock.m_i, clock.seconds)
    return {
        "suite": "inversion",
        "problem": problem,
        "method": method,
        "cpu_seconds_to_target": clock.arrived,
        "evaluations_to_target": clock.needed,
        "m_g_over_m_r": m_g / clock.m_r,
        "m_i": m_i,
        "m_i_start": clock.m_i_start,
        "cpu_seconds": seconds,
        **more,
    }


def cut(name: str, size: int, layer: str) -> nn.Module:
    """An untrained net up to a layer, as one module with one output."""
    from torchvision.models.feature_extraction import create_feature_extractor

    net = create_feature_extractor(ae.models.classifier(name, size=size), {layer: "out"}).eval()

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, image: Tensor) -> Tensor:
            return self.net(image)["out"]

    return Cut().eval()


def compare(name: str, size: int, layer: str, image: Tensor, quick: bool) -> list[dict]:
    """All methods on one problem."""
    problem = f"{name}/{layer.rsplit('.', 1)[-1]}/{size}"
    start = ae.inversion.RECIPES["badger2022"].init  # the published loop's own
    start = start(tuple(image.shape[1:]), random.generator(11))[None]
    net = cut(name, size, layer)

    def make() -> Clock:
        return Clock(net, image, start)

    share = 10 if quick else 1
    whole, trial = PUBLISHED // share, TRIAL // share
    ours = run(engine, make, steps=STEPS // share)
    mark = ours.seconds
    rows = [row(problem, "aelib", ours)]
    rows.append(row(problem, "badger2022", run(published, make, mark, steps=whole)))

    def worth(factor: float) -> tuple[float, float]:
        tried = run(published, make, steps=trial, factor=factor)
        return tried.arrived or math.inf, tried.m_g if math.isfinite(tried.m_g) else math.inf

    best = min(FACTORS, key=worth)
    tuned = run(published, make, mark, steps=whole, factor=best)
    rows.append(row(problem, "badger2022-tuned", tuned, factor=best))
    for method in (plenoptic, lucent):
        try:
            rows.append(row(problem, method.__name__, run(method, make, mark, steps=whole)))
        except ImportError as error:
            print(f"{method.__name__} is not installed ({error}): make bench installs it")
    return rows


def measure(quick: bool) -> list[dict]:
    """Rows of all problems, on one thread of a CPU and one held-out photograph."""
    rows = []
    with runtime.threads(1):
        for name, size, layers in PROBLEMS[:1] if quick else PROBLEMS:
            images = photographs(size)
            for layer in layers:
                found = [compare(name, size, layer, image[None], quick) for image in images]
                joined = [mean(same) for same in zip(*found, strict=True)]
                print(table(joined), flush=True)
                rows += joined
    return rows


def photographs(size: int) -> Tensor:
    """A crop of each of two held-out photographs, a cat's face and a cup of coffee."""
    images = ae.data.load("photos", size=size, channels=3)
    names = sorted(set(images.test_sources))
    return torch.stack([images.test[images.test_sources.index(name)] for name in names])


def mean(rows: tuple[dict, ...]) -> dict:
    """One method's rows on several images as their mean; null where one image never arrives."""

    def join(values: list) -> object:
        if any(value is None for value in values):
            return None
        return values[0] if isinstance(values[0], str) else sum(values) / len(values)

    joined = {key: join([row[key] for row in rows]) for key in rows[0] if key != "factor"}
    return {**joined, "images": len(rows)}


def table(rows: list[dict]) -> str:
    """The rows in print."""
    lines = [
        f"{'inversion':<36}{'method':<18}{'to m_g < m_r':>14}{'evals':>7}"
        f"{'m_g/m_r':>9}{'m_i':>7}{'start':>7}{'after s':>9}"
    ]
    for one in rows:
        arrived = one["cpu_seconds_to_target"]
        lines.append(
            f"{one['problem']:<36}{one['method']:<18}"
            f"{'never' if arrived is None else f'{arrived:.2f} s':>14}"
            f"{one['evaluations_to_target'] or '':>7}{one['m_g_over_m_r']:>9.2f}"
            f"{one['m_i']:>7.1f}{one['m_i_start']:>7.1f}{one['cpu_seconds']:>9.2f}"
        )
    return "\n".join(lines)
