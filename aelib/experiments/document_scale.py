"""At the size of Badger's own net: do wide layers become the identity on photographs?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen
from aelib.experiments.wide_layers import STEP

CLAIM = Claim(
    id="2.8",
    statement="At the size of Badger's own net too, five hidden layers each wider than the 3,072 "
    "numbers that come in, training to copy photographs does not lead to the identity within the "
    "10,000 steps of this run.",
    source="Badger's page, section 2, where memorising is learning the identity, and his code",
    reading="κ",
    measure="copy coefficient for white noise of deviation 0.1, each of 128 held-out crops; one "
    "net, trained on a GPU",
    units="held-out crops of two photographs, one net",
    supported={"κ": below(0.1), "variance missed": below(0.25)},
    conditional={"κ": below(0.5), "variance missed": below(0.25)},
    condition="more than a tenth of white noise is passed on in place, but less than half",
    refuted={"κ": above(0.5), "variance missed": below(0.25)},
    controls=("PCA of equal error, κ", "untrained, κ"),
    also=(
        "τ",
        "PCA of equal error, τ",
        "κ, weaker half",
        "κ, 16 strongest directions",
        "variance missed, training crops",
    ),
    fails_when="Training is much longer, or the data use all directions. Whether white noise would "
    "have taken this net to the identity in as many steps was tried only on a smaller one, in "
    "claim 2.1.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

SHOWN = ("chelsea", "coffee", "chelsea", "noise", "squares", "letter")


def letter(text: str, shape: tuple[int, int, int]) -> Tensor:
    """A letter in ink on paper, (1, channels, height, width)."""
    import numpy as np
    from matplotlib.font_manager import findfont
    from PIL import Image, ImageDraw, ImageFont

    channels, height, width = shape
    page = Image.new("L", (width, height), 255)
    font = ImageFont.truetype(findfont("DejaVu Sans"), height)
    ImageDraw.Draw(page).text((width / 2, height / 2), text, 0, font, anchor="mm")
    return torch.from_numpy(np.array(page)).float().div(255).expand(1, channels, -1, -1)


def strange(photos: data.Images) -> Tensor:
    """Three held-out crops; white noise, squares and a letter, which no photograph taught."""
    shape, size = photos.shape, photos.shape[-1]
    places = torch.arange(size) // max(1, size // 8)
    squares = (places[:, None] + places).remainder(2).float().expand(1, *shape)
    contrast = photos.test.flatten(1).std(1)
    picked, left = [], {name: [] for name in dict.fromkeys(SHOWN[:3])}
    for index in contrast.argsort(descending=True).tolist():
        left[photos.test_sources[index]].append(index)
    for name in SHOWN[:3]:
        picked.append(left[name].pop(0))
    noise = data.white_noise(1, shape, seed=1)
    return torch.cat([photos.test[picked], noise, squares, letter("R", shape)])


def shares_missed(model: nn.Module | Callable, images: Tensor) -> Tensor:
    """Of each image the error over the images' variance: their mean is the variance missed."""
    variance = (images - images.mean(0)).square().mean()
    return measures.clean_error(model, images) / variance


def run(size: int, width: int, steps: int, crops: int, batch_size: int, lr: float) -> Result:
    """One net of five wide layers with GELU, trained to copy colour crops; PCA; the same untrained.

    Where Badger's code normalises, this net does not: claim 2.1's nets, larger.
    """
    photos = data.load("photos", size=size, channels=3, train=crops)
    clean = photos.test[:128]  # the two photographs take turns

    def build() -> nn.Module:
        return models.MLPAutoencoder(photos.shape, width=width, depth=5, activation="gelu")

    def kappa(model: nn.Module) -> Tensor:
        return measures.copy_coefficient(model, clean, sigma=STEP).mean()

    (model,) = models.replicate(build, seeds=1)
    history = fit(
        model,
        photos.train,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        log_at=12,
        metrics={"κ": kappa, "variance missed": lambda m: shares_missed(m, clean).mean()},
        label="five wide layers",
    )
    sample = photos.train[:4096]
    _, directions, _ = measures.principal_directions(sample)
    error = float(measures.clean_error(model, clean).mean())
    pca = measures.matched_pca(sample, clean, error)
    answer = measures.response(model, clean, STEP, draws=4)
    by_pca = measures.response(pca, clean, STEP, draws=4)

    def along(some: Tensor) -> Tensor:
        return measures.copy_coefficient(model, clean, STEP, directions=some, draws=4)

    (untrained,) = models.replicate(build, seeds=1)
    readings = {
        "κ": answer.copy,
        "τ": answer.transmission,
        "variance missed": shares_missed(model, clean),
        "variance missed, training crops": shares_missed(model, photos.train[:32]),
        "PCA of equal error, κ": by_pca.copy,
        "PCA of equal error, τ": by_pca.transmission,
        "untrained, κ": measures.copy_coefficient(untrained, clean, STEP),
        "κ, weaker half": along(directions[len(directions) // 2 :]),
        "κ, 16 strongest directions": along(directions[:16]),
    }
    asked = strange(photos)
    show = {
        "goes in": on_screen(asked),
        "comes out": on_screen(measures.outputs(model, asked)),
        "PCA": on_screen(measures.outputs(pca, asked)),
        "steps": history.steps,
        "κ": history["κ"][0],
        "variance missed": history["variance missed"][0],
    }
    return Result(readings, {**show, "model": model, "photos": photos}, keep=tuple(show))


def picture(result: Result) -> Figure:
    """What goes in, and below it what comes out."""
    rows = [torch.as_tensor(result.show[name]) for name in ("goes in", "comes out")]
    names: Sequence[str] = [{"chelsea": "a cat", "coffee": "a cup"}.get(n, n) for n in SHOWN]
    return figures.grid(rows, labels=["goes in", "comes out"], columns=names)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"size": 8, "width": 256, "steps": 400, "crops": 512, "batch_size": 64, "lr": 1e-3},
    full={
        "size": 32,
        "width": 4000,
        "steps": 10_000,  # some six hours of one core: a run of record for a GPU
        "crops": 10_000,
        "batch_size": 64,
        "lr": 1e-4,
    },
    picture=picture,
)
