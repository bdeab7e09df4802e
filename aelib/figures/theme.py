"""The theme of every picture: ink, paper, strokes told apart without colour, one canvas."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aelib import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Opaque paper: on a dark page a transparent figure loses its dark text.
PAPER, INK, GRAY, FAINT = "#fbfaf6", "#1f2328", "#63686e", "#e3e0d7"
WIDTH = 6.4  # inches; every size below is chosen for a figure of this width
DPI = 144  # 922 pixels across: sharp in a text column, 20 to 100 kB
TEXT, SMALL = 12.0, 11.0  # points; 11 points are 8.6 pixels on a phone 360 pixels wide


@dataclass(frozen=True)
class Stroke:
    """One series' appearance. Marker, dash and hatch each identify it without the colour."""

    color: str
    marker: str
    dash: Any  # a matplotlib line style
    hatch: str


# Okabe and Ito's colours, without their yellow (invisible on paper).
STROKES: tuple[Stroke, ...] = (
    Stroke("#0072B2", "o", "-", ""),
    Stroke("#D55E00", "s", (0, (5, 1.5)), "///"),
    Stroke("#009E73", "^", (0, (1.2, 1.2)), "..."),
    Stroke("#CC79A7", "D", (0, (7, 1.5, 1.2, 1.5)), "xxx"),
    Stroke("#E69F00", "v", (0, (2.5, 1.2)), "\\\\\\"),
    Stroke("#56B4E9", "P", (0, (7, 1.5, 1.2, 1.5, 1.2, 1.5)), "+++"),
    Stroke(INK, "X", (0, (9, 3)), "|||"),
)


@contextmanager
def style() -> Iterator[None]:
    """The book's matplotlib settings, for the length of a `with` block or a decorated function.

    Starts from matplotlib's own defaults, so a reader's matplotlibrc changes no picture, and puts
    everything back afterwards.
    """
    import matplotlib

    settings: Any = {
        "figure.dpi": DPI,
        "savefig.dpi": "figure",
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same on every machine
        "font.size": TEXT,
        "axes.titlesize": TEXT,
        "axes.titlelocation": "left",
        "axes.labelsize": TEXT,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.8,
        "lines.markersize": 5.5,
        "lines.scale_dashes": True,
        "hatch.color": INK,
        "hatch.linewidth": 0.6,
        "legend.frameon": False,
        "legend.borderpad": 0.0,
        "legend.handlelength": 2.3,  # in units of the font size, as the next two
        "legend.handletextpad": 0.5,
        "legend.columnspacing": 1.2,
        "figure.constrained_layout.w_pad": 0.09,
        "figure.constrained_layout.h_pad": 0.09,
        "figure.constrained_layout.wspace": 0.04,
        "figure.constrained_layout.hspace": 0.04,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


@style()
def canvas(
    nrows: int = 1, ncols: int = 1, width: float = WIDTH, height: float | None = None
) -> tuple[Figure, tuple[Axes, ...]]:
    """An empty figure in the book's style and its axes, row by row.

    Hand the axes to `curves(…, ax=left)`, `heat(…, ax=right)` and the others to put several
    pictures in one figure. `width` and `height` are in inches; left out, the height suits the
    number of rows and columns. On a phone two columns read well, three barely.

    Raises TypeError or ValueError for fewer than one row or column, or a size that is not positive.

    >>> figure, (left, right) = canvas(1, 2)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    checks.whole(nrows, "nrows", least=1)
    checks.whole(ncols, "ncols", least=1)
    width = checks.number(width, "width", above=0)
    height = nrows * (2.1 + 0.29 * width / ncols) if height is None else height
    checks.number(height, "height", above=0)
    figure = Figure(figsize=(width, height), layout="constrained")  # unknown to pyplot: no leak
    FigureCanvasAgg(figure)
    return figure, tuple(figure.subplots(nrows, ncols, squeeze=False).flat)


def axes_for(ax: Axes | None, height: float | None = None) -> tuple[Figure, Axes]:
    """The axes to draw in: the caller's, or those of a new canvas `height` inches high."""
    if ax is None:
        figure, (ax,) = canvas(height=height)
        return figure, ax
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if not isinstance(ax, Axes):
        advice = "unpack the tuple: figure, (ax,) = canvas()"
        raise TypeError(checks.message("ax", "one Axes, such as canvas() returns", ax, advice))
    if not isinstance(ax.figure, Figure):
        raise TypeError(checks.message("ax", "Axes of a Figure", ax.figure))
    return ax.figure, ax


def strokes(labels: Collection[str], name: str) -> dict[str, Stroke]:
    """A stroke for each label of the argument `name`, in the order given."""
    if not 1 <= len(labels) <= len(STROKES):
        expected = f"1 to {len(STROKES)} series, as many as can be told apart without colour"
        got = checks.Described(len(labels))
        raise ValueError(checks.message(name, expected, got, "split them over two panels"))
    return dict(zip(labels, STROKES, strict=False))


def text_width(text: str, size: float) -> float:
    """Width in inches of `text` set at `size` points; of its widest line if it has several."""
    from matplotlib.textpath import TextPath

    lines = [line for line in text.split("\n") if line.strip()]
    widths = [TextPath((0, 0), line, size=size).get_extents().x1 for line in lines]
    return max(widths, default=0) / 72
