"""sheet, block, arrow, note, picture: the parts of an explanatory drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from aelib import checks
from aelib.figures.grids import as_pixels
from aelib.figures.theme import FAINT, GRAY, INK, SMALL, STROKES, WIDTH, canvas, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float]  # (x, y) on the sheet, both on one scale
ACROSS = 10.0


@style()
def sheet(height: float = 2.2) -> tuple[Figure, Axes]:
    """Empty paper to draw on: x from 0 to 10, y from 0 to `height` on the same scale.

    Args:
        height: in units of the sheet, of which ten are its width.

    >>> figure, ax = sheet(height=3)
    >>> block(ax, (2, 1.5), (2, 1.5), "encoder", narrowing=0.5)
    >>> arrow(ax, (3.1, 1.5), (4.5, 1.5), "code")
    """
    height = checks.number(height, "height", above=0)
    figure, (ax,) = canvas(height=height * WIDTH / ACROSS)
    figure.set_layout_engine("none")
    ax.set_position((0.0, 0.0, 1.0, 1.0))
    ax.set_xlim(0, ACROSS)
    ax.set_ylim(0, height)
    ax.set_aspect("equal")
    ax.axis("off")
    return figure, ax


def block(
    ax: Axes,
    center: Place,
    size: Place,
    text: str = "",
    *,
    narrowing: float = 0.0,
    color: int | None = None,
) -> None:
    """A box with a text, or a trapezoid: a part of a network.

    Args:
        center, size: (x, y) and (width, height).
        text: inside, in ink.
        narrowing: share of the height that is lost from left to right; below 0 from right to left.
        color: which of the book's `STROKES` fills it, palely; None for grey.

    Raises:
        ValueError: for a narrowing of 1 or more, or a colour there is none of.

    >>> figure, ax = sheet()
    >>> block(ax, (2, 1), (2, 1.5), "encoder", narrowing=0.5, color=0)
    """
    from matplotlib.patches import Polygon

    narrowing = checks.number(narrowing, "narrowing", above=-1, below=1)
    if color is not None:
        checks.whole(color, "color", least=0, most=len(STROKES) - 1, limit="the book's last stroke")
    (x, y), (width, height) = center, size
    left = height / 2 * (1 + min(narrowing, 0.0))
    right = height / 2 * (1 - max(narrowing, 0.0))
    half = width / 2
    corners = [
        (x - half, y - left),
        (x - half, y + left),
        (x + half, y + right),
        (x + half, y - right),
    ]
    edge = GRAY if color is None else STROKES[color].color
    fill = FAINT if color is None else (edge, 0.18)
    ax.add_patch(Polygon(corners, facecolor=fill, edgecolor=edge, linewidth=1.4))
    note(ax, center, text)


def arrow(
    ax: Axes, start: Place, end: Place, text: str = "", *, bend: float = 0.0, dashed: bool = False
) -> None:
    """An arrow from `start` to `end`, its text above the middle.

    Args:
        bend: how far the arrow is bent to its left, as a share of its length; below 0 to its right.
        dashed: for what is only sometimes there.

    >>> figure, ax = sheet()
    >>> arrow(ax, (1, 1), (4, 1), "a skip", bend=0.2, dashed=True)
    """
    ax.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": INK,
            "linewidth": 1.4,
            "linestyle": "--" if dashed else "-",
            "connectionstyle": f"arc3,rad={-bend}",
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )
    (x, y), (across, up) = np.add(start, end) / 2, np.subtract(end, start)
    # The curve is a parabola whose middle stands half as far off as its control point.
    note(ax, (x - bend * up / 2, y + bend * across / 2 + 0.08), text, above=True)


def note(ax: Axes, place: Place, text: str, *, above: bool = False) -> None:
    """A text centred at `place`, or standing on it.

    >>> figure, ax = sheet()
    >>> note(ax, (5, 1), "the code")
    """
    ax.text(*place, text, ha="center", va="bottom" if above else "center", size=SMALL, color=INK)


def picture(ax: Axes, image: Tensor, center: Place, side: float) -> None:
    """An image (channels, height, width), floats in [0, 1], centred; its longer side is `side`.

    Raises:
        ValueError: for an image of other than one or three channels.

    >>> import torch
    >>> figure, ax = sheet()
    >>> picture(ax, torch.rand(1, 28, 28), (1, 1), side=1.5)
    """
    (pixels,) = as_pixels(image[None], "image")
    height, width = (side * n / max(pixels.shape[:2]) for n in pixels.shape[:2])
    (x, y) = center
    ax.imshow(
        pixels,
        extent=(x - width / 2, x + width / 2, y - height / 2, y + height / 2),
        interpolation="nearest",
        aspect="auto",
        zorder=2,
    )
    ax.set_aspect("equal")
