"""Arrows and walks on the known manifold, and the loop of Badger's page, against what is known."""

from __future__ import annotations

import pytest
import torch

from aelib import data, measures
from aelib.experiments import known_manifold, own_loop
from aelib.experiments.known_manifold import DISCS


def test_noise_is_taken_away_across_and_along_as_it_should_be():
    across, along = known_manifold.taken_away(DISCS, lambda x: x, seed=0)
    assert max(abs(float(across)), abs(float(along))) < 1e-6
    mean = measures.mean_image(known_manifold.images_of(DISCS).train)
    assert [
        float(share) for share in known_manifold.taken_away(DISCS, mean, seed=0)
    ] == pytest.approx([1, 1], abs=0.15)

    def project(x):
        return data.discs.draw(data.discs.nearest(x).numbers)

    across, along = known_manifold.taken_away(DISCS, project, seed=0)
    assert float(across) == pytest.approx(1, abs=0.02)
    assert abs(float(along)) < 0.2


def test_drawing_from_the_posterior_keeps_the_data_and_the_mean_does_not():
    start = data.discs.sample(600, seed=4).images
    drawn = known_manifold.exact_walk(start, 30, draws=True, seed=0)[-1]
    assert known_manifold.off(data.discs, drawn) < 1e-3
    spread = data.discs.spread(data.discs.nearest(drawn).numbers)
    assert float(spread) == pytest.approx(1, abs=0.12)
    mean = known_manifold.exact_walk(start, 30, draws=False, seed=0)[-1]
    assert known_manifold.off(data.discs, mean) > 0.1
    assert float(data.discs.spread(data.discs.nearest(mean).numbers)) < 0.97


def test_arrows_of_a_map_that_does_nothing_have_no_length():
    start, end = known_manifold.arrows_in_plane(data.discs, lambda x: x, points=3)
    assert torch.allclose(start, end, atol=1e-3)
    start, end = known_manifold.arrows_across(data.discs, lambda x: x, [-1.0, 0.0, 1.0])
    assert torch.equal(start, end)


def test_the_exact_mean_moves_discs_at_the_border_inwards_and_no_others():
    answer = known_manifold.exact_mean(known_manifold.DISCS)
    start, end = known_manifold.arrows_in_plane(data.discs, answer, points=5)
    inner = ((start > start.amin(0)) & (start < start.amax(0))).all(1)
    assert torch.allclose(start[inner], end[inner], atol=0.05)
    middle = start.mean(0)
    assert ((end - middle).norm(dim=1) < (start - middle).norm(dim=1) - 0.2)[~inner].all()


def test_ellipses_are_asked_of_place_alone_where_a_plane_is_drawn():
    start, end = known_manifold.arrows_in_plane(data.ellipses, lambda x: x, points=3)
    assert start.shape == end.shape == (9, 2)
    assert torch.allclose(start, end, atol=1e-2)
    images = data.ellipses.sample(4, seed=2).images
    drawn = known_manifold.exact_walk(images, 1, draws=True, seed=0, ground=known_manifold.ELLIPSES)
    assert drawn.shape == (1, 4, 1, 28, 28)
    assert known_manifold.off(data.ellipses, drawn[-1]) < 1e-3


def test_a_smooth_change_goes_as_far_as_it_is_told():
    images, far = data.discs.sample(3).images, torch.tensor([0.5, 1.0, 2.0])
    changed = known_manifold.smooth_change(images, far, seed=0)
    assert torch.allclose((changed - images).flatten(1).norm(dim=1), far)


def test_the_page_s_loop_mixes_copies_and_noise_by_its_schedule():
    calls = []

    def copy(x):
        calls.append(len(x))
        return x

    drawn = own_loop.published_loop(copy, 5, 4000, (1, 2, 2), seed=0)
    assert calls == [4000] * 5
    variance = own_loop.SIGMA**2
    for n in range(1, 5):  # a ← c·a + d·noise
        variance = (n / 5) ** 2 * variance + (1 - n / 5) ** 2 * own_loop.SIGMA**2
    assert float(drawn.mean()) == pytest.approx(own_loop.MEAN, abs=0.005)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.05)
