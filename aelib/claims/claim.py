"""A claim and the rule for its verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from aelib import checks
from aelib.figures.numbers import format_number
from aelib.measures import interval

if TYPE_CHECKING:
    from aelib.claims.card import Card
    from aelib.claims.measurement import Kept

KINDS = ("measured", "closed form")
FEWEST_SEEDS = 3

Key = str | tuple[Any, ...]
Readings = Mapping[Any, Any]  # by key: one number per seed, or a single number for a closed form


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
    """One measured quantity: its value for each seed, their mean and a bootstrap interval."""

    values: tuple[float, ...]
    value: float
    low: float
    high: float


def read(values: Any, kind: str = "measured", name: str = "values") -> Reading:
    """A `Reading` from one number per seed, or from a single number for a closed form.

    Raises:
        ValueError: for fewer than three seeds where the kind is "measured", or a number that is
            not finite.

    >>> read([1.0, 2.0, 3.0]).value
    2.0
    """
    row: Any = values
    if isinstance(values, Real) or getattr(values, "ndim", 1) == 0:
        row = [values]
    try:
        listed = tuple(float(value) for value in row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(checks.message(name, "one number per seed", values)) from error
    if not listed or not all(map(math.isfinite, listed)):
        raise ValueError(checks.message(name, "finite numbers, one per seed", list(listed)))
    if kind == "measured" and len(listed) < FEWEST_SEEDS:
        raise ValueError(
            checks.message(
                name,
                f"at least {FEWEST_SEEDS} seeds, or there is no spread",
                checks.Described(str(len(listed))),
                f"train more with models.replicate(…, seeds={FEWEST_SEEDS})",
            )
        )
    if len(listed) == 1:
        return Reading(listed, listed[0], listed[0], listed[0])
    value, low, high = (float(number) for number in interval(listed))
    return Reading(listed, value, low, high)


@dataclass(frozen=True)
class Claim:
    """A statement of the book and the rule that decides on it, written before the run.

    Attributes:
        id: chapter and number, such as "2.1".
        statement: one sentence that could be false.
        source: where it comes from: the document's section, or a paper.
        reading: the key of the main number: the one on the ledger.
        measure: what the main number is, in words.
        supported: conditions by key; all must hold.
        conditional: conditions that earn "conditional" where `supported` fails; empty for none.
        fails_when: one sentence that says when it does not hold.
        controls: the keys of the readings that are trivial explanations rather than conditions.
        also: keys of readings that the card shows though nothing hangs on them.
        kind: "measured", or "closed form" where no seed enters.
        unit: of the main number, such as "dB".

    A key is a text, or a tuple where the readings are a table: ("ResNet", "trained", "stage 2").

    >>> claim = Claim(
    ...     id="2.1", statement="It copies.", source="the document, section 2", reading="κ",
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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+\.\d+", self.id):
            raise ValueError(checks.message("id", 'chapter.number, such as "2.1"', self.id))
        name = f"claim {self.id}"
        checks.choice(self.kind, f"{name}, kind", KINDS)
        if not self.supported:
            raise ValueError(f"{name}: supported= must name a condition; else nothing refutes it")
        if not self.controls:
            raise ValueError(f"{name}: controls= must name a trivial explanation, measured too")
        for what in ("statement", "source", "measure", "fails_when"):
            if not getattr(self, what).strip():
                raise ValueError(f"{name}: {what} must not be empty")
        if isinstance(self.controls, str) or isinstance(self.also, str):
            raise TypeError(f"{name}: controls= and also= take a list of names, not one text")
        bounds = [*self.supported.values(), *self.conditional.values()]
        if not all(isinstance(bound, Bound) for bound in bounds):
            raise TypeError(f"{name}: conditions are above(…), below(…) or between(…)")

    @property
    def chapter(self) -> int:
        """The chapter the id names."""
        return int(self.id.split(".")[0])

    @property
    def keys(self) -> list[Key]:
        """The readings the claim needs (the main one, those of its rule, controls, others)."""
        named = (self.reading, *self.supported, *self.conditional, *self.controls, *self.also)
        return list(dict.fromkeys(named))

    @property
    def rule(self) -> str:
        """The rule for the verdict in words, made from the very conditions that decide."""

        def words(conditions: Mapping[Key, Bound]) -> str:
            return " and ".join(f"{label(key)} {bound}" for key, bound in conditions.items())

        either = f"; conditional if {words(self.conditional)}" if self.conditional else ""
        return f"supported if {words(self.supported)}{either}; otherwise refuted"

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
        return {
            name: read(known[name], self.kind, f"{what}, {name}") for name in map(label, self.keys)
        }

    def decide(self, table: Mapping[str, Reading]) -> str:
        """The verdict by the rule on readings by label: supported, conditional or refuted."""
        for verdict, conditions in (
            ("supported", self.supported),
            ("conditional", self.conditional),
        ):
            holds = (bound.holds(table[label(key)]) for key, bound in conditions.items())
            if conditions and all(holds):
                return verdict
        return "refuted"

    def judge(self, readings: Readings, kept: Kept | None = None) -> Card:
        """The verdict on what was measured.

        Args:
            readings: by key, one number per seed; what the claim does not name is passed over.
            kept: a full measurement of the same readings, shown beside this one.

        Raises:
            ValueError: for a missing reading, too few seeds or a number that is not finite.
        """
        from aelib.claims.card import Card

        table = self.read(readings)
        if kept is None:
            return Card(self, table, self.decide(table))
        if kept.id != self.id:
            raise ValueError(f"claim {self.id}: kept= is the measurement of claim {kept.id}")
        full = self.read(kept.readings, f"kept measurement of claim {self.id}")
        return Card(self, table, self.decide(table), kept, full, self.decide(full))
