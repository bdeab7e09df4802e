"""field: a map of the plane to itself as arrows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import checks
from aelib.figures.legends import legend
from aelib.figures.theme import INK, STROKES, WIDTH, axes_for, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def field(
    points: Any,
    start: Any,
    end: Any,
    *,
    xlabel: str = "first coordinate",
    ylabel: str = "second coordinate",
    points_label: str = "data",
    arrows_label: str = "where the model sends a point",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A map of the plane to itself as arrows, over the points it was trained on.

    Args:
        points: (n, 2), the data.
        start, end: (m, 2), each arrow's foot and tip, in the data's units; the axes span points
            and feet, so an arrow that leaves the picture is cut at its edge.
        xlabel, ylabel: the coordinates.
        points_label, arrows_label: for the legend; both "" for none.
        title: a line above. ax: draw here instead of in a new figure.

    Raises TypeError or ValueError when the shapes are not (n, 2) and (m, 2).

    >>> figure = field([[0, 0], [1, 1]], start=[[0, 1], [1, 0]], end=[[0.5, 0.5], [0.5, 0.5]])
    """
    points = checks.array(points, "points", ("n", 2))
    start = checks.array(start, "start", ("m", 2))
    end = checks.array(end, "end", start.shape)

    figure, ax = axes_for(ax, 0.8 * WIDTH)
    dots = ax.scatter(*points.T, s=20, c=STROKES[1].color, edgecolors=INK, linewidths=0.5, zorder=3)
    ax.quiver(
        *start.T,
        *(end - start).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        color=STROKES[0].color,
        units="inches",
        width=0.018,
        zorder=2,
    )
    spots = np.vstack([points, start])
    middle, reach = (spots.max(0) + spots.min(0)) / 2, (spots.max(0) - spots.min(0)).max() * 0.54
    ax.set_xlim(middle[0] - reach, middle[0] + reach)
    ax.set_ylim(middle[1] - reach, middle[1] + reach)
    ax.set_aspect("equal")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    arrow = ax.plot([], [], color=STROKES[0].color, marker=">", linewidth=1.6)[0]
    entries = [(h, text) for h, text in ((dots, points_label), (arrow, arrows_label)) if text]
    pad = legend(figure, ax, entries)
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure
