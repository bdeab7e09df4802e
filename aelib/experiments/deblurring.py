"""Does a net that was only trained to copy sharpen a blurred image?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from aelib import figures, measures
from aelib.claims import Claim, above
from aelib.experiments.batch_statistics import copiers, on_batch, pieces, pooled_gain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.skips import copying_unets

CLAIM = Claim(
    id="3.14",
    statement="A net trained only to copy sharpens a blurred image.",
    source="Badger's page, section 3",
    reading="dense, no normalisation",
    measure="gain over a blurred image (9 pixels, deviation 2): the dense copier without "
    "normalisation",
    unit="dB",
    supported={"dense, no normalisation": above(0.5), "U-Net, no normalisation": above(0.5)},
    conditional={"dense, batch statistics": above(0.5)},
    condition="the net runs on the statistics of the batch",
    controls=("PCA as accurate", "unsharp mask", "linear deconvolution"),
    also=("detail back, no normalisation", "detail back, batch statistics"),
    fails_when="The net has learned the identity, or a low-pass: neither puts back what is gone.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

KERNELS = {"5 pixels, σ 1": (5, 1.0), "9 pixels, σ 2": (9, 2.0), "19 pixels, σ 8": (19, 8.0)}
MAIN = "9 pixels, σ 2"
NOISE = 0.01  # that the deconvolution reckons with

Map = Callable[[Tensor], Tensor]


def blur(images: Tensor, size: int, sigma: float) -> Tensor:
    """Gaussian blur with a kernel of `size` pixels, borders mirrored."""
    line = torch.arange(size) - size // 2
    weights = torch.exp(-(line.float() ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    wide = pad(images, (size // 2,) * 4, mode="reflect")
    across = (wide.unfold(3, size, 1) * weights).sum(-1)
    return (across.unfold(2, size, 1) * weights).sum(-1)


def deconvolution(train: Tensor, size: int, sigma: float) -> Map:
    """The best affine map from blurred images, with noise of 0.01, back to the sharp ones."""
    sharp, blurred = train.flatten(1), blur(train, size, sigma).flatten(1)
    mean, level = sharp.mean(0), blurred.mean(0)
    x, y = (blurred - level).double(), (sharp - mean).double()
    both = x.T @ x / len(x) + NOISE**2 * torch.eye(x.shape[1], dtype=torch.float64)
    matrix = torch.linalg.solve(both, x.T @ y / len(x)).float()
    return lambda z: ((z.flatten(1) - level) @ matrix + mean).view_as(z)


def unsharp_mask(train: Tensor, size: int, sigma: float) -> Map:
    """x + s(x − blur(x)), with the strength s that is best on training images."""
    blurred = blur(train, size, sigma)
    lost = blurred - blur(blurred, size, sigma)
    strength = float((lost * (train - blurred)).sum() / lost.square().sum())
    return lambda x: x + strength * (x - blur(x, size, sigma))


def run(seeds: int, steps: int, width: int, unet_steps: int) -> Result:
    """Gain over the blurred image for copiers, a PCA, and two filters that can sharpen."""
    images = pieces()
    clean = images.test
    plain = copiers("none", seeds, steps, width)
    normed = [on_batch(net) for net in copiers("batch", seeds, steps, width)]
    errors = measures.clean_error(plain, clean).mean(1).tolist()
    maps: dict[str, list[Map]] = {
        "dense, no normalisation": list(plain),
        "dense, batch statistics": normed,
        "U-Net, no normalisation": list(copying_unets(images, "no skips", seeds, unet_steps)),
        "PCA as accurate": measures.matched_pca(images.train, clean, errors),
    }
    table: dict[str, dict[str, Tensor]] = {}
    for name, kernel in KERNELS.items():
        group = maps | {
            "unsharp mask": [unsharp_mask(images.train, *kernel)] * seeds,
            "linear deconvolution": [deconvolution(images.train, *kernel)] * seeds,
        }
        spoil = lambda x, generator, kernel=kernel: blur(x, *kernel)  # noqa: E731
        table[name] = {
            kind: torch.tensor([pooled_gain(net, clean, spoil) for net in nets])
            for kind, nets in group.items()
        }
        if name == MAIN:
            blurred, shown = blur(clean, *kernel), group

    def detail_back(answer: Map) -> float:
        """⟨O(b) − b, a − b⟩ / ‖a − b‖², over all images."""
        lost = clean - blurred
        return float(((measures.outputs(answer, blurred) - blurred) * lost).sum() / (lost**2).sum())

    readings = {
        **table[MAIN],
        "detail back, no normalisation": [detail_back(net) for net in plain],
        "detail back, batch statistics": [detail_back(net) for net in normed],
    }
    some = clean.flatten(1).std(1).argsort(descending=True)[10:200:28]
    rows = {"clean": clean[some], "blurred": blurred[some]}
    for kind in ("dense, no normalisation", "dense, batch statistics", "linear deconvolution"):
        rows[kind.replace(", ", ",\n")] = measures.outputs(shown[kind][0], blurred)[some]
    return Result(readings, {"table": table, "rows": rows}, keep=("table", "rows"))


def picture(result: Result) -> Figure:
    """A blurred image, what copiers make of it, and that a linear filter brings some back."""
    rows = {name: torch.as_tensor(row) for name, row in result.show["rows"].items()}
    return figures.grid(list(rows.values()), labels=list(rows))


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 80, "width": 256, "unet_steps": 40},
    full={"seeds": 10, "steps": 1200, "width": 320, "unet_steps": 800},
    picture=picture,
)
