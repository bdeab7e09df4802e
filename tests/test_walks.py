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
    model, steps, sigma, many = linear(), 6, 0.3, 20_000
    start = pictures(1, dtype=torch.float64)
    path = sampling.manifold_walk(model, start.expand(many, *SHAPE), steps, sigma=sigma, seed=1)
    turn = model.down @ model.up  # (code, code)
    power = torch.linalg.matrix_power
    mean = model.up @ power(turn, steps - 1) @ model.down @ start.flatten()
    cover = sum(power(turn, i) @ power(turn, i).T for i in range(steps)) * sigma**2
    cover = model.up @ cover @ model.up.T
    ends = path[-1].flatten(1)
    assert torch.allclose(ends.mean(0), mean, atol=5 * sigma * math.sqrt(steps / many))
    assert torch.allclose(ends.T.cov(), cover, atol=0.02)
    assert float(cover.diagonal().max()) > 0.1


def test_the_identity_s_walk_is_a_random_walk():
    steps, sigma = 50, 0.1
    path = sampling.manifold_walk(
        identity(), pictures(400, dtype=torch.float64), steps, sigma=sigma
    )
    moved = (path - path[0]).flatten(2).square().sum(2).mean(1) / 6  # a mean square an element
    expected = sigma**2 * torch.arange(steps + 1)
    assert torch.allclose(moved, expected.double(), rtol=0.08, atol=1e-12)
    jumps = path[1:] - path[:-1]
    assert float((jumps[1:] * jumps[:-1]).mean().abs()) < 1e-4  # a step forgets the one before


def test_one_deviation_an_element_goes_to_its_element():
    model, scale = linear(code=3), torch.tensor([0.5, 0.0, 0.1])
    start = pictures(5000, dtype=torch.float64)
    path = sampling.manifold_walk(model, start, 1, sigma=scale)
    moved = (path[1] - model(start)).flatten(1) @ model.up
    assert moved.std(0).tolist() == pytest.approx([0.5, 0.0, 0.1], rel=0.05, abs=1e-9)


@quick
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 5))
def test_a_walk_is_repeated_bit_for_bit_and_a_row_is_its_own_walk(seed, sigma, steps):
    model = models.MLPAutoencoder(SHAPE, width=8, depth=3, code=2)
    first = sampling.manifold_walk(model, pictures(), steps, sigma=sigma, seed=seed)
    again = sampling.manifold_walk(model, pictures(), steps, sigma=sigma, seed=seed)
    assert torch.equal(first, again)
    assert first.shape == (steps + 1, 5, *SHAPE)
    assert torch.equal(first[0], pictures())
    one = sampling.manifold_walk(model, pictures()[:1], steps, sigma=0.0)
    assert torch.allclose(
        one[:, 0], sampling.manifold_walk(model, pictures(), steps, sigma=0.0)[:, 0], atol=1e-5
    )


def test_a_generator_is_advanced_and_global_randomness_is_not_touched():
    model, source = identity(), random.generator(0)
    before = torch.get_rng_state()
    images = pictures(dtype=torch.float64)
    first = sampling.manifold_walk(model, images, 2, sigma=0.1, seed=source)
    second = sampling.manifold_walk(model, images, 2, sigma=0.1, seed=source)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_noise_the_walk_is_the_map_and_the_map_is_iterate():
    model = linear(code=4)
    images = pictures(dtype=torch.float64)
    infos = []
    path = sampling.self_map(model, images, 7, callback=infos.append)
    assert torch.equal(path, sampling.manifold_walk(model, images, 7, sigma=0.0))
    assert torch.equal(path[-1], measures.iterate(model, images, 7))
    assert [info["step"] for info in infos] == list(range(1, 8))
    assert all(torch.equal(info["images"], path[info["step"]]) for info in infos)
    power = torch.linalg.matrix_power(model.up @ model.down, 7)
    assert torch.allclose(path[-1].flatten(1), images.flatten(1) @ power.T, atol=1e-12)


def test_diffusing_the_identity_adds_up_all_the_noise():
    """With O = x nothing is taken away: the end is center + Σ σᵢ eᵢ."""
    sigmas = torch.tensor([1.0, 0.5, 0.25])
    ends = sampling.diffuse_without_diffusion(lambda x: x, 20_000, sigmas, shape=SHAPE, center=0.5)
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
        center=image,
        seed=3,
        callback=lambda info: calls.append(info["step"]),
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
    options = {"shape": SHAPE, "center": image, "seed": 3}
    sampling.diffuse_without_diffusion(oracle, 4000, sigmas, eta=0.0, **options)
    for left, sigma in zip(seen, sigmas, strict=True):
        assert torch.allclose(left / sigma, seen[0] / 0.8, atol=1e-5)
    seen.clear()
    sampling.diffuse_without_diffusion(oracle, 4000, sigmas, eta=0.6, **options)
    first, second = (seen[i].flatten() / sigmas[i] for i in (0, 1))
    assert float(second.std()) == pytest.approx(1, rel=0.02)  # 0.8² + 0.6² = 1
    assert float((first * second).mean()) == pytest.approx(0.8, abs=0.02)


def test_the_model_says_its_shape_and_its_mode_comes_back():
    model = models.MLPAutoencoder(SHAPE, width=8, depth=3).train()
    ends = sampling.diffuse_without_diffusion(model, 3, [0.5, 0.1])
    assert ends.shape == (3, *SHAPE)
    assert model.training
    assert not ends.requires_grad


def test_every_picture_is_clamped_where_asked():
    def brighter(x):
        return x + 0.3

    path = sampling.self_map(brighter, pictures(), 4, clamp=(0, 1))
    assert torch.allclose(path[-1], (pictures() + 1.2).clamp(max=1))
    model = linear(scale=3.0)
    images = pictures(dtype=torch.float64)
    path = sampling.manifold_walk(model, images, 3, sigma=0.5, clamp=(0, 1), seed=2)
    assert path.min() == 0
    assert path.max() == 1
    free = sampling.manifold_walk(model, images, 1, sigma=0.5, seed=2)
    assert torch.equal(path[1], free[1].clamp(0, 1))
    ends = sampling.diffuse_without_diffusion(
        lambda x: x, 50, [0.5, 0.2], shape=SHAPE, clamp=(0, 1)
    )
    assert 0 <= float(ends.min()) < float(ends.max()) <= 1


def test_lines_in_pixels_and_in_code():
    one, two = pictures(seed=1), pictures(seed=2)
    line = sampling.interpolate(one, two, 5)
    assert torch.equal(line[0], one)
    assert torch.equal(line[-1], two)
    assert torch.allclose(line[1], 0.75 * one + 0.25 * two)
    model = models.MLPAutoencoder(SHAPE, width=8, depth=3, code=2)
    curve = sampling.interpolate(one, two, 5, model=model)
    with torch.no_grad():
        assert torch.allclose(curve[0], model(one), atol=1e-6)
        middle = model.decode((model.encode(one) + model.encode(two)) / 2)
    assert torch.allclose(curve[2], middle, atol=1e-6)
    straight = linear()
    one, two = one.double(), two.double()
    expected = straight(sampling.interpolate(one, two, 5).flatten(0, 1)).unflatten(0, (5, 5))
    assert torch.allclose(sampling.interpolate(one, two, 5, model=straight), expected)


MODEL, walk, diffuse = linear(), sampling.manifold_walk, sampling.diffuse_without_diffusion


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: walk(nn.Identity(), x, 3, sigma=0.1), TypeError, "model: .* encode"),
        (lambda x: walk(MODEL, x, 0, sigma=0.1), ValueError, "steps: "),
        (lambda x: walk(MODEL, x, 3, sigma=-0.1), ValueError, "sigma: .* 0 or more"),
        (lambda x: walk(MODEL, x, 3, sigma=math.nan), ValueError, "sigma: "),
        (
            lambda x: walk(MODEL, x, 3, sigma=torch.ones(3)),
            ValueError,
            r"sigma: expected .* \(2\), .* \(3,\)",
        ),
        (
            lambda x: walk(MODEL, x, 3, sigma=torch.tensor([1.0, -0.1])),
            ValueError,
            "sigma: .* 0 or more",
        ),
        (lambda x: walk(MODEL, x[0], 3, sigma=0.1), ValueError, "images: "),
        (
            lambda x: sampling.self_map(lambda a: a[:, :, 1:], x, 3),
            ValueError,
            "model: .* the shape",
        ),
        (lambda x: sampling.self_map(lambda a: a * 1e200, x, 9), ValueError, "finite .* step 2"),
        (lambda x: sampling.self_map(MODEL, x, 1, clamp=(1, 0)), ValueError, "clamp"),
        (lambda x: sampling.interpolate(x, x[:2]), ValueError, "last: "),
        (lambda x: sampling.interpolate(x, x, 1), ValueError, "points: "),
        (lambda x: sampling.interpolate(x, x, model=nn.Identity()), TypeError, "model: .*encode"),
        (lambda x: sampling.decode(MODEL, torch.ones(3, 5).double()), ValueError, "codes: "),
        (lambda x: sampling.decode(nn.Identity(), torch.ones(3, 2)), TypeError, "model: .*decode"),
        (lambda x: diffuse(MODEL, 2, []), ValueError, r"len\(sigmas\)"),
        (
            lambda x: diffuse(MODEL, 2, [0.5, 0.5]),
            ValueError,
            r"sigmas\[1\]: expected below 0.5, got 0.5",
        ),
        (lambda x: diffuse(MODEL, 2, [1, -1]), ValueError, r"sigmas\[1"),
        (lambda x: diffuse(lambda x: x, 2, [0.5]), ValueError, "shape: "),
        (lambda x: diffuse(MODEL, 2, [0.5], eta=1.1), ValueError, "eta: "),
        (lambda x: diffuse(MODEL, 0, [0.5]), ValueError, "n: "),
        (lambda x: diffuse(MODEL, 2, [0.5], center=torch.zeros(5)), ValueError, "center: "),
    ],
)
def test_what_cannot_work_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(pictures(dtype=torch.float64))


def test_a_model_may_change_what_it_is_given_in_place():
    class Halving(nn.Module):
        shape = SHAPE

        def encode(self, images):
            return images.mul_(0.5)

        decode = forward = encode

    images, plain = pictures(), lambda x: x / 2
    before = images.clone()
    assert torch.equal(sampling.self_map(Halving(), images, 2), sampling.self_map(plain, images, 2))
    assert torch.equal(sampling.decode(Halving(), images), before / 2)
    sampling.interpolate(images, images, model=Halving())
    assert torch.equal(images, before)
    loops = (
        sampling.diffuse_without_diffusion(model, 2, [1, 0.5, 0.1], eta=0.0, shape=SHAPE)
        for model in (Halving(), plain)
    )
    assert torch.equal(*loops)
