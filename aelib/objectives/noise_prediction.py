"""`diffusion`: say which noise was added, at every level of noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from aelib import checks, runtime
from aelib.objectives.objective import ObjectiveError, squared_error
from aelib.objectives.schedule import Schedule


@dataclass(frozen=True)
class Diffusion:
    """The objective that `diffusion` makes: it remembers the schedule and nothing else.

    Attributes:
        schedule: how much noise there is at each time.
        span: what its images must lie in: `Schedule.noisy` turns [0, 1] into the model's [−1, 1].
    """

    schedule: Schedule
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __call__(self, model: Callable[[Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
        """‖ê − e‖²/d for each image, at a time and with a noise drawn for it.

        Args:
            model: model(x, times) → ê in the shape of x; x is (..., channels, height, width) in the
                model's range, times (...).
            images: (..., channels, height, width) in [0, 1], but for rounding; the leading axes a
                batch, or seeds and a batch.

        Returns:
            The loss of each image, shape (...); 1 is a model that answers 0 and knows nothing.

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
        return squared_error(model(self.schedule.noisy(images, times, noise), times), noise)

    def mark(self, models: Iterable[nn.Module]) -> None:
        """Note in each model which schedule it knows, for `Schedule.check_model`."""
        for model in models:
            self.schedule.mark(model)


def diffusion(schedule: Schedule) -> Diffusion:
    """The noise-prediction objective for a schedule: `fit(model, images, objective=diffusion(s))`.

    All times are equally likely and equally weighted, which favours a clear picture over the
    likelihood's bound. Times and noise come from torch's global generator, which `fit` seeds.

    Raises:
        TypeError: for anything but a `Schedule`.

    Source: Ho et al. (2020), arXiv 2006.11239, equation 14; chapter 4.

    >>> from aelib.objectives import cosine_schedule
    >>> objective = diffusion(cosine_schedule(20))
    >>> objective(lambda x, times: x, torch.rand(3, 1, 8, 8)).shape  # one loss per image
    torch.Size([3])
    """
    if not isinstance(schedule, Schedule):
        expected = "a Schedule, such as objectives.cosine_schedule()"
        raise TypeError(checks.message("schedule", expected, schedule))
    return Diffusion(schedule)
