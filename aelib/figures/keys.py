"""Which line is which: labels at the lines' ends where they fit, else a key above the picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .look import SMALL, text_width

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _spots(figure: Figure, ax: Axes, x: float, ends: Sequence[tuple]) -> tuple[np.ndarray, ...]:
    """Heights of the lines' ends and of labels beside them that do not overlap (axes' shares)."""
    figure.draw_without_rendering()  # the axes get their place and their limits
    at = ax.transData.transform([(x, y) for _, _, y in ends])  # (ends, 2) in dots
    wanted = ax.transAxes.inverted().transform(at)[:, 1]
    step = 1.3 * SMALL / 72 * figure.dpi / ax.bbox.height
    spots, order = wanted.copy(), np.argsort(wanted, kind="stable")
    for _ in range(50):  # neighbours that overlap give way by half each, until all fit
        for a, b in pairwise(order):
            short = max(0.0, step - (spots[b] - spots[a])) / 2
            spots[a] -= short
            spots[b] += short
    return wanted, spots, np.full(len(spots), step)


def ends_fit(figure: Figure, ax: Axes, x: float, ends: Sequence[tuple]) -> bool:
    """Whether labels at the lines' ends leave the lines room and stay beside their lines."""
    wanted, spots, step = _spots(figure, ax, x, ends)
    widest = max(text_width(label, SMALL) for _, label, _ in ends)
    inside = (wanted >= 0).all() and (wanted <= 1).all()
    near = (abs(spots - wanted) <= step / 3).all()  # farther, and no eye could follow the leads
    return bool(inside and near and widest < 0.36 * ax.bbox.width / figure.dpi)


def label_ends(figure: Figure, ax: Axes, x: float, ends: Sequence[tuple]) -> None:
    """Write each label beside its line's end, with a thin lead from the one to the other."""
    _, spots, _ = _spots(figure, ax, x, ends)
    for (line, label, y), spot in zip(ends, spots, strict=True):
        lead = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.9, "shrinkB": 2}
        ax.annotate(
            label,
            (x, y),
            (1.03, spot),
            textcoords=ax.transAxes,
            va="center",
            size=SMALL,
            annotation_clip=False,
            arrowprops=lead | {"relpos": (0, 0.5)},
        )


def legend(figure: Figure, ax: Axes, entries: Sequence[tuple[Artist, str]]) -> float:
    """The key above the axes, where it covers nothing; returns its height in points."""
    # A handle and its gap take 2.8 font sizes, the gap between columns 1.2 (see `style`).
    widths = [text_width(label, SMALL) + 2.8 * SMALL / 72 for _, label in entries]
    for columns in range(len(widths), 0, -1):
        split = np.array_split(widths, columns)  # as matplotlib fills them
        needed = sum(part.max() for part in split) + (columns - 1) * 1.2 * SMALL / 72
        if needed <= ax.bbox.width / figure.dpi:
            break
    handles, labels = zip(*entries, strict=True)
    ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1.01),
        ncols=columns,
        borderaxespad=0.2,
    )
    return -(-len(entries) // columns) * 1.55 * SMALL
