"""Discs and ellipses on a dark ground: pictures whose manifold is known.

A picture is a function of a few numbers: of the disc's place, or of the ellipse's place, size and
angle. So it can be said exactly how far any picture is from the manifold, which of its pictures is
nearest, and what lies between two of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks, random

SIZE = 28  # pixels, height and width
RADIUS = 4.5  # of a disc, in pixels
STRETCH = 1.5  # of an ellipse: its half axes are its size times and divided by this
EDGE = 0.7  # how soft: at so many pixels outside a disc the grey level is 1 / (1 + e)


Depth = tuple[Tensor, Callable[[], list[Tensor]]]  # slopes wait until they are asked for


class Drawn(NamedTuple):
    """Pictures and what they are of, as `Shapes.sample` draws them.

    images: float32 in [0, 1], (n, 1, 28, 28). numbers: (n, k), as `Shapes.names` calls them.
    """

    images: Tensor
    numbers: Tensor


class Nearest(NamedTuple):
    """The manifold's nearest point to each picture: `numbers` (n, k), `distances` (n,) ‖x − a‖."""

    numbers: Tensor
    distances: Tensor


@dataclass(frozen=True)
class Shapes:
    """All pictures of one kind of shape: a manifold of k dimensions among pictures of 28 × 28.

    `discs` are those of two numbers, the place of the centre; `ellipses` those of four, place, size
    and angle, in pixels and degrees.

    Attributes:
        names: of the k numbers that say which picture it is.
        low, high: between which they lie, so that the whole shape is within the picture.
        depth: of numbers (…, k): how far inside the shape each pixel lies, (…, 28, 28), below 0
            outside, and how that changes with each of the k numbers. The grey level is
            1 / (1 + exp(−depth / `EDGE`)).
        ticks: of each number, in the lattice on which a search for the nearest shape begins.

    Source: chapter 5, "On a known manifold".

    >>> images, places = discs.sample(3)
    >>> images.shape, discs.nearest(images).numbers.shape
    (torch.Size([3, 1, 28, 28]), torch.Size([3, 2]))
    >>> ellipses.names
    ('across', 'down', 'size', 'angle')
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    depth: Callable[[Tensor], Depth]
    ticks: tuple[int, ...]

    def sample(self, n: int, seed: int | torch.Generator = 0) -> Drawn:
        """Draw `n` pictures, their numbers evenly from where they lie; as many as you like.

        Raises:
            TypeError, ValueError: unless n is a whole number above 0.

        >>> discs.sample(5).numbers.shape
        torch.Size([5, 2])
        """
        shape = (checks.whole(n, "n", least=1), len(self.names))
        numbers = self._within(random.uniform(shape, torch.empty(()), random.generator(seed)))
        return Drawn(self._drawn(numbers), numbers)

    def draw(self, numbers: Tensor) -> Tensor:
        """The pictures of these numbers; smooth in them, so gradients pass.

        Args:
            numbers: (n, k), each between `low` and `high`.

        Returns:
            (n, 1, 28, 28), in [0, 1].

        Raises:
            TypeError, ValueError: for numbers of another shape, not finite or out of range.

        >>> picture = discs.draw(torch.tensor([[10.0, 15.0]]))[0, 0]
        >>> picture[15, 10] > 0.99, picture[10, 15] < 0.2
        (tensor(True), tensor(True))
        """
        return self._drawn(self._checked(numbers))

    def tangents(self, numbers: Tensor) -> Tensor:
        """How a picture changes with each of its numbers: the manifold's tangent vectors there.

        Returns:
            ∂x/∂number in grey levels a unit of it, (n, k, 1, 28, 28).

        Raises:
            TypeError, ValueError: as `draw`.

        >>> ellipses.tangents(ellipses.sample(2).numbers).shape
        torch.Size([2, 4, 1, 28, 28])
        """
        return self._tangents(self._checked(numbers))

    def grid(self, *points: int) -> Tensor:
        """Numbers on a lattice with so many points of each, the ends included; (∏ points, k).

        The first number changes fastest. Of a number with one point, the middle.

        Raises:
            TypeError, ValueError: unless there is a whole number above 0 for each.

        >>> discs.grid(2, 2).tolist()
        [[7.0, 7.0], [20.0, 7.0], [7.0, 20.0], [20.0, 20.0]]
        """
        counts = _counts(points)
        return self._lattice(
            [torch.linspace(0, 1, n) if n > 1 else torch.tensor([0.5]) for n in counts]
        )

    def cells(self, *points: int) -> Tensor:
        """Numbers in the middles of so many equal parts of each, (∏ points, k).

        The first number changes fastest. Many are spread as `sample` spreads its numbers; of n
        parts of a number the middles have 1 − 1/n² of that variance.

        Raises:
            TypeError, ValueError: as `grid`.

        >>> discs.cells(2, 1).tolist()
        [[10.25, 13.5], [16.75, 13.5]]
        """
        return self._lattice([(torch.arange(n) + 0.5) / n for n in _counts(points)])

    def spread(self, numbers: Tensor) -> Tensor:
        """Variance of numbers (…, k) about the middle over that of evenly spread ones: a mean.

        Raises:
            TypeError, ValueError: for numbers of another shape, or not finite.

        >>> float(discs.spread(discs.grid(2, 2)))
        3.0
        """
        checks.tensor(numbers, "numbers", (..., len(self.names)))
        low, high = self._ends(numbers)
        return (((numbers - (low + high) / 2) / (high - low)).square() * 12).mean()

    def nearest(self, images: Tensor) -> Nearest:
        """The shape nearest to each picture by ‖x − a‖, and how far it is: how far the manifold is.

        The best of a lattice, then steps of Gauss and Newton from there, shorter ones where a step
        does not lead nearer.

        Args:
            images: (n, 1, 28, 28), whatever they show.

        Raises:
            TypeError, ValueError: for images of another shape, or not finite.

        >>> images, places = discs.sample(3)
        >>> torch.allclose(discs.nearest(images).numbers, places, atol=2e-3)
        True
        """
        images = checks.images(images, shape=(1, SIZE, SIZE)).float()
        lattice, known, half = (values.to(images.device) for values in _lattice(self))
        low, high = self._ends(images)
        longest = (high - low) / (torch.tensor(self.ticks).to(images) - 1)
        parts = []
        for x in images.flatten(1).split(512):
            numbers = lattice[(half - x @ known.T).argmin(1)]
            distances, stride = self._gap(x, numbers), torch.ones_like(numbers[:, :1])
            for _ in range(12):
                slopes = self._tangents(numbers).flatten(2)  # (n, k, d)
                left = (x - self._drawn(numbers).flatten(1))[..., None]
                step = torch.linalg.solve(slopes @ slopes.mT, slopes @ left)[..., 0]
                step = step.clamp(-longest, longest)
                tried = (numbers + stride * step).clamp(low, high)
                gap = self._gap(x, tried)
                nearer = gap < distances
                distances = gap.where(nearer, distances)
                numbers, stride = (
                    tried.where(nearer[:, None], numbers),
                    stride.where(nearer[:, None], stride / 4),
                )
            parts.append(Nearest(numbers, distances))
        return Nearest(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The ends of each number's range, (k,) both."""
        return (
            torch.tensor(self.low, dtype=like.dtype, device=like.device),
            torch.tensor(self.high, dtype=like.dtype, device=like.device),
        )

    def _lattice(self, shares: Sequence[Tensor]) -> Tensor:
        """Numbers of all combinations of these shares of their ranges, one list a number."""
        if len(shares) != len(self.names):
            expected = f"{len(self.names)} of them, for {', '.join(self.names)}"
            raise ValueError(checks.message("points", expected, checks.Described(f"{len(shares)}")))
        each = torch.meshgrid(*reversed(shares), indexing="ij")
        return self._within(torch.stack([values.flatten() for values in reversed(each)], -1))

    def _within(self, shares: Tensor) -> Tensor:
        """Numbers that lie so far between their ends, shares of it (…, k)."""
        low, high = self._ends(shares)
        return low + (high - low) * shares

    def _checked(self, numbers: Tensor) -> Tensor:
        seen = checks.tensor(numbers, "numbers", ("n", len(self.names)))
        for name, low, high, values in zip(self.names, self.low, self.high, seen.T, strict=True):
            least, most = (float(end) for end in values.aminmax())
            slack = 1e-6 * (abs(low) + abs(high))  # a rounding of single precision
            if least < low - slack or most > high + slack:
                expected, got = f"{name} in [{low:g}, {high:g}]", f"from {least:g} to {most:g}"
                why = "so that the whole shape lies within the picture"
                raise ValueError(checks.message("numbers", expected, checks.Described(got), why))
        return numbers

    def _drawn(self, numbers: Tensor) -> Tensor:
        """(…, k) to (…, 1, 28, 28)."""
        return torch.sigmoid(self.depth(numbers)[0] / EDGE)[..., None, :, :]

    def _tangents(self, numbers: Tensor) -> Tensor:
        """(…, k) to (…, k, 1, 28, 28)."""
        depth, slopes = self.depth(numbers)
        level = torch.sigmoid(depth / EDGE)
        steep = level * (1 - level) / EDGE
        return torch.stack([(steep * slope)[..., None, :, :] for slope in slopes()], -4)

    def _gap(self, x: Tensor, numbers: Tensor) -> Tensor:
        """‖x − a‖ of flat pictures (n, d) and the shapes of these numbers: (n,)."""
        return (x - self._drawn(numbers).flatten(1)).norm(dim=1)


@cache
def _lattice(shapes: Shapes) -> tuple[Tensor, Tensor, Tensor]:
    """Where a search begins: numbers (m, k), their pictures a (m, d), and ‖a‖²/2, (m,)."""
    numbers = shapes.grid(*shapes.ticks)
    pictures = shapes.draw(numbers).flatten(1)
    return numbers, pictures, pictures.square().sum(1) / 2


def _counts(points: Sequence[int]) -> list[int]:
    return [checks.whole(n, "points", least=1) for n in points]


def _away(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """How far each pixel is from the centre: across, (…, 1, 28), and down, (…, 28, 1)."""
    ticks = torch.arange(SIZE, dtype=numbers.dtype, device=numbers.device)
    across, down = (ticks - numbers[..., axis, None] for axis in (0, 1))
    return across[..., None, :], down[..., :, None]


def _length(across: Tensor, down: Tensor) -> Tensor:
    # At the centre itself a root has no slope.
    return (across.square() + down.square() + 1e-12).sqrt()


def _disc(numbers: Tensor) -> Depth:
    """`RADIUS` − r at r pixels from the centre."""
    across, down = _away(numbers)
    r = _length(across, down)
    return RADIUS - r, lambda: [across / r, down / r]


def _ellipse(numbers: Tensor) -> Depth:
    """size (1 − r), where r is 1 on the ellipse."""
    across, down = _away(numbers)
    size, angle = (numbers[..., axis, None, None] for axis in (2, 3))
    radian = math.pi / 180
    cos, sin = (angle * radian).cos(), (angle * radian).sin()
    along = (across * cos + down * sin) / STRETCH
    beside = (down * cos - across * sin) * STRETCH
    r = _length(along, beside)
    return size - r, lambda: [
        (along * cos / STRETCH - beside * sin * STRETCH) / r,
        (along * sin / STRETCH + beside * cos * STRETCH) / r,
        torch.ones_like(r),
        radian * along * beside * (STRETCH**2 - 1 / STRETCH**2) / r,
    ]


discs = Shapes(("across", "down"), (7.0, 7.0), (20.0, 20.0), _disc, (27, 27))
"""Discs of one size: pictures of two numbers, the centre's place in pixels from the first one's."""

ellipses = Shapes(
    ("across", "down", "size", "angle"),
    (9.0, 9.0, 2.5, -45.0),
    (18.0, 18.0, 4.5, 45.0),
    _ellipse,
    (19, 19, 5, 7),
)
"""Ellipses: pictures of four numbers, place and size in pixels, angle in degrees."""
