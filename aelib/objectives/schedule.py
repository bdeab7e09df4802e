"""How much noise an image holds at each time of a diffusion: schedules, and the model's range.

A diffusion works on images in [−1, 1]. `to_model` and `to_images` are the only places where the
book's [0, 1] and that range meet; `Schedule.noisy` and `sampling.sample` call them.

A model may be taught any of three `TARGETS`: the noise e, the image x_0, or the velocity
v = √ᾱ_t e − √(1 − ᾱ_t) x_0. With x_t each gives the other two; `Schedule.wanted` and
`Schedule.found` are the only places that know how.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from aelib import checks, runtime

TARGETS = ("noise", "image", "velocity")  # what a model can be taught to answer


def to_model(images: Tensor) -> Tensor:
    """[0, 1] to [−1, 1], the range in which a diffusion adds its noise."""
    return 2 * images - 1


def to_images(states: Tensor) -> Tensor:
    """[−1, 1] back to [0, 1]; nothing is clamped."""
    return (states + 1) / 2


@dataclass(frozen=True)
class Schedule:
    """The share of the image's energy left at each time: x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) e.

    Made by `linear_schedule` or `cosine_schedule`, or from values of your own.

    Attributes:
        alphas_cumprod: ᾱ at times 0, 1, …, each between 0 and 1, each below the one before. Time 0
            is the least noise there is, not none.

    Raises:
        ValueError: for values that do not fall, or leave (0, 1); TypeError for what is no number.

    Source: Ho et al. (2020), arXiv 2006.11239, section 2; chapter 4.

    >>> Schedule((0.9, 0.5, 0.1)).steps
    3
    """

    alphas_cumprod: tuple[float, ...]

    def __post_init__(self) -> None:
        given = self.alphas_cumprod
        if not isinstance(given, Iterable) or isinstance(given, str):
            raise TypeError(checks.message("alphas_cumprod", "a sequence of numbers", given))
        values = []
        for time, value in enumerate(given):
            name = f"alphas_cumprod[{time}]"
            value, before = checks.number(value, name, above=0), values[-1] if values else 1.0
            if value >= before:
                advice = "noise must grow with time"
                raise ValueError(checks.message(name, f"a value below {before:g}", value, advice))
            values.append(value)
        checks.whole(len(values), "steps", least=1)
        object.__setattr__(self, "alphas_cumprod", tuple(values))

    @property
    def steps(self) -> int:
        """How many times there are."""
        return len(self.alphas_cumprod)

    @cached_property
    def betas(self) -> Tensor:
        """The share of noise added at each time, β_t = 1 − ᾱ_t / ᾱ_{t−1}; (steps,), float64."""
        alphas = torch.tensor((1.0, *self.alphas_cumprod), dtype=torch.float64)
        return 1 - alphas[1:] / alphas[:-1]

    @cached_property
    def digest(self) -> str:
        """Eight hex digits that tell schedules apart, from ᾱ to five digits, alike anywhere."""
        text = " ".join(f"{value:.4e}" for value in self.alphas_cumprod)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def times(self, steps: int | None = None) -> list[int]:
        """`steps` of the times in the order of sampling: evenly from the last down to 0.

        None is all of them; a single one is the last.

        Raises:
            ValueError: for more steps than there are times.

        >>> Schedule((0.9, 0.5, 0.3, 0.2, 0.1)).times(3)
        [4, 2, 0]
        """
        last = self.steps - 1
        steps = self.steps if steps is None else steps
        steps = checks.whole(steps, "steps", 1, self.steps, "the times of the schedule")
        return [round(last - last * step / max(steps - 1, 1)) for step in range(steps)]

    def levels(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1 − ᾱ) at `times`, in their shape: float32, of the image and of the noise.

        Raises:
            ValueError: for times that the schedule does not have; looked at on a CPU only.
        """
        if runtime.is_cpu(times.device) and times.numel():  # a GPU would be waited for
            low, high = (int(value) for value in times.aminmax())
            if low < 0 or high >= self.steps:
                got = checks.Described(f"{low} to {high}")
                expected = f"whole numbers from 0 to {self.steps - 1} (steps)"
                raise ValueError(checks.message("times", expected, got))
        alphas = self._alphas.to(times.device)[times]
        return alphas.sqrt().float(), (1 - alphas).sqrt().float()

    def noisy(self, images: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t in the model's range, for images in [0, 1]: the images' shape.

        Args:
            images: (..., channels, height, width), the leading axes a batch, or seeds and a batch.
            times: (...), whole numbers from 0 to steps − 1.
            noise: e, of the images' shape.
        """
        of_image, of_noise = (
            level.to(images.dtype)[..., None, None, None] for level in self.levels(times)
        )
        return of_image * to_model(images) + of_noise * noise

    def wanted(self, target: str, images: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """What a model taught this target is to answer to `noisy(images, times, noise)`.

        Args:
            target: one of `TARGETS`.
            images: in [0, 1]; times and noise as for `noisy`.

        Raises:
            ValueError: for an unknown target.

        Source: Salimans and Ho (2022), arXiv 2202.00512, section 4 and appendix D.
        """
        match checks.choice(target, "target", TARGETS):
            case "noise":
                return noise
            case "image":
                return to_model(images)
        of_image, of_noise = (
            level.to(images.dtype)[..., None, None, None] for level in self.levels(times)
        )
        return of_image * noise - of_noise * to_model(images)

    def found(
        self, target: str, answers: Tensor, states: Tensor, time: int
    ) -> tuple[Tensor, Tensor]:
        """The guess of the image x_0 and of the noise e that an answer stands for.

        Args:
            target: what the model was taught, one of `TARGETS`.
            answers: what it said of `states`, x_t, both in the model's range and of one shape.
            time: t, the same for all.

        Returns:
            x_0 and e in the model's range: √ᾱ x_0 + √(1 − ᾱ) e is `states` again.

        Raises:
            ValueError: for an unknown target.
        """
        alpha = self.alphas_cumprod[time]
        of_image, of_noise = math.sqrt(alpha), math.sqrt(1 - alpha)
        match checks.choice(target, "target", TARGETS):
            case "noise":
                return (states - of_noise * answers) / of_image, answers
            case "image":
                return answers, (states - of_image * answers) / of_noise
        return of_image * states - of_noise * answers, of_noise * states + of_image * answers

    def check_steps(self, model: object) -> None:
        """Refuse a module that knows another number of times, its `steps`, than the schedule has.

        A module without `steps`, not even in the module it wraps, passes; so does a function.

        Raises:
            ValueError: a time would then mean another noise to the model.
        """
        model = _unwrapped(model)
        steps = getattr(model, "steps", None) if isinstance(model, nn.Module) else None
        if isinstance(steps, Integral) and not isinstance(steps, bool) and steps != self.steps:
            got = checks.Described(f"one built for {steps}, to which a time means another noise")
            advice = f"give its own schedule, or build it with steps={self.steps}"
            expected = f"one that knows the schedule's {self.steps} times (steps)"
            raise ValueError(checks.message("model", expected, got, advice))

    def check_model(self, model: object) -> None:
        """Refuse a model with other `steps`, or one that was trained on another schedule.

        `fit` notes a schedule in the models it trains (`mark`); a model without a note passes.

        Raises:
            ValueError: a time would then mean another noise to the model.
        """
        self.check_steps(model)
        known = getattr(_unwrapped(model), "schedule_digest", None)
        if known is not None and known != self.digest:
            got = checks.Described(f"one trained on another of as many times ({known})")
            expected = f"a model trained on this schedule ({self.digest})"
            advice = "give the schedule it was trained with"
            raise ValueError(checks.message("model", expected, got, advice))

    def mark(self, model: nn.Module, target: str = "noise") -> None:
        """Note in a model what it was trained on: `schedule_digest` and `diffusion_target`."""
        notes: Any = _unwrapped(model)
        notes.schedule_digest, notes.diffusion_target = self.digest, target

    @staticmethod
    def target_of(model: object, target: str | None = None) -> str:
        """What a model answers: what `fit` noted in it (`mark`), the noise where nothing is noted.

        Args:
            model: a module, or a function, which has no note.
            target: what it is said to answer, one of `TARGETS`; None for the note.

        Raises:
            ValueError: for an unknown target, or another than the note says.
        """
        known = getattr(_unwrapped(model), "diffusion_target", None)
        if target is None:
            return known or "noise"
        checks.choice(target, "target", TARGETS)
        if known not in (None, target):
            expected = f"{known!r}, which the model was trained to answer"
            raise ValueError(checks.message("target", expected, target, "leave it out"))
        return target

    @cached_property
    def _alphas(self) -> Tensor:
        return torch.tensor(self.alphas_cumprod, dtype=torch.float64)

    def __repr__(self) -> str:
        ends = f"{self.alphas_cumprod[0]:.6g} to {self.alphas_cumprod[-1]:.6g}"
        return f"Schedule(steps={self.steps}, alphas_cumprod {ends})"


def _unwrapped(model: Any) -> Any:
    """The module within wrappers such as DataParallel; the first that says its `steps`."""
    while isinstance(getattr(model, "module", None), nn.Module) and not hasattr(model, "steps"):
        model = model.module
    return model


def linear_schedule(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """β rises evenly from `first` to `last`.

    Raises:
        ValueError: for shares outside (0, 1), or a `last` below `first`; TypeError for what is no
            number.

    Source: Ho et al. (2020), arXiv 2006.11239, section 4, whose numbers belong to 1,000 steps.

    >>> linear_schedule(5, first=0.1, last=0.3).betas
    tensor([0.1000, 0.1500, 0.2000, 0.2500, 0.3000], dtype=torch.float64)
    """
    steps = checks.whole(steps, "steps", least=1)
    first = checks.number(first, "first", above=0, below=1)
    last = checks.number(last, "last", least=first, below=1)
    return _from_betas(torch.linspace(first, last, steps, dtype=torch.float64))


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

    >>> cosine_schedule(200)
    Schedule(steps=200, alphas_cumprod 0.999745 to 6.0718e-08)
    """
    steps = checks.whole(steps, "steps", least=1)
    offset = checks.number(offset, "offset", least=0)
    most = checks.number(most, "most", above=0, below=1)
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    curve = torch.cos((share + offset) / (1 + offset) * math.pi / 2) ** 2
    return _from_betas((1 - curve[1:] / curve[:-1]).clamp(max=most))


def _from_betas(betas: Tensor) -> Schedule:
    return Schedule(tuple((1 - betas).cumprod(0).tolist()))
