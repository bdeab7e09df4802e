"""`diffusion`: say which noise was added, at every level of noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aelib.data import Schedule
from aelib.objectives.checks import ObjectiveError, check_same_shape


@dataclass(frozen=True)
class Diffusion:
    """The objective that `diffusion` makes: it remembers the schedule and nothing else."""

    schedule: Schedule

    def __call__(self, net: Callable[[Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
        """‖ê − e‖²/d for each image, at a time and with a noise drawn for it.

        Args:
            net: net(x, times) → ê in the shape of x; x is (..., channels, height, width) in the
                model's range, times (...).
            images: (..., channels, height, width) in [0, 1], the leading axes a batch, or seeds
                and a batch.

        Returns:
            The loss of each image, shape (...); 1 is a net that answers 0 and knows nothing.

        Raises:
            ObjectiveError: for a net built for another number of times than the schedule has.
        """
        try:
            self.schedule.check_net(net)
        except ValueError as error:
            raise ObjectiveError(str(error)) from None
        times = torch.randint(self.schedule.steps, images.shape[:-3], device=images.device)
        noise = torch.randn_like(images)
        answer = net(self.schedule.noisy(images, times, noise), times)
        check_same_shape(answer, images)
        return (answer - noise).square().mean(dim=(-3, -2, -1))


def diffusion(schedule: Schedule) -> Diffusion:
    """The noise-prediction objective for a schedule: `fit(net, images, objective=diffusion(s))`.

    All times are equally likely and equally weighted, which favours a clear picture over the
    likelihood's bound. Times and noise come from torch's global generator, which `fit` seeds.

    Raises:
        TypeError: for anything but a `Schedule`.

    Source: Ho et al. (2020), arXiv 2006.11239, equation 14; chapter 4.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule: expected a Schedule, such as data.cosine_schedule(), got {schedule!r}"
        )
    return Diffusion(schedule)
