"""heat: one number over two settings, as colours and in figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import checks
from aelib.figures.numbers import format_number
from aelib.figures.theme import SMALL, axes_for, style, text_width

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

    Raises TypeError or ValueError when the labels do not fit the matrix, nothing was measured, or
    the limits are not increasing.

    >>> words = {"xlabel": "images", "ylabel": "layers", "label": "share"}
    >>> figure = heat([[0.1, 0.9]], xlabels=[4, 16], ylabels=[2], **words)
    """
    from matplotlib.text import Text

    cells = checks.array(matrix, "matrix", ("rows", "columns"), gaps=True)
    rows, columns = cells.shape
    xticks = [str(x) for x in checks.as_many(xlabels, "xlabels", columns, "texts, one a column")]
    yticks = [str(y) for y in checks.as_many(ylabels, "ylabels", rows, "texts, one a row")]
    if np.isnan(cells).all():
        raise ValueError(checks.message("matrix", "a cell that was measured", matrix))
    ends = np.nanmin(cells), np.nanmax(cells)
    low, high = ends if limits is None else checks.interval(limits, "limits")

    figure, ax = axes_for(ax, 1.0 + 0.46 * rows + (0.3 if title else 0))
    image = ax.imshow(cells, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(range(columns), xticks)
    ax.set_yticks(range(rows), yticks)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if label:
        bar = figure.colorbar(image, ax=ax, label=label, pad=0.02, aspect=max(8, 5 * rows))
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if title:
        ax.set_title(title)

    texts = np.vectorize(lambda x: "–" if np.isnan(x) else format_number(x, number))(cells)
    widest = max(text_width(text, SMALL) for text in texts.flat)

    def room() -> float:
        """Inches that a cell has across for a text."""
        return 0.84 * ax.bbox.width / figure.dpi / columns

    class Fitted(Text):
        """A number as large as its cell has room for, known only when all panels are in place."""

        def draw(self, renderer: Any) -> None:
            self.set_fontsize(SMALL * min(1, room() / widest))
            super().draw(renderer)

    shade = np.asarray(image.norm(cells))
    for (i, j), text in np.ndenumerate(texts):
        # Black and white stand out equally from cividis at 0.47 of its way, 4.5 to 1.
        color = "white" if shade[i, j] < 0.47 else "black"
        ax.add_artist(Fitted(j, i, text, ha="center", va="center", color=color))
    figure.draw_without_rendering()  # the cells get their size, or nearly, if panels follow
    if max(text_width(text, SMALL) for text in xticks) > room():
        ax.tick_params(axis="x", rotation=90)
    return figure
