"""The nets of chapter 5: what they are, how each is trained, and what they draw."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from aelib import data, fit, measures, models, objectives, random, sampling
from aelib.experiments.judge import digits
from aelib.training import History

BETAS = (0.03, 0.1, 0.3)
SCHEDULE = objectives.cosine_schedule(200)
RECORDS = (100, 200, 400, 800, 1500, 3000, 6000, 12000)
APPLIED = (3, 10, 30)
N = 360  # pictures in a drawn set, as many as there are test digits

P = ParamSpec("P")
R = TypeVar("R")


def once(train: Callable[P, R]) -> Callable[P, R]:
    """What is trained with the same settings and the same seeds is trained once in a process.

    Seeds that are moved are others: what was trained before they moved is not given back.
    """

    @cache
    def known(offset: int, *args: P.args, **kwargs: P.kwargs) -> R:
        return train(*args, **kwargs)

    @wraps(train)
    def ask(*args: P.args, **kwargs: P.kwargs) -> R:
        return known(random.offset(), *args, **kwargs)

    return ask


class Trained(NamedTuple):
    """Nets from several seeds, and the processor seconds one of them took."""

    models: list
    seconds: float


def plain(code: int | None = None) -> nn.Module:
    """Chapter 2's net, 256 wide; a code of as many numbers, or fewer."""
    return models.MLPAutoencoder(digits().shape, width=256, depth=5, code=code)


def variational() -> nn.Module:
    """The same with a code of 8 that is drawn."""
    return models.VAE(digits().shape, width=256, depth=5, code=8)


def every_noise(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise of a standard deviation drawn for each image, between 0 and 1."""
    sigma = random.uniform(images.shape[:-3], images, generator)[..., None, None, None]
    return images + sigma * random.normal(images.shape, images, generator)


def train(build: Callable[[], nn.Module], seeds: int, steps: int, **options) -> Trained:
    """Nets from several seeds, trained on the digits."""
    nets = models.replicate(build, seeds)
    began = time.process_time()
    fit(nets, digits().train, steps=steps, **options)
    return Trained(nets, (time.process_time() - began) / seeds)


@once
def narrow(seeds: int, steps: int) -> Trained:
    """Copiers with a code of 8 numbers."""
    return train(lambda: plain(8), seeds, steps, label="code of 8")


@once
def vaes(seeds: int, steps: int, beta: float) -> Trained:
    """Variational autoencoders with a code of 8."""
    objective = objectives.variational(beta)
    return train(variational, seeds, steps, objective=objective, label=f"variational, β = {beta:g}")


@once
def denoisers(seeds: int, steps: int) -> Trained:
    """The copier's layers, taught to give back the clean digit, at every strength of noise."""
    objective = objectives.denoise(every_noise)
    return train(plain, seeds, steps, objective=objective, lr=3e-4, label="denoisers")


@once
def masked(seeds: int, steps: int) -> Trained:
    """The copier's layers, taught to give back the whole digit when half its pixels are hidden."""
    objective = objectives.denoise(data.masked(0.5))
    return train(plain, seeds, steps, objective=objective, lr=3e-4, label="masked")


@once
def diffusion(seeds: int, steps: int) -> Trained:
    """Chapter 4's U-Net, by chapter 4's recipe."""

    def build() -> nn.Module:
        return models.DiffusionUNet(digits().shape, width=16, steps=SCHEDULE.steps)

    objective = objectives.diffusion(SCHEDULE)
    recipe = {"batch_size": 32, "lr": 4e-3, "schedule": "cosine"}
    return train(build, seeds, steps, objective=objective, label="diffusion models", **recipe)


def draw(model: nn.Module, n: int, seed: int) -> Tensor:
    """`n` digits from a diffusion model in 25 random steps, as chapter 4 draws them."""
    return sampling.sample(model, SCHEDULE, n, steps=25, eta=1.0, seed=seed)


def walked(times: int) -> Callable[[nn.Module], Tensor]:
    """The share of test digits that so many applications move by over 0.3 of their length."""

    def share(model: nn.Module) -> Tensor:
        path = sampling.self_map(model, digits().test, times, clamp=(0, 1))
        return (measures.distance_moved(path)[-1] > 0.3).float().mean()

    return share


@once
def copiers(seeds: int, steps: int) -> tuple[list, History]:
    """Copiers, and how many digits walk under them while they learn."""
    nets = models.replicate(plain, seeds)
    history = fit(
        nets,
        digits().train,
        steps=steps,
        lr=3e-4,
        log_at=[0, *(step for step in RECORDS if step <= steps)],
        metrics={f"walked {times}": walked(times) for times in APPLIED},
        label="copiers",
    )
    return nets, history


def loop(nets: Sequence, steps: int, eta: float, draws: Sequence[int], n: int = N) -> Tensor:
    """Pictures from pure noise by copying and noising, (draws, seeds, n, channels, …)."""
    sigmas = torch.linspace(1, 0.05, steps)
    return torch.stack(
        [
            torch.stack(
                [
                    sampling.diffuse_without_diffusion(
                        model,
                        n,
                        sigmas,
                        eta=eta,
                        center=digits().train.mean(0),
                        clamp=(0, 1),
                        seed=seed + 100 * draw,
                    )
                    for seed, model in enumerate(nets)
                ]
            )
            for draw in draws
        ]
    )
