"""Which images to show first, so that all classes are among them."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def varied(labels: Tensor | None, n: int) -> np.ndarray:
    """Indices of n images such that the first ones are of different classes.

    >>> import torch
    >>> varied(torch.tensor([5, 5, 3, 5, 4]), 5).tolist()
    [0, 2, 4, 1, 3]
    """
    if labels is None:
        return np.arange(n)
    kinds = labels.numpy(force=True)
    earlier = [int((kinds[:i] == kind).sum()) for i, kind in enumerate(kinds)]
    return np.argsort(earlier, kind="stable")
