"""machine: a wide autoencoder that trains on the page itself, without a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aelib import checks
from aelib.data.images import Images
from aelib.figures.explorers.decoder import packed
from aelib.figures.explorers.page import Explorer, check_weight, filled, png_size
from aelib.figures.explorers.varied import varied
from aelib.figures.output import check_alt, check_name, data_uri, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRESH = 24  # test images that the page copies and measures on, the first six in sight


def machine(images: Images, *, still: Figure, name: str, alt: str, caption: str = "") -> Explorer:
    """A copying machine as the last expression of a notebook cell.

    The reader chooses how many images it is taught, its layers, its start, a skip, and whether it
    copies or denoises; then watches copies, κ, τ, the gain, the error, and what becomes of digits,
    of noise and of a drawing when the net is applied again and again. Nets are those of
    `models.MLPAutoencoder`, trained by Adam in float32; measures are those of `measures`.

    It begins with the first four training images and 400 steps, which the page takes when the
    reader comes near. Until then, and where scripts do not run, `still` stands there.

    Args:
        images: small grey ones, at most 256 pixels each, in [0, 1]; they are stored in 8 bits.
        still: how the machine stands at the beginning, drawn by the caller.
        name: `play-` and then letters, digits and hyphens; the page's ids come from it.
        alt: a sentence saying what the still picture shows.
        caption: a line below, plain text.

    Raises:
        TypeError: if images is no `Images`, or still no Figure.
        ValueError: for images in colour, too large, outside [0, 1], fewer than four to train on or
            24 to test on, or too many for a page.

    Source: chapter 2.

    >>> import aelib
    >>> digits = aelib.data.load("digits")
    >>> still = aelib.figures.grid([digits.train[:4]])
    >>> machine(digits, still=still, name="play-machine", alt="Four digits that are to be copied.")
    <Explorer play-machine>
    """
    from matplotlib.figure import Figure

    check_name(name, "play-")
    check_alt(alt, "alt")
    if not isinstance(images, Images):
        raise TypeError(checks.message("images", "a set, such as data.load('digits')", images))
    if not isinstance(still, Figure):
        raise TypeError(checks.message("still", "a matplotlib Figure, such as grid draws", still))
    channels, height, width = images.shape
    if channels != 1 or height * width > 256:
        expected = "grey images of at most 256 pixels"
        raise ValueError(checks.message("images", expected, images.shape, "load them smaller"))
    for side, least in (("train", 4), ("test", FRESH)):
        pixels = getattr(images, side)
        if len(pixels) < least:
            raise ValueError(checks.message(f"images.{side}", f"{least} or more", len(pixels)))
        checks.values_in(pixels, f"images.{side}", (0.0, 1.0))
    picture = png(still)
    data = {
        "shape": [height, width],
        "train": _packed(images.train),
        "test": _packed(images.test[varied(images.test_labels, len(images.test))[:FRESH]]),
    }
    across, down = png_size(picture)
    html = filled(
        "machine",
        data,
        name=name,
        caption=caption,
        libraries=("trainer", "session"),
        still=data_uri(picture),
        alt=alt.strip(),
        width=across,
        height=down,
    )
    check_weight(len(html), "images", "take fewer")
    return Explorer(name, html)


def _packed(images: Tensor) -> str:
    return packed((images * 255).round().numpy(force=True), "u1")
