"""How much noise does a copier remove, and is it more than a filter as accurate would?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib import data, fit, measures, models, objectives, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.training import History

GAINS = Claim(
    id="3.1",
    statement="A net trained only to copy brings noisy images nearer to the clean ones.",
    source="the document, section 3",
    reading="G at 0.2",
    measure="denoising gain of the copier for white noise of deviation 0.2, held-out photographs",
    unit="dB",
    supported={"G at 0.2": above(1), "G at 0.025": above(0)},
    conditional={"G at 0.2": above(1), "G at 0.025": below(0), "G at twice σ*": above(0)},
    controls=("untrained, G at 0.2", "mean image, G at 0.2", "clipping, G at 0.2"),
    also=("G at half σ*", "σ*"),
    fails_when="The noise is weaker than the break-even noise σ*, which is about the size of the "
    "net's own error.",
)
FILTERS = Claim(
    id="3.2",
    statement="What a copier gains on noisy images is no more than an equally sharp PCA or blur "
    "gives.",
    source="this chapter",
    reading="net − control",
    measure="gain of the copier over the better of a PCA and a blur with the same clean error, "
    "σ = 0.2, photographs",
    unit="dB",
    supported={"net − control": below(0), "digits at 0.5, net − control": below(0)},
    conditional={"net − control": below(0)},
    controls=("matched PCA", "matched blur", "Wiener filter"),
    also=("net",),
    fails_when="The noise is large beside the data and the data are far from smooth: on digits at "
    "σ = 0.5 the net beats both.",
)

LEVELS = (0.1, 0.2, 0.5)  # followed in training
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5)  # measured at its end
MARKS = (0, 25, 50, 100, 200, 400, 700, 1000, 1500, 2000, 3000, 5000, 7000, 10_000)
WHITE = data.gaussian(0.2)


class Trained(NamedTuple):
    """Nets, and what was seen of them on held-out images on the way."""

    models: list[nn.Module]
    history: History


def wide(shape: tuple[int, int, int]) -> nn.Module:
    """Chapter 2's net: five hidden layers, all wider than the input."""
    width = runtime.profile().pick(cpu=128, gpu=2048)
    return models.MLPAutoencoder(shape, width=width, depth=5)


def gains(nets: Sequence, images: Tensor, noise: Callable = WHITE) -> Tensor:
    """Mean denoising gain over the images, in dB, for each net."""
    return measures.denoising_gain(nets, images, noise).mean(1)


def train(
    images: data.Images, objective: objectives.Objective, seeds: int, steps: int, label: str
) -> Trained:
    """Nets trained so; gain at three noise levels, B, κ and τ at each mark."""

    def gain_at(sigma: float):
        noise = data.gaussian(sigma)
        return lambda model: measures.denoising_gain(model, images.test, noise).mean()

    def response(which: str):
        return lambda model: getattr(measures.response(model, images.test, sigma=0.2), which).mean()

    metrics = {f"G({sigma})": gain_at(sigma) for sigma in LEVELS}
    metrics |= {
        "B": lambda model: measures.clean_error(model, images.test).mean(),
        "κ": response("copy"),
        "τ": response("transmission"),
    }
    nets = models.replicate(lambda: wide(images.shape), seeds)
    history = fit(
        nets,
        images.train,
        objective=objective,
        steps=steps,
        log_at=[mark for mark in MARKS if mark <= steps],
        metrics=metrics,
        label=label,
    )
    return Trained(nets, history)


def small_photos() -> data.Images:
    """Pieces of photographs of 8 × 8 pixels; 16 × 16 in colour under the gpu profile."""
    size, channels = runtime.profile().pick(cpu=(8, 1), gpu=(16, 3))
    return data.load("photos", size=size, channels=channels)


@cache  # two experiments judge the same training
def copier_and_denoiser(seeds: int, steps: int) -> tuple[data.Images, Trained, Trained]:
    """The photographs and the two trainings on them, from the same starts."""
    photos = small_photos()
    copied = train(photos, objectives.copy, seeds, steps, "copying")
    denoised = train(photos, objectives.denoise(WHITE), seeds, steps, "denoising")
    return photos, copied, denoised


def over_strengths(nets: Sequence, images: Tensor) -> Tensor:
    """The gain of each net at each strength of noise, (seeds, strengths)."""
    return torch.stack([gains(nets, images, data.gaussian(s)) for s in STRENGTHS], 1)


def compared(images: data.Images, nets: Sequence[nn.Module], errors: Sequence[float]) -> dict:
    """Gains over strengths, (seeds, strengths): the nets and the filters beside them."""
    seeds = len(nets)
    filters = {
        "copier": nets,
        "PCA, as sharp": measures.matched_pca(images.train, images.test, errors),
        "blur, as sharp": measures.matched_blur(images.test, errors),
        "mean image": [measures.mean_image(images.train)] * seeds,
        "untrained": models.replicate(lambda: wide(images.shape), seeds),
    }
    curves = {name: over_strengths(group, images.test) for name, group in filters.items()}
    noises = [data.gaussian(sigma) for sigma in STRENGTHS]
    wiener = measures.wiener_filter(images.train, STRENGTHS)
    curves["Wiener filter"] = measures.denoising_gain(wiener, images.test, noises).mean(1)
    return curves


def ahead(curves: dict, at: int) -> Tensor:
    """The copier's gain over the better of the PCA and the blur, at one strength."""
    better = torch.maximum(curves["PCA, as sharp"], curves["blur, as sharp"])
    return (curves["copier"] - better)[:, at]


def run(seeds: int, steps: int, digit_steps: int) -> Result:
    """Copiers of photographs and of digits, and filters with the same clean error."""
    photos, (copiers, copied), (denoisers, _) = copier_and_denoiser(seeds, steps)
    errors = copied["B"][:, -1].tolist()
    breaks = measures.break_even_noise(errors, copied["τ"][:, -1].tolist())

    def at_share(share: float) -> Tensor:
        """Each copier's gain at that share of its own break-even noise."""
        noises = [data.gaussian(share * float(sigma)) for sigma in breaks]
        return measures.denoising_gain(copiers, photos.test, noises).mean(1)

    on_photos = compared(photos, copiers, errors)
    digits = data.load("digits")
    of_digits, followed = train(digits, objectives.copy, seeds, digit_steps, "copying digits")
    on_digits = compared(digits, of_digits, followed["B"][:, -1].tolist())

    at = STRENGTHS.index(0.2)
    readings = {
        "G at 0.2": on_photos["copier"][:, at],
        "G at 0.025": gains(copiers, photos.test, data.gaussian(0.025)),
        "G at half σ*": at_share(0.5),
        "G at twice σ*": at_share(2.0),
        "σ*": breaks,
        "untrained, G at 0.2": on_photos["untrained"][:, at],
        "mean image, G at 0.2": on_photos["mean image"][:, at],
        "clipping, G at 0.2": gains([lambda x: x.clamp(0, 1)] * seeds, photos.test),
        "net − control": ahead(on_photos, at),
        "net": on_photos["copier"][:, at],
        "matched PCA": on_photos["PCA, as sharp"][:, at],
        "matched blur": on_photos["blur, as sharp"][:, at],
        "Wiener filter": on_photos["Wiener filter"][at].expand(seeds),
        "digits at 0.5, net − control": ahead(on_digits, -1),
    }
    show = {
        "photos": photos,
        "digits": digits,
        "copiers": copiers,
        "denoisers": denoisers,
        "on photographs": on_photos,
        "on digits": on_digits,
        "errors": errors,
    }
    return Result(readings, show)


EXPERIMENT = Experiment(
    claims=(GAINS, FILTERS),
    run=run,
    short={"seeds": 3, "steps": 2000, "digit_steps": 1000},
    full={"seeds": 10, "steps": 2000, "digit_steps": 1000},
)
