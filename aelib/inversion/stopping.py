"""When a run may stop: at a target, or where going on changes nothing any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aelib import checks

LEVELLED_OFF = "levelled off"


@dataclass(frozen=True)
class LevelledOff:
    """A run has levelled off when as many evaluations again have left its image as it was.

    That is, when m_g < m_r, and m_i² of the image kept has stayed within a share `change` of what
    it is now over the second half of all evaluations so far, of which there are `least` or more;
    or when m_g ≤ within · m_r. What a layer has lost can be said only then. An image that hardly
    leaves its start is level long before m_g is: for late layers of deep nets raise `least`.

    >>> LevelledOff()
    LevelledOff(change=0.02, within=0.01, least=200)
    """

    change: float = 0.02
    within: float = 0.01
    least: int = 200

    def __post_init__(self):
        checks.number(self.change, "change", above=0, below=1)
        checks.number(self.within, "within", least=0)
        checks.whole(self.least, "least", least=2)

    def holds(self, m_i: Tensor, m_g: Tensor, m_r: Tensor) -> Tensor:
        """Which runs have levelled off, (rows,).

        Args:
            m_i: of the images kept after evaluation 0, 1, …, (rows, evaluations).
            m_g, m_r: now, (rows,).
        """
        near = m_g <= self.within * m_r
        step = m_i.shape[1] - 1
        if step < self.least:
            return near
        squares = m_i[:, step // 2 :].square()
        spread = squares.amax(1) - squares.amin(1)
        return near | ((spread <= self.change * squares[:, -1]) & (m_g < m_r))


@dataclass(frozen=True)
class Until:
    """What stops a run: m_g ≤ target · m_r, or `level`; None for neither."""

    target: float | None = None
    level: LevelledOff | None = None


def until(given: Any) -> Until:
    """`invert`'s argument `until`, looked at.

    >>> until(["levelled off", 0.5])
    Until(target=0.5, level=LevelledOff(change=0.02, within=0.01, least=200))
    """
    if given is None:
        return Until()
    each = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    targets, levels = [], []
    for one in each:
        if isinstance(one, LevelledOff):
            levels.append(one)
        elif isinstance(one, str):
            checks.choice(one, "until", [LEVELLED_OFF])
            levels.append(LevelledOff())
        else:
            targets.append(checks.number(one, "until", above=0))
    if not each or len(targets) > 1 or len(levels) > 1:
        expected = f"a number, {LEVELLED_OFF!r} or a LevelledOff, or one of each in a list"
        raise ValueError(checks.message("until", expected, given))
    return Until(targets[0] if targets else None, levels[0] if levels else None)


class Levels:
    """m_i of the images kept, evaluation by evaluation, for the rows of a batch."""

    def __init__(self, rule: LevelledOff, originals: Tensor, steps: int):
        self.rule, self.originals = rule, originals
        self.m_i = originals.new_empty(len(originals), steps + 1)

    def update(self, step: int, rows: Tensor, images: Tensor, m_g: Tensor, m_r: Tensor) -> Tensor:
        """Which of `rows` have levelled off, (rows,); images, m_g and m_r are of all rows."""
        self.m_i[rows, step] = (images[rows] - self.originals[rows]).flatten(1).norm(dim=1)
        return self.rule.holds(self.m_i[rows, : step + 1], m_g[rows], m_r[rows])
