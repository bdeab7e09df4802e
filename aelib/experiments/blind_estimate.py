"""Can a denoiser that is not told how much noise there is say how much there was?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import data, figures, fit, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.untrained_probe import corrupted, edge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="4.24",
    statement="A trained denoiser that is not told the noise level knows it: what it takes away is "
    "as large as the noise was.",
    source="this chapter; of blind denoisers, Kadkhodaie and Simoncelli (2021)",
    reading="trained",
    measure="R² of σ̂ = ‖x̃ − O(x̃)‖/√d for σ from 0.05 to 0.5, unseen photographs of "
    "16 × 16 pixels; nothing is fitted to σ",
    supported={
        "trained": above(0.9),
        "trained − by hand": above(0),
        "untrained, scaled": below(0.9),  # by a line that knows σ: without, it is far below 0
    },
    conditional={"trained": above(0.5), "untrained, scaled": below(0.9)},
    condition="not to a tenth of its variance, or no better than differences of neighbours do",
    controls=(
        "by hand",
        "untrained",
        "edge pixels",
        "distance from the mean image",
        "only copying",
    ),
    also=(
        "by hand, 64 × 64",
        "trained, bias at σ = 0.1",
        "trained, bias at σ = 0.4",
        "most that is possible",
    ),
    fails_when="The image is as rough as the noise: of a copier, or of an untrained net, σ̂ says "
    "how large its error is. And the larger a picture, the better the estimate by hand.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
NETS = ("trained", "only copying", "untrained")
PLAIN = ("by hand", "edge pixels", "distance from the mean image")


class AnyLevel:
    """Gaussian noise, for each image of a deviation of its own, from 0.05 to 0.5."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy `images`."""
        levels = 0.05 + 0.45 * random.uniform((*images.shape[:-3], 1, 1, 1), images, generator)
        return images + levels * random.normal(images.shape, images, generator)


def by_hand(images: Tensor) -> Tensor:
    """σ̂ without a net, from differences in 2 × 2 pixels, most of which hold no edge: (n,).

    Source: Donoho and Johnstone (1994): the median of the finest details over 0.6745.
    """
    a, b = images[..., ::2, ::2], images[..., ::2, 1::2]
    c, d = images[..., 1::2, ::2], images[..., 1::2, 1::2]
    details = (a - b - c + d) / 2  # of white noise, of its own deviation
    return details.abs().flatten(1).median(1).values / 0.6745


def removed(model: Callable[[Tensor], Tensor], noisy: Tensor) -> Tensor:
    """σ̂ = ‖x̃ − O(x̃)‖/√d, (n,)."""
    return (noisy - measures.outputs(model, noisy)).flatten(1).square().mean(1).sqrt()


def r2(estimates: Tensor, levels: Tensor) -> float:
    """1 less the estimates' squared error over the levels' variance."""
    return float(1 - (estimates - levels).square().mean() / levels.var(correction=0))


def scaled(estimates: Tensor, levels: Tensor) -> Tensor:
    """The best line through the estimates: of use only to one who is told the levels."""
    line = torch.stack([estimates, torch.ones_like(estimates)], 1)
    return line @ torch.linalg.lstsq(line, levels[:, None]).solution[:, 0]


def run(seeds: int, steps: int, images: int) -> Result:
    """Denoisers of any level, copiers and untrained nets: σ̂ against σ on unseen photographs."""
    photos = data.load("photos", size=16, channels=1, test=images)
    nets = {
        name: models.replicate(
            lambda: models.UNet(photos.shape, 8, skips="concat", norm="none"), seeds
        )
        for name in NETS
    }
    for name, objective in (
        ("trained", objectives.denoise(AnyLevel())),
        ("only copying", objectives.copy),
    ):
        fit(
            nets[name],
            photos.train,
            objective=objective,
            steps=steps,
            batch_size=32,
            lr=2e-3,
            schedule="cosine",
            label=name,
        )
    noisy, levels, _ = corrupted(photos.test, seed=0)
    estimates = {
        name: torch.stack([removed(net, noisy) for net in group]) for name, group in nets.items()
    }
    readings = {name: [r2(row, levels) for row in rows] for name, rows in estimates.items()}
    readings["untrained, scaled"] = [
        r2(scaled(row, levels), levels) for row in estimates["untrained"]
    ]
    plain = {
        "by hand": by_hand(noisy),
        "edge pixels": edge(noisy),
        "distance from the mean image": removed(measures.mean_image(photos.train), noisy),
    }
    readings |= {name: [r2(values, levels)] * seeds for name, values in plain.items()}
    large, its_levels, _ = corrupted(
        data.load("photos", size=64, channels=1, train=1, test=images).test, seed=0
    )
    readings["by hand, 64 × 64"] = [r2(by_hand(large), its_levels)] * seeds
    # Of σ̂² = ‖e‖²/d, of the noise itself: only its own scatter is left.
    readings["most that is possible"] = [
        r2((noisy - photos.test).flatten(1).square().mean(1).sqrt(), levels)
    ] * seeds
    hand = r2(plain["by hand"], levels)
    readings["trained − by hand"] = [each - hand for each in readings["trained"]]
    for sigma in (0.1, 0.4):
        near = (levels - sigma).abs() < 0.05
        readings[f"trained, bias at σ = {sigma}"] = (
            (estimates["trained"] - levels)[:, near].mean(1).tolist()
        )
    shown = slice(0, 200)
    show = {
        "levels": levels[shown],
        "estimates": {
            **{name: rows[0, shown] for name, rows in estimates.items()},
            **{name: plain[name][shown] for name in PLAIN},
        },
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """What each takes for the noise level, against the level there was."""
    names = ("trained", "untrained", "by hand")
    figure, axes = figures.canvas(1, len(names), height=3.2)
    for ax, name in zip(axes, names, strict=True):
        ax.scatter(result.show["levels"], result.show["estimates"][name], s=8, alpha=0.5)
        ax.plot([0, 0.55], [0, 0.55], linestyle=":", color="gray")
        ax.set_title(name)
        ax.set_xlabel("noise level σ")
    axes[0].set_ylabel("σ̂")
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 20, "images": 64},
    full={"seeds": 6, "steps": 2000, "images": 512},
    picture=picture,
)
