"""heat, field: a number over two settings, and a map of the plane as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib.figures.numbers import format_number

from .keys import legend
from .look import INK, SMALL, STROKES, WIDTH, numbers, place, style, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def heat(
    matrix: Any,
    xlabels: Sequence[object],
    ylabels: Sequence[object],
    *,
    xlabel: str,
    ylabel: str,
    label: str,
    number: str = ".2f",
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A map of one number over two settings, the number written in each cell.

    Args:
        matrix: (rows, columns); NaN marks a cell that was not measured, left blank with a dash.
        xlabels, ylabels: the settings of the columns and of the rows, first row on top.
        xlabel, ylabel: what those settings are.
        label: what the number is, with its unit; stands at the colour bar. "" leaves the bar out,
            for a panel beside one that has it.
        number: format of the numbers.
        limits: the values at the ends of the colours (cividis: dark is low, also in grey); the
            least and greatest value if left out.
        title: a line above. ax: draw here instead of in a new figure.

    Raises ValueError when the labels do not fit the matrix, nothing was measured, or the limits
    are not increasing.
    """
    from matplotlib import colormaps
    from matplotlib.text import Text

    cells = numbers("matrix", matrix, 2, gaps=True)
    for argument, texts, wanted in (("ylabels", ylabels, 0), ("xlabels", xlabels, 1)):
        if len(texts) != cells.shape[wanted]:
            raise ValueError(f"{argument}: expected {cells.shape[wanted]}, got {len(texts)}")
    if np.isnan(cells).all():
        raise ValueError("matrix: every cell is NaN, nothing was measured")
    low, high = limits or (np.nanmin(cells), np.nanmax(cells))
    if limits and not low < high:
        raise ValueError(f"limits: expected (low, high) with low below high, got {limits}")

    rows, columns = cells.shape
    figure, ax = place(ax, 1.0 + 0.46 * rows + (0.3 if title else 0))
    image = ax.imshow(cells, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(range(columns), [str(t) for t in xlabels])
    ax.set_yticks(range(rows), [str(t) for t in ylabels])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if label:
        bar = figure.colorbar(image, ax=ax, label=label, pad=0.02, aspect=max(8, 5 * rows))
        bar.outline.set_visible(False)
    if title:
        ax.set_title(title)

    texts = {
        (i, j): "–" if np.isnan(v) else format_number(v, number)
        for (i, j), v in np.ndenumerate(cells)
    }
    widest = max(text_width(text, SMALL) for text in texts.values())

    class Fitted(Text):
        """A number that takes the size its cell has room for, known only when all is in place."""

        def draw(self, renderer: Any) -> None:
            cell = ax.bbox.width / self.figure.dpi / columns
            self.set_size(SMALL * min(1, 0.84 * cell / widest))
            super().draw(renderer)

    for (i, j), text in texts.items():
        colour = colormaps["cividis"](image.norm(cells[i, j]))
        dark = np.isnan(cells[i, j]) or _luminance(colour) > 0.18  # black and white: equal contrast
        ax.add_artist(
            Fitted(j, i, text, ha="center", va="center", color="black" if dark else "white")
        )
    figure.draw_without_rendering()  # the cells get their size, or nearly, if panels follow
    room = 0.8 * ax.bbox.width / figure.dpi / columns
    if max(text_width(str(t), SMALL) for t in xlabels) > room:
        ax.tick_params(axis="x", rotation=90)
    return figure


@style()
def field(
    points: Any,
    start: Any,
    end: Any,
    *,
    xlabel: str = "first coordinate",
    ylabel: str = "second coordinate",
    points_label: str = "data",
    arrows_label: str = "where the net sends a point",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A map of the plane to itself as arrows, over the points it was trained on.

    Args:
        points: (n, 2), the data.
        start, end: (m, 2), each arrow's foot and tip, in the data's units; the axes span points
            and feet, so an arrow that leaves the picture is cut at its edge.
        xlabel, ylabel: the coordinates. points_label, arrows_label: for the key; both "" for none.
        title: a line above. ax: draw here instead of in a new figure.

    Raises ValueError when the shapes are not (n, 2) and (m, 2).
    """
    points, start, end = (
        numbers(argument, values, 2)
        for argument, values in (("points", points), ("start", start), ("end", end))
    )
    for argument, array in (("points", points), ("start", start), ("end", end)):
        if array.shape[1] != 2:
            raise ValueError(f"{argument}: expected points of the plane (n, 2), got {array.shape}")
    if start.shape != end.shape:
        raise ValueError(f"end: expected one tip for each of {len(start)} feet, got {len(end)}")

    figure, ax = place(ax, 0.8 * WIDTH)
    dots = ax.scatter(*points.T, 20, STROKES[1].colour, edgecolors=INK, linewidths=0.5, zorder=3)
    ax.quiver(
        *start.T,
        *(end - start).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        color=STROKES[0].colour,
        units="inches",
        width=0.018,
        zorder=2,
    )
    seen = np.vstack([points, start])
    middle, reach = (seen.max(0) + seen.min(0)) / 2, (seen.max(0) - seen.min(0)).max() * 0.54
    ax.set_xlim(middle[0] - reach, middle[0] + reach)
    ax.set_ylim(middle[1] - reach, middle[1] + reach)
    ax.set_aspect("equal")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    arrow = ax.plot([], [], color=STROKES[0].colour, marker=">", linewidth=1.6)[0]
    entries = [(h, text) for h, text in ((dots, points_label), (arrow, arrows_label)) if text]
    pad = legend(figure, ax, entries) if entries else 0
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2): 0 for black, 1 for white."""
    c = np.asarray(colour[:3])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
