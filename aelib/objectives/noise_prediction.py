"""`diffusion`: say which noise was added, or what it was added to, at every level of noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from aelib import checks, runtime
from aelib.objectives.objective import ObjectiveError, squared_error
from aelib.objectives.schedule import TARGETS, Schedule


@dataclass(frozen=True)
class Diffusion:
    """The objective that `diffusion` makes: it remembers the schedule and the target.

    Attributes:
        schedule: how much noise there is at each time.
        target: what the model is to answer, one of `TARGETS`.
        span: what its images must lie in: `Schedule.noisy` turns [0, 1] into the model's [−1, 1].
    """

    schedule: Schedule
    target: str = "noise"
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __call__(self, model: Callable[[Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
        """‖ŷ − y‖²/d for each image, at a time and with a noise drawn for it; y is the target.

        Args:
            model: model(x, times) → ŷ in the shape of x; x is (..., channels, height, width) in the
                model's range, times (...).
            images: (..., channels, height, width) in [0, 1], but for rounding; the leading axes a
                batch, or seeds and a batch.

        Returns:
            The loss of each image, shape (...); where the target is the noise, 1 is a model that
            answers 0 and knows nothing.

        Raises:
            ObjectiveError: for a model built for another number of times than the schedule has, or
                one that returns another shape; for images outside [0, 1], which are looked at on a
                CPU or without gradients: a GPU would be waited for at every step.
        """
        try:
            self.schedule.check_steps(model)
            if runtime.is_cpu(images.device) or not torch.is_grad_enabled():
                checks.values_in(images, "images", self.span)
        except ValueError as error:
            raise ObjectiveError(str(error)) from None
        times = torch.randint(self.schedule.steps, images.shape[:-3], device=images.device)
        noise = torch.randn_like(images)
        wanted = self.schedule.wanted(self.target, images, times, noise)
        return squared_error(model(self.schedule.noisy(images, times, noise), times), wanted)

    def mark(self, models: Iterable[nn.Module]) -> None:
        """Note in each model which schedule and target it knows, for `sampling.sample`."""
        for model in models:
            self.schedule.mark(model, self.target)


def diffusion(schedule: Schedule, target: str = "noise") -> Diffusion:
    """The objective of diffusion for a schedule: `fit(model, images, objective=diffusion(s))`.

    The model learns to answer the noise, the clean image or the velocity (`Schedule.wanted`). All
    times are equally likely and equally weighted, which favours a clear picture over the
    likelihood's bound. Times and noise come from torch's global generator, which `fit` seeds.

    Raises:
        TypeError: for anything but a `Schedule`; ValueError for a target not in `TARGETS`.

    Source: Ho et al. (2020), arXiv 2006.11239, equation 14; for the other targets Salimans and Ho
    (2022), arXiv 2202.00512, section 4; chapter 4.

    >>> from aelib.objectives import cosine_schedule
    >>> objective = diffusion(cosine_schedule(20))
    >>> objective(lambda x, times: x, torch.rand(3, 1, 8, 8)).shape  # one loss per image
    torch.Size([3])
    """
    if not isinstance(schedule, Schedule):
        expected = "a Schedule, such as objectives.cosine_schedule()"
        raise TypeError(checks.message("schedule", expected, schedule))
    return Diffusion(schedule, checks.choice(target, "target", TARGETS))
