"""What is left of a diffusion model with neither skip nor clock: by what it is taught to answer."""

from __future__ import annotations

from aelib.claims import Claim, above, below
from aelib.experiments.prediction_target import BOTH_DRAW, distances, experiment, ratios

NEITHER = Claim(
    id="4.30",
    statement="A diffusion model that answers with the clean image draws digits about as well with "
    "neither skip nor clock; one that answers with the noise then draws worse than one Gaussian.",
    source="Badger's page, section 4; Salimans and Ho 2022",
    reading=("image", "neither / both"),
    measure="Fréchet distance of samples of a net that has no skip and is not told the time, over "
    "that of one that has and is, same seed: nets of 28 × 28 digits that answer with the image",
    supported={
        ("image", "neither / both"): below(1.2),
        ("neither", "noise / Gaussian"): above(1),
        **BOTH_DRAW,
    },
    conditional={("image", "neither / both"): below(1.2), **BOTH_DRAW},
    condition="The image needs neither; the noise's samples are not shown to be worse than a "
    "Gaussian's.",
    controls=(
        ("Gaussian", "Fréchet"),
        *BOTH_DRAW,
        ("noise", "neither / both"),
        ("velocity", "neither / both"),
        "another draw / Fréchet",
    ),
    also=distances("both"),
    ratios=ratios("both"),
    fails_when="Not tried: nets too narrow to hold a digit in their middle, and pictures that fill "
    "more directions than digits do. The rule was set after the nets of 4.13 and 4.22 had been "
    "seen, which are of the same run. "
    "In 4.13's run, with other seeds on another machine, whole nets that answer with the noise "
    "drew twice as far from digits as here, two of six no better than a Gaussian.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

EXPERIMENT = experiment("both", NEITHER)
