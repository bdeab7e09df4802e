"""The laboratory: one file a question, with its claims, its run, and its picture.

Each file ends in `EXPERIMENT`, which says what `run` is called with at full length and in seconds.
`python -m aelib measure 2.5` runs an experiment at full length and keeps the result in `kept/`.
The kept run decides; a chapter draws from it, runs the experiment short, and shows both:

    run = ae.experiments.full_result("2.5")
    live = ae.experiments.short("2.5")
    ae.experiments.card("2.5", live)
"""

from aelib.experiments.experiment import (
    Experiment,
    card,
    claim,
    each,
    experiments,
    find,
    full,
    full_result,
    kept,
    ledger,
    measure,
    short,
    stale,
    vary,
)
from aelib.experiments.keeping import Result

__all__ = [
    "Experiment",
    "Result",
    "card",
    "claim",
    "each",
    "experiments",
    "find",
    "full",
    "full_result",
    "kept",
    "ledger",
    "measure",
    "short",
    "stale",
    "vary",
]
