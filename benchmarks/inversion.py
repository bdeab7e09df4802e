"""Inversion against its peers: how near each method comes in a layer, along the seconds it takes.

Every method gets the same net up to a layer, photograph, start and thread. Seconds are this
process's processor seconds from a method's last look at the photograph on: loading and checking
count for nobody, whatever is probed afterwards counts. What is noted here is on nobody's account.

The engine's settings were chosen on ResNet-18, EfficientNet-Lite1 and -Lite2, which are not here,
and on photographs of a temple, a flower and a motorcycle, which are not here either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import math
import time
import warnings
from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import aelib as ae
from aelib import random, runtime
from aelib.inversion.descent import reference_noise

STEPS = 400  # of the engine
PHOTOS = ("astronaut", "chelsea", "coffee")
STARTS = {"published": 1.0, "paled": 0.1}  # what is left of the contrast of N(0.7, 1/20)
FACTORS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)  # on the published step size, for its best-tuned form
PACKAGES = {"plenoptic": "plenoptic", "lucent": "torch-lucent"}  # the peers', as they are installed
TRIAL = 100  # iterations by which the best factor is chosen
# When a curve has a point, in seconds.
TIMES = tuple(round(a * 10.0**b, 4) for b in range(-3, 4) for a in (1, 1.7, 3, 5.5))


@dataclasses.dataclass(frozen=True)
class Problem:
    """A layer to be inverted, and how long the peers may take over it."""

    net: str
    layer: str
    size: int = 96  # pixels a side
    weights: str | None = None  # None for random ones
    iterations: int = 500


LITE0 = partial(Problem, "efficientnet_lite0", weights="imagenet")
PROBLEMS = {
    "resnet34/layer1/96": Problem("resnet34", "layer1"),
    "resnet34/layer3/96": Problem("resnet34", "layer3"),
    "densenet121/denseblock2/96": Problem("densenet121", "features.denseblock2"),
    "vit_b_32/block5/96": Problem("vit_b_32", "encoder.layers.encoder_layer_5"),
    "efficientnet_lite0-trained/blocks.2.1/96": LITE0("blocks.2.1"),
    "efficientnet_lite0-trained/blocks.4.0/96": LITE0("blocks.4.0"),
    "efficientnet_lite0-trained/blocks.2.1/224": LITE0("blocks.2.1", size=224, iterations=200),
}


class Part(NamedTuple):
    """What is measured at one go, with all methods, and kept at once."""

    problem: str
    start: str
    photo: str
    seed: int


def parts(quick: bool, problems: Collection[str] = ()) -> list[Part]:
    """All parts, or those of some problems; quickly, one photograph of each.

    A photograph has a seed of its own. A run cut short has a bit of everything: each problem's
    first photograph comes before any second one.
    """
    photos = enumerate(PHOTOS[: 1 if quick else None])
    chosen = problems or PROBLEMS
    return [
        Part(name, start, photo, seed)
        for seed, photo in photos
        for name in chosen
        for start in STARTS
    ]


@cache
def version() -> str:
    """Stands for all that the rows depend on: this file, the engine, the packages, the machine."""
    engine = sorted(Path(ae.inversion.__file__).parent.glob("*.py"))
    total = hashlib.sha256(b"".join(path.read_bytes() for path in [Path(__file__), *engine]))
    with runtime.threads(1):  # as it is measured; the machine's name holds their number
        about = [runtime.machine()]
    about += [f"{package} {release(package)}" for package in ("torch", *PACKAGES.values())]
    total.update("\n".join(about).encode())
    return total.hexdigest()[:12]


def release(package: str) -> str | None:
    """The version of a package, or None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- What the methods are given ------------------------------------------------------------------


class Record:
    """What is noted of one method: its seconds, its image, and how both went together.

    Args:
        image, noisy: the photograph, (1, 3, size, size), and the same with the noise of m_r.
        target, moved: what the layer says of these two.
        start: where the search begins.
        keeps_best: whether the method gives back the image with the least m_g, or its last.
    """

    def __init__(
        self,
        image: Tensor,
        noisy: Tensor,
        target: Tensor,
        moved: Tensor,
        start: Tensor,
        keeps_best: bool,
    ):
        self.known, self.image, self.start, self.target = (image, noisy), image, start, target
        self.keeps_best = keeps_best
        self.m_r = float((moved - target).norm())
        self.m_i_gray = float((image - 0.5).norm())
        self.seconds, self.evaluations, self.since = 0.0, 0, time.process_time()
        self.most = math.inf  # evaluations; what is looked at after them is no search
        self.m_g, self.f, self.kept = math.inf, math.inf, start
        self.times: list[float] = []  # when the curve has its next points
        self.curve: list[tuple[float, float, float]] = []  # seconds, m_g / m_r, f
        self.records: list[tuple[float, float]] = []  # seconds and m_g, each m_g the least so far

    def note(self, given: Tensor, features: Tensor) -> None:
        """Take in one evaluation of the net."""
        if self.evaluations >= self.most:
            return
        now = time.process_time()
        self.seconds += now - self.since
        if given.shape == self.image.shape:
            if not self.evaluations and any(near(given, one) for one in self.known):
                self.seconds = 0.0
            elif self.evaluations or near(given, self.start):
                self.take(given, float((features - self.target).norm()))
        self.since = time.process_time()

    def take(self, given: Tensor, m_g: float) -> None:
        """Note an image that a method has evaluated, unless it diverged."""
        if not self.evaluations:
            self.times = [at for at in TIMES if at >= self.seconds]
        while self.times and self.times[0] < self.seconds:
            self.curve.append((self.times.pop(0), self.m_g / self.m_r, self.f))
        self.evaluations += 1
        if m_g < (self.records[-1][1] if self.records else math.inf):
            self.records.append((self.seconds, m_g))
        if math.isfinite(m_g) and (m_g < self.m_g or not self.keeps_best):
            self.m_g, self.kept = m_g, given.clone()
            self.f = self.error(given)

    def error(self, image: Tensor) -> float:
        """f: m_i² over that of plain grey, so it is the same for every start."""
        return float((image - self.image).norm() / self.m_i_gray) ** 2

    def first(self, m_g: float) -> float | None:
        """Seconds until the least m_g so far was as low as this; None where it never was."""
        return next((seconds for seconds, least in self.records if least <= m_g), None)


def near(one: Tensor, other: Tensor) -> bool:
    """Whether two images are the same but for rounding, and for pixels clipped at the ends."""
    return torch.allclose(one, other, atol=2e-3)


class _Reached(Exception):
    """Raised behind the layer, so that nothing deeper is computed."""


class Cut(nn.Module):
    """A net up to a layer, as one module with one output; a record notes what goes through it."""

    def __init__(self, problem: Problem):
        super().__init__()
        weights = problem.weights
        self.net = ae.models.classifier(problem.net, weights, size=problem.size)
        self.layer, self.way = problem.layer, lambda net, images: net(images)
        if weights is not None:
            self.way = ae.models.normalization(problem.net, weights)
        self.record: Record | None = None
        self.seen: dict[str, Tensor] = {}
        self.cutting = False

        def reached(module: nn.Module, inputs: tuple, features: Tensor) -> None:
            if self.record is not None and "given" in self.seen:
                self.record.note(self.seen["given"], features.detach())
            if self.cutting:
                self.seen["features"] = features
                raise _Reached

        self.net.get_submodule(self.layer).register_forward_hook(reached)

    def through(self, net: nn.Module, images: Tensor) -> Tensor:
        """The whole net, as `invert` takes it; it stops at the layer by itself."""
        self.seen["given"] = images.detach()
        try:
            return self.way(net, images)
        finally:
            self.seen.pop("given", None)

    def searched(self, net: nn.Module, images: Tensor) -> Tensor:
        """The same, but the classes that `invert` asks for, without gradient, are not noted."""
        return (self.through if images.requires_grad else self.way)(net, images)

    def forward(self, images: Tensor) -> Tensor:
        self.cutting = True
        try:
            self.through(self.net, images)
        except _Reached:
            return self.seen.pop("features")
        finally:
            self.cutting = False
        raise RuntimeError(f"{self.layer} did not run")


@cache
def cut(problem: str) -> Cut:
    """The net of a problem, the same for all its parts."""
    return Cut(PROBLEMS[problem]).eval()


@cache
def photograph(name: str, size: int) -> Tensor:
    """The first crop of a photograph, (1, 3, size, size)."""
    images = ae.data.load("photos", size=size, channels=3, train=5, test=2)
    sources = images.train_sources + images.test_sources
    return torch.cat([images.train, images.test])[sources.index(name)][None]


def init(part: Part) -> Tensor:
    """Where every method begins: the published loop's noise, of a seed, or what is left of it."""
    size = PROBLEMS[part.problem].size
    # Another stream than the noise of m_r, which begins at the seed itself.
    generator = random.generator(2**31 + part.seed)
    drawn = ae.inversion.RECIPES["badger2022"].init((3, size, size), generator)[None]
    return 0.5 + STARTS[part.start] * (drawn - 0.5)


# --- The methods ---------------------------------------------------------------------------------


def aelib(net: Cut, record: Record, steps: int, recipe: str) -> None:
    """The engine, as a reader calls it, but for beginning where all begin."""
    record.most = steps + 1
    begun = dataclasses.replace(ae.inversion.RECIPES[recipe], init_contrast=1.0)
    ae.invert(net.net, record.image, net.layer, recipe=begun, steps=steps, init=record.start,
              forward=net.searched, log_at=1)  # fmt: skip


def badger2022(
    net: Cut, record: Record, steps: int, factor: float = 1.0, frozen: bool = False
) -> None:
    """The loop of Badger (2022) as its code has it: L1, a step, a blur; weights get gradients."""
    net.net.requires_grad_(not frozen)
    target = net(record.image).detach()
    image = record.start.clone()
    for i in range(steps):
        image = image.detach().requires_grad_()
        loss = 0.15 * (net(image) - target).abs().sum()
        loss.backward()
        with torch.no_grad():
            image = image - factor * (0.1 * (steps - i) + 0.1 * i) / steps * image.grad
            width = (2.4 * (steps - i) + 0.4 * i) / steps
            image = torchvision.transforms.functional.gaussian_blur(image, 3, width)
        if not image.isfinite().all():
            return
    with torch.no_grad():
        net(image)


def plenoptic(net: Cut, record: Record, steps: int) -> None:
    """plenoptic's Metamer with its own defaults, never stopped early."""
    import plenoptic as po

    po.remove_grad(net)
    metamer = po.Metamer(record.image, net)
    metamer.setup(record.start)
    metamer.synthesize(max_iter=steps, stop_criterion=0)


def lucent(net: Cut, record: Record, steps: int) -> None:
    """lucent's Fourier image and Adam with their own defaults, on the distance to the target."""
    from lucent.optvis import objectives, param, render
    from lucent.optvis.param.color import color_correlation_normalized as colours

    size = record.image.shape[-1]
    net.net.requires_grad_(False)
    target = net(record.image).detach()

    def picture() -> tuple[list[Tensor], Callable[[], Tensor]]:
        numbers, image = param.image(size, fft=True, decorrelate=True)
        raw = torch.logit(record.start.clamp(1e-4, 1 - 1e-4))  # the start, in lucent's numbers
        unmix = torch.linalg.inv(torch.as_tensor(colours, dtype=raw.dtype))
        raw = torch.einsum("kc,nchw->nkhw", unmix, raw)
        frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size))
        spectrum = torch.fft.rfft2(raw * 4, norm="ortho") * frequency.clamp_min(1 / size)
        numbers[0].data.copy_(torch.view_as_real(spectrum))
        return numbers, image

    class Listened(nn.Module):
        """lucent reads a child's output by a hook; the net's own layers need none."""

        def __init__(self):
            super().__init__()
            self.features = net

        def forward(self, images: Tensor) -> Tensor:
            return self.features(images)

    @objectives.wrap_objective()
    def distance() -> Callable:
        return lambda layer: (layer("features") - target).square().mean()

    images = render.render_vis(
        Listened(), distance(), picture, transforms=[], thresholds=(steps,), preprocess=False,
        progress=False, show_image=False, fixed_image_size=size,
    )  # fmt: skip
    with torch.no_grad():
        net(torch.from_numpy(images[-1]).permute(0, 3, 1, 2).contiguous())


# --- Rows ----------------------------------------------------------------------------------------


def begin(part: Part, keeps_best: bool = False) -> Record:
    """An empty record of a search."""
    net, image = cut(part.problem), photograph(part.photo, PROBLEMS[part.problem].size)
    noisy = image + reference_noise(part.seed, image[0])
    with torch.no_grad():
        return Record(image, noisy, net(image), net(noisy), init(part), keeps_best)


def run(method: Callable, part: Part, keeps_best: bool = False, **how) -> Record:
    """One method on one part, quietly."""
    net, record, quiet = cut(part.problem), begin(part, keeps_best), io.StringIO()
    net.record = record
    try:
        with (
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            method(net, record, **how)
    finally:
        net.record = None
        net.zero_grad(set_to_none=True)
    if not record.evaluations:
        raise RuntimeError(f"{method.__name__} did not begin at the start, so no time is known")
    return record


@cache
def best_factor(problem: str, start: str, trial: int) -> float:
    """The loop's best step size, tried on the first of the parts that it is scored on."""
    part = Part(problem, start, PHOTOS[0], 0)

    def reached(factor: float) -> float:
        return run(badger2022, part, steps=trial, factor=factor, frozen=True).m_g

    return min(FACTORS, key=reached)


def measure_part(part: Part, quick: bool) -> list[dict]:
    """The rows of all methods, and of two images that need none: the mean colour, a thumbnail."""
    problem = PROBLEMS[part.problem]
    share = 10 if quick else 1
    iterations = problem.iterations // share
    with runtime.threads(1):
        recipe = "trained" if problem.weights else "default"
        ours = run(aelib, part, True, steps=STEPS // share, recipe=recipe)
        factor = best_factor(part.problem, part.start, TRIAL // share)
        found = {"aelib": ours, "badger2022": run(badger2022, part, steps=iterations)}
        found["badger2022-tuned"] = run(
            badger2022, part, steps=iterations, factor=factor, frozen=True
        )
        for method in (plenoptic, lucent):
            if release(PACKAGES[method.__name__]):
                found[method.__name__] = run(method, part, steps=iterations)
        found |= {name: still(part, image) for name, image in controls(part).items()}
        rows = [row(part, name, record, ours) for name, record in found.items()]
    rows[2]["factor"] = factor
    return rows


def controls(part: Part) -> dict[str, Tensor]:
    """The photograph's mean colour, and 4 × 4 colours of it made smooth."""
    image = photograph(part.photo, PROBLEMS[part.problem].size)
    small = {"mean colour": 1, "thumbnail": 4}
    return {
        name: functional.interpolate(
            functional.adaptive_avg_pool2d(image, side), image.shape[2:], mode="bilinear"
        )
        for name, side in small.items()
    }


def still(part: Part, image: Tensor) -> Record:
    """An image that no search has found, measured as the others are."""
    record = begin(part)
    with torch.no_grad():
        record.take(image, float((cut(part.problem)(image) - record.target).norm()))
    return record


def row(part: Part, method: str, record: Record, ours: Record) -> dict:
    """One row; "suite" is where it belongs, "version" what it was measured by."""
    seconds, m_g, f = zip(*record.curve, strict=True) if record.curve else ((), (), ())
    return {
        "suite": "inversion",
        **part._asdict(),
        "method": method,
        "release": release(PACKAGES[method]) if method in PACKAGES else None,
        "cpu_seconds": digits(record.seconds),
        "evaluations": record.evaluations,
        "m_g_over_m_r": digits(record.m_g / record.m_r),
        "f": digits(record.f),
        "class_rank": class_rank(part, record),
        "seconds_to_own_m_g": digits(record.first(record.m_g)),
        "aelib_seconds_to_same_m_g": digits(ours.first(record.m_g)),
        "curve": {
            "cpu_seconds": list(seconds),
            "m_g_over_m_r": [digits(value) for value in m_g],
            "f": [digits(value) for value in f],
        },
        "version": version(),
    }


def digits(value: float | None) -> float | None:
    """Four digits, more than any of these numbers holds."""
    return None if value is None else float(f"{value:.4g}")


@torch.no_grad()
def class_rank(part: Part, record: Record) -> int | None:
    """Where a trained net ranks the photograph's first class for the image found; 1 is first."""
    net = cut(part.problem)
    if PROBLEMS[part.problem].weights is None:
        return None
    before, after = (net.through(net.net, image)[0] for image in (record.image, record.kept))
    return int((after > after[before.argmax()]).sum()) + 1


def table(rows: list[dict]) -> str:
    """The rows of one part in print."""
    first = rows[0]
    lines = [
        f"{first['problem']}, {first['start']} start, {first['photo']}, seed {first['seed']}",
        f"  {'method':<18}{'seconds':>9}{'evals':>7}{'m_g/m_r':>10}{'f':>8}{'class':>7}"
        f"{'own':>8}{'ours there':>12}{'ratio':>8}",
    ]
    for one in rows:
        there = one["aelib_seconds_to_same_m_g"]
        lines.append(
            f"  {one['method']:<18}{one['cpu_seconds']:>9.2f}{one['evaluations']:>7}"
            f"{one['m_g_over_m_r']:>10.3g}{one['f']:>8.3g}{one['class_rank'] or '':>7}"
            f"{one['seconds_to_own_m_g']:>8.2f}"
            + (
                f"{'never':>12}"
                if there is None
                else f"{there:>12.3f}{one['cpu_seconds'] / there:>8.1f}"
            )
        )
    return "\n".join(lines)
