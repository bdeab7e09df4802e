"""Walks and lines: against closed forms for linear nets, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aelib import measures, models, random, sampling

SHAPE = (1, 2, 3)
quick = settings(max_examples=25, deadline=None, derandomize=True)


def pictures(n=5, seed=0, dtype=torch.float32):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Linear(nn.Module):
    """E(a) = U a, D(z) = V z, in float64."""

    shape = SHAPE

    def __init__(self, down, up):
        super().__init__()
        self.down = nn.Parameter(down, requires_grad=False)
        self.up = nn.Parameter(up, requires_grad=False)

    def encode(self, images):
        return images.flatten(1) @ self.down.T

    def decode(self, codes):
        return (codes @ self.up.T).unflatten(1, SHAPE)

    def forward(self, images):
        return self.decode(self.encode(images))


def linear(code=2, scale=0.9, seed=0):
    """An autoencoder whose code shrinks by `scale` a step, not evenly."""
    source = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=source, dtype=torch.float64)).Q[:, :code]
    mix = torch.randn(code, code, generator=source, dtype=torch.float64)
    step = scale * torch.linalg.qr(mix).Q
    return Linear(step @ basis.T, basis)


def identity():
    eye = torch.eye(6, dtype=torch.float64)
    return Linear(eye, eye)


def test_a_linear_walk_has_the_mean_and_covariance_of_the_closed_form():
    """z ← M (z + ε e), read as x = V (U x + ε e): mean V Mᵗ⁻¹ U x₀, covariance Σ V Mⁱ Mⁱᵀ Vᵀ ε²."""
    net, steps, noise, many = linear(), 6, 0.3, 20_000
    start = pictures(1, dtype=torch.float64)
    path = sampling.manifold_walk(net, start.expand(many, *SHAPE), steps, noise=noise, seed=1)
    turn = net.down @ net.up  # (code, code)
    power = torch.linalg.matrix_power
    mean = net.up @ power(turn, steps - 1) @ net.down @ start.flatten()
    cover = sum(power(turn, i) @ power(turn, i).T for i in range(steps)) * noise**2
    cover = net.up @ cover @ net.up.T
    ends = path[-1].flatten(1)
    assert torch.allclose(ends.mean(0), mean, atol=5 * noise * math.sqrt(steps / many))
    assert torch.allclose(ends.T.cov(), cover, atol=0.02)
    assert float(cover.diagonal().max()) > 0.1


def test_the_identity_s_walk_is_a_random_walk():
    steps, noise = 50, 0.1
    path = sampling.manifold_walk(
        identity(), pictures(400, dtype=torch.float64), steps, noise=noise
    )
    moved = (path - path[0]).flatten(2).square().sum(2).mean(1) / 6  # a mean square an element
    expected = noise**2 * torch.arange(steps + 1)
    assert torch.allclose(moved, expected.double(), rtol=0.08, atol=1e-12)
    jumps = path[1:] - path[:-1]
    assert float((jumps[1:] * jumps[:-1]).mean().abs()) < 1e-4  # a step forgets the one before


def test_one_deviation_an_element_goes_to_its_element():
    net, scale = linear(code=3), torch.tensor([0.5, 0.0, 0.1])
    start = pictures(5000, dtype=torch.float64)
    path = sampling.manifold_walk(net, start, 1, noise=scale)
    moved = (path[1] - net(start)).flatten(1) @ net.up
    assert moved.std(0).tolist() == pytest.approx([0.5, 0.0, 0.1], rel=0.05, abs=1e-9)


@quick
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 5))
def test_a_walk_is_repeated_bit_for_bit_and_a_row_is_its_own_walk(seed, noise, steps):
    net = models.MLPAutoencoder(SHAPE, width=8, depth=3, code=2)
    first = sampling.manifold_walk(net, pictures(), steps, noise=noise, seed=seed)
    again = sampling.manifold_walk(net, pictures(), steps, noise=noise, seed=seed)
    assert torch.equal(first, again)
    assert first.shape == (steps + 1, 5, *SHAPE)
    assert torch.equal(first[0], pictures())
    one = sampling.manifold_walk(net, pictures()[:1], steps, noise=0.0)
    assert torch.allclose(
        one[:, 0], sampling.manifold_walk(net, pictures(), steps, noise=0.0)[:, 0], atol=1e-5
    )


def test_a_generator_is_advanced_and_global_randomness_is_not_touched():
    net, source = identity(), random.generator(0)
    before = torch.get_rng_state()
    images = pictures(dtype=torch.float64)
    first = sampling.manifold_walk(net, images, 2, noise=0.1, seed=source)
    second = sampling.manifold_walk(net, images, 2, noise=0.1, seed=source)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_noise_the_walk_is_the_map_and_the_map_is_iterate():
    net = linear(code=4)
    images = pictures(dtype=torch.float64)
    seen = []
    path = sampling.self_map(net, images, 7, callback=lambda step, x: seen.append((step, x)))
    assert torch.equal(path, sampling.manifold_walk(net, images, 7, noise=0.0))
    assert torch.equal(path[-1], measures.iterate(net, images, 7))
    assert [step for step, _ in seen] == list(range(1, 8))
    assert all(torch.equal(x, path[step]) for step, x in seen)
    power = torch.linalg.matrix_power(net.up @ net.down, 7)
    assert torch.allclose(path[-1].flatten(1), images.flatten(1) @ power.T, atol=1e-12)


def test_diffusing_the_identity_adds_up_all_the_noise():
    """With O = x nothing is taken away: the end is centre + Σ σᵢ eᵢ."""
    sigmas = torch.tensor([1.0, 0.5, 0.25])
    ends = sampling.diffuse_without_diffusion(lambda x: x, 20_000, sigmas, shape=SHAPE, centre=0.5)
    assert ends.mean().item() == pytest.approx(0.5, abs=0.01)
    assert ends.var().item() == pytest.approx(float(sigmas.square().sum()), rel=0.02)


def test_diffusing_with_a_perfect_denoiser_of_one_image_gives_that_image():
    image, calls, inputs = pictures(1)[0], [], []

    def oracle(x):
        inputs.append(float((x - image).std()))
        return image.expand_as(x)

    sigmas = [0.8, 0.4, 0.1]
    ends = sampling.diffuse_without_diffusion(
        oracle,
        2000,
        sigmas,
        shape=SHAPE,
        centre=image,
        seed=3,
        callback=lambda i, x: calls.append(i),
    )
    assert torch.equal(ends, image.expand(2000, *SHAPE))
    assert calls == [1, 2, 3]
    assert inputs == pytest.approx(sigmas, rel=0.05)


def test_noise_that_is_kept_keeps_its_direction():
    image, seen = pictures(1)[0], []

    def oracle(x):
        seen.append(x - image)
        return image.expand_as(x)

    sigmas = [0.8, 0.4, 0.1]
    options = {"shape": SHAPE, "centre": image, "seed": 3}
    sampling.diffuse_without_diffusion(oracle, 4000, sigmas, fresh=0.0, **options)
    for left, sigma in zip(seen, sigmas, strict=True):
        assert torch.allclose(left / sigma, seen[0] / 0.8, atol=1e-5)
    seen.clear()
    sampling.diffuse_without_diffusion(oracle, 4000, sigmas, fresh=0.6, **options)
    first, second = (seen[i].flatten() / sigmas[i] for i in (0, 1))
    assert float(second.std()) == pytest.approx(1, rel=0.02)  # 0.8² + 0.6² = 1
    assert float((first * second).mean()) == pytest.approx(0.8, abs=0.02)


def test_the_net_says_its_shape_and_its_mode_comes_back():
    net = models.MLPAutoencoder(SHAPE, width=8, depth=3).train()
    ends = sampling.diffuse_without_diffusion(net, 3, [0.5, 0.1])
    assert ends.shape == (3, *SHAPE)
    assert net.training
    assert not ends.requires_grad


def test_limits_clip_every_picture_and_only_then():
    def brighter(x):
        return x + 0.3

    path = sampling.self_map(brighter, pictures(), 4, limits=(0, 1))
    assert torch.allclose(path[-1], (pictures() + 1.2).clamp(max=1))
    net = linear(scale=3.0)
    images = pictures(dtype=torch.float64)
    path = sampling.manifold_walk(net, images, 3, noise=0.5, limits=(0, 1), seed=2)
    assert path.min() == 0
    assert path.max() == 1
    free = sampling.manifold_walk(net, images, 1, noise=0.5, seed=2)
    assert torch.equal(path[1], free[1].clamp(0, 1))
    ends = sampling.diffuse_without_diffusion(
        lambda x: x, 50, [0.5, 0.2], shape=SHAPE, limits=(0, 1)
    )
    assert 0 <= float(ends.min()) < float(ends.max()) <= 1


def test_lines_in_pixels_and_in_code():
    one, two = pictures(seed=1), pictures(seed=2)
    line = sampling.interpolate(one, two, 5)
    assert torch.equal(line[0], one)
    assert torch.equal(line[-1], two)
    assert torch.allclose(line[1], 0.75 * one + 0.25 * two)
    net = models.MLPAutoencoder(SHAPE, width=8, depth=3, code=2)
    curve = sampling.interpolate(one, two, 5, net=net)
    with torch.no_grad():
        assert torch.allclose(curve[0], net(one), atol=1e-6)
        middle = net.decode((net.encode(one) + net.encode(two)) / 2)
    assert torch.allclose(curve[2], middle, atol=1e-6)
    straight = linear()
    one, two = one.double(), two.double()
    expected = straight(sampling.interpolate(one, two, 5).flatten(0, 1)).unflatten(0, (5, 5))
    assert torch.allclose(sampling.interpolate(one, two, 5, net=straight), expected)


NET = linear()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: sampling.manifold_walk(nn.Identity(), x, 3, noise=0.1), TypeError, "encode and"),
        (lambda x: sampling.manifold_walk(NET, x, 0, noise=0.1), ValueError, "1 or more"),
        (lambda x: sampling.manifold_walk(NET, x, 3, noise=-0.1), ValueError, "0 or more"),
        (lambda x: sampling.manifold_walk(NET, x, 3, noise=math.nan), ValueError, "finite"),
        (
            lambda x: sampling.manifold_walk(NET, x, 3, noise=torch.ones(3)),
            ValueError,
            r"code of shape \(2,\), got shape \(3,\)",
        ),
        (lambda x: sampling.manifold_walk(NET, x[0], 3, noise=0.1), ValueError, "at least one"),
        (lambda x: sampling.manifold_walk(NET, x / 0, 3, noise=0.1), ValueError, "finite"),
        (lambda x: sampling.self_map(lambda a: a[:, :, 1:], x, 3), ValueError, "the shape it gets"),
        (lambda x: sampling.self_map(lambda a: a * 1e200, x, 9), ValueError, "step 2 left"),
        (lambda x: sampling.self_map(NET, x, 0), ValueError, "steps"),
        (lambda x: sampling.self_map(NET, x, 1, limits=(1, 0)), ValueError, "limits"),
        (lambda x: sampling.interpolate(x, x[:2]), ValueError, "one shape"),
        (lambda x: sampling.interpolate(x, x, 1), ValueError, "2 or more"),
        (lambda x: sampling.interpolate(x, x, net=nn.Identity()), TypeError, "encode and"),
        (lambda x: sampling.decode(NET, torch.ones(3, 5).double()), ValueError, "width"),
        (lambda x: sampling.decode(nn.Identity(), torch.ones(3, 2)), TypeError, "decode"),
        (lambda x: sampling.decode(NET, torch.ones(2).double()), TypeError, "codes"),
    ],
)
def test_what_cannot_work_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(pictures(dtype=torch.float64))


@pytest.mark.parametrize(
    ("sigmas", "words"),
    [
        ([], "at least one"),
        ([0.5, 0.5], r"sigmas\[1\] is 0.5 after 0.5"),
        ([0.1, 0.2], "falling"),
        ([0.5, -0.1], "0 or more"),
        ([math.inf, 0.1], "finite"),
    ],
)
def test_a_schedule_out_of_range_is_refused(sigmas, words):
    with pytest.raises(ValueError, match=words):
        sampling.diffuse_without_diffusion(NET, 2, sigmas)


def test_diffusing_needs_a_shape_a_count_and_a_centre_that_fit():
    with pytest.raises(ValueError, match=r"shape=images\.shape"):
        sampling.diffuse_without_diffusion(lambda x: x, 2, [0.5])
    with pytest.raises(ValueError, match="fresh"):
        sampling.diffuse_without_diffusion(NET, 2, [0.5], fresh=1.1)
    with pytest.raises(ValueError, match="count"):
        sampling.diffuse_without_diffusion(NET, 0, [0.5])
    with pytest.raises(ValueError, match="centre"):
        sampling.diffuse_without_diffusion(NET, 2, [0.5], centre=torch.zeros(5))
