"""The processes that share an inversion of many images, as `accelerate launch` started them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from torch import distributed

from aelib.training.distributed import place

PATIENCE = timedelta(days=30)  # that one process may wait for the others' work


class Team:
    """This process and those beside it; alone, unless a launcher says otherwise.

    >>> Team().gather("done")
    ['done']
    """

    def __init__(self):
        here = place(None, "no")
        self.device, self.rank, self.processes = here.device, here.rank, here.processes
        # A group of its own: the usual one gives up after minutes, and may want tensors on a GPU.
        self.group = (
            distributed.new_group(backend="gloo", timeout=PATIENCE) if self.processes > 1 else None
        )

    def gather(self, value: Any) -> list:
        """The values of all processes, by rank, once the last has come here."""
        values = [value] * self.processes
        if self.group is not None:
            distributed.all_gather_object(values, value, cast(distributed.ProcessGroup, self.group))
        return values

    def share(self, items: Sequence) -> list:
        """This process's part of what all of them have before them."""
        return list(items[self.rank :: self.processes])
