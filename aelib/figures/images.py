"""grid: rows of images, enlarged so that a pixel is a pixel."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .look import DPI, INK, PAPER, SMALL, TEXT, WIDTH, canvas, place, style, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.08  # between images, as a share of an image's width
_FINE = 160  # dots an image is enlarged to before it is drawn in axes of unknown size
_EDGE = 0.08  # inches of paper around a sheet


@style()
def grid(
    rows: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str | None = None,
    cell: float = 1.1,
    width: float = WIDTH,
    ax: Axes | None = None,
) -> Figure:
    """Images in rows, one tensor a row; each pixel becomes a square of one colour.

    Args:
        rows: each (n, channels, height, width), floats meant for [0, 1] with one channel (grey)
            or three. Values outside are clipped to [0, 1] for the picture, as a screen would.
            A row with fewer images than the longest ends early.
        labels: one text a row, at its left; a line break makes it two lines.
        columns: one text a column, above it.
        title: a line above the picture.
        cell: the largest side of an image, in inches.
        width: the largest width of the figure, in inches.
        ax: draw here instead of in a new figure; the figure's size is then the caller's.

    Raises ValueError when there is no row, a row is not a batch of images or not floats, image
    sizes differ, or there are not as many labels (columns) as rows (columns).
    """
    if not len(rows):
        raise ValueError("rows: expected at least one batch of images, got none")
    batches = [_batch(f"rows[{i}]", row) for i, row in enumerate(rows)]
    sizes = sorted({batch.shape[1:3] for batch in batches})
    if len(sizes) > 1:
        raise ValueError(f"rows: expected images of one size, got (height, width) {sizes}")
    across = max(len(batch) for batch in batches)
    for argument, texts, wanted in (("labels", labels, len(rows)), ("columns", columns, across)):
        if texts is not None and len(texts) != wanted:
            raise ValueError(f"{argument}: expected {wanted} texts, got {len(texts)}")

    if ax is None:
        figure, ax, times, upright = _sheet(
            sizes[0], len(rows), across, labels, columns, title, cell, width
        )
    else:
        figure, ax = place(ax)
        if title:
            ax.set_title(title)
        times, upright = -(-_FINE // min(sizes[0])), False  # rounded up

    montage, pitch = _montage(batches, across, times)  # (dots down, dots across, 3)
    # On a sheet of its own this is dot for dot. Elsewhere the enlarged image is reduced with
    # smoothing, so that squares come out even, whatever the scale.
    ax.imshow(montage, interpolation="antialiased", aspect="equal")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=SMALL, labelcolor=INK, pad=4)
    ax.xaxis.tick_top()
    centres = (np.arange(across) * pitch[1] + (pitch[1] - pitch[2]) / 2 - 0.5).tolist()
    ax.set_xticks(centres if columns else [], columns or [], rotation=90 if upright else 0)
    centres = (np.arange(len(rows)) * pitch[0] + (pitch[0] - pitch[2]) / 2 - 0.5).tolist()
    ax.set_yticks(centres if labels else [], labels or [])
    return figure


def pixels_png(image: Any) -> bytes:
    """One image (channels, height, width), floats in [0, 1], as PNG bytes, a dot for a pixel.

    Values outside are clipped. Raises ValueError as `grid` does.
    """
    from PIL import Image

    array = image.numpy(force=True) if hasattr(image, "numpy") else np.asarray(image)
    (pixels,) = _batch("image", array[None])
    out = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(out, format="png")
    return out.getvalue()


def _sheet(
    size: tuple[int, int],
    down: int,
    across: int,
    labels: Sequence[str] | None,
    columns: Sequence[str] | None,
    title: str | None,
    cell: float,
    width: float,
) -> tuple[Figure, Axes, int, bool]:
    """A figure that just holds `down` × `across` images of one size, and their texts.

    Returns it with its axes, the dots to a pixel, and whether the column texts are set on end
    because they are wider than their columns.
    """
    high, wide = size
    longest = max((text_width(t, SMALL) for t in columns or ()), default=0)
    left = _EDGE + max((text_width(t, SMALL) + _EDGE for t in labels or ()), default=0)
    room = (width - left - _EDGE) / (across + _GAP * (across - 1))
    side = min(cell * wide / max(size), room)  # an image's width
    if side < longest <= min(1.5 * side, room):
        side = longest  # few images: larger ones cost nothing, and the texts can lie flat
    if side < 0.1:
        raise ValueError(
            f"{across} images beside labels {left:.1f} inches wide do not fit in {width} inches; "
            "shorten the labels or show fewer images"
        )
    # So many dots an inch that a pixel is a whole number of dots, unless those were far too many.
    times = max(1, round(side * DPI / wide))
    dpi = times * wide / side
    if dpi > 1.5 * DPI:
        dpi = DPI
    upright = longest > side * (1 + _GAP)
    lines = max((t.count("\n") + 1 for t in columns or ()), default=0)
    top = _EDGE * (2 if columns else 1) + (longest if upright else lines * SMALL * 1.25 / 72)
    top += TEXT * 1.6 / 72 if title else 0
    titled = text_width(title or "", TEXT) + 2 * _EDGE  # a short row must not cut its title

    edge, gap = round(_EDGE * dpi), round(_GAP * side * dpi)  # from here in dots
    left, top, titled = (math.ceil(inches * dpi) for inches in (left, top, titled))
    body = (
        round(across * (side * dpi + gap)) - gap,
        round(down * (side * dpi * high / wide + gap)) - gap,
    )
    full = max(left + body[0] + edge, titled), top + body[1] + edge
    figure, (ax,) = canvas()
    figure.set_layout_engine("none")
    figure.set_dpi(dpi)
    figure.set_size_inches((full[0] + 1e-6) / dpi, (full[1] + 1e-6) / dpi)  # dots round down
    ax.set_position((left / full[0], edge / full[1], body[0] / full[0], body[1] / full[1]))
    if title:
        figure.text(edge / full[0], 1 - edge / full[1], title, va="top", size=TEXT)
    return figure, ax, times, upright


def _batch(argument: str, row: Any) -> np.ndarray:
    """A checked row as (n, height, width, 3) floats in [0, 1]."""
    array = row.numpy(force=True) if hasattr(row, "numpy") else np.asarray(row)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
        raise ValueError(
            f"{argument}: expected (n, channels, height, width) with 1 or 3 channels, "
            f"got shape {tuple(array.shape)}"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{argument}: expected floats in [0, 1], got {array.dtype}; divide by 255")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{argument}: some pixels are infinite or NaN; look for a run that diverged"
        )
    array = np.clip(array, 0, 1).transpose(0, 2, 3, 1)  # (n, height, width, channels)
    return np.broadcast_to(array, (*array.shape[:3], 3))


def _montage(
    batches: list[np.ndarray], across: int, times: int
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """All images, enlarged, on paper; and the dots from row to row, column to column, in a gap."""
    high, wide = batches[0].shape[1:3]
    gap = round(_GAP * wide * times)
    row, column = high * times + gap, wide * times + gap
    montage = np.empty((row * len(batches) - gap, column * across - gap, 3), np.uint8)
    montage[:] = [int(PAPER[i : i + 2], 16) for i in (1, 3, 5)]
    for i, batch in enumerate(batches):
        for j, image in enumerate(np.rint(batch * 255).astype(np.uint8)):
            image = image.repeat(times, 0).repeat(times, 1)  # (height·times, width·times, 3)
            y, x = i * row, j * column
            montage[y : y + high * times, x : x + wide * times] = image
    return montage, (row, column, gap)
