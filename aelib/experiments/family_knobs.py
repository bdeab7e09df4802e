"""How strongly should a copier be stopped, and is the best setting for one aim best for another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from aelib import figures, measures
from aelib.claims import Claim, above
from aelib.experiments.experiment import Experiment
from aelib.experiments.family import COLUMNS, MEMBERS, measured, trained
from aelib.experiments.judge import digits
from aelib.experiments.keeping import Result
from aelib.measures.probes import STRENGTHS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KNOBS = tuple(name for name in MEMBERS if name != "plain")
SAMPLES = "samples, set for the reader / for samples"
WRONG = "wrong readings, set for samples / for the reader"
ANY_SAMPLES = "samples, any setting / for samples"
ANY_WRONG = "wrong readings, any setting / for the reader"
PLAIN_SAMPLES = "samples, plain / set for samples"
PLAIN_WRONG = "wrong readings, plain / set for the reader"
SHOWN = 3  # copies and samples of a setting
HALF = 4  # members in a column of the figure

CLAIM = Claim(
    id="6.7",
    statement="How strongly to stop a copier depends on what for: set for the linear reader it "
    "samples worse, set for samples it reads worse.",
    source="chapter 6",
    reading=SAMPLES,
    measure="Fréchet distance with the knob where the reader is best, over that where samples are "
    "best, both chosen by the other nets among five settings; the mean of six nets of 28 × 28 "
    "digits, each trained for 500 steps",
    units="members of the family, each with a knob",
    supported={SAMPLES: above(1.05), WRONG: above(1.05)},
    conditional={SAMPLES: above(1.05)},
    condition="for samples the aim matters; that it does for the reader was not shown",
    controls=(ANY_SAMPLES, ANY_WRONG),
    also=(PLAIN_SAMPLES, PLAIN_WRONG),
    ratios=(SAMPLES, WRONG, ANY_SAMPLES, ANY_WRONG, PLAIN_SAMPLES, PLAIN_WRONG),
    fails_when="The grid is coarse, or both aims still improve at its end.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)


def at_best(cost: np.ndarray, by: np.ndarray) -> np.ndarray:
    """`cost` at the setting where `by` is least for the other nets: both (settings, nets)."""
    nets = range(cost.shape[1])
    return np.array([cost[np.delete(by, n, 1).mean(1).argmin(), n] for n in nets])


def readings(
    table: Mapping[str, Mapping[str, Any]], plain: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The claim's: a number for each member, the geometric mean over its nets."""
    found: dict[str, list[float]] = {}
    plain_far, plain_wrong = np.asarray(plain["samples"]), 100 - np.asarray(plain["reader"])
    for row in table.values():
        far, wrong = np.asarray(row["samples"]), 100 - np.asarray(row["reader"])
        best_far, best_wrong = at_best(far, far), at_best(wrong, wrong)
        for name, ratio in {
            SAMPLES: at_best(far, wrong) / best_far,
            WRONG: at_best(wrong, far) / best_wrong,
            ANY_SAMPLES: far.mean(0) / best_far,
            ANY_WRONG: wrong.mean(0) / best_wrong,
            PLAIN_SAMPLES: plain_far / best_far,
            PLAIN_WRONG: plain_wrong / best_wrong,
        }.items():
            found.setdefault(name, []).append(float(np.exp(np.log(ratio).mean())))
    return {name: np.array(values) for name, values in found.items()}


def best_settings(row: Mapping[str, Any]) -> dict[str, int]:
    """By aim, which setting is best on the mean of the nets: 0 is the weakest."""
    signs = {"error": 1, "reader": -1, "samples": 1}
    return {aim: int((sign * np.mean(row[aim], 1)).argmin()) for aim, sign in signs.items()}


def few_greys(images: Tensor) -> Tensor:
    """Images in sixteen grey levels: a third of the room of `on_screen`'s when they are kept."""
    return (images.detach().clamp(0, 1) * 15).round() / 15


def run(
    seeds: int,
    steps: int,
    members: Sequence[str],
    n: int = 500,
    train: int = 4000,
    strengths: Sequence[float] = STRENGTHS,
    settings: Sequence[int] = (0, 1, 2, 3, 4),
) -> Result:
    """Members at several of their settings, and the plain net, on digits of 28 × 28."""
    images = digits().take(train)

    def row(name: str, value: float):
        nets = trained(name, value, images.train, seeds, steps)
        return measured(nets, images, 0, 1, n, strengths)

    plain = {name: np.array(each) for name, each in row("plain", 0.0).columns.items()}
    table: dict[str, dict[str, np.ndarray]] = {}
    pictures: dict[str, dict[str, list[Tensor]]] = {}
    for name in members:
        rows = [row(name, MEMBERS[name].values[setting]) for setting in settings]
        table[name] = {  # each (settings, nets)
            column: np.array([each.columns[column] for each in rows]) for column in plain
        }
        pictures[name] = {
            kind: [few_greys(each.pictures[kind][:SHOWN]) for each in rows]
            for kind in ("copies", "samples")
        }
    show = {"table": table, "plain": plain, "pictures": pictures}
    return Result(readings(table, plain), show, tuple(show))


def picture(result: Result) -> Figure:
    """Error, reader and samples along each knob, from its weakest setting to its strongest."""
    table, plain = result.show["table"], result.show["plain"]
    names = list(table)
    groups = [names[:HALF], names[HALF:]] if len(names) > HALF else [names]
    figure, axes = figures.canvas(3, len(groups), height=9.6)
    labels = ("variance unexplained", "read right, %", "Fréchet distance")
    for place, ax in enumerate(axes):
        row, group = place // len(groups), groups[place % len(groups)]
        rows = {name: np.asarray(table[name][COLUMNS[row]]).T for name in group}
        settings = np.arange(1, 1 + rows[group[0]].shape[1])
        figures.curves(
            settings,
            rows,
            lines={"plain": float(np.mean(plain[COLUMNS[row]]))},
            xlabel="setting, weak to strong" if row == 2 else "",
            ylabel=labels[row],
            logy=row == 2,
            legend="none" if row else "above",
            ax=ax,
        )
        ax.set_xticks(settings)
        if row == 2:
            ax.set_yticks([250, 500, 1000], ["250", "500", "1000"])
            ax.minorticks_off()
    return figure


def choices(result: Result) -> dict[str, dict[str, str]]:
    """How to set each knob, in words, by member: its best value for each aim, and what is dead."""
    found = {}
    for name, row in result.show["table"].items():
        values = MEMBERS[name].values
        found[name] = {"knob": MEMBERS[name].knob}
        for aim, setting in best_settings(row).items():
            dead = measures.interval(list(np.asarray(row["dead"])[setting]))[0]
            found[name][aim] = f"{values[setting]:g} ({dead:.0f} % dead)"
    return found


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={
        "seeds": 2,
        "steps": 10,
        "members": ["denoising", "sparse, L1", "quantised"],
        "n": 40,
        "train": 200,
        "strengths": [0.01],
        "settings": [1, 3],
    },
    full={
        "seeds": 6,
        "steps": 500,
        "members": list(KNOBS),
        "n": 500,
        "strengths": [0.1, 1.0, 10.0],
    },
    picture=picture,
    chunk=2,
    chunked="members",
)
