"""Does a plain autoencoder make digits if its code is sampled well, and are a VAE's blurrier?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, measures, models, objectives, random, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.copy_and_noise import COMPONENTS
from aelib.experiments.digit_diffusion import N, density
from aelib.experiments.digit_nets import BETAS, CODE, digits, test_digits, train
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 512  # of the hidden layers, so that six nets of each kind are trained in minutes
MIXTURE = "narrow code, mixture"
GENERATES = Claim(
    id="5.7",
    statement="A plain autoencoder generates, if its code is sampled well.",
    source="Ghosh et al. 2020; chapter 5",
    reading="mixture, narrow code ÷ pixels",
    measure="Fréchet distance of 500 digits from a mixture of 40 Gaussians on the code of 16, over "
    "that of 500 from a mixture of 40 in the pixels' 50 leading directions",
    supported={
        "mixture, narrow code ÷ pixels": below(0.8),
        "narrow code, mixture ÷ Gaussian": below(0.8),
        "nearest / second, mixture − real": above(-0.03),
    },
    conditional={
        "narrow code, mixture ÷ Gaussian": below(0.8),
        "nearest / second, mixture − real": above(-0.03),
    },
    refuted={"mixture, narrow code ÷ Gaussian in pixels": above(1)},
    condition="Better than one Gaussian on the same code; a mixture in pixels, without a net, "
    "comes within a fifth of it.",
    controls=(
        "mixture in pixels",
        "Gaussian in pixels",
        "narrow code, Gaussian",
        "copies, narrow code",
    ),
    also=(
        MIXTURE,
        "mixture, narrow code ÷ Gaussian in pixels",
        "variational, best prior",
        "nearest / second, real",
    ),
    ratios=(
        "mixture, narrow code ÷ pixels",
        "narrow code, mixture ÷ Gaussian",
        "mixture, narrow code ÷ Gaussian in pixels",
    ),
    fails_when="The code is sampled badly: one Gaussian goes where no codes lie. And what copies "
    "lose, samples lose too.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
BLURRIER = Claim(
    id="5.8",
    statement="Samples of a variational autoencoder are blurrier.",
    source="what is commonly said; chapter 5",
    reading="lost, prior, β = 0.1",
    measure="sharpness, as a share of real digits', lost to the code of 16 with a mixture, β = 0.1",
    supported={"lost, prior, β = 0.1": above(0.03), "lost, prior, β = 0.03": above(0.03)},
    conditional={"lost, prior, β = 0.1": above(0.03)},
    refuted={"lost, prior, β = 0.1": below(0)},
    controls=(
        "sharpness, narrow code, mixture",
        "sharpness, narrow code, copies",
        "sharpness, mixture in pixels",
    ),
    also=(
        "lost, prior, β = 0.03",
        "lost, mixture, β = 0.03",
        "β by the error",
    ),
    condition="β is larger than the one its own error asks for.",
    fails_when="β is small: then the code tells nearly all, and the samples are as sharp as the "
    "copies.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

WAYS = {  # those that the figure shows, and what it calls them
    "Gaussian in pixels": "Gaussian in pixels",
    "mixture in pixels": "mixture in pixels",
    "narrow code, Gaussian": "narrow code, Gaussian",
    MIXTURE: MIXTURE,
    "variational, β = 0.1, prior": "variational, prior",
}


def narrow(seeds: int, steps: int) -> list[nn.Module]:
    """Copiers: 784 → 512 → 16 → 512 → 784."""

    def build() -> nn.Module:
        return models.MLPAutoencoder(digits().shape, width=WIDTH, depth=3, code=CODE)

    return train(build, seeds, steps, lr=2e-3, label="narrow code")


def vaes(seeds: int, steps: int, beta: float) -> list[nn.Module]:
    """Variational autoencoders of the same layers."""

    def build() -> nn.Module:
        return models.VAE(digits().shape, width=WIDTH, depth=3, code=CODE)

    objective = objectives.variational(beta)
    return train(build, seeds, steps, lr=2e-3, objective=objective, label=f"β = {beta:g}")


def from_code(nets: Sequence, known: Tensor, components: int, draws: int, n: int) -> Tensor:
    """Digits decoded from a density fitted to each net's codes, (draws, seeds, n, …).

    Each draw is of a density fitted anew, from another start.
    """

    def drawn(model, codes: Tensor, seed: int) -> Tensor:
        fitted = sampling.fit_code(codes, components, seed, n_init=1)
        return sampling.decode(model, fitted.sample(n, seed))

    pictures = []
    for seed, model in enumerate(nets):
        codes = measures.codes(model, known)
        each = [drawn(model, codes, seed + 100 * draw) for draw in range(draws)]
        pictures.append(torch.stack(each))
    return torch.stack(pictures, 1)


def from_pixels(components: int, seeds: int, draws: int, n: int) -> Tensor:
    """Digits drawn from a density fitted to the pixels, chapter 4's: (draws, seeds, n, …)."""
    sets = [density(components)(n, seed) for seed in range(draws * seeds)]
    return torch.stack(sets).unflatten(0, (draws, seeds))


def from_prior(nets: Sequence, draws: int, n: int) -> Tensor:
    """Digits decoded from the standard Gaussian, (draws, seeds, n, …)."""

    def decoded(model, seed: int) -> Tensor:
        code = random.normal((n, CODE), digits().train, random.generator(seed))
        return sampling.decode(model, code)

    return torch.stack(
        [
            torch.stack([decoded(model, seed + 100 * d) for seed, model in enumerate(nets)])
            for d in range(draws)
        ]
    )


def nearest_ratio(pictures: Tensor, n: int = 4000) -> Tensor:
    """Distance to the nearest of the first n training digits over that to the second nearest.

    It is low for copies.
    """
    table = torch.cdist(pictures.flatten(-3), digits().train[:n].flatten(1))
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


def looks(pictures: Tensor, n: int = 4000) -> dict[str, Tensor]:
    """What is measured of sets (draws, seeds, n, …): a number a seed, a mean over draws."""
    clipped = pictures.clamp(0, 1)
    columns = {
        "Fréchet": frechet(pictures),
        "sharpness": torch.as_tensor(measures.relative_sharpness(clipped, digits().test)),
        "nearest / second": nearest_ratio(clipped, n),
    }
    return {name: column.mean(0) for name, column in columns.items()}


def run(
    seeds: int,
    steps: int,
    draws: int,
    n: int = N,
    components: int = COMPONENTS,
    fitted_to: int = 4000,
) -> Result:
    """Fréchet distance and sharpness of each way, each seed a mean over draws.

    Densities of codes are fitted to the first `fitted_to` training digits.
    """
    known = digits().train[:fitted_to]
    eight = narrow(seeds, steps)
    drawn = {beta: vaes(seeds, steps, beta) for beta in BETAS}
    ways = {  # each (draws, seeds, n, …)
        "Gaussian in pixels": from_pixels(1, seeds, draws, n),
        "mixture in pixels": from_pixels(components, seeds, draws, n),
        "narrow code, Gaussian": from_code(eight, known, 1, draws, n),
        MIXTURE: from_code(eight, known, components, draws, n),
        **{
            f"variational, β = {beta:g}, prior": from_prior(nets, draws, n)
            for beta, nets in drawn.items()
        },
        "variational, β = 0.03, mixture": from_code(drawn[0.03], known, components, draws, n),
    }
    test, some = digits().test, digits().test[:n]
    seen = {name: looks(pictures, fitted_to) for name, pictures in ways.items()}
    far, crisp = (
        {name: columns[column] for name, columns in seen.items()}
        for column in ("Fréchet", "sharpness")
    )
    close = seen[MIXTURE]["nearest / second"]
    real = torch.stack([nearest_ratio(test_digits(n, seed), fitted_to) for seed in range(seeds)])
    copies = measures.outputs(eight, some).clamp(0, 1)
    priors = [far[f"variational, β = {beta:g}, prior"] for beta in BETAS]
    error = measures.clean_error(drawn[0.03], some).mean(1)
    lost = {
        f"lost, prior, β = {beta:g}": crisp[MIXTURE] - crisp[f"variational, β = {beta:g}, prior"]
        for beta in BETAS
    }
    readings = {
        **far,
        **lost,
        "mixture, narrow code ÷ pixels": far[MIXTURE] / far["mixture in pixels"],
        "narrow code, mixture ÷ Gaussian": far[MIXTURE] / far["narrow code, Gaussian"],
        "mixture, narrow code ÷ Gaussian in pixels": far[MIXTURE] / far["Gaussian in pixels"],
        "nearest / second, mixture − real": close - real,
        "nearest / second, real": real,
        "copies, narrow code": frechet(copies),
        "variational, best prior": torch.stack(priors).amin(0),
        "lost, mixture, β = 0.03": crisp[MIXTURE] - crisp["variational, β = 0.03, mixture"],
        "sharpness, narrow code, mixture": crisp[MIXTURE],
        "sharpness, mixture in pixels": crisp["mixture in pixels"],
        "sharpness, narrow code, copies": measures.relative_sharpness(copies, some),
        "β by the error": 2 * error,  # of a Gaussian whose variance is the error a pixel
    }
    show = {
        "looks": seen,
        "draws add": share_of_draws(frechet(ways[MIXTURE])),
        "pictures": {"real": on_screen(test[:9])}
        | {name: on_screen(ways[name][0, 0, :9]) for name in WAYS},
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """Real digits, and nine of each way to make them, with its Fréchet distance."""
    far = {name: float(result.show["looks"][name]["Fréchet"].mean()) for name in WAYS}
    return figures.grid(
        [result.show["pictures"][name] for name in ("real", *WAYS)],
        labels=["real", *(f"{words}: {far[name]:.0f}" for name, words in WAYS.items())],
        cell=0.6,
    )


EXPERIMENT = Experiment(
    claims=(GENERATES, BLURRIER),
    run=run,
    short={"seeds": 3, "steps": 1, "draws": 1, "n": 33, "components": 2, "fitted_to": 100},
    full={"seeds": 6, "steps": 1000, "draws": 2},
    picture=picture,
)
