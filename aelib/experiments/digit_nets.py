"""The nets of chapter 5: what they are, how each is trained, and the loop that draws with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from aelib import data, fit, models, objectives, random, runtime, sampling
from aelib.experiments.digit_diffusion import N, digits

WIDTH = 1024  # of every hidden layer: wider than the 784 pixels
CODE = 16  # numbers in a narrow code
BETAS = (0.03, 0.1)

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


def test_digits(n: int, seed: int) -> Tensor:
    """So many test digits, drawn by seed."""
    order = torch.randperm(len(digits().test), generator=random.generator(seed))
    return digits().test[order[:n]]


def plain(code: int | None = None) -> nn.Module:
    """784 → 1,024 → code → 1,024 → 784; the code of 1,024 numbers, or of fewer."""
    return models.MLPAutoencoder(digits().shape, width=WIDTH, depth=3, code=code)


def variational() -> nn.Module:
    """The same with a code of 16 that is drawn."""
    return models.VAE(digits().shape, width=WIDTH, depth=3, code=CODE)


def every_noise(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise of a standard deviation drawn for each image, between 0 and 1."""
    sigma = random.uniform(images.shape[:-3], images, generator)[..., None, None, None]
    return images + sigma * random.normal(images.shape, images, generator)


def train(build: Callable[[], nn.Module], seeds: int, steps: int, **options) -> list[nn.Module]:
    """Nets from several seeds, trained on the digits."""
    nets = models.replicate(build, seeds)
    fit(nets, digits().train, steps=steps, **{"schedule": "cosine", **options})
    return nets


@once
def narrow(seeds: int, steps: int) -> list[nn.Module]:
    """Copiers with a code of 16 numbers."""
    return train(lambda: plain(CODE), seeds, steps, label="narrow code")


@once
def vaes(seeds: int, steps: int, beta: float) -> list[nn.Module]:
    """Variational autoencoders with a code of 16."""
    objective = objectives.variational(beta)
    return train(variational, seeds, steps, objective=objective, label=f"variational, β = {beta:g}")


@once
def denoisers(seeds: int, steps: int) -> list[nn.Module]:
    """The copier's layers, taught to give back the clean digit, at every strength of noise."""
    return train(plain, seeds, steps, objective=objectives.denoise(every_noise), label="denoisers")


@once
def masked(seeds: int, steps: int) -> list[nn.Module]:
    """The copier's layers, taught to give back the whole digit when half its pixels are hidden."""
    objective = objectives.denoise(data.masked(0.5))
    return train(plain, seeds, steps, objective=objective, label="masked")


@once
def copiers(seeds: int, steps: int) -> list[nn.Module]:
    """Copiers with a code of 1,024 numbers."""
    return train(plain, seeds, steps, label="copiers")


def loop(nets: Sequence, steps: int, eta: float, draws: Sequence[int], n: int = N) -> Tensor:
    """Pictures from pure noise by copying and noising, (draws, seeds, n, channels, …).

    Drawn on a GPU where there is one.
    """
    sigmas, center = torch.linspace(1, 0.05, steps), digits().train.mean(0)

    def drawn(model: nn.Module, seed: int) -> Tensor:
        there = model.to(runtime.device())
        images = sampling.diffuse_without_diffusion(
            there, n, sigmas, eta=eta, center=center, clamp=(0, 1), seed=seed
        )
        model.cpu()
        return images.cpu()

    return torch.stack(
        [
            torch.stack([drawn(model, seed + 100 * draw) for seed, model in enumerate(nets)])
            for draw in draws
        ]
    )
