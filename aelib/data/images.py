"""`Images`: a set of images divided into training and test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from aelib import checks


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A set of images divided into training and test, as `load` returns it.

    Attributes:
        name: the set's name, or the folder's.
        train, test: float32 in [0, 1], (n, channels, height, width).
        train_labels, test_labels: int64, (n,), indices into `classes`; None where there are none.
        classes: the classes' names, () where there are none.
        train_sources, test_sources: the photograph or file of each image; () where there is none.
    """

    name: str
    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    train_sources: tuple[str, ...] = ()
    test_sources: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    def take(self, n: int, seed: int = 0) -> Images:
        """The same set with `n` training images, drawn without repetition; test images stay.

        With the same seed, a smaller n takes the first of a larger n's images.

        Raises:
            TypeError: if n or seed is not a whole number.
            ValueError: if n is below 1 or above the number of training images.

        >>> import aelib
        >>> aelib.data.load("digits").take(100)
        Images('digits': 100 train, 360 test, 1×8×8, 10 classes)
        """
        checks.whole(seed, "seed", least=0)
        picked = pick("n", n, len(self.train), "training", self.name, seed)
        return replace(
            self,
            train=self.train[picked],
            train_labels=None if self.train_labels is None else self.train_labels[picked],
            train_sources=tuple(self.train_sources[i] for i in picked if self.train_sources),
        )

    def __repr__(self) -> str:
        counts = f"{len(self.train)} train, {len(self.test)} test"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Images({self.name!r}: {counts}, {'×'.join(map(str, self.shape))}{classes})"


def pick(argument: str, n: int, total: int, side: str, name: str, seed: int) -> list[int]:
    """`n` of `total` indices by seed, or an error that tells how many there are."""
    checks.whole(n, argument, least=1, most=total, limit=f"all {side} images of {name!r}")
    return np.random.default_rng(seed).permutation(total)[:n].tolist()
