"""How does the gain of a copier change in training, beside that of a net trained to denoise?"""

from __future__ import annotations

import numpy as np

from aelib import measures
from aelib.claims import Claim, above
from aelib.experiments.copier_and_denoiser import copier_and_denoiser, gains
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

RISE_AND_FALL = Claim(
    id="3.3",
    statement="The gain of a copier first rises with training, then falls.",
    source="this chapter; chapter 1's early stopping",
    reading="fall from the peak",
    measure="how far the gain at σ = 0.2 has fallen from its peak when training ends",
    unit="dB",
    supported={
        "fall from the peak": above(0.5),
        "rise to the peak from step 50": above(0.3),
        "κ, end − peak": above(0.02),
    },
    controls=("trained to denoise, fall",),
    also=("step of the peak",),
    fails_when="The net is trained to denoise, or too small to copy.",
)
TAUGHT = Claim(
    id="3.4",
    statement="Training to denoise does better than stopping a copier early.",
    source="Vincent et al. 2008; this chapter",
    reading="denoiser − best copier",
    measure="gain at σ = 0.2 of a net trained to denoise, over the copier at its best",
    unit="dB",
    supported={"denoiser − best copier": above(0.5)},
    controls=("the same at 200 steps", "Wiener filter"),
    also=("denoiser",),
    fails_when="Training is short: in the first steps both learn the same few directions.",
)


def run(seeds: int, steps: int) -> Result:
    """The two gains over training, their peaks and their ends."""
    photos, copiers, denoisers = copier_and_denoiser(seeds, steps)
    copied, denoised = copiers.history, denoisers.history
    plain, taught = copied["G(0.2)"], denoised["G(0.2)"]  # (seeds, records)
    peak, marks = plain.argmax(1), copied.steps.tolist()
    wiener = gains([measures.wiener_filter(photos.train, 0.2)], photos.test)
    readings = {
        "fall from the peak": plain.max(1) - plain[:, -1],
        "rise to the peak from step 50": plain.max(1) - plain[:, marks.index(50)],
        "κ, end − peak": copied["κ"][:, -1] - copied["κ"][np.arange(seeds), peak],
        "step of the peak": copied.steps[peak],
        "trained to denoise, fall": taught.max(1) - taught[:, -1],
        "denoiser − best copier": taught[:, -1] - plain.max(1),
        "the same at 200 steps": (taught - plain)[:, marks.index(200)],
        "denoiser": taught[:, -1],
        "Wiener filter": wiener.expand(seeds),
    }
    show = {
        "photos": photos,
        "copied": copied,
        "denoised": denoised,
        "copiers": copiers.models,
        "denoisers": denoisers.models,
    }
    return Result(readings, show)


EXPERIMENT = Experiment(
    claims=(RISE_AND_FALL, TAUGHT),
    run=run,
    short={"seeds": 3, "steps": 2000},
    full={"seeds": 5, "steps": 10_000},
)
