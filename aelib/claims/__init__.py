"""The book's claims: what is said, how it is measured, what could fake it, and the verdict.

A `Claim` is written before the experiment, with the rule for its verdict; `Claim.judge` takes what
was measured and returns the card that the page shows. The card's record is stored with the
notebook's output, where the ledger finds it. Experiments and their claims stand in
`aelib.experiments`.
"""

from aelib.claims.card import Card, glue
from aelib.claims.claim import Bound, Claim, Reading, above, below, between, label, read
from aelib.claims.measurement import EARLIER, Kept

__all__ = [
    "EARLIER",
    "Bound",
    "Card",
    "Claim",
    "Kept",
    "Reading",
    "above",
    "below",
    "between",
    "glue",
    "label",
    "read",
]
