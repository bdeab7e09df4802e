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
    conditional={"attention behind 1 × 1, G(0.2)": below(1)},
    refuted={
        "attention behind 1 × 1, G(0.2)": above(1),
        "attention behind 1 × 1, PSNR of the copy": above(25),
    },
    condition="behind a single pixel it does not denoise, but it adds to what a window averages, "
    "takes from it, or copies badly",
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
    seen_before="prototype",
)

NOISE = data.gaussian(0.2)
KINDS = {  # kernel of the convolution before, attention
    "attention": (3, True),
    "no attention": (3, False),
    "attention behind 1 × 1": (1, True),
}


class LinearAttention(nn.Module):
    """Attention whose softmax is over queries and keys apart: its cost is linear in the pixels."""

    def __init__(self, channels: int, heads: int = 4, each: int = 32):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * heads * each, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(heads * each, channels, 1), nn.GroupNorm(1, channels))

    def forward(self, hidden: Tensor) -> Tensor:
        _, _, height, width = hidden.shape
        qkv = self.qkv(hidden).flatten(2).unflatten(1, (3, self.heads, -1))
        queries, keys, values = qkv.unbind(1)  # each (batch, heads, each, pixels)
        queries = queries.softmax(-2) * queries.shape[-2] ** -0.5
        context = keys.softmax(-1) @ values.transpose(-2, -1)  # (batch, heads, each, each)
        seen = context.transpose(-2, -1) @ queries  # (batch, heads, each, pixels)
        return self.out(seen.flatten(1, 2).unflatten(-1, (height, width)))


def build(kind: str, channels: int) -> nn.Module:
    """A convolution to 64 maps, the layer or none, and a 1 × 1 convolution back; no residual."""
    kernel, attention = KINDS[kind]
    layer = LinearAttention(64) if attention else nn.Identity()
    first = nn.Conv2d(channels, 64, kernel, padding=kernel // 2)
    return nn.Sequential(first, layer, nn.Conv2d(64, channels, 1))


def run(seeds: int, steps: int, size: int) -> Result:
    """Copiers with the layer, without, and with nothing but the layer between single pixels."""
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
    with_it, without = (readings[f"{kind}, G(0.2)"] for kind in ("attention", "no attention"))
    readings["attention − no attention, G(0.2)"] = with_it - without
    readings["untrained, G(0.2)"] = pooled_gain(untrained, photos.test, NOISE)
    blank = [measures.mean_image(photos.train)] * seeds
    readings["mean image, G(0.2)"] = pooled_gain(blank, photos.test, NOISE)

    lively = photos.test[photos.test.flatten(1).std(1).argsort(descending=True)][:30:5]
    noisy = NOISE(lively, random.generator(3))
    with torch.no_grad():
        outputs = {kind: group[0](noisy) for kind, group in nets.items()}
    show = {"clean": lively, "noisy": noisy, "outputs": outputs}
    return Result(readings, show, tuple(show))


def picture(result: Result):
    """Noisy photographs and what each net makes of them."""
    outputs = result.show["outputs"]
    rows = [result.show["clean"], result.show["noisy"], *outputs.values()]
    names = ["clean", "noisy", *(kind.replace(" attention", "\nattention", 1) for kind in outputs)]
    names = [name.replace(" behind", "\nbehind") for name in names]
    return figures.grid([torch.as_tensor(row) for row in rows], labels=names)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 40, "size": 8},
    full={"seeds": 6, "steps": 600, "size": 8},
    picture=picture,
)
