"""`Card`: a judged claim as a notebook shows it and the ledger collects it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from aelib.claims.claim import Claim, Reading, label
from aelib.claims.measurement import EARLIER, Kept
from aelib.figures.numbers import format_number

ROWS_IN_SIGHT = 2  # the claim's own number and its first control
SEEN_IN_WORDS = {
    "nothing": "before any result had been seen",
    "prototype": "after a prototype's result had been seen",
    "first run": "after a first run's result had been seen",
    "other seeds": "after results of other seeds had been seen",
}


@dataclass(frozen=True, repr=False)
class Card:
    """A judged claim.

    Attributes:
        claim: the claim.
        live: what the live run measured, by label, the main reading first; None without one.
        kept, full: the kept full run and its readings, if there is one. It decides.
    """

    claim: Claim
    live: Mapping[str, Reading] | None = None
    kept: Kept | None = None
    full: Mapping[str, Reading] | None = None

    @property
    def readings(self) -> Mapping[str, Reading]:
        """The kept run's, which decides, else the live one's."""
        result = self.live if self.full is None else self.full
        assert result is not None  # `Claim.judge` sees to it
        return result

    @property
    def stable(self) -> bool | None:
        """Whether the verdict is the same where something changed that should not matter.

        Rows at full length are held against the verdict, shorter ones against what the same short
        run says with nothing changed (None is its `change`). A short run that does not decide is
        passed over. None where no row is left.
        """
        pairs = self._changed()
        return all(row["verdict"] == other for row, other in pairs) if pairs else None

    def _changed(self) -> list[tuple[Mapping[str, Any], str]]:
        """The rows that count for `stable`, each with the verdict that it is held against."""
        rows = self.kept.stability if self.kept else ()
        decided = self.claim.decide(self.readings)
        unchanged = {row["length"]: row["verdict"] for row in rows if row["change"] is None}
        pairs = [
            (row, unchanged.get(row["length"], decided))
            for row in rows
            if row["change"] is not None
            and not (row["length"] == "short" and row["verdict"] == "undecided")
        ]
        return [(row, other) for row, other in pairs if other != "undecided"]

    @property
    def verdict(self) -> str:
        """By the rule, on the readings that decide; a claim that is not stable is undecided."""
        decided = self.claim.decide(self.readings)
        return "undecided" if self.stable is False and decided != "open" else decided

    @property
    def condition(self) -> str:
        """What a conditional verdict hangs on, or why a claim is open; "" for other verdicts."""
        claim = self.claim
        if self.verdict == "conditional":
            return claim.condition or f"it fails when: {claim.fails_when}"
        return claim.open if self.verdict == "open" else ""

    @property
    def agreement(self) -> str:
        """What the live run says of the kept one's verdict; "" where either is missing."""
        if self.full is None or self.live is None:
            return ""
        live = self.claim.decide(self.live)
        if live == "open":
            return ""
        if live == self.verdict:
            return "agrees"
        return "is too short to decide" if live == "undecided" else f"says {live}"

    @property
    def record(self) -> dict:
        """The ledger's entry, plain enough for JSON."""
        claim, main = self.claim, label(self.claim.reading)
        controls = set(map(label, claim.controls))
        others = {name: _ends(reading) for name, reading in self.readings.items() if name != main}
        result = {
            "id": claim.id,
            "chapter": claim.chapter,
            "statement": claim.statement,
            "kind": claim.kind,
            "verdict": self.verdict,
            "condition": self.condition,
            **_ends(self.readings[main]),
            "units": claim.units if claim.kind == "measured" else "",
            "n": len(self.readings[main].values) if claim.kind == "measured" else 0,
            "controls": {name: other for name, other in others.items() if name in controls},
            "conditions": {name: other for name, other in others.items() if name not in controls},
            "quantity": main,
            "unit": claim.unit,
            "source": claim.source,
            "measure": claim.measure,
            "rule": claim.rule,
            "rule_changed": claim.rule_changed,
            "seen_before": claim.seen_before,
            "fails_when": claim.fails_when,
            "stable": self.stable,
            "stability": [dict(row) for row in self.kept.stability] if self.kept else [],
        }
        if self.kept is not None:
            result["date"] = self.kept.record["date"]
            result["seconds"] = int(self.kept.record["seconds"])
        if self.kept is not None and self.live is not None:
            result["live"] = {
                "verdict": claim.decide(self.live),
                "n": len(self.live[main].values),
                "readings": {name: _ends(reading) for name, reading in self.live.items()},
            }
        return result

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": repr(self), "text/html": self._html()}, {"claim": self.record}

    def __repr__(self) -> str:
        return f"claim {self.claim.id}: {self.verdict}"

    def _html(self) -> str:
        claim, text = self.claim, html.escape
        heads = ""
        if self.full is not None and self.kept is not None:
            heads += f"<th scope='col'>kept run{self._counted(self.full)}</th>"
        if self.live is not None:
            heads += f"<th scope='col'>this run{self._counted(self.live)}</th>"
        rows = [self._row(name) for name in self._names()]
        folded, more = "", len(rows) - ROWS_IN_SIGHT
        if more > 0:
            folded = _template("card_more.html").substitute(
                heads=heads, rows="".join(rows[ROWS_IN_SIGHT:])
            )
        readings = f"{more} more reading{'s' * (more > 1)}, the rule" if more > 0 else "The rule"
        return _template("card.html").substitute(
            id=claim.id,
            anchor=f"claim-{claim.id.replace('.', '-')}",
            verdict=self.verdict,
            statement=text(claim.statement),
            heads=heads,
            rows="".join(rows[:ROWS_IN_SIGHT]),
            picture=self._picture(),
            folded_what=f"{readings} and the source",
            folded=folded,
            notes=_paragraphs(self._notes()),
            folded_notes=_paragraphs(self._folded_notes()),
            rule=text(claim.rule),
            set_on=f"{claim.rule_changed}, {SEEN_IN_WORDS[claim.seen_before]}",
            fails_when=text(claim.fails_when),
            source=text(claim.source),
        )

    def _counted(self, readings: Mapping[str, Reading]) -> str:
        if self.claim.kind == "closed form":
            return ""
        n = len(readings[label(self.claim.reading)].values)
        return f", {n} {html.escape(self.claim.units)}"

    def _names(self) -> list[str]:
        """The readings' labels: the main one, the controls, the others."""
        controls = list(map(label, self.claim.controls))
        first = [label(self.claim.reading), *controls]
        return list(dict.fromkeys([*first, *self.readings]))

    def _picture(self) -> str:
        """The kept interval against the bounds that support the claim, as a strip."""
        named = {label(key): bound for key, bound in self.claim.supported.items()}
        bound = named.get(label(self.claim.reading))
        if self.full is None or bound is None:
            return ""
        reading = self.full[label(self.claim.reading)]
        limits = [limit for limit in (bound.low, bound.high) if math.isfinite(limit)]
        low, high = min(reading.low, *limits), max(reading.high, *limits)
        margin = 0.08 * (high - low) or 0.5
        low, high = low - margin, high + margin

        def place(number: float) -> str:
            return f"{100 * (min(max(number, low), high) - low) / (high - low):.1f}"

        left, right = float(place(bound.low)), float(place(bound.high))
        return _template("card_interval.html").substitute(
            says=html.escape(f"{shown(reading.low)} to {shown(reading.high)}; supported {bound}"),
            bound=html.escape(str(bound)),
            left=place(bound.low),
            width=f"{right - left:.1f}",
            low=place(reading.low),
            high=place(reading.high),
            value=place(reading.value),
        )

    def _notes(self) -> list[str]:
        """What a reader has to know of the verdict besides the numbers."""
        claim, notes = self.claim, []
        if self.verdict == "conditional":
            notes.append(f"The condition: {html.escape(self.condition)}")
        if claim.open:
            notes.append(f"Open: {html.escape(claim.open)}")
        if self.full is None:
            notes.append(
                f"No full run is kept: run <code>python -m aelib measure {claim.id}</code>."
            )
        if self.stable is False:
            short = {"short": "short run, ", "full": ""}
            turned = "; ".join(
                f"{short[row['length']]}{row['change']}: {row['verdict']}, not {other}"
                for row, other in self._changed()
                if row["verdict"] != other
            )
            notes.append(
                f"By this run alone {claim.decide(self.readings)}; not all runs agree "
                f"({html.escape(turned)})."
            )
        return notes

    def _folded_notes(self) -> list[str]:
        """How the verdict was reached, and whether it held where something else was changed."""
        notes = []
        if self.kept is not None:
            record = self.kept.record
            fresh = "" if record.get("seed_offset", "0") == "0" else " with fresh seeds"
            decides = f"The kept run{fresh}, of <data>{record['date'][:10]}</data>, decides."
            command = f"<code>python -m aelib measure --short {self.claim.id}</code>"
            more = "" if self.agreement == "agrees" else "; seconds of it decide nothing"
            live = f"The short run on this machine <data>{self.agreement}{more}</data>."
            notes.append(
                f"{decides} {live if self.agreement else f'To see a short one: {command}.'}"
            )
        if self.stable and self.kept is not None:
            what = "other seeds, two threads and other kernels"
            lengths = {row["change"]: row["length"] for row in self.kept.stability}
            if lengths.pop(EARLIER, None):
                notes.append("An earlier full run, of other seeds, gave the same verdict.")
            if "short" in lengths.values():
                said = {row["verdict"] for row, _ in self._changed() if row["length"] == "short"}
                other = said - {self.claim.decide(self.readings)}
                but = f", on {other.pop()}: they are too short to say more" if other else ""
                notes.append(
                    f"Short runs with {what} agreed among themselves, where they decided{but}."
                )
            elif lengths:
                notes.append(f"With {what} the verdict was the same.")
        return notes

    def _row(self, name: str) -> str:
        claim, text = self.claim, html.escape
        head = f"control: {name}" if name in map(label, claim.controls) else name
        head = text(head)
        if name == label(claim.reading):  # the claim's own number: say in words what it is
            head += f" ({text(claim.unit)})" if claim.unit else ""
            head += f"<br><small>{text(claim.measure)}</small>"
        cells = f"<td>{_cell(self.full[name])}</td>" if self.full is not None else ""
        cells += f"<td>{_cell(self.live[name])}</td>" if self.live is not None else ""
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


def _paragraphs(notes: Sequence[str]) -> str:
    return "".join(f"<p class='claim-note'>{note}</p>" for note in notes)


def _ends(reading: Reading) -> dict[str, float]:
    return {"value": reading.value, "low": reading.low, "high": reading.high}


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
    """Store numbers in the notebook for its prose, where {glue:text}`name:.2f` asks for one.

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
