"""Does an attention layer alone copy, and does it denoise?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random
from aelib.claims import Claim, above, below, between
from aelib.experiments.disjoint_halves import pooled_gain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="3.16",
    statement="An attention layer alone copies pixel by pixel: it denoises only as far as the "
    "convolution before it averages.",
    source="Badger's page, on attention: one layer alone copies and does not denoise",
    reading="attention − no attention, G(0.2)",
    measure="gain at σ = 0.2 of a linear-attention layer behind a 3 × 3 convolution, minus that of "
    "the same net without the layer",
    unit="dB",
    supported={
        "attention − no attention, G(0.2)": between(-1, 1),
        "attention behind 1 × 1, G(0.2)": below(1),
        "attention, PSNR of the copy": above(25),
    },
    conditional={
        "attention behind 1 × 1, G(0.2)": below(1),
        "attention behind 1 × 1, PSNR of the copy": above(25),
    },
    refuted={
        "attention behind 1 × 1, G(0.2)": above(1),
        "attention behind 1 × 1, PSNR of the copy": above(25),
    },
    condition="behind a single pixel; behind a window it changes what the window averages, or "
    "copies badly",
    controls=("no attention, G(0.2)", "mean image, G(0.2)", "untrained, G(0.2)"),
    also=(
        "attention, G(0.2)",
        "attention, κ",
        "no attention, κ",
        "attention behind 1 × 1, κ",
        "no attention, PSNR of the copy",
        "attention behind 1 × 1, PSNR of the copy",
    ),
    fails_when="The attention looks at other pixels for its averages, as a deep or a long-trained "
    "one may.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

DOT_PRODUCT = Claim(
    id="3.18",
    statement="An attention layer of dot products copies less accurately than one of linear "
    "attention, and denoises no more than the convolution before it.",
    source="Badger's page: dot-product attention is less accurate; alone it copies and does not "
    "denoise; without a residual it is badly conditioned",
    reading="copy, dot products − linear",
    measure="PSNR of the copy of a dot-product attention layer behind a 3 × 3 convolution, minus "
    "that of a linear one, same seed",
    unit="dB",
    supported={
        "copy, dot products − linear": below(-1),
        "dot products, PSNR of the copy": above(20),
        "dot products − no attention, G(0.2)": below(1),
    },
    conditional={
        "copy, dot products − linear": below(0),
        "dot products − no attention, G(0.2)": below(1),
    },
    condition="by less than a decibel, or the copy is poor",
    controls=(
        "no attention, PSNR of the copy",
        "no attention, G(0.2)",
        "dot products behind 1 × 1, G(0.2)",
    ),
    also=(
        "dot products, G(0.2)",
        "dot products behind 1 × 1, PSNR of the copy",
        "dot products + residual, PSNR of the copy",
        "dot products, largest / median slope",
        "dot products + residual, largest / median slope",
        "attention, largest / median slope",
    ),
    ratios=(
        "dot products, largest / median slope",
        "dot products + residual, largest / median slope",
        "attention, largest / median slope",
    ),
    fails_when="A residual goes round the attention: then the copy need not pass through it.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)

NOISE = data.gaussian(0.2)
KINDS = {  # kernel of the convolution before, kind of attention, residual around it
    "attention": (3, "linear", False),
    "no attention": (3, None, False),
    "attention behind 1 × 1": (1, "linear", False),
    "dot products": (3, "dot products", False),
    "dot products behind 1 × 1": (1, "dot products", False),
    "dot products + residual": (3, "dot products", True),
}
SHOWN = ("attention", "no attention", "attention behind 1 × 1")


class Attention(nn.Module):
    """Four heads of 32 over all pixels, by dot products or by linear attention; no residual.

    Linear attention has its softmax over queries and keys apart: its cost is linear in the pixels.
    """

    def __init__(self, channels: int, linear: bool, heads: int = 4, each: int = 32):
        super().__init__()
        self.heads, self.linear = heads, linear
        self.qkv = nn.Conv2d(channels, 3 * heads * each, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(heads * each, channels, 1), nn.GroupNorm(1, channels))

    def forward(self, hidden: Tensor) -> Tensor:
        _, _, height, width = hidden.shape
        qkv = self.qkv(hidden).flatten(2).unflatten(1, (3, self.heads, -1))
        queries, keys, values = qkv.unbind(1)  # each (batch, heads, each, pixels)
        if self.linear:
            queries = queries.softmax(-2) * queries.shape[-2] ** -0.5
            context = keys.softmax(-1) @ values.mT  # (batch, heads, each, each)
            seen = context.mT @ queries  # (batch, heads, each, pixels)
        else:
            seen = nn.functional.scaled_dot_product_attention(queries.mT, keys.mT, values.mT).mT
        return self.out(seen.flatten(1, 2).unflatten(-1, (height, width)))


class Residual(nn.Module):
    """x + layer(x)."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.layer(hidden)


def build(kind: str, channels: int) -> nn.Module:
    """A convolution to 64 maps, the layer or none, and a 1 × 1 convolution back."""
    kernel, attention, residual = KINDS[kind]
    layer = Attention(64, attention == "linear") if attention else nn.Identity()
    first = nn.Conv2d(channels, 64, kernel, padding=kernel // 2)
    return nn.Sequential(first, Residual(layer) if residual else layer, nn.Conv2d(64, channels, 1))


def run(seeds: int, steps: int, size: int) -> Result:
    """Copiers with each layer, without, and with nothing but a layer between single pixels."""
    photos = data.load("photos", size=size, test=128)
    channels = photos.shape[0]
    nets = {kind: models.replicate(lambda k=kind: build(k, channels), seeds) for kind in KINDS}
    untrained = models.replicate(lambda: build("attention", channels), seeds)
    for kind, group in nets.items():
        fit(group, photos.train, steps=steps, batch_size=16, lr=2e-3, schedule="cosine", label=kind)
    readings = {}
    for kind, group in nets.items():
        error = measures.clean_error(group, photos.test).mean(1)
        readings[f"{kind}, G(0.2)"] = pooled_gain(group, photos.test, NOISE)
        readings[f"{kind}, PSNR of the copy"] = -10 * torch.log10(error)
        readings[f"{kind}, κ"] = measures.copy_coefficient(group, photos.test, sigma=0.2).mean(1)
        slopes = torch.stack([measures.singular_values(net, photos.test[:1])[0] for net in group])
        readings[f"{kind}, largest / median slope"] = slopes[:, 0] / slopes.median(1).values
    without = readings["no attention, G(0.2)"]
    for kind in ("attention", "dot products"):
        readings[f"{kind} − no attention, G(0.2)"] = readings[f"{kind}, G(0.2)"] - without
    copies = {kind: readings[f"{kind}, PSNR of the copy"] for kind in KINDS}
    readings["copy, dot products − linear"] = copies["dot products"] - copies["attention"]
    readings["untrained, G(0.2)"] = pooled_gain(untrained, photos.test, NOISE)
    blank = [measures.mean_image(photos.train)] * seeds
    readings["mean image, G(0.2)"] = pooled_gain(blank, photos.test, NOISE)

    lively = photos.test[photos.test.flatten(1).std(1).argsort(descending=True)][:30:5]
    noisy = NOISE(lively, random.generator(3))
    with torch.no_grad():
        outputs = {kind: nets[kind][0](noisy) for kind in SHOWN}
    show = {"clean": lively, "noisy": noisy, "outputs": outputs}
    return Result(readings, show, tuple(show))


def picture(result: Result):
    """Noisy photographs and what each net makes of them."""
    outputs = {kind: result.show["outputs"][kind] for kind in SHOWN}
    rows = [result.show["clean"], result.show["noisy"], *outputs.values()]
    names = ["clean", "noisy", *(kind.replace(" attention", "\nattention", 1) for kind in outputs)]
    names = [name.replace(" behind", "\nbehind") for name in names]
    return figures.grid([torch.as_tensor(row) for row in rows], labels=names)


EXPERIMENT = Experiment(
    claims=(CLAIM, DOT_PRODUCT),
    run=run,
    short={"seeds": 3, "steps": 10, "size": 8},
    full={"seeds": 6, "steps": 3000, "size": 8},
    picture=picture,
    chunk=2,
)
