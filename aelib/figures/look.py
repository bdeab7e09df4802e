"""The look of every picture: ink, paper, strokes told apart without colour, one canvas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Opaque paper: on a dark page a transparent figure loses its dark text.
PAPER, INK, GREY, FAINT = "#fbfaf6", "#1f2328", "#63686e", "#e3e0d7"
WIDTH = 6.4  # inches; every size below is chosen for a figure of this width
DPI = 144  # 922 pixels across: sharp in a text column, 20 to 100 kB
TEXT, SMALL = 12.0, 11.0  # points; 11 points are 8.6 pixels on a phone 360 pixels wide


@dataclass(frozen=True)
class Stroke:
    """One series' appearance. Marker, dash and hatch each identify it without the colour."""

    colour: str
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

    settings = {
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

        figure, (left, right) = ae.figures.canvas(1, 2)

    Raises ValueError for fewer than one row or column, or a size that is not positive.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if nrows < 1 or ncols < 1:
        raise ValueError(f"canvas needs at least one row and one column, got {nrows} and {ncols}")
    height = nrows * (2.1 + 0.29 * width / ncols) if height is None else height
    if width <= 0 or height <= 0:
        raise ValueError(f"canvas needs a width and a height above 0, got {width} and {height}")
    figure = Figure(figsize=(width, height), layout="constrained")  # unknown to pyplot: no leak
    FigureCanvasAgg(figure)
    return figure, tuple(figure.subplots(nrows, ncols, squeeze=False).flat)


def place(ax: Axes | None, height: float | None = None) -> tuple[Figure, Axes]:
    """The axes to draw in: the caller's, or those of a new canvas `height` inches high."""
    if ax is None:
        figure, (ax,) = canvas(height=height)
        return figure, ax
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be one Axes, such as canvas() returns, got {type(ax).__name__}; "
            "unpack the tuple: figure, (ax,) = canvas()"
        )
    return ax.figure, ax


def numbers(argument: str, values: Any, ndim: int, *, gaps: bool = False) -> np.ndarray:
    """`values` (tensor, array or nested list) as a float array with `ndim` axes.

    Raises ValueError, naming `argument`, when it has another number of axes, is empty, or holds
    a value that is not finite (with `gaps`, NaN is let through).
    """
    if hasattr(values, "numpy"):  # a torch tensor, on any device, with or without a gradient
        values = values.numpy(force=True)
    array = np.asarray(values, dtype=float)
    if array.ndim != ndim or not array.size:
        raise ValueError(
            f"{argument}: expected a non-empty array with {ndim} axes, got shape {array.shape}"
        )
    bad = np.isinf(array) if gaps else ~np.isfinite(array)
    if bad.any():
        raise ValueError(
            f"{argument}: {int(bad.sum())} of {array.size} values are infinite"
            f"{'' if gaps else ' or NaN'}; look for a run that diverged"
        )
    return array


def seeds(argument: str, values: Any, points: int | None = None) -> np.ndarray:
    """Checked measurements, one a seed: (seeds,), or (seeds, points) where points is given."""
    array = numbers(argument, values, 1 if points is None else 2)
    if len(array) < 2:
        raise ValueError(
            f"{argument}: expected at least two seeds, got {len(array)}; one run has no spread "
            "to show (draw a curve without seeds through exact=)"
        )
    if points is not None and array.shape[1] != points:
        raise ValueError(
            f"{argument}: expected {points} points a seed, as many as x, got {array.shape[1]}; "
            "the shape is (seeds, points)"
        )
    return array


def strokes(labels: Sequence[str]) -> Mapping[str, Stroke]:
    """A stroke for each label, in the order given."""
    if not labels:
        raise ValueError("nothing to draw: the dictionary of series is empty")
    if len(labels) > len(STROKES):
        raise ValueError(
            f"{len(labels)} series in one picture, but only {len(STROKES)} can be told apart "
            "without colour; split them over two panels"
        )
    return dict(zip(labels, STROKES, strict=False))


def text_width(text: str, size: float) -> float:
    """Width in inches of `text` set at `size` points; of its widest line if it has several."""
    from matplotlib.textpath import TextPath

    lines = [line for line in text.split("\n") if line.strip()]
    widths = [TextPath((0, 0), line, size=size).get_extents().x1 for line in lines]
    return max(widths, default=0) / 72
