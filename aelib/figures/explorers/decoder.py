"""A decoder as a page runs it: its layers by name, its weights in one row, and how exact it is."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from aelib import checks, models

GAP = 2e-3  # grey levels: how far the page's picture may be from torch's

Layer = dict[str, Any]

# What the page's script knows, under the names it has there.
ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.ReLU: lambda _: {"activation": "relu"},
    nn.LeakyReLU: lambda layer: {"activation": "leaky_relu", "slope": layer.negative_slope},
    nn.ELU: lambda layer: {"activation": "elu", "slope": layer.alpha},
    nn.SELU: lambda _: {"activation": "selu"},
    nn.GELU: lambda layer: {"activation": "gelu_tanh" if layer.approximate == "tanh" else "gelu"},
    nn.SiLU: lambda _: {"activation": "silu"},
    nn.Tanh: lambda _: {"activation": "tanh"},
    nn.Sigmoid: lambda _: {"activation": "sigmoid"},
}
IGNORED = (nn.Identity, nn.Dropout, nn.Flatten, nn.Unflatten)  # these leave the numbers as they are


def translated(decoder: nn.Module, elements: int, takes: int = 2) -> tuple[list[Layer], np.ndarray]:
    """The decoder as the page's script reads it: layers, and all their weights in one row.

    Args:
        decoder: from `takes` numbers to `elements`.
    """
    stack = decoder if isinstance(decoder, nn.Sequential) else getattr(decoder, "decoder", None)
    if not isinstance(stack, nn.Sequential):
        expected = "an nn.Sequential, or a model with one called decoder"
        raise TypeError(checks.message("decoder", expected, decoder))
    layers: list[Layer] = []
    weights: list[np.ndarray] = []
    width = takes
    for i, layer in enumerate(stack):
        if isinstance(layer, nn.Linear):
            if layer.in_features != width:
                expected = f"layer {i} to take {width} numbers"
                advice = (
                    ""
                    if weights or takes != 2
                    else "a code has two numbers here: train with code=2"
                )
                raise ValueError(checks.message("decoder", expected, layer.in_features, advice))
            width = layer.out_features
            layers.append({"features": width, "bias": layer.bias is not None})
            weights += [row.numpy(force=True).ravel() for row in layer.parameters()]
        elif type(layer) in ACTIVATIONS:
            layers.append(ACTIVATIONS[type(layer)](layer))
        elif not isinstance(layer, IGNORED):
            known = ", ".join(sorted(kind.__name__ for kind in (nn.Linear, *ACTIVATIONS)))
            expected, got = f"layers among {known}", f"{type(layer).__name__} as layer {i}"
            raise TypeError(checks.message("decoder", expected, checks.Described(got)))
    if width != elements or not weights:
        expected, got = f"one that draws the image's {elements} elements", checks.Described(width)
        raise ValueError(checks.message("decoder", expected, got, "check shape"))
    return layers, np.concatenate(weights)


def packed(values: Any, kind: str) -> str:
    """Numbers of a kind, such as "<f2" for float16, as text for a page's script."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def page_decode(layers: list[Layer], weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """What the page's script computes, (n, d), with weights rounded to float16."""
    functions: dict[str, Callable] = {
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "selu": functional.selu,
        "gelu": functional.gelu,
        "gelu_tanh": partial(functional.gelu, approximate="tanh"),
        "silu": functional.silu,
    }
    rounded = torch.from_numpy(weights.astype(np.float16).astype(np.float64))
    x, start = torch.from_numpy(codes), 0
    for layer in layers:
        if "features" in layer:
            end = start + layer["features"] * x.shape[1]
            x = x @ rounded[start:end].view(layer["features"], -1).T
            start = end
            if layer["bias"]:
                x = x + rounded[start : start + layer["features"]]
                start += layer["features"]
        else:
            name, slope = layer["activation"], [layer["slope"]] if "slope" in layer else []
            x = (functions.get(name) or getattr(torch, name))(x, *slope)
    return x.numpy()


def run_decoder(decoder: nn.Module, codes: np.ndarray) -> np.ndarray:
    """The decoder's own pictures, (n, d): in evaluation mode, as it stands."""
    like = next(decoder.parameters())
    decode = getattr(decoder, "decode", decoder)
    with models.evaluating(decoder), torch.no_grad():
        return decode(torch.from_numpy(codes).to(like)).flatten(1).double().numpy(force=True)


def page_gap(
    decoder: nn.Module, codes: np.ndarray, layers: list[Layer], weights: np.ndarray
) -> float:
    """The largest difference between the page's pictures and torch's; refused above `GAP`."""
    gap = float(np.abs(page_decode(layers, weights, codes) - run_decoder(decoder, codes)).max())
    if not gap <= GAP:
        expected = f"one whose copy on the page is within {GAP} grey levels of it"
        advice = (
            "either decode does more than its layers, or the weights are too large for float16: "
            "scale the codes, or train with a smaller gain"
        )
        raise ValueError(
            checks.message("decoder", expected, checks.Described(f"{gap:.2g}"), advice)
        )
    return gap
