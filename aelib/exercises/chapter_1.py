"""What tells whether an exercise of chapter 1 is solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aelib import data, measures
from aelib.exercises import tried


def ex_1_mean(answer: Callable[[Tensor], Tensor]) -> None:
    """The first direction (d,) that a linear autoencoder without biases learns if nobody centres
    the images: of unit length, for images (n, 1, 8, 8)."""
    images = data.load("digits").train[:8]  # of few, the mean picture is another direction
    found = torch.as_tensor(tried(answer(images))).flatten().float()
    assert found.shape == (64,), f"A direction has 64 numbers, not {len(found)}."
    assert abs(float(found.norm()) - 1) < 1e-3, "A direction has length 1: divide by the norm."
    flat = images.flatten(1).double()
    right = torch.linalg.eigh(flat.T @ flat)[1][:, -1].float()
    centred = measures.principal_directions(images, 1)[1][0]
    fits, fits_centred = (float((found @ each).abs()) for each in (right, centred))
    assert fits_centred < 0.99, "That is PCA's first direction: the mean was taken out."
    assert fits > 0.9999, "Not the eigenvector of E a aᵀ with the largest eigenvalue."


def ex_1_mistake(answer: Callable[..., Any]) -> None:
    """The denoising gain of a net, pooled over images: gain(net, clean, noisy), in decibels."""
    clean = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    noisy = clean + 0.2 * noise

    def gain(net: Callable[[Tensor], Tensor]) -> float:
        return float(tried(answer(net, clean, noisy)))

    nothing = gain(lambda x: x)
    assert abs(nothing) < 1e-3, f"A net that does nothing gains 0 dB, not {nothing:.1f}."
    ignored = gain(lambda x: 0.001 * x)
    assert ignored < 0, f"Always answering black gains {ignored:.0f} dB. Held against what?"
    half = gain(lambda x: clean + (x - clean) / 2)
    assert abs(half - 20 * np.log10(2)) < 1e-3, (
        f"Half the noise left is a quarter of its energy: 6.0 dB, not {half:.1f}."
    )


def ex_1_bound(answer: tuple[float, float]) -> None:
    """(c, dB): the best c for stopping at t = c/σ², and what it costs for the worst spectrum."""
    c, decibels = (float(tried(each)) for each in answer)
    assert c > 0, "c is above 0: at t = 0 nothing has been learned."
    assert 0.45 < c < 0.55, (
        f"c = {c:.2f} is not the one whose worst x costs least. Draw the cost over x for a few c: "
        "it has two peaks, and as c grows one rises and the other falls."
    )
    x = np.geomspace(1e-4, 1e4, 4001)
    share = 1 - np.exp(-c * x)
    worst = 10 * np.log10((((1 - share) ** 2 * x + share**2) * (1 + x) / x).max())
    assert abs(decibels - worst) < 0.01, (
        f"With c = {c:.2f} the worst x does not cost {decibels:.2f} dB. It is 10 log₁₀ of a ratio "
        "of errors; look for its peaks on both sides of x = 1."
    )


def ex_1_break(answer: tuple[Any, float]) -> None:
    """(variances, σ): 64 variances for which the best early stop is 0.2 dB short of Wiener."""
    given, sigma = (tried(each) for each in answer)
    variances = torch.as_tensor(given).double().flatten()
    assert len(variances) == 64, f"64 variances, not {len(variances)}."
    assert bool((variances >= 0).all()), "A variance is not below 0."
    assert sigma > 0, "The noise needs a deviation above 0."
    times = torch.logspace(-3, 3, 3001, dtype=torch.float64)[:, None] / sigma**2
    stops = measures.filter_gain(variances, 1 - torch.exp(-variances * times), sigma)
    short = measures.wiener_gain(variances, sigma) - float(stops.max())
    assert short > 0.2, (
        f"The best early stop is {short:.2f} dB short of Wiener, and more than 0.2 is asked for. "
        "One stop has to suit all variances at once: make that hard for it."
    )
