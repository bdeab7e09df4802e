"""What is kept and noted of the runs of a batch while they descend, and when the batch may stop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from aelib.inversion import cuda
from aelib.inversion.result import TRACED
from aelib.measures.similarity import SSIM_WINDOW, structural_similarity

# Where two hold at once, the one that stands first here is said.
STOPPED = (
    "reached", "levelled off", "diverged", "stalled", "steps", "interrupted", "not begun"
)  # fmt: skip


class Runs:
    """The runs of a batch: which of them are still in it and go on, and why the others stopped."""

    def __init__(self, n: int, like: Tensor):
        self.began = time.perf_counter()
        self.rows = torch.arange(n, device=like.device)  # those still in the batch
        self.active = torch.ones_like(self.rows, dtype=torch.bool)  # of these, those that go on
        self.iterations = torch.zeros_like(self.rows)
        self.seconds = like.new_zeros(n)
        self.status = torch.full_like(self.rows, STOPPED.index("not begun"))

    def update(self, ended: Mapping[str, Tensor], last: bool) -> None:
        """Take in one evaluation of the rows in the batch, and which of them ended by what."""
        rows, active = self.rows, self.active
        none = STOPPED.index("steps" if last else "interrupted")
        why = torch.full_like(rows, none)
        for word in sorted(ended, key=STOPPED.index, reverse=True):
            why = torch.where(ended[word], STOPPED.index(word), why)
        self.status[rows] = torch.where(active, why, self.status[rows])
        self.iterations[rows] = self.iterations[rows] + active
        self.active = active & (why == none)

    def keep(self, rows: Tensor) -> None:
        """Let all but these of the batch's rows leave it."""
        self._clock(self.rows[~self.active])
        self.rows, self.active = self.rows[rows], self.active[rows]

    def fields(self) -> dict[str, Tensor]:
        """Iterations and seconds of each run, when all is over."""
        self._clock(self.rows)
        self.seconds[self.iterations == 0] = 0.0
        return {"iterations": self.iterations, "seconds": self.seconds}

    def stopped(self) -> list[str]:
        """Why each run stopped."""
        return [STOPPED[number] for number in self.status.tolist()]

    def _clock(self, rows: Tensor) -> None:
        self.seconds[rows] = time.perf_counter() - self.began


class Best:
    """What is kept of each run: the image with the least loss, or the last one that was finite."""

    def __init__(self, images: Tensor, least: bool):
        self.least = least
        self.images = images.clone()
        self.loss = images.new_full((len(images),), math.inf)
        self.m_g = images.new_full((len(images),), math.nan)

    def update(
        self, runs: Runs, images: Tensor, losses: Tensor, m_g: Tensor, reached: Tensor
    ) -> None:
        """Take in one evaluation of the rows in the batch."""
        rows, better = runs.rows, losses.isfinite() & runs.active
        if self.least:
            better = better & (reached | (losses < self.loss[rows]))
        self.images[rows] = torch.where(better[:, None, None, None], images, self.images[rows])
        self.loss[rows] = torch.where(better, losses, self.loss[rows])
        self.m_g[rows] = torch.where(better, m_g, self.m_g[rows])


class Trace:
    """What is noted at the steps asked for: distances of the images kept so far."""

    def __init__(self, originals: Tensor, log_at: Sequence[int]):
        self.originals, self.log_at, self.step = originals, log_at, -1
        self.values = {
            name: originals.new_full((len(originals), len(log_at)), math.nan) for name in TRACED
        }

    def update(self, step: int, best: Best) -> None:
        """Note the images kept after this step, if it is one of those asked for."""
        self.step = step
        if step in self.log_at:
            self._note([self.log_at.index(step)], self.measure(best))

    def fields(self, best: Best) -> dict[str, Tensor]:
        """The distances at the end and the trace; a run that stopped keeps its last values."""
        distances = self.measure(best)
        if self.step >= 0:
            missed = [at for at, step in enumerate(self.log_at) if step > self.step]
            self._note(missed, distances)
        return distances | {f"trace.{name}": values for name, values in self.values.items()}

    def measure(self, best: Best) -> dict[str, Tensor]:
        """m_g, m_i, psnr and ssim, each (rows,)."""
        error = (best.images - self.originals).flatten(1)
        m_i = error.norm(dim=1)
        if min(best.images.shape[2:]) < SSIM_WINDOW:
            ssim = torch.full_like(m_i, math.nan)
        else:
            ssim = structural_similarity(best.images, self.originals)
        psnr = 10 * torch.log10(error.shape[1] / m_i.square())
        return {"m_g": best.m_g, "m_i": m_i, "psnr": psnr, "ssim": ssim}

    def _note(self, places: Sequence[int], distances: dict[str, Tensor]) -> None:
        for name, values in distances.items():
            for at in places:
                self.values[name][:, at] = values


def leave_at_once(active: Tensor) -> tuple[Tensor | None, bool]:
    """Where asking costs nothing, on a CPU: runs that stop leave the batch, and save their work.

    Returns:
        Which rows go on, None for all of them; and whether none does.
    """
    if bool(active.all()):
        return None, False
    going = active.nonzero()[:, 0]
    return going, not len(going)


class AskInPassing:
    """Where an answer must be waited for: runs that stop stay in the batch, unseen.

    Whether any is left is asked without waiting; an answer is read once it has arrived.
    """

    def __init__(self):
        self.answer: cuda.AsyncCopy | None = None

    def __call__(self, active: Tensor) -> tuple[Tensor | None, bool]:
        """None, for all rows go on; and whether none was left by the last answer that arrived."""
        over = False
        if self.answer is None:
            self.answer = cuda.AsyncCopy(active.any())
        elif self.answer.arrived():
            over, self.answer = not self.answer.value.item(), None
        return None, over
