"""Does what a copier says of a noisy image still hold the noise?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib import data, figures, fit, inversion, measures, models, random
from aelib.claims import Claim, above, below
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="3.15",
    statement="Training a dense copier takes the noise of its input out of what its output says "
    "of it.",
    source="Badger's page, section 3: “our expectation is correct”",
    reading="output, trained",
    measure="share of the input's noise in the image read back from the output of a trained dense "
    "copier, σ = 0.2",
    supported={
        "output, trained": below(0.25),
        "output, trained − untrained": below(-0.3),
        "first layer, trained": above(0.9),
        "arrived, output, trained": above(0.9),  # a search that stops early finds no noise either
    },
    conditional={
        "output, trained − untrained": below(-0.3),
        "arrived, output, trained": above(0.9),
    },
    condition="it takes out a part: more than a quarter stays, or the first layer has lost some",
    refuted={"output, trained − untrained": above(-0.1)},
    controls=(
        "output, untrained",
        "O(noisy) itself",
        "4 × 4 thumbnail",
        "U-Net, output, untrained",
        "U-Net, output, trained − untrained",
    ),
    also=(
        "third layer, trained",
        "arrived, output, untrained",
        "m_g/m_r, output, trained",
        "change on doubling, trained",
        "numerical rank, output, untrained",
        "numerical rank, output, trained",
        "U-Net, arrived, output, untrained",
        "U-Net, leftover, output, untrained",
    ),
    fails_when="The net is a U-Net without skips: little noise comes back of it before training or "
    "after, but few of those searches arrive. A search that goes on finds more of it in any net.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

SIGMA = 0.2
LAYERS = {"first layer": "encoder.1", "third layer": "encoder.5", "output": "output"}
STATES = ("untrained", "trained")


def kept(images: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """⟨x − a, e⟩ / ‖e‖² for each image: 1 where it holds the noise, 0 where it does not."""
    overlap = ((images - clean) * noise).flatten(1).sum(1)
    return overlap / noise.square().flatten(1).sum(1)


def arrived(found: inversion.LayerInversion) -> Tensor:
    """Whether a search came to its end, (images,): m_g/m_r is below .01, or f changed by less than
    2 % in the second half of the evaluations.
    """
    change = (found.m_i / found.trace["m_i"][..., 1]).square() - 1
    return ((found.ratio < 0.01) | (change.abs() < 0.02))[0]


def read_back(
    model: nn.Module, noisy: Tensor, start: Tensor, layers: Sequence[str], search: int
) -> inversion.Inversion:
    """What layers say of the noisy images, found from the mean image."""
    plain = inversion.Recipe(parameterization=inversion.Pixels(), init_contrast=1.0, steps=search)
    how = {"recipe": plain, "init": start, "log_at": [search // 2], "until": 1e-3}
    return inversion.invert(model, noisy, layers, label="reading back", **how)


def run(seeds: int, steps: int, search: int, unets: int, unet_steps: int, images: int) -> Result:
    """Dense copiers and U-Nets, untrained and trained, whose noisy input is read back."""
    photos = data.load("photos", size=16, channels=1)
    lively = photos.test[photos.test.flatten(1).std(1) > 0.1][::7]
    clean = lively[:images]
    # Clipped, for `invert` takes images in [0, 1]; e is what the clipping leaves of the noise.
    noisy = data.gaussian(SIGMA)(clean, random.generator(8)).clamp(0, 1)
    noise = noisy - clean
    start = photos.train.mean(0).expand_as(clean)

    def dense() -> nn.Module:
        return models.MLPAutoencoder(photos.shape, width=384, depth=5, activation="gelu")

    def unet() -> nn.Module:
        return models.UNet(photos.shape, 8, norm="none")

    nets = {}
    kinds = (("dense", dense, seeds, steps), ("U-Net", unet, unets, unet_steps))
    for kind, build, n, long in kinds:
        nets[kind] = {state: models.replicate(build, n) for state in STATES}
        fit(nets[kind]["trained"], photos.train, steps=long, schedule="cosine", label=kind)

    readings: dict = {}
    seen, first_images = {}, {}
    for state in STATES:
        runs = [
            read_back(net, noisy, start, list(LAYERS.values()), search)
            for net in nets["dense"][state]
        ]
        for name, layer in LAYERS.items():
            readings[f"{name}, {state}"] = torch.stack(
                [kept(run[layer].images[0], clean, noise).mean() for run in runs]
            )
        seen[state] = torch.stack([readings[f"{name}, {state}"] for name in LAYERS], 1)
        first_images[state] = {name: runs[0][layer].images[0, :6] for name, layer in LAYERS.items()}
        last = [run["output"] for run in runs]
        readings[f"arrived, output, {state}"] = [float(arrived(r).float().mean()) for r in last]
        readings[f"m_g/m_r, output, {state}"] = [float(r.ratio.median()) for r in last]
        readings[f"change on doubling, {state}"] = [
            float((r.m_i / r.trace["m_i"][..., 1] - 1).abs().median()) for r in last
        ]
        readings[f"numerical rank, output, {state}"] = [
            float((spectrum > 0.01 * spectrum[0]).sum())
            for net in nets["dense"][state]
            for spectrum in measures.singular_values(net, noisy[:1])
        ]
        last = [
            read_back(net, noisy, start, ["output"], search)["output"]
            for net in nets["U-Net"][state]
        ]
        readings |= {
            f"U-Net, output, {state}": [
                float(kept(r.images[0], clean, noise).mean()) for r in last
            ],
            f"U-Net, arrived, output, {state}": [float(arrived(r).float().mean()) for r in last],
            f"U-Net, leftover, output, {state}": [float(r.leftover.median()) for r in last],
        }
    for kind in ("", "U-Net, "):
        before, after = (torch.as_tensor(readings[f"{kind}output, {state}"]) for state in STATES)
        readings[f"{kind}output, trained − untrained"] = after - before
    made = measures.outputs(nets["dense"]["trained"], noisy)  # (seeds, n, channels, height, width)
    readings["O(noisy) itself"] = torch.stack([kept(x, clean, noise).mean() for x in made])
    coarse = clean + measures.thumbnail(noisy) - measures.thumbnail(clean)
    by_thumbnail = kept(coarse, clean, noise).mean()
    readings["4 × 4 thumbnail"] = [float(by_thumbnail)] * seeds
    show = {
        "kept": seen,  # by state, (seeds, layers)
        "clean": clean[:6],
        "noisy": noisy[:6],
        "read back": first_images,
    }
    return Result(readings, show, tuple(show))


def picture(result: Result):
    """Clean, noisy, and what the layers of a trained net say of the noisy images."""
    trained, untrained = (result.show["read back"][state] for state in ("trained", "untrained"))
    rows = [result.show["clean"], result.show["noisy"], *trained.values(), untrained["output"]]
    names = ["clean", "noisy", *(f"trained,\n{name}" for name in LAYERS), "untrained,\noutput"]
    return figures.grid([torch.as_tensor(row) for row in rows], labels=names)


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 120, "search": 50, "unets": 3, "unet_steps": 30, "images": 3},
    full={"seeds": 10, "steps": 1500, "search": 1500, "unets": 6, "unet_steps": 800, "images": 16},
    picture=picture,
)
