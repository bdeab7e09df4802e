"""data.shapes: the discs, their tangents, and the nearest of them to any picture."""

from __future__ import annotations

import pytest
import torch

from aelib import data
from aelib.data.shapes import EDGE, RADIUS, SIZE, SPAN, _drawn


def test_discs_are_endless_even_and_the_same_by_seed():
    images, places = data.discs(2000, seed=3)
    assert (images.shape, places.shape) == ((2000, 1, SIZE, SIZE), (2000, 2))
    assert images.dtype == torch.float32
    assert torch.equal(images, data.draw_discs(places))
    assert 0 <= images.min() < 0.01 < 0.99 < images.max() <= 1
    assert SPAN[0] <= places.min() < SPAN[0] + 0.1 < SPAN[1] - 0.1 < places.max() <= SPAN[1]
    assert places.mean(0).tolist() == pytest.approx([sum(SPAN) / 2] * 2, abs=0.3)
    assert torch.equal(places, data.discs(2000, seed=3).places)
    assert not torch.equal(places, data.discs(2000, seed=4).places)


def test_a_disc_is_round_whole_and_where_it_should_be():
    image = data.draw_discs(torch.tensor([[10.0, 15.0]]))[0, 0]
    assert image[15, 10 + 4].item() == pytest.approx(
        1 / (1 + torch.tensor((4 - RADIUS) / EDGE).exp().item())
    )
    assert torch.allclose(image[15, 10 + 3], image[15 - 3, 10])
    sums = data.discs(500).images.sum((1, 2, 3))
    assert (sums.max() - sums.min()) / sums.mean() < 0.005  # none is cut by the border


def test_tangents_are_the_derivatives():
    places = data.discs(20).places.double()
    slow = torch.stack(
        [torch.autograd.functional.jacobian(_drawn, place).movedim(-1, 0) for place in places]
    )
    assert torch.allclose(data.disc_tangents(places), slow)


def test_the_nearest_disc_of_a_disc_is_itself():
    images, places = data.discs(300, seed=5)
    found = data.nearest_disc(images)
    assert torch.allclose(found.places, places, atol=1e-4)
    assert found.distances.max() < 1e-3


def test_no_place_is_nearer_than_the_nearest():
    """Against a fine lattice: noisy, blurred and mixed discs, and pictures without one."""
    images = data.discs(6, seed=6).images
    noisy = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    mixed = (images + images.flip(0)) / 2
    nothing = torch.stack([torch.zeros(1, SIZE, SIZE), torch.ones(1, SIZE, SIZE)])
    asked = torch.cat([noisy, blurred, mixed, nothing])
    lattice = data.draw_discs(data.place_grid(131))  # a tenth of a pixel apart
    table = torch.cdist(
        asked.flatten(1), lattice.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
    )
    found = data.nearest_disc(asked)
    assert (found.distances <= table.amin(1) + 1e-4).all()
    here = (asked - data.draw_discs(found.places)).flatten(1).norm(dim=1)
    assert torch.allclose(found.distances, here, atol=1e-4)
    assert found.places.min() >= SPAN[0]
    assert found.places.max() <= SPAN[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.discs(0), r"n: expected 1 or more, got 0"),
        (lambda: data.draw_discs(torch.zeros(3)), r"places: expected .*\(n, 2\)"),
        (
            lambda: data.draw_discs(torch.tensor([[3.0, 10.0]])),
            r"values in \[7, 20\], got values from 3 to 10.*whole",
        ),
        (lambda: data.disc_tangents(torch.full((1, 2), 21.0)), r"got values from 21 to 21"),
        (lambda: data.place_grid(1), r"points: expected"),
        (lambda: data.nearest_disc(torch.zeros(2, 1, 8, 8)), r"images: expected .*1, 28, 28"),
        (lambda: data.nearest_disc(torch.full((1, 1, 28, 28), torch.nan)), r"images.*NaN"),
    ],
)
def test_what_is_no_place_or_picture_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
