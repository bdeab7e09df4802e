"""Does ResNet-50 as it is built give a photograph back from its last stage?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from aelib import figures, inversion, models, runtime
from aelib.claims import Claim, above, below, label
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result, joined
from aelib.experiments.large_nets_read_back import LINES, STAGES, of_layer
from aelib.experiments.pictures import from_file, to_file
from aelib.experiments.trained_net_read_back import CROPS, photograph, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST = STAGES[-1]
AS_BUILT = Claim(
    id="4.29",
    statement="Nor does our search find the photograph in ResNet-50's last stage where the net is "
    "read as it is built, its normalisation doing next to nothing.",
    source="this chapter",
    reading=(LAST, "f / thumbnail's"),
    measure="leftover f at the last stage of ResNet-50 with random weights, as it is built, over "
    "that of a thumbnail of 4 × 4 patches",
    supported={(LAST, "f / thumbnail's"): above(1.0), (LAST, "levelled off"): above(0.5)},
    refuted={(LAST, "f"): below(0.05)},
    controls=(*LINES, (LAST, "m_g/m_r"), (LAST, "m_g/m_r of the start")),
    also=((LAST, "f"),),
    ratios=((LAST, "f / thumbnail's"),),
    units="photographs, a net for each",
    fails_when="The search ends before it has levelled off: then nothing is known of the layer. It "
    "may be longer than claim 4.27's, and the pictures go in without ImageNet's scaling.",
    rule_changed="2026-11-27",
    seen_before="first run",
)


def run(photographs: Sequence[str], steps: int, least: int, size: int) -> Result:
    """Photographs of `size` pixels a side, as `large_nets_read_back` reads them, without its
    normalisation of photographs; `steps` evaluations at most, `least` at least. Each is read from
    a net of its own, so that what comes back is no affair of one draw of weights."""
    return joined([one_photograph(name, steps, least, size) for name in photographs])


def one_photograph(name: str, steps: int, least: int, size: int) -> Result:
    """A photograph read back from the net that is its own."""
    image = photograph(name, size)
    net = models.classifier("resnet50", size=size, seed=list(CROPS).index(name))
    found = inversion.invert(
        net.to(runtime.device()),
        image,
        [LAST],
        steps=steps,
        until=inversion.LevelledOff(least=least),
        forward=plain,
        label=f"ResNet-50 as built, {name}",
    )[LAST]
    measured = of_layer(found)
    readings = {label((LAST, quantity)): values for quantity, values in measured.items()}
    for line, of in zip(LINES, ("mean", "thumbnail"), strict=True):
        readings[line] = (found.baselines[of].m_i / found.m_i_start[0]).square()
    show = {"pictures": {name: to_file(torch.cat([image, found.images[0]]))}}
    return Result(readings, show, keep=tuple(show))


def picture(result: Result) -> Figure:
    """Photographs, and what the last stage gives back of them."""
    shown = [from_file(file) for file in list(result.show["pictures"].values())[:4]]
    rows = torch.stack(shown, 1)  # (input and read back, photographs, 3, size, size)
    return figures.grid(list(rows), labels=["input", f"{LAST},\nas built"])


EXPERIMENT = Experiment(
    claims=(AS_BUILT,),
    run=run,
    short={"photographs": ["chelsea", "coffee", "rocket"], "steps": 1, "least": 2, "size": 32},
    full={"photographs": list(CROPS), "steps": 5000, "least": 1000, "size": 96},
    picture=picture,
    chunk=1,
    chunked="photographs",
)
