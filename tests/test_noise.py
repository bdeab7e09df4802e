"""data: what spoils images, each against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from aelib import data

IMAGES = torch.rand(400, 2, 6, 5, generator=torch.Generator().manual_seed(0))
CORRUPTIONS = {
    "gaussian": data.gaussian(0.2),
    "mixed": data.mixed(0.2, 0.3),
    "shift": data.shift(0.2),
    "shift of each": data.shift(0.2, shared=False),
    "contrast": data.contrast(1.5),
    "contrast of each": data.contrast(1.5, shared=False),
    "masked": data.masked(0.25),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_seed_gives_one_result_and_images_stay(name):
    corrupt, before = CORRUPTIONS[name], IMAGES.clone()
    first, again = corrupt(IMAGES, seeded()), corrupt(IMAGES, seeded())
    assert torch.equal(first, again)
    assert torch.equal(IMAGES, before)
    assert first.shape == IMAGES.shape
    assert first.dtype == torch.float32
    assert corrupt(IMAGES.double(), seeded()).dtype == torch.float64
    random = name not in ("shift", "contrast")
    assert torch.equal(first, corrupt(IMAGES, seeded(1))) is not random
    with pytest.raises(TypeError, match=r"images: .*torch.uint8"):
        corrupt(IMAGES.byte(), seeded()) if random else data.gaussian(0.1)(IMAGES.byte())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_seeds_may_stand_in_front_of_the_batch(name):
    stacked = IMAGES[:50].expand(3, 50, 2, 6, 5)
    result = CORRUPTIONS[name](stacked, seeded())
    assert result.shape == stacked.shape
    alike = name in ("shift", "contrast")
    assert torch.equal(result[0], result[1]) is alike


def test_mixed_fades_the_image_into_noise():
    noise = data.gaussian(0.2, mean=0.7)(torch.zeros_like(IMAGES), seeded(3))
    mixture = data.mixed(0.2, 0.3, mean=0.7)(IMAGES, seeded(3))
    assert torch.allclose(mixture, 0.7 * IMAGES + 0.3 * noise, atol=1e-6)
    assert torch.equal(data.mixed(0.2, 0.0)(IMAGES, seeded()), IMAGES)
    only = data.mixed(0.2, 1.0)(IMAGES, seeded())
    assert only.mean().item() == pytest.approx(0.5, abs=0.01)
    assert only.std().item() == pytest.approx(0.2, abs=0.01)


def test_a_shift_is_one_number_an_image():
    for shared in (True, False):
        change = (data.shift(0.2, shared)(IMAGES, seeded()) - IMAGES).flatten(1)
        assert torch.allclose(change.abs(), torch.tensor(0.2), atol=1e-6)  # the same energy
        assert torch.allclose(change, change[:, :1].expand_as(change), atol=1e-6)
        up = (change[:, 0] > 0).float().mean().item()
        assert up == 1 if shared else 0.4 < up < 0.6


def test_contrast_stretches_about_the_middle():
    stretched = data.contrast(1.5)(IMAGES, seeded())
    assert torch.allclose(stretched - 0.5, 1.5 * (IMAGES - 0.5), atol=1e-6)
    factors = ((data.contrast(1.5, shared=False)(IMAGES, seeded()) - 0.5) / (IMAGES - 0.5)).flatten(
        1
    )
    grown = factors[:, 0] > 1
    assert torch.allclose(factors[grown], torch.tensor(1.5), atol=1e-3)
    assert torch.allclose(factors[~grown], torch.tensor(1 / 1.5), atol=1e-3)
    assert 0.4 < grown.float().mean() < 0.6


def test_a_mask_takes_whole_pixels():
    masked = data.masked(0.25, fill=-1.0)(IMAGES, seeded())
    gone = masked == -1
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(masked[~gone], IMAGES[~gone])
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(data.masked(0.0)(IMAGES, seeded()), IMAGES)
    assert not data.masked(1.0)(IMAGES, seeded()).any()


@pytest.mark.parametrize(("sigma", "mean"), [(0.2, 0.0), (0.2, 0.7), (0, 0.5), (3, -1)])
def test_gaussian_moments_unclipped(sigma, mean):
    images = torch.full((8, 3, 64, 64), 0.5)
    noisy = data.gaussian(sigma, mean)(images, seeded())
    noise = noisy - images
    assert noise.mean().item() == pytest.approx(mean, abs=4 * sigma / noise.numel() ** 0.5 + 1e-6)
    assert noise.std().item() == pytest.approx(sigma, rel=0.02, abs=1e-6)
    if sigma == 3:
        assert noisy.min() < 0
        assert noisy.max() > 1


def test_gaussian_without_a_generator_draws_from_torchs_own():
    torch.manual_seed(3)
    noisy = data.gaussian(0.5)(IMAGES)
    assert torch.equal(noisy, data.gaussian(0.5)(IMAGES, seeded(3)))


def test_gaussian_is_comparable():
    assert data.gaussian(0.2) == data.gaussian(0.2, 0.0)
    assert repr(data.gaussian(0.2)) == "GaussianNoise(sigma=0.2, mean=0.0)"


def test_white_noise_is_even_and_seeded():
    noise = data.white_noise(50, (3, 20, 20))
    assert noise.shape == (50, 3, 20, 20)
    assert noise.dtype == torch.float32
    assert torch.equal(noise, data.white_noise(50, (3, 20, 20), seed=0))
    assert not torch.equal(noise, data.white_noise(50, (3, 20, 20), seed=1))
    values, steps = noise.flatten().sort().values, torch.linspace(0, 1, noise.numel())
    assert (values - steps).abs().max() < 1.95 / noise.numel() ** 0.5  # Kolmogorov, p = .001
    assert (values >= 0).all()
    assert (values < 1).all()


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: data.gaussian(-0.1), ValueError, "sigma"),
        (lambda: data.gaussian(0.1, mean=math.inf), ValueError, "mean"),
        (lambda: data.mixed(-0.1, 0.5), ValueError, "sigma"),
        (lambda: data.mixed(0.1, 1.5), ValueError, "share"),
        (lambda: data.mixed(0.1, 0.5, mean="grey"), TypeError, "mean"),
        (lambda: data.shift(True), TypeError, "by"),
        (lambda: data.contrast(0), ValueError, "factor"),
        (lambda: data.masked(-0.1), ValueError, "share"),
        (lambda: data.masked(0.1, fill=math.nan), ValueError, "fill"),
        (lambda: data.white_noise(0, (1, 2, 2)), ValueError, "n"),
        (lambda: data.white_noise(1, (1, 0, 2)), ValueError, "shape"),
    ],
)
def test_bad_levels_are_named(make, error, name):
    with pytest.raises(error, match=f"^{name}: expected"):
        make()
