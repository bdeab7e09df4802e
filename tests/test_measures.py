"""Each measure against a closed form, a slow plain version or another library."""

from __future__ import annotations

import itertools
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

from aelib import data, measures
from aelib.measures import nets

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
    """The net O(x) = Wx + shift on flattened images."""
    return lambda images: (images.flatten(1) @ matrix.T + shift).reshape(images.shape)


def white(sigma):
    def add(images, generator):
        return images + sigma * torch.randn(images.shape, generator=generator).to(images)

    return add


def conv_net(dtype=torch.float64):
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
    for found, expected in [
        (kappa, 1),
        (tau, 1),
        (measures.clean_error(identity, images), 0),
        (measures.denoising_gain(identity, images, white(0.2)), 0),
    ]:
        assert found.dtype == dtype
        assert found.tolist() == [expected] * 5
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
    found = measures.clean_error(lambda x: alpha * x, images)
    np.testing.assert_allclose(found, (1 - alpha) ** 2 * (images**2).mean((1, 2, 3)))


def test_linear_net_has_trace_and_frobenius_norm():
    matrix = normal(16, 16)
    kappa, tau = measures.response(linear(matrix), pictures(3000), 0.1)
    for found, expected in [(kappa, matrix.trace() / 16), (tau, matrix.square().sum() / 16)]:
        assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(3000)
        assert found.std() / math.sqrt(3000) < 0.02 * matrix.square().sum()


def test_response_along_one_direction_is_exact():
    matrix, rows = normal(16, 16), orthonormal(16, 16, seed=1)
    for row in rows[:4]:
        kappa, tau = measures.response(linear(matrix), pictures(), 0.3, directions=row[None])
        np.testing.assert_allclose(kappa, np.full(5, float(row @ matrix @ row)))
        np.testing.assert_allclose(tau, np.full(5, float((matrix @ row).square().sum())))


def test_projector_copies_inside_and_not_outside():
    rows = orthonormal(16, 16)
    inside, outside = rows[:5], rows[5:]
    net = linear(inside.T @ inside)
    for directions, expected in [(inside, 1), (outside, 0)]:
        for found in measures.response(net, pictures(), 0.3, directions=directions):
            np.testing.assert_allclose(found, np.full(5, expected), atol=1e-12)
    kappa = measures.copy_coefficient(net, pictures(2000), 0.3)
    assert abs(kappa.mean() - 5 / 16) < 0.01
    np.testing.assert_allclose(kappa, measures.transmission(net, pictures(2000), 0.3))  # P = P²


def test_response_is_a_ratio_of_means_over_draws():
    images, source = pictures(), torch.Generator().manual_seed(7)
    clean, overlap, passed, energy = images.numpy() ** 3, 0, 0, 0
    for _ in range(4):
        noise = 0.5 * torch.randn(images.shape, generator=source).double().numpy()
        change = (images.numpy() + noise) ** 3 - clean
        overlap = overlap + (change * noise).sum((1, 2, 3))
        passed = passed + (change**2).sum((1, 2, 3))
        energy = energy + (noise**2).sum((1, 2, 3))
    found = measures.response(lambda x: x**3, images, 0.5, draws=4, seed=7)
    np.testing.assert_allclose(found.copy, overlap / energy, rtol=1e-9)
    np.testing.assert_allclose(found.transmission, passed / energy, rtol=1e-9)
    assert (found.copy**2 <= found.transmission).all()


def test_denoising_gain_against_a_plain_loop():
    images, net = pictures(), linear(normal(16, 16) / 4)
    found = measures.denoising_gain(net, images, white(0.3), seed=5)
    noisy = white(0.3)(images, torch.Generator().manual_seed(5))
    for gain, a, x in zip(found, images, noisy, strict=True):
        before, after = np.linalg.norm(x - a), np.linalg.norm(net(x[None])[0] - a)
        assert float(gain) == pytest.approx(20 * math.log10(before / after))
    known = measures.denoising_gain(lambda x: images, images, white(0.3))
    assert known.tolist() == [math.inf] * 5


def test_denoising_gain_of_the_document_s_shifted_noise():
    images = pictures(40, size=8)
    noise = data.gaussian(0.2, mean=0.7)
    found = measures.denoising_gain(lambda x: x - 0.7, images, noise)  # takes the shift away
    expected = 10 * math.log10((0.7**2 + 0.2**2) / 0.2**2)
    assert float(found.mean()) == pytest.approx(expected, abs=0.2)


def test_predicted_gain_is_the_measured_one_for_a_linear_net():
    rows = orthonormal(16, 16)
    net, images = linear(0.9 * rows[:6].T @ rows[:6]), 0.3 * pictures(4000)
    error = measures.clean_error(net, images).mean()
    tau = measures.transmission(net, images, 0.2).mean()
    noisy = white(0.2)(images, torch.Generator().manual_seed(0))
    pooled = 10 * torch.log10(
        (noisy - images).square().sum() / (net(noisy) - images).square().sum()
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
    net = linear(normal(16, 16) / 8, shift=0.2)
    r2 = r2_score(images.flatten(1), net(images).flatten(1), multioutput="variance_weighted")
    assert measures.unexplained_variance(net, images) == pytest.approx(1 - r2)
    mean = torch.full((16,), 0.3, dtype=torch.float64)
    answer = measures.unexplained_variance(lambda x: torch.full_like(x, 0.3), images, mean)
    assert answer == pytest.approx(1)
    constant = torch.full((7, 1, 4, 4), 0.1)  # their mean is .1 but for rounding
    assert (constant != constant.mean(0)).any()
    with pytest.raises(ValueError, match="differ from their mean"):
        measures.unexplained_variance(identity, constant)


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
    found = measures.pca_reconstruct(others, mean, directions[:4])
    expected = pca.inverse_transform(pca.transform(others.flatten(1).numpy()))
    np.testing.assert_allclose(found.flatten(1), expected)
    kept = measures.pca_reconstruct(images, mean, directions[:4])
    lost = measures.unexplained_variance(lambda x: kept, images)
    assert lost == pytest.approx(float(variances[4:].sum() / variances.sum()))


def test_wiener_filter_against_its_matrix():
    images, others = pictures(60), pictures(7, seed=1)
    mean, directions, variances = measures.principal_directions(images)
    flat = images.flatten(1).numpy()
    covariance = np.cov(flat.T, bias=True)
    matrix = covariance @ np.linalg.inv(covariance + 0.3**2 * np.eye(16))
    expected = flat.mean(0) + (others.flatten(1).numpy() - flat.mean(0)) @ matrix.T
    found = measures.wiener(others, mean, directions, variances, 0.3)
    np.testing.assert_allclose(found.flatten(1), expected)


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
            measures.wiener(noisy, mean, rows, variances, sigma),
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
        found = measures.truncated_pca_gain(variances, keep, sigma)
        assert found == pytest.approx(expected, abs=1e-9)
        assert found <= best + 1e-9


def test_keeping_all_directions_gains_nothing():
    assert measures.truncated_pca_gain([3.0, 2.0, 0.0], 3, 0.5) == 0
    assert measures.wiener_gain([0.25, 0.25], 0.5) == pytest.approx(10 * math.log10(2))
    assert measures.wiener_gain([0.0, 0.0], 0.5) == math.inf


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
    with pytest.raises(ValueError, match="independent"):
        measures.subspace_distance(rows[:2], torch.cat([rows[:1], rows[:1]]))
    with pytest.raises(ValueError, match=r"both be \(k, d\)"):
        measures.subspace_distance(rows[:2], rows[:3])


@quick
@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=8), st.floats(1e-200, 1e200))
def test_effective_rank_against_its_formula(values, scale):
    found = float(measures.effective_rank(torch.tensor(values, dtype=torch.float64)))
    assert found == pytest.approx(sum(values) ** 2 / sum(value**2 for value in values))
    assert 1 - 1e-9 <= found <= len(values) + 1e-9
    scaled = torch.tensor(values, dtype=torch.float64) * scale
    assert float(measures.effective_rank(scaled)) == pytest.approx(found)


def test_effective_rank_of_known_spectra():
    found = measures.effective_rank(torch.tensor([[1.0, 1, 1, 1], [5, 0, 0, 0], [2, 2, 0, 0]]))
    assert found.tolist() == [4, 1, 2]
    assert float(measures.effective_rank([0.1, 0.3])) == pytest.approx(1.6, abs=1e-12)
    for bad in ([0.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, math.inf], []):
        with pytest.raises(ValueError, match="values"):
            measures.effective_rank(bad)


# --- The Jacobian --------------------------------------------------------------------------------


def test_jacobian_against_autograd_and_finite_differences(monkeypatch):
    net, image = conv_net().eval(), pictures(1)[0]
    expected = torch.autograd.functional.jacobian(lambda x: net(x[None])[0], image).reshape(16, 16)
    np.testing.assert_allclose(measures.jacobian(net, image), expected, atol=1e-12)
    step = 1e-6 * torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    with torch.no_grad():
        slopes = ((net(image + step) - net(image - step)) / 2e-6).flatten(1).T
    np.testing.assert_allclose(measures.jacobian(net, image), slopes, atol=1e-8)
    monkeypatch.setattr(nets, "CHUNK_IMAGES", 5)
    with torch.no_grad():  # also where the caller has switched gradients off
        np.testing.assert_allclose(measures.jacobian(net, image[None]), expected, atol=1e-12)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("net", [lambda x: x.detach() * 2, torch.zeros_like])
def test_jacobian_refuses_to_guess(net):
    with pytest.raises(ValueError, match="no gradient"):
        measures.jacobian(net, pictures(1)[0])
    bias = nn.Parameter(torch.zeros(1, 1, 4, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match="no gradient"):
        measures.jacobian(lambda x: net(x) + bias, pictures(1)[0])


def test_spectral_radius_of_known_matrices():
    turn = torch.tensor([[0.0, -1.5], [1.5, 0.0]], dtype=torch.float64)  # eigenvalues ±1.5i
    steep = torch.tensor([[0.5, 100.0], [0.0, -0.6]], dtype=torch.float64)  # far from normal
    images = pictures(3)[:, :, :2, :1]
    for matrix, radius in [(turn, 1.5), (steep, 0.6)]:
        found = measures.spectral_radius(linear(matrix), images)
        np.testing.assert_allclose(found, [radius] * 3)
        stretched = measures.singular_values(linear(matrix), images)
        np.testing.assert_allclose(stretched, [np.linalg.svd(matrix, compute_uv=False)] * 3)


def test_spectra_of_a_nonlinear_net_image_by_image():
    net, images = conv_net(torch.float32), pictures(3, dtype=torch.float32)
    radii, stretched = measures.spectral_radius(net, images), measures.singular_values(net, images)
    for image, radius, values in zip(images, radii, stretched, strict=True):
        matrix = measures.jacobian(net, image).double().numpy()
        assert float(radius) == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-5)
        np.testing.assert_allclose(values, np.linalg.svd(matrix, compute_uv=False), atol=1e-6)
    assert radii.std() > 1e-4
    with pytest.raises(ValueError, match="at most 1024 elements"):
        measures.spectral_radius(identity, torch.zeros(1, 1, 33, 33))


# --- Memory --------------------------------------------------------------------------------------


def snap(training):
    """A net with perfect memory: answers the nearest training image."""

    def net(images):
        distances = (images[:, None] - training[None]).flatten(2).norm(dim=2)
        return training[distances.argmin(1)]

    return net


def test_memory_of_a_net_that_snaps():
    training, starts = pictures(6), pictures(40, seed=1)
    found = measures.memory(snap(training), training, starts, times=3)
    distances = (starts[:, None] - training[None]).flatten(2).norm(dim=2)
    lengths = training.flatten(1).norm(dim=1)
    which = distances.argmin(1)
    assert found.recalled.all()
    assert torch.equal(found.nearest, which)
    assert found.distance.tolist() == [0] * 40
    np.testing.assert_allclose(found.began, distances.min(1).values / lengths[which])
    np.testing.assert_allclose(found.moved, found.began)


def test_memory_draws_in_slowly():
    training = pictures(1) + 0.5

    def net(x):
        return training + 0.99 * (x - training)

    starts = pictures(8, seed=1)
    assert measures.memory(net, training, starts, times=1000).recalled.all()
    assert not measures.memory(net, training, starts, times=10).recalled.any()


@pytest.mark.parametrize(
    ("end", "tolerance", "expected"),
    [(1.04, 0.05, True), (1.06, 0.05, False), (1.06, 0.1, True), (0.96, 0.05, True)],
)
def test_memory_within_the_tolerance(end, tolerance, expected):
    training = pictures(2) + torch.tensor([0.0, 3.0])[:, None, None, None]

    def net(x):
        return (end * training[1]).expand_as(x)

    found = measures.memory(net, training, torch.zeros_like(training), 2, tolerance)
    assert found.recalled.tolist() == [expected] * 2
    np.testing.assert_allclose(found.distance, [abs(end - 1)] * 2)
    assert found.nearest.tolist() == [1, 1]


def test_standing_still_is_not_memory():
    training = pictures(6)
    near = training * 1.01
    for starts in (training, near, pictures(6, seed=1)):
        found = measures.memory(identity, training, starts, times=5)
        assert not found.recalled.any()
        assert found.moved.tolist() == [0] * 6
    assert not measures.memory(snap(training), training, near, times=2).recalled.any()


def test_divergence_is_not_memory():
    training = pictures(3, dtype=torch.float32)
    starts = torch.stack([training[0] * 0.5, training[1] * 2, training[2] * 0])

    def net(images):  # bright images explode to infinity and NaN, dim ones come home
        dim = images.flatten(1).norm(dim=1) < training[0].norm() * 1.2  # false for NaN
        return torch.where(dim[:, None, None, None], training[:1], images.square() * 10 - images)

    found = measures.memory(net, training, starts, times=200)
    assert found.recalled.tolist() == [True, False, True]
    assert found.nearest.tolist() == [0, -1, 0]
    assert found.distance[1] == found.moved[1] == found.began[1] == math.inf
    assert not measures.iterate(net, starts, 200)[1].isfinite().all()


def test_memory_of_an_all_zero_image_has_no_meaning():
    training = torch.cat([pictures(2), torch.zeros(1, 1, 4, 4)])
    with pytest.raises(ValueError, match="training image 2 is all zero"):
        measures.memory(identity, training, pictures())


def test_iterate_against_a_plain_loop(monkeypatch):
    images, net = pictures(7), linear(normal(16, 16) / 5, shift=0.1)
    expected = images
    for _ in range(6):
        expected = net(expected)
    np.testing.assert_allclose(measures.iterate(net, images, 6), expected)
    monkeypatch.setattr(nets, "CHUNK_IMAGES", 3)
    np.testing.assert_allclose(measures.iterate(net, images, 6), expected)
    assert torch.equal(measures.iterate(net, images, 0), images)


def test_iterate_stops_when_nothing_changes():
    calls = []

    def net(x):
        return calls.append(1) or torch.ceil(x)

    assert torch.equal(measures.iterate(net, pictures(), 1000), torch.ones(5, 1, 4, 4).double())
    assert len(calls) == 2
    # a cycle of two never stands still
    assert torch.equal(measures.iterate(torch.neg, pictures(), 1001), -pictures())
    assert torch.equal(measures.iterate(torch.neg, pictures(), 1000), pictures())


def test_nearest_training_against_numpy(monkeypatch):
    images, training = pictures(7, dtype=torch.float32), pictures(9, seed=1, dtype=torch.float32)
    images[2] = training[4]  # exactly 0, which the quick formula for distances misses
    table = np.linalg.norm((images[:, None] - training[None]).flatten(2).double(), axis=2)
    for chunk in (1024, 2):
        monkeypatch.setattr(nets, "CHUNK_IMAGES", chunk)
        found = measures.nearest_training(images, training)
        np.testing.assert_allclose(found.distance, table.min(1), rtol=1e-6)
        assert found.which.tolist() == table.argmin(1).tolist()
        assert found.distance[2] == 0
    assert torch.equal(measures.nearest_distance(images, training), found.distance)


def test_nearer_training():
    training, images = pictures(6), pictures(10, seed=1)
    assert measures.nearer_training(snap(training), images, training).all()
    assert not measures.nearer_training(identity, images, training).any()
    twin = training[:1]
    assert not measures.nearer_training(identity, twin, training).any()  # a tie is not nearer
    for share, expected in [(0.4, False), (0.6, True)]:  # of the way to the only training image
        net = linear((1 - share) * torch.eye(16).double(), share * twin.flatten())
        assert measures.nearer_training(net, images, twin).tolist() == [expected] * 10


# --- Looking at images ---------------------------------------------------------------------------


def test_sharpness_against_scipy():
    images = pictures(4, channels=3, size=7)
    found = measures.sharpness(images)
    for value, image in zip(found, images.numpy(), strict=True):
        edges = [scipy.ndimage.laplace(channel)[1:-1, 1:-1] for channel in image]
        assert float(value) == pytest.approx(np.abs(edges).mean())
    np.testing.assert_allclose(measures.sharpness(0.5 * images + 0.3), 0.5 * found)
    blurred = scipy.ndimage.gaussian_filter(images.numpy(), (0, 0, 1, 1))
    assert (measures.sharpness(torch.from_numpy(blurred)) < 0.3 * found).all()
    assert measures.sharpness(torch.full((1, 1, 3, 3), 0.5)).tolist() == [0]
    with pytest.raises(ValueError, match="3×3"):
        measures.sharpness(pictures(1, size=2))


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
    found = measures.correlation(scale * outputs + shift, inputs)
    for value, one, two in zip(found, outputs, inputs, strict=True):
        assert float(value) == pytest.approx(np.corrcoef(one.flatten(), two.flatten())[0, 1])
    np.testing.assert_allclose(measures.correlation(-scale * inputs + shift, inputs), [-1] * 4)


def test_correlation_with_a_constant():
    outputs, inputs = pictures(2, dtype=torch.float32), pictures(2, dtype=torch.float32)
    outputs[1] = 0.1
    assert measures.correlation(outputs, inputs).tolist() == [pytest.approx(1), 0]
    outputs[1] = 0
    assert measures.correlation(outputs, inputs)[1] == 0
    with pytest.raises(ValueError, match="input 1 is constant"):
        measures.correlation(inputs, outputs)


# --- Over seeds ----------------------------------------------------------------------------------


def enumerated(values, level):
    means = np.array(list(itertools.product(values, repeat=len(values)))).mean(1)
    low = np.quantile(means, (1 - level) / 2, method="inverted_cdf")
    return low, -np.quantile(-means, (1 - level) / 2, method="inverted_cdf")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_interval_enumerates_few_seeds(n, level):
    values = normal(n, seed=n).tolist()
    found = measures.interval(values, level)
    assert found.value == pytest.approx(np.mean(values))
    assert found[1:] == pytest.approx(enumerated(values, level))
    assert found == measures.interval(values, level, seed=1)  # chance plays no part


def test_interval_of_three_seeds_is_their_range():
    assert measures.interval([0.3, 0.1, 0.8]) == pytest.approx((0.4, 0.1, 0.8))
    assert measures.interval(torch.tensor([0.25, 0.5])) == (0.375, 0.25, 0.5)
    assert measures.interval([0.1] * 3) == (0.1, 0.1, 0.1)  # though (.1 + .1 + .1) / 3 > .1


def test_interval_against_scipy():
    values = normal(12).tolist()
    found = measures.interval(values, resamples=20_000)
    other = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert found.low == pytest.approx(other.low, abs=0.02)
    assert found.high == pytest.approx(other.high, abs=0.02)
    assert found == measures.interval(values, resamples=20_000)
    assert found != measures.interval(values, resamples=20_000, seed=1)
    assert found.high - found.low > 0.3


@quick
@given(
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=9),
    level=st.floats(0.5, 0.99),
    shift=st.floats(-10, 10),
)
def test_interval_stays_within_what_was_seen_and_follows_it(values, level, shift):
    found = measures.interval(values, level)
    assert min(values) <= found.low <= found.high <= max(values)
    assert min(values) <= found.value <= max(values)
    turned = measures.interval([shift - value for value in values], level)
    assert turned.value == pytest.approx(shift - found.value, abs=1e-9)
    if len(values) <= 6:  # beyond, chance picks other resamples for the other side
        assert turned.low == pytest.approx(shift - found.high, abs=1e-9)
        assert turned.high == pytest.approx(shift - found.low, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "at least two seeds"),
        ([1.0], {}, "at least two seeds"),
        ([1.0, math.nan], {}, "finite"),
        ([1.0, math.inf], {}, "finite"),
        (torch.ones(2, 2), {}, "one number a seed"),
        ([1.0, 2.0], {"level": 95}, "level"),
        ([1.0, 2.0], {"level": 1.0}, "level"),
        ([1.0, 2.0], {"resamples": 0}, "resamples"),
    ],
)
def test_interval_refuses(values, options, message):
    with pytest.raises(ValueError, match=message):
        measures.interval(values, **options)


# --- What all of them share ----------------------------------------------------------------------

PER_IMAGE = {
    "clean_error": measures.clean_error,
    "denoising_gain": lambda net, images: measures.denoising_gain(net, images, white(0.2)),
    "copy_coefficient": lambda net, images: measures.copy_coefficient(net, images, 0.2),
    "transmission": lambda net, images: measures.transmission(
        net, images, 0.2, directions=torch.eye(16)
    ),
    "spectral_radius": measures.spectral_radius,
    "singular_values": measures.singular_values,
    "iterate": lambda net, images: measures.iterate(net, images, 3),
    "memory": lambda net, images: measures.memory(net, pictures(3, seed=2), images, 3).distance,
    "nearer_training": lambda net, images: measures.nearer_training(net, images, pictures(3)),
}


@pytest.mark.parametrize("name", PER_IMAGE)
def test_one_value_per_image_mode_chunks_and_gradients(name, monkeypatch):
    measure, images = PER_IMAGE[name], pictures(5)
    net, kept = conv_net(), pictures(5)
    net[1].eval()  # frozen by the caller, and to stay so
    statistics = net[1].running_mean.clone()
    whole = measure(net, images)
    assert len(whole) == 5
    assert not whole.requires_grad
    assert [module.training for module in net.modules()] == [True, True, False, True, True, True]
    assert torch.equal(net[1].running_mean, statistics)
    assert torch.equal(images, kept)
    assert torch.equal(whole, measure(net.eval(), images))
    alone = measure(net, images[:1])
    np.testing.assert_allclose(alone, whole[:1], rtol=1e-9)
    monkeypatch.setattr(nets, "CHUNK_ELEMENTS", 2 * 16)  # two images a chunk
    np.testing.assert_allclose(measure(net, images), whole, rtol=1e-9)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_mode_comes_back_after_an_exception(name):
    class Failing(nn.Module):
        def forward(self, images):
            assert not self.training
            raise ArithmeticError("inside")

    net = nn.Sequential(nn.Dropout(), Failing())
    with pytest.raises(ArithmeticError, match="inside"):
        PER_IMAGE[name](net, pictures())
    assert all(module.training for module in net.modules())


def test_mode_of_the_module_behind_a_method():
    net = nn.Dropout()
    assert measures.clean_error(net.forward, pictures()).tolist() == [0] * 5
    assert net.training


def test_a_plain_function_keeps_its_mode():
    net = nn.Dropout()
    assert (measures.clean_error(lambda x: net(x), pictures()) > 0).all()


def test_chunks_are_small_enough(monkeypatch):
    sizes = []

    def net(images):
        sizes.append(len(images))
        return images

    monkeypatch.setattr(nets, "CHUNK_IMAGES", 3)
    measures.clean_error(net, pictures(7))
    monkeypatch.setattr(nets, "CHUNK_ELEMENTS", 40)  # two images of 16
    measures.clean_error(net, pictures(3))
    monkeypatch.setattr(nets, "CHUNK_ELEMENTS", 5)  # less than an image
    measures.clean_error(net, pictures(2))
    assert sizes == [3, 3, 1, 2, 1, 1, 1]


def test_in_place_nets_leave_the_images_alone():
    images, training = pictures() - 0.5, pictures(2)
    net, kept = nn.ReLU(inplace=True), images.clone()
    np.testing.assert_allclose(
        measures.clean_error(net, images), kept.clamp_max(0).square().mean((1, 2, 3))
    )
    for measure in PER_IMAGE.values():
        measure(net, images)
    measures.memory(net, training, images, 3)
    assert torch.equal(images, kept)


def test_seed_or_generator():
    net, images = conv_net(torch.float32), pictures(dtype=torch.float32)
    first = measures.copy_coefficient(net, images, 0.2, seed=3)
    assert torch.equal(first, measures.copy_coefficient(net, images, 0.2, seed=3))
    assert not torch.equal(first, measures.copy_coefficient(net, images, 0.2, seed=4))
    source = torch.Generator().manual_seed(3)
    assert torch.equal(first, measures.copy_coefficient(net, images, 0.2, seed=source))
    assert not torch.equal(first, measures.copy_coefficient(net, images, 0.2, seed=source))
    state = torch.get_rng_state()
    measures.denoising_gain(net, images, white(0.2))
    assert torch.equal(torch.get_rng_state(), state)
    double = measures.copy_coefficient(net.double(), images.double(), 0.2, seed=3)
    np.testing.assert_allclose(first, double, rtol=1e-3)  # the same noise in either dtype


NOT_FINITE = torch.full((2, 1, 4, 4), math.nan)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: measures.clean_error(identity, np.zeros((1, 1, 4, 4))), TypeError, "ndarray"),
        (lambda: measures.clean_error(identity, torch.zeros(1, 1, 4, 4).int()), TypeError, "int32"),
        (lambda: measures.clean_error(identity, pictures().half()), TypeError, "float16"),
        (lambda: measures.clean_error(identity, pictures()[0]), ValueError, "got shape"),
        (lambda: measures.clean_error(identity, pictures()[:0]), ValueError, "at least one image"),
        (lambda: measures.clean_error(identity, NOT_FINITE), ValueError, "images must be finite"),
        (lambda: measures.clean_error(lambda x: x[..., 1:], pictures()), ValueError, "net must"),
        (lambda: measures.clean_error(lambda x: (x, x), pictures()), TypeError, "got tuple"),
        (lambda: measures.clean_error(lambda x: x / 0, pictures()), ValueError, "diverged"),
        (
            lambda: measures.unexplained_variance(identity, pictures(), torch.zeros(3)),
            ValueError,
            "16 finite",
        ),
        (
            lambda: measures.unexplained_variance(
                identity, pictures(), torch.full((16,), math.nan)
            ),
            ValueError,
            "16 finite",
        ),
        (lambda: measures.denoising_gain(identity, pictures(), 0.2), TypeError, "callable"),
        (
            lambda: measures.denoising_gain(identity, pictures(), lambda x, _: x),
            ValueError,
            "unchanged",
        ),
        (
            lambda: measures.denoising_gain(identity, pictures(), lambda x, _: x[:1]),
            ValueError,
            "noise",
        ),
        (lambda: measures.response(identity, pictures(), 0.0), ValueError, "sigma must be above 0"),
        (lambda: measures.response(identity, pictures(), math.inf), ValueError, "sigma"),
        (lambda: measures.response(identity, pictures(), torch.ones(5)), TypeError, "one number"),
        (lambda: measures.response(identity, pictures(), 1e-30), ValueError, "below rounding"),
        (lambda: measures.response(identity, pictures(), 0.1, draws=0), ValueError, "draws"),
        (lambda: measures.response(identity, pictures(), 0.1, seed="a"), TypeError, "seed"),
        (
            lambda: measures.response(identity, pictures(), 0.1, directions=torch.ones(2, 16)),
            ValueError,
            "orthonormal",
        ),
        (
            lambda: measures.response(identity, pictures(), 0.1, directions=torch.eye(15)),
            ValueError,
            r"must be \(k, 16\)",
        ),
        (lambda: measures.predicted_gain(-0.1, 0.1, 0.5), ValueError, "error must be 0 or more"),
        (lambda: measures.break_even_noise(0.1, math.nan), ValueError, "tau"),
        (
            lambda: measures.principal_directions(pictures(), 17),
            ValueError,
            r"1 to 16 \(the number",
        ),
        (lambda: measures.principal_directions(pictures(), 0), ValueError, "k must be a whole"),
        (lambda: measures.principal_directions(pictures(1)), ValueError, "two images"),
        (
            lambda: measures.linear_filter(
                pictures(), torch.zeros(16), torch.eye(16), torch.ones(3)
            ),
            ValueError,
            "each of the 16",
        ),
        (lambda: measures.filter_gain([1.0, 2.0], [1.0], 0.1), ValueError, "as many as variances"),
        (lambda: measures.wiener_gain([1.0, -2.0], 0.1), ValueError, "not negative"),
        (lambda: measures.wiener_gain([], 0.1), ValueError, "one row"),
        (lambda: measures.truncated_pca_gain([1.0], 2, 0.1), ValueError, "keep must be"),
        (lambda: measures.jacobian(identity, pictures(2)), ValueError, "batch of 2"),
        (lambda: measures.iterate(identity, pictures(), -1), ValueError, "0 or more, got -1"),
        (lambda: measures.iterate(identity, pictures(), 1.5), ValueError, "times"),
        (
            lambda: measures.memory(identity, pictures(), pictures(size=5)),
            ValueError,
            r"starts must have shape \(n, ...\) with \(1, 4, 4\)",
        ),
        (lambda: measures.memory(identity, pictures(), pictures(), tolerance=0), ValueError, "tol"),
        (lambda: measures.nearest_training(pictures(), NOT_FINITE), ValueError, "training must be"),
        (lambda: measures.psnr(pictures(3), pictures(4)), ValueError, r"\(4, 1, 4, 4\), got \(3,"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
