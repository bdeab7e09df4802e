"""What is said beside the samples of chapter 5: how much draws add, and whether they are copies."""

from __future__ import annotations

import pytest
import torch

from aelib.experiments import sampled_codes


def test_what_draws_add_to_the_spread_between_nets():
    """Nets with means 0, 1 and 2; each of two draws of it lies 0.1 to either side."""
    distances = torch.tensor([[0.1, 1.1, 2.1], [-0.1, 0.9, 1.9]])
    assert sampled_codes.share_of_draws(distances) == pytest.approx(0.02 / 2 / 1)


def test_the_nearest_ratio_is_low_for_copies():
    train = sampled_codes.digits().train
    assert float(sampled_codes.nearest_ratio(train[:50])) < 0.01
    assert 0.5 < float(sampled_codes.nearest_ratio(sampled_codes.digits().test)) < 1


def test_a_density_of_many_numbers_is_fitted_in_their_leading_directions():
    source = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(60, 2, generator=source)).Q.T
    points = 3 + 5 * torch.randn(400, 2, generator=source) @ plane
    (drawn,) = sampled_codes.from_density(points, 1, seed=0, draws=1, n=4000)
    off = (drawn - 3) - (drawn - 3) @ plane.T @ plane
    assert float(off.norm() / (drawn - 3).norm()) < 0.01
    assert float(drawn.var(0).sum()) == pytest.approx(float(points.var(0).sum()), rel=0.1)
