"""Does a plain autoencoder make digits if its code is sampled well, and are a VAE's blurrier?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, measures, models, objectives, random, sampling
from aelib.claims import Claim, above, below
from aelib.experiments.copy_and_noise import COMPONENTS
from aelib.experiments.digit_diffusion import DIRECTIONS, N, directions
from aelib.experiments.digit_nets import BETAS, CODE, digits, test_digits, train
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import frechet, nearest_ratio
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 512  # of the hidden layers, so that six nets of each kind are trained in minutes
MIXTURE = "narrow code, mixture"
NEAR = (  # ways beside which the card says how near to one training digit they draw
    MIXTURE,
    "narrow code, Gaussian",
    "Gaussian in pixels",
    "mixture in pixels",
    "tuned mixture in pixels",
    *(f"variational, β = {beta:g}, prior" for beta in BETAS),
)
GENERATES = Claim(
    id="5.7",
    statement="A plain autoencoder generates, if its code is sampled well.",
    source="Ghosh et al. 2020; chapter 5",
    reading="mixture, narrow code ÷ pixels",
    measure="Fréchet distance of 500 digits from a mixture of 40 Gaussians on the code of 16, over "
    "that of 500 from a mixture of 40 in the pixels' 50 leading directions",
    supported={
        "mixture, narrow code ÷ pixels": below(0.8),
        "mixture, narrow code ÷ tuned in pixels": below(0.8),
        "narrow code, mixture ÷ Gaussian": below(0.8),
        "nearest / second, mixture − real": above(-0.03),
    },
    conditional={
        "narrow code, mixture ÷ Gaussian": below(0.8),
        "mixture, narrow code ÷ tuned in pixels": above(1),
        "nearest / second, mixture − real": above(-0.03),
    },
    refuted={"mixture, narrow code ÷ Gaussian in pixels": above(1)},
    condition="Better than one Gaussian on the same code; a mixture of 240 Gaussians in 200 "
    "directions of the pixels, without any net, comes nearer still (by claim 4.6 at the bound of "
    "what counts as no copy).",
    controls=(
        "mixture in pixels",
        "tuned mixture in pixels",
        "Gaussian in pixels",
        "narrow code, Gaussian",
        "copies, narrow code",
    ),
    also=(
        MIXTURE,
        "mixture, narrow code ÷ Gaussian in pixels",
        "variational, best prior",
        "nearest / second, real",
        *(f"nearest / second, {name}" for name in NEAR),
        "error of the draws, narrow code",
        "error of the draws, pixels",
    ),
    ratios=(
        "mixture, narrow code ÷ pixels",
        "mixture, narrow code ÷ tuned in pixels",
        "narrow code, mixture ÷ Gaussian",
        "mixture, narrow code ÷ Gaussian in pixels",
    ),
    fails_when="The code is sampled badly: one Gaussian goes where no codes lie. And what copies "
    "lose, samples lose too.",
    rule_changed="2026-11-27",
    seen_before="first run",
)
BLURRIER = Claim(
    id="5.8",
    statement="Drawn by the same sampler, digits of a variational autoencoder are blurrier than "
    "those of a plain one.",
    source="what is commonly said; chapter 5",
    reading="lost, mixture, β = 0.03",
    measure="sharpness of digits from a plain autoencoder, less that from a variational one with "
    "β = 0.03, as shares of real digits'; both from mixtures of 40 Gaussians on codes of 16",
    # what the prior's lose decides nothing: it is another sampler, and noise counts as sharpness
    supported={"lost, mixture, β = 0.03": above(0.03)},
    refuted={"lost, mixture, β = 0.03": below(0.03)},
    controls=(
        "sharpness, narrow code, mixture",
        "sharpness, narrow code, copies",
        "sharpness, mixture in pixels",
    ),
    also=(
        "lost, prior, β = 0.1",
        "lost, prior, β = 0.03",
        "variational, β = 0.1, prior",
        "variational, β = 0.03, prior",
        "variational, β = 0.03, mixture",
        "β by the error",
    ),
    fails_when="β is as small as its own error asks for: then the code tells nearly all. A larger "
    "one was not drawn by the same sampler.",
    rule_changed="2026-11-27",
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


def principal(number: int) -> models.LinearAutoencoder:
    """The linear copier whose code is the pixels' leading principal directions: nothing to train.

    A density on its code is a density in pixels.
    """
    mean, along = directions(number)
    model = models.LinearAutoencoder(digits().shape, number, bias=True)
    model.load_state_dict(
        {
            "encoder.weight": along,
            "encoder.bias": -along @ mean,
            "decoder.weight": along.T,
            "decoder.bias": mean,
        }
    )
    return model


def from_code(
    nets: Sequence, known: Tensor, components: int, fits: int, draws: int, n: int
) -> Tensor:
    """Digits decoded from densities fitted to each net's codes, (fits · draws, seeds, n, …).

    Each fit is from another start, and drawn from `draws` times.
    """

    def drawn(model, codes: Tensor, seed: int) -> Tensor:
        fitted = sampling.fit_code(codes, components, seed, n_init=1)
        seeds = [seed + 10_000 * draw for draw in range(draws)]
        return torch.stack([sampling.decode(model, fitted.sample(n, each)) for each in seeds])

    pictures = []
    for seed, model in enumerate(nets):
        codes = measures.codes(model, known)
        pictures.append(torch.cat([drawn(model, codes, seed + 100 * fit) for fit in range(fits)]))
    return torch.stack(pictures, 1)


def from_prior(nets: Sequence, draws: int, n: int) -> Tensor:
    """Digits decoded from the standard Gaussian, (draws, seeds, n, …)."""

    def decoded(model, seed: int) -> Tensor:
        code = random.normal((n, CODE), digits().train, random.generator(seed))
        return sampling.decode(model, code)

    return torch.stack(
        [
            torch.stack([decoded(model, seed + 100 * draw) for seed, model in enumerate(nets)])
            for draw in range(draws)
        ]
    )


def error_of_draws(distances: Tensor, fits: int) -> Tensor:
    """The standard error that fits and their draws leave in each seed's mean: (seeds,).

    Args:
        distances: of the sets drawn, (fits · draws, seeds).
        fits: how many, each drawn from as often; of a single one it is 0.
    """
    if fits < 2:
        return torch.zeros(distances.shape[1])
    return distances.unflatten(0, (fits, -1)).mean(1).std(0) / fits**0.5


def run(
    seeds: int,
    steps: int,
    fits: int,
    draws: int,
    tuned: tuple[int, int],
    n: int = N,
    components: int = COMPONENTS,
    fitted_to: int = 4000,
) -> Result:
    """Fréchet distance and sharpness of each way, each seed a mean over the sets drawn.

    Args:
        seeds: nets of each kind.
        steps: of their training.
        fits: mixtures fitted to each net's codes, each from a start of its own; of what has no
            start, as many sets are drawn.
        draws: sets drawn from each mixture.
        tuned: Gaussians and directions of the pixels' other mixture, which is claim 4.6's best; it
            is fitted twice.
        n: digits in a set.
        components: of a mixture.
        fitted_to: the first so many training digits have the codes that densities are fitted to.
    """
    known = digits().train[:fitted_to]
    narrows, pixels = narrow(seeds, steps), [principal(DIRECTIONS)] * seeds
    finer = [principal(tuned[1])] * seeds
    drawn = {beta: vaes(seeds, steps, beta) for beta in BETAS}

    def code(nets: Sequence, number: int, fits: int, draws: int) -> Callable[[], Tensor]:
        return lambda: from_code(nets, known, number, fits, draws, n)

    ways: dict[str, Callable[[], Tensor]] = {  # each (sets, seeds, n, …)
        "Gaussian in pixels": code(pixels, 1, 1, fits),
        "mixture in pixels": code(pixels, components, fits, draws),
        "tuned mixture in pixels": code(finer, tuned[0], 2, draws),
        "narrow code, Gaussian": code(narrows, 1, 1, fits),
        MIXTURE: code(narrows, components, fits, draws),
        **{
            f"variational, β = {beta:g}, prior": partial(from_prior, nets, fits, n)
            for beta, nets in drawn.items()
        },
        "variational, β = 0.03, mixture": code(drawn[0.03], components, 2, draws),
    }
    test, some = digits().test, digits().test[:n]
    distances, crisp, close, shown = {}, {}, {}, {"real": on_screen(test[:9])}
    for name, make in ways.items():
        sets = make()
        distances[name] = frechet(sets)
        crisp[name] = torch.as_tensor(measures.relative_sharpness(sets.clamp(0, 1), test)).mean(0)
        if name in WAYS:
            shown[name] = on_screen(sets[0, 0, :9])
        some_sets = sets if name == MIXTURE else sets[:2]
        near = [nearest_ratio(each.clamp(0, 1), fitted_to) for each in some_sets]
        close[name] = torch.stack(near).mean(0)
    real = torch.stack([nearest_ratio(test_digits(n, seed), fitted_to) for seed in range(seeds)])
    far = {name: each.mean(0) for name, each in distances.items()}
    copies = measures.outputs(narrows, some).clamp(0, 1)
    priors = [far[f"variational, β = {beta:g}, prior"] for beta in BETAS]
    lost = {
        f"lost, prior, β = {beta:g}": crisp[MIXTURE] - crisp[f"variational, β = {beta:g}, prior"]
        for beta in BETAS
    }
    readings = {
        **far,
        **lost,
        "mixture, narrow code ÷ pixels": far[MIXTURE] / far["mixture in pixels"],
        "mixture, narrow code ÷ tuned in pixels": far[MIXTURE] / far["tuned mixture in pixels"],
        "narrow code, mixture ÷ Gaussian": far[MIXTURE] / far["narrow code, Gaussian"],
        "mixture, narrow code ÷ Gaussian in pixels": far[MIXTURE] / far["Gaussian in pixels"],
        "error of the draws, narrow code": error_of_draws(distances[MIXTURE], fits),
        "error of the draws, pixels": error_of_draws(distances["mixture in pixels"], fits),
        "nearest / second, mixture − real": close[MIXTURE] - real,
        **{f"nearest / second, {name}": each for name, each in close.items()},
        "nearest / second, real": real,
        "copies, narrow code": frechet(copies),
        "variational, best prior": torch.stack(priors).amin(0),
        "lost, mixture, β = 0.03": crisp[MIXTURE] - crisp["variational, β = 0.03, mixture"],
        "sharpness, narrow code, mixture": crisp[MIXTURE],
        "sharpness, mixture in pixels": crisp["mixture in pixels"],
        "sharpness, narrow code, copies": measures.relative_sharpness(copies, some),
        # of a Gaussian whose variance is the error a pixel
        "β by the error": 2 * measures.clean_error(drawn[0.03], some).mean(1),
    }
    return Result(readings, {"pictures": shown}, ("pictures",))


def picture(result: Result) -> Figure:
    """Real digits, and nine of each way to make them, with its Fréchet distance."""
    return figures.grid(
        [result.show["pictures"][name] for name in ("real", *WAYS)],
        labels=["real", *(f"{words}: {result[name].mean():.0f}" for name, words in WAYS.items())],
        cell=0.6,
    )


EXPERIMENT = Experiment(
    claims=(GENERATES, BLURRIER),
    run=run,
    short={
        "seeds": 3,
        "steps": 1,
        "fits": 2,
        "draws": 1,
        "tuned": [2, 60],
        "n": 33,
        "components": 2,
        "fitted_to": 100,
    },
    full={"seeds": 6, "steps": 1000, "fits": 24, "draws": 4, "tuned": [240, 200]},
    picture=picture,
    chunk=1,
)
