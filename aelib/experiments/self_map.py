"""Who walks away when a copier is applied to its own output?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import figures, fit, measures, models, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import digits, plain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.5",
    statement="Applied to its own output, a copier lets fewer pictures walk away the longer it is "
    "trained.",
    source="Badger's page: “from 7/8 to around 1/8” with 200 further epochs",
    reading="fall, 10 times",
    measure="share of 300 test digits that ten applications move by more than 0.3 of their length: "
    "after 200 training steps, less that after 6,000",
    supported={
        "fall, 10 times": above(0.25),
        "least fall, any count and distance": above(0),
    },
    conditional={"fall, 10 times": above(0.25)},
    refuted={"fall, 10 times": below(0)},
    condition="Of ten applications and this distance; there are others at which as many walk at "
    "the end.",
    controls=("untrained, 10 times",),
    also=("10 times, early", "10 times, end of training", "30 times, end of training"),
    fails_when="The map is applied so often, or so short a way counts, that nearly all have left "
    "at either time.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

APPLIED = (3, 10, 30)
FAR = (0.1, 0.3, 0.5)  # of a picture's length: from where on it has walked away


def walked(model, images: Tensor) -> Tensor:
    """The share of images that walk, by how often the model is applied and how far is walking."""
    images = images.to(next(model.parameters()).device)
    path = sampling.self_map(model, images, APPLIED[-1], clamp=(0, 1))
    moved = measures.distance_moved(path).cpu()
    return torch.stack(
        [torch.stack([(moved[times] > far).float().mean() for far in FAR]) for times in APPLIED]
    )


def run(seeds: int, steps: list[int], n: int) -> Result:
    """Shares of digits that walk, by training step; the rate of learning does not fall."""
    nets, images = models.replicate(plain, seeds), digits().test[:n]
    found: list[Tensor] = []

    def note(at: dict) -> None:
        if at["step"] in (0, *steps):  # the first step is told in any case
            found.append(torch.stack([walked(model, images) for model in at["models"]]))

    fit(nets, digits().train, steps=steps[-1], lr=3e-4, log_at=[0, *steps], callback=note,
        label="copiers")  # fmt: skip
    shares = torch.stack(found, 1)  # (seeds, records, counts, distances)
    ten, third = APPLIED.index(10), FAR.index(0.3)
    fall = shares[:, 1] - shares[:, -1]
    readings = {
        "fall, 10 times": fall[:, ten, third],
        "least fall, any count and distance": fall.flatten(1).amin(1),
        "10 times, early": shares[:, 1, ten, third],
        "10 times, end of training": shares[:, -1, ten, third],
        "30 times, end of training": shares[:, -1, APPLIED.index(30), third],
        "untrained, 10 times": shares[:, 0, ten, third],
    }
    show = {
        "steps": torch.tensor(steps),
        "walked": {
            times: {far: shares[:, 1:, i, j] for j, far in enumerate(FAR)}
            for i, times in enumerate(APPLIED)
        },
        "radius": measures.spectral_radius(nets, images[:1]).mean(1),  # of the Jacobian
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """How many digits walk, by training step, applications, and how far counts as walking."""
    figure, axes = figures.canvas(1, 2, height=3.0)
    for ax, far in zip(axes, FAR[1:], strict=True):  # nearer by, all walk
        figures.curves(
            result.show["steps"],
            {f"{times} times": result.show["walked"][times][far] for times in APPLIED},
            xlabel="training step",
            ylabel="share that walks" if ax is axes[0] else "",
            title=f"further than {far:g}",
            logx=True,
            ylim=(-0.03, 1.03),
            legend="above" if ax is axes[0] else "none",
            ax=ax,
        )
        ticks = result.show["steps"].tolist()[::2]
        ax.set_xticks(ticks, [f"{int(step):,}" for step in ticks])
        ax.set_xticks([], minor=True)
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": [1, 3], "n": 8},
    full={"seeds": 10, "steps": [200, 400, 800, 1500, 3000, 6000], "n": 300},
    picture=picture,
)
