"""The book's claims: what is said, how it is measured, what could fake it, and the verdict.

A chapter writes a `Claim` before the experiment, with the rule for its verdict; `Claim.judge` takes
what was measured and returns the card that the page shows. The card's record is stored with the
notebook's output, and `ledger` collects the records of all chapters.
"""

from aelib.claims.claim import Bound, Card, Claim, Kept, Reading, above, below, between, glue, read
from aelib.claims.ledger import disagreements, find_chapters, ledger, notebooks, said
from aelib.claims.long import Experiment, current, experiment, experiments, kept, measure, stale

__all__ = [
    "Bound",
    "Card",
    "Claim",
    "Experiment",
    "Kept",
    "Reading",
    "above",
    "below",
    "between",
    "current",
    "disagreements",
    "experiment",
    "experiments",
    "find_chapters",
    "glue",
    "kept",
    "ledger",
    "measure",
    "notebooks",
    "read",
    "said",
    "stale",
]
