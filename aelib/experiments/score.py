"""Does a net that removes noise know the score of the data?"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aelib import figures, fit, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.copier_and_denoiser import WHITE
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="3.10",
    statement="On five heaps in the plane a net trained to denoise knows the score of the data, "
    "and a copier does not.",
    source="Vincent 2011; Alain and Bengio 2014; this chapter",
    reading="denoiser, R²",
    measure="R² of the net's correction, over σ², against the exact score; five Gaussians in the "
    "plane, σ = 0.2",
    supported={
        "denoiser, R²": above(0.85),
        "copier, R²": below(0.4),
        "denoiser − Wiener, R²": above(0.2),
    },
    conditional={"denoiser, R²": above(0.85), "copier, R²": below(0.4)},
    condition="the Wiener filter, which knows the covariance alone, does not know it as well",
    controls=("Wiener filter, R²", "mean image, R²", "untrained, R²"),
    fails_when="The noise is much larger than the data: then the score points to the mean "
    "everywhere, and the mean image knows it too.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

ANGLES = torch.arange(5) * 2 * math.pi / 5
CENTERS = 0.6 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
VARIANCE = 0.1**2 + 0.2**2  # of a heap with the noise
TICKS = torch.linspace(-1, 1, 13)
LATTICE = torch.cartesian_prod(TICKS, TICKS)


def five_heaps(n: int, seed: int) -> Tensor:
    """Points of five round Gaussians of deviation 0.1, (n, 1, 1, 2)."""
    source = random.generator(seed)
    chosen = torch.randint(5, (n,), generator=source)
    return (CENTERS[chosen] + 0.1 * random.normal((n, 2), CENTERS, source)).view(-1, 1, 1, 2)


def correction(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """O(x) − x."""
    with torch.no_grad():
        return model(images) - images


def run(seeds: int, steps: int, points: int) -> Result:
    """R² of each kind of net's correction against the exact score."""

    def build() -> list[nn.Module]:
        return models.replicate(lambda: models.MLPAutoencoder((1, 1, 2), width=64, depth=3), seeds)

    training = five_heaps(2000, 0)
    denoiser, copier = build(), build()
    for nets, objective in (
        (denoiser, objectives.denoise(WHITE)),
        (copier, objectives.copy),
    ):
        fit(nets, training, objective=objective, lr=2e-3, steps=steps, label="five heaps")
    nets = {
        "denoiser": denoiser,
        "copier": copier,
        "untrained": build(),
        "Wiener filter": [measures.wiener_filter(training, 0.2)] * seeds,
        "mean image": [measures.mean_image(training)] * seeds,
    }
    noisy = WHITE(five_heaps(points, 1), random.generator(5))
    exact = measures.mixture_score(noisy.flatten(1), CENTERS, VARIANCE)
    variance = (exact - exact.mean(0)).square().sum()

    def explained(model: Callable[[Tensor], Tensor]) -> float:
        missed = correction(model, noisy).flatten(1) / 0.2**2 - exact
        return float(1 - missed.square().sum() / variance)

    readings = {
        f"{kind}, R²": torch.tensor([explained(model) for model in group])
        for kind, group in nets.items()
    }
    readings["denoiser − Wiener, R²"] = readings["denoiser, R²"] - readings["Wiener filter, R²"]
    fields = {"exact score": measures.mixture_score(LATTICE, CENTERS, VARIANCE)}
    for kind in ("denoiser", "copier", "Wiener filter"):
        answer = correction(nets[kind][0], LATTICE.view(-1, 1, 1, 2)).flatten(1)
        fields[kind] = answer / 0.2**2
    show = {"fields": fields, "points": five_heaps(200, 2).view(-1, 2), "models": nets}
    return Result(readings, show, ("fields", "points"))


def picture(result: Result):
    """Where a point is sent: by the exact score, by denoiser, copier and Wiener filter."""
    figure, axes = figures.canvas(2, 2, height=5.6)
    quiet = {"xlabel": "", "ylabel": "", "points_label": "", "arrows_label": ""}
    points, lattice = torch.as_tensor(result.show["points"]), LATTICE
    for ax, (name, arrows) in zip(axes, result.show["fields"].items(), strict=True):
        tips = lattice + 0.2**2 * torch.as_tensor(arrows)
        figures.field(points, lattice, tips, title=name, ax=ax, **quiet)
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 2000, "points": 1000},
    full={"seeds": 10, "steps": 4000, "points": 10_000},
    picture=picture,
)
