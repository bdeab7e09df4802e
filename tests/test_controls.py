"""measures: filters, a mixture's score, kurtosis; each against a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from aelib import data, measures, random

SHAPE = (1, 6, 5)


def smooth(count, seed):
    """Images whose directions differ in variance."""
    noise = torch.randn(count, 30, generator=random.generator(seed), dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(30, 30, generator=random.generator(9)).double()).Q
    return (0.3 + noise * torch.logspace(0, -2, 30) @ turned).reshape(count, *SHAPE)


TRAIN, TEST = smooth(200, 0), smooth(50, 1)
WORST = float((TEST - TRAIN.mean(0)).square().mean())


# --- Matched controls ----------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.01, 0.2, 0.5, 0.9, 1 - 1e-12, 1.0, 1 + 5e-10])
def test_a_matched_pca_errs_as_asked(share):
    model = measures.matched_pca(TRAIN, TEST, share * WORST)
    assert measures.clean_error(model, TEST).mean().item() == pytest.approx(
        share * WORST, rel=1e-9, abs=1e-15
    )


def test_a_matched_pca_at_a_whole_number_of_directions_is_that_pca():
    mean, directions, _ = measures.principal_directions(TRAIN)
    for k in (1, 7, 29):
        plain = measures.pca_reconstruct(TEST, mean, directions[:k])
        model = measures.matched_pca(TRAIN, TEST, float((plain - TEST).square().mean()))
        assert torch.allclose(model(TEST), plain, atol=1e-7)


def test_a_matched_pca_keeps_a_part_of_one_direction_only():
    model = measures.matched_pca(TRAIN, TEST, 0.3 * WORST)
    mean, directions, _ = measures.principal_directions(TRAIN)
    kept = model((mean + directions).reshape(-1, *SHAPE)).flatten(1) - mean
    shares = (kept @ directions.T).diagonal()
    inner = shares[(shares > 1e-9) & (shares < 1 - 1e-9)]
    assert len(inner) == 1
    assert torch.allclose(shares, shares.sort(descending=True).values)


def test_single_precision_and_a_set_with_few_images():
    train, test = data.load("digits").train[:20], data.load("digits").test[:30]
    for error in (0.0, 0.01, 0.03):
        model = measures.matched_pca(train, test, error)
        assert model(test).dtype == torch.float32
        assert measures.clean_error(model, test).mean().item() == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize("error", [0.0, 1e-3, 0.01])
def test_a_matched_blur_errs_as_asked(error):
    photos = data.load("photos", size=16).test[:40]
    model = measures.matched_blur(photos, error)
    assert measures.clean_error(model, photos).mean().item() == pytest.approx(
        error, rel=1e-3, abs=1e-9
    )
    assert model(photos).shape == photos.shape


def test_a_matched_blur_is_scipys():
    photos = data.load("photos", size=16).test[:10]
    blurred = torch.from_numpy(
        scipy.ndimage.gaussian_filter(photos.numpy(), (0, 0, 1.3, 1.3), mode="nearest")
    )
    model = measures.matched_blur(photos, float((blurred - photos).square().mean()))
    assert torch.allclose(model(photos), blurred, atol=1e-4)


def test_filters_keep_what_they_say():
    mean, directions, variances = measures.principal_directions(TRAIN)
    plain = measures.pca_reconstruct(TEST, mean, directions[:7])
    assert torch.equal(measures.pca_filter(TRAIN, 7)(TEST), plain)
    best = measures.linear_filter(TEST, mean, directions, variances / (variances + 0.01))
    assert torch.allclose(measures.wiener_filter(TRAIN, 0.1)(TEST), best)
    few = TRAIN[:4]  # three directions, and none of the many in which they do not vary
    assert torch.allclose(measures.pca_filter(few)(few), few)
    assert torch.allclose(measures.pca_filter(few)(TEST), measures.pca_filter(few, 3)(TEST))


def test_an_error_is_out_of_reach_by_more_than_a_rounding():
    with pytest.raises(ValueError, match="no PCA errs more"):
        measures.matched_pca(TRAIN, TEST, (1 + 1e-8) * WORST)


def test_the_mean_image_answers_all_alike():
    model = measures.mean_image(TRAIN)
    assert torch.allclose(model(TEST[:3]), TRAIN.mean(0).expand(3, *SHAPE))
    assert measures.unexplained_variance(model, TRAIN) == pytest.approx(1)


# --- Scores --------------------------------------------------------------------------------------

MEANS = torch.tensor([[1.0, 0.0], [-0.5, 0.8], [0.0, -1.0]], dtype=torch.float64)
POINTS = torch.randn(40, 2, generator=random.generator(2), dtype=torch.float64)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 5.0])])
@pytest.mark.parametrize("variance", [1e-3, 0.3, 4.0])
def test_the_score_of_a_mixture_is_the_gradient_of_its_log_density(variance, weights):
    from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

    shares = torch.ones(3) if weights is None else weights
    mixture = MixtureSameFamily(
        Categorical(shares.double()), Independent(Normal(MEANS, variance**0.5), 1)
    )
    points = POINTS.clone().requires_grad_()
    mixture.log_prob(points).sum().backward()
    result = measures.mixture_score(POINTS, MEANS, variance, weights)
    assert torch.allclose(result, points.grad, rtol=1e-9)


def test_tweedie_gives_the_mean_of_the_clean_points():
    """The best denoiser, result by averaging, is x + σ² times the score."""
    clean = MEANS[torch.randint(3, (400_000,), generator=random.generator(0))]
    noisy = data.gaussian(0.5)(clean, random.generator(1))
    here = torch.tensor([[0.2, 0.3]], dtype=torch.float64)
    near = (noisy - here).norm(dim=1) < 0.05
    expected = clean[near].mean(0)
    result = here + 0.25 * measures.mixture_score(here, MEANS, 0.25)
    assert torch.allclose(result[0], expected, atol=0.05)


# --- Kurtosis ------------------------------------------------------------------------------------


def test_kurtosis_of_known_shapes():
    drawn = random.generator(0)
    shapes = {
        0.0: torch.randn(3, 1, 200, 200, generator=drawn),
        -1.2: torch.rand(3, 1, 200, 200, generator=drawn),
        -2.0: torch.randn(3, 1, 200, 200, generator=drawn).sign(),
    }
    for expected, images in shapes.items():
        result = measures.excess_kurtosis(5 + 0.1 * images)
        assert result.shape == (3,)
        assert torch.allclose(result, torch.tensor(expected), atol=0.06)


def test_kurtosis_is_scipys():
    images = torch.rand(4, 2, 5, 3, generator=random.generator(1)) ** 3
    expected = scipy.stats.kurtosis(images.flatten(1).double().numpy(), axis=1)
    np.testing.assert_allclose(measures.excess_kurtosis(images), expected, rtol=1e-5)
