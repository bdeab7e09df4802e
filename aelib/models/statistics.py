"""Whose statistics a batch normalisation uses: its running ones, the batch's, or chosen images'."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aelib.models.checks import evaluating


@contextlib.contextmanager
def batch_statistics(net: nn.Module) -> Iterator[None]:
    """Inside the block every batch normalisation uses the statistics of the batch it is given.

    That is what it does in training mode, but here it holds in evaluation mode too and the running
    statistics are neither used nor changed. Every other layer is as it was.

    Source: chapter 3, "The document's own noise".
    """
    layers = _normalising(net)
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var = mean, variance


@contextlib.contextmanager
def statistics_of(net: nn.Module, images: Tensor) -> Iterator[None]:
    """Inside the block every batch normalisation uses the statistics that `images` leave in it.

    They are taken once, of all the images together, and frozen; afterwards the running statistics
    are as before.

    Source: chapter 3, "The document's own noise".
    """
    layers = _normalising(net)
    kept = [{name: value.clone() for name, value in layer.state_dict().items()} for layer in layers]
    momenta = [layer.momentum for layer in layers]
    try:
        with evaluating(net), torch.no_grad():
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # a plain mean over batches, here of one
                layer.train()
            net(images)
        yield
    finally:
        for layer, state, momentum in zip(layers, kept, momenta, strict=True):
            layer.load_state_dict(state)
            layer.momentum = momentum


def _normalising(net: nn.Module) -> list[_BatchNorm]:
    layers = [
        layer for layer in net.modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    ]  # fmt: skip
    if not layers:
        raise ValueError("net: it has no batch normalisation with running statistics")
    return layers
