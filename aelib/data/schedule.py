"""How much noise an image holds at each time of a diffusion: schedules, and the model's range.

A diffusion works on images in [−1, 1]. `to_model` and `to_images` are the only places where the
book's [0, 1] and that range meet; `Schedule.noisy` and the samplers call them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from aelib import checks, runtime


def to_model(images: Tensor) -> Tensor:
    """[0, 1] to [−1, 1], the range in which a diffusion adds its noise."""
    return 2 * images - 1


def to_images(states: Tensor) -> Tensor:
    """[−1, 1] back to [0, 1]; nothing is clipped."""
    return (states + 1) / 2


@dataclass(frozen=True)
class Schedule:
    """The share of the image's energy left at each time: x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) e.

    Made by `linear_schedule` or `cosine_schedule`, or from values of your own.

    Attributes:
        alphas_bar: ᾱ at times 0, 1, …, each between 0 and 1, each below the one before. Time 0 is
            the least noise there is, not none.

    Raises:
        ValueError: for values that do not fall, or leave (0, 1); TypeError for what is no number.

    Source: Ho et al. (2020), arXiv 2006.11239, section 2; chapter 4.
    """

    alphas_bar: tuple[float, ...]

    def __post_init__(self) -> None:
        try:
            values = tuple(float(value) for value in self.alphas_bar)
        except (TypeError, ValueError) as error:
            raise TypeError(f"alphas_bar: expected numbers, got {self.alphas_bar!r}") from error
        object.__setattr__(self, "alphas_bar", values)
        if not values:
            raise ValueError("alphas_bar: expected at least one value, got none")
        for time, value in enumerate(values):
            if not 0 < value < 1:
                raise ValueError(
                    f"alphas_bar: expected values between 0 and 1, got {value} at time {time}"
                )
            if time and not value < values[time - 1]:
                raise ValueError(
                    f"alphas_bar: expected each value below the one before, got {value} at time "
                    f"{time} after {values[time - 1]}: noise must grow with time"
                )

    @property
    def steps(self) -> int:
        """How many times there are."""
        return len(self.alphas_bar)

    def check_net(self, net: object) -> None:
        """Refuse a module that knows another number of times, its `steps`, than the schedule has.

        A module without `steps`, not even in the module it wraps, passes; so does a function.

        Raises:
            ValueError: a time would then mean another noise to the net.
        """
        while isinstance(getattr(net, "module", None), nn.Module) and not hasattr(net, "steps"):
            net = net.module
        known = getattr(net, "steps", None) if isinstance(net, nn.Module) else None
        if isinstance(known, Integral) and not isinstance(known, bool) and known != self.steps:
            raise ValueError(
                f"net: it knows {known} times and the schedule has {self.steps} (their steps), so "
                "that a time means another noise; give the schedule it was built for, or build it "
                f"with steps={self.steps}"
            )

    @cached_property
    def betas(self) -> Tensor:
        """The share of noise added at each time, β_t = 1 − ᾱ_t / ᾱ_{t−1}; (steps,), float64."""
        bars = torch.tensor((1.0, *self.alphas_bar), dtype=torch.float64)
        return 1 - bars[1:] / bars[:-1]

    def levels(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1 − ᾱ) at `times`, in their shape: float32, what is left and what is added.

        Raises:
            ValueError: for times that the schedule does not have; looked at on a CPU only.
        """
        if (
            runtime.is_cpu(times.device) and times.numel()
        ):  # elsewhere this would wait for the device
            low, high = (int(value) for value in times.aminmax())
            if low < 0 or high >= self.steps:
                raise ValueError(
                    f"times: expected 0 to {self.steps - 1} (steps), got {low} to {high}"
                )
        bars = self._bars.to(times.device)[times]
        return bars.sqrt().float(), (1 - bars).sqrt().float()

    def noisy(self, images: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t in the model's range, for images in [0, 1]: the images' shape.

        Args:
            images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.
            times: (...), whole numbers from 0 to steps − 1.
            noise: e, of the images' shape.
        """
        left, added = (part.to(images.dtype)[..., None, None, None] for part in self.levels(times))
        return left * to_model(images) + added * noise

    @cached_property
    def _bars(self) -> Tensor:
        return torch.tensor(self.alphas_bar, dtype=torch.float64)

    def __repr__(self) -> str:
        ends = f"{self.alphas_bar[0]:.6g} to {self.alphas_bar[-1]:.6g}"
        return f"Schedule(steps={self.steps}, alphas_bar {ends})"


def linear_schedule(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """β rises evenly from `first` to `last`.

    Raises:
        ValueError: for shares outside (0, 1), or a `last` below `first`; TypeError for what is no
            number.

    Source: Ho et al. (2020), arXiv 2006.11239, section 4, whose numbers belong to 1,000 steps.
    """
    checks.whole(steps, "steps", least=1)
    _check_numbers(first=first, last=last)
    if not 0 < first <= last < 1:
        raise ValueError(
            f"first, last: expected 0 < first ≤ last < 1, got {first} and {last}: noise is added"
        )
    betas = torch.linspace(first, last, steps, dtype=torch.float64)
    return Schedule(_product(betas))


def cosine_schedule(steps: int = 1000, offset: float = 0.008, most: float = 0.999) -> Schedule:
    """ᾱ falls like a squared cosine, so that fewer times are nothing but noise.

    Args:
        steps: how many times.
        offset: keeps the first β from being tiny.
        most: the largest β.

    Raises:
        ValueError: for an offset below 0, or `most` outside (0, 1); TypeError for what is no
            number.

    Source: Nichol and Dhariwal (2021), arXiv 2102.09672, section 3.2.
    """
    checks.whole(steps, "steps", least=1)
    _check_numbers(offset=offset, most=most)
    if not 0 <= offset < math.inf:
        raise ValueError(f"offset: expected 0 or more, got {offset}")
    if not 0 < most < 1:
        raise ValueError(f"most: expected a share between 0 and 1, got {most}")
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    curve = torch.cos((share + offset) / (1 + offset) * math.pi / 2) ** 2
    return Schedule(_product((1 - curve[1:] / curve[:-1]).clamp(max=most)))


def _check_numbers(**values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}: expected a number, got {value!r}")


def _product(betas: Tensor) -> Sequence[float]:
    return tuple((1 - betas).cumprod(0).tolist())
