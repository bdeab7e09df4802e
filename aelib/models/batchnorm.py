"""Whose statistics a batch normalisation uses: its running ones, the batch's, or chosen images'."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aelib import checks
from aelib.models.modes import evaluating


@contextlib.contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Inside the block every batch normalisation uses the statistics of the batch it is given.

    That is what it does in training mode, but here it holds in evaluation mode too and the running
    statistics are neither used nor changed. Every other layer is as it was.

    Raises:
        ValueError: for a model without batch normalisation.

    Source: chapter 3, "The case of the fifteen decibels".
    """
    layers = _normalizing(model)
    running = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, running, strict=True):
            layer.running_mean, layer.running_var = mean, variance


@contextlib.contextmanager
def statistics_of(
    model: nn.Module, images: Tensor, batch_size: int | None = None
) -> Iterator[None]:
    """`calibrate` for the length of a block; afterwards the running statistics are as before.

    Source: chapter 3, "The case of the fifteen decibels".
    """
    with contextlib.ExitStack() as undo:
        for layer in _normalizing(model):
            undo.callback(layer.load_state_dict, _state(layer))
        calibrate(model, images, batch_size)
        yield


def calibrate(model: nn.Module, images: Tensor, batch_size: int | None = None) -> nn.Module:
    """Set the running statistics of every batch normalisation to those that `images` leave in it.

    For good: evaluation mode uses them from now on. Weights, modes and momenta are as before; after
    an error, the statistics too.

    Args:
        model: with batch normalisation.
        images: (n, ...), as the model takes them.
        batch_size: images that go through at once; their statistics are a plain mean over batches.
            None for all at once.

    Returns:
        The model itself.

    Raises:
        ValueError, TypeError: for a model without batch normalisation, or images it cannot take.

    Source: chapter 4, where an untrained model gets the statistics that a trained one has.

    >>> model = nn.Sequential(nn.BatchNorm2d(1))
    >>> calibrate(model, torch.full((4, 1, 2, 2), 0.25))[0].running_mean
    tensor([0.2500])
    """
    layers = _normalizing(model)
    images = checks.tensor(images, "images", ("n", ...))
    n = len(images) if batch_size is None else checks.whole(batch_size, "batch_size", least=1)
    with contextlib.ExitStack() as undo:
        for layer in layers:
            undo.callback(layer.load_state_dict, _state(layer))
        momenta = [layer.momentum for layer in layers]
        try:
            with evaluating(model), torch.no_grad():
                for layer in layers:
                    layer.reset_running_stats()
                    layer.momentum = None  # a plain mean over batches
                    layer.train()
                for batch in images.split(n):
                    model(batch)
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
        undo.pop_all()  # all went well: nothing to undo
    return model


def _state(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.state_dict().items()}


def _normalizing(model: nn.Module) -> list[_BatchNorm]:
    layers = [
        layer for layer in checks.module(model).modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    ]  # fmt: skip
    if not layers:
        got = checks.Described(f"{type(model).__name__} without")
        raise ValueError(checks.message("model", "one with batch normalisation and its running "
                                        "statistics", got))  # fmt: skip
    return layers
