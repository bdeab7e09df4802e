"""How does the gain of a copier change in training, beside that of a net trained to denoise?"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from aelib import data, figures, fit, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.copier_and_denoiser import (
    LEVELS,
    MARKS,
    copier_and_denoiser,
    gains,
    small_photos,
)
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

LONG = 3000  # steps; a shorter training that has not fallen may have stopped before its peak

RISE_AND_FALL = Claim(
    id="3.3",
    statement="The gain of a copier first rises with training, then falls.",
    source="Badger's page, section 3; this chapter; chapter 1's early stopping",
    reading="dense, fall at 0.2",
    measure="how far the gain at σ = 0.2 has fallen from its peak when training ends, fully "
    "connected net",
    unit="dB",
    supported={"dense, fall at 0.2": above(0.5), "convolutional, fall at 0.2": above(0.5)},
    conditional={
        "dense, fall at 0.2": above(0.5),
        "dense, rise from step 50": above(0.3),
        "dense, κ, end − peak": above(0.02),
    },
    refuted={"dense, fall at 0.2": below(0.5), "steps trained": above(LONG)},
    condition="the net is fully connected; a convolutional one keeps its gain at this noise",
    controls=("trained to denoise, fall",),
    also=(
        "step of the peak",
        *(f"{kind}, fall at {s}" for kind in ("dense", "convolutional") for s in LEVELS),
    ),
    fails_when="The net is convolutional, or trained to denoise, or the noise is strong or weak "
    "enough to move the peak out of the training seen.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)
TAUGHT = Claim(
    id="3.4",
    statement="Training to denoise does better than stopping a copier early.",
    source="Vincent et al. 2008; this chapter",
    reading="denoiser − best copier",
    measure="gain at σ = 0.2 of a net trained to denoise, over the copier at its best",
    unit="dB",
    supported={"denoiser − best copier": above(0.5)},
    refuted={"denoiser − best copier": below(0.5), "steps trained": above(LONG)},
    controls=("the same at 200 steps", "Wiener filter"),
    also=("denoiser",),
    fails_when="Training is short: in the first steps both learn the same few directions.",
    rule_changed="2026-11-26",
    seen_before="first run",
)


def convolutional(seeds: int, steps: int) -> dict[str, np.ndarray]:
    """The gain of a convolutional copier without skips at each mark, by strength of noise."""
    photos = small_photos()
    nets = models.replicate(lambda: models.UNet(photos.shape, 8, norm="none"), seeds)

    def gain_at(sigma: float):
        return lambda model: gains([model], photos.test, data.gaussian(sigma))[0]

    history = fit(
        nets,
        photos.train,
        steps=steps,
        lr=2e-3,
        batch_size=32,
        log_at=[mark for mark in MARKS if mark <= steps],
        metrics={f"{sigma}": gain_at(sigma) for sigma in LEVELS},
        label="convolutional",
    )
    return {"steps": history.steps, **{f"{sigma}": history[f"{sigma}"] for sigma in LEVELS}}


def run(seeds: int, steps: int, convolutional_steps: int) -> Result:
    """The gains over training, their peaks and their ends."""
    photos, copiers, denoisers = copier_and_denoiser(seeds, steps)
    copied, denoised = copiers.history, denoisers.history
    plain, taught = copied["G(0.2)"], denoised["G(0.2)"]  # (seeds, records)
    dense = {"steps": copied.steps, **{f"{s}": copied[f"G({s})"] for s in LEVELS}}
    nets = {"dense": dense, "convolutional": convolutional(seeds, convolutional_steps)}
    falls = {
        f"{kind}, fall at {s}": curve[f"{s}"].max(1) - curve[f"{s}"][:, -1]
        for kind, curve in nets.items()
        for s in LEVELS
    }
    peak, marks = plain.argmax(1), copied.steps.tolist()
    wiener = gains([measures.wiener_filter(photos.train, 0.2)], photos.test)
    readings = {
        **falls,
        "steps trained": np.full(seeds, float(steps)),
        "dense, rise from step 50": plain.max(1) - plain[:, marks.index(50)],
        "dense, κ, end − peak": copied["κ"][:, -1] - copied["κ"][np.arange(seeds), peak],
        "step of the peak": copied.steps[peak],
        "trained to denoise, fall": taught.max(1) - taught[:, -1],
        "denoiser − best copier": taught[:, -1] - plain.max(1),
        "the same at 200 steps": (taught - plain)[:, marks.index(200)],
        "denoiser": taught[:, -1],
        "Wiener filter": wiener.expand(seeds),
    }
    plane = {  # chapter 3's plane of copying and denoising
        name: {"B": history["B"], "τ": history["τ"]}
        for name, history in (("copier", copied), ("denoiser", denoised))
    }
    few = photos.test[:6]
    spectra = {
        "copier": torch.as_tensor(measures.singular_values(copiers.models, few)).mean(1),
        "denoiser": torch.as_tensor(measures.singular_values(denoisers.models, few)).mean(1),
    }
    show = {"nets": nets, "taught": taught, "plane": plane, "spectra": spectra}
    return Result(readings, show, keep=tuple(show))


def picture(result: Result) -> Figure:
    """Gain over training: the dense net, the convolutional one, and one trained to denoise."""
    nets, later = result.show["nets"], slice(2, None)
    figure, axes = figures.canvas(3, 1, height=9)
    for ax, (kind, curve) in zip(axes, nets.items(), strict=False):
        figures.curves(
            curve["steps"][later],
            {f"σ = {s}": curve[f"{s}"][:, later] for s in LEVELS},
            lines={"doing nothing": 0},
            xlabel="",
            ylabel="denoising gain (dB)",
            title=f"{kind} net",
            logx=True,
            ax=ax,
        )
    dense = nets["dense"]
    figures.curves(
        dense["steps"][later],
        {
            "trained to copy": dense["0.2"][:, later],
            "trained to denoise": result.show["taught"][:, later],
        },
        lines={"Wiener filter": float(result["Wiener filter"][0])},
        xlabel="steps",
        ylabel="gain at σ = 0.2 (dB)",
        title="dense net, two tasks",
        logx=True,
        ax=axes[2],
    )
    return figure


EXPERIMENT = Experiment(
    claims=(RISE_AND_FALL, TAUGHT),
    run=run,
    short={"seeds": 3, "steps": 200, "convolutional_steps": 50},
    full={"seeds": 10, "steps": 5000, "convolutional_steps": 1500},
    picture=picture,
)
