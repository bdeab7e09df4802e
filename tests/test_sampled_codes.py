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
