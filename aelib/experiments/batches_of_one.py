"""What does batch normalisation take away where a batch is one image?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.batch_statistics import on_batch, own_mean, pieces, pooled_gain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result
from aelib.experiments.skips import RECIPE

CLAIM = Claim(
    id="3.12",
    statement="With batches of one, batch normalisation lets a copier gain on noise with a mean of "
    "each image's own, for it takes away the image's own brightness and contrast.",
    source="Badger's code, batches of one; this chapter",
    reading="own mean, one − none",
    measure="gain under the mix whose noise has a mean of each image's own: statistics of one "
    "image over no normalisation, circular padding",
    unit="dB",
    supported={
        "own mean, one − none": above(0.2),
        "own mean, batch − none": below(0.3),
        "clean error, one over batch": above(1.5),
        "change by ½a + 0.2, zeros": above(0.2),
    },
    refuted={"own mean, one − none": below(0.2)},
    controls=("own mean, standardised, no net", "own mean, mean image", "own mean, zeros − none"),
    also=(
        "change by ½a + 0.2, circular",
        "one, shared − own shift",
        "batch, shared − own shift",
        "change by ½a + 0.2, no normalisation",
        "clean error, standardised over one",
    ),
    ratios=("clean error, one over batch", "clean error, standardised over one"),
    fails_when="The padding tells the net how bright the image is: zeros at the border do.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

DOWNS = 1  # halvings; the fewer, the shorter the training after which a net copies

NOISES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "own mean": own_mean,
    "shared shift": data.shift(0.2),
    "own shift": data.shift(0.2, shared=False),
}


def unet(shape: tuple[int, int, int], norm: str, circular: bool = False) -> nn.Module:
    """The U-Net without skips; norm "one" takes each image's own statistics.

    That is what batch normalisation does to a batch of one, and it can be trained in batches.
    """
    model = models.UNet(shape, width=8, downs=DOWNS, norm="none" if norm == "none" else "batch")
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if norm == "one" and isinstance(layer, nn.BatchNorm2d):
                channels = layer.num_features
                setattr(parent, name, nn.GroupNorm(channels, channels))  # instance norm
            if circular and isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.padding_mode = "circular"
    return model.to(memory_format=torch.contiguous_format) if circular else model


def standardised(train: Tensor) -> Callable[[Tensor], Tensor]:
    """No net: each image gets the mean brightness and contrast of the training images."""
    each = train.flatten(1)
    level, spread = each.mean(1).mean(), each.std(1).mean()

    def run(images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3), keepdim=True)
        deviation = images.std((1, 2, 3), keepdim=True).clamp_min(1e-4)
        return (images - mean) / deviation * spread + level

    return run


def change(model: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """‖O(½a + 0.2) − O(a)‖ / ‖½a + 0.2 − a‖, over all the images' energy."""
    other = 0.5 * images + 0.2
    moved = measures.outputs(model, other) - measures.outputs(model, images)
    return float(moved.norm() / (other - images).norm())


def run(seeds: int, steps: int) -> Result:
    """Copiers with statistics of none, the batch, one image, and one image in circular padding."""
    images = pieces()
    clean = images.test
    kinds = {
        "none": ("none", False),
        "batch": ("batch", False),
        "zeros": ("one", False),
        "one": ("one", True),
    }
    nets: dict[str, list[Callable[[Tensor], Tensor]]] = {}
    for kind, options in kinds.items():
        built = models.replicate(lambda options=options: unet(images.shape, *options), seeds)
        fit(
            built,
            images.train,
            steps=steps,
            schedule="cosine",
            vmap=False,
            label=f"statistics of {kind}",
            **RECIPE,
        )
        nets[kind] = [on_batch(net) for net in built] if kind == "batch" else list(built)
    nets["standardised, no net"] = [standardised(images.train)] * seeds
    nets["mean image"] = [measures.mean_image(images.train)] * seeds

    def gain(kind: str, noise: str) -> Tensor:
        return torch.tensor([pooled_gain(net, clean, NOISES[noise]) for net in nets[kind]])

    table = {noise: {kind: gain(kind, noise) for kind in nets} for noise in NOISES}
    errors = {kind: measures.clean_error(nets[kind], clean).mean(1) for kind in nets}
    own = table["own mean"]
    changes = {
        kind: torch.tensor([change(net, clean) for net in nets[kind]])
        for kind in ("none", "zeros", "one")
    }
    readings = {
        "own mean, one − none": own["one"] - own["none"],
        "own mean, zeros − none": own["zeros"] - own["none"],
        "own mean, batch − none": own["batch"] - own["none"],
        "one, shared − own shift": table["shared shift"]["one"] - table["own shift"]["one"],
        "batch, shared − own shift": table["shared shift"]["batch"] - table["own shift"]["batch"],
        "clean error, one over batch": errors["one"] / errors["batch"],
        "clean error, standardised over one": errors["standardised, no net"] / errors["one"],
        "change by ½a + 0.2, circular": changes["one"],
        "change by ½a + 0.2, zeros": changes["zeros"],
        "change by ½a + 0.2, no normalisation": changes["none"],
        "own mean, standardised, no net": own["standardised, no net"],
        "own mean, mean image": own["mean image"],
    }
    some = clean[clean.flatten(1).std(1).argsort(descending=True)[10:200:28]]
    rows = {"a": some, "½a + 0.2": 0.5 * some + 0.2}
    for kind, name in (("one", "circular"), ("zeros", "zeros")):
        for x in ("a", "½a + 0.2"):
            rows[f"{name},\nfrom {x}"] = measures.outputs(nets[kind][0], rows[x])
    return Result(readings, {"rows": rows}, keep=("rows",))


def picture(result: Result) -> Figure:
    """An image, the same paler and brighter, and what two nets make of both."""
    rows = {name: torch.as_tensor(row) for name, row in result.show["rows"].items()}
    return figures.grid(list(rows.values()), labels=list(rows))


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 25},
    full={"seeds": 12, "steps": 500},
    picture=picture,
    chunk=2,
)
