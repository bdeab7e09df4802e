"""Who walks away when a copier is applied to its own output?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aelib import figures, measures
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import APPLIED, copiers
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import digits
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.5",
    statement="Applied to its own output, a copier lets pictures walk away, the fewer the longer "
    "it is trained: from 7 in 8 to 1 in 8.",
    source="Badger's page",
    reading="10 times, end of training",
    measure="share of test digits that the copier, applied ten times, moves by more than 0.3 of "
    "their length, at the end of training",
    supported={
        "10 times, end of training": below(0.25),
        "10 times, step 200": above(0.75),
        "30 times, end of training": below(0.125),
    },
    conditional={"10 times, end of training": below(0.25), "10 times, step 200": above(0.75)},
    controls=("untrained, 10 times",),
    condition="The map is applied ten times; applied thirty times, most still walk at the end of "
    "this training.",
    fails_when="The map is applied more often: after 30 times nearly everyone has left.",
)


def run(seeds: int, steps: int) -> Result:
    """Shares of digits that walk, by training step and applications."""
    nets, history = copiers(seeds, steps)

    def at(step: int, times: int):
        return history[f"walked {times}"][:, history.steps.tolist().index(step)]

    readings = {
        "10 times, end of training": at(steps, 10),
        "10 times, step 200": at(200, 10),
        "30 times, end of training": at(steps, 30),
        "untrained, 10 times": at(0, 10),
    }
    show = {
        "steps": history.steps,
        "walked": {times: history[f"walked {times}"] for times in APPLIED},
        "radius": measures.spectral_radius(nets, digits().test[:20]).mean(1),  # of the Jacobian
    }
    return Result(readings, show, tuple(show))


def picture(result: Result) -> Figure:
    """How many digits walk, by training step and applications."""
    steps = result.show["steps"]
    later = steps >= 100
    return figures.curves(
        steps[later],
        {f"{times} times": result.show["walked"][times][:, later] for times in APPLIED},
        lines={"7 in 8": 7 / 8, "1 in 8": 1 / 8},
        xlabel="training step",
        ylabel="share that walks",
        logx=True,
        ylim=(-0.03, 1.03),
    )


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 200},
    full={"seeds": 6, "steps": 4000},
    picture=picture,
)
