"""What can be read of the corruption off a net that was never trained?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aelib import figures, inversion, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments import digit_diffusion
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="4.10",
    statement="An untrained U-Net with skips tells more of the corruption than a single layer, or "
    "a single number, does.",
    source="Badger's page, section 4: “capable of inferring the corruption process without "
    "training”",
    reading="decoder with skips / one convolution",
    measure="share of the variance of σ that a linear probe on the last decoder stage, untrained, "
    "misses, over what it misses on one untrained convolution",
    supported={
        "decoder with skips / one convolution": below(0.8),
        "decoder with skips / edge pixels": below(0.8),
    },
    refuted={"decoder with skips / one convolution": above(1)},
    controls=(
        "one convolution",
        "one convolution, SiLU",
        "one convolution, normalised",
        "one number: edge pixels",
        "decoder, not normalised",
        "first stage, skips",
        "pixels and squares",
        "one number: sharpness",
        "raw pixels",
        "decoder, no skips",
        "shuffled",
        "noise: raw pixels",
    ),
    also=(
        "decoder with skips / edge pixels",
        "decoder with skips / pixels and squares",
        "decoder with skips / normalised convolution",
        "decoder, skips",
        "output, skips",
        "output, no skips",
        "noise: decoder, skips",
        "noise: decoder, no skips",
    ),
    ratios=(
        "decoder with skips / one convolution",
        "decoder with skips / edge pixels",
        "decoder with skips / pixels and squares",
        "decoder with skips / normalised convolution",
    ),
    fails_when="Always, in these nets: one untrained convolution tells more, also normalised as "
    "the decoder is, and so does one number, how bright the pixels are that every digit has black.",
    rule_changed="2026-11-28",
    seen_before="first run",
)

MIDDLE = (..., slice(10, 18), slice(10, 18))  # of 28 × 28 pixels
NODES = {"first stage": "encoder.0", "decoder": "decoder.0", "output": "output"}

NETS = (
    "first stage, skips",
    "decoder, skips",
    "decoder, not normalised",
    "decoder, no skips",
    "output, skips",
    "output, no skips",
)
PLAIN = (
    "one convolution",
    "one convolution, SiLU",
    "one convolution, normalised",
    "pixels and squares",
    "one number: edge pixels",
    "one number: sharpness",
    "raw pixels",
    "shuffled",
)


def corrupted(images: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images each with its own noise level: (noisy, levels, noise)."""
    source = random.generator(seed)
    levels = 0.05 + 0.45 * random.uniform((len(images),), images, source)
    noise = levels.view(-1, 1, 1, 1) * random.normal(images.shape, images, source)
    return images + noise, levels, noise


def normalised(features: Tensor) -> Tensor:
    """The decoder's own norm and activation: each group of channels divided by its deviation."""
    return nn.functional.silu(nn.functional.group_norm(features, 8))


def one_convolution(
    images: Tensor, seed: int, activation: Callable[[Tensor], Tensor] = torch.relu
) -> Tensor:
    """As many features as the decoder's last stage, from one layer."""
    kernels = random.normal((16, 1, 3, 3), images, random.generator(seed)) / 3
    return activation(nn.functional.conv2d(images, kernels, stride=2, padding=1))


def edge(images: Tensor) -> Tensor:
    """Root mean square of the two outer columns, which in a digit are nearly black: (n,)."""
    return images[..., [0, -1]].flatten(1).square().mean(1).sqrt()


def plain_features(images: Tensor, seed: int) -> dict[str, Tensor]:
    """What needs no more than one layer, by name."""
    flat = images.flatten(1)
    return {
        "raw pixels": flat,
        "pixels and squares": torch.cat([flat, flat.square()], 1),
        "one convolution": one_convolution(images, seed),
        "one convolution, SiLU": one_convolution(images, seed, nn.functional.silu),
        "one convolution, normalised": one_convolution(images, seed, normalised),
        "one number: edge pixels": edge(images)[:, None],
        "one number: sharpness": measures.sharpness(images)[:, None],
    }


def net_features(images: Tensor, skips: str, seed: int, norm: bool = True) -> dict[str, Tensor]:
    """The features of an untrained U-Net, by the name of the node; its group norms, or none."""
    (model,) = models.replicate(
        lambda: digit_diffusion.build(time=False, skips=skips == "skips"), seeds=1, first=seed
    )
    if not norm:
        for part in model.modules():
            for name, inner in part.named_children():
                if isinstance(inner, nn.GroupNorm):
                    setattr(part, name, nn.Identity())
        (features,) = inversion.features(model, images, NODES["decoder"]).values()
        return {"decoder, not normalised": features}
    features = inversion.features(model, images, list(NODES.values()))
    return {f"{name}, {skips}": features[node] for name, node in NODES.items()}


def run(seeds: int, examples: int) -> Result:
    """R² for σ, and for the noise itself ("noise: …"), by what is read.

    Of the noise that of `MIDDLE` is asked for: a target for each pixel is long work.
    """
    digits = digit_diffusion.digits().take(examples)
    rows: dict[str, list[float]] = {}
    for seed in range(seeds):
        noisy, levels, noise = corrupted(digits.train, seed)
        unseen, test_levels, test_noise = corrupted(digits.test, seeds + seed)
        described, test_described = (
            plain_features(images, seed)
            | net_features(images, "skips", seed)
            | net_features(images, "no skips", seed)
            | net_features(images, "skips", seed, norm=False)
            for images in (noisy, unseen)
        )
        for name, features in described.items():
            probe = measures.ridge_probe(features, levels, test_described[name], test_levels)
            rows.setdefault(name, []).append(float(probe.r2))
            if name == "decoder, skips":
                rows.setdefault("shuffled", []).append(float(probe.shuffled))
            if name == "raw pixels" or name.endswith("skips"):
                wanted = noise[MIDDLE].flatten(1), test_noise[MIDDLE].flatten(1)
                probe = measures.ridge_probe(features, wanted[0], test_described[name], wanted[1])
                rows.setdefault(f"noise: {name}", []).append(float(probe.r2))
    readings = {name: torch.tensor(values) for name, values in rows.items()}
    missed = {name: 1 - r2 for name, r2 in readings.items()}
    for rival, name in (
        ("one convolution", "one convolution"),
        ("one convolution, normalised", "normalised convolution"),
        ("pixels and squares", "pixels and squares"),
        ("one number: edge pixels", "edge pixels"),
    ):
        readings[f"decoder with skips / {name}"] = missed["decoder, skips"] / missed[rival]
    show = {"r2": {name: readings[name] for name in (*NETS, *PLAIN)}}
    return Result(readings, show, ("r2",))


def picture(result: Result) -> Figure:
    """R² for σ on an untrained net's features, and on what needs no more than one layer."""
    figure, (ax,) = figures.canvas(1, 1, height=3.4)
    figures.bars(
        {name: result.show["r2"][name] for name in (*NETS, *PLAIN)},
        xlabel="R² of a linear probe for the noise level σ, unseen digits",
        controls=PLAIN,
        ax=ax,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "examples": 300},
    full={"seeds": 10, "examples": 2000},
    picture=picture,
)
