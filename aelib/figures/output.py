"""show: what a cell puts out, a picture with its name, alt text and caption, or nothing at all."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import checks, runtime
from aelib.figures.theme import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image


@dataclass(frozen=True)
class Shown:
    """A finished figure: what a notebook displays. Make one with `show`."""

    name: str
    alt: str
    caption: str
    picture: bytes = field(repr=False)  # as `encoded` makes it

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """Data and metadata for the notebook; IPython itself applies include and exclude."""
        data = {"text/plain": f"<Figure {self.name}>"}
        if runtime.interactive():
            data["text/html"] = (
                '<figure style="margin:0;max-width:46rem">'
                f'<img src="{data_uri(self.picture)}" alt="{html.escape(self.alt)}" '
                'style="max-width:100%;height:auto">'
                f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
            )
        else:
            data[_kind(self.picture)] = base64.b64encode(self.picture).decode()
        return data, {
            "figure": {"name": self.name, "alt": self.alt, "caption": self.caption},
        }


def show(figure: Figure, *, name: str, alt: str, caption: str) -> Shown:
    """The figure as the last expression of a notebook cell.

    Args:
        figure: a matplotlib Figure, such as every function of this room returns.
        name: what the page refers to it by, `fig-` and then letters, digits and hyphens.
        alt: what the picture shows, in a sentence, for a reader who does not see it.
        caption: what to see in it; MyST, so `$σ$` is mathematics. Not the alt text again.

    On the built page myst-nb sets the caption and the number, from the cell's metadata, to which
    the output's metadata is copied when the chapters are run. A reader with a kernel gets the
    caption below the picture, since Colab does not look at the cell's metadata.

    Raises TypeError if `figure` is not a Figure, ValueError if a text is missing or unsuitable.

    >>> from aelib.figures import field
    >>> words = {"alt": "One arrow to the right of a dot.", "caption": "Each point moves right."}
    >>> show(field([[0, 0], [1, 1]], [[0, 0]], [[1, 0]]), name="fig-arrow", **words).name
    'fig-arrow'
    """
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise TypeError(checks.message("figure", "a matplotlib Figure", figure))
    check_name(name, "fig-")
    check_alt(alt, "alt")
    if not isinstance(caption, str) or not caption.strip():
        raise ValueError(checks.message("caption", "a sentence that says what to see", caption))
    if _plain(alt) == _plain(caption):
        expected = "what to conclude from the picture, where alt describes it"
        raise ValueError(checks.message("caption", expected, checks.Described("the same as alt")))
    return Shown(name, alt.strip(), caption.strip(), encoded(figure))


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes: no date, no software name, so equal figures are equal bytes.

    Lines and bars are stored with a palette of 256 colours where that moves no dot by more than
    16 of 255, which makes them three times smaller; images are stored exactly.
    """
    return _as_png(_drawn(figure), exactly=_holds_images(figure))


def encoded(figure: Figure) -> bytes:
    """The figure as `png` makes it; as a JPEG where it holds images and that is a third smaller.

    So it is with photographs. Images of few pixels, each enlarged to a square, and drawings take
    more as a JPEG and stay exact.
    """
    drawn, images = _drawn(figure), _holds_images(figure)
    exact = _as_png(drawn, exactly=images)
    if not images:
        return exact
    near = io.BytesIO()
    drawn.save(near, format="jpeg", quality=80, subsampling=0)
    return near.getvalue() if 3 * near.tell() < 2 * len(exact) else exact


@style()
def _drawn(figure: Figure) -> Image.Image:
    """The figure's dots."""
    from PIL import Image

    for _ in range(4 if figure.get_layout_engine() else 0):
        figure.draw_without_rendering()  # the layout nears its end in steps; so it is at rest
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=figure.dpi)
    return Image.open(raw).convert("RGB")  # the paper is opaque: nothing is lost with alpha


def _holds_images(figure: Figure) -> bool:
    return any(ax.images for ax in figure.axes)


def _as_png(picture: Image.Image, exactly: bool) -> bytes:
    from PIL import Image, ImageChops

    out = io.BytesIO()
    reduced = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    difference = ImageChops.difference(picture, reduced.convert("RGB"))
    moved = np.asarray(difference).max()
    (reduced if moved <= (0 if exactly else 16) else picture).save(out, format="png", optimize=True)
    return out.getvalue()


def data_uri(picture: bytes) -> str:
    """PNG or JPEG bytes as an address that an <img> can show without a file."""
    return f"data:{_kind(picture)};base64,{base64.b64encode(picture).decode()}"


def _kind(picture: bytes) -> str:
    return "image/jpeg" if picture.startswith(b"\xff\xd8") else "image/png"


def check_name(name: str, start: str) -> None:
    """Raises ValueError unless name is `start` followed by lower-case words joined by hyphens."""
    if not isinstance(name, str) or not re.fullmatch(start + r"[a-z0-9]+(-[a-z0-9]+)*", name):
        expected = f"{start!r} and then lower-case letters, digits and single hyphens"
        raise ValueError(checks.message("name", expected, name, f"such as '{start}memory-map'"))


def check_alt(alt: str, name: str) -> None:
    """Raises ValueError unless alt could stand in for the picture: a sentence, not a file name."""
    text = alt.strip() if isinstance(alt, str) else ""
    if len(text) < 20 or len(text.split()) < 4:
        expected = "a sentence saying what the picture shows, of 20 characters and four words"
        raise ValueError(checks.message(name, expected, alt))


def _plain(text: str) -> str:
    """Text without what does not count in a comparison: case, spaces, the last full stop."""
    return " ".join(text.split()).rstrip(".").casefold()
