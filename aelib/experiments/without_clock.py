"""Which diffusion models need to be told the time: by what they are taught to answer."""

from __future__ import annotations

from aelib.claims import Claim, above, below
from aelib.experiments.prediction_target import BOTH_DRAW, distances, experiment, ratios

CLOCK = Claim(
    id="4.22",
    statement="A diffusion model that is not told the time draws digits about as well as one "
    "that is where it answers with the clean image, and much worse where it answers with the "
    "noise.",
    source="Badger's page, section 4: “currently unclear why”",
    reading=("noise", "not told / told"),
    measure="Fréchet distance of samples of a net that is not told the time, over that of one that "
    "is, same seed: nets of 28 × 28 digits with skips that answer with the noise",
    supported={
        ("noise", "not told / told"): above(1.5),
        ("image", "not told / told"): below(1.2),
        **BOTH_DRAW,
    },
    conditional={
        ("noise", "not told / told"): above(1.2),
        ("image", "not told / told"): below(1.2),
        **BOTH_DRAW,
    },
    condition="Where it answers with the noise it draws worse, but not by half for certain.",
    controls=(
        ("Gaussian", "Fréchet"),
        *BOTH_DRAW,
        ("velocity", "not told / told"),
        ("noise", "loss, not told / told"),
        ("image", "loss, not told / told"),
        "another draw / Fréchet",
    ),
    also=distances("clock"),
    ratios=ratios("clock"),
    fails_when="Training is short: in a trial on 8 × 8 digits, which was not kept, the clock was "
    "worth nothing yet after 300 steps. The loss hardly shows it: in an image much of which is "
    "black, its own noise tells how much there is. "
    "In 4.13's run, with other seeds on another machine, whole nets that answer with the noise "
    "drew twice as far from digits as here, two of six no better than a Gaussian.",
    rule_changed="2026-11-27",
    seen_before="first run",
)

EXPERIMENT = experiment("clock", CLOCK)
