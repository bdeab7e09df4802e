"""A claim and the rule for its verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from numbers import Real
from typing import TYPE_CHECKING, Any

from aelib import checks
from aelib.figures.numbers import format_number
from aelib.measures import interval

if TYPE_CHECKING:
    from aelib.claims.card import Card
    from aelib.claims.measurement import Kept

KINDS = ("measured", "closed form")
VERDICTS = ("supported", "conditional", "refuted", "undecided", "open")
SEEN = ("nothing", "prototype", "first run", "other seeds")  # of results, when a rule was set
FEWEST = 3  # units; of fewer the spread says next to nothing

Key = str | tuple[Any, ...]
Readings = Mapping[Any, Any]  # by key: one number per unit, or a single number for a closed form


def label(key: Key) -> str:
    """A reading's key as it is printed and stored.

    >>> label(("ResNet", "trained", "stage 2")), label("gain")
    ('ResNet, trained, stage 2', 'gain')
    """
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


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

    def fails(self, reading: Reading) -> bool:
        """Whether the whole interval lies on one side outside: the opposite bound holds."""
        return reading.high <= self.low or reading.low >= self.high

    def __str__(self) -> str:
        low, high = (
            format_number(float(limit), "").removesuffix(".0") for limit in (self.low, self.high)
        )
        if math.isinf(self.low):
            return f"below {high}"
        return f"above {low}" if math.isinf(self.high) else f"between {low} and {high}"


def below(limit: float) -> Bound:
    """The whole interval lies below `limit`."""
    return Bound(high=limit)


def above(limit: float) -> Bound:
    """The whole interval lies above `limit`."""
    return Bound(low=limit)


def between(low: float, high: float) -> Bound:
    """The whole interval lies between the two.

    >>> str(between(-1, 2.5))
    'between −1 and 2.5'
    """
    return Bound(low, high)


@dataclass(frozen=True)
class Reading:
    """One measured quantity: its value for each unit, their mean and its 95 % interval."""

    values: tuple[float, ...]
    value: float
    low: float
    high: float


def read(values: Any, kind: str = "measured", name: str = "values", ratio: bool = False) -> Reading:
    """A `Reading` from one number per unit, or from a single number for a closed form.

    Args:
        values: the numbers.
        kind: "measured" or "closed form".
        name: what an error calls them.
        ratio: take mean and interval on the logarithm.

    Raises:
        ValueError: for fewer than three units where the kind is "measured", a number that is not
            finite, or a ratio that is not above 0.

    >>> read([1.0, 2.0, 3.0]).value
    2.0
    """
    row: Any = values
    if isinstance(values, Real) or getattr(values, "ndim", 1) == 0:
        row = [values]
    try:
        listed = tuple(float(value) for value in row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(checks.message(name, "one number per unit", values)) from error
    if not listed or not all(map(math.isfinite, listed)):
        raise ValueError(checks.message(name, "finite numbers, one per unit", list(listed)))
    if kind == "measured" and len(listed) < FEWEST:
        raise ValueError(
            checks.message(
                name,
                f"at least {FEWEST} units, or there is no spread",
                checks.Described(str(len(listed))),
                f"train more with models.replicate(…, seeds={FEWEST}), or measure more images",
            )
        )
    if len(listed) == 1:
        return Reading(listed, listed[0], listed[0], listed[0])
    if ratio and min(listed) <= 0:
        raise ValueError(checks.message(name, "ratios above 0", min(listed)))
    return Reading(listed, *interval(listed, log=ratio))


@dataclass(frozen=True)
class Claim:
    """A statement of the book and the rule that decides on it, written before the run.

    Attributes:
        id: chapter and number, such as "2.1".
        statement: one sentence that could be false.
        source: where it comes from: a section of Badger's page, or a paper.
        reading: the key of the main number: the one on the ledger.
        measure: what the main number is, in words.
        supported: conditions by key; all must hold.
        conditional: conditions that earn "conditional" where `supported` fails; empty for none.
        condition: what `conditional` asks for, in words; `fails_when` says it where it is empty.
        refuted: conditions that refute it; where there are none, it is refuted by the opposite of
            any in `supported`, and of any in `conditional` where there are some. A control that
            fails refutes nothing: the run has not decided.
        fails_when: one sentence that says when it does not hold.
        controls: the keys of the readings that are trivial explanations rather than conditions.
        also: keys of readings that the card shows though nothing hangs on them.
        kind: "measured", or "closed form" where no unit enters.
        unit: of the main number, such as "dB".
        units: what the spread is taken over, such as "nets" or "photographs".
        ratios: keys of readings whose mean and interval are taken on the logarithm.
        rule_changed: the day the rule was last changed, such as "2026-11-26".
        seen_before: what had been seen of results then; one of `SEEN`.
        open: why the source's own statement was not tested; empty where it was.

    A key is a text, or a tuple where the readings are a table: ("ResNet", "trained", "stage 2").

    >>> claim = Claim(
    ...     id="2.1", statement="It copies.", source="Badger's page, section 2", reading="κ",
    ...     measure="copy coefficient", supported={"κ": above(0.9)}, fails_when="Never.",
    ...     controls=["untrained, κ"],
    ... )
    >>> claim.judge({"κ": [0.95, 0.96, 0.97], "untrained, κ": [0.0, 0.1, 0.0], "more": [1, 2, 3]})
    claim 2.1: supported
    """

    id: str
    statement: str
    source: str
    reading: Key
    measure: str
    supported: Mapping[Any, Bound]
    fails_when: str
    conditional: Mapping[Any, Bound] = field(default_factory=dict)
    controls: Sequence[Key] = ()
    also: Sequence[Key] = ()
    kind: str = "measured"
    unit: str = ""
    units: str = "nets"
    condition: str = ""
    refuted: Mapping[Any, Bound] = field(default_factory=dict)
    ratios: Sequence[Key] = ()
    rule_changed: str = "2026-11-25"
    seen_before: str = "first run"
    open: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+\.\d+", self.id):
            raise ValueError(checks.message("id", 'chapter.number, such as "2.1"', self.id))
        name = f"claim {self.id}"
        checks.choice(self.kind, f"{name}, kind", KINDS)
        checks.choice(self.seen_before, f"{name}, seen_before", SEEN)
        try:
            date.fromisoformat(self.rule_changed)
        except ValueError:
            what = checks.message(
                f"{name}, rule_changed", 'a day such as "2026-11-26"', self.rule_changed
            )
            raise ValueError(what) from None
        if not self.supported:
            raise ValueError(f"{name}: supported= must name a condition; else nothing refutes it")
        if not self.controls:
            raise ValueError(f"{name}: controls= must name a trivial explanation, measured too")
        for what in ("statement", "source", "measure", "fails_when"):
            if not getattr(self, what).strip():
                raise ValueError(f"{name}: {what} must not be empty")
        if any(isinstance(keys, str) for keys in (self.controls, self.also, self.ratios)):
            raise TypeError(f"{name}: controls=, also= and ratios= take lists of names, not a text")
        rules = (self.supported, self.conditional, self.refuted)
        bounds = [bound for rule in rules for bound in rule.values()]
        if not all(isinstance(bound, Bound) for bound in bounds):
            raise TypeError(f"{name}: conditions are above(…), below(…) or between(…)")

    @property
    def chapter(self) -> int:
        """The chapter the id names."""
        return int(self.id.split(".")[0])

    @property
    def keys(self) -> list[Key]:
        """The readings the claim needs (the main one, those of its rule, controls, others)."""
        rules = (*self.supported, *self.conditional, *self.refuted)
        named = (self.reading, *rules, *self.controls, *self.also)
        return list(dict.fromkeys(named))

    @property
    def rule(self) -> str:
        """The rule for the verdict in words, made from the very conditions that decide."""

        def words(conditions: Mapping[Key, Bound]) -> str:
            return " and ".join(f"{label(key)} {bound}" for key, bound in conditions.items())

        either = f"; conditional if {words(self.conditional)}" if self.conditional else ""
        against = "if the opposite of a condition" + " in each" * bool(self.conditional) + " holds"
        controls = set(map(label, self.controls))
        if any(label(key) in controls for key in (*self.supported, *self.conditional)):
            against += ", one on a control aside"
        if self.refuted:
            against = f"if {words(self.refuted)}"
        return f"supported if {words(self.supported)}{either}; refuted {against}; else undecided"

    def read(self, readings: Readings, what: str = "") -> dict[str, Reading]:
        """What the claim needs of `readings`, by label, in the order of `keys`.

        Raises:
            ValueError: for a missing reading, too few seeds or a number that is not finite.
        """
        what = what or f"claim {self.id}"
        known = {label(key): values for key, values in readings.items()}
        missing = [label(key) for key in self.keys if label(key) not in known]
        if missing:
            raise ValueError(f"{what}: the readings lack {missing}; they have {list(known)}")
        ratios = set(map(label, self.ratios))
        return {
            name: read(known[name], self.kind, f"{what}, {name}", name in ratios)
            for name in map(label, self.keys)
        }

    def decide(self, table: Mapping[str, Reading]) -> str:
        """The verdict by the rule on readings by label; one of `VERDICTS`."""
        if self.open:
            return "open"

        controls = set(map(label, self.controls))

        def holds(rule: Mapping[Key, Bound]) -> bool:
            return bool(rule) and all(b.holds(table[label(key)]) for key, b in rule.items())

        def fails(rule: Mapping[Key, Bound]) -> bool:
            named = {label(key): bound for key, bound in rule.items()}
            return any(named[name].fails(table[name]) for name in named.keys() - controls)

        if holds(self.supported):
            return "supported"
        if holds(self.conditional):
            return "conditional"
        if self.refuted:
            return "refuted" if holds(self.refuted) else "undecided"
        against = fails(self.supported) and (not self.conditional or fails(self.conditional))
        return "refuted" if against else "undecided"

    def judge(self, readings: Readings | None, kept: Kept | None = None) -> Card:
        """The verdict on what was measured.

        Args:
            readings: of a live run, by key, one number per unit; what the claim does not name is
                passed over. None where there was none.
            kept: the kept full measurement of the same readings, which decides where there is one.

        Raises:
            ValueError: for a missing reading, too few units, a number that is not finite, or
                neither a live run nor a kept one.
        """
        from aelib.claims.card import Card

        table = None if readings is None else self.read(readings)
        if kept is None:
            if table is None:
                how = f"run `python -m aelib measure {self.id}`"
                raise ValueError(
                    f"claim {self.id}: nothing was measured, and nothing is kept; {how}"
                )
            return Card(self, table)
        if kept.id != self.id:
            raise ValueError(f"claim {self.id}: kept= is the measurement of claim {kept.id}")
        return Card(self, table, kept, self.read(kept.readings, f"kept run of claim {self.id}"))
