"""data.shapes: discs and ellipses, their tangents, and the nearest of them to any picture."""

from __future__ import annotations

import pytest
import torch

from aelib import data
from aelib.data.shapes import EDGE, RADIUS, SIZE, STRETCH

KINDS = pytest.mark.parametrize("shapes", [data.discs, data.ellipses], ids=["discs", "ellipses"])


@KINDS
def test_shapes_are_endless_even_and_the_same_by_seed(shapes):
    images, numbers = shapes.sample(2000, seed=3)
    k = len(shapes.names)
    assert (images.shape, numbers.shape) == ((2000, 1, SIZE, SIZE), (2000, k))
    assert images.dtype == torch.float32
    assert torch.equal(images, shapes.draw(numbers))
    brightest = 0.99 if shapes is data.discs else 0.97  # at the middle of the largest
    assert 0 <= images.min() < 0.01 < brightest < images.max() <= 1
    low, high = torch.tensor(shapes.low), torch.tensor(shapes.high)
    shares = (numbers - low) / (high - low)
    assert 0 <= shares.min() < 0.01 < 0.99 < shares.max() <= 1
    assert torch.allclose(shares.mean(0), torch.full((k,), 0.5), atol=0.03)
    assert float(shapes.spread(numbers)) == pytest.approx(1, abs=0.05)
    assert torch.equal(numbers, shapes.sample(2000, seed=3).numbers)
    assert not torch.equal(numbers, shapes.sample(2000, seed=4).numbers)


def test_a_disc_is_round_whole_and_where_it_should_be():
    image = data.discs.draw(torch.tensor([[10.0, 15.0]]))[0, 0]
    assert image[15, 10 + 4].item() == pytest.approx(
        1 / (1 + torch.tensor((4 - RADIUS) / EDGE).exp().item())
    )
    assert torch.allclose(image[15, 10 + 3], image[15 - 3, 10])
    sums = data.discs.sample(500).images.sum((1, 2, 3))
    assert (sums.max() - sums.min()) / sums.mean() < 0.005  # none is cut by the border


def test_an_ellipse_has_its_size_its_angle_and_its_place():
    numbers = torch.tensor([[12.0, 15.0, 4.0, 30.0]])
    image = data.ellipses.draw(numbers)[0, 0].double()
    ticks = torch.arange(SIZE).double()
    down, across = torch.meshgrid(ticks, ticks, indexing="ij")
    weight = image / image.sum()
    centre = [float((weight * each).sum()) for each in (across, down)]
    assert centre == pytest.approx([12, 15], abs=0.05)
    away = torch.stack([across - 12, down - 15])
    turned = torch.einsum("hw,ihw,jhw->ij", weight, away, away)
    values, vectors = torch.linalg.eigh(turned)  # rising: the last is the long axis
    assert float(values[1] / values[0]) == pytest.approx(STRETCH**4, rel=0.05)
    along = vectors[:, 1]
    angle = torch.rad2deg(torch.atan2(along[1], along[0])) % 180
    assert float(angle) == pytest.approx(30, abs=0.5)  # clockwise, for down is positive
    larger = data.ellipses.draw(torch.tensor([[12.0, 15.0, 4.4, 30.0]]))[0, 0]
    assert float(larger.sum() / image.sum()) == pytest.approx(1.1**2, rel=0.03)
    border = torch.ones(SIZE, SIZE)
    border[1:-1, 1:-1] = 0
    corners = data.ellipses.draw(data.ellipses.grid(2, 2, 2, 3))
    assert float((corners * border).max()) < 0.15  # the largest just fit


@KINDS
def test_tangents_are_the_derivatives(shapes):
    numbers = shapes.sample(20).numbers.double()
    slow = torch.stack(
        [
            torch.autograd.functional.jacobian(
                lambda one: torch.sigmoid(shapes.depth(one)[0] / EDGE), each
            ).movedim(-1, 0)[:, None]
            for each in numbers
        ]
    )
    assert torch.allclose(shapes.tangents(numbers), slow)


@KINDS
def test_numbers_may_be_followed_back_and_lie_at_the_edge(shapes):
    numbers = shapes.sample(3).numbers.requires_grad_()
    shapes.draw(numbers).sum().backward()
    slow = shapes.tangents(numbers.detach()).sum((2, 3, 4))
    assert torch.allclose(numbers.grad, slow, atol=1e-4)
    edges = torch.tensor([shapes.low, shapes.high]).nextafter(torch.tensor(100.0))
    assert shapes.draw(edges).shape == (2, 1, SIZE, SIZE)
    with torch.inference_mode():
        images, numbers = shapes.sample(5, seed=1)
        assert torch.allclose(shapes.nearest(images + 0.01).numbers, numbers, atol=0.2)
    with pytest.raises(ValueError, match=r"numbers.*NaN"):
        shapes.draw(torch.full((1, len(shapes.names)), torch.nan, requires_grad=True))


@KINDS
def test_the_nearest_shape_of_a_shape_is_itself(shapes):
    images, numbers = shapes.sample(300, seed=5)
    found = shapes.nearest(images)
    assert torch.allclose(found.numbers, numbers, atol=1e-4)
    assert found.distances.max() < 1e-3


def spoiled(shapes) -> torch.Tensor:
    """Noisy, blurred and mixed shapes, and pictures without one."""
    images = shapes.sample(6, seed=6).images
    noisy = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    mixed = (images + images.flip(0)) / 2
    nothing = torch.stack([torch.zeros(1, SIZE, SIZE), torch.ones(1, SIZE, SIZE)])
    return torch.cat([noisy, blurred, mixed, nothing])


@pytest.mark.parametrize(
    ("shapes", "points"), [(data.discs, (131, 131)), (data.ellipses, (28, 28, 9, 11))]
)
def test_no_shape_is_nearer_than_the_nearest(shapes, points):
    """Against a lattice that is finer than the one on which the search begins."""
    asked = spoiled(shapes)
    table = torch.cdist(
        asked.flatten(1),
        shapes.draw(shapes.grid(*points)).flatten(1),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    found = shapes.nearest(asked)
    assert (found.distances <= table.amin(1) + 1e-4).all()
    here = (asked - shapes.draw(found.numbers)).flatten(1).norm(dim=1)
    assert torch.allclose(found.distances, here, atol=1e-4)
    assert (found.numbers >= torch.tensor(shapes.low)).all()
    assert (found.numbers <= torch.tensor(shapes.high)).all()


def test_cells_are_spread_like_the_data():
    assert float(data.discs.spread(data.discs.cells(26, 26))) == pytest.approx(1, abs=0.005)
    cells = data.ellipses.cells(2, 1, 1, 2)
    assert cells.tolist() == [
        [11.25, 13.5, 3.5, -22.5], [15.75, 13.5, 3.5, -22.5],
        [11.25, 13.5, 3.5, 22.5], [15.75, 13.5, 3.5, 22.5],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.discs.sample(0), r"n: expected 1 or more, got 0"),
        (lambda: data.discs.draw(torch.zeros(3)), r"numbers: expected .*\(n, 2\)"),
        (lambda: data.ellipses.draw(torch.zeros(2, 2)), r"numbers: expected .*\(n, 4\)"),
        (
            lambda: data.discs.draw(torch.tensor([[3.0, 10.0]])),
            r"across in \[7, 20\], got from 3 to 3.*whole",
        ),
        (
            lambda: data.ellipses.draw(torch.tensor([[12.0, 12.0, 3.0, 60.0]])),
            r"angle in \[-45, 45\], got from 60 to 60",
        ),
        (lambda: data.discs.tangents(torch.full((1, 2), 21.0)), r"got from 21 to 21"),
        (lambda: data.discs.grid(0, 2), r"points: expected"),
        (lambda: data.ellipses.grid(3, 3), r"points: expected 4 of them, for across, down, size"),
        (lambda: data.ellipses.cells(3, 3), r"points: expected 4 of them"),
        (lambda: data.discs.cells(3, 0), r"points: expected"),
        (lambda: data.discs.nearest(torch.zeros(2, 1, 8, 8)), r"images: expected .*1, 28, 28"),
        (lambda: data.discs.nearest(torch.full((1, 1, 28, 28), torch.nan)), r"images.*NaN"),
        (lambda: data.discs.spread(torch.zeros(5, 3)), r"numbers: expected"),
    ],
)
def test_what_is_no_number_or_picture_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
