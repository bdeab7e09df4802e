"""Who lies next to whom in a code, in pixels or in any other description of the same examples."""

from __future__ import annotations

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import FLOATS
from aelib.measures.seeds import Seeds, over_seeds


@over_seeds(first=(2, 4), second=(2, 4))
def shared_neighbors(first: Seeds[Tensor], second: Seeds[Tensor], k: int = 10) -> Tensor:
    """For each example the share of its k nearest in `first` that are also so in `second`: (n,).

    `first` and `second` describe the same n examples, one for one, such as codes and images; each
    is flattened, distances are Euclidean, and nobody is their own neighbour. 1 if the two agree;
    unrelated descriptions share k/(n − 1) on average. Source: chapter 5.

    >>> codes = torch.tensor([[0.0], [1.0], [5.0], [7.0]])
    >>> shared_neighbors(codes, codes**2, k=1)
    tensor([1., 1., 0., 1.])
    """
    rows = checks.rows(first, "first", least=2, dtypes=FLOATS)
    others = checks.rows(second, "second", least=2, dtypes=FLOATS)
    checks.tensor(others, "second", (len(rows), "k"), advice="first and second pair one for one")
    near, near_others = _neighbors(rows, k), _neighbors(others, k).to(rows.device)  # (n, k)
    return (near[:, :, None] == near_others[:, None, :]).any(2).to(rows.dtype).mean(1)


@over_seeds(codes=(2, 4), labels=1)
def neighbor_purity(codes: Seeds[Tensor], labels: Seeds[Tensor], k: int = 10) -> Tensor:
    """For each example the share of its k nearest neighbours that have its own label: (n,).

    Unrelated codes score the mean share of a label. Source: chapter 5.

    >>> neighbor_purity(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1]), k=1)
    tensor([1., 1., 1., 1.])
    """
    rows = checks.rows(codes, "codes", least=2, dtypes=FLOATS)
    classes = checks.labels(labels, len(rows)).to(rows.device)
    return (classes[_neighbors(rows, k)] == classes[:, None]).to(rows.dtype).mean(1)


def _neighbors(rows: Tensor, k: int) -> Tensor:
    """Indices of the k nearest others of each example, (n, k)."""
    k = checks.whole(k, "k", least=1, most=len(rows) - 1, limit="the number of other examples")
    # Distances are made of squares, of which far from 0 little would be left.
    centred = (rows - rows.mean(0)).double()
    table = torch.cdist(centred, centred)  # (n, n)
    table.fill_diagonal_(torch.inf)
    return table.topk(k, largest=False).indices
