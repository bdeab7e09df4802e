"""Probes: a planted feature is result, nothing is not, and the ridge is the ridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aelib.measures import logistic_probe, ridge_probe


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_planted_direction_is_read_and_its_noise_is_not():
    """y = x·w + noise: R² is the signal's share of the variance."""
    features, weights = drawn(3000, 10), drawn(10, seed=1)
    clean = features @ weights
    target = clean + clean.std() * drawn(3000, seed=2)
    probe = ridge_probe(features[:2000], target[:2000], features[2000:], target[2000:])
    assert probe.r2 == pytest.approx(0.5, abs=0.06)
    assert abs(probe.shuffled) < 0.05
    exact = ridge_probe(features[:2000], clean[:2000], features[2000:], clean[2000:])
    assert exact.r2 > 0.999


def test_a_square_is_not_on_a_straight_line():
    features = drawn(2000, 3)
    squares = features[:, 0].square()
    plain = ridge_probe(features[:1000], squares[:1000], features[1000:], squares[1000:])
    assert plain.r2 < 0.05
    given = features.square()
    assert ridge_probe(given[:1000], squares[:1000], given[1000:], squares[1000:]).r2 > 0.99


def test_more_features_than_examples_do_not_read_noise():
    features, target = drawn(200, 400), drawn(200, seed=1)
    probe = ridge_probe(features[:100], target[:100], features[100:], target[100:])
    assert probe.r2 < 0.1
    assert probe.shuffled < 0.1


def test_one_penalty_is_ridge_in_closed_form():
    features, targets = drawn(60, 4), drawn(60, 3, seed=1)
    result = ridge_probe(features[:40], targets[:40], features[40:], targets[40:], penalties=[2.5])
    x, y = features[:40].double().numpy(), targets[:40].double().numpy()
    mean, scale, middle = x.mean(0), x.std(0), y.mean(0)
    z = (x - mean) / scale
    weights = np.linalg.solve(z.T @ z + 2.5 * np.eye(4), z.T @ (y - middle))
    truth = targets[40:].double().numpy()
    guess = (features[40:].double().numpy() - mean) / scale @ weights + middle
    expected = 1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    assert result.r2 == pytest.approx(expected, rel=1e-9)


def test_penalties_may_be_a_tuple_of_one():
    x, y = torch.rand(10, 2), torch.rand(10)
    first, second = (ridge_probe(x, y, x, y, penalties=p) for p in ((1,), [1.0]))
    assert first == second


def test_scale_and_dead_features_do_not_matter():
    features, target = drawn(300, 5), drawn(300, seed=1) + drawn(300, 5)[:, 0]
    one = ridge_probe(features[:200], target[:200], features[200:], target[200:])
    wide = torch.cat([features * torch.tensor([1e4, 1e-4, 1, 1, 1]), torch.ones(300, 2)], 1)
    other = ridge_probe(wide[:200], target[:200], wide[200:], target[200:])
    assert other.r2 == pytest.approx(one.r2, abs=1e-6)
    feature_maps = features.view(300, 5, 1, 1)
    third = ridge_probe(feature_maps[:200], target[:200], feature_maps[200:], target[200:])
    assert third == one


def test_the_shuffled_control_is_seeded():
    features, target = drawn(60, 8), drawn(60, seed=1)
    sides = (features[:40], target[:40], features[40:], target[40:])
    assert ridge_probe(*sides, seed=1) == ridge_probe(*sides, seed=1)
    assert ridge_probe(*sides, seed=1).shuffled != ridge_probe(*sides, seed=2).shuffled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_features": torch.zeros(4, 3)}, "test_features: .* (n, 2)"),
        ({"test_targets": torch.rand(4, 2)}, "test_targets: .* (n, 1)"),
        ({"test_targets": torch.ones(4)}, "test_targets: .* three or more that differ"),
        ({"penalties": ()}, "penalties: .* one or more"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    given = {
        "features": torch.rand(10, 2), "targets": torch.rand(10), "test_features": torch.rand(4, 2),
        "test_targets": torch.rand(4), **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        ridge_probe(**given)


# --- Classes -------------------------------------------------------------------------------------


def groups(n=90, gap=8.0, seed=0):
    """Three clouds in the plane, and which is whose."""
    labels = torch.arange(n) % 3
    centres = gap * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    return centres[labels] + drawn(n, 2, seed=seed), labels


def test_a_logistic_probe_reads_what_is_linear_and_nothing_else():
    codes, labels = groups(seed=1)
    test, truth = groups(seed=2)
    right = logistic_probe(codes, labels, test, truth)
    assert right.dtype == torch.bool
    assert right.double().mean() > 0.99
    mixed, asked = groups(gap=1.5, seed=1)[0], groups(gap=1.5, seed=2)[0]
    unsure = logistic_probe(mixed, labels, asked, truth)
    assert 0.4 < unsure.double().mean() < 0.9
    scaled = logistic_probe(1000 * mixed + 5, labels, 1000 * asked + 5, truth)
    assert torch.equal(unsure, scaled)  # a strength means the same for every description
    noise = logistic_probe(drawn(90, 2), labels, drawn(90, 2, seed=3), truth)
    assert noise.double().mean() < 0.55
    ring = drawn(300, 2)
    inside = (ring.norm(dim=1) < 1.2).long()
    share = float(inside.double().mean())
    correct = logistic_probe(ring[:150], inside[:150], ring[150:], inside[150:])
    assert float(correct.double().mean()) < max(share, 1 - share) + 0.1


def test_a_description_wider_than_its_examples_is_read_like_any_other():
    """The penalised optimum lies in the span of the examples: scikit-learn finds it there."""
    from sklearn.linear_model import LogisticRegression

    x, asked = drawn(30, 200, seed=4), drawn(50, 200, seed=5)
    labels, truth = (x[:, 0] > 0).long(), (asked[:, 0] > 0).long()
    centred = x - x.mean(0)
    scale = centred.square().mean().sqrt()
    plain = LogisticRegression(max_iter=300).fit((centred / scale).numpy(), labels.numpy())
    right = plain.predict(((asked - x.mean(0)) / scale).numpy()) == truth.numpy()
    read = logistic_probe(x, labels, asked, truth, strengths=(1.0,))
    assert read.tolist() == right.tolist()
