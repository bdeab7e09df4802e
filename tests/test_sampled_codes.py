"""What is said beside the samples of chapter 5: how much draws add, and whether they are copies."""

from __future__ import annotations

import pytest
import torch

from aelib import experiments, measures
from aelib.experiments import judge, sampled_codes


def test_what_fits_and_their_draws_leave_in_the_mean():
    """Four fits drawn from twice: by one unit they lie 1 to either side of each other, 2 apart."""
    of_fits = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    sets = of_fits[:, None] + torch.tensor([0.5, -0.5])  # the draws of a fit cancel
    error = sampled_codes.error_of_draws(sets.reshape(8, 1), fits=4)
    assert float(error) == pytest.approx((4 / 3) ** 0.5 / 2)
    assert float(sampled_codes.error_of_draws(sets.reshape(8, 1), fits=1)) == 0


def test_the_linear_copier_has_the_principal_directions_for_a_code():
    test = sampled_codes.digits().test[:20]
    model = sampled_codes.principal(sampled_codes.DIRECTIONS)
    best = measures.pca_filter(sampled_codes.digits().train, sampled_codes.DIRECTIONS)
    assert torch.allclose(measures.outputs(model, test), best(test), atol=1e-4)
    codes = measures.codes(model, sampled_codes.digits().train)
    assert float(codes.mean(0).abs().max()) < 1e-3


def test_no_two_sets_are_drawn_with_one_seed():
    known = sampled_codes.digits().train[:100]
    sets = sampled_codes.from_code(
        [sampled_codes.principal(sampled_codes.DIRECTIONS)] * 2, known, 1, 2, 2, 5
    )
    flat = sets.flatten(2).flatten(0, 1)
    assert len(flat) == 8
    assert float(torch.pdist(flat).min()) > 1


def test_the_nearest_ratio_is_low_for_copies():
    train, test = judge.digits().train, judge.digits().test
    assert float(judge.nearest_ratio(train[:50])) < 0.01
    assert 0.5 < float(judge.nearest_ratio(test)) < 1
    of_both = judge.nearest_ratio(torch.stack([train[:50], test[:50]]), n=40)
    assert of_both[0] < 0.3 < of_both[1]  # ten of the fifty are not among the forty


def test_the_tuned_mixture_is_the_one_that_claim_4_6_found():
    tuned = tuple(experiments.full_result("4.6").show["tuned"].values())
    assert tuple(experiments.find("5.7").full["tuned"]) == tuned
    assert tuple(experiments.find("4.7").full["mixture"]) == tuned
