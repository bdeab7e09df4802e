"""Chapter 3: do autoencoders denoise?"""

from __future__ import annotations

import math
from typing import Any

import torch

from aelib import data, random
from aelib.exercises import tried


def _drawn(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(shape, torch.zeros(1), random.generator(seed))


def _noisy(n: int = 6, sigma: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Made-up images, some flat and some lively, and the same with noise."""
    drawn = _drawn(0, n, 1, 8, 8)
    clean = 0.5 + torch.linspace(0.01, 0.2, n).view(-1, 1, 1, 1) * drawn
    return clean, data.gaussian(sigma)(clean, random.generator(1))


def ex_3_stop(answer: Any) -> None:
    """A function of λ and σ: the training time t at which s(t) = 1 − exp(−λt) denoises best."""
    for variance, sigma in ((1.0, 0.5), (0.04, 0.2), (0.01, 0.5)):
        time = float(tried(answer(variance, sigma)))
        assert time >= 0, f"For λ = {variance} and σ = {sigma} your time is {time:.3g}, before 0."
        best = sigma**2 * variance / (variance + sigma**2)
        share = 1 - math.exp(-variance * time)
        left = (1 - share) ** 2 * variance + share**2 * sigma**2
        assert left < best * 1.000001, (
            f"For λ = {variance} and σ = {sigma} the error at your time is {left / best:.3f} times "
            "the least there is. Which share s makes it least? At which t is s(t) that share?"
        )


def ex_3_standardise(answer: Any) -> None:
    """A function of a batch and of training images: the batch with the mean and the deviation, over
    images and places, that each channel has in the training images."""
    like = 0.5 + 0.1 * _drawn(2, 40, 3, 8, 8)
    batch = 0.5 + 0.1 * _drawn(3, 30, 3, 8, 8)
    batch = batch * torch.tensor([1.0, 0.5, 2.0]).view(3, 1, 1)
    mine = tried(answer(batch, like))
    assert mine.shape == batch.shape, f"Its shape is {tuple(mine.shape)}, not {tuple(batch.shape)}."
    for name, of in (("mean", torch.mean), ("deviation", torch.std)):
        have, want = of(mine, dim=(0, 2, 3)), of(like, dim=(0, 2, 3))
        assert torch.allclose(have, want, atol=1e-4), (
            f"The {name} of the first channel is {have[0]:.5f}, and in the training images "
            f"{want[0]:.5f}. Take it over images and places, for each channel by itself."
        )
    bright = torch.linspace(-0.1, 0.1, len(batch)).view(-1, 1, 1, 1)
    apart = answer(batch + bright, like).mean((1, 2, 3))
    assert float(apart[-1] - apart[0]) > 0.05, (
        "What tells one image from another, its own brightness, is gone as well. Only what all of "
        "the batch share should go."
    )
    faded = answer(0.3 * batch + 0.49, like)
    assert torch.allclose(faded, mine, atol=1e-3), (
        "A batch that has faded as a whole gives another answer; all that it shares should be gone."
    )


def ex_3_gain(answer: Any) -> None:
    """A function of a model, clean and noisy images: the gain in dB, energies pooled."""
    clean, noisy = _noisy()
    mean = clean.mean(0, keepdim=True).expand_as(clean)
    for name, model in (
        ("the mean image", lambda x: mean),
        ("x ↦ 0.8 x + 0.1", lambda x: 0.8 * x + 0.1),
    ):
        mine = float(tried(answer(model, clean, noisy)))
        energy = (noisy - clean).square().sum()
        right = float(10 * torch.log10(energy / (model(noisy) - clean).square().sum()))
        passed = (model(noisy) - model(clean)).square().sum()
        assert not (passed > 0 and abs(mine - float(10 * torch.log10(energy / passed))) < 0.02), (
            "What the net passes is not what is left: hold the output against the clean image."
        )
        assert math.isfinite(mine), f"For {name} it is {mine}. What should be in the denominator?"
        assert abs(mine - right) < 0.01, (
            f"For {name} it is {mine:.2f} dB, and should be {right:.2f}. Are energies added over "
            "all images before the logarithm is taken?"
        )


def ex_3_break(answer: Any) -> None:
    """A corruption, called as corruption(images, generator), whose change is 0 in the mean, and
    which standardising the batch undoes by more than 3 dB although no net is there."""
    from aelib.experiments.batch_statistics import standardised

    photos = data.load("photos", size=16, channels=1, train=400, test=200)
    clean = photos.test
    spoilt = tried(answer(clean, random.generator(4)))
    change = spoilt - clean
    mean, size = float(change.mean()), float(change.square().mean().sqrt())
    assert abs(mean) < 0.2 * size, (
        f"The change has a mean of {mean:.2f} beside a size of {size:.2f}: that is a shift that "
        "the batch shares. Find one that is 0 in the mean."
    )
    left = standardised(photos.train)(spoilt) - clean
    gained = 10 * math.log10(float(change.square().sum() / left.square().sum()))
    assert gained > 3, (
        f"Standardising the batch gains {gained:.1f} dB. The layer also divides by the batch's "
        "deviation: what makes that large?"
    )


def ex_3_prior(answer: Any) -> None:
    """Gains in dB of one untrained net taught one noisy photograph, along its training."""
    gains = [float(one) for one in tried(answer)]
    assert len(gains) >= 5, f"These are {len(gains)} gains; look at five moments or more."
    best = max(gains)
    assert gains[0] < best, "The first gain is the best: begin with an untrained net."
    assert best > 3, (
        f"The best gain on the way is {best:.1f} dB. Train longer, or look more often; and is it "
        "held against the clean picture?"
    )
