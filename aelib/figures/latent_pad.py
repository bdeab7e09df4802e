"""pad: drag a point in a two-dimensional code and the decoder draws, on a page without a kernel."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import runtime

from .explorer import LARGEST, _below, _size
from .look import INK, PAPER, canvas, numbers, style
from .pad_layers import page_gap, run_decoder, translated
from .pad_page import PAGE
from .shown import check_alt, check_name, data_uri, png

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_POINTS = 1500  # training codes drawn on the pad

# Ten colours that differ in lightness too; each class also has its name written among its points.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B",
    "#56B4E9", "#7A5230", "#8A2BE2", "#63686E", "#C2185B",
)  # fmt: skip


@dataclass(frozen=True)
class Pad:
    """A decoder to drag a point in: what a notebook displays. Make one with `pad`."""

    name: str
    label: str
    alt: str
    caption: str
    gap: float  # the largest difference from torch over the training codes, in grey levels
    shape: tuple[int, int, int]
    still: bytes = field(repr=False)  # PNG: what stands there where scripts do not run
    made: dict = field(repr=False)  # what the page's script reads
    live: Callable[[], Any] = field(repr=False)  # makes the widget

    def html(self) -> str:
        """The static pad: one self-contained piece of HTML, no network, no kernel."""
        width, height = _size(self.still)
        return PAGE.format(
            name=self.name,
            still=data_uri(self.still),
            width=width,
            height=height,
            alt=html.escape(self.alt),
            label=html.escape(self.label),
            caption=_below(self.caption),
            channels=self.shape[0],
            rows=self.shape[1],
            columns=self.shape[2],
            paper=PAPER,
            ink=INK,
            made=json.dumps(self.made).replace("<", "\\u003c"),  # no text can end the script
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Data for the notebook; IPython itself applies include and exclude."""
        data: dict[str, Any] = {"text/plain": f"<Pad {self.name}>", "text/html": self.html()}
        if runtime.interactive():
            try:
                widget = self.live()
            except ImportError:  # no ipywidgets: the static pad serves
                return data
            data |= widget._repr_mimebundle_() | {"text/plain": data["text/plain"]}
        return data


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
    lattice. A reader with a kernel gets two ipywidgets sliders (where ipywidgets is installed),
    which call the decoder itself.

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
        labels: a class for each code; its points share a colour, its name stands among them.
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
    """
    check_name(name, "play-")
    check_alt("alt", alt)
    places = numbers("codes", codes, 2)
    if places.shape[1] != 2 or len(places) < 2:
        raise ValueError(
            f"codes: a pad needs codes (n, 2) of two images or more, got {places.shape}; train "
            "with code=2"
        )
    kinds, names = _classes(labels, classes, len(places))
    shape = tuple(shape or getattr(decoder, "shape", ()))
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            f"shape: expected (channels, height, width) with 1 or 3 channels, got {shape}; the "
            "decoder does not say it, so give shape=images.shape"
        )
    layers, weights = translated(decoder, int(np.prod(shape)))
    text = base64.b64encode(weights.astype("<f2").tobytes()).decode()
    if len(text) > LARGEST:
        raise ValueError(
            f"decoder: {weights.size:,} weights are {len(text) // 1000} kB on the page, more than "
            f"the {LARGEST // 1000} it can spare; half the width makes a quarter of it"
        )
    gap = page_gap(decoder, places, layers, weights)
    middle, side = (places.max(0) + places.min(0)) / 2, float(np.ptp(places, axis=0).max()) * 1.08
    if side == 0:
        raise ValueError("codes: they are all equal, so there is no square to move in")
    corner = middle - side / 2
    shares = (places - corner) / side  # (n, 2), from the lower left
    shown = np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).astype(int))
    lattice = _lattice(decoder, corner, side, shape)
    made = {
        "layers": layers,
        "weights": text,
        "side": side,
        "corner": corner.tolist(),
        "start": np.round(shares[0], 4).tolist(),
        "points": _packed(np.rint(shares[shown] * 65535).astype("<u2")),
        "kinds": _packed(kinds[shown].astype("u1")),
        "colours": list(COLOURS),
        "names": [
            {"name": one, "at": np.round(np.median(shares[kinds == kind], axis=0), 4).tolist()}
            for kind, one in enumerate(names)
        ],
    }
    finished = Pad(
        name=name,
        label=label,
        alt=alt.strip(),
        caption=caption.strip(),
        gap=gap,
        shape=shape,
        still=_still(places[shown], kinds[shown], names, lattice),
        made=made,
        live=lambda: _widget(decoder, places, kinds, names, shape, label, caption),
    )
    if (weight := len(finished.html())) > LARGEST:
        raise ValueError(
            f"{name} weighs {weight // 1000} kB, more than the {LARGEST // 1000} a page can spare; "
            "take a narrower decoder"
        )
    return finished


def _classes(labels: Any, classes: Sequence[str] | None, count: int) -> tuple[np.ndarray, list]:
    """A class number for each code, and the classes' names; all of class 0, and none, without."""
    if labels is None:
        return np.zeros(count, int), []
    kinds = np.asarray(labels.numpy(force=True) if hasattr(labels, "numpy") else labels)
    if kinds.shape != (count,) or not np.issubdtype(kinds.dtype, np.integer) or kinds.min() < 0:
        raise ValueError(f"labels: expected {count} whole numbers from 0, got shape {kinds.shape}")
    most = int(kinds.max()) + 1
    names = [str(one) for one in (classes if classes is not None else range(most))][:most]
    if len(names) < most or most > len(COLOURS):
        raise ValueError(
            f"classes: expected {most} names, {len(COLOURS)} at most, got {len(names)}; leave "
            "labels out for more"
        )
    if len(np.unique(kinds)) < most:
        raise ValueError("labels: some class between the smallest and the largest has no code")
    return kinds, names


def _lattice(
    decoder: nn.Module, corner: np.ndarray, side: float, shape: tuple, across: int = 9
) -> list[np.ndarray]:
    """Pictures of an even lattice of codes, row by row from the top."""
    shares = (np.arange(across) + 0.5) / across
    rows = []
    for up in shares[::-1]:
        codes = corner + side * np.stack([shares, np.full(across, up)], 1)
        rows.append(run_decoder(decoder, codes).reshape(-1, *shape))
    return rows


@style()
def _still(places: np.ndarray, kinds: np.ndarray, names: list, lattice: list) -> bytes:
    """The picture where scripts do not run: the codes, and what is drawn on a lattice of them."""
    from .images import grid

    figure, (left, right) = canvas(1, 2, height=2.9)
    left.scatter(*places.T, s=3, c=[COLOURS[kind] for kind in kinds], alpha=0.6, linewidths=0)
    for kind, one in enumerate(names):
        at = np.median(places[kinds == kind], axis=0) if (kinds == kind).any() else None
        if at is not None:
            left.text(*at, one, ha="center", va="center", weight="bold", color=INK)
    left.set(xlabel="first number of the code", ylabel="second", aspect="equal")
    left.grid(False)
    grid(lattice, ax=right)
    return png(figure)


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _widget(
    decoder: nn.Module,
    places: np.ndarray,
    kinds: np.ndarray,
    names: list,
    shape: tuple,
    label: str,
    caption: str,
) -> Any:
    """Two ipywidgets sliders over the code, the point among the codes, and what is drawn there."""
    import ipywidgets

    low, high = places.min(0), places.max(0)
    sliders = [
        ipywidgets.FloatSlider(
            value=float(places[0, axis]),
            min=float(low[axis]),
            max=float(high[axis]),
            step=float(high[axis] - low[axis]) / 100 or 0.01,
            description=f"{word} number",
            continuous_update=False,  # a picture takes a moment: draw where the slider is let go
            style={"description_width": "initial"},
            layout={"width": "100%", "max_width": "640px"},
        )
        for axis, word in enumerate(("first", "second"))
    ]
    window = ipywidgets.HTML()  # rather than Image, which has no alt text

    def turn(_change: Any = None) -> None:
        code = np.array([[slider.value for slider in sliders]])
        try:
            picture = _at(run_decoder(decoder, code).reshape(1, *shape), code[0], places, kinds)
        except Exception as error:
            # A widget's errors go to a log that few readers find.
            window.value = f"<p>{html.escape(str(error))}</p>"
            raise
        near = np.square(places - code).sum(1).argmin()
        said = f"; the nearest training code is of {names[kinds[near]]}" if names else ""
        alt = f"What the decoder draws for code ({code[0, 0]:.2f}, {code[0, 1]:.2f}){said}."
        window.value = (
            f'<img src="{data_uri(picture)}" alt="{html.escape(alt)}" style="max-width:100%">'
        )

    for slider in sliders:
        slider.observe(turn, names="value")
    turn()
    head = ipywidgets.HTML(f"<p>{html.escape(label)}</p>")
    return ipywidgets.VBox([head, *sliders, window, ipywidgets.HTML(_below(caption))])


@style()
def _at(image: np.ndarray, code: np.ndarray, places: np.ndarray, kinds: np.ndarray) -> bytes:
    """The codes with the point among them, and its picture."""
    from .images import grid

    figure, (left, right) = canvas(1, 2, height=2.6)
    left.scatter(*places.T, s=3, c=[COLOURS[kind] for kind in kinds], alpha=0.5, linewidths=0)
    left.scatter(*code, s=90, facecolors="none", edgecolors=INK, linewidths=2)
    left.set(aspect="equal")
    left.grid(False)
    grid([image], ax=right)
    return png(figure)
