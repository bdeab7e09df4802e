"""How a net starts: its activations, its first weights, the same net from several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from aelib import checks, random
from aelib.models.checks import check_gain

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}

# Standard deviation of a weight at the start, times √fan_in.
STARTS = {"torch": 1 / math.sqrt(3), "lecun": 1.0, "he": math.sqrt(2)}


def replicate(build: Callable[[], nn.Module], seeds: int = 3, first: int = 0) -> list[nn.Module]:
    """`seeds` models from `build()`, the i-th one started from seed `first` + i.

    The global generator is left as it was. `fit` trains the list in one call.
    """
    checks.whole(seeds, "seeds", least=1)
    checks.whole(first, "first")
    models = []
    for seed in range(first, first + seeds):
        with random.seeded(seed):
            models.append(build())
    return models


def start_weights(model: nn.Module, start: str = "torch", gain: float = 1.0) -> nn.Module:
    """Draw every weight matrix of `model` anew: independent, mean 0, deviation gain·c/√fan_in.

    c is 1/√3 for "torch" (uniform; what PyTorch draws by default), 1 for "lecun" and √2 for "he"
    (normal). Biases follow PyTorch's default for "torch" and are 0 otherwise, times gain too.

    Raises:
        ValueError: for an unknown start, or a gain that is negative or not finite.
    """
    if start not in STARTS:
        raise ValueError(f"start is {start!r}; {checks.nearest(start, list(STARTS))}")
    check_gain(gain)
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        fan_in = layer.weight[0].numel()
        bound = gain / math.sqrt(fan_in)
        if start == "torch":
            nn.init.uniform_(layer.weight, -bound, bound)
        else:
            nn.init.normal_(layer.weight, std=bound * STARTS[start])
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -bound, bound) if start == "torch" else nn.init.zeros_(
                layer.bias
            )
    return model


def make_activation(name: str) -> nn.Module:
    """The activation called `name`, as a module.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; {checks.nearest(name, list(ACTIVATIONS))}")
    return ACTIVATIONS[name]()


def count_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
