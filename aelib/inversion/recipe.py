"""How to invert: a parameterisation, a distance, an optimiser, and where to begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aelib import checks
from aelib.inversion.descent import LBFGS, GradientDescent, Optimiser
from aelib.inversion.distance import Cost, Distance, l2
from aelib.inversion.image import GREY, Fourier, Parameterisation, Pixels

Start = Callable[[tuple[int, int, int], torch.Generator], Tensor]
After = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Noise:
    """A start: every pixel on its own, normal with this mean and standard deviation."""

    mean: float = GREY
    deviation: float = 0.05

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return self.mean + self.deviation * torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class Clouds:
    """A start: grey, plus noise with the spectrum and colours of photographs (`Fourier`)."""

    deviation: float = 0.1

    def __call__(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        channels, height, width = shape
        numbers = torch.randn(1, channels * height * (width // 2 + 1) * 2, generator=generator)
        return Fourier().image(self.deviation * numbers, shape)[0]


@dataclass(frozen=True)
class Blur:
    """After every step, a 3×3 Gaussian blur whose width in pixels goes from `first` to `last`."""

    first: float = 2.4
    last: float = 0.4

    def __call__(self, images: Tensor, share: float) -> Tensor:
        width = self.first * (1 - share) + self.last * share
        side = torch.tensor(-0.5 / width**2, dtype=torch.float64).exp().item()
        taps = torch.tensor([side, 1.0, side], dtype=torch.float64) / (1 + 2 * side)
        kernel = torch.outer(taps, taps).to(images).expand(images.shape[1], 1, 3, 3)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel, groups=images.shape[1])


@dataclass(frozen=True)
class SumL1:
    """weight · Σ|y − y*|, not divided by anything: the published loop's loss."""

    weight: float

    def __call__(self, features: Tensor, targets: Tensor) -> Tensor:
        return self.weight * (features - targets).flatten(1).abs().sum(1)


@dataclass(frozen=True)
class Recipe:
    """The parts of an inversion. Swap one with `dataclasses.replace`.

    Args:
        image: what descends (`Fourier`, `Pixels`).
        distance: features and targets to one loss a row (`l2`, `l1`, `cosine`).
        cost: images to one further loss a row, such as `TotalVariation(0.1)`; None for none.
        optimiser: `LBFGS`, `Adam` or `GradientDescent`.
        after: changes the images after every step, given the share of the steps done; None for
            nothing. It needs `Pixels` and cannot be captured as a CUDA graph.
        start: (shape, generator) to the first image.
        pale: what is left of the start's contrast before the descent, x₀ ← ½ + pale·(x₀ − ½).
            What the layer does not see of a start stays in the result, so the less there is the
            better. 1 begins at the start itself.
        steps: evaluations of the net and its gradient.
        best: whether the image with the least loss is kept, or the last one.
    """

    image: Parameterisation = field(default_factory=Fourier)
    distance: Distance = l2
    cost: Cost | None = None
    optimiser: Optimiser = field(default_factory=LBFGS)
    after: After | None = None
    start: Start = field(default_factory=Clouds)
    pale: float = 0.1
    steps: int = 150
    best: bool = True


# The loop of Badger (2022), arXiv 2211.06496, with the numbers of its published code.
BADGER_2022 = Recipe(
    image=Pixels(),
    distance=SumL1(0.15),
    optimiser=GradientDescent(0.1, 0.1),
    after=Blur(2.4, 0.4),
    start=Noise(0.7, 1 / 20),
    pale=1.0,
    steps=500,
    best=False,
)
RECIPES = {"default": Recipe(), "badger2022": BADGER_2022}


def recipe(chosen: str | Recipe) -> Recipe:
    """The recipe of this name, or the one given.

    Raises:
        ValueError: for an unknown name, or an `after` on anything but pixels.
        TypeError: for what is neither.
    """
    if isinstance(chosen, str):
        if chosen not in RECIPES:
            raise ValueError(f"recipe is {chosen!r}; {checks.nearest(chosen, list(RECIPES))}")
        return RECIPES[chosen]
    if not isinstance(chosen, Recipe):
        raise TypeError(
            f"recipe: expected one of {', '.join(map(repr, RECIPES))} or a Recipe, got {chosen!r}"
        )
    if chosen.after is not None and not isinstance(chosen.image, Pixels):
        raise ValueError("recipe: `after` changes pixels; use it with image=Pixels()")
    return chosen
