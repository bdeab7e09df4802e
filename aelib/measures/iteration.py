"""A map applied to its own output: where it goes, and how far."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from aelib import checks
from aelib.measures.evaluate import Model, as_images, batch_size, run_batch
from aelib.measures.seeds import Seeds, over_seeds
from aelib.models import evaluating


@over_seeds("model", images=4)
def iterate(model: Seeds[Model], images: Seeds[Tensor], times: int) -> Tensor:
    """O(O(… O(a))), `times` times: the images' shape; `times=0` gives the images back.

    The one function whose result may be non-finite: the map may diverge. A batch whose images no
    longer change stops early, which for a deterministic model gives the same end. Source:
    chapter 2.

    >>> iterate(lambda x: x / 2, torch.ones(1, 1, 1, 1), 3).item()
    0.125
    """
    images = as_images(images)
    times = checks.whole(times, "times", least=0)
    ends = []
    with evaluating(cast(Model, model)), torch.no_grad():
        for batch in images.split(batch_size(images)):
            for _ in range(times):
                before, batch = batch, run_batch(model, batch, finite=False)
                if torch.equal(before, batch):
                    break
            ends.append(batch)
    return torch.cat(ends)


@over_seeds(path=5)
def distance_moved(path: Seeds[Tensor]) -> Tensor:
    """How far each walker is from its start, ‖x_t − x₀‖ / ‖x₀‖: (steps + 1, n), path[0] has 0.

    `path` is (steps + 1, n, channels, height, width), as `sampling.manifold_walk` returns it.
    ValueError for a start that is all zero. Source: chapter 5.

    >>> path = torch.tensor([1.0, 1.5, 0.0]).view(3, 1, 1, 1, 1)
    >>> distance_moved(path).flatten()
    tensor([0.0000, 0.5000, 1.0000])
    """
    axes = ("steps + 1", "n", "channels", "height", "width")
    path = checks.tensor(path, "path", axes)
    length = path[0].flatten(1).norm(dim=1)
    if (length == 0).any():
        got = checks.Described(f"walker {int(length.argmin())} at an image that is all zero")
        raise ValueError(checks.message("path", "a start with a length to compare with", got))
    return (path - path[0]).flatten(2).norm(dim=2) / length
