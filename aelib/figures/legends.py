"""Which line is which: labels at the lines' ends where they fit, else a legend above."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from aelib.figures.theme import SMALL, text_width

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


# An end of a line: what was drawn there, its label, its height in data units.
End = tuple["Line2D", str, float]


def _heights(
    figure: Figure, ax: Axes, x: float, ends: Sequence[End]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Of the lines' ends, and of labels beside them that do not overlap; in shares of the axes.

    The last value is what a label needs.
    """
    figure.draw_without_rendering()  # the axes get their place and their limits
    points = ax.transData.transform([(x, y) for _, _, y in ends])  # (ends, 2) in dots
    heights = ax.transAxes.inverted().transform(points)[:, 1]
    step = 1.3 * SMALL / 72 * figure.dpi / ax.bbox.height
    spots, order = heights.copy(), np.argsort(heights, kind="stable")
    for _ in range(50):  # neighbours that overlap give way by half each, until all fit
        for below, above in pairwise(order):
            short = max(0.0, step - (spots[above] - spots[below])) / 2
            spots[below] -= short
            spots[above] += short
    return heights, spots, step


def ends_fit(figure: Figure, ax: Axes, x: float, ends: Sequence[End]) -> bool:
    """Whether labels at the lines' ends leave the lines room and stay beside their lines."""
    heights, spots, step = _heights(figure, ax, x, ends)
    widest = max(text_width(label, SMALL) for _, label, _ in ends)
    inside = (heights >= 0).all() and (heights <= 1).all()
    near = (abs(spots - heights) <= step / 3).all()  # farther, and no eye could follow the leads
    return bool(inside and near and widest < 0.36 * ax.bbox.width / figure.dpi)


def label_ends(figure: Figure, ax: Axes, x: float, ends: Sequence[End]) -> None:
    """Write each label beside its line's end, with a thin lead from the one to the other."""
    _, spots, _ = _heights(figure, ax, x, ends)
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
    """The legend above the axes, where it covers nothing; returns its height in points."""
    if not entries:
        return 0
    # A handle and its gap take 2.8 font sizes, the gap between columns 1.2 (see `style`).
    widths = [text_width(label, SMALL) + 2.8 * SMALL / 72 for _, label in entries]
    ncols = 1
    for ncols in range(len(widths), 0, -1):
        columns = np.array_split(widths, ncols)  # as matplotlib fills them
        needed = sum(column.max() for column in columns) + (ncols - 1) * 1.2 * SMALL / 72
        if needed <= ax.bbox.width / figure.dpi:
            break
    handles, labels = zip(*entries, strict=True)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0.2}
    ax.legend(handles, labels, ncols=ncols, **place)
    return -(-len(entries) // ncols) * 1.55 * SMALL
