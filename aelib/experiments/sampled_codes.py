"""Does a plain autoencoder make digits if its code is sampled well, and are a VAE's blurrier?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import data, figures, measures, random, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import (
    BETAS,
    N,
    Trained,
    copiers,
    denoisers,
    diffusion,
    draw,
    loop,
    narrow,
    vaes,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import confidence, digits, entropy, frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENERATES = Claim(
    id="5.7",
    statement="A plain autoencoder generates, if its code is sampled well.",
    source="Ghosh et al. 2020; chapter 5",
    reading="code of 8, mixture",
    measure="Fréchet distance of 360 digits, code of 8, mixture of ten Gaussians",
    supported={
        "code of 8, mixture": below(12),
        "mixture in pixels − in code": above(0),
        "variational, prior − code of 8, mixture": above(5),
    },
    controls=(
        "mixture in pixels",
        "code of 8, Gaussian",
        "nearest / second, code of 8, mixture",
        "nearest / second, mixture in pixels",
        "nearest / second, real test digits",
    ),
    also=("denoiser, mixture", "denoiser, loop, noise kept", "diffusion model"),
    fails_when="The code is sampled badly: what one Gaussian draws is nearer to a Gaussian in "
    "pixels than to digits.",
)
BLURRIER = Claim(
    id="5.8",
    statement="Samples of a variational autoencoder are blurrier.",
    source="what is commonly said; chapter 5",
    reading="lost, prior, β = 0.1",
    measure="sharpness, as a share of real digits', lost to the code of 8 with a mixture, β = 0.1",
    supported={"lost, prior, β = 0.1": above(0.03), "lost, mixture, β = 0.03": above(0.03)},
    conditional={"lost, prior, β = 0.1": above(0.03)},
    controls=(
        "sharpness, code of 8, mixture",
        "sharpness, code of 8, copies",
        "sharpness, mixture in pixels",
        "nearest / second, variational, β = 0.1, prior",
    ),
    also=("lost, prior, β = 0.3", "lost, prior, β = 0.03"),
    condition="β is large enough to blur, and the code is sampled from its prior.",
    fails_when="β is small and its code is sampled by a mixture too.",
)

WAYS = {  # those that the figure shows, and what it calls them
    "mixture in pixels": "mixture in pixels",
    "code of 8, Gaussian": "code of 8, Gaussian",
    "code of 8, mixture": "code of 8, mixture",
    "variational, β = 0.1, prior": "variational, prior",
    "denoiser, mixture": "denoiser, mixture",
    "denoiser, loop, noise kept": "denoiser, loop",
    "diffusion model": "diffusion model",
}


def from_density(
    points: Tensor, components: int, seed: int, draws: int, n: int, starts: int
) -> Tensor:
    """Points like these, (draws, n, k): each draw of a density fitted anew, from other starts."""
    seeds = [seed + 100 * draw for draw in range(draws)]
    fitted = [sampling.fit_code(points, components, each, n_init=starts) for each in seeds]
    return torch.stack([one.sample(n, each) for one, each in zip(fitted, seeds, strict=True)])


def from_code(nets: Sequence, components: int, draws: int, n: int = N, starts: int = 1) -> Tensor:
    """Digits decoded from a density fitted to each net's codes, (draws, seeds, n, …)."""
    pictures = []
    for seed, model in enumerate(nets):
        codes = from_density(
            measures.codes(model, digits().train), components, seed, draws, n, starts
        )
        pictures.append(sampling.decode(model, codes.flatten(0, 1)).unflatten(0, (draws, n)))
    return torch.stack(pictures, 1)


def from_pixels(components: int, seeds: int, draws: int, n: int = N, starts: int = 1) -> Tensor:
    """The same for a density fitted to the pixels themselves."""
    pixels = digits().train.flatten(1)
    sets = [from_density(pixels, components, seed, draws, n, starts) for seed in range(seeds)]
    return torch.stack(sets, 1).unflatten(-1, digits().shape)


def from_prior(nets: Sequence, draws: int, n: int = N) -> Tensor:
    """Digits decoded from the standard Gaussian, (draws, seeds, n, …)."""

    def decoded(model, seed: int) -> Tensor:
        code = random.normal((n, 8), digits().train, random.generator(seed))
        return sampling.decode(model, code)

    return torch.stack(
        [
            torch.stack([decoded(model, seed + 100 * d) for seed, model in enumerate(nets)])
            for d in range(draws)
        ]
    )


def sampled(nets: Sequence, draws: int, n: int = N) -> Tensor:
    """Digits drawn by diffusion models, (draws, seeds, n, …)."""
    return torch.stack(
        [
            torch.stack([draw(model, n, seed + 100 * d) for seed, model in enumerate(nets)])
            for d in range(draws)
        ]
    )


def gallery(
    made: dict[str, Trained], seeds: int, draws: int, n: int = N, starts: int = 1
) -> dict[str, tuple[float, Tensor]]:
    """Ways to make digits: the seconds to train one net, and (draws, seeds, n, …)."""

    def way(name: str, pictures: Tensor) -> tuple[float, Tensor]:
        return made[name].seconds, pictures

    eight, denoiser = made["code of 8"].models, made["denoiser"].models
    ways = {
        "Gaussian in pixels": (0.0, from_pixels(1, seeds, draws, n)),
        "mixture in pixels": (0.0, from_pixels(10, seeds, draws, n, starts)),
        "code of 8, Gaussian": way("code of 8", from_code(eight, 1, draws, n)),
        "code of 8, mixture": way("code of 8", from_code(eight, 10, draws, n, starts)),
    }
    for beta in BETAS:
        name = f"β = {beta:g}"
        ways[f"variational, {name}, prior"] = way(name, from_prior(made[name].models, draws, n))
    flat = from_code(made["β = 0.03"].models, 10, draws, n, starts)
    ways["variational, β = 0.03, mixture"] = way("β = 0.03", flat)
    ways["denoiser, mixture"] = way("denoiser", from_code(denoiser, 10, draws, n, starts))
    ways["denoiser, loop, noise kept"] = way("denoiser", loop(denoiser, 50, 0.0, range(draws), n))
    ways["diffusion model"] = way("diffusion", sampled(made["diffusion"].models, draws, n))
    return ways


def nearest_ratio(pictures: Tensor) -> Tensor:
    """Distance to the nearest training digit over that to the second nearest: low for copies."""
    table = torch.cdist(pictures.flatten(-3), digits().train.flatten(1))
    two = table.topk(2, largest=False).values
    return (two[..., 0] / two[..., 1]).mean(-1)


def share_of_draws(distances: Tensor) -> float:
    """What the draws still add to the variance between nets, of means over them, (draws, seeds).

    One fifth at most is asked for.
    """
    if len(distances) < 2:
        return float("nan")
    within = distances.var(0).mean() / len(distances)
    return float(within / distances.mean(0).var())


def looks(pictures: Tensor) -> dict[str, Tensor]:
    """The columns of a table of sets (draws, seeds, n, …): a number a seed, a mean over draws."""
    clipped, train = pictures.clamp(0, 1), digits().train
    columns = {
        "Fréchet": frechet(pictures),
        "entropy": entropy(pictures),
        "confidence": confidence(pictures),
        "sharpness": torch.as_tensor(measures.relative_sharpness(clipped, digits().test)),
        "nearest": measures.nearest_distance(clipped, train).mean(-1),
        "nearest / second": nearest_ratio(clipped),
    }
    return {name: column.mean(0) for name, column in columns.items()}


def fakes(seeds: int, n: int) -> dict[str, Tensor]:
    """Sets that no net has drawn, each (1, sets, n, …)."""
    mean = digits().train.mean(0).expand(n, -1, -1, -1)
    training = [digits().take(n, seed=seed).train for seed in range(seeds)]
    noise = [data.white_noise(n, digits().shape, seed) for seed in range(seeds)]
    return {
        "real test digits": digits().test[None, None],
        "training digits": torch.stack(training)[None],
        "mean image": mean[None, None],
        "noise": torch.stack(noise)[None],
    }


def run(
    seeds: int, steps: int, diffusion_steps: int, draws: int, n: int = N, starts: int = 1
) -> Result:
    """Fréchet distance and sharpness of each way, each seed a mean over draws.

    Each draw of a mixture is of a mixture fitted anew, the likeliest of `starts`.
    """
    made = {
        "code of 8": narrow(seeds, steps),
        **{f"β = {beta:g}": vaes(seeds, steps, beta) for beta in BETAS},
        "denoiser": denoisers(seeds, 2 * steps),
        "diffusion": diffusion(seeds, diffusion_steps),
    }
    ways = gallery(made, seeds, draws, n, starts)
    test = digits().test
    seen = {name: looks(pictures) for name, (_, pictures) in ways.items()}
    far, crisp, close = (
        {name: columns[column] for name, columns in seen.items()}
        for column in ("Fréchet", "sharpness", "nearest / second")
    )
    copies = measures.outputs(made["code of 8"].models, test).clamp(0, 1)
    mixture = "code of 8, mixture"
    prior = torch.stack([far[f"variational, β = {beta:g}, prior"] for beta in BETAS]).amin(0)
    readings = {
        **far,
        "mixture in pixels − in code": far["mixture in pixels"] - far[mixture],
        "variational, prior − code of 8, mixture": prior - far[mixture],
        "lost, mixture, β = 0.03": crisp[mixture] - crisp["variational, β = 0.03, mixture"],
        "sharpness, code of 8, mixture": crisp[mixture],
        "sharpness, mixture in pixels": crisp["mixture in pixels"],
        **{f"nearest / second, {name}": ratio for name, ratio in close.items()},
        "nearest / second, real test digits": nearest_ratio(test).expand(seeds),
        "sharpness, code of 8, copies": measures.relative_sharpness(copies, test),
        **{
            f"lost, prior, β = {beta:g}": crisp[mixture]
            - crisp[f"variational, β = {beta:g}, prior"]
            for beta in BETAS
        },
    }
    copied = loop(copiers(seeds, steps)[0], 30, 1.0, range(1), n)
    show = {
        "looks": {name: looks(sets) for name, sets in fakes(seeds, n).items()}
        | {"copier, loop, new noise": looks(copied)}
        | seen,
        "draws add": {name: share_of_draws(frechet(sets)) for name, (_, sets) in ways.items()},
        "seconds": {name: seconds for name, (seconds, _) in ways.items()},
        "pictures": {"real": on_screen(test[:9])}
        | {name: on_screen(ways[name][1][0, 0, :9]) for name in WAYS},
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Real digits, and nine of each way to make them."""
    return figures.grid(
        [result.show["pictures"][name] for name in ("real", *WAYS)],
        labels=["real", *WAYS.values()],
        cell=0.6,
    )


EXPERIMENT = Experiment(
    claims=(GENERATES, BLURRIER),
    run=run,
    short={"seeds": 3, "steps": 8, "diffusion_steps": 2, "draws": 1, "n": 60},
    full={"seeds": 6, "steps": 1000, "diffusion_steps": 800, "draws": 6},
    picture=picture,
)
