"""How a model starts: its activations, its first weights, the same model from several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from aelib import checks, random

M = TypeVar("M", bound=nn.Module)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}

# Standard deviation of a weight at the start, times √fan_in.
INITS = {"torch": 1 / math.sqrt(3), "lecun": 1.0, "he": math.sqrt(2)}


def replicate(build: Callable[[], M], seeds: int = 3, first: int = 0) -> list[M]:
    """`seeds` models from `build()`, the i-th one started from seed `first` + i.

    The global generator is left as it was. `fit` trains the list in one call.

    Raises:
        TypeError: if `build` is a model instead of a function that builds one.
        ValueError: if it gives one model twice, or models whose weights are not drawn yet.

    >>> models = replicate(lambda: nn.Linear(2, 2), seeds=2)
    >>> bool((models[0].weight == models[1].weight).any())
    False
    """
    example = "lambda: models.UNet(shape)"
    if isinstance(build, nn.Module):
        raise TypeError(checks.message("build", f"a function, such as {example}", build))
    checks.function(build, "build", example)
    checks.whole(seeds, "seeds", least=1)
    checks.whole(first, "first")
    models = []
    for seed in range(first, first + seeds):
        with random.seeded(seed):
            models.append(checks.module(build(), "build()"))
    if len(set(map(id, models))) < seeds:
        got = checks.Described("the same one twice")
        raise ValueError(checks.message("build", "a new model at each call", got))
    return models


def init_weights(model: nn.Module, init: str = "torch", gain: float = 1.0) -> nn.Module:
    """Draw the weights of every `nn.Linear` and `nn.Conv2d` of `model` anew.

    They are independent, of mean 0 and deviation gain·c/√fan_in.

    c is 1/√3 for "torch" (uniform; what PyTorch draws by default), 1 for "lecun" and √2 for "he"
    (normal). Biases follow PyTorch's default for "torch" and are 0 otherwise, times gain too.

    Raises:
        ValueError, TypeError: for an unknown init, or a gain that is no finite number of 0 or more.
    """
    checks.choice(init, "init", INITS)
    checks.number(gain, "gain", least=0)
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        fan_in = layer.weight[0].numel()
        bound = gain / math.sqrt(fan_in)
        if init == "torch":
            nn.init.uniform_(layer.weight, -bound, bound)
        else:
            nn.init.normal_(layer.weight, std=bound * INITS[init])
        if layer.bias is None:
            continue
        if init == "torch":
            nn.init.uniform_(layer.bias, -bound, bound)
        else:
            nn.init.zeros_(layer.bias)
    return model


def make_activation(name: str) -> nn.Module:
    """The activation called `name`, as a module; ValueError for an unknown name."""
    return ACTIVATIONS[checks.choice(name, "activation", ACTIVATIONS)]()


def count_parameters(model: nn.Module) -> int:
    """How many numbers training may change.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
