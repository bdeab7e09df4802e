"""How much noise does a copier remove, and is it more than a filter as accurate would?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, objectives, random, runtime
from aelib.claims import Claim, above, below, between
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.training import History

GAINS = Claim(
    id="3.1",
    statement="A net trained only to copy brings noisy images nearer to the clean ones.",
    source="Badger's page, section 3",
    reading="G at 0.2",
    measure="gain of the copier, of all images' energies together, for white noise of deviation "
    "0.2, held-out photographs",
    unit="dB",
    supported={
        "G at 0.2": above(1),
        "G at 0.2, net − mean image": above(0),
        "G at 0.025": above(0),
    },
    conditional={
        "G at 0.2": above(1),
        "G at 0.2, net − mean image": above(0),
        "G at 0.025": below(0),
        "G at half σ*": below(0),
        "G at σ*": between(-0.3, 0.3),
        "G at twice σ*": above(0),
    },
    condition="the noise is stronger than the break-even noise σ*",
    controls=("untrained, G at 0.2", "mean image, G at 0.2", "clipping, G at 0.2"),
    also=("σ*", "worst miss of the equation"),
    fails_when="The noise is weaker than the break-even noise σ*, which is about the size of the "
    "net's own error.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
FILTERS = Claim(
    id="3.2",
    statement="What a copier gains on noisy images is no more than a PCA or a blur as accurate on "
    "clean images gives.",
    source="this chapter",
    reading="net − control",
    measure="gain of the copier over the better of a PCA and a blur with the same clean error, "
    "σ = 0.2, photographs",
    unit="dB",
    supported={"net − control": below(0), "digits at 0.5, net − control": below(0)},
    conditional={"net − control": below(0)},
    condition="the data are photographs; on digits under strong noise the net gains more",
    controls=("PCA as accurate", "blur as accurate", "blur as sharp", "Wiener filter"),
    also=("net", "net − blur as sharp", "sharpness, net", "sharpness, blur as accurate"),
    ratios=("sharpness, net", "sharpness, blur as accurate"),
    fails_when="The noise is large beside the data and the data are far from smooth: on digits at "
    "σ = 0.5 the net beats both. A blur truly as sharp gains less than the net.",
    rule_changed="2026-11-26",
    seen_before="prototype",
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
    """The gain of each net in dB: all images' noise over all that is left of it, (nets,).

    Energies are pooled before the logarithm, so that B / σ² + τ speaks of the same number.
    """
    noisy = noise(images, random.generator(0))
    left = [(measures.outputs(net, noisy) - images).square().sum() for net in nets]
    return 10 * torch.log10((noisy - images).square().sum() / torch.stack(left))


def train(
    images: data.Images, objective: objectives.Objective, seeds: int, steps: int, label: str
) -> Trained:
    """Nets trained so; gain at three noise levels, B, κ and τ at each mark."""

    def gain_at(sigma: float):
        noise = data.gaussian(sigma)
        return lambda model: gains([model], images.test, noise)[0]

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


def break_even(nets: Sequence[nn.Module], images: Tensor, errors: Sequence[float]) -> list[float]:
    """σ* of each net, with the transmission τ that it has at that very σ*; at most 1, the whole
    range of an image, for a net that passes on more than it gets, whatever the noise.
    """
    result = []
    for net, error in zip(nets, errors, strict=True):
        sigma = float(error) ** 0.5
        for _ in range(8):  # τ hardly moves with σ
            tau = float(measures.transmission(net, images, sigma).mean())
            sigma = min(measures.break_even_noise(error, tau), 1.0)
        result.append(sigma)
    return result


def as_sharp(images: Tensor, copies: Tensor) -> Callable[[Tensor], Tensor]:
    """The blur whose answers to clean images are as sharp as these copies."""
    wanted = float(measures.relative_sharpness(copies, images))
    low, high = 0.0, float((images - images.mean((2, 3), keepdim=True)).square().mean()) * 0.8
    for _ in range(18):  # halve: more error, less sharp
        middle = (low + high) / 2
        blurred = measures.matched_blur(images, middle)(images)
        more = float(measures.relative_sharpness(blurred, images)) > wanted
        low, high = (middle, high) if more else (low, middle)
    return measures.matched_blur(images, (low + high) / 2)


def filters_beside(
    images: data.Images, nets: Sequence[nn.Module], errors: Sequence[float]
) -> dict[str, list]:
    """The nets and the maps that they are compared with, as many of each."""
    copies = measures.outputs(nets, images.test)
    return {
        "copier": list(nets),
        "PCA, as accurate": measures.matched_pca(images.train, images.test, errors),
        "blur, as accurate": measures.matched_blur(images.test, errors),
        "blur, as sharp": [as_sharp(images.test, each) for each in copies],
        "mean image": [measures.mean_image(images.train)] * len(nets),
        "untrained": models.replicate(lambda: wide(images.shape), len(nets)),
    }


def compared(images: data.Images, maps: dict[str, list]) -> dict[str, Tensor]:
    """Gains over strengths: the maps, (seeds, strengths), and a Wiener filter for each."""
    curves = {name: over_strengths(group, images.test) for name, group in maps.items()}
    best = [
        gains([measures.wiener_filter(images.train, s)], images.test, data.gaussian(s))
        for s in STRENGTHS
    ]
    return curves | {"Wiener filter": torch.cat(best)}


def ahead(curves: dict[str, Tensor], at: int) -> Tensor:
    """The copier's gain over the better of the PCA and the blur, at one strength."""
    better = torch.maximum(curves["PCA, as accurate"], curves["blur, as accurate"])
    return (curves["copier"] - better)[:, at]


def run(seeds: int, steps: int, digit_steps: int) -> Result:
    """Copiers of photographs and of digits, and filters with the same clean error."""
    photos, (copiers, copied), (denoisers, _) = copier_and_denoiser(seeds, steps)
    clean = photos.test
    errors = copied["B"][:, -1].tolist()
    breaks = break_even(copiers, clean, errors)

    def at_share(share: float) -> list[float]:
        """Each copier's gain at that share of its own break-even noise."""
        pairs = zip(copiers, breaks, strict=True)
        return [float(gains([net], clean, data.gaussian(share * s))[0]) for net, s in pairs]

    maps = filters_beside(photos, copiers, errors)
    on_photos = compared(photos, maps)
    taus = torch.stack([measures.transmission(copiers, clean, s).mean(1) for s in STRENGTHS], 1)
    left = torch.tensor(errors)[:, None] / torch.tensor(STRENGTHS) ** 2 + taus
    predicted = -10 * torch.log10(left)
    digits = data.load("digits")
    of_digits, followed = train(digits, objectives.copy, seeds, digit_steps, "copying digits")
    on_digits = compared(digits, filters_beside(digits, of_digits, followed["B"][:, -1].tolist()))

    def sharpness(name: str) -> list[float]:
        answers = measures.outputs(maps[name], clean)
        return [float(measures.relative_sharpness(each, clean)) for each in answers]

    at = STRENGTHS.index(0.2)
    readings = {
        "G at 0.2": on_photos["copier"][:, at],
        "G at 0.025": gains(copiers, clean, data.gaussian(0.025)),
        "G at half σ*": at_share(0.5),
        "G at σ*": at_share(1.0),
        "G at twice σ*": at_share(2.0),
        "σ*": breaks,
        "worst miss of the equation": (on_photos["copier"] - predicted).abs().amax(1),
        "untrained, G at 0.2": on_photos["untrained"][:, at],
        "mean image, G at 0.2": on_photos["mean image"][:, at],
        "G at 0.2, net − mean image": (on_photos["copier"] - on_photos["mean image"])[:, at],
        "clipping, G at 0.2": gains([lambda x: x.clamp(0, 1)] * seeds, clean),
        "net − control": ahead(on_photos, at),
        "net": on_photos["copier"][:, at],
        "PCA as accurate": on_photos["PCA, as accurate"][:, at],
        "blur as accurate": on_photos["blur, as accurate"][:, at],
        "blur as sharp": on_photos["blur, as sharp"][:, at],
        "net − blur as sharp": (on_photos["copier"] - on_photos["blur, as sharp"])[:, at],
        "sharpness, net": sharpness("copier"),
        "sharpness, blur as accurate": sharpness("blur, as accurate"),
        "Wiener filter": on_photos["Wiener filter"][at].expand(seeds),
        "digits at 0.5, net − control": ahead(on_digits, -1),
    }
    kept = {"on photographs": on_photos, "on digits": on_digits, "predicted": predicted}
    nets = {"photos": photos, "copiers": copiers, "denoisers": denoisers, "errors": errors}
    return Result(readings, kept | nets, keep=tuple(kept))


def picture(result: Result) -> Figure:
    """Gain against the strength of the noise, on photographs and on digits."""
    figure, (upper, lower) = figures.canvas(2, 1, height=8)
    for ax, title in ((upper, "on photographs"), (lower, "on digits")):
        curves = dict(result.show[title])
        exact = {"Wiener filter": curves.pop("Wiener filter")}
        if ax is upper:
            exact["the equation"] = result.show["predicted"].mean(0)
        figures.curves(
            STRENGTHS,
            curves,
            exact=exact,
            lines={"doing nothing": 0},
            xlabel="deviation of the noise σ" if ax is lower else "",
            ylabel="denoising gain (dB)",
            title=title,
            ylim=(-10, 15),
            legend="ends",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(GAINS, FILTERS),
    run=run,
    short={"seeds": 3, "steps": 200, "digit_steps": 300},
    full={"seeds": 10, "steps": 5000, "digit_steps": 3000},
    picture=picture,
)
