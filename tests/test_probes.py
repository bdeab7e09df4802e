"""Linear probes: a planted feature is found, nothing is not, and the ridge is the ridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aelib.measures import linear_probe


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_planted_direction_is_read_and_its_noise_is_not():
    """y = x·w + noise: R² is the signal's share of the variance."""
    features, weights = drawn(3000, 10), drawn(10, seed=1)
    clean = features @ weights
    target = clean + clean.std() * drawn(3000, seed=2)
    probe = linear_probe(features[:2000], target[:2000], features[2000:], target[2000:])
    assert probe.r2 == pytest.approx(0.5, abs=0.06)
    assert abs(probe.shuffled) < 0.05
    exact = linear_probe(features[:2000], clean[:2000], features[2000:], clean[2000:])
    assert exact.r2 > 0.999


def test_a_square_is_not_on_a_straight_line():
    features = drawn(2000, 3)
    squares = features[:, 0].square()
    plain = linear_probe(features[:1000], squares[:1000], features[1000:], squares[1000:])
    assert plain.r2 < 0.05
    given = features.square()
    assert linear_probe(given[:1000], squares[:1000], given[1000:], squares[1000:]).r2 > 0.99


def test_more_features_than_examples_do_not_read_noise():
    features, target = drawn(200, 400), drawn(200, seed=1)
    probe = linear_probe(features[:100], target[:100], features[100:], target[100:])
    assert probe.r2 < 0.1
    assert probe.shuffled < 0.1


def test_one_penalty_is_ridge_in_closed_form():
    features, targets = drawn(60, 4), drawn(60, 3, seed=1)
    found = linear_probe(features[:40], targets[:40], features[40:], targets[40:], penalties=[2.5])
    x, y = features[:40].double().numpy(), targets[:40].double().numpy()
    mean, scale, middle = x.mean(0), x.std(0), y.mean(0)
    z = (x - mean) / scale
    weights = np.linalg.solve(z.T @ z + 2.5 * np.eye(4), z.T @ (y - middle))
    truth = targets[40:].double().numpy()
    guess = (features[40:].double().numpy() - mean) / scale @ weights + middle
    expected = 1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    assert found.r2 == pytest.approx(expected, rel=1e-9)


def test_penalties_may_be_a_tuple_of_one():
    seen, targets = torch.rand(10, 2), torch.rand(10)
    one, two = (linear_probe(seen, targets, seen, targets, penalties=p) for p in ((1,), [1.0]))
    assert one == two


def test_scale_and_dead_features_do_not_matter():
    features, target = drawn(300, 5), drawn(300, seed=1) + drawn(300, 5)[:, 0]
    one = linear_probe(features[:200], target[:200], features[200:], target[200:])
    wide = torch.cat([features * torch.tensor([1e4, 1e-4, 1, 1, 1]), torch.ones(300, 2)], 1)
    other = linear_probe(wide[:200], target[:200], wide[200:], target[200:])
    assert other.r2 == pytest.approx(one.r2, abs=1e-6)
    feature_maps = features.view(300, 5, 1, 1)
    third = linear_probe(feature_maps[:200], target[:200], feature_maps[200:], target[200:])
    assert third == one


def test_the_shuffled_control_is_seeded():
    features, target = drawn(60, 8), drawn(60, seed=1)
    sides = (features[:40], target[:40], features[40:], target[40:])
    assert linear_probe(*sides, seed=1) == linear_probe(*sides, seed=1)
    assert linear_probe(*sides, seed=1).shuffled != linear_probe(*sides, seed=2).shuffled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.zeros(9)}, "targets: expected one for each of seen, 10, got 9"),
        ({"truths": torch.zeros(3)}, "truths: expected one for each of unseen"),
        ({"unseen": torch.zeros(4, 3)}, "unseen: expected 2 columns, as seen has, got 3"),
        ({"truths": torch.rand(4, 2)}, "truths: expected 1 columns"),
        ({"targets": torch.ones(10)}, "targets: expected three or more that differ"),
        ({"truths": torch.ones(4)}, "truths: expected three or more that differ"),
        ({"seen": torch.full((10, 2), torch.nan)}, "seen: must be finite"),
        ({"seen": torch.tensor(1.0)}, "seen: expected one row an example"),
        ({"seed": -1}, "seed"),
        ({"penalties": ()}, "penalties: expected finite numbers above 0"),
        ({"penalties": (1.0, -1.0)}, "penalties: expected finite numbers above 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    given = {
        "seen": torch.rand(10, 2), "targets": torch.rand(10), "unseen": torch.rand(4, 2),
        "truths": torch.rand(4), **change,
    }  # fmt: skip
    options = {name: given.pop(name) for name in ("seed", "penalties") if name in given}
    with pytest.raises(ValueError, match=message):
        linear_probe(*given.values(), **options)
