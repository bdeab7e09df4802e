"""Does what discs show of lines and walks hold where size and angle vary as well as place?"""

from __future__ import annotations

from aelib.claims import Claim, above, below, between
from aelib.experiments import known_manifold
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

GROUND = known_manifold.ELLIPSES
LINE = Claim(
    id="5.21",
    statement="Of ellipses, whose size and angle vary as well, half-way along a straight line in a "
    "code of four numbers lies a picture of the manifold, near the one half-way.",
    source="what is commonly said; chapter 5",
    reading=("code of 4 ÷ pixels", "from the true middle"),
    measure="distance from the ellipse of the middle numbers of the middle of lines between two "
    "ellipses, code of 4 over pixels",
    supported={
        ("code of 4 ÷ pixels", "off the manifold"): below(0.5),
        ("code of 4 ÷ pixels", "from the true middle"): below(0.5),
    },
    conditional={
        ("code of 4 ÷ pixels", "off the manifold"): below(0.5),
        ("code of 4 ÷ pixels", "from the true middle"): between(0.5, 1),
    },
    condition="It is near the manifold, and nearer to the ellipse half-way than the middle in "
    "pixels is, but not twice as near.",
    controls=(
        ("pixels", "off the manifold"),
        ("copies, code of 4", "off the manifold"),
        ("copier ÷ pixels", "off the manifold"),
        ("copier ÷ pixels", "from the true middle"),
    ),
    also=(("code of 4", "off the manifold"), ("copier", "off the manifold")),
    ratios=tuple(
        (f"{name} ÷ pixels", what)
        for name in ("code of 4", "copier")
        for what in ("off the manifold", "from the true middle")
    ),
    fails_when="The code is wide. Or a code of four is a bent map: then the middle of two codes is "
    "an ellipse, and another one.",
    rule_changed="2026-11-27",
    seen_before="prototype",
)
WALK = Claim(
    id="5.22",
    statement="Of ellipses, too, noise in pixels and denoising walk along the manifold, with a "
    "copier in the denoiser's place they do not; and walks to the exact mean or with the denoiser "
    "lose spread, where one that draws from P(x | x̃) keeps it.",
    source="Badger's page; Alain and Bengio 2014; Bengio et al. 2013; chapter 5",
    reading=("denoiser", "off the manifold, 100 steps"),
    measure="distance to the manifold after 100 times noise of deviation 0.5 and denoising, as a "
    "share of the mean picture's",
    supported={
        ("denoiser", "off the manifold, 100 steps"): below(0.5),
        ("denoiser", "place moved, 100 steps"): above(1),
        ("denoiser", "noise taken away across"): above(0.9),
        ("denoiser", "noise taken away along"): below(0.3),
        ("copier", "off the manifold, 100 steps"): above(0.8),
        ("denoiser", "spread"): below(1),
        ("exact mean", "spread"): below(1),
        ("exact draw", "spread"): between(0.9, 1.1),
    },
    conditional={
        ("denoiser", "off the manifold, 100 steps"): below(0.5),
        ("denoiser", "place moved, 100 steps"): above(1),
        ("denoiser", "noise taken away across"): above(0.9),
        ("exact mean", "spread"): below(1),
        ("exact draw", "spread"): between(0.9, 1.1),
    },
    condition="The denoiser stays near it, and the exact walks go as said; the rest was not shown.",
    controls=(
        ("smooth change as far", "off the manifold, 100 steps"),
        ("Wiener filter", "off the manifold, 100 steps"),
        ("pixels", "off the manifold, 100 steps"),
        ("mean picture", "noise taken away along"),
        *(
            (known_manifold.LOOKUP, what)
            for what in ("off the manifold, 100 steps", "noise taken away along", "spread")
        ),
        ("data", "spread"),
    ),
    also=(
        ("code of 4", "off the manifold, 100 steps"),
        ("code of 4, noise in code", "off the manifold, 100 steps"),
        *((name, "place moved, 100 steps") for name in ("exact mean", "exact draw")),
        ("exact mean", "off the manifold, last step"),
        ("exact draw", "off the manifold, last step"),
    ),
    # What leaves the manifold goes by powers.
    ratios=tuple(
        (name, "off the manifold, 100 steps")
        for name in ("copier", "code of 4", "code of 4, noise in code")
    ),
    units="nets, and draws of the exact walks",
    fails_when="The noise hides more than the data vary: of an ellipse's size noise of deviation "
    "0.5 hides much, and what cannot be told is taken for the mean. And a list of the training "
    "pictures walks along it as well, and keeps its spread.",
    rule_changed="2026-11-27",
    seen_before="first run",
)


def run(seeds: int, steps: int, walkers: int, walk: int) -> Result:
    """The run of `known_manifold`, on ellipses."""
    return known_manifold.run(seeds, steps, walkers, walk, GROUND)


EXPERIMENT = Experiment(
    claims=(LINE, WALK),
    run=run,
    short={"seeds": 3, "steps": 3, "walkers": 4, "walk": 3},
    full={"seeds": 6, "steps": 12_000, "walkers": 128, "walk": 300},
    picture=known_manifold.lines_picture,
)
