"""How strongly should a copier be stopped, and is the best setting for one aim best for another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import figures
from aelib.claims import Claim, above
from aelib.experiments.experiment import Experiment
from aelib.experiments.family import COLUMNS, MEMBERS, measured, trained
from aelib.experiments.judge import digits
from aelib.experiments.keeping import Result
from aelib.experiments.pictures import on_screen
from aelib.measures.probes import STRENGTHS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KNOBS = tuple(name for name in MEMBERS if name != "plain")

CLAIM = Claim(
    id="6.7",
    statement="How strongly to stop a copier depends on what for: set for the linear reader it "
    "samples worse, set for samples it reads worse.",
    source="chapter 6",
    reading="samples, set for the reader / for samples",
    measure="Fréchet distance with the knob where the reader is best, over that where samples are "
    "best, both chosen by the other nets among three settings; the mean of seven members, each "
    "trained for 200 steps",
    supported={
        "samples, set for the reader / for samples": above(1.05),
        "wrong readings, set for samples / for the reader": above(1.05),
    },
    conditional={"samples, set for the reader / for samples": above(1.05)},
    condition="for samples the aim matters; for the reader any setting was nearly as good",
    controls=("samples, any setting / for samples", "wrong readings, any setting / for the reader"),
    also=("samples, plain / set for samples", "wrong readings, plain / set for the reader"),
    ratios=(
        "samples, set for the reader / for samples",
        "wrong readings, set for samples / for the reader",
        "samples, any setting / for samples",
        "wrong readings, any setting / for the reader",
        "samples, plain / set for samples",
        "wrong readings, plain / set for the reader",
    ),
    fails_when="The grid is coarse, or both aims still improve at its end.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)


def at_best(cost: np.ndarray, by: np.ndarray) -> np.ndarray:
    """`cost` at the setting where `by` is least for the other nets: both (settings, nets)."""
    nets = range(cost.shape[1])
    return np.array([cost[np.delete(by, n, 1).mean(1).argmin(), n] for n in nets])


def readings(table: Mapping[str, Mapping[str, Any]], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The claim's: geometric means over the members, a number a net."""
    found: dict[str, list[np.ndarray]] = {}
    for row in table.values():
        far, wrong = np.asarray(row["samples"]), 100 - np.asarray(row["reader"])
        for name, value in {
            "samples, set for the reader / for samples": at_best(far, wrong) / at_best(far, far),
            "wrong readings, set for samples / for the reader": at_best(wrong, far)
            / at_best(wrong, wrong),
            "samples, any setting / for samples": far.mean(0) / at_best(far, far),
            "wrong readings, any setting / for the reader": wrong.mean(0) / at_best(wrong, wrong),
            "samples, plain / set for samples": plain["samples"] / at_best(far, far),
            "wrong readings, plain / set for the reader": (100 - plain["reader"])
            / at_best(wrong, wrong),
        }.items():
            found.setdefault(name, []).append(np.log(value))
    return {name: np.exp(np.mean(rows, 0)) for name, rows in found.items()}


def run(
    seeds: int,
    steps: int,
    n: int = 500,
    train: int = 4000,
    strengths: Sequence[float] = STRENGTHS,
    members: Sequence[str] = KNOBS,
    most: int = 3,
) -> Result:
    """Every member at each of its first `most` settings, on digits of 28 × 28."""
    images = digits("mnist").take(train)

    def row(name: str, value: float):
        nets = trained(name, value, images.train, seeds, steps)
        return measured(nets, images, 0, 1, n, strengths)

    plain = {name: np.array(each) for name, each in row("plain", 0.0).columns.items()}
    table: dict[str, dict[str, Any]] = {}
    pictures: dict[str, Any] = {}
    for name in members:
        rows = [row(name, value) for value in MEMBERS[name].values[:most]]
        table[name] = {  # each (settings, nets)
            column: np.array([each.columns[column] for each in rows]) for column in plain
        }
        pictures[name] = {
            kind: [on_screen(each.pictures[kind][:6]) for each in rows]
            for kind in ("copies", "samples")
        }
    show = {
        "table": table,
        "plain": plain,
        "pictures": pictures,
        "real": on_screen(images.test[:6]),
    }
    return Result(readings(table, plain), show, tuple(show))


def picture(result: Result, members: Sequence[str] = ()) -> Figure:
    """Error, reader and samples along each knob, from its weakest setting to its strongest."""
    table = result.show["table"]
    figure, axes = figures.canvas(1, 3, height=4.2)
    labels = ("variance unexplained", "read right, %", "Fréchet distance")
    for column, label, ax in zip(COLUMNS, labels, axes, strict=True):
        rows = {name: np.asarray(table[name][column]).T for name in members or table}
        settings = np.arange(1, 1 + len(next(iter(rows.values()))[0]))
        figures.curves(
            settings,
            rows,
            lines={"plain": float(np.mean(result.show["plain"][column]))},
            xlabel="setting",
            ylabel=label,
            legend="above",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "seeds": 3,
        "steps": 10,
        "n": 40,
        "train": 200,
        "strengths": [0.01],
        "members": ["denoising", "sparse"],
        "most": 2,
    },
    full={"seeds": 6, "steps": 200, "n": 200, "strengths": [0.1, 1.0, 10.0]},
    picture=picture,
)
