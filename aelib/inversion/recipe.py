"""How to invert: a parameterization, a loss, an optimizer, and where to begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aelib import checks, random
from aelib.inversion.losses import Loss, Regularizer, SumL1, l2
from aelib.inversion.optimizers import LBFGS, GradientDescent, Optimizer
from aelib.inversion.parameterization import GRAY, Fourier, Parameterization, Pixels, Shape

Init = Callable[[Shape, torch.Generator], Tensor]
AfterStep = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class WhiteNoise:
    """An init: every pixel on its own, normal with this mean and standard deviation."""

    mean: float = GRAY
    std: float = 0.05

    def __call__(self, shape: Shape, generator: torch.Generator) -> Tensor:
        return self.mean + self.std * random.normal(shape, torch.empty(0), generator)


@dataclass(frozen=True)
class PinkNoise:
    """An init: grey, plus noise with the spectrum and colours of photographs (`Fourier`)."""

    std: float = 0.1

    def __call__(self, shape: Shape, generator: torch.Generator) -> Tensor:
        channels, height, width = shape
        n = channels * height * (width // 2 + 1) * 2
        parameters = self.std * random.normal((1, n), torch.empty(0), generator)
        return Fourier().to_image(parameters, shape)[0]


@dataclass(frozen=True)
class Blur:
    """After every step, a 3×3 Gaussian blur whose width in pixels goes from `first` to `last`.

    It mirrors at the edges, so images one pixel high or wide get a ValueError.
    """

    first: float = 2.4
    last: float = 0.4

    def __call__(self, images: Tensor, fraction: float) -> Tensor:
        if min(images.shape[2:]) < 2:
            expected, advice = "2 pixels or more a side for Blur", "take a recipe without it"
            raise ValueError(checks.message("images", expected, images, advice))
        width = self.first * (1 - fraction) + self.last * fraction
        side = torch.tensor(-0.5 / width**2, dtype=torch.float64).exp().item()
        taps = torch.tensor([side, 1.0, side], dtype=torch.float64) / (1 + 2 * side)
        kernel = torch.outer(taps, taps).to(images).expand(images.shape[1], 1, 3, 3)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel, groups=images.shape[1])


@dataclass(frozen=True)
class Recipe:
    """The parts of an inversion. Swap one with `dataclasses.replace`.

    Args:
        parameterization: what descends (`Fourier`, `Pixels`).
        loss: features and targets to one loss a row (`l2`, `l1`, `cosine`).
        regularizer: images to one further loss a row, such as `TotalVariation(0.1)`; or None.
        optimizer: `LBFGS`, `Adam` or `GradientDescent`.
        after_step: changes the images after every step, given the fraction of the steps done; None
            for nothing. It needs `Pixels` and cannot be captured as a CUDA graph.
        init: (shape, generator) to the first image (`PinkNoise`, `WhiteNoise`).
        init_contrast: what is left of the init's contrast before the descent, x₀ ← ½ + c·(x₀ − ½).
            What the layer does not see of x₀ stays in the result, so the less there is the better.
            1 begins at the init itself.
        equalize: scale `Fourier`'s coefficients by what the layer hears of each, to the power
            −equalize (`equalizer.equalized`): 0 to leave them, ½ at most.
        leak: slope that the flat sides of nn.ReLU and nn.ReLU6 pass back (`leak.leaky`), falling
            to the true 0 over the first `leak_steps` steps; the model's answers stay exact.
        leak_steps: see `leak`.
        steps: evaluations of the model and its gradient.
        keep_best: whether the image with the least loss is kept, or the last one.

    >>> recipe = Recipe(parameterization=Pixels(), init_contrast=1.0, steps=50)
    >>> recipe.optimizer
    LBFGS(history_size=6, memory=3, armijo=0.0001, max_backtracks=12)
    """

    parameterization: Parameterization = field(default_factory=Fourier)
    loss: Loss = l2
    regularizer: Regularizer | None = None
    optimizer: Optimizer = field(default_factory=LBFGS)
    after_step: AfterStep | None = None
    init: Init = field(default_factory=PinkNoise)
    init_contrast: float = 0.1
    equalize: float = 0.0
    leak: float = 0.0
    leak_steps: int = 100
    steps: int = 150
    keep_best: bool = True


# The loop of Badger (2022), arXiv 2211.06496, with the numbers of its published code.
BADGER_2022 = Recipe(
    parameterization=Pixels(),
    loss=SumL1(0.15),
    optimizer=GradientDescent(0.1, 0.1),
    after_step=Blur(2.4, 0.4),
    init=WhiteNoise(0.7, 1 / 20),
    init_contrast=1.0,
    steps=500,
    keep_best=False,
)
# For trained weights: on nets with random ones it comes nearer in the layer, and no nearer to the
# image. The three numbers were chosen on EfficientNet-Lite1 and -Lite2 with trained weights; with a
# steeper spectrum the picture is nearer at most of their layers, and at a deep one searches stall.
TRAINED = Recipe(init_contrast=0.01, equalize=0.25, leak=0.2)
RECIPES = {"default": Recipe(), "trained": TRAINED, "badger2022": BADGER_2022}


def find_recipe(recipe: str | Recipe) -> Recipe:
    """The recipe of this name, or the one given.

    Raises:
        ValueError: for an unknown name, or an `after_step` on anything but pixels.
        TypeError: for what is neither.
    """
    if isinstance(recipe, str):
        return RECIPES[checks.choice(recipe, "recipe", RECIPES)]
    if not isinstance(recipe, Recipe):
        raise TypeError(checks.message("recipe", "a name or a Recipe", recipe))
    checks.number(recipe.equalize, "equalize", least=0, most=0.5)
    checks.number(recipe.leak, "leak", least=0, most=1)
    checks.whole(recipe.leak_steps, "leak_steps", least=1)
    if recipe.equalize and not isinstance(recipe.parameterization, Fourier):
        expected = "parameterization=Fourier() beside `equalize`, which scales its coefficients"
        raise ValueError(checks.message("recipe", expected, recipe.parameterization))
    if recipe.after_step is not None and not isinstance(recipe.parameterization, Pixels):
        expected = "parameterization=Pixels() beside `after_step`, which changes pixels"
        raise ValueError(checks.message("recipe", expected, recipe.parameterization))
    return recipe
