"""How a layer stretches the neighbourhood of an image: its Jacobian's largest singular values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib.inversion.descent import reference_noise
from aelib.inversion.nodes import check_model, check_names, device_of
from aelib.inversion.probe import check_layers
from aelib.inversion.reading import OUTPUT, Forward, frozen, reader
from aelib.measures.leading import Leading, leading_singular_values


@torch.inference_mode(False)  # a caller's own would leave no gradient
def spectrum(
    model: nn.Module,
    images: Tensor,
    layers: str | Sequence[str] = OUTPUT,
    k: int = 20,
    *,
    forward: Forward | None = None,
    iterations: int = 4,
    oversampling: int = 10,
    rows: int = 8,
    seed: int = 0,
) -> dict[str, Leading]:
    """The k largest singular values of ∂O_l/∂x at each image, by layer: what it sees best nearby.

    A direction of x that a layer squeezes to nothing is one that no search can read back. Each
    layer costs (2 · `iterations` + 2) · (k + `oversampling`) vectors an image, some two passes of
    the cut model each; the model stays as it is.

    Args:
        model, images, layers, forward: as for `invert`.
        k, iterations, oversampling, rows, seed: as for `measures.leading_singular_values`.

    Returns:
        By layer a `measures.Leading`: `values` (images, k), on the model's device; `share` of
        ‖J‖²_F; `rank(tolerance)`.

    Raises:
        ValueError, TypeError: for arguments, layers or models that cannot work, as for `invert`; a
            model that torch cannot differentiate twice.

    Source: chapter 4.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False))
    >>> nn.init.orthogonal_(model[1].weight, gain=2).shape
    torch.Size([3, 64])
    >>> found = spectrum(model, torch.rand(1, 1, 8, 8), "1", k=3)["1"]
    >>> found.values.round(decimals=4), found.rank()
    (tensor([[2., 2., 2.]]), tensor([3]))
    """
    model = check_model(model, images)
    names = check_names(model, layers, images, forward)
    images = images.detach().to(device_of(model, images))
    how = {"iterations": iterations, "oversampling": oversampling, "rows": rows, "seed": seed}
    found = {}
    with frozen(model):
        check_layers(model, images, names, reference_noise(0, images[0]), forward)
        for name in names:
            with reader(model, name, forward) as read:
                found[name] = leading_singular_values(read, images, k, **how)
    return found
