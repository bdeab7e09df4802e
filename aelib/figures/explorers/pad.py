"""pad: drag a point in a two-dimensional code and the decoder draws, on a page without a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks
from aelib.figures.explorers.decoder import packed, page_gap, run_decoder, translated
from aelib.figures.explorers.page import Explorer, check_weight, filled, png_size
from aelib.figures.grids import grid
from aelib.figures.output import check_alt, check_name, data_uri, png
from aelib.figures.theme import INK, PAPER, canvas, style

MOST_POINTS = 1500  # training codes drawn on the pad

# Ten colours that differ in lightness too; each class also has its name written among its points.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B",
    "#56B4E9", "#7A5230", "#8A2BE2", "#63686E", "#C2185B",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Pad(Explorer):
    """A decoder to drag a point in: what a notebook displays. Made by `pad`."""

    gap: float  # the largest difference from torch over the training codes, in grey levels


def pad(
    decoder: nn.Module,
    codes: Tensor,
    *,
    name: str,
    alt: str,
    label: str = "two-dimensional code",
    labels: Sequence[int] | Tensor | None = None,
    classes: Sequence[str] | None = None,
    shape: tuple[int, int, int] | None = None,
    caption: str = "",
) -> Pad:
    """A pad as the last expression of a notebook cell: drag a point, and the decoder draws.

    The decoder's weights go into one self-contained HTML output, as float16 inline, and a few lines
    of JavaScript run it: on the built page, from `file://`, by mouse, touch or arrow keys, and with
    a screen reader. Where scripts are off, a still picture shows what the decoder draws on a
    lattice.

    The HTML holds weights and a PNG, which differ from machine to machine: the cell must carry
    `# NBVAL_IGNORE_OUTPUT`.

    Args:
        decoder: from codes of two elements to images: an nn.Sequential of Linear layers and
            activations, or a model whose `decode` runs such a `decoder`, as `models.MLPAutoencoder`
            and `models.VAE` with code=2.
        codes: of the training images, (n, 2): shown as faint points, and they set the square.
        name: `play-` and then letters, digits and hyphens; the page's ids come from it.
        alt: a sentence saying what the still picture shows.
        label: what a screen reader calls the square.
        labels: a class for each code, from 0 to 9; its points share a colour, its name stands
            among them.
        classes: the classes' names; their numbers if left out.
        shape: (channels, height, width) of an image; `decoder.shape` if left out.
        caption: a line below, plain text.

    Returns:
        A `Pad`; its `gap` is how far the page's pictures are from torch's at most, over the codes.

    Raises:
        TypeError: for a layer that cannot be translated (names it).
        ValueError: for a code that is not two wide, a decoder too large to inline (says how large
            and what to do), or one whose float16 copy is further than 0.002 grey levels from it.

    Source: chapter 5.

    >>> from aelib.models import MLPAutoencoder
    >>> model = MLPAutoencoder((1, 4, 4), width=16, depth=3, code=2)
    >>> pad(model, torch.rand(9, 2), name="play-pad", alt="Nine points and a lattice of digits.")
    <Pad play-pad>
    """
    check_name(name, "play-")
    check_alt(alt, "alt")
    places = checks.array(codes, "codes", ("n", 2))
    middle, side = (places.max(0) + places.min(0)) / 2, float(np.ptp(places, axis=0).max()) * 1.08
    if side == 0:
        raise ValueError(checks.message("codes", "two or more that differ", codes))
    kinds, names = _classes(labels, classes, len(places))
    shape = checks.shape(shape or getattr(decoder, "shape", None))
    if shape[0] not in (1, 3):
        raise ValueError(checks.message("shape", "1 or 3 channels", shape))
    layers, weights = translated(decoder, int(np.prod(shape)))
    advice = "half the width makes a quarter of it"
    check_weight(weights.size * 2 * 4 // 3, "decoder", advice)  # float16 in base64
    gap = page_gap(decoder, places, layers, weights)
    corner = middle - side / 2
    shares = (places - corner) / side  # (n, 2), from the lower left
    drawn = np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).astype(int))
    still = _still(places[drawn], kinds[drawn], names, _lattice(decoder, corner, side, shape))
    width, height = png_size(still)
    data = {
        "layers": layers,
        "weights": packed(weights, "<f2"),
        "shape": shape,
        "side": side,
        "corner": corner.tolist(),
        "start": np.round(shares[0], 4).tolist(),
        "points": packed(np.rint(shares[drawn] * 65535), "<u2"),
        "labels": packed(kinds[drawn], "u1"),
        "classes": [
            {"label": kind, "name": text, "at": np.round(_median(shares, kinds, kind), 4).tolist()}
            for kind, text in names.items()
        ],
        "colors": COLORS,
        "paper": PAPER,
        "ink": INK,
    }
    html = filled(
        "pad",
        data,
        name=name,
        caption=caption,
        label=label,
        alt=alt.strip(),
        still=data_uri(still),
        width=width,
        height=height,
    )
    check_weight(len(html), "decoder", advice)
    return Pad(name, html, gap)


def _classes(
    labels: Any, classes: Sequence[str] | None, n: int
) -> tuple[np.ndarray, dict[int, str]]:
    """A class number for each code, and the names of those that occur; 0 and no names without."""
    if labels is None:
        return np.zeros(n, int), {}
    most = len(COLORS) if classes is None else min(len(classes), len(COLORS))
    numbers = checks.labels(torch.as_tensor(labels), n, classes=most).numpy(force=True)
    present = np.unique(numbers).tolist()
    return numbers, {kind: str(kind if classes is None else classes[kind]) for kind in present}


def _median(points: np.ndarray, kinds: np.ndarray, kind: int) -> np.ndarray:
    """Where a class's name stands: in the middle of its points, (2,)."""
    return np.median(points[kinds == kind], axis=0)


def _lattice(
    decoder: nn.Module, corner: np.ndarray, side: float, shape: tuple[int, ...], across: int = 9
) -> list[Tensor]:
    """Pictures of an even lattice of codes, row by row from the top."""
    shares = (np.arange(across) + 0.5) / across
    rows = []
    for up in shares[::-1]:
        codes = corner + side * np.stack([shares, np.full(across, up)], 1)
        rows.append(torch.from_numpy(run_decoder(decoder, codes).reshape(-1, *shape)))
    return rows


@style()
def _still(
    places: np.ndarray, kinds: np.ndarray, names: dict[int, str], lattice: list[Tensor]
) -> bytes:
    """The picture where scripts do not run: the codes, and what is drawn on a lattice of them."""
    figure, (left, right) = canvas(1, 2, height=2.9)
    left.scatter(*places.T, s=3, c=[COLORS[kind] for kind in kinds], alpha=0.6, linewidths=0)
    for kind in set(names) & set(kinds.tolist()):
        spot = _median(places, kinds, kind)
        left.text(spot[0], spot[1], names[kind], ha="center", va="center", weight="bold", color=INK)
    left.set(xlabel="first number of the code", ylabel="second", aspect="equal")
    left.grid(False)
    grid(lattice, ax=right)
    return png(figure)
