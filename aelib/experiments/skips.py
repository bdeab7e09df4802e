"""What do skip connections do to a convolutional copier?"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import data, figures, fit, measures, models, random, runtime
from aelib.claims import Claim, above, below
from aelib.experiments.copier_and_denoiser import WHITE, gains
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="3.5",
    statement="A convolutional autoencoder without skips denoises; with skips it heads for the "
    "identity.",
    source="Badger's page, section 3",
    reading="skips, κ",
    measure="copy coefficient κ of the net with concatenated skips, held-out photographs",
    supported={
        "skips, κ": above(0.4),
        "κ, skips − none": above(0.2),
        "no skips, G(0.2)": above(1),
        "no skips − mean image, G(0.2)": above(0),
        "G(0.2), skips − none": below(0),
    },
    refuted={"skips, κ": below(0.4), "steps trained": above(1000)},
    controls=("x + net, κ", "untrained, κ", "only the last layer, G(0.2)"),
    also=("no skips, κ", "no skips, B", "skips, G(0.2)", "skips, B", "mean image, G(0.2)"),
    fails_when="Training is very short. Skips make the identity reachable; only a residual path "
    "starts there.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

SKIPS = {"no skips": "none", "skips": "concat", "doubled skips": "double"}
RECIPE = {"batch_size": 32, "lr": 2e-3}


class Residual(nn.Module):
    """x + model(x): the identity is where it starts."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return images + self.model(images)


def large_photos() -> data.Images:
    """Pieces of photographs of 16 × 16 pixels; 64 × 64 in colour under the gpu profile."""
    size, channels = runtime.profile().pick(cpu=(16, 1), gpu=(64, 3))
    return data.load("photos", size=size, channels=channels)


def unets(photos: data.Images, seeds: int, **options) -> list[nn.Module]:
    """U-Nets for these photographs, one a seed."""
    width = runtime.profile().pick(cpu=8, gpu=64)
    return models.replicate(lambda: models.UNet(photos.shape, width, **options), seeds)


def kappa(nets: Sequence[nn.Module], images: Tensor) -> Tensor:
    """κ at σ = 0.1, a mean over the images, for each net."""
    return measures.copy_coefficient(nets, images, sigma=0.1).mean(1)


def copying_unets(photos: data.Images, kind: str, seeds: int, steps: int) -> list[nn.Module]:
    """Copying U-Nets without normalisation, with this kind of skips."""
    nets = unets(photos, seeds, skips=SKIPS[kind], norm="none")
    fit(nets, photos.train, steps=steps, label=kind, **RECIPE)
    return nets


def run(seeds: int, steps: int, kinds: Sequence[str], control_steps: int) -> Result:
    """Copiers with each kind of skips; x + net, an untrained net, one only of its last layer."""
    photos = large_photos()
    nets = {kind: copying_unets(photos, kind, seeds, steps) for kind in kinds}
    residual = [Residual(model) for model in unets(photos, seeds, norm="none", gain=0.1)]
    fit(residual, photos.train, steps=min(100, steps), label="x + net", **RECIPE)
    last_only = unets(photos, seeds, norm="none")
    for model in last_only:
        model.requires_grad_(False)
        model.get_submodule("last").requires_grad_(True)
    fit(last_only, photos.train, steps=control_steps, label="only the last layer", **RECIPE)

    readings: dict = {"steps trained": [float(steps)] * seeds}
    for kind, group in nets.items():
        readings[f"{kind}, κ"] = kappa(group, photos.test)
        readings[f"{kind}, G(0.2)"] = gains(group, photos.test)
        readings[f"{kind}, B"] = measures.clean_error(group, photos.test).mean(1)
    for quantity in ("κ", "G(0.2)"):
        with_skips, without = (readings[f"{kind}, {quantity}"] for kind in ("skips", "no skips"))
        readings[f"{quantity}, skips − none"] = with_skips - without
    readings |= {
        "x + net, κ": kappa(residual, photos.test),
        "untrained, κ": kappa(unets(photos, seeds, norm="none"), photos.test),
        "only the last layer, G(0.2)": gains(last_only, photos.test),
        "mean image, G(0.2)": gains([measures.mean_image(photos.train)] * seeds, photos.test),
    }
    blank = readings["no skips, G(0.2)"] - readings["mean image, G(0.2)"]
    readings["no skips − mean image, G(0.2)"] = blank
    vivid = photos.test.flatten(1).std(1).argsort(descending=True)[10:200:28]
    rows = {"clean": photos.test[vivid]}
    rows["noisy"] = WHITE(rows["clean"], random.generator(0))
    for kind, group in nets.items():
        rows[kind] = measures.outputs(group[0], rows["noisy"])
    return Result(readings, {"rows": rows, "photos": photos, "models": nets}, keep=("rows",))


def picture(result: Result) -> Figure:
    """Clean, noisy, and what a copier with each kind of skips makes of the noisy ones."""
    rows = result.show["rows"]
    return figures.grid(list(rows.values()), labels=[name.replace(" s", "\ns") for name in rows])


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 40, "kinds": ["no skips", "skips"], "control_steps": 20},
    full={"seeds": 6, "steps": 1500, "kinds": list(SKIPS), "control_steps": 1500},
    picture=picture,
    chunk=1,
)
