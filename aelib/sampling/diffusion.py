"""`sample`: from noise to images, one step of a schedule at a time; DDIM, DDPM and between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.models import evaluating
from aelib.objectives import Schedule, to_images, to_model

BATCH_ELEMENTS = 2**18  # of the images that go through the model at once, unless told otherwise
COPIES = 8  # times the images are in memory at once: they, their noise, the guess, what a step adds


@torch.no_grad()
def sample(
    model: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    n: int | None = None,
    *,
    noise: Tensor | None = None,
    shape: Sequence[int] | None = None,
    steps: int | None = None,
    eta: float = 0.0,
    target: str | None = None,
    seed: int | torch.Generator = 0,
    clamp: tuple[float, float] | None = (0.0, 1.0),
    batch_size: int | None = None,
    callback: Callable[[dict], object] | None = None,
    progress: bool | None = None,
) -> Tensor:
    """Draw images by undoing the noise of a diffusion step by step.

    Each step takes the image x_0 and the noise e that the model's answer stands for
    (`Schedule.found`), and goes to the next time with both; `eta` replaces some of the noise by
    new one. With eta=0 (DDIM) the first noise decides the image; with eta=1 (DDPM) each step draws
    from q(x_s | x_t, x_0).

    Args:
        model: model(x, times) → the target, for x in [−1, 1] and more; a module is run in
            evaluation mode. A plain function works too.
        schedule: the one the model was trained with.
        n: how many to draw; or give `noise`.
        noise: the first noise, (n, channels, height, width), in place of a drawn one.
        shape: (channels, height, width) of an image; that of `noise` or `model.shape` if left out.
        steps: how many of the schedule's times to visit, evenly spaced; None for all of them.
        eta: from 0, no new noise, to 1, as much as a step can hold.
        target: what the model answers, one of `objectives.TARGETS`; None for what `fit` noted in
            it, or the noise for a model without a note.
        seed: of the first noise and of that of each step: an int, or a generator, which is
            advanced. The same seed gives the same images, for any batch size up to rounding.
        clamp: grey levels that the guess of x_0 is kept within at every step; None for any.
        batch_size: images that go through the model at once; None for about a quarter of a million
            elements of images. Smaller where memory is short.
        callback: called after every step with a dict: "step", how many are done; "time", where this
            one began; "images", as they are now, noise and all; "denoised", the guess of x_0; both
            (n, channels, height, width) on the scale of images.
        progress: draw a bar; None draws it for a person only.

    Returns:
        (n, channels, height, width) on the scale of images, [0, 1], not clamped at the end; where
        the model's parameters are, and in their dtype. For a plain function those of `noise`.

    Raises:
        ValueError, TypeError: before the first step, for arguments that cannot work, a model that
            does not answer in the shape of x or knows another schedule or target, or more images
            than memory holds; afterwards for something not finite.

    Source: Song et al. (2021), arXiv 2010.02502, equation 12; for eta=1 Ho et al. (2020), arXiv
    2006.11239, algorithm 2; chapter 4.

    >>> import aelib as ae
    >>> schedule = ae.objectives.cosine_schedule(20)
    >>> model = ae.models.DiffusionUNet((1, 8, 8), width=8, steps=20)
    >>> sample(model, schedule, 4, steps=5).shape
    torch.Size([4, 1, 8, 8])
    """
    source, eta = random.generator(seed), checks.number(eta, "eta", least=0, most=1)
    x = _first_noise(model, schedule, n, noise, shape, source, callback)
    target = schedule.target_of(model, target)
    times, alphas = schedule.times(steps), schedule.alphas_cumprod
    limits = None if clamp is None else torch.tensor(checks.interval(clamp, "clamp")).double()
    batch_size = max(1, BATCH_ELEMENTS // x[0].numel()) if batch_size is None else batch_size
    batch_size = checks.whole(batch_size, "batch_size", least=1)
    finite = torch.ones((), dtype=torch.bool, device=x.device)
    with evaluating(model), runtime.progress(len(times), "sampling", progress) as bar:
        for step, time in enumerate(times, 1):
            now, then = alphas[time], alphas[times[step]] if step < len(times) else 1.0
            answers = _answers(x, model, time, batch_size)
            finite &= answers.isfinite().all()  # clamping would hide an infinite answer
            x0, e = schedule.found(target, answers, x, time)
            if limits is not None:
                x0 = x0.clamp(*to_model(limits).tolist())
                e = (x - math.sqrt(now) * x0) / math.sqrt(1 - now)
            sigma = eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))
            x = math.sqrt(then) * x0 + math.sqrt(max(1 - then - sigma**2, 0)) * e
            if sigma > 0:
                x = x + sigma * random.normal(x.shape, x, source)
            bar.update()
            if callback is not None:
                state = {"images": to_images(x), "denoised": to_images(x0)}
                callback({"step": step, "time": time, **state})
    if not (finite & x.isfinite().all()):  # asked once: a GPU would be waited for
        got = checks.Described("NaN or infinity")
        advice = "it has probably diverged in training"
        raise ValueError(checks.message("model", "one that leads to finite images", got, advice))
    return to_images(x)


def _first_noise(model, schedule, n, noise, shape, source, callback) -> Tensor:
    """The noise to start from, after asking all that could stop the work later."""
    checks.function(model, "model", "a models.DiffusionUNet")
    if not isinstance(schedule, Schedule):
        raise TypeError(checks.message("schedule", "the model's objectives.Schedule", schedule))
    schedule.check_model(model)
    if callback is not None:
        checks.function(callback, "callback", "one that takes a dict")
    if (n is None) == (noise is None):
        raise TypeError(checks.message("n, noise", "one of them", (n, noise)))
    if noise is not None:
        noise = checks.images(noise, "noise", shape=shape)
        n, shape = len(noise), noise.shape[1:]
    known = getattr(model, "shape", shape)
    shape = checks.shape(known if shape is None else shape)
    if tuple(known) != shape:
        raise ValueError(checks.message("shape", f"{known}, as the model was built for", shape))
    n = checks.whole(n, "n", least=1)
    weight = next(model.parameters(), noise) if isinstance(model, nn.Module) else noise
    like = torch.empty(0) if weight is None else weight
    need = COPIES * n * math.prod(shape) * like.dtype.itemsize
    advice = "draw fewer at a time, with another seed each"
    runtime.check_memory(f"n: {n} images", need, like.device, advice)
    # Drawn whole and where the generator is: neither batch size nor device changes the noise.
    return random.normal((n, *shape), like, source) if noise is None else noise.to(like)


def _answers(x: Tensor, model: Callable, time: int, batch_size: int) -> Tensor:
    """What the model says of x at a time, so many images at once."""
    found = []
    for batch in x.split(batch_size):
        times = torch.full((len(batch),), time, dtype=torch.int64, device=x.device)
        expected = "one called as model(x, times) that answers in the shape of x"
        advice = "train a models.DiffusionUNet with objectives.diffusion"
        try:
            answer = model(batch.clone(), times)  # it may change them in place
        except TypeError as error:
            got = checks.Described(f"{type(model).__name__} ({error})")
            raise TypeError(checks.message("model", expected, got, advice)) from error
        if not isinstance(answer, Tensor) or answer.shape != batch.shape:
            got = checks.Described(f"one that returns {checks.described(answer)}")
            raise ValueError(checks.message("model", expected, got, advice))
        found.append(answer.to(x))
    return torch.cat(found)
