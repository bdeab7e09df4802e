"""Can the ratio that Badger's code prints tell a denoiser from a map that ignores all?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelib import figures, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.batch_statistics import (
    LEFT,
    NOISES,
    UNDO,
    copiers,
    dense,
    on_batch,
    pieces,
    pooled_gain,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="3.13",
    statement="The ratio that Badger's code prints, ‖O(â) − O(a)‖ / ‖â − a‖, cannot tell "
    "denoising from ignoring the image.",
    source="Badger's page, section 3",
    reading="untrained, ratio",
    measure="the ratio for an untrained net under 0.3 of the image and 0.7 of noise of mean 0.7",
    supported={
        "untrained, ratio": below(0.1),
        "untrained, gain": below(2),
        "Wiener − copier, ratio": above(0),
        "Wiener − copier, gain": above(0),
    },
    controls=("mean image, ratio", "mean image, gain", "identity, ratio"),
    also=("copier, ratio", "Wiener filter, ratio", "copier, gain", "Wiener filter, gain"),
    fails_when="An untrained net passes as much of the noise as a trained one, or the better "
    "denoiser has the smaller ratio.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)


BESIDE = {  # where a name stands beside its point: these three lie close together
    "copier, running": ((-6, 5), "right"),
    "identity": ((6, -12), "left"),
}


def ratio(answer: Callable[[Tensor], Tensor], clean: Tensor, noisy: Tensor) -> float:
    """‖O(â) − O(a)‖ / ‖â − a‖, a mean over the images."""
    moved = measures.outputs(answer, noisy) - measures.outputs(answer, clean)
    return float((moved.flatten(1).norm(dim=1) / (noisy - clean).flatten(1).norm(dim=1)).mean())


def run(seeds: int, steps: int, width: int) -> Result:
    """Ratio and gain of the copier, an untrained net, the mean image, filters, the identity."""
    images = pieces()
    clean, noise = images.test, NOISES["mixed"]
    noisy = noise(clean, random.generator(0))
    trained = copiers("batch", seeds, steps, width)
    untrained = models.replicate(lambda: dense(images.shape, "batch", width), seeds)
    errors = [float(measures.clean_error(on_batch(net), clean).mean()) for net in trained]
    linear, undo = measures.wiener_filter(images.train, LEFT["mixed"]), UNDO["mixed"]
    maps: dict[str, list[Callable[[Tensor], Tensor]]] = {
        "untrained": [on_batch(net) for net in untrained],
        "mean image": [measures.mean_image(images.train)] * seeds,
        "copier": [on_batch(net) for net in trained],
        "copier, running": list(trained),
        "PCA as accurate": measures.matched_pca(images.train, clean, errors),
        "identity": [lambda x: x] * seeds,
        "Wiener filter": [lambda x: linear(undo(x))] * seeds,
    }
    points = {
        name: torch.tensor([[ratio(f, clean, noisy), pooled_gain(f, clean, noise)] for f in group])
        for name, group in maps.items()
    }
    readings = {}
    for name, rows in points.items():
        readings |= {f"{name}, ratio": rows[:, 0], f"{name}, gain": rows[:, 1]}
    gap = points["Wiener filter"] - points["copier"]
    readings |= {"Wiener − copier, ratio": gap[:, 0], "Wiener − copier, gain": gap[:, 1]}
    return Result(readings, {"points": points}, keep=("points",))


def picture(result: Result) -> Figure:
    """Gain against the ratio, a point for each map: no order."""
    figure, (ax,) = figures.canvas(1, 1, height=4.4)
    for index, (name, rows) in enumerate(result.show["points"].items()):
        across, up = (float(value) for value in rows.mean(0))
        stroke = figures.STROKES[index % len(figures.STROKES)]
        ax.plot(across, up, "o", color=stroke.color)
        offset, side = BESIDE.get(name, ((6, 5), "left"))
        ax.annotate(name, (across, up), xytext=offset, textcoords="offset points", ha=side)
    ax.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    ax.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    ax.set_xlabel('the printed ratio (below 1: "nearer")')
    ax.set_ylabel("gain against the clean image (dB)")
    ax.margins(x=0.25, y=0.15)
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 80, "width": 256},
    full={"seeds": 10, "steps": 1200, "width": 320},
    picture=picture,
)
