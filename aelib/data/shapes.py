"""Discs on a dark ground: pictures whose manifold is known, a square of places in the plane.

A picture is a function of two numbers, the place of the disc's centre. So it can be said exactly
how far any picture is from the manifold, which place is nearest, and what lies between two places.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks, random

SIZE = 28  # pixels, height and width
RADIUS = 4.5  # of the disc, in pixels
EDGE = 0.7  # how soft it is: at so many pixels outside the disc the grey level is 1 / (1 + e)
SPAN = (7.0, 20.0)  # of both coordinates: the whole disc lies within the picture


class Discs(NamedTuple):
    """Pictures and what they are of, as `discs` draws them.

    images: float32 in [0, 1], (n, 1, 28, 28). places: of the discs' centres, (n, 2): across and
    down, in pixels from the first pixel's.
    """

    images: Tensor
    places: Tensor


class NearestDisc(NamedTuple):
    """The manifold's nearest point to each picture: `places` (n, 2), `distances` (n,) ‖x − a‖."""

    places: Tensor
    distances: Tensor


def discs(n: int, seed: int | torch.Generator = 0) -> Discs:
    """Draw `n` discs, their places evenly from the square `SPAN` × `SPAN`; as many as you like.

    Raises:
        TypeError, ValueError: unless n is a whole number above 0.

    Source: chapter 5, "On a known manifold".

    >>> images, places = discs(5)
    >>> images.shape, places.shape
    (torch.Size([5, 1, 28, 28]), torch.Size([5, 2]))
    """
    n, low, high = checks.whole(n, "n", least=1), *SPAN
    places = low + (high - low) * random.uniform((n, 2), torch.empty(()), random.generator(seed))
    return Discs(_drawn(places), places)


def draw_discs(places: Tensor) -> Tensor:
    """The pictures of these places; smooth in them, so gradients pass.

    The grey level is 1 / (1 + exp((r − `RADIUS`) / `EDGE`)) at a distance of r pixels from the
    centre.

    Args:
        places: (n, 2), across and down, within `SPAN`.

    Returns:
        (n, 1, 28, 28), in [0, 1].

    Raises:
        TypeError, ValueError: for places of another shape, not finite or outside `SPAN`.

    Source: chapter 5, "On a known manifold".

    >>> picture = draw_discs(torch.tensor([[10.0, 15.0]]))[0, 0]
    >>> picture[15, 10] > 0.99, picture[10, 15] < 0.2
    (tensor(True), tensor(True))
    """
    return _drawn(_places(places))


def disc_tangents(places: Tensor) -> Tensor:
    """How a picture changes with its disc's place: the manifold's tangent vectors there.

    Returns:
        ∂x/∂place in grey levels a pixel, (n, 2, 1, 28, 28): for a step across, and for one down.

    Raises:
        TypeError, ValueError: as `draw_discs`.

    Source: chapter 5, "On a known manifold".

    >>> disc_tangents(torch.tensor([[10.0, 15.0]])).shape
    torch.Size([1, 2, 1, 28, 28])
    """
    return _tangents(_places(places))


def place_grid(points: int) -> Tensor:
    """Places on a lattice of points × points, the square's borders included: (points², 2).

    >>> place_grid(2).tolist()
    [[7.0, 7.0], [20.0, 7.0], [7.0, 20.0], [20.0, 20.0]]
    """
    ticks = torch.linspace(*SPAN, checks.whole(points, "points", least=2))
    down, across = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([across, down], -1).view(-1, 2)


def nearest_disc(images: Tensor) -> NearestDisc:
    """The disc nearest to each picture by ‖x − a‖, and how far it is: the distance to the manifold.

    The best of a lattice of half a pixel, then steps of Gauss and Newton from there, shorter ones
    where a step does not lead nearer.

    Args:
        images: (n, 1, 28, 28), whatever they show.

    Raises:
        TypeError, ValueError: for images of another shape, or not finite.

    Source: chapter 5, "On a known manifold".

    >>> images, places = discs(3)
    >>> found = nearest_disc(images)
    >>> torch.allclose(found.places, places, atol=2e-3)
    True
    """
    images = checks.images(images, shape=(1, SIZE, SIZE)).float()
    lattice = place_grid(round(2 * (SPAN[1] - SPAN[0])) + 1).to(images)
    known = _drawn(lattice).flatten(1)
    parts = []
    for x in images.flatten(1).split(512):
        places = lattice[torch.cdist(x, known).argmin(1)]
        distances, stride = _gap(x, places), torch.ones_like(places[:, :1])
        for _ in range(12):
            slopes = _tangents(places).flatten(2)  # (n, 2, d)
            left = (x - _drawn(places).flatten(1))[..., None]
            step = torch.linalg.solve(slopes @ slopes.mT, slopes @ left)[..., 0].clamp(-0.5, 0.5)
            tried = (places + stride * step).clamp(*SPAN)
            gap = _gap(x, tried)
            nearer = gap < distances
            distances = gap.where(nearer, distances)
            places, stride = (
                tried.where(nearer[:, None], places), stride.where(nearer[:, None], stride / 4)
            )  # fmt: skip
        parts.append(NearestDisc(places, distances))
    return NearestDisc(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _gap(x: Tensor, places: Tensor) -> Tensor:
    """‖x − a‖ of flat pictures (n, d) and discs at these places: (n,)."""
    return (x - _drawn(places).flatten(1)).norm(dim=1)


def _places(places: Tensor) -> Tensor:
    if not isinstance(places, Tensor) or not places.requires_grad:
        checks.tensor(places, "places", ("n", 2))
    low, high = (float(end) for end in places.detach().aminmax())
    if low < SPAN[0] or high > SPAN[1]:
        expected, got = f"values in [{SPAN[0]:g}, {SPAN[1]:g}]", f"values from {low:g} to {high:g}"
        why = "so that the whole disc lies within the picture"
        raise ValueError(checks.message("places", expected, checks.Described(got), why))
    return places


def _away(places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far each pixel is from the centre: across (…, 1, 28), down (…, 28, 1), both together."""
    ticks = torch.arange(SIZE, dtype=places.dtype, device=places.device)
    across, down = (places[..., axis, None] - ticks for axis in (0, 1))
    across, down = across[..., None, :], down[..., :, None]
    # At the centre itself a root has no slope.
    return across, down, (across.square() + down.square() + 1e-12).sqrt()


def _drawn(places: Tensor) -> Tensor:
    """(…, 2) to (…, 1, 28, 28)."""
    return torch.sigmoid((RADIUS - _away(places)[2]) / EDGE)[..., None, :, :]


def _tangents(places: Tensor) -> Tensor:
    """(…, 2) to (…, 2, 1, 28, 28)."""
    across, down, away = _away(places)
    level = torch.sigmoid((RADIUS - away) / EDGE)
    steep = -level * (1 - level) / (EDGE * away)
    return torch.stack([steep * across, steep * down], -3)[..., None, :, :]
