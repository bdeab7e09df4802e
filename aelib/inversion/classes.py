"""What a model calls an image, and at which place it has that class for another image."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aelib.inversion.reading import Forward, eager, run, weights_dtype
from aelib.runtime import out_of_memory

NONE = -1  # the class of an image that the model does not call anything


class Classes:
    """The classes of a model's largest outputs for images, and their places for other images.

    Attributes:
        called: the class of each image, (images,) on the CPU; `NONE` where the model fails, or its
            output is not (rows, classes ≥ 2) finite floats.

    >>> classes = Classes(nn.Flatten(), torch.tensor([[[[0.1, 0.9, 0.5]]]]))
    >>> others = torch.tensor([[[[0.3, 0.2, 0.1]]], [[[0.0, 0.2, 0.2]]]])
    >>> classes.called, classes.ranks(others.__getitem__, 2)
    (tensor([1]), tensor([2., 1.]))
    """

    def __init__(
        self, model: nn.Module, images: Tensor, forward: Forward | None = None, at_once: int = 64
    ):
        self.model, self.forward, self.at_once = model, forward or run, at_once
        self.like = images[:0]
        self.called = self._in_batches(self._call, lambda rows: images[rows], len(images))

    def ranks(self, take: Callable[[slice], Tensor], runs: int) -> Tensor:
        """1 + the number of classes strictly above that of the image, (runs,); NaN where none is.

        Args:
            take: the images of a slice of the runs; run r is of image r % images.
            runs: how many there are.
        """
        classes = self.called.repeat(runs // len(self.called))
        if (classes == NONE).all():
            return torch.full((runs,), math.nan, dtype=self.like.dtype)

        def place(images: Tensor, rows: slice) -> Tensor:
            places = torch.full((len(images),), math.nan, dtype=self.like.dtype)
            if (scores := self._scores(images)) is not None:
                mine = classes[rows]
                own = scores.gather(1, mine.clamp_min(0)[:, None])
                known = (mine != NONE) & scores.isfinite().all(1)
                places[known] = (1 + (scores > own).sum(1))[known].to(places.dtype)
            return places

        return self._in_batches(place, take, runs)

    def _call(self, images: Tensor, rows: slice) -> Tensor:
        scores = self._scores(images)
        if scores is None:
            return torch.full((len(images),), NONE)
        return scores.argmax(1).where(scores.isfinite().all(1), NONE)

    def _scores(self, images: Tensor) -> Tensor | None:
        """The model's outputs, (rows, classes) on the CPU, if that is what they are."""
        given = images.to(self.like.device).clone().to(weights_dtype(self.model) or images.dtype)
        try:
            with torch.no_grad(), eager():
                scores = self.forward(self.model, given)
        except Exception as error:  # an early layer can be inverted though the head fails
            if out_of_memory(error) and len(images) > 1:
                raise
            return None
        if not isinstance(scores, Tensor) or not scores.is_floating_point():
            return None
        fits = scores.dim() == 2 and len(scores) == len(images) and scores.shape[1] >= 2
        return scores.detach().cpu() if fits else None

    def _in_batches(
        self, ask: Callable[[Tensor, slice], Tensor], take: Callable[[slice], Tensor], n: int
    ) -> Tensor:
        try:
            slices = [slice(i, min(i + self.at_once, n)) for i in range(0, n, self.at_once)]
            return torch.cat([ask(take(rows), rows) for rows in slices])
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        self.at_once = max(1, self.at_once // 2)
        return self._in_batches(ask, take, n)
