"""Do the walks of Badger's page go where it says with the kind of net that the page has?

The nets are U-Nets without skips that copy digits, with batch normalisation that, as on the page,
is never switched to evaluation mode: pictures that walk together are one batch. 5.4 and 5.5 ask
the same of dense nets.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, fit, measures, models, runtime, sampling
from aelib.claims import Claim
from aelib.experiments.digit_diffusion import density, digits
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import classes, frechet
from aelib.experiments.keeping import Result
from aelib.experiments.known_manifold import smooth_change
from aelib.experiments.manifold_walk import CLAIM as DENSE
from aelib.experiments.manifold_walk import NOISE, WALKERS, near, white_change
from aelib.experiments.pictures import on_screen
from aelib.experiments.self_map import APPLIED, FAR, walked
from aelib.experiments.self_map import CLAIM as SELF_MAP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READ_HERE = {  # what 5.4 asks after ten steps, and what is asked here
    "walk ÷ Gaussian, Fréchet, 10 steps": "walk ÷ Gaussian, Fréchet, 30 steps",
}
WITH_NOISE = Claim(
    id="5.19",
    statement="With a convolutional copier encoding, adding noise and decoding walks along the "
    "manifold of digits.",
    source="Badger's page: a walk with noise, by a U-Net",
    reading="changed class, 30 steps",
    measure="share of walkers that have changed class after 30 steps; U-Nets on the batch's "
    "statistics, noise of a fifth of each code unit's deviation",
    # 5.4's rule but for its 300 steps, which are not walked here
    supported={READ_HERE.get(key, key): bound for key, bound in DENSE.conditional.items()},
    refuted={READ_HERE.get(key, key): bound for key, bound in DENSE.refuted.items()},
    controls=(
        "smooth change as far ÷ walk, nearest image, 10 steps",
        "white noise as far ÷ walk, nearest image, 10 steps",
        "no noise, changed class, 30 steps",
    ),
    also=(
        "walk, nearest image, 10 steps",
        "real digits, nearest image",
        "running statistics, changed class, 30 steps",
        "running statistics ÷ Gaussian, Fréchet, 30 steps",
        "unexplained",
    ),
    ratios=(
        "smooth change as far ÷ walk, nearest image, 10 steps",
        "white noise as far ÷ walk, nearest image, 10 steps",
        "walk ÷ Gaussian, Fréchet, 30 steps",
        "running statistics ÷ Gaussian, Fréchet, 30 steps",
    ),
    fails_when="The walk is short: after 30 steps few have changed class, with noise or without.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
WITHOUT = dataclasses.replace(
    SELF_MAP,  # the same rule, for another kind of net
    id="5.20",
    statement="Applied to its own output, a convolutional copier on the batch's statistics lets "
    "fewer pictures walk away the longer it is trained.",
    measure="share of test digits that ten applications move by more than 0.3 of their length: at "
    "the first look at the training, less that at its end",
    fails_when="Training is short: after as many as 24 epochs nearly all still walk. And where all "
    "have left at either time, nothing can fall.",
    controls=(*SELF_MAP.controls, "running statistics, fall, 10 times"),
    seen_before="nothing",
)

WAYS = ("batch statistics", "running statistics")


def mode(net: nn.Module, way: str) -> contextlib.AbstractContextManager:
    """Inside, a net normalises by this one of `WAYS`."""
    if way == WAYS[0]:
        return models.batch_statistics(net.eval())
    return contextlib.nullcontext()


def path(
    net: models.UNet, way: str, start: Tensor, stops: list[int], noise: float, seed: int
) -> Tensor:
    """Walkers at the start and at the stops, (1 + stops, n, …), on the CPU."""
    device = runtime.device()
    there = net.to(device).eval()
    with mode(there, way), torch.no_grad():
        deviation = there.encode(digits().train[:500].to(device)).std(0)
        seen = sampling.manifold_walk(
            there, start.to(device), stops[-1], sigma=noise * deviation, clamp=(0, 1), seed=seed
        )
    net.cpu()
    return seen[[0, *stops]].cpu()


def run(
    seeds: int, steps: list[int], walkers: int, stops: list[int], width: int, known: int = 4000
) -> Result:
    """Shares that walk without noise, by training step; then walks with noise, by the end.

    `stops` are steps of the walk, of which the readings call the third 10 and the fourth 30; digits
    near the walkers are looked for among the first `known` training digits.
    """
    start, train = digits().test[:walkers], digits().train[:known]
    nets = models.replicate(lambda: models.UNet(digits().shape, width), seeds)
    found: list[Tensor] = []

    def note(at: dict) -> None:
        if at["step"] not in (0, *steps):  # the first step is told in any case
            return
        shares = []
        for net in at["models"]:
            there = net.to(runtime.device())
            for way in WAYS:
                with mode(there, way):
                    shares.append(walked(there, start))
            net.cpu()
        found.append(torch.stack(shares).unflatten(0, (seeds, len(WAYS))))

    fit(nets, digits().train, steps=steps[-1], batch_size=32, log_at=[0, *steps], callback=note,
        label="copiers")  # fmt: skip
    # (seeds, ways, records, counts, distances)
    shares = torch.stack(found, 2)
    ten, third = APPLIED.index(10), FAR.index(0.3)
    fall = shares[:, :, 1] - shares[:, :, -1]

    paths = {  # each (seeds, 1 + stops, n, …)
        way: torch.stack([path(net, way, start, stops, NOISE, s) for s, net in enumerate(nets)])
        for way in WAYS
    }
    still = torch.stack([path(net, WAYS[0], start, stops, 0.0, 0) for net in nets])
    tenth, thirtieth = 3, 4  # the start is the first
    walk = paths[WAYS[0]]

    def changed(walk: Tensor) -> Tensor:
        seen = classes(walk[:, [0, thirtieth]])
        return (seen[:, 1] != seen[:, 0]).float().mean(-1)

    gone = (walk[:, tenth] - start).flatten(2).norm(dim=2)  # (seeds, n)
    smooth, white = (
        torch.stack([change(start, far, seed).clamp(0, 1) for seed, far in enumerate(gone)])
        for change in (smooth_change, white_change)
    )
    gaussian = frechet(torch.stack([density(1)(walkers, seed) for seed in range(seeds)]))
    walked_to = near(walk[:, tenth], train)
    over = {way: frechet(paths[way][:, thirtieth]) / gaussian.mean() for way in WAYS}
    readings = {
        "changed class, 30 steps": changed(walk),
        "smooth change as far ÷ walk, nearest image, 10 steps": near(smooth, train) / walked_to,
        "white noise as far ÷ walk, nearest image, 10 steps": near(white, train) / walked_to,
        "walk ÷ Gaussian, Fréchet, 30 steps": over[WAYS[0]],
        "running statistics ÷ Gaussian, Fréchet, 30 steps": over[WAYS[1]],
        "no noise, changed class, 30 steps": changed(still),
        "running statistics, changed class, 30 steps": changed(paths[WAYS[1]]),
        "walk, nearest image, 10 steps": walked_to,
        "real digits, nearest image": near(start, train).expand(seeds),
        "unexplained": measures.unexplained_variance(nets, start, train.mean(0)),
        "fall, 10 times": fall[:, 0, ten, third],
        "running statistics, fall, 10 times": fall[:, 1, ten, third],
        "least fall, any count and distance": fall[:, 0].flatten(1).amin(1),
        "untrained, 10 times": shares[:, 0, 0, ten, third],
        "10 times, early": shares[:, 0, 1, ten, third],
        "10 times, end of training": shares[:, 0, -1, ten, third],
        "30 times, end of training": shares[:, 0, -1, APPLIED.index(30), third],
    }
    rows = {way: {k: on_screen(paths[way][0][:, k]) for k in WALKERS} for way in WAYS}
    show = {"stops": torch.tensor(stops), "walkers": rows}
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Two walkers on the batch's statistics and on running ones."""
    rows = result.show["walkers"]
    return figures.grid(
        [torch.as_tensor(rows[way][walker]) for walker in WALKERS for way in WAYS],
        labels=[way.replace(" ", "\n") for way in WAYS] * 2,
        columns=["0", *(str(int(stop)) for stop in result.show["stops"])],
        cell=0.62,
    )


EXPERIMENT = Experiment(
    claims=(WITH_NOISE, WITHOUT),
    run=run,
    short={"seeds": 3, "steps": [1, 2], "walkers": 34, "stops": [1, 2, 3, 4], "width": 4,
           "known": 50},
    full={"seeds": 6, "steps": [100, 300, 1000, 3000], "walkers": 200,
          "stops": [1, 3, 10, 30, 100], "width": 16},
    picture=picture,
    chunk=2,
)  # fmt: skip
