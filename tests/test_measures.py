"""Each measure against a closed form, a slow plain version or another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from torch import nn

from aelib import data, measures, models
from aelib.measures import evaluate

quick = settings(max_examples=30, deadline=None, derandomize=True)
small = st.floats(-2, 2, allow_subnormal=False)


def pictures(n=5, channels=1, size=4, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=source, dtype=dtype)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def identity(images):
    return images


def linear(matrix, shift=0.0):
    """The model O(x) = Wx + shift on flattened images."""
    return lambda images: (images.flatten(1) @ matrix.T + shift).reshape(images.shape)


def white(sigma):
    def add(images, generator):
        return images + sigma * torch.randn(images.shape, generator=generator).to(images)

    return add


def conv_model(dtype=torch.float64):
    """Batch norm and dropout in it, so that its mode shows; left in training mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 1, 3, padding=1),
    ).to(dtype)


def orthonormal(k, d, seed=0):
    return torch.linalg.qr(normal(d, k, seed=seed)).Q.T


# --- Copying and denoising -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identity_copies_everything_exactly(dtype):
    images = pictures(dtype=dtype)
    kappa, tau = measures.response(identity, images, 0.2)
    for result, expected in [
        (kappa, 1),
        (tau, 1),
        (measures.clean_error(identity, images), 0),
        (measures.denoising_gain(identity, images, white(0.2)), 0),
    ]:
        assert result.dtype == dtype
        assert result.tolist() == [expected] * 5
    assert measures.unexplained_variance(identity, images) == 0


@quick
@given(alpha=small, sigma=st.floats(0.01, 3))
def test_scaling_net(alpha, sigma):
    images = pictures()
    kappa, tau = measures.response(lambda x: alpha * x, images, sigma)
    np.testing.assert_allclose(kappa, np.full(5, alpha), atol=1e-9)
    np.testing.assert_allclose(tau, np.full(5, alpha**2), atol=1e-9)
    alone = measures.copy_coefficient(lambda x: alpha * x, images, sigma)
    assert torch.equal(alone, kappa)
    alone = measures.transmission(lambda x: alpha * x, images, sigma)
    assert torch.equal(alone, tau)
    result = measures.clean_error(lambda x: alpha * x, images)
    np.testing.assert_allclose(result, (1 - alpha) ** 2 * (images**2).mean((1, 2, 3)))


def test_linear_net_has_trace_and_frobenius_norm():
    matrix = normal(16, 16)
    kappa, tau = measures.response(linear(matrix), pictures(3000), 0.1)
    for result, expected in [(kappa, matrix.trace() / 16), (tau, matrix.square().sum() / 16)]:
        assert abs(result.mean() - expected) < 4 * result.std() / math.sqrt(3000)
        assert result.std() / math.sqrt(3000) < 0.02 * matrix.square().sum()


def test_response_along_one_direction_is_exact():
    matrix, rows = normal(16, 16), orthonormal(16, 16, seed=1)
    for row in rows[:4]:
        kappa, tau = measures.response(linear(matrix), pictures(), 0.3, directions=row[None])
        np.testing.assert_allclose(kappa, np.full(5, float(row @ matrix @ row)))
        np.testing.assert_allclose(tau, np.full(5, float((matrix @ row).square().sum())))


def test_projector_copies_inside_and_not_outside():
    rows = orthonormal(16, 16)
    inside, outside = rows[:5], rows[5:]
    model = linear(inside.T @ inside)
    for directions, expected in [(inside, 1), (outside, 0)]:
        for result in measures.response(model, pictures(), 0.3, directions=directions):
            np.testing.assert_allclose(result, np.full(5, expected), atol=1e-12)
    kappa = measures.copy_coefficient(model, pictures(2000), 0.3)
    assert abs(kappa.mean() - 5 / 16) < 0.01
    np.testing.assert_allclose(kappa, measures.transmission(model, pictures(2000), 0.3))  # P = P²


def test_response_is_a_ratio_of_means_over_draws():
    images, source = pictures(), torch.Generator().manual_seed(7)
    clean, overlap, passed, energy = images.numpy() ** 3, 0, 0, 0
    for _ in range(4):
        noise = 0.5 * torch.randn(images.shape, generator=source).double().numpy()
        change = (images.numpy() + noise) ** 3 - clean
        overlap = overlap + (change * noise).sum((1, 2, 3))
        passed = passed + (change**2).sum((1, 2, 3))
        energy = energy + (noise**2).sum((1, 2, 3))
    result = measures.response(lambda x: x**3, images, 0.5, draws=4, seed=7)
    np.testing.assert_allclose(result.copy, overlap / energy, rtol=1e-9)
    np.testing.assert_allclose(result.transmission, passed / energy, rtol=1e-9)
    assert (result.copy**2 <= result.transmission).all()


def test_denoising_gain_against_a_plain_loop():
    images, model = pictures(), linear(normal(16, 16) / 4)
    result = measures.denoising_gain(model, images, white(0.3), seed=5)
    noisy = white(0.3)(images, torch.Generator().manual_seed(5))
    for gain, a, x in zip(result, images, noisy, strict=True):
        before, after = np.linalg.norm(x - a), np.linalg.norm(model(x[None])[0] - a)
        assert float(gain) == pytest.approx(20 * math.log10(before / after))
    known = measures.denoising_gain(lambda x: images, images, white(0.3))
    assert known.tolist() == [math.inf] * 5


def test_denoising_gain_of_the_document_s_shifted_noise():
    images = pictures(40, size=8)
    noise = data.gaussian(0.2, mean=0.7)
    result = measures.denoising_gain(lambda x: x - 0.7, images, noise)  # takes the shift away
    expected = 10 * math.log10((0.7**2 + 0.2**2) / 0.2**2)
    assert float(result.mean()) == pytest.approx(expected, abs=0.2)


def test_predicted_gain_is_the_measured_one_for_a_linear_net():
    rows = orthonormal(16, 16)
    model, images = linear(0.9 * rows[:6].T @ rows[:6]), 0.3 * pictures(4000)
    error = measures.clean_error(model, images).mean()
    tau = measures.transmission(model, images, 0.2).mean()
    noisy = white(0.2)(images, torch.Generator().manual_seed(0))
    pooled = 10 * torch.log10(
        (noisy - images).square().sum() / (model(noisy) - images).square().sum()
    )
    assert measures.predicted_gain(error, 0.2, tau) == pytest.approx(float(pooled), abs=0.03)


@quick
@given(error=st.floats(1e-6, 1), tau=st.floats(0, 0.99))
def test_break_even_is_where_the_predicted_gain_is_zero(error, tau):
    sigma = measures.break_even_noise(error, tau)
    assert measures.predicted_gain(error, sigma, tau) == pytest.approx(0, abs=1e-9)
    assert (
        measures.predicted_gain(error, sigma / 2, tau)
        < 0
        < measures.predicted_gain(error, sigma * 2, tau)
    )


def test_gain_formulas_at_their_ends():
    assert measures.break_even_noise(0.1, 1.0) == math.inf
    assert measures.break_even_noise(0.0, 1.5) == math.inf
    assert measures.break_even_noise(0.0, 0.5) == 0
    assert measures.predicted_gain(0.0, 0.1, 0.0) == math.inf


def test_unexplained_variance_against_scikit_learn():
    images = pictures(40)
    images[0] = images.mean()  # a flat image must not weigh more
    model = linear(normal(16, 16) / 8, shift=0.2)
    r2 = r2_score(images.flatten(1), model(images).flatten(1), multioutput="variance_weighted")
    assert measures.unexplained_variance(model, images) == pytest.approx(1 - r2)
    mean = torch.full((16,), 0.3, dtype=torch.float64)
    answer = measures.unexplained_variance(lambda x: torch.full_like(x, 0.3), images, mean)
    assert answer == pytest.approx(1)


# --- The linear world ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [60, 9])
def test_principal_directions_against_scikit_learn(n):
    images = pictures(n)
    mean, directions, variances = measures.principal_directions(images)
    rank = min(n - 1, 16)
    pca = PCA(n_components=rank, svd_solver="full").fit(images.flatten(1).numpy())
    np.testing.assert_allclose(mean, pca.mean_)
    np.testing.assert_allclose(variances[:rank], pca.explained_variance_ * (n - 1) / n, rtol=1e-9)
    np.testing.assert_allclose(variances[rank:], 0, atol=1e-25)
    aligned = (directions[:rank].numpy() * pca.components_).sum(1)
    np.testing.assert_allclose(np.abs(aligned), 1, rtol=1e-9)
    np.testing.assert_allclose(directions @ directions.T, torch.eye(16), atol=1e-12)
    assert (directions.gather(1, directions.abs().argmax(1)[:, None]) > 0).all()
    assert float(variances.sum()) == pytest.approx(
        float((images - images.mean(0)).square().flatten(1).sum(1).mean())
    )
    first = measures.principal_directions(images, 3)
    assert [part.shape for part in first] == [(16,), (3, 16), (3,)]
    assert torch.equal(first[1], directions[:3])


def test_pca_reconstruct_against_scikit_learn():
    images, others = pictures(60), pictures(7, seed=1)
    pca = PCA(n_components=4, svd_solver="full").fit(images.flatten(1).numpy())
    mean, directions, variances = measures.principal_directions(images)
    result = measures.pca_reconstruct(others, mean, directions[:4])
    expected = pca.inverse_transform(pca.transform(others.flatten(1).numpy()))
    np.testing.assert_allclose(result.flatten(1), expected)
    kept = measures.pca_reconstruct(images, mean, directions[:4])
    lost = measures.unexplained_variance(lambda x: kept, images)
    assert lost == pytest.approx(float(variances[4:].sum() / variances.sum()))


def test_wiener_filter_against_its_matrix():
    images, others = pictures(60), pictures(7, seed=1)
    flat = images.flatten(1).numpy()
    covariance = np.cov(flat.T, bias=True)
    matrix = covariance @ np.linalg.inv(covariance + 0.3**2 * np.eye(16))
    expected = flat.mean(0) + (others.flatten(1).numpy() - flat.mean(0)) @ matrix.T
    result = measures.wiener_filter(images, 0.3)(others)
    np.testing.assert_allclose(result.flatten(1), expected)


def test_filter_gains_against_monte_carlo():
    d, sigma = 16, 0.4
    rows, mean = orthonormal(d, d), normal(d, seed=3)
    variances = torch.logspace(0, -3, d, dtype=torch.float64)
    clean = mean + normal(20_000, d, seed=1) * variances.sqrt() @ rows
    clean = clean.reshape(-1, 1, 4, 4)
    noisy = clean + sigma * normal(*clean.shape, seed=2)
    shares = torch.linspace(1.1, 0, d, dtype=torch.float64)
    for cleaned, expected in [
        (
            measures.linear_filter(noisy, mean, rows, variances / (variances + sigma**2)),
            measures.wiener_gain(variances, sigma),
        ),
        (
            measures.pca_reconstruct(noisy, mean, rows[:5]),
            measures.truncated_pca_gain(variances, 5, sigma),
        ),
        (
            measures.linear_filter(noisy, mean, rows, shares),
            measures.filter_gain(variances, shares, sigma),
        ),
    ]:
        ratio = (noisy - clean).square().sum() / (cleaned - clean).square().sum()
        assert expected == pytest.approx(10 * math.log10(ratio), abs=0.03)
        assert expected > 1


@quick
@given(
    variances=st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=6),
    sigma=st.floats(0.05, 2),
    data=st.data(),
)
def test_no_filter_beats_wiener(variances, sigma, data):
    best = measures.wiener_gain(variances, sigma)
    assert best > 0
    shares = data.draw(st.lists(small, min_size=len(variances), max_size=len(variances)))
    assert measures.filter_gain(variances, shares, sigma) <= best + 1e-9
    for keep in range(len(variances) + 1):
        left = sum(variances[keep:]) / sigma**2 + keep
        expected = -10 * math.log10(left / len(variances)) if left else math.inf
        result = measures.truncated_pca_gain(variances, keep, sigma)
        assert result == pytest.approx(expected, abs=1e-9)
        assert result <= best + 1e-9


def test_keeping_all_directions_gains_nothing():
    assert measures.truncated_pca_gain([3.0, 2.0, 0.0], 3, 0.5) == 0
    assert measures.wiener_gain([0.25, 0.25], 0.5) == pytest.approx(10 * math.log10(2))
    assert measures.wiener_gain([0.0, 0.0], 0.5) == math.inf
    shares = torch.rand(4, 3, 2)  # several filters at once
    gains = measures.filter_gain([1.0, 0.1], shares, 0.2)
    np.testing.assert_allclose(
        gains[2], [measures.filter_gain([1.0, 0.1], x, 0.2) for x in shares[2]]
    )


@quick
@given(k=st.integers(1, 5), seed=st.integers(0, 1000))
def test_subspace_distance_against_principal_angles(k, seed):
    first, second = normal(k, 10, seed=seed), normal(k, 10, seed=seed + 1)
    angles = scipy.linalg.subspace_angles(first.T.numpy(), second.T.numpy())
    expected = math.sqrt((np.sin(angles) ** 2).mean())
    assert measures.subspace_distance(first, second) == pytest.approx(expected, abs=1e-9)
    projectors = [torch.linalg.pinv(rows) @ rows for rows in (first, second)]
    plain = float((projectors[0] - projectors[1]).norm() / math.sqrt(2 * k))
    assert measures.subspace_distance(second, first) == pytest.approx(plain, abs=1e-9)
    mixed = (normal(k, k, seed=seed) + 5 * torch.eye(k)) @ first
    assert measures.subspace_distance(first, mixed) < 1e-13


def test_subspace_distance_at_its_ends():
    rows = orthonormal(6, 6)
    assert measures.subspace_distance(rows[:3], rows[3:]) == pytest.approx(1)
    turned = rows[:1] + 1e-10 * rows[1:2]  # a small angle survives rounding
    assert measures.subspace_distance(rows[:1], turned) == pytest.approx(1e-10, rel=1e-4)


@quick
@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=8), st.floats(1e-200, 1e200))
def test_effective_rank_against_its_formula(values, scale):
    result = float(measures.effective_rank(torch.tensor(values, dtype=torch.float64)))
    assert result == pytest.approx(sum(values) ** 2 / sum(value**2 for value in values))
    assert 1 - 1e-9 <= result <= len(values) + 1e-9
    scaled = torch.tensor(values, dtype=torch.float64) * scale
    assert float(measures.effective_rank(scaled)) == pytest.approx(result)


def test_effective_rank_of_known_spectra():
    result = measures.effective_rank(torch.tensor([[1.0, 1, 1, 1], [5, 0, 0, 0], [2, 2, 0, 0]]))
    assert result.tolist() == [4, 1, 2]
    assert float(measures.effective_rank([0.1, 0.3])) == pytest.approx(1.6, abs=1e-12)


# --- The Jacobian --------------------------------------------------------------------------------


def test_jacobian_against_autograd_and_finite_differences(monkeypatch):
    model, image = conv_model().eval(), pictures(1)[0]
    expected = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], image).reshape(
        16, 16
    )
    np.testing.assert_allclose(measures.jacobian(model, image), expected, atol=1e-12)
    step = 1e-6 * torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    with torch.no_grad():
        slopes = ((model(image + step) - model(image - step)) / 2e-6).flatten(1).T
    np.testing.assert_allclose(measures.jacobian(model, image), slopes, atol=1e-8)
    monkeypatch.setattr(evaluate, "MAX_IMAGES", 5)
    with torch.no_grad():  # also where the caller has switched gradients off
        np.testing.assert_allclose(measures.jacobian(model, image[None]), expected, atol=1e-12)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("model", [lambda x: x.detach() * 2, torch.zeros_like])
def test_jacobian_refuses_to_guess(model):
    with pytest.raises(ValueError, match=r"model: .* no gradient"):
        measures.jacobian(model, pictures(1)[0])
    bias = nn.Parameter(torch.zeros(1, 1, 4, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"model: .* no gradient"):
        measures.jacobian(lambda x: model(x) + bias, pictures(1)[0])


def test_spectral_radius_of_known_matrices():
    turn = torch.tensor([[0.0, -1.5], [1.5, 0.0]], dtype=torch.float64)  # eigenvalues ±1.5i
    steep = torch.tensor([[0.5, 100.0], [0.0, -0.6]], dtype=torch.float64)  # far from normal
    images = pictures(3)[:, :, :2, :1]
    for matrix, radius in [(turn, 1.5), (steep, 0.6)]:
        result = measures.spectral_radius(linear(matrix), images)
        np.testing.assert_allclose(result, [radius] * 3)
        stretched = measures.singular_values(linear(matrix), images)
        np.testing.assert_allclose(stretched, [np.linalg.svd(matrix, compute_uv=False)] * 3)


def test_spectra_of_a_nonlinear_net_image_by_image():
    model, images = conv_model(torch.float32), pictures(3, dtype=torch.float32)
    radii, stretched = (
        measures.spectral_radius(model, images),
        measures.singular_values(model, images),
    )
    for image, radius, values in zip(images, radii, stretched, strict=True):
        matrix = measures.jacobian(model, image).double().numpy()
        assert float(radius) == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-5)
        np.testing.assert_allclose(values, np.linalg.svd(matrix, compute_uv=False), atol=1e-6)
    assert radii.std() > 1e-4


# --- Memory --------------------------------------------------------------------------------------


def snap(training):
    """A model with perfect memory: answers the nearest training image."""

    def model(images):
        distances = (images[:, None] - training[None]).flatten(2).norm(dim=2)
        return training[distances.argmin(1)]

    return model


def test_memory_of_a_net_that_snaps():
    training, starts = pictures(6), pictures(40, seed=1)
    result = measures.memory(snap(training), training, starts, times=3)
    distances = (starts[:, None] - training[None]).flatten(2).norm(dim=2)
    lengths = training.flatten(1).norm(dim=1)
    which = distances.argmin(1)
    assert result.recalled.all()
    assert torch.equal(result.nearest, which)
    assert result.distance.tolist() == [0] * 40
    np.testing.assert_allclose(result.began, distances.min(1).values / lengths[which])
    np.testing.assert_allclose(result.moved, result.began)


def test_memory_draws_in_slowly():
    training = pictures(1) + 0.5

    def model(x):
        return training + 0.99 * (x - training)

    starts = pictures(8, seed=1)
    assert measures.memory(model, training, starts, times=1000).recalled.all()
    assert not measures.memory(model, training, starts, times=10).recalled.any()


@pytest.mark.parametrize(
    ("end", "tolerance", "expected"),
    [(1.04, 0.05, True), (1.06, 0.05, False), (1.06, 0.1, True), (0.96, 0.05, True)],
)
def test_memory_within_the_tolerance(end, tolerance, expected):
    training = pictures(2) + torch.tensor([0.0, 3.0])[:, None, None, None]

    def model(x):
        return (end * training[1]).expand_as(x)

    result = measures.memory(model, training, torch.zeros_like(training), 2, tolerance)
    assert result.recalled.tolist() == [expected] * 2
    np.testing.assert_allclose(result.distance, [abs(end - 1)] * 2)
    assert result.nearest.tolist() == [1, 1]


def test_standing_still_is_not_memory():
    training = pictures(6)
    near = training * 1.01
    for starts in (training, near, pictures(6, seed=1)):
        result = measures.memory(identity, training, starts, times=5)
        assert not result.recalled.any()
        assert result.moved.tolist() == [0] * 6
    assert not measures.memory(snap(training), training, near, times=2).recalled.any()


def test_divergence_is_not_memory():
    training = pictures(3, dtype=torch.float32)
    starts = torch.stack([training[0] * 0.5, training[1] * 2, training[2] * 0])

    def model(images):  # bright images explode to infinity and NaN, dim ones come home
        dim = images.flatten(1).norm(dim=1) < training[0].norm() * 1.2  # false for NaN
        return torch.where(dim[:, None, None, None], training[:1], images.square() * 10 - images)

    result = measures.memory(model, training, starts, times=200)
    assert result.recalled.tolist() == [True, False, True]
    assert result.nearest.tolist() == [0, -1, 0]
    assert result.distance[1] == result.moved[1] == result.began[1] == math.inf
    assert not measures.iterate(model, starts, 200)[1].isfinite().all()


def test_iterate_against_a_plain_loop(monkeypatch):
    images, model = pictures(7), linear(normal(16, 16) / 5, shift=0.1)
    expected = images
    for _ in range(6):
        expected = model(expected)
    np.testing.assert_allclose(measures.iterate(model, images, 6), expected)
    monkeypatch.setattr(evaluate, "MAX_IMAGES", 3)
    np.testing.assert_allclose(measures.iterate(model, images, 6), expected)
    assert torch.equal(measures.iterate(model, images, 0), images)


def test_iterate_stops_when_nothing_changes():
    calls = []

    def model(x):
        return calls.append(1) or torch.ceil(x)

    assert torch.equal(measures.iterate(model, pictures(), 1000), torch.ones(5, 1, 4, 4).double())
    assert len(calls) == 2
    # a cycle of two never stands still
    assert torch.equal(measures.iterate(torch.neg, pictures(), 1001), -pictures())
    assert torch.equal(measures.iterate(torch.neg, pictures(), 1000), pictures())


def test_nearest_training_against_numpy(monkeypatch):
    images, training = pictures(7, dtype=torch.float32), pictures(9, seed=1, dtype=torch.float32)
    images[2] = training[4]  # exactly 0, which the quick formula for distances misses
    table = np.linalg.norm((images[:, None] - training[None]).flatten(2).double(), axis=2)
    for size in (1024, 2):
        monkeypatch.setattr(evaluate, "MAX_IMAGES", size)
        result = measures.nearest_training(images, training)
        np.testing.assert_allclose(result.distances, table.min(1), rtol=1e-6)
        assert result.indices.tolist() == table.argmin(1).tolist()
        assert result.distances[2] == 0
    assert torch.equal(measures.nearest_distance(images, training), result.distances)


def test_nearer_training():
    training, images = pictures(6), pictures(10, seed=1)
    assert measures.nearer_training(snap(training), images, training).all()
    assert not measures.nearer_training(identity, images, training).any()
    twin = training[:1]
    assert not measures.nearer_training(identity, twin, training).any()  # a tie is not nearer
    for share, expected in [(0.4, False), (0.6, True)]:  # of the way to the only training image
        model = linear((1 - share) * torch.eye(16).double(), share * twin.flatten())
        assert measures.nearer_training(model, images, twin).tolist() == [expected] * 10


# --- Looking at images ---------------------------------------------------------------------------


def test_sharpness_against_scipy():
    images = pictures(4, channels=3, size=7)
    result = measures.sharpness(images)
    for value, image in zip(result, images.numpy(), strict=True):
        edges = [scipy.ndimage.laplace(channel)[1:-1, 1:-1] for channel in image]
        assert float(value) == pytest.approx(np.abs(edges).mean())
    np.testing.assert_allclose(measures.sharpness(0.5 * images + 0.3), 0.5 * result)
    blurred = scipy.ndimage.gaussian_filter(images.numpy(), (0, 0, 1, 1))
    assert (measures.sharpness(torch.from_numpy(blurred)) < 0.3 * result).all()
    assert measures.sharpness(torch.full((1, 1, 3, 3), 0.5)).tolist() == [0]
    kept = measures.relative_sharpness(torch.from_numpy(blurred), images)
    assert kept == pytest.approx(
        float(measures.sharpness(torch.from_numpy(blurred)).mean() / result.mean())
    )
    assert measures.relative_sharpness(
        images[:1].expand(9, -1, -1, -1), images[:1]
    ) == pytest.approx(1)


def test_psnr_against_scikit_image():
    images, reference = pictures(4, channels=3), pictures(4, channels=3, seed=1)
    for value, image, other in zip(
        measures.psnr(images, reference), images, reference, strict=True
    ):
        expected = peak_signal_noise_ratio(other.numpy(), image.numpy(), data_range=1)
        assert float(value) == pytest.approx(expected)
    assert measures.psnr(images, images).tolist() == [math.inf] * 4


@quick
@given(scale=st.floats(0.01, 100), shift=st.floats(-2, 2))
def test_correlation_against_numpy(scale, shift):
    outputs, inputs = pictures(4), pictures(4, seed=1)
    result = measures.correlation(scale * outputs + shift, inputs)
    for value, image, other in zip(result, outputs, inputs, strict=True):
        assert float(value) == pytest.approx(np.corrcoef(image.flatten(), other.flatten())[0, 1])
    np.testing.assert_allclose(measures.correlation(-scale * inputs + shift, inputs), [-1] * 4)


def test_correlation_with_a_constant():
    outputs, inputs = pictures(2, dtype=torch.float32), pictures(2, dtype=torch.float32)
    outputs[1] = 0.1
    assert measures.correlation(outputs, inputs).tolist() == [pytest.approx(1), 0]
    outputs[1] = 0
    assert measures.correlation(outputs, inputs)[1] == 0


# --- A mean over seeds ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_interval_against_scipy(n, level):
    values = normal(n, seed=n).tolist()
    low, high = scipy.stats.t.interval(level, n - 1, np.mean(values), scipy.stats.sem(values))
    assert measures.interval(values, level) == pytest.approx((np.mean(values), low, high))


@pytest.mark.parametrize("n", [3, 6, 10])
def test_interval_holds_the_mean_as_often_as_it_says(n):
    draws = normal(20_000 * n, seed=n).view(-1, n).tolist()
    held = np.mean([low <= 0 <= high for _, low, high in map(measures.interval, draws)])
    assert held == pytest.approx(0.95, abs=0.006)  # four standard errors


def test_interval_of_ratios_holds_the_geometric_mean_as_often_as_it_says():
    draws = (1.5 * normal(30_000) + 2).exp().view(-1, 6).tolist()
    held = [
        low <= math.exp(2) <= high
        for _, low, high in (measures.interval(d, log=True) for d in draws)
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.013)
    plain = [
        low <= math.exp(2 + 1.5**2 / 2) <= high for _, low, high in map(measures.interval, draws)
    ]
    assert np.mean(plain) < 0.9  # which is why


def test_interval_of_equal_values_has_no_width():
    assert measures.interval([0.1] * 3) == (0.1, 0.1, 0.1)  # though (.1 + .1 + .1) / 3 > .1
    assert measures.interval([0.1] * 3, log=True) == (0.1, 0.1, 0.1)


@quick
@given(
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=9),
    level=st.floats(0.5, 0.99),
    shift=st.floats(-10, 10),
)
def test_interval_follows_what_was_seen(values, level, shift):
    result = measures.interval(values, level)
    assert result.low <= result.value <= result.high
    turned = measures.interval([shift - value for value in values], level)
    expected = (shift - result.value, shift - result.high, shift - result.low)
    assert turned == pytest.approx(expected, abs=1e-6)


# --- What all of them share ----------------------------------------------------------------------

PER_IMAGE = {
    "outputs": measures.outputs,
    "clean_error": measures.clean_error,
    "denoising_gain": lambda model, images: measures.denoising_gain(model, images, white(0.2)),
    "copy_coefficient": lambda model, images: measures.copy_coefficient(model, images, 0.2),
    "transmission": lambda model, images: measures.transmission(
        model, images, 0.2, directions=torch.eye(16)
    ),
    "spectral_radius": measures.spectral_radius,
    "singular_values": measures.singular_values,
    "leading_singular_values": lambda model, images: (
        measures.leading_singular_values(model, images, 3).values
    ),
    "iterate": lambda model, images: measures.iterate(model, images, 3),
    "memory": lambda model, images: measures.memory(model, pictures(3, seed=2), images, 3).distance,
    "nearer_training": lambda model, images: measures.nearer_training(model, images, pictures(3)),
}


@pytest.mark.parametrize("name", PER_IMAGE)
def test_one_value_per_image_mode_batches_and_gradients(name, monkeypatch):
    measure, images = PER_IMAGE[name], pictures(5)
    model, kept = conv_model(), pictures(5)
    model[1].eval()  # frozen by the caller, and to stay so
    statistics = model[1].running_mean.clone()
    whole = measure(model, images)
    assert len(whole) == 5
    assert not whole.requires_grad
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert torch.equal(model[1].running_mean, statistics)
    assert torch.equal(images, kept)
    assert torch.equal(whole, measure(model.eval(), images))
    alone = measure(model, images[:1])
    np.testing.assert_allclose(alone, whole[:1], rtol=1e-9)
    monkeypatch.setattr(evaluate, "MAX_ELEMENTS", 2 * 16)  # two images a batch
    np.testing.assert_allclose(measure(model, images), whole, rtol=1e-9)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_mode_comes_back_after_an_exception(name):
    class Failing(nn.Module):
        def forward(self, images):
            assert not self.training
            raise ArithmeticError("inside")

    model = nn.Sequential(nn.Dropout(), Failing())
    with pytest.raises(ArithmeticError, match="inside"):
        PER_IMAGE[name](model, pictures())
    assert all(module.training for module in model.modules())


def test_mode_of_the_module_behind_a_method():
    model = nn.Dropout()
    assert measures.clean_error(model.forward, pictures()).tolist() == [0] * 5
    assert model.training


def test_a_plain_function_keeps_its_mode():
    model = nn.Dropout()
    assert (measures.clean_error(lambda x: model(x), pictures()) > 0).all()


def test_batches_are_small_enough(monkeypatch):
    sizes = []

    def model(images):
        sizes.append(len(images))
        return images

    monkeypatch.setattr(evaluate, "MAX_IMAGES", 3)
    measures.clean_error(model, pictures(7))
    monkeypatch.setattr(evaluate, "MAX_ELEMENTS", 40)  # two images of 16
    measures.clean_error(model, pictures(3))
    monkeypatch.setattr(evaluate, "MAX_ELEMENTS", 5)  # less than an image
    measures.clean_error(model, pictures(2))
    assert sizes == [3, 3, 1, 2, 1, 1, 1]


def test_in_place_nets_leave_the_images_alone():
    images, training = pictures() - 0.5, pictures(2)
    model, kept = nn.ReLU(inplace=True), images.clone()
    np.testing.assert_allclose(
        measures.clean_error(model, images), kept.clamp_max(0).square().mean((1, 2, 3))
    )
    for measure in PER_IMAGE.values():
        measure(model, images)
    measures.memory(model, training, images, 3)
    assert torch.equal(images, kept)


def test_seed_or_generator():
    model, images = conv_model(torch.float32), pictures(dtype=torch.float32)
    first = measures.copy_coefficient(model, images, 0.2, seed=3)
    assert torch.equal(first, measures.copy_coefficient(model, images, 0.2, seed=3))
    assert not torch.equal(first, measures.copy_coefficient(model, images, 0.2, seed=4))
    source = torch.Generator().manual_seed(3)
    assert torch.equal(first, measures.copy_coefficient(model, images, 0.2, seed=source))
    assert not torch.equal(first, measures.copy_coefficient(model, images, 0.2, seed=source))
    state = torch.get_rng_state()
    measures.denoising_gain(model, images, white(0.2))
    assert torch.equal(torch.get_rng_state(), state)
    double = measures.copy_coefficient(model.double(), images.double(), 0.2, seed=3)
    np.testing.assert_allclose(first, double, rtol=1e-3)  # the same noise in either dtype


# --- Seeds as an axis ----------------------------------------------------------------------------

MODELS = [conv_model(), linear(normal(16, 16) / 4), identity]
SETS = [pictures(6, seed=seed) for seed in (1, 2, 3)]
FIXED = pictures(6)
LABELS = torch.tensor([0, 0, 0, 1, 1, 1])
OVER_MODELS = {
    **PER_IMAGE,
    "response": lambda model, images: measures.response(model, images, 0.1),
    "memory": lambda model, images: measures.memory(model, pictures(3), images, 3),
    "unexplained_variance": measures.unexplained_variance,
    "jacobian": lambda model, images: measures.jacobian(model, images[0]),
    "image_features": measures.image_features,
    "classifier_score": measures.classifier_score,
}


class Each(list):
    """An argument given one a seed."""


BASES = [orthonormal(2, 16, seed=seed) for seed in (1, 2, 3)]
ROWS, Y = list(normal(3, 6, 2)), FIXED.sum(3).flatten(1)
OVER_OTHERS = [
    (measures.outputs, torch.relu, Each(SETS)),
    (measures.nearer_training, Each(MODELS), Each(SETS), Each(SETS)),
    (measures.unexplained_variance, torch.zeros_like, FIXED, Each(FIXED[:3])),
    (measures.denoising_gain, torch.relu, FIXED, Each([white(0.1), white(0.2)])),
    (measures.transmission, torch.tanh, FIXED, Each([0.1, 0.2])),
    (lambda x: measures.response(torch.relu, FIXED, 0.1, directions=x), Each(BASES)),
    (lambda x: measures.response(torch.relu, FIXED, 0.1, seed=x), Each([0, 1, 2])),
    (measures.memory, torch.relu, Each(SETS), FIXED, 3),
    (measures.nearest_training, FIXED, Each(SETS)),
    (measures.principal_directions, Each(SETS), 2),
    (measures.subspace_distance, Each(BASES), orthonormal(2, 16)),
    (measures.predicted_gain, Each([0.1, 0.2]), 0.2, Each([0.1, 0.5])),
    (measures.break_even_noise, Each([0.1, 0.2]), 0.5),
    (measures.sharpness, Each(SETS)),
    (measures.relative_sharpness, Each(SETS), FIXED),
    (measures.psnr, FIXED, Each(SETS)),
    (measures.thumbnail, Each(SETS), 2),
    (measures.correlation, Each(SETS), FIXED),
    (measures.excess_kurtosis, Each(SETS)),
    (measures.spectrum, Each(ROWS)),
    (measures.spectrum, Each(SETS)),
    (measures.shared_neighbors, Each(ROWS), FIXED, 2),
    (measures.neighbor_purity, Each(ROWS), LABELS, 2),
    (measures.frechet_distance, Each(ROWS), normal(9, 2, seed=1)),
    (measures.distance_moved, Each([torch.stack(SETS), torch.stack(SETS[::-1])])),
    (measures.ridge_probe, Each(ROWS), Y, Each(ROWS), Y),
    (measures.logistic_probe, Each(ROWS), LABELS, Each(ROWS), LABELS),
]


def same(result, rows):
    """Whether a result over seeds holds these results, one a seed, bit for bit."""
    if isinstance(result, tuple):
        return all(map(same, result, zip(*rows, strict=True)))
    return result.tolist() == [getattr(row, "tolist", lambda row=row: row)() for row in rows]


@pytest.mark.parametrize("name", OVER_MODELS)
def test_a_list_of_models_gives_a_row_for_each(name):
    measure, images = OVER_MODELS[name], pictures(4)
    result = measure(MODELS, images)
    alone = [measure(model, images) for model in MODELS]
    assert type(result) is (type(alone[0]) if isinstance(alone[0], tuple) else torch.Tensor)
    assert same(result, alone)
    assert same(measure(MODELS[:1], images), alone[:1])


@pytest.mark.parametrize(("measure", "args"), [(measure, args) for measure, *args in OVER_OTHERS])
def test_what_differs_between_seeds_may_be_listed_too(measure, args):
    n = max(len(arg) for arg in args if isinstance(arg, Each))
    alone = [measure(*(arg[i] if isinstance(arg, Each) else arg for arg in args)) for i in range(n)]
    assert same(measure(*args), alone)
    if measure is not measures.unexplained_variance:  # a mean may have any shape
        axis = [  # a tensor with an axis more
            torch.stack(arg) if isinstance(arg, Each) and isinstance(arg[0], torch.Tensor) else arg
            for arg in args
        ]
        assert same(measure(*axis), alone)


def test_axes_may_nest():
    paths = torch.stack([torch.stack(SETS), torch.stack(SETS).flip(1)])  # (seeds, steps, n, …)
    nested = measures.clean_error([torch.relu, torch.tanh], paths)
    assert nested.shape == (2, 3, 6)
    assert torch.equal(nested[1, 2], measures.clean_error(torch.tanh, paths[1, 2]))
    sigmas = np.array([0.1, 0.2])  # as a history's column
    assert measures.break_even_noise(sigmas, sigmas).shape == (2,)


def test_codes_come_batch_by_batch_from_models_with_an_encoder():
    encoders = models.replicate(lambda: models.MLPAutoencoder((1, 4, 4), width=6, depth=3), 2)
    images = pictures(2000, dtype=torch.float32)
    result = measures.codes(encoders, images)
    assert result.shape == (2, 2000, 6)
    assert not result.requires_grad
    np.testing.assert_allclose(result[1], encoders[1].encode(images).detach(), atol=1e-6)


@pytest.mark.parametrize("fit", [
    measures.mean_image,
    lambda train: measures.pca_filter(train, 2),
    lambda train: measures.wiener_filter(train, 0.2),
    lambda train: measures.matched_pca(train, FIXED, 0.01),
])  # fmt: skip
def test_filters_fitted_to_a_list_are_a_list_of_models(fit):
    filters = fit(SETS)
    assert len(filters) == 3
    assert same(measures.outputs(filters, FIXED), [fit(train)(FIXED) for train in SETS])


def test_every_model_hears_the_same_noise_from_one_generator():
    source, other = (torch.Generator().manual_seed(3) for _ in range(2))
    first = measures.denoising_gain([torch.tanh] * 2, FIXED, white(0.2), seed=source)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], measures.denoising_gain(torch.tanh, FIXED, white(0.2), seed=other))
    assert torch.equal(source.get_state(), other.get_state())  # advanced, and once


@measures.over_seeds("model", points=1)
def brightest(model, points, power=1):
    return float(model(points).max() ** power)


def test_a_measure_of_ones_own_gets_the_axis():
    points = torch.tensor([1.0, -2.0])
    assert brightest(torch.relu, points) == 1
    assert brightest([torch.relu, torch.abs], points, power=2).tolist() == [1, 4]
    assert brightest.__name__ == "brightest"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: brightest([torch.relu], [FIXED] * 2), ValueError, "model and points: .* 1 and 2"),
        (lambda: brightest([], torch.ones(2)), ValueError, "model: expected one for each seed"),
        (lambda: brightest([torch.relu, 3], torch.ones(2)), TypeError, "seed 1: 'int'"),
        (lambda: measures.sharpness([FIXED, FIXED[:2]]), ValueError, "results: .* as many images"),
    ],
)
def test_seeds_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- Refusals ------------------------------------------------------------------------------------

IMAGES, NOT_FINITE, ZEROS = pictures(), torch.full((2, 1, 4, 4), math.nan), torch.zeros(2, 1, 4, 4)
CODES = normal(20, 4)
ROUNDED = torch.full((7, 1, 4, 4), 0.1)  # their mean is .1 but for rounding
REFUSED = {  # at least one a function; what `checks` says in full is tested there
    "break_even_noise": (lambda m: m(0.1, math.nan), "tau: .* finite"),
    "classifier_score": (lambda m: m(identity, NOT_FINITE), "images: .* finite"),
    "clean_error": (lambda m: m(lambda x: x[..., 1:], IMAGES), "model: .* shape it gets"),
    "codes": (lambda m: m(identity, IMAGES), "model: .* encode"),
    "copy_coefficient": (lambda m: m(identity, IMAGES, 0.1, draws=0), "draws: .* 1 or more"),
    "correlation": (lambda m: m(FIXED, FIXED * 0 + 0.1), "inputs: .* image 0 constant"),
    "denoising_gain": (lambda m: m(identity, IMAGES, lambda x, _: x), "noise: .* unchanged"),
    "directions_for": (lambda m: m([0.0], 0.5), "variances: .* above 0"),
    "distance_moved": (lambda m: m(torch.zeros(2, 1, 1, 2, 2)), "path: .* all zero"),
    "effective_rank": (lambda m: m([1.0, -1.0]), "values: .* 0 or more"),
    "excess_kurtosis": (lambda m: m(torch.full_like(FIXED, 0.1)), "images: .* image 0 without"),
    "filter_gain": (lambda m: m([1.0, 2.0], [1.0], 0.1), "shares: .* 2"),
    "frechet_distance": (lambda m: m(CODES, CODES[:3]), "second: .* more rows than columns"),
    "frechet_floor": (lambda m: m(CODES, 4), "n: .* 5 or more"),
    "image_features": (lambda m: m(lambda x: x.sum(), IMAGES), r"features\(images\): .* \(5, k"),
    "interval": (lambda m: m([1.0]), "values: .* two units"),
    "iterate": (lambda m: m(identity, IMAGES, 1.5), "times: .* whole"),
    "jacobian": (lambda m: m(identity, pictures(2)), "image: .* one image"),
    "leading_singular_values": (
        lambda m: m(torch.detach, IMAGES),
        "model: .* no gradient",
    ),
    "linear_filter": (lambda m: m(IMAGES, ZEROS[0], torch.eye(16), [1.0]), r"shares: .* \(16\)"),
    "logistic_probe": (
        lambda m: m(CODES, torch.arange(20) // 18, CODES, torch.arange(20)),
        "labels: .* three examples of each",
    ),
    "matched_blur": (lambda m: m(IMAGES, 10.0), "error: .* a blur of 8 pixels"),
    "matched_pca": (lambda m: m(IMAGES, IMAGES, 1.0), "error: .* no PCA errs more"),
    "mean_image": (lambda m: m(NOT_FINITE), "train: .* finite"),
    "memory": (lambda m: m(identity, ZEROS, IMAGES), "training: .* image 0 all zero"),
    "mixture_score": (lambda m: m(CODES, CODES, 1.0, torch.zeros(20)), "weights: .* above 0"),
    "nearer_training": (lambda m: m(identity, IMAGES, pictures(size=5)), "images: .* 5, 5"),
    "nearest_distance": (lambda m: m(IMAGES, NOT_FINITE), "training: .* finite"),
    "nearest_training": (lambda m: m(IMAGES, NOT_FINITE), "training: .* finite"),
    "neighbor_purity": (lambda m: m(CODES, torch.zeros(20)), "labels: .* whole numbers"),
    "outputs": (lambda m: m(3, IMAGES), "model: .* callable"),
    "pca_filter": (lambda m: m(IMAGES, 17), "k: .* 16 or less"),
    "pca_reconstruct": (lambda m: m(IMAGES, ZEROS[0], torch.eye(15)), r"directions: .* \(k, 16\)"),
    "predicted_gain": (lambda m: m(-0.1, 0.1, 0.5), "error: .* 0 or more"),
    "principal_directions": (lambda m: m(pictures(1)), "images: .* two or more"),
    "psnr": (lambda m: m(pictures(3), pictures(4)), r"images: .* \(4, 1, 4, 4\)"),
    "relative_sharpness": (lambda m: m(IMAGES, ZEROS), "reference: .* not flat"),
    "response": (lambda m: m(identity, IMAGES, 0.1, directions=torch.ones(2, 16)), "orthonormal"),
    "ridge_probe": (lambda m: m(CODES, CODES[:9], CODES, CODES), r"targets: .* \(20, \.\.\.\)"),
    "shared_neighbors": (lambda m: m(CODES, CODES, 20), "k: .* other examples"),
    "sharpness": (lambda m: m(pictures(1, size=2)), "images: .* 3×3"),
    "singular_values": (lambda m: m(identity, torch.zeros(1, 1, 33, 33)), "images: .* 1024"),
    "spectral_radius": (lambda m: m(torch.zeros_like, IMAGES), "model: .* no gradient"),
    "spectrum": (lambda m: m(CODES[:1]), "codes: .* 2 examples"),
    "ssim": (lambda m: m(IMAGES, IMAGES), "images: .* 7×7"),
    "subspace_distance": (lambda m: m(CODES[:2], CODES[[0, 0]]), "second: .* independent"),
    "thumbnail": (lambda m: m(IMAGES, 0), "side: .* 1 or more"),
    "transmission": (lambda m: m(identity, IMAGES, 1e-30), "noise: .* below rounding"),
    "truncated_pca_gain": (lambda m: m([1.0], 2, 0.1), "k: .* 1 or less"),
    "unexplained_variance": (lambda m: m(identity, ROUNDED), "images: .* differ from their mean"),
    "wiener_filter": (lambda m: m(IMAGES, 0.0), "sigma: .* above 0"),
    "wiener_gain": (lambda m: m([], 0.1), "variances: .* values in it"),
}


def test_every_measure_has_a_refusal():
    public = {name for name in measures.__all__ if name[0].islower()}
    assert public - {"over_seeds"} == set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call(getattr(measures, name))


def test_jacobians_are_taken_in_inference_mode_too():
    with torch.inference_mode():
        image = torch.rand(1, 2, 2)
        assert torch.equal(measures.jacobian(lambda x: 2 * x, image), 2 * torch.eye(4))
        found = measures.leading_singular_values(lambda x: 3 * x, image[None], k=2)
    assert torch.allclose(found.values, torch.full((1, 2), 3.0), atol=1e-3)
