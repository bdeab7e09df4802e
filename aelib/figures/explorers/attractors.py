"""attractors: drop a point into a code of two numbers, and watch it walk, without a kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from aelib import checks
from aelib.figures.explorers.decoder import packed, page_gap, translated
from aelib.figures.explorers.page import Explorer, check_weight, filled, png_size
from aelib.figures.grids import grid
from aelib.figures.output import check_alt, check_name, data_uri, png
from aelib.figures.theme import FAINT, INK, PAPER, STROKES, canvas, style

UNDER_WAY = 255  # a basin's number where a walk had come to no attractor yet


class Stage(NamedTuple):
    """A copier's code of two numbers at one moment of its training, and what was found in it.

    steps: of training. decoder, encoder: from two numbers to parts of the directions and back, each
    an nn.Sequential of Linear layers and activations. corner (2,), side: the square in sight.
    codes (n, 2), labels (n,): of images it was taught. attractors (m, 2), others (k, 2): its fixed
    points. basins (across²,): the number of the attractor to which a walk from the middle of each
    cell of the square comes, rows from the lower left; 255 where it had come to none. taught (m,):
    which attractors draw an image that it was taught; none if it is empty.
    """

    steps: int
    decoder: nn.Sequential
    encoder: nn.Sequential
    corner: Tensor
    side: float
    codes: Tensor
    labels: Tensor
    attractors: Tensor
    others: Tensor
    basins: Tensor
    taught: Sequence[bool] = ()


def attractors(
    stages: Mapping[str, Sequence[Stage]],
    mean: Tensor,
    directions: Tensor,
    *,
    name: str,
    alt: str,
    caption: str = "",
    times: int = 400,
) -> Explorer:
    """A map of a code to drop points on, as the last expression of a notebook cell.

    The reader chooses what the net was taught and for how long, drops a point or draws a digit, and
    watches z → E(D(z)) carry it along the field E(D(z)) − z to an attractor. The nets run on the
    page, in double precision on weights of half precision; fixed points and basins come with it.

    The net's first and last layer are shared: what an image has of each of the directions, and the
    image made of such parts. The HTML holds weights and a PNG: the cell must carry
    `# NBVAL_IGNORE_OUTPUT`.

    Args:
        stages: by what the nets were taught, in words; each in the order of training.
        mean: the mean image, (height · width,), square.
        directions: (k, height · width), orthonormal.
        name: `play-` and then letters, digits and hyphens; the page's ids come from it.
        alt: a sentence saying what the still picture shows, which stands where scripts do not run:
            the last stage of the first nets.
        caption: a line below, plain text.
        times: how often a net is applied at most.

    Raises:
        TypeError: for a layer that cannot be translated.
        ValueError: for nets that do not fit, or too many for a page.

    Source: Radhakrishnan et al. (2020), Fumero et al. (2026); chapter 5.
    """
    check_name(name, "play-")
    check_alt(alt, "alt")
    if not stages or not all(stages.values()):
        raise ValueError(checks.message("stages", "one net or more, at one step or more", stages))
    mean = checks.tensor(mean, "mean", ("d",))
    directions = checks.tensor(directions, "directions", ("k", len(mean)))
    side = math.isqrt(len(mean))
    if side**2 != len(mean):
        raise ValueError(checks.message("mean", "a square image", mean))
    data = {
        "shape": [side, side],
        "mean": packed(mean, "<f2"),
        "directions": packed(directions, "<f2"),
        "stages": {
            words: [_on_page(each, len(directions)) for each in row]
            for words, row in stages.items()
        },
        "times": checks.whole(times, "times", least=1),
        "start": [0.4, 0.75],
        "faint": FAINT,
    }
    still = _still(next(iter(stages.values()))[-1], mean, directions)
    width, height = png_size(still)
    html = filled(
        "attractors",
        data,
        name=name,
        caption=caption,
        alt=alt.strip(),
        times=data["times"],
        still=data_uri(still),
        width=width,
        height=height,
    )
    check_weight(len(html), "stages", "take fewer, or narrower nets")
    return Explorer(name, html)


def _on_page(stage: Stage, k: int) -> dict:
    """A stage as the page's script reads it."""
    corner = checks.tensor(stage.corner, "corner", (2,)).double()
    into, into_weights = translated(stage.decoder, k)
    back, back_weights = translated(stage.encoder, 2, takes=k)
    page_gap(stage.decoder, stage.codes[:20].double().numpy(), into, into_weights)
    shares = ((stage.codes.double() - corner) / stage.side).clamp(0, 1)
    return {
        "steps": int(stage.steps),
        "decoder": into,
        "decoder_weights": packed(into_weights, "<f2"),
        "encoder": back,
        "encoder_weights": packed(back_weights, "<f2"),
        "corner": corner.tolist(),
        "side": float(stage.side),
        "codes": packed((shares * 65535).round(), "<u2"),
        "labels": packed(stage.labels, "u1"),
        "attractors": torch.as_tensor(stage.attractors).double().tolist(),
        "others": torch.as_tensor(stage.others).double().tolist(),
        "basins": packed(stage.basins, "u1"),
        "taught": [bool(one) for one in stage.taught],
    }


@style()
def _still(stage: Stage, mean: Tensor, directions: Tensor) -> bytes:
    """The map and what is drawn at its attractors."""
    figure, (left, right) = canvas(1, 2, height=3.4)
    corner, side = torch.as_tensor(stage.corner).double().numpy(), float(stage.side)
    across = math.isqrt(len(stage.basins))
    basins = np.asarray(stage.basins, dtype=float).reshape(across, across)
    basins[basins == UNDER_WAY] = np.nan
    extent = (corner[0], corner[0] + side, corner[1], corner[1] + side)
    left.imshow(np.mod(basins * 0.382, 1), origin="lower", extent=extent, cmap="Pastel1")
    at = (np.arange(14) + 0.5) / 14 * side
    x, y = (axis.ravel() for axis in np.meshgrid(corner[0] + at, corner[1] + at))
    z = torch.from_numpy(np.stack([x, y], 1))
    with torch.no_grad():
        parts = next(stage.decoder.parameters())
        there = stage.encoder(stage.decoder(z.to(parts))).double()
    by = (there - z).numpy()
    by = by / np.sqrt(np.linalg.norm(by, axis=1, keepdims=True).clip(1e-9) * side)
    left.quiver(x, y, by[:, 0], by[:, 1], angles="xy", color=STROKES[0].color, width=0.006)
    dots = np.asarray(stage.attractors)
    left.scatter(dots[:, 0], dots[:, 1], 42, INK, edgecolors=PAPER, zorder=3)
    left.set(xlabel="first number of the code", ylabel="second", aspect="equal")
    left.grid(False)
    with torch.no_grad():
        shown = stage.decoder(torch.as_tensor(stage.attractors).to(parts))
    side_of = math.isqrt(len(mean))
    images = (mean + shown.float() @ directions).view(-1, 1, side_of, side_of)
    across = math.ceil(math.sqrt(len(images)))
    grid(list(images.split(across)), ax=right)
    return png(figure)
