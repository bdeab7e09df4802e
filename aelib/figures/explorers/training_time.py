"""training_time: a linear autoencoder trained for any time, in closed form, without a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aelib import checks
from aelib.data.images import Images
from aelib.figures.explorers.decoder import packed
from aelib.figures.explorers.page import Explorer, check_weight, filled, png_size
from aelib.figures.explorers.varied import varied
from aelib.figures.output import check_alt, check_name, data_uri, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


def training_time(
    mean: Tensor,
    directions: Tensor,
    variances: Tensor,
    images: Images,
    *,
    still: Figure,
    name: str,
    alt: str,
    caption: str = "",
) -> Explorer:
    """Training time as a slider, as the last expression of a notebook cell.

    The reader draws a digit or takes a held-out one, drags the time t and the noise's deviation σ,
    and sees what a linear autoencoder, stopped at t, makes of the noisy digit, beside the Wiener
    filter. Nothing is trained: along the i-th direction the net keeps 1 − e^{−λᵢt}, the filter
    λᵢ / (λᵢ + σ²). All directions are there, so that both are exact up to float16.

    The HTML holds a PNG: the cell must carry `# NBVAL_IGNORE_OUTPUT`.

    Args:
        mean, directions, variances: `measures.principal_directions` of the training images, all d.
        images: whose test digits are offered, one a class.
        still: stands there where scripts do not run.
        name: `play-` and then letters, digits and hyphens; the page's ids come from it.
        alt: a sentence saying what the still picture shows.
        caption: a line below, plain text.

    Raises:
        ValueError: for directions that are not square or not of these images, images in colour, or
            too large for a page: at most 22 × 22 pixels.

    Source: chapter 1, "The order of learning".

    >>> import aelib
    >>> digits = aelib.data.load("digits")
    >>> still = aelib.figures.grid([digits.test[:4]])
    >>> linear = aelib.measures.principal_directions(digits.train)
    >>> words = {"name": "play-time", "alt": "Four digits that stand for the slider."}
    >>> training_time(*linear, digits, still=still, **words)
    <Explorer play-time>
    """
    check_name(name, "play-")
    check_alt(alt, "alt")
    channels, height, width = images.shape
    if channels != 1:
        raise ValueError(checks.message("images", "grey ones", images.shape))
    d = height * width
    checks.tensor(mean, "mean", (d,))
    checks.tensor(directions, "directions", (d, d))
    checks.tensor(variances, "variances", (d,))
    check_weight(d * d * 2 * 4 // 3, "images", "crop them, or load them smaller")
    labels = images.test_labels
    some = varied(labels, len(images.test))[:10].tolist()
    if labels is not None:
        some.sort(key=lambda i: int(labels[i]))
    names = [_name(images, i) for i in some]
    picture = png(still)
    data = {
        "shape": [height, width],
        "mean": packed(mean, "<f2"),
        "directions": packed(directions, "<f2"),
        "variances": [float(f"{value:.6g}") for value in variances.tolist()],
        "presets": packed((images.test[some] * 255).round(), "u1"),
        "names": names,
    }
    across, down = png_size(picture)
    html = filled(
        "training_time",
        data,
        name=name,
        caption=caption,
        libraries=("trainer",),
        alt=alt.strip(),
        still=data_uri(picture),
        width=across,
        height=down,
    )
    check_weight(len(html), "images", "crop them, or load them smaller")
    return Explorer(name, html)


def _name(images: Images, i: int) -> str:
    """What the i-th test image is of."""
    if images.test_labels is None:
        return f"number {i}"
    kind = int(images.test_labels[i])
    return str(images.classes[kind] if images.classes else kind)
