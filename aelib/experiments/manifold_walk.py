"""Does encoding, adding noise and decoding walk along the digits?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import figures, measures, random, runtime, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import copiers, denoisers, digits, narrow, test_digits
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import classes, entropy, frechet
from aelib.experiments.keeping import Result
from aelib.experiments.known_manifold import smooth_change
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.4",
    statement="Walking by encoding, adding noise and decoding in a narrow code moves along the "
    "manifold of digits.",
    source="Badger's page; chapter 5",
    reading="changed class, 30 steps",
    measure="share of walkers that have changed class after 30 steps, code of 16, noise of a fifth "
    "of each code unit's deviation",
    supported={
        "changed class, 30 steps": above(0.5),
        "no noise, changed class, 30 steps": below(0.5),
        "walk ÷ Gaussian, Fréchet, 10 steps": below(1),
        "walk ÷ Gaussian, Fréchet, 300 steps": below(1),
    },
    conditional={
        "changed class, 30 steps": above(0.5),
        "no noise, changed class, 30 steps": below(0.5),
        "walk ÷ Gaussian, Fréchet, 10 steps": below(1),
    },
    refuted={
        "no noise, changed class, 30 steps": above(0.5),
        "walk ÷ Gaussian, Fréchet, 10 steps": above(1),
    },
    controls=(
        "no noise, changed class, 30 steps",
        "white noise as far ÷ walk, nearest image, 10 steps",
        "smooth change as far ÷ walk, nearest image, 10 steps",
        "real digits, nearest image",
    ),
    also=(
        "walk, nearest image, 10 steps",
        "walk, nearest image, 300 steps",
        "walk ÷ Gaussian, Fréchet, 10 steps",
        "smooth change as far ÷ Gaussian, Fréchet, 10 steps",
        "denoiser ÷ Gaussian, Fréchet, 300 steps",
        "walk, class entropy, 300 steps",
    ),
    ratios=(
        "smooth change as far ÷ walk, nearest image, 10 steps",
        "white noise as far ÷ walk, nearest image, 10 steps",
        "walk ÷ Gaussian, Fréchet, 300 steps",
        "walk ÷ Gaussian, Fréchet, 10 steps",
        "smooth change as far ÷ Gaussian, Fréchet, 10 steps",
        "denoiser ÷ Gaussian, Fréchet, 300 steps",
    ),
    condition="The walk is short: later it drifts off the data.",
    fails_when="The net only copies: without noise as many walkers change class, since errors of "
    "the copy add up and lead them all to the same few shapes.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

NETS = ("narrow code", "copier", "denoiser")
WALKERS = (4, 11)  # of the test digits, those that the figure shows
NOISE = 0.2  # in deviations of the code


def walk(nets: Sequence, noise: float, start: Tensor, stops: Sequence[int]) -> Tensor:
    """Walkers at the start and at the stops, (seeds, 1 + stops, n, …)."""
    seen = []
    for seed, model in enumerate(nets):
        sigma = noise * measures.codes(model, digits().train).std(0)
        there = model.to(runtime.device())
        path = sampling.manifold_walk(
            there, start.to(runtime.device()), stops[-1], sigma=sigma, clamp=(0, 1), seed=seed
        )
        seen.append(path[[0, *stops]].cpu())
        model.cpu()
    return torch.stack(seen)


def white_change(images: Tensor, far: Tensor, seed: int) -> Tensor:
    """Images changed by white noise, each as far as `far` (n,) says."""
    noise = random.normal(images.shape, images, random.generator(seed))
    return images + noise * (far / noise.flatten(1).norm(dim=1))[:, None, None, None]


def near(images: Tensor, known: Tensor) -> Tensor:
    """Distance to the nearest of the known digits, the mean over pictures."""
    return measures.nearest_distance(images, known).mean(-1)


def run(seeds: int, steps: int, walkers: int, stops: Sequence[int], n: int = 4000) -> Result:
    """Walkers under three nets, with noise and without; other changes, as far as they went.

    They are looked at after `stops` steps, of which the readings call the third 10, the fourth 30
    and the last 300; digits near them are looked for among the first `n` training digits.
    """
    start, known = digits().test[:walkers], digits().train[:n]
    eight = narrow(seeds, steps)
    paths = {  # each (seeds, 1 + stops, n, …)
        "narrow code": walk(eight, NOISE, start, stops),
        "narrow code, no noise": walk(eight, 0.0, start, stops),
        "copier": walk(copiers(seeds, steps), NOISE, start, stops),
        "denoiser": walk(denoisers(seeds, steps), NOISE, start, stops),
    }
    changed, off, closest = {}, {}, {}  # each (seeds, stops)
    for name, path in paths.items():
        seen = classes(path)
        changed[name] = (seen[:, 1:] != seen[:, :1]).float().mean(-1)
    for name in NETS:
        off[name] = torch.stack([frechet(one[1:]) for one in paths[name]])
        closest[name] = torch.stack([near(one[1:], known) for one in paths[name]])
    ten, thirty, end = 2, 3, -1
    gone = (paths["narrow code"][:, ten + 1] - start).flatten(2).norm(dim=2)  # (seeds, n)
    smooth, white = (
        torch.stack([change(start, far, seed).clamp(0, 1) for seed, far in enumerate(gone)])
        for change in (smooth_change, white_change)
    )
    fitted = sampling.fit_code(known.flatten(1))
    gaussian = frechet(fitted.sample(walkers, 0).view(-1, *digits().shape))
    walked = closest["narrow code"]
    ten_steps = walked[:, ten]
    readings = {
        "changed class, 30 steps": changed["narrow code"][:, thirty],
        "smooth change as far ÷ walk, nearest image, 10 steps": near(smooth, known)
        / walked[:, ten],
        "white noise as far ÷ walk, nearest image, 10 steps": near(white, known) / walked[:, ten],
        "walk ÷ Gaussian, Fréchet, 300 steps": off["narrow code"][:, end] / gaussian,
        "walk ÷ Gaussian, Fréchet, 10 steps": off["narrow code"][:, ten] / gaussian,
        "smooth change as far ÷ Gaussian, Fréchet, 10 steps": frechet(smooth) / gaussian,
        "denoiser ÷ Gaussian, Fréchet, 300 steps": off["denoiser"][:, end] / gaussian,
        "walk, nearest image, 10 steps": ten_steps,
        "walk, nearest image, 300 steps": walked[:, end],
        "walk, class entropy, 300 steps": entropy(paths["narrow code"][:, -1]),
        "no noise, changed class, 30 steps": changed["narrow code, no noise"][:, thirty],
        "real digits, nearest image": [
            float(near(test_digits(walkers, seed), known)) for seed in range(seeds)
        ],
    }
    show = {
        "stops": torch.tensor(stops),
        "changed": changed,
        "off": off,
        "closest": closest,
        "gaussian": float(gaussian),
        "real": float(near(start, known)),
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
        columns=["0", *map(str, result.show["stops"].tolist())],
        cell=0.62,
    )


def picture(result: Result) -> Figure:
    """Who has changed, and how far all and each are from digits, by steps."""
    figure, axes = figures.canvas(1, 3, height=2.9)
    panels = {
        "share of another class": "changed",
        "Fréchet distance": "off",
        "distance to nearest digit": "closest",
    }
    lines = {"off": ("Gaussian", "gaussian"), "closest": ("real", "real")}
    for ax, (words, name) in zip(axes, panels.items(), strict=True):
        line = {lines[name][0]: float(result.show[lines[name][1]])} if name in lines else {}
        rows = result.show[name]
        figures.curves(
            result.show["stops"],
            {net: rows[net] for net in (*NETS, *(net for net in rows if net not in NETS))},
            lines=line,
            xlabel="steps",
            ylabel=words,
            logx=True,
            legend="above" if name == "changed" else "none",
            ax=ax,
        )
    names = axes[0].get_legend()
    assert names is not None
    handles = [handle for handle in names.legend_handles if handle is not None]
    labels = [text.get_text() for text in names.texts]
    names.remove()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 1, "walkers": 33, "stops": [1, 2, 3, 4], "n": 50},
    full={"seeds": 6, "steps": 6000, "walkers": 300, "stops": [1, 3, 10, 30, 100, 300]},
    picture=picture,
)
