"""Does encoding, adding noise and decoding walk along the digits?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import figures, measures, random, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import copiers, denoisers, narrow
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import classes, digits, frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.4",
    statement="Walking by encoding, adding noise and decoding moves along the manifold of digits.",
    source="Badger's page; chapter 5",
    reading="changed class, 30 steps",
    measure="share of walkers that have changed class after 30 steps, code of 8, ε = 0.2",
    supported={
        "changed class, 30 steps": above(0.5),
        "nearest image, 10 steps, noise as far − walk": above(0.2),
        "Fréchet, 300 steps": below(40),
    },
    conditional={
        "changed class, 30 steps": above(0.5),
        "nearest image, 10 steps, noise as far − walk": above(0.2),
    },
    controls=("noise as far, nearest image, 10 steps", "no noise, changed class, 30 steps"),
    also=(
        "Fréchet, 10 steps",
        "noise as far, Fréchet, 10 steps",
        "denoiser, Fréchet, 300 steps",
    ),
    condition="The walk is short: then it drifts off the data.",
    fails_when="The walk is long: errors of the copy add up, and it drifts off the data.",
)

NETS = ("code of 8", "copier", "denoiser")
WALKERS = (4, 11)  # of the test digits, those that the figure shows
STOPS = (1, 3, 10, 30, 100, 300)


def walk(nets: Sequence, noise: float, walkers: int, steps: int = STOPS[-1]) -> Tensor:
    """Paths of test digits, (seeds, steps + 1, walkers, …); `noise` in deviations of the code."""
    paths = []
    for seed, model in enumerate(nets):
        sigma = noise * measures.codes(model, digits().train).std(0)
        paths.append(
            sampling.manifold_walk(
                model, digits().test[:walkers], steps, sigma=sigma, clamp=(0, 1), seed=seed
            )
        )
    return torch.stack(paths)


def noise_as_far(images: Tensor, seed: int) -> Tensor:
    """Test digits with white noise, each as far from its start as its walker."""
    start = digits().test[: len(images)]
    far = (images - start).flatten(1).norm(dim=1)
    noise = random.normal(start.shape, start, random.generator(seed))
    scale = far / noise.flatten(1).norm(dim=1)
    return (start + noise * scale[:, None, None, None]).clamp(0, 1)


def near(images: Tensor) -> Tensor:
    """Distance to the nearest training digit, the mean over pictures."""
    return measures.nearest_distance(images, digits().train).mean(-1)


def run(seeds: int, steps: int, narrow_steps: int, walkers: int) -> Result:
    """Walkers under three nets, with noise and without; white noise as far as they went."""
    eight = narrow(seeds, narrow_steps).models
    stops = [0, *STOPS]
    paths = {  # each (seeds, stops, n, …)
        "code of 8": walk(eight, 0.2, walkers)[:, stops],
        "code of 8, no noise": walk(eight, 0.0, walkers)[:, stops],
        "copier": walk(copiers(seeds, steps)[0], 0.2, walkers)[:, stops],
        "denoiser": walk(denoisers(seeds, 2 * narrow_steps).models, 0.2, walkers)[:, stops],
    }
    changed, off, closest = {}, {}, {}  # each (seeds, stops)
    for name, path in paths.items():
        seen = classes(path)
        changed[name] = (seen[:, 1:] != seen[:, :1]).float().mean(-1)
        off[name] = frechet(path[:, 1:])
        closest[name] = near(path[:, 1:])
    ten, thirty, end = (STOPS.index(stop) for stop in (10, 30, 300))
    far = torch.stack(
        [noise_as_far(path[ten + 1], seed) for seed, path in enumerate(paths["code of 8"])]
    )
    readings = {
        "changed class, 30 steps": changed["code of 8"][:, thirty],
        "nearest image, 10 steps, noise as far − walk": near(far) - closest["code of 8"][:, ten],
        "noise as far, nearest image, 10 steps": near(far),
        "Fréchet, 10 steps": off["code of 8"][:, ten],
        "noise as far, Fréchet, 10 steps": frechet(far),
        "Fréchet, 300 steps": off["code of 8"][:, end],
        "no noise, changed class, 30 steps": changed["code of 8, no noise"][:, thirty],
        "denoiser, Fréchet, 300 steps": off["denoiser"][:, end],
    }
    show = {
        "changed": changed,
        "off": off,
        "closest": closest,
        "walkers": {
            name: {walker: on_screen(paths[name][0][:, walker]) for walker in WALKERS}
            for name in NETS
        },
    }
    return Result(readings, show, tuple(show))


def walkers_picture(result: Result) -> Figure:
    """Two walkers under three nets."""
    return figures.grid(
        [result.show["walkers"][name][walker] for walker in WALKERS for name in NETS],
        labels=list(NETS) * 2,
        columns=[str(n) for n in (0, *STOPS)],
        cell=0.75,
    )


def picture(result: Result) -> Figure:
    """Who has changed, and how far all and each are from digits, by steps."""
    figure, axes = figures.canvas(2, 2, height=6.2)
    axes[3].set_axis_off()
    panels = {
        "another class": "changed",
        "Fréchet distance": "off",
        "nearest training image": "closest",
    }
    for ax, (words, name) in zip(axes, panels.items(), strict=False):
        figures.curves(
            STOPS,
            result.show[name],
            xlabel="steps",
            ylabel=words,
            logx=True,
            legend="above" if name == "changed" else "none",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 30, "narrow_steps": 15, "walkers": 40},
    full={"seeds": 6, "steps": 3000, "narrow_steps": 1500, "walkers": 360},
    picture=picture,
)
