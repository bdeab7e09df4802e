"""measures: the matched controls, a mixture's score, kurtosis; each against a closed form."""

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


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.01, 0.2, 0.5, 0.9, 1.0])
def test_a_matched_pca_errs_as_asked(share):
    net = measures.matched_pca(TRAIN, TEST, share * WORST)
    assert measures.clean_error(net, TEST).mean().item() == pytest.approx(
        share * WORST, rel=1e-9, abs=1e-15
    )


def test_a_matched_pca_at_a_whole_number_of_directions_is_that_pca():
    mean, directions, _ = measures.principal_directions(TRAIN)
    for k in (1, 7, 29):
        plain = measures.pca_reconstruct(TEST, mean, directions[:k])
        net = measures.matched_pca(TRAIN, TEST, float((plain - TEST).square().mean()))
        assert torch.allclose(net(TEST), plain, atol=1e-7)


def test_a_matched_pca_keeps_a_part_of_one_direction_only():
    net = measures.matched_pca(TRAIN, TEST, 0.3 * WORST)
    mean, directions, _ = measures.principal_directions(TRAIN)
    kept = net((mean + directions).reshape(-1, *SHAPE)).flatten(1) - mean
    shares = (kept @ directions.T).diagonal()
    inner = shares[(shares > 1e-9) & (shares < 1 - 1e-9)]
    assert len(inner) == 1
    assert torch.allclose(shares, shares.sort(descending=True).values)


def test_single_precision_and_a_set_with_few_images():
    train, test = data.load("digits").train[:20], data.load("digits").test[:30]
    for error in (0.0, 0.01, 0.03):
        net = measures.matched_pca(train, test, error)
        assert net(test).dtype == torch.float32
        assert measures.clean_error(net, test).mean().item() == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize("error", [0.0, 1e-3, 0.01])
def test_a_matched_blur_errs_as_asked(error):
    photos = data.load("photos", size=16).test[:40]
    net = measures.matched_blur(photos, error)
    assert measures.clean_error(net, photos).mean().item() == pytest.approx(
        error, rel=1e-3, abs=1e-9
    )
    assert net(photos).shape == photos.shape


def test_a_matched_blur_is_scipys():
    photos = data.load("photos", size=16).test[:10]
    blurred = torch.from_numpy(
        scipy.ndimage.gaussian_filter(photos.numpy(), (0, 0, 1.3, 1.3), mode="nearest")
    )
    net = measures.matched_blur(photos, float((blurred - photos).square().mean()))
    assert torch.allclose(net(photos), blurred, atol=1e-4)


def test_errors_out_of_reach_are_refused():
    with pytest.raises(
        ValueError, match=r"the mean of train alone leaves .*, and no PCA errs more"
    ):
        measures.matched_pca(TRAIN, TEST, 1.01 * WORST)
    with pytest.raises(ValueError, match="even a blur of 12 pixels leaves only"):
        measures.matched_blur(TEST, 10.0)
    for matched in (lambda e: measures.matched_pca(TRAIN, TEST, e),
                    lambda e: measures.matched_blur(TEST, e)):  # fmt: skip
        for wrong in (-1e-6, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="error must be 0 or more and finite"):
                matched(wrong)


def test_the_mean_image_answers_all_alike():
    net = measures.mean_image(TRAIN)
    assert torch.allclose(net(TEST[:3]), TRAIN.mean(0).expand(3, *SHAPE))
    assert measures.unexplained_variance(net, TRAIN) == pytest.approx(1)


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
    found = measures.mixture_score(POINTS, MEANS, variance, weights)
    assert torch.allclose(found, points.grad, rtol=1e-9)


def test_tweedie_gives_the_mean_of_the_clean_points():
    """The best denoiser, found by averaging, is x + σ² times the score."""
    clean = MEANS[torch.randint(3, (400_000,), generator=random.generator(0))]
    noisy = data.gaussian(0.5)(clean, random.generator(1))
    here = torch.tensor([[0.2, 0.3]], dtype=torch.float64)
    near = (noisy - here).norm(dim=1) < 0.05
    expected = clean[near].mean(0)
    found = here + 0.25 * measures.mixture_score(here, MEANS, 0.25)
    assert torch.allclose(found[0], expected, atol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variance": 0.0}, "variance must be above 0"),
        ({"points": POINTS[0]}, r"must be \(n, d\) and \(k, d\)"),
        ({"means": MEANS[:, :1]}, "must be"),
        ({"weights": torch.ones(2)}, "weights must be 3 finite numbers above 0"),
        ({"weights": torch.tensor([1.0, 0.0, 1.0])}, "weights"),
    ],
)
def test_a_mixture_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        measures.mixture_score(**{"points": POINTS, "means": MEANS, "variance": 1.0, **changes})


# --- Kurtosis ------------------------------------------------------------------------------------


def test_kurtosis_of_known_shapes():
    drawn = random.generator(0)
    shapes = {
        0.0: torch.randn(3, 1, 200, 200, generator=drawn),
        -1.2: torch.rand(3, 1, 200, 200, generator=drawn),
        -2.0: torch.randn(3, 1, 200, 200, generator=drawn).sign(),
    }
    for expected, images in shapes.items():
        found = measures.excess_kurtosis(5 + 0.1 * images)
        assert found.shape == (3,)
        assert torch.allclose(found, torch.tensor(expected), atol=0.06)


def test_kurtosis_is_scipys():
    images = torch.rand(4, 2, 5, 3, generator=random.generator(1)) ** 3
    expected = scipy.stats.kurtosis(images.flatten(1).double().numpy(), axis=1)
    np.testing.assert_allclose(measures.excess_kurtosis(images), expected, rtol=1e-5)


def test_kurtosis_of_a_flat_image_is_refused():
    images = torch.rand(4, 1, 5, 3)
    images[2] = 0.1 + torch.tensor([0, 1e-9, 0]).expand(1, 5, 3)
    with pytest.raises(ValueError, match="image 2 has no variance, so its kurtosis means nothing"):
        measures.excess_kurtosis(images)
