"""The code: how many directions it uses, who lies next to whom, what a linear reader sees in it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from aelib.measures.checks import as_number, as_spectrum, check_count


def spectrum(codes: Tensor) -> Tensor:
    """Variances of the codes along their own principal directions, falling: (k,), all ≥ 0.

    `codes` is (n, ...), each flattened to k elements: codes, or images to compare them with.
    Variances are over n, in the codes' units squared, so their sum is the mean ‖z − mean‖².
    `effective_rank` of them is the code's effective dimension. Source: chapter 5.
    """
    flat = _as_codes(codes, "codes").double()
    values = torch.linalg.svdvals(flat - flat.mean(0)).square() / len(flat)
    variances = flat.new_zeros(flat.shape[1])
    variances[: len(values)] = values
    return variances.to(codes.dtype)


def directions_for(variances: Tensor, share: float = 0.95) -> int:
    """How many of the largest variances hold this share of their sum. Source: chapter 5.

    >>> directions_for([6.0, 3.0, 1.0], share=0.9)
    2
    """
    share = as_number(share, "share")
    if share > 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    ordered = as_spectrum(variances).sort(descending=True).values
    if ordered[0] == 0:
        raise ValueError("variances must not all be 0, for no direction then holds a share")
    shares = ordered.cumsum(0) / ordered.sum()
    return int((shares < share - 1e-12).sum()) + 1


def shared_neighbours(first: Tensor, second: Tensor, k: int = 10) -> Tensor:
    """For each example the share of its k nearest in `first` that are also so in `second`: (n,).

    `first` and `second` describe the same n examples, one for one, such as codes and images; each
    is flattened, distances are Euclidean, and nobody is their own neighbour. 1 if the two agree;
    unrelated descriptions share k/(n − 1) on average. Source: chapter 5.
    """
    one, two = _as_codes(first, "first"), _as_codes(second, "second")
    if len(one) != len(two):
        raise ValueError(f"first and second must describe as many, got {len(one)} and {len(two)}")
    here, there = _neighbours(one, k), _neighbours(two, k)  # (n, k)
    return (here[:, :, None] == there.to(here.device)[:, None, :]).any(2).to(one.dtype).mean(1)


def neighbour_purity(codes: Tensor, labels: Tensor, k: int = 10) -> Tensor:
    """For each example the share of its k nearest neighbours that have its own label: (n,).

    Unrelated codes score the mean share of a label. Source: chapter 5.
    """
    flat = _as_codes(codes, "codes")
    labels = _as_labels(labels, "labels", len(flat)).to(flat.device)
    return (labels[_neighbours(flat, k)] == labels[:, None]).to(flat.dtype).mean(1)


def linear_reader(
    codes: Tensor,
    labels: Tensor,
    test_codes: Tensor,
    test_labels: Tensor,
    *,
    strengths: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
    seed: int = 0,
) -> Tensor:
    """Which test codes a linear classifier, fitted to labelled codes, reads right: (n,), boolean.

    Logistic regression (scikit-learn, one thread). All descriptions are read alike: centred,
    divided by one number to mean variance 1, and with the strength of regularisation that does best
    in three-fold cross-validation on the labelled codes alone; no test code is looked at before.

    Args:
        codes, labels: to fit, (n, ...) flattened and (n,); at least three of each class.
        test_codes, test_labels: to be read.
        strengths: of the fit (scikit-learn's C), to choose from.
        seed: of the folds.

    Raises:
        TypeError, ValueError: for shapes that do not fit, one class, or a class with fewer than
            three examples.

    Source: Alain and Bengio (2017), arXiv 1610.01644; chapter 5.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    flat, test = _as_codes(codes, "codes"), _as_codes(test_codes, "test_codes", least=1)
    if flat.shape[1] != test.shape[1]:
        raise ValueError(
            f"test_codes must have {flat.shape[1]} elements each, as codes, got {test.shape[1]}"
        )
    labels = _as_labels(labels, "labels", len(flat))
    test_labels = _as_labels(test_labels, "test_labels", len(test))
    counts = labels.unique(return_counts=True)[1]
    if len(counts) < 2 or int(counts.min()) < 3:
        raise ValueError(
            "labels must hold two classes or more and three examples of each, got classes of "
            f"{counts.tolist()}"
        )
    grid = [as_number(strength, "strengths") for strength in strengths]
    mean = flat.mean(0)
    scale = (flat - mean).square().mean().sqrt().clamp_min(torch.finfo(flat.dtype).tiny)
    fit, read = (((x - mean) / scale).double().cpu().numpy() for x in (flat, test))
    search = GridSearchCV(
        LogisticRegression(max_iter=300),
        {"C": grid},
        cv=StratifiedKFold(3, shuffle=True, random_state=seed),
    )
    # One thread: the fits are small, and their numbers are then the same everywhere.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a weak regulariser may need longer
        found = search.fit(fit, labels.cpu().numpy()).predict(read)
    return torch.from_numpy(found).to(test_labels.device) == test_labels


def distance_moved(path: Tensor) -> Tensor:
    """How far each walker is from its start, ‖x_t − x₀‖ / ‖x₀‖: (steps + 1, n), path[0] has 0.

    `path` is (steps + 1, n, channels, height, width), as `sampling.manifold_walk` returns it.
    ValueError for a start that is all zero. Source: chapter 5.
    """
    if not isinstance(path, Tensor) or path.dim() != 5 or path.numel() == 0:
        came = tuple(path.shape) if isinstance(path, Tensor) else type(path).__name__
        raise ValueError(f"path must be (steps + 1, n, channels, height, width), got {came}")
    length = path[0].flatten(1).norm(dim=1)
    if (length == 0).any():
        raise ValueError("path starts at an image that is all zero, so no share of it is defined")
    return (path - path[0]).flatten(2).norm(dim=2) / length


def _as_codes(codes: Tensor, name: str, least: int = 2) -> Tensor:
    """Finite codes, each flattened: (n, k)."""
    if not isinstance(codes, Tensor) or codes.dtype not in (torch.float32, torch.float64):
        came = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
        raise TypeError(f"{name} must be a float32 or float64 tensor, got {came}; try .float()")
    if codes.dim() < 2 or codes.numel() == 0 or len(codes) < least:
        raise ValueError(
            f"{name} must be (n, ...) with n of {least} or more, got shape {tuple(codes.shape)}"
        )
    if not codes.isfinite().all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity; look where from")
    return codes.detach().flatten(1)


def _as_labels(labels: Tensor, name: str, count: int) -> Tensor:
    """Whole numbers, one for each of `count` examples."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (count,):
        came = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"{name} must be {count} whole numbers, one an example, got {came}")
    return labels


def _neighbours(flat: Tensor, k: int) -> Tensor:
    """Indices of the k nearest others of each example, (n, k)."""
    check_count(k, "k", 1, len(flat) - 1, "the number of other examples")
    table = torch.cdist(flat, flat)  # (n, n)
    table.fill_diagonal_(torch.inf)
    return table.topk(k, largest=False).indices
