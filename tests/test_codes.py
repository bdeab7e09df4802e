"""What a code is measured by and drawn from: against plain versions and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from aelib import measures, sampling

quick = settings(max_examples=25, deadline=None, derandomize=True)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def groups(n=90, gap=8.0, seed=0):
    """Three clouds in the plane, and which is whose."""
    labels = torch.arange(n) % 3
    centres = gap * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    return centres[labels] + normal(n, 2, seed=seed), labels


def test_the_spectrum_is_that_of_pca():
    codes = normal(50, 8) @ normal(8, 8, seed=1) + 3
    expected = PCA().fit(codes.numpy()).explained_variance_ * 49 / 50
    assert np.allclose(measures.spectrum(codes), expected)
    few = measures.spectrum(codes[:4])
    assert few.shape == (8,)
    assert np.allclose(few[3:], 0, atol=1e-12)
    images = codes.reshape(50, 2, 2, 2)
    assert torch.equal(measures.spectrum(images), measures.spectrum(codes))


def test_directions_for_counts_from_the_largest():
    assert measures.directions_for([1.0, 6.0, 3.0], 0.6) == 1
    assert measures.directions_for([1.0, 6.0, 3.0], 0.61) == 2
    assert measures.directions_for([1.0, 6.0, 3.0], 1.0) == 3
    assert measures.directions_for([1.0] * 20, 0.95) == 19
    assert measures.directions_for(torch.tensor([[3.0, 1.0], [1.0, 1.0]]), 0.7).tolist() == [1, 2]


@quick
@given(st.integers(5, 30), st.integers(1, 4), st.integers(0, 99))
def test_neighbours_agree_with_scikit_learn(n, k, seed):
    one, two = normal(n, 3, seed=seed), normal(n, 4, seed=seed + 1)
    labels = torch.arange(n) % 2

    def nearest(x):
        finder = NearestNeighbors(n_neighbors=k).fit(x.numpy())
        return finder.kneighbors(return_distance=False)

    here, there = nearest(one), nearest(two)
    common = [len(set(a) & set(b)) / k for a, b in zip(here, there, strict=True)]
    assert measures.shared_neighbors(one, two, k).tolist() == pytest.approx(common)
    own = (labels.numpy()[here] == labels.numpy()[:, None]).mean(1)
    assert measures.neighbor_purity(one, labels, k).tolist() == pytest.approx(own.tolist())


def test_neighbours_of_the_same_and_of_unrelated_descriptions():
    codes = normal(400, 5)
    turned = codes @ torch.linalg.qr(normal(5, 5, seed=1)).Q * 3 + 1
    assert measures.shared_neighbors(codes, turned).min() == 1
    unrelated = measures.shared_neighbors(codes, normal(400, 5, seed=2)).mean()
    assert float(unrelated) == pytest.approx(10 / 399, abs=0.01)
    parts, labels = groups()
    assert measures.neighbor_purity(parts, labels, 5).mean() > 0.99


def test_distance_moved_is_relative_to_the_start():
    path = torch.ones(3, 2, 1, 1, 4)
    path[1, 0] *= 1.5
    path[2, 1] = 0
    assert measures.distance_moved(path).tolist() == [[0, 0], [0.5, 0], [0, 1]]


def test_one_gaussian_has_the_codes_mean_and_covariance():
    codes = normal(500, 3) @ normal(3, 3, seed=1) + 2
    fitted = sampling.fit_code(codes)
    drawn = fitted.sample(200_000, seed=1)
    cover = codes.T.cov(correction=0)
    assert torch.allclose(drawn.mean(0), codes.mean(0), atol=0.03)
    assert torch.allclose(drawn.T.cov(), cover, atol=0.02 * float(cover.diagonal().max()))
    assert torch.equal(fitted.sample(5, seed=2), fitted.sample(5, seed=2))
    assert not torch.equal(fitted.sample(5, seed=2), fitted.sample(5, seed=3))


def test_a_mixture_finds_the_groups_and_draws_from_each():
    codes, labels = groups(600)
    fitted = sampling.fit_code(codes, components=3)
    centres = torch.stack([codes[labels == one].mean(0) for one in range(3)])
    apart = torch.cdist(fitted.means, centres)
    assert sorted(apart.argmin(1).tolist()) == [0, 1, 2]
    assert float(apart.min(1).values.max()) < 0.3
    nearest = torch.cdist(fitted.sample(3000), centres).min(1)
    assert (nearest.values < 4.5).all()
    assert nearest.indices.bincount().tolist() == pytest.approx([1000] * 3, rel=0.12)
    single = torch.cdist(sampling.fit_code(codes).sample(3000), centres).min(1).values
    assert (single > 4.5).double().mean() > 0.05  # one Gaussian fills the gaps


def test_directions_that_no_code_uses_do_no_harm():
    codes = torch.cat([normal(40, 2), torch.zeros(40, 3, dtype=torch.float64)], 1).float()
    for components in (1, 2):
        drawn = sampling.fit_code(codes, components).sample(100)
        assert drawn.dtype == torch.float32
        assert drawn[:, 2:].abs().max() < 0.01


def test_of_more_starts_the_likeliest_is_kept():
    codes = groups(60, gap=3.0)[0]

    def likelihood(seed, **options):
        fitted = sampling.fit_code(codes, 5, seed, **options)
        parts = torch.distributions.MultivariateNormal(fitted.means, scale_tril=fitted.factors)
        return (parts.log_prob(codes[:, None]) + fitted.weights.log()).logsumexp(1).mean()

    one, three = (
        torch.stack([likelihood(seed, **options) for seed in range(6)])
        for options in ({"n_init": 1}, {})
    )
    assert (three >= one - 1e-3).all()
    assert (three - one).mean() > 0.02


def test_the_environment_moves_the_mixture_s_seed(monkeypatch):
    codes = groups(60, gap=2.0)[0]
    expected = sampling.fit_code(codes, 5, seed=7, n_init=1)
    monkeypatch.setenv("AELIB_SEED_OFFSET", "4")
    assert torch.equal(sampling.fit_code(codes, 5, seed=3, n_init=1).means, expected.means)
    monkeypatch.setenv("AELIB_SEED_OFFSET", "-4")
    sampling.fit_code(codes, 5, seed=3)  # below 0, which scikit-learn does not take


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sampling.fit_code(normal(9, 3).reshape(9, 1, 3)), ValueError, "codes: .* flatten"),
        (lambda: sampling.fit_code(normal(9, 3), 5), ValueError, r"len\(codes\): expected 10 or"),
        (lambda: sampling.fit_code(normal(9, 3), 0), ValueError, "components"),
        (lambda: sampling.fit_code(normal(9, 3), 2, n_init=0), ValueError, "n_init"),
        (lambda: sampling.fit_code(torch.ones(9, 3)), ValueError, "codes: .* all equal"),
        (lambda: sampling.fit_code(normal(9, 3)).sample(0), ValueError, "n: "),
    ],
)
def test_what_cannot_be_fitted_or_drawn_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_neighbors_far_from_zero_are_those_of_another_library():
    codes = (normal(200, 2) + 1000).float()
    labels = torch.arange(200) // 4
    near = NearestNeighbors(n_neighbors=11).fit(codes.double().numpy())
    others = torch.from_numpy(near.kneighbors(codes.double().numpy())[1][:, 1:])
    expected = (labels[others] == labels[:, None]).double().mean(1)
    assert torch.allclose(measures.neighbor_purity(codes, labels).double(), expected, atol=0.101)
    assert abs(float(measures.neighbor_purity(codes, labels).mean() - expected.mean())) < 0.01
