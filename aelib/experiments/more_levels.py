"""Does a diffusion model whose convolutions see the whole image need attention?"""

from __future__ import annotations

from aelib.claims import Claim, above, below
from aelib.experiments.long_range import experiment

DEPTH = Claim(
    id="4.28",
    statement="A U-Net of more maps draws the parts and not how they belong together; one of more "
    "levels, and with them of more parameters, brings the order back.",
    source="Badger's page: a wide U-Net, and one level more",
    reading="halved twice − wider",
    measure="share of samples whose marks in two opposite corners are alike, of a net that halves "
    "the image twice less that of a wider one that does not, both without attention",
    supported={
        "halved twice − wider": above(0.3),
        "wider, marks that can be read": above(0.9),
        "wider − chance": below(0.1),
        "halved twice, alike": above(0.75),
    },
    conditional={"halved twice − wider": above(0.1), "wider, marks that can be read": above(0.9)},
    condition="Levels help, but not to three of four images; or width helps, too.",
    controls=("real images, alike",),
    also=("wider, alike", "wider, parameters", "halved twice, parameters"),
    fails_when="The net of more levels has so many parameters more that they, and not the levels, "
    "may have done it: here seven times as many.",
    rule_changed="2026-11-26",
    seen_before="first run",
)

EXPERIMENT = experiment(DEPTH, ["wider", "halved twice"])
