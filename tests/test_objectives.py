"""objectives: one loss per example, each against a slow plain version, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aelib import data, objectives, random

SHAPE = (2, 8, 4)
IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0])


def scores(images):
    """Three numbers an image."""
    return torch.stack([images[..., 0, :, :].mean((-2, -1)), images.amax((-3, -2, -1)),
                        -3 * images.amin((-3, -2, -1))], -1)  # fmt: skip


# --- copy ----------------------------------------------------------------------------------------


def test_copy_is_the_mean_squared_error_of_each_image():
    errors = objectives.copy(torch.sqrt, IMAGES)
    assert errors.shape == (5,)
    for image, error in zip(IMAGES, errors, strict=True):
        difference = (image.sqrt() - image).double()
        assert error.item() == pytest.approx((difference**2).sum().item() / 64, rel=1e-5)
    stacked = objectives.copy(lambda images: images + 0.5, IMAGES.expand(3, *IMAGES.shape))
    assert stacked.shape == (3, 5)
    assert torch.allclose(stacked, torch.tensor(0.25))


@pytest.mark.parametrize(
    ("model", "returns"),
    [
        (nn.Conv2d(2, 3, 1), r"\(5, 3, 8, 4\)"),
        (nn.Flatten(), r"\(5, 64\)"),
        (lambda images: images[:1], r"\(1, 2, 8, 4\)"),  # one image would be broadcast to all
        (lambda images: (images, images), "tuple|tensor"),
    ],
)
@pytest.mark.parametrize("objective", [objectives.copy, objectives.denoise(data.gaussian(0.2))])
def test_an_autoencoder_gives_back_the_shape(objective, model, returns):
    expected = rf"model: .* the shape it gets, \(5, 2, 8, 4\), got one that returns .*{returns}"
    with pytest.raises(objectives.ObjectiveError, match=expected):
        objective(model, IMAGES)


# --- denoise -------------------------------------------------------------------------------------


def test_denoise_compares_with_the_clean_image():
    noise = data.gaussian(0.2)
    with random.seeded(3):
        losses = objectives.denoise(noise)(torch.tanh, IMAGES)
        again = objectives.denoise(noise)(torch.tanh, IMAGES)
    with random.seeded(3):
        noisy = noise(IMAGES)
    expected = [(b.tanh() - a).square().mean() for b, a in zip(noisy, IMAGES, strict=True)]
    assert torch.allclose(losses, torch.stack(expected))
    assert not torch.allclose(losses, again)  # fresh noise every time
    stacked = objectives.denoise(noise)(torch.tanh, IMAGES.expand(3, *IMAGES.shape))
    assert stacked.shape == (3, 5)
    assert not torch.allclose(stacked[0], stacked[1])


def test_denoising_without_noise_is_copying():
    losses = objectives.denoise(data.gaussian(0.0))(torch.sqrt, IMAGES)
    assert torch.allclose(losses, objectives.copy(torch.sqrt, IMAGES))


def test_the_identity_keeps_the_noises_own_variance():
    losses = objectives.denoise(data.gaussian(0.2))(lambda x: x, torch.zeros(2000, 1, 8, 8))
    assert losses.mean().item() == pytest.approx(0.04, rel=0.02)


def test_denoise_wants_a_noise():
    with pytest.raises(TypeError, match=r"noise: .* such as data.gaussian\(0.2\), got 0.2"):
        objectives.denoise(0.2)


# --- classify ------------------------------------------------------------------------------------


def test_classify_is_the_cross_entropy_of_each_image():
    losses = objectives.classify(scores, IMAGES, LABELS)
    assert losses.shape == (5,)
    for image, label, loss in zip(IMAGES, LABELS, losses, strict=True):
        chances = [math.exp(score) for score in scores(image).tolist()]
        assert loss.item() == pytest.approx(-math.log(chances[label] / sum(chances)), rel=1e-5)
    stacked = objectives.classify(
        scores, torch.stack([IMAGES, IMAGES.flip(0)]), torch.stack([LABELS, LABELS.flip(0)])
    )
    assert torch.allclose(stacked, torch.stack([losses, losses.flip(0)]))


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (scores, None, "labels: expected a label for each image"),
        (scores, LABELS + 1, "labels: expected whole numbers from 0 to 2, .* got 1 to 3"),
        (scores, LABELS - 1, "labels: .* got -1 to 1"),
        (scores, LABELS[:3], r"labels: .* of shape \(5,\), got torch.int64 of shape \(3,\)"),
        (scores, LABELS.float(), r"labels: .* whole numbers .* got torch.float32"),
        (scores, LABELS > 0, r"labels: .* whole numbers .* got torch.bool"),
        (scores, LABELS.tolist(), r"labels: .* got \[0, 2"),
        (lambda images: images, LABELS, r"model\(images\): .* a class, \(5, 'classes'\)"),
        (lambda images: None, LABELS, "got None"),
    ],
)
def test_classify_says_what_is_wrong(model, labels, message, gradients):
    with (
        torch.set_grad_enabled(gradients),
        pytest.raises(objectives.ObjectiveError, match=message),
    ):
        objectives.classify(model, IMAGES, labels)
