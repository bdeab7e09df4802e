"""data: what spoils images beside Gaussian noise, each against its definition."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: data.gaussian(-0.1), ValueError, "sigma: expected a deviation of at least 0"),
        (
            lambda: data.gaussian(float("nan")),
            ValueError,
            "sigma: expected a finite number, got nan",
        ),
        (lambda: data.gaussian(0.1, mean=float("inf")), ValueError, "mean: expected a finite"),
        (lambda: data.mixed(-0.1, 0.5), ValueError, "sigma"),
        (lambda: data.mixed(0.1, 1.5), ValueError, "share: expected a share from 0 to 1, got 1.5"),
        (lambda: data.mixed(0.1, 0.5, mean="grey"), TypeError, "mean: expected a number"),
        (lambda: data.shift(float("inf")), ValueError, "by: expected a finite"),
        (lambda: data.shift(True), TypeError, "by: expected a number, got True"),
        (lambda: data.contrast(0), ValueError, "factor: expected a number above 0, got 0"),
        (lambda: data.contrast(float("nan")), ValueError, "factor: expected a finite"),
        (lambda: data.masked(-0.1), ValueError, "share: expected a share from 0 to 1, got -0.1"),
        (lambda: data.masked(float("nan")), ValueError, "share: expected a finite"),
        (lambda: data.masked(0.1, fill=float("nan")), ValueError, "fill"),
    ],
)
def test_bad_levels_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
