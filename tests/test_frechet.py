"""Fréchet distance, its floor and class scores, against closed forms and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aelib import measures

SOURCE = torch.Generator().manual_seed(0)


def whitened(n, k, seed=0):
    """Features whose sample mean is exactly 0 and sample covariance exactly the identity."""
    raw = torch.randn(n, k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    raw = raw - raw.mean(0)
    return raw @ torch.linalg.inv(torch.linalg.cholesky(raw.T.cov()).T)


@given(
    st.floats(-3, 3),
    st.lists(st.floats(0.1, 4), min_size=3, max_size=3),
    st.lists(st.floats(0.1, 4), min_size=3, max_size=3),
)
def test_two_gaussians_with_common_axes_in_closed_form(shift, ones, others):
    """Σ (Δμ² + (s − s′)²)."""
    first = whitened(50, 3) * torch.tensor(ones, dtype=torch.float64)
    second = whitened(40, 3, seed=1) * torch.tensor(others, dtype=torch.float64) + shift
    expected = sum(shift**2 + (one - other) ** 2 for one, other in zip(ones, others, strict=True))
    assert measures.frechet_distance(first, second) == pytest.approx(expected, abs=1e-8, rel=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_any_two_gaussians_agree_with_scipys_square_root(seed):
    source = torch.Generator().manual_seed(seed)
    first = torch.randn(30, 4, dtype=torch.float64, generator=source) @ torch.randn(
        4, 4, dtype=torch.float64, generator=source
    )
    second = torch.randn(25, 4, dtype=torch.float64, generator=source) + 1
    one, other = np.cov(first.T.numpy()), np.cov(second.T.numpy())
    root = scipy.linalg.sqrtm(one @ other).real
    gap = (first.mean(0) - second.mean(0)).square().sum().item()
    expected = gap + np.trace(one + other - 2 * root)
    result = measures.frechet_distance(first, second)
    assert result == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert result == pytest.approx(measures.frechet_distance(second, first), rel=1e-9, abs=1e-9)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=source)).Q
    assert result == pytest.approx(measures.frechet_distance(first @ turn, second @ turn), rel=1e-7)


def test_equal_sets_are_at_distance_zero_also_with_a_dead_feature():
    features = whitened(30, 4)
    features[:, 2] = 0.5
    assert measures.frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-9)
    assert measures.frechet_distance(features.float(), features.float()) >= 0


def test_the_floors_n_may_come_from_numpy():
    features = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    one, other = (measures.frechet_floor(features, size) for size in (10, np.int64(10)))
    assert torch.equal(one, other)


def test_one_feature_is_enough():
    first, second = torch.tensor([[0.0], [2], [4]]), torch.tensor([[3.0], [4], [5]])
    assert measures.frechet_distance(first, second) == pytest.approx((4 - 2) ** 2 + (2 - 1) ** 2)


def test_the_floor_falls_with_size_and_bounds_nothing_from_another_source():
    features = torch.randn(600, 8, generator=SOURCE)
    floors = [measures.frechet_floor(features, size).mean() for size in (20, 60, 250)]
    assert floors[0] > floors[1] > floors[2] > 0
    elsewhere = measures.frechet_distance(features[:250] + 0.5, features[250:])
    assert elsewhere > 4 * floors[2]
    assert measures.frechet_floor(features, 60, draws=3).shape == (3,)
    assert torch.equal(
        measures.frechet_floor(features, 60, seed=1), measures.frechet_floor(features, 60, seed=1)
    )


def test_features_come_in_evaluation_mode_and_in_batches():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 2)).train()
    images = torch.rand(1500, 1, 2, 2, generator=SOURCE)
    result = measures.image_features(model, images)
    assert result.shape == (1500, 3)
    assert result.dtype == torch.float64
    assert model.training
    model.eval()
    assert torch.allclose(result, model(images).flatten(1).double(), atol=1e-6)
    assert int(model[0].num_batches_tracked) == 0


def test_class_scores_in_closed_form():
    """A classifier that reads one-hot pixels, scaled: all numbers follow from the softmax."""

    def classifier(images):
        return 2 * images.flatten(1)

    images = torch.eye(4).view(4, 4, 1, 1)
    top = math.exp(2) / (math.exp(2) + 3)
    score = measures.classifier_score(classifier, images)
    assert score.confidence.tolist() == pytest.approx([top] * 4)
    assert score.label.tolist() == [0, 1, 2, 3]
    assert score.entropy == pytest.approx(math.log(4))
    same = measures.classifier_score(classifier, images[:1].expand(4, -1, -1, -1))
    rest = (1 - top) / 3
    assert same.entropy == pytest.approx(-top * math.log(top) - 3 * rest * math.log(rest))
    assert same.confidence.mean() == pytest.approx(score.confidence.mean())


def test_one_class_is_no_score():
    with pytest.raises(ValueError, match="classifier: expected one of two classes or more"):
        measures.classifier_score(lambda x: x.flatten(1)[:, :1], torch.rand(4, 1, 2, 2))
