"""explore: a slider over pictures that works on a page without a kernel."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aelib import checks
from aelib.figures.explorers.page import Explorer, check_weight, filled
from aelib.figures.output import check_alt, check_name, data_uri, encoded

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def explore(
    draw: Callable[[Any], Figure] | Sequence[Figure],
    *,
    name: str,
    label: str,
    values: Sequence[Any],
    alt: Callable[[Any], str],
    caption: str = "",
    text: Callable[[Any], str] | None = None,
) -> Explorer:
    """A slider as the last expression of a notebook cell.

    Every value's picture is drawn now and goes into one self-contained HTML output, which works
    in a notebook, on the built page, from `file://`, with the keyboard and with a screen reader.

    The HTML holds pictures, whose data differ from machine to machine, and nbval compares HTML
    strictly: the cell must carry `# NBVAL_IGNORE_OUTPUT`.

    Args:
        draw: value to Figure; or the figures themselves, one a value.
        name: `play-` and then letters, digits and hyphens; the page's ids come from it.
        label: what the slider changes, in words.
        values: what it can be set to, two or more, in order; ten or so keep the page light.
        alt: value to a sentence saying what that picture shows.
        caption: a line below, plain text.
        text: value to what the page shows for it; numbers in short and strings as they are if
            left out.

    Raises TypeError if draw gives something else than a Figure; ValueError if a text is missing,
    all alt texts are the same, frames differ in size, or together they are too heavy for a page.

    >>> from aelib.figures import field
    >>> words = {"name": "play-length", "label": "length", "alt": "An arrow of length {}.".format}
    >>> explore(lambda x: field([[0, 0], [1, 1]], [[0, 0]], [[x, 0]]), values=[0.2, 0.8], **words)
    <Explorer play-length>
    """
    from matplotlib.figure import Figure

    check_name(name, "play-")
    if not isinstance(label, str) or not label.strip():
        raise ValueError(checks.message("label", "what the slider changes, in words", label))
    if len(values) < 2:
        raise ValueError(checks.message("values", "two or more to slide between", values))
    if not callable(draw):
        checks.as_many(draw, "draw", len(values), "figures, one a value")
    text = text or _short
    alts = [alt(value) for value in values]
    for value, sentence in zip(values, alts, strict=True):
        check_alt(sentence, f"alt({text(value)})")
    if len(set(alts)) == 1:
        got = checks.Described("the same for every value")
        raise ValueError(checks.message("alt", "sentences that say what changes", got))

    pictures = []
    for i, value in enumerate(values):
        figure = draw(value) if callable(draw) else draw[i]
        if not isinstance(figure, Figure):
            raise TypeError(checks.message(f"draw({text(value)})", "a matplotlib Figure", figure))
        pictures.append(encoded(figure))
    sizes = sorted({_size(picture) for picture in pictures})
    if len(sizes) > 1:
        raise ValueError(checks.message("draw", "pictures of one size, in pixels", sizes))
    frames = [
        {"src": data_uri(picture), "alt": sentence, "text": text(value)}
        for picture, sentence, value in zip(pictures, alts, values, strict=True)
    ]
    without = {key: frames[0][key] for key in ("alt", "text")}  # its picture is in the <img>
    html = filled(
        "slider",
        [without, *frames[1:]],
        name=name,
        caption=caption,
        label=label,
        first=frames[0]["src"],
        alt=frames[0]["alt"],
        text=frames[0]["text"],
        width=sizes[0][0],
        height=sizes[0][1],
        last=len(frames) - 1,
        count=len(frames),
        digits=max(len(frame["text"]) for frame in frames),
    )
    check_weight(len(html), "values", "take fewer values or smaller figures")
    return Explorer(name, html)


def _size(picture: bytes) -> tuple[int, int]:
    """(width, height) of a picture, in dots."""
    from PIL import Image

    return Image.open(io.BytesIO(picture)).size


def _short(value: Any) -> str:
    """What a page shows for a value nobody has written a text for."""
    return value if isinstance(value, str) else f"{value:g}"
