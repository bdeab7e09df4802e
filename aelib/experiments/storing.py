"""When does a net store its training images, so that others are returned as one of them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks, data, figures, fit, measures, models, random, runtime
from aelib.claims import Claim, above, below, between, label
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

MANY = Claim(
    id="2.4",
    statement="With many training images the net does not store them, be it after equally many "
    "steps or where it fits them as closely as few.",
    source="our second question to section 2 of Badger's page, whose memorising is the identity",
    reading="H at equal fit, 256 images, wide net",
    measure="H, share of held-out digits that the iterated net takes to a training image, when a "
    "thousandth of the training variance is missed; 256 images",
    supported={
        "H at equal fit, 256 images, wide net": below(0.1),
        "missed there, 256 images, wide net": between(0.0009, 0.0011),
        "H at equal fit, 16 images, narrow net": above(0.2),
        "share, 1024 images": below(0.1),
        "H, 1024 images": below(0.05),
    },
    conditional={"share, 1024 images": below(0.1), "H, 1024 images": below(0.05)},
    condition="after equally many steps, when many images are also fitted less closely; at equal "
    "fit it was not shown",
    refuted={
        "H at equal fit, 256 images, wide net": above(0.1),
        "missed there, 256 images, wide net": between(0.0009, 0.0011),
    },
    controls=("untrained, share, 1024 images", "PCA, share, 4 images"),
    also=("training variance missed, 4 images", "training variance missed, 1024 images"),
    fails_when="There are few images for the net's width, and it fits them closely.",
    rule_changed="2026-11-26",
    seen_before="first run",
)
FEW = Claim(
    id="2.5",
    statement="With few images training images are attractors; at equal fit a wider net stores "
    "more of them.",
    source="Radhakrishnan et al. 2018, 2020",
    reading="H, 4 images",
    measure="H, share of held-out digits that the iterated net takes to a training image, 4 images",
    supported={
        "H, 4 images": above(0.9),
        "untrained, H, 4 images": below(0.05),
        "PCA, H, 4 images": below(0.05),
        "H at equal fit, 64 images, wide − narrow": above(0.2),
        "missed there, 64 images, wide net": between(0.0009, 0.0011),
        "missed there, 64 images, narrow net": between(0.0009, 0.0011),
    },
    conditional={
        "H, 4 images": above(0.9),
        "untrained, H, 4 images": below(0.05),
        "PCA, H, 4 images": below(0.05),
    },
    condition="that few images are stored is clear; that width matters at equal fit is not",
    controls=("untrained, H, 4 images", "PCA, H, 4 images"),
    also=(
        "H, 16 images",
        "H, 64 images",
        "H, 256 images",
        "H at equal fit, 64 images, wide net",
        "H at equal fit, 16 images, wide net",
        "missed there, 16 images, wide net",
    ),
    fails_when="There is a skip from input to output, or one hidden layer and more than a few "
    "images.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

PASSES = 20  # at a time, through nets that are iterated as one map
FIT = 1e-3  # of the training variance missed: where nets are compared
FITTED = {f"{n} images, {word} net": (n, wide)
          for n in (16, 64, 256) for wide, word in enumerate(("narrow", "wide"))}  # fmt: skip
COUNTS, DEPTHS = (4, 16, 64), (1, 3, 5)
ALL_COUNTS = (*COUNTS, 256, 1024)
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "twice as wide": {"width": 256},
    "He's start": {"init": "he"},
    "tanh": {"activation": "tanh"},
    "x + MLP": {"skip": 1.0},
}


def recalled(nets: Sequence, sets: Sequence[Tensor], starts: Tensor, times: int) -> Tensor:
    """H of each map and its set, (nets,): the share of the starts taken to a training image.

    Nets are iterated as one map, where they are, `times` rounded up to a multiple of `PASSES`;
    `measures.memory` looks at where they end.
    """
    maps = list(nets)
    if isinstance(maps[0], nn.Module):
        weights, _ = torch.func.stack_module_state(maps)

        def some(weights: dict[str, Tensor], images: Tensor) -> Tensor:
            for _ in range(PASSES):
                images = torch.func.functional_call(nets[0], weights, (images,))
            return images

        ends = starts.expand(len(maps), *starts.shape)
        with torch.no_grad():
            for _ in range(0, times, PASSES):
                before, ends = ends, torch.func.vmap(some)(weights, ends)
                if torch.equal(before, ends):
                    break
        maps, times = [lambda _, end=end: end for end in ends], 1
    return measures.memory(maps, sets, starts, times=times).recalled.float().mean(1).cpu()


def stored(
    nets: Sequence, sets: Sequence[Tensor], digits: data.Images, times: int = 500
) -> tuple[Tensor, Tensor]:
    """For each model and its set: the share returned nearer to a training image, and H."""
    test = digits.test.to(sets[0].device)
    nearer = measures.nearer_training(nets, test, sets).float().mean(1).cpu()
    return nearer, recalled(nets, sets, test[:60], times)


def build(sets: Sequence[Tensor], **options) -> list[models.MLPAutoencoder]:
    """One net for each set of digits, where the digits are."""
    shape = checks.shape(sets[0].shape[1:])
    options = {"width": 128, "depth": 5, **options}
    nets = models.replicate(lambda: models.MLPAutoencoder(shape, **options), len(sets))
    return [net.to(sets[0].device) for net in nets]


def train(sets: Sequence[Tensor], steps: int, **options) -> list[models.MLPAutoencoder]:
    """One net for each set of digits, trained on it."""
    nets, n = build(sets, **options), len(sets[0])
    fit(nets, sets, steps=steps, batch_size=min(n, 64), label=f"{n} digits")
    return nets


def missed(nets: Sequence, sets: Sequence[Tensor]) -> np.ndarray:
    """Share of the training images' variance that copies miss, (nets,)."""
    return np.asarray(measures.unexplained_variance(nets, list(sets)))


def follow(
    sets: Sequence[Tensor],
    width: int,
    steps: int,
    digits: data.Images,
    records: int = 8,
    times: int = 300,
) -> dict:
    """Training variance missed and H along a training, both (nets, records)."""
    nets, n = build(sets, width=width), len(sets[0])
    logs = sorted({1, *np.geomspace(max(2, steps // 30), steps, records).astype(int).tolist()})
    starts = digits.test[:40].to(sets[0].device)
    found: list[tuple] = []

    def note(now: dict) -> None:
        nets = now["models"]
        found.append((missed(nets, sets), recalled(nets, sets, starts, times).numpy()))

    fit(nets, sets, steps=steps, batch_size=min(n, 64), log_at=logs, callback=note)
    errors, recall = (np.stack(rows, 1) for rows in zip(*found, strict=True))
    return {"steps": np.array(logs), "missed": errors, "H": recall}


def at_fit(followed: dict) -> tuple[np.ndarray, np.ndarray]:
    """Missed variance and H, (nets,), where `FIT` is first missed: between the records before it
    and behind it, by the logarithm of what is missed.

    At the last record where a net never misses so little, at the first where it always does; what
    is missed then says so.
    """
    missed, recall = followed["missed"], followed["H"]
    ends = [np.interp(np.log(FIT), np.log(np.minimum.accumulate(row)[::-1] + 1e-12), h[::-1])
            for row, h in zip(missed, recall, strict=True)]  # fmt: skip
    return np.clip(FIT, missed.min(1), missed[:, 0]), np.array(ends)


def run(
    seeds: int,
    steps: int,
    widths: Sequence[int],
    until: int,
    map_steps: int = 0,
    times: int = 500,
    records: int = 8,
) -> Result:
    """Share and H by number of images, by depth and kind, and along trainings of two widths."""
    digits, readings, followed = data.load("digits"), {}, {}
    here = runtime.device(double=True)  # as the measures need

    def sets_of(n: int) -> list[Tensor]:
        drawn = [digits.take(n, seed=random.moved(seed)).train for seed in range(seeds)]
        return [images.to(here) for images in drawn]

    def note(nets: Sequence, sets: Sequence[Tensor], name: str, who: str = "") -> None:
        shares, recall = stored(nets, sets, digits, times)
        readings[f"{who}share, {name}"], readings[f"{who}H, {name}"] = shares, recall

    for n in ALL_COUNTS:
        sets = sets_of(n)
        nets = train(sets, steps)
        note(nets, sets, f"{n} images")
        readings[f"training variance missed, {n} images"] = missed(nets, sets)
        note(build(sets), sets, f"{n} images", "untrained, ")
        own = [images.cpu() for images in sets]
        note(measures.pca_filter(own), own, f"{n} images", "PCA, ")  # all that they span
    for name, (n, wide) in FITTED.items():
        followed[name] = follow(sets_of(n), widths[wide], until, digits, records, min(times, 300))
        errors, recall = at_fit(followed[name])
        readings[f"missed there, {name}"] = errors
        readings[f"H at equal fit, {name}"] = recall
    readings["H at equal fit, 64 images, wide − narrow"] = (
        readings["H at equal fit, 64 images, wide net"]
        - readings["H at equal fit, 64 images, narrow net"]
    )
    for depth in DEPTHS[:-1] if map_steps else ():
        for n in COUNTS:
            sets = sets_of(n)
            note(train(sets, map_steps, depth=depth), sets, f"{n} images, depth {depth}")
    for name, options in VARIANTS.items() if map_steps else ():
        if options:
            sets = sets_of(16)
            note(train(sets, map_steps, **options), sets, f"16 images, {name}")
    shown = {label(key): np.asarray(values) for key, values in readings.items()}
    return Result(readings, {"followed": followed, "table": shown}, keep=("followed", "table"))


def picture(result: Result):
    """Share and H by number of images; missed variance and H along trainings."""
    figure, axes = figures.canvas(2, 2, height=7)
    table, followed = result.show["table"], result.show["followed"]
    words = {"share": ("share that comes nearer", "once"), "H": ("share ending there, H", "often")}
    for ax, (what, (ylabel, times)) in zip(axes, words.items(), strict=False):
        figures.curves(
            ALL_COUNTS,
            {
                name: np.stack([table[f"{who}{what}, {n} images"] for n in ALL_COUNTS], 1)
                for name, who in (
                    ("trained", ""),
                    ("untrained", "untrained, "),
                    ("PCA", "PCA, "),
                )
            },
            xlabel="training images n",
            ylabel=ylabel,
            logx=True,
            ylim=(-0.05, 1.05),
            legend="above",
            title=f"applied {times}",
            ax=ax,
        )
    steps = next(iter(followed.values()))["steps"]
    for ax, what, ylabel in (
        (axes[2], "missed", "training variance missed"),
        (axes[3], "H", "share ending there, H"),
    ):
        figures.curves(
            steps,
            {name.replace(" net", ""): np.maximum(rows[what], 1e-8 if what == "missed" else 0)
             for name, rows in followed.items()},
            lines={"compared": FIT} if what == "missed" else None,
            xlabel="training steps",
            ylabel=ylabel,
            logx=True,
            logy=what == "missed",
            ylim=None if what == "missed" else (-0.05, 1.05),
            legend="above" if what == "missed" else "none",
            ax=ax,
        )  # fmt: skip
    return figure


EXPERIMENT = Experiment(
    claims=(MANY, FEW),
    run=run,
    short={
        "seeds": 3,
        "steps": 250,
        "widths": [64, 128],
        "until": 120,
        "times": 60,
        "records": 3,
    },
    full={
        "seeds": 6,
        "steps": 1500,
        "widths": [128, 512],
        "until": 4000,
        "map_steps": 800,
        "records": 12,
    },
    picture=picture,
)
