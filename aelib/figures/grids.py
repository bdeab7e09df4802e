"""grid: rows of images, enlarged so that a pixel is a pixel."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aelib import checks
from aelib.figures.theme import (
    DPI,
    INK,
    PAPER,
    SMALL,
    TEXT,
    WIDTH,
    axes_for,
    canvas,
    style,
    text_width,
)

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
    notes: Sequence[Sequence[str]] | None = None,
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
        notes: for each row a short text an image, in its lower left corner; "" for none.
        title: a line above the picture.
        cell: the largest side of an image, in inches.
        width: the largest width of the figure, in inches.
        ax: draw here instead of in a new figure; the figure's size is then the caller's.

    Raises TypeError or ValueError when there is no row, a row is not a batch of floating-point
    images, image sizes differ, or there are not as many labels (columns, notes) as rows (columns,
    images).

    >>> images = torch.linspace(0, 1, 128).reshape(2, 1, 8, 8)
    >>> figure = grid([images, 1 - images], labels=["as it is", "inverted"])
    """
    if not len(rows):
        raise ValueError(checks.message("rows", "one batch of images or more", rows))
    batches = [as_pixels(row, f"rows[{i}]") for i, row in enumerate(rows)]
    sizes = sorted({batch.shape[1:3] for batch in batches})
    if len(sizes) > 1:
        raise ValueError(checks.message("rows", "images of one size", sizes))
    n_rows, n_columns = len(rows), max(map(len, batches))
    if labels is not None:
        labels = checks.as_many(labels, "labels", n_rows, "texts, one a row")
    if columns is not None:
        columns = checks.as_many(columns, "columns", n_columns, "texts, one a column")
    if notes is not None:
        notes = checks.as_many(notes, "notes", n_rows, "lists of texts, one a row")
        for i, (texts, batch) in enumerate(zip(notes, batches, strict=True)):
            checks.as_many(texts, f"notes[{i}]", len(batch), "texts, one an image")

    if ax is None:
        figure, ax, scale, upright = _sheet(
            sizes[0], n_rows, n_columns, labels or (), columns or (), title, cell, width
        )
    else:
        figure, ax = axes_for(ax)
        if title:
            ax.set_title(title)
        scale, upright = -(-_FINE // min(sizes[0])), False  # rounded up

    montage, (down, across, gap) = _montage(batches, n_columns, scale)  # (dots, dots, 3)
    # On a sheet of its own this is dot for dot. Elsewhere the enlarged image is reduced with
    # smoothing, so that squares come out even, whatever the scale.
    ax.imshow(montage, interpolation="antialiased", aspect="equal")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=SMALL, labelcolor=INK, pad=4)
    ax.xaxis.tick_top()
    centers = (np.arange(n_columns) * across + (across - gap) / 2 - 0.5).tolist()
    ax.set_xticks(centers if columns else [], columns or [], rotation=90 if upright else 0)
    centers = (np.arange(n_rows) * down + (down - gap) / 2 - 0.5).tolist()
    ax.set_yticks(centers if labels else [], labels or [])
    for i, texts in enumerate(notes or ()):
        for j, text in enumerate(texts):
            corner = j * across - 0.5, (i + 1) * down - gap - 0.5
            _note(ax, corner, text)
    return figure


def _note(ax: Axes, corner: tuple[float, float], text: str) -> None:
    """A text on paper, in the lower left corner of an image."""
    if text:
        paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
        ax.annotate(
            text, corner, (1.5, 1.5), textcoords="offset points", size=SMALL, color=INK, bbox=paper
        )


def pixels_png(image: Any) -> bytes:
    """One image (channels, height, width), floats in [0, 1], as PNG bytes, a dot for a pixel.

    Values outside are clipped. Raises TypeError or ValueError as `grid` does.

    >>> pixels_png(torch.zeros(1, 8, 8))[1:4]
    b'PNG'
    """
    from PIL import Image

    (pixels,) = as_pixels(image[None], "image")
    out = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(out, format="png")
    return out.getvalue()


def _sheet(
    size: tuple[int, int],
    n_rows: int,
    n_columns: int,
    labels: Sequence[str],
    columns: Sequence[str],
    title: str | None,
    cell: float,
    width: float,
) -> tuple[Figure, Axes, int, bool]:
    """A figure that just holds `n_rows` × `n_columns` images of one size, and their texts.

    Returns it with its axes, the dots to a pixel, and whether the column texts are set on end
    because they are wider than their columns.
    """
    high, wide = size
    longest = max((text_width(text, SMALL) for text in columns), default=0)
    left = _EDGE + max((text_width(text, SMALL) + _EDGE for text in labels), default=0)
    room = (width - left - _EDGE) / (n_columns + _GAP * (n_columns - 1))
    side = min(cell * wide / max(size), room)  # an image's width
    if side < longest <= min(1.5 * side, room):
        side = longest  # few images: larger ones cost nothing, and the texts can lie flat
    if side < 0.1:
        got = checks.Described(f"{n_columns} beside labels {left:.1f} inches wide")
        advice = "shorten the labels or show fewer images"
        raise ValueError(checks.message("rows", f"what fits in {width} inches", got, advice))
    # So many dots an inch that a pixel is a whole number of dots, unless those were far too many.
    scale = max(1, round(side * DPI / wide))
    dpi = scale * wide / side
    if dpi > 1.5 * DPI:
        dpi = DPI
    upright = longest > side * (1 + _GAP)
    lines = max((text.count("\n") + 1 for text in columns), default=0)
    top = _EDGE * (2 if columns else 1) + (longest if upright else lines * SMALL * 1.25 / 72)
    top += TEXT * 1.6 / 72 if title else 0
    titled = text_width(title or "", TEXT) + 2 * _EDGE  # a short row must not cut its title

    edge, gap = round(_EDGE * dpi), round(_GAP * side * dpi)  # from here in dots
    left, top, titled = (math.ceil(inches * dpi) for inches in (left, top, titled))
    body = (
        round(n_columns * (side * dpi + gap)) - gap,
        round(n_rows * (side * dpi * high / wide + gap)) - gap,
    )
    full = max(left + body[0] + edge, titled), top + body[1] + edge
    figure, (ax,) = canvas()
    figure.set_layout_engine("none")
    figure.set_dpi(dpi)
    figure.set_size_inches((full[0] + 1e-6) / dpi, (full[1] + 1e-6) / dpi)  # dots round down
    ax.set_position((left / full[0], edge / full[1], body[0] / full[0], body[1] / full[1]))
    if title:
        figure.text(edge / full[0], 1 - edge / full[1], title, va="top", size=TEXT)
    return figure, ax, scale, upright


def as_pixels(row: Any, name: str) -> np.ndarray:
    """A checked row as (n, height, width, 3) floats in [0, 1]."""
    images = checks.images(row if isinstance(row, Tensor) else torch.as_tensor(row), name)
    if images.shape[1] not in (1, 3):
        raise ValueError(checks.message(name, "images of 1 or 3 channels", images))
    pixels = images.float().clamp(0, 1).movedim(1, -1).numpy(force=True)  # channels last
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


def _montage(
    batches: list[np.ndarray], n_columns: int, scale: int
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """All images, enlarged, on paper; and the dots from row to row, column to column, in a gap."""
    high, wide = batches[0].shape[1:3]
    gap = round(_GAP * wide * scale)
    down, across = high * scale + gap, wide * scale + gap
    montage = np.empty((down * len(batches) - gap, across * n_columns - gap, 3), np.uint8)
    montage[:] = [int(PAPER[i : i + 2], 16) for i in (1, 3, 5)]
    for i, batch in enumerate(batches):
        for j, image in enumerate(np.rint(batch * 255).astype(np.uint8)):
            image = image.repeat(scale, 0).repeat(scale, 1)  # (height·scale, width·scale, 3)
            y, x = i * down, j * across
            montage[y : y + high * scale, x : x + wide * scale] = image
    return montage, (down, across, gap)
