"""What chapter 6's second page measures directions and codes by, against plain counting."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
from torch import nn

from aelib.experiments import modelled_codes, sparse_units

drawn = torch.Generator().manual_seed(0)


def test_likeness_is_the_mean_cosine_over_pairs():
    seen = nn.functional.normalize(torch.randn(50, 7, generator=drawn), dim=1)
    images = torch.stack([torch.randperm(50, generator=drawn)[: sparse_units.TOP] for _ in "ab"], 1)
    for unit, found in enumerate(sparse_units.alike(images, seen)):
        pairs = itertools.combinations(images[:, unit].tolist(), 2)
        plain = [float(seen[a] @ seen[b]) for a, b in pairs]
        assert float(found) == pytest.approx(sum(plain) / len(plain), abs=1e-5)


def test_entropy_is_nothing_for_one_class_and_its_logarithm_for_all_alike():
    images = torch.arange(10)[:, None]
    assert float(sparse_units.class_entropy(images, torch.zeros(10).long(), 10)) == 0
    found = sparse_units.class_entropy(images, torch.arange(10), 10)
    assert float(found) == pytest.approx(math.log(10))


def test_top_images_are_those_of_units_that_are_on_for_enough():
    code = torch.zeros(30, 3)
    code[5:20, 1] = torch.arange(15.0) + 1
    code[0, 2] = 9.0
    used, images = sparse_units.top(code)
    assert used.tolist() == [1]
    assert images[:, 0].tolist() == list(range(19, 9, -1))
    with pytest.raises(ValueError, match=re.escape("code: expected units on for 10 images, got")):
        sparse_units.top(torch.zeros(30, 3))


def test_directions_are_taken_both_ways():
    code = sparse_units.both_ways(torch.eye(2))(torch.tensor([[3.0, -4.0]]))
    assert code.tolist() == [[3.0, 0.0, 0.0, 4.0]]


def test_a_code_s_span_is_the_unit_interval_and_back():
    codes = torch.randn(40, 5, generator=drawn) * 7
    codes[:, 2] = 3.0  # a number that never changes
    span = modelled_codes.span(codes)
    images = span.to_unit(codes)
    assert images.shape == (40, 5, 1, 1)
    assert images.min() == 0
    assert images.max() == 1
    assert torch.allclose(span.from_unit(images), codes, atol=1e-4)


def test_the_cost_of_a_linear_layer_is_three_times_its_multiplications_and_additions():
    assert modelled_codes.cost(nn.Linear(20, 30), torch.rand(4, 20)) == 3 * 2 * 20 * 30


def test_a_frozen_decoder_stays_and_a_learned_one_moves():
    inputs = torch.rand(60, 6, 1, 1, generator=drawn) - 0.5
    for frozen in (True, False):
        before = [each.decoder.weight.clone() for each in _start()]
        nets = sparse_units.autoencoders([inputs] * 2, 3, 8, 2, frozen)
        same = [torch.equal(a, b.decoder.weight) for a, b in zip(before, nets, strict=True)]
        assert same == [frozen] * 2


def _start():
    from aelib import models

    return models.replicate(lambda: models.SparseAutoencoder((6, 1, 1), 8, 2), 2)


@pytest.mark.parametrize("name", ["classifier's, 32", "untrained, 32", "variational, 32"])
def test_encoders_that_are_not_to_learn_to_copy_do_not(name):
    images = modelled_codes.all_digits().take(60)
    nets = modelled_codes.trained(name, images, 2, 8, 4)
    codes = [each.encode(images.train[:3]) for each in nets]
    assert [tuple(code.shape) for code in codes] == [(3, 32)] * 2
    learns = [any(p.requires_grad for p in each.encoder.parameters()) for each in nets]
    assert learns == [name.startswith("variational")] * 2
