"""A claim, the rule for its verdict, and the card that shows what was measured."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

from aelib import checks
from aelib.figures.numbers import format_number
from aelib.measures import interval

VERDICTS = ("supported", "conditional", "refuted")
KINDS = ("measured", "closed form")
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Bound:
    """A condition on a measured interval: all of it lies between `low` and `high`."""

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low < self.high or (math.isinf(self.low) and math.isinf(self.high)):
            raise ValueError(f"a bound needs a lower limit below its upper one, got {self}")

    def holds(self, reading: Reading) -> bool:
        """Whether the whole interval lies strictly inside."""
        return self.low < reading.low and reading.high < self.high

    def __str__(self) -> str:
        low, high = (
            format_number(float(limit), "").removesuffix(".0") for limit in (self.low, self.high)
        )
        if math.isinf(self.low):
            return f"below {high}"
        return f"above {low}" if math.isinf(self.high) else f"between {low} and {high}"


def told(number: float) -> str:
    """A measured number as a page prints it: three digits, or all of those before the point."""
    text = format_number(number, ".3g")
    if "e" in text and 1 <= abs(number) < 1e6:
        text = format_number(number, ",.0f")
    return text.replace("e−0", "e−").replace("e+0", "e")


def below(limit: float) -> Bound:
    """The whole interval lies below `limit`."""
    return Bound(high=limit)


def above(limit: float) -> Bound:
    """The whole interval lies above `limit`."""
    return Bound(low=limit)


def between(low: float, high: float) -> Bound:
    """The whole interval lies between the two."""
    return Bound(low, high)


@dataclass(frozen=True)
class Reading:
    """One measured quantity: its value for each seed, their mean and a bootstrap interval."""

    values: tuple[float, ...]
    value: float
    low: float
    high: float


def read(values, kind: str = "measured", name: str = "values") -> Reading:
    """A `Reading` from one number per seed, or from a single number for a closed form.

    Raises:
        ValueError: for fewer than three seeds where the kind is "measured", or a number that is
            not finite.
    """
    single = isinstance(values, Real) or getattr(values, "ndim", 1) == 0
    try:
        listed = tuple(float(value) for value in ([values] if single else values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: expected one number per seed, got {values!r}") from error
    bad = [value for value in listed if not math.isfinite(value)]
    if bad or not listed:
        raise ValueError(f"{name}: expected finite numbers, one per seed, got {list(listed)}")
    if kind == "measured" and len(listed) < FEWEST_SEEDS:
        raise ValueError(
            f"{name}: a measured claim needs at least {FEWEST_SEEDS} seeds to have a spread, got "
            f"{len(listed)}; train more with models.replicate(…, seeds={FEWEST_SEEDS})"
        )
    if len(listed) == 1:
        return Reading(listed, listed[0], listed[0], listed[0])
    return Reading(listed, *(float(number) for number in interval(listed)))


@dataclass(frozen=True)
class Claim:
    """A statement of the book and the rule that decides on it, written before the run.

    Attributes:
        id: chapter and number, such as "2.1".
        statement: one sentence that could be false.
        source: where it comes from: the document's section, or a paper.
        measure: what the main number is, in words; its reading comes first in `judge`.
        supported: conditions by reading; all must hold. The readings named here besides the first
            are the controls and the conditions of the claim.
        conditional: conditions that earn "conditional" where `supported` fails; empty for none.
        fails_when: one sentence that says when it does not hold.
        kind: "measured", or "closed form" where no seed enters.
        unit: of the main number, such as "dB".
        controls: the readings that are trivial explanations rather than conditions.
    """

    id: str
    statement: str
    source: str
    measure: str
    supported: Mapping[str, Bound]
    fails_when: str
    conditional: Mapping[str, Bound] = field(default_factory=dict)
    controls: Sequence[str] = ()
    kind: str = "measured"
    unit: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+\.\d+", self.id):
            raise ValueError(f'id: expected chapter.number, such as "2.1", got {self.id!r}')
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; {checks.nearest(self.kind, KINDS)}")
        if not self.supported:
            raise ValueError(
                f"claim {self.id}: supported= must name at least one condition, or nothing could "
                "refute it"
            )
        if not self.controls:
            raise ValueError(
                f"claim {self.id}: controls= must name at least one trivial explanation that is "
                "measured too"
            )
        for what in ("statement", "source", "measure", "fails_when"):
            if not getattr(self, what).strip():
                raise ValueError(f"claim {self.id}: {what} must not be empty")

        if isinstance(self.controls, str):
            raise TypeError(f"claim {self.id}: controls= takes a list of names, not one text")
        bounds = [*self.supported.values(), *self.conditional.values()]
        if not all(isinstance(bound, Bound) for bound in bounds):
            raise TypeError(f"claim {self.id}: conditions are above(…), below(…) or between(…)")

    @property
    def chapter(self) -> int:
        """The chapter the id names."""
        return int(self.id.split(".")[0])

    @property
    def rule(self) -> str:
        """The rule for the verdict in words, made from the very conditions that decide."""

        def words(conditions: Mapping[str, Bound]) -> str:
            return " and ".join(f"{name} {bound}" for name, bound in conditions.items())

        either = f"; conditional if {words(self.conditional)}" if self.conditional else ""
        return f"supported if {words(self.supported)}{either}; otherwise refuted"

    def judge(
        self, readings: Mapping[str, Sequence[float] | float], kept: Kept | None = None
    ) -> Card:
        """The verdict on what was measured.

        Args:
            readings: by name, one number per seed; the first is the claim's main number. Every name
                in the rule and in `controls` must be there.
            kept: a long measurement of the same readings (`kept`), shown beside the live one.

        Raises:
            ValueError: for a missing reading, too few seeds or a number that is not finite.
        """
        table = self._table(readings, f"claim {self.id}")
        if kept is None:
            return Card(self, table, self.decide(table))
        if kept.id != self.id:
            raise ValueError(f"claim {self.id}: kept= is the measurement of claim {kept.id}")
        long = self._table(kept.readings, f"kept measurement of claim {self.id}")
        if next(iter(long)) != next(iter(table)):
            raise ValueError(
                f"claim {self.id}: the kept measurement begins with {next(iter(long))!r}, "
                f"this run with {next(iter(table))!r}; run `python -m aelib measure {self.id}`"
            )
        return Card(self, table, self.decide(table), kept, long, self.decide(long))

    def _table(self, readings: Mapping[str, Sequence[float] | float], what: str) -> dict:
        needed = dict.fromkeys([*self.supported, *self.conditional, *self.controls])
        missing = [name for name in needed if name not in readings]
        if missing or not readings:
            raise ValueError(f"{what}: readings lack {missing}; they have {list(readings)}")
        return {
            name: read(values, self.kind, f"{what}, {name}") for name, values in readings.items()
        }

    def decide(self, table: Mapping[str, Reading]) -> str:
        """The verdict by the rule: "supported", "conditional" or "refuted"."""
        for verdict, conditions in (
            ("supported", self.supported),
            ("conditional", self.conditional),
        ):
            if conditions and all(bound.holds(table[name]) for name, bound in conditions.items()):
                return verdict
        return "refuted"


@dataclass(frozen=True)
class Kept:
    """A long measurement as it was kept: readings by name, and where they come from."""

    id: str
    readings: Mapping[str, Sequence[float]]
    settings: Mapping
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Card:
    """A judged claim: what a notebook shows and the ledger collects."""

    claim: Claim
    readings: Mapping[str, Reading]
    verdict: str
    kept: Kept | None = None
    long: Mapping[str, Reading] | None = None
    long_verdict: str | None = None

    @property
    def record(self) -> dict:
        """The ledger's entry, plain enough for JSON."""
        claim, (first, main) = self.claim, next(iter(self.readings.items()))
        others = {name: {"value": r.value, "low": r.low, "high": r.high}
                  for name, r in self.readings.items() if name != first}  # fmt: skip
        entry = {
            "id": claim.id,
            "chapter": claim.chapter,
            "statement": claim.statement,
            "kind": claim.kind,
            "verdict": self.verdict,
            "value": main.value,
            "low": main.low,
            "high": main.high,
            "seeds": len(main.values) if claim.kind == "measured" else 0,
            "controls": {
                name: reading for name, reading in others.items() if name in claim.controls
            },
            "conditions": {
                name: reading for name, reading in others.items() if name not in claim.controls
            },
            "quantity": first,
            "unit": claim.unit,
            "source": claim.source,
            "measure": claim.measure,
            "rule": claim.rule,
            "fails_when": claim.fails_when,
        }
        if self.long:
            reading = self.long[first]
            entry["long"] = {
                "verdict": self.long_verdict,
                "value": reading.value,
                "low": reading.low,
                "high": reading.high,
                "seeds": len(reading.values),
                "date": self.kept.provenance["date"],
            }
        return entry

    def _repr_mimebundle_(self, include=None, exclude=None):
        plain = f"claim {self.claim.id}: {self.verdict}"
        return {"text/plain": plain, "text/html": self._html()}, {"claim": self.record}

    def __repr__(self) -> str:
        return f"claim {self.claim.id}: {self.verdict}"

    def _html(self) -> str:
        claim, text = self.claim, html.escape
        named = {
            f"control: {name}" if name in claim.controls else name: name for name in self.readings
        }

        def cells(reading: Reading) -> str:
            value, low, high = (
                f"<data>{told(number)}</data>"
                for number in (reading.value, reading.low, reading.high)
            )
            return value + (f" <small>[{low}, {high}]</small>" if len(reading.values) > 1 else "")

        main = next(iter(self.readings.values()))
        seeds = "this run" if claim.kind == "closed form" else f"this run, {len(main.values)} seeds"
        long_head = long_row = ""
        if self.long:
            count = len(next(iter(self.long.values())).values)
            when = self.kept.provenance["date"][:10]
            long_head = f"<th scope='col'>kept run, {count} seeds, <data>{when}</data></th>"
        rows = []
        for label, name in named.items():
            if self.long:
                long_row = (
                    f"<td>{cells(self.long[name])}</td>" if name in self.long else "<td></td>"
                )
            first = not rows  # the claim's own number: say in words what it is
            unit = f" ({text(claim.unit)})" if claim.unit and first else ""
            words = f"<br><small>{text(claim.measure)}</small>" if first else ""
            rows.append(
                f"<tr><th scope='row'>{text(label)}{unit}{words}</th>"
                f"<td>{cells(self.readings[name])}</td>{long_row}</tr>"
            )
        return (
            f"<div class='claim claim-{self.verdict}' id='claim-{claim.id.replace('.', '-')}' "
            f"role='group' aria-label='Claim {claim.id}'>"
            f"<p class='claim-head'><strong>Claim {claim.id}</strong> "
            f"<span class='claim-verdict'>{self.verdict}</span></p>"
            f"<p class='claim-statement'>{text(claim.statement)}</p>"
            "<table><thead><tr><th scope='col'>reading</th>"
            f"<th scope='col'>{seeds}</th>{long_head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>"
            f"<p class='claim-rule'>Rule: {text(claim.rule)}. Fails when: {text(claim.fails_when)} "
            f"Source: {text(claim.source)}.</p></div>"
        )


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
