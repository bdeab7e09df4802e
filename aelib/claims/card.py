"""`Card`: a judged claim as a notebook shows it and the ledger collects it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from aelib.claims.claim import Claim, Reading, label
from aelib.claims.measurement import Kept
from aelib.figures.numbers import format_number

ROWS_IN_SIGHT = 4


@dataclass(frozen=True, repr=False)
class Card:
    """A judged claim.

    Attributes:
        claim: the claim.
        readings: what was measured, by label, the main reading first.
        verdict: on it.
        kept, full, full_verdict: the kept full run, its readings and the verdict on them, if any.
    """

    claim: Claim
    readings: Mapping[str, Reading]
    verdict: str
    kept: Kept | None = None
    full: Mapping[str, Reading] | None = None
    full_verdict: str | None = None

    @property
    def record(self) -> dict:
        """The ledger's entry, plain enough for JSON."""
        claim, main = self.claim, label(self.claim.reading)
        controls = set(map(label, claim.controls))
        others = {
            name: {"value": reading.value, "low": reading.low, "high": reading.high}
            for name, reading in self.readings.items()
            if name != main
        }
        return {
            "id": claim.id,
            "chapter": claim.chapter,
            "statement": claim.statement,
            "kind": claim.kind,
            "verdict": self.verdict,
            **self._numbers(self.readings[main]),
            "controls": {name: other for name, other in others.items() if name in controls},
            "conditions": {name: other for name, other in others.items() if name not in controls},
            "quantity": main,
            "unit": claim.unit,
            "source": claim.source,
            "measure": claim.measure,
            "rule": claim.rule,
            "fails_when": claim.fails_when,
            **self._kept_record(main),
        }

    def _numbers(self, reading: Reading) -> dict:
        seeds = len(reading.values) if self.claim.kind == "measured" else 0
        return {
            "value": reading.value,
            "low": reading.low,
            "high": reading.high,
            "seeds": seeds,
        }

    def _kept_record(self, main: str) -> dict:
        if self.full is None or self.kept is None:
            return {}
        numbers = self._numbers(self.full[main])
        date = self.kept.record["date"]
        return {"long": {"verdict": self.full_verdict, **numbers, "date": date}}

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": repr(self), "text/html": self._html()}, {"claim": self.record}

    def __repr__(self) -> str:
        return f"claim {self.claim.id}: {self.verdict}"

    def _html(self) -> str:
        claim, text = self.claim, html.escape
        main = self.readings[label(claim.reading)]
        seeds = "this run" if claim.kind == "closed form" else f"this run, {len(main.values)} seeds"
        heads = f"<th scope='col'>{seeds}</th>"
        if self.full is not None and self.kept is not None:
            count, date = len(self.full[label(claim.reading)].values), self.kept.record["date"][:10]
            heads += f"<th scope='col'>kept run, {count} seeds, <data>{date}</data></th>"
        rows = [self._row(name) for name in self.readings]
        folded = ""
        if len(rows) > ROWS_IN_SIGHT:
            folded = _template("card_more.html").substitute(
                heads=heads, rows="".join(rows[ROWS_IN_SIGHT:]), n=len(rows) - ROWS_IN_SIGHT
            )
        return _template("card.html").substitute(
            id=claim.id,
            anchor=f"claim-{claim.id.replace('.', '-')}",
            verdict=self.verdict,
            statement=text(claim.statement),
            heads=heads,
            rows="".join(rows[:ROWS_IN_SIGHT]),
            folded=folded,
            rule=text(claim.rule),
            fails_when=text(claim.fails_when),
            source=text(claim.source),
        )

    def _row(self, name: str) -> str:
        claim, text = self.claim, html.escape
        head = f"control: {name}" if name in map(label, claim.controls) else name
        head = text(head)
        if name == label(claim.reading):  # the claim's own number: say in words what it is
            head += f" ({text(claim.unit)})" if claim.unit else ""
            head += f"<br><small>{text(claim.measure)}</small>"
        cells = f"<td>{_cell(self.readings[name])}</td>"
        cells += f"<td>{_cell(self.full[name])}</td>" if self.full is not None else ""
        return f"<tr><th scope='row'>{head}</th>{cells}</tr>"


def shown(number: float) -> str:
    """A measured number as a card prints it: three digits, or all of those before the point.

    >>> shown(0.01234), shown(1298.3)
    ('0.0123', '1,298')
    """
    text = format_number(number, ".3g")
    if "e" in text and 1 <= abs(number) < 1e6:
        text = format_number(number, ",.0f")
    return text.replace("e−0", "e−").replace("e+0", "e")


def _cell(reading: Reading) -> str:
    """A number and its interval; what may move from machine to machine stands in <data>."""
    value, low, high = (
        f"<data>{shown(number)}</data>" for number in (reading.value, reading.low, reading.high)
    )
    return value + (f" <small>[{low}, {high}]</small>" if len(reading.values) > 1 else "")


@cache
def _template(name: str) -> Template:
    return Template(files("aelib.claims").joinpath(name).read_text(encoding="utf-8").rstrip())


def glue(**numbers: float) -> None:
    """Store numbers in the notebook for the page's prose: {glue:text}`name:.2f` shows one.

    What myst-nb's own glue stores, written here so that a notebook needs none of the book's tools.
    Underscores in a name become hyphens.
    """
    from IPython.display import publish_display_data

    for name, number in numbers.items():
        key = name.replace("_", "-")
        publish_display_data(
            {"application/papermill.record/text/plain": repr(float(number))},
            {"scrapbook": {"name": key, "mime_prefix": "application/papermill.record/"}},
        )
