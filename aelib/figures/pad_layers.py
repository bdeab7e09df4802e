"""A decoder as a page runs it: its layers by name, its weights in one row, and how exact it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

GAP = 2e-3  # grey levels: how far the page's picture may be from torch's


def translated(decoder: nn.Module, elements: int) -> tuple[list[dict], np.ndarray]:
    """The decoder as the page's script reads it: layers, and all their weights in one row."""
    from torch import nn

    bends: dict[type, Callable[[Any], dict]] = {
        nn.ReLU: lambda _: {"bend": "relu"},
        nn.LeakyReLU: lambda layer: {"bend": "leaky", "slope": layer.negative_slope},
        nn.ELU: lambda layer: {"bend": "elu", "slope": layer.alpha},
        nn.SELU: lambda _: {"bend": "selu"},
        nn.GELU: lambda layer: {"bend": "gelu_tanh" if layer.approximate == "tanh" else "gelu"},
        nn.SiLU: lambda _: {"bend": "silu"},
        nn.Tanh: lambda _: {"bend": "tanh"},
        nn.Sigmoid: lambda _: {"bend": "sigmoid"},
    }
    silent = (nn.Identity, nn.Dropout, nn.Flatten, nn.Unflatten)
    stack = decoder if isinstance(decoder, nn.Sequential) else getattr(decoder, "decoder", None)
    if not isinstance(stack, nn.Sequential):
        raise TypeError(
            f"decoder: expected an nn.Sequential, or a model with one called decoder, got "
            f"{type(decoder).__name__}"
        )
    layers: list[dict] = []
    weights: list[np.ndarray] = []
    width = 2
    for at, layer in enumerate(stack):
        if isinstance(layer, nn.Linear):
            if layer.in_features != width:
                what = "its code is" if not weights else f"layer {at} takes"
                raise ValueError(
                    f"decoder: {what} {layer.in_features} wide, expected {width}; a pad has two "
                    "directions, so train with code=2"
                )
            width = layer.out_features
            layers.append({"to": width, "bias": layer.bias is not None})
            weights += [one.numpy(force=True).ravel() for one in (layer.weight, layer.bias)
                        if one is not None]  # fmt: skip
        elif type(layer) in bends:
            layers.append(bends[type(layer)](layer))
        elif not isinstance(layer, silent):
            known = ", ".join(sorted(kind.__name__ for kind in (nn.Linear, *bends)))
            raise TypeError(
                f"decoder: layer {at}, {type(layer).__name__}, cannot be translated for the page; "
                f"known: {known}"
            )
    if width != elements or not weights:
        raise ValueError(
            f"decoder: it draws {width} elements, but an image has {elements}; check shape"
        )
    return layers, np.concatenate(weights)


def page_decode(layers: list[dict], weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """What the page's script computes, (n, d), with weights rounded to float16."""
    import torch
    from torch.nn import functional

    names = {"leaky": "leaky_relu", "gelu_tanh": "gelu"}
    rounded = torch.from_numpy(weights.astype(np.float16).astype(np.float64))
    x, at = torch.from_numpy(codes), 0
    for layer in layers:
        if "to" in layer:
            size = layer["to"] * x.shape[1]
            x = x @ rounded[at : at + size].view(layer["to"], -1).T
            at += size
            if layer["bias"]:
                x = x + rounded[at : at + layer["to"]]
                at += layer["to"]
            continue
        bend = layer["bend"]
        extra = {"approximate": "tanh"} if bend == "gelu_tanh" else {}
        slope = [layer["slope"]] if "slope" in layer else []
        function = getattr(torch, bend, None) or getattr(functional, names.get(bend, bend))
        x = function(x, *slope, **extra)
    return x.numpy()


def run_decoder(decoder: nn.Module, codes: np.ndarray) -> np.ndarray:
    """The decoder's own pictures, (n, d): in evaluation mode, as it stands."""
    import torch

    from ..models import evaluating

    like = next(decoder.parameters())
    function = getattr(decoder, "decode", decoder)
    with evaluating(decoder), torch.no_grad():
        return function(torch.from_numpy(codes).to(like)).flatten(1).double().numpy(force=True)


def page_gap(
    decoder: nn.Module, codes: np.ndarray, layers: list[dict], weights: np.ndarray
) -> float:
    """The largest difference between the page's pictures and torch's; refused above `GAP`."""
    gap = float(np.abs(page_decode(layers, weights, codes) - run_decoder(decoder, codes)).max())
    if not gap <= GAP:
        raise ValueError(
            f"decoder: its copy on the page would be up to {gap:.2g} grey levels off, more than "
            f"{GAP}: either decode does more than its layers, or the weights are too large for "
            "float16; scale the codes, or train with a smaller gain"
        )
    return gap
