"""The laboratory: one file a question, with its claims, its run, and its picture.

Each file ends in `EXPERIMENT`, which says what `run` is called with at full length and in seconds.
`python -m aelib measure 2.5` runs an experiment at full length and keeps the result in `kept/`;
a chapter runs it short and shows both:

    live = ae.experiments.short("2.5")
    ae.experiments.card("2.5", live)
"""

from aelib.experiments.experiment import (
    Experiment,
    Result,
    card,
    claim,
    experiments,
    find,
    full,
    kept,
    ledger,
    measure,
    short,
    stale,
)

__all__ = [
    "Experiment",
    "Result",
    "card",
    "claim",
    "experiments",
    "find",
    "full",
    "kept",
    "ledger",
    "measure",
    "short",
    "stale",
]
