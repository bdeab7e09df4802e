"""Chapter 4: what do layers keep?"""

from __future__ import annotations

import math
from typing import Any

import torch

from aelib import data, inversion, measures, random
from aelib.exercises import tried


def ex_4_mean(answer: Any) -> None:
    """A function of an image (channels, height, width): f of the best picture of one colour."""
    for number, brightness in enumerate((0.5, 0.2, 0.8)):
        drawn = torch.rand(3, 6, 6, generator=random.generator(number))
        image = brightness + 0.3 * (drawn - 0.5)
        mine = float(tried(answer(image)))
        left = (image - image.mean((1, 2), keepdim=True)).square().sum()
        grey = float((image - image.mean()).square().sum() / (image - 0.5).square().sum())
        right = float(left / (image - 0.5).square().sum())
        assert abs(mine - right) < 1e-4 or abs(mine - grey) > 1e-4, (
            f"For one picture it is {mine:.3f}. That is the best grey: a colour has three numbers."
        )
        assert abs(mine - right) < 1e-4, (
            f"For one picture it is {mine:.3f}, and should be {right:.3f}. Which colour makes the "
            "squared error least? And by what is it divided?"
        )


def ex_4_arrived(answer: Any) -> None:
    """A function of the leftover after 1,000, 2,000, 4,000, … evaluations and of m_g/m_r at the
    end: "lost", "kept" or "unfinished"."""
    for f, ratio, right in (
        ([1.0, 0.9, 0.8, 0.7], 0.3, "unfinished"),
        ([1.0, 0.4, 0.3, 0.2], 0.3, "unfinished"),
        ([1.0, 0.6, 0.2, 0.35], 0.3, "unfinished"),
        ([1.0, 0.8, 0.75, 0.7], 0.1, "unfinished"),
        ([1.0, 0.3, 0.15, 0.14], 0.3, "unfinished"),
        ([1.0, 0.8, 0.75, 0.745], 1.4, "unfinished"),
        ([1.0, 0.8, 0.75, 0.745], 0.2, "lost"),
        ([1.0, 0.9, 0.8, 0.7], 0.005, "lost"),
        ([1.0, 0.3, 0.2, 0.199], 0.3, "kept"),
        ([1.0, 0.5, 0.1, 0.01], 0.005, "kept"),
    ):
        mine = tried(answer(f, ratio))
        assert mine == right, (
            f"For f = {f} and m_g/m_r = {ratio} it says {mine!r}. Has this search arrived: is "
            "m_g/m_r below .01; or is it below 1, and did doubling change f by less than 2 %?"
        )


def ex_4_metamer(answer: Any) -> None:
    """A picture (3, 32, 32) that stage 4 of the kept residual net cannot tell from a cat."""
    from aelib.experiments.cifar_classifiers import classifier

    net = classifier("ResNet")
    photos = data.load("photos", size=32, channels=3, train=64, test=16, holdout=5)
    cat, mine = photos.test[6], torch.as_tensor(tried(answer)).detach().float()
    assert mine.shape == cat.shape, f"Its shape is {tuple(mine.shape)}, not {tuple(cat.shape)}."
    noise = random.normal(cat.shape, cat, random.generator(0)) / 18
    seen = inversion.features(net, torch.stack([cat, cat + noise, mine]), "stage4")["stage4"]
    near = float((seen[2] - seen[0]).norm() / (seen[1] - seen[0]).norm())
    f = float((mine - cat).square().sum() / (cat - 0.5).square().sum())
    assert f > 1, f"Its leftover is {f:.2f}, and that of grey 1. Start elsewhere."
    assert near < 1, f"m_g/m_r is {near:.2f}: the stage tells it from the cat. Search on."


def ex_4_two(answer: Any) -> None:
    """A function of (x̃, σ): the least squared error's answer where x is −1 or 1, at even odds."""
    for x, sigma in ((0.0, 0.5), (0.3, 0.5), (-0.8, 1.0), (1.5, 2.0), (0.1, 0.1)):
        mine, right = float(tried(answer(x, sigma))), math.tanh(x / sigma**2)
        assert abs(abs(mine) - 1) > 1e-3 or abs(abs(right) - 1) < 1e-3, (
            f"At x̃ = {x}, σ = {sigma} it answers {mine:.3f}, one of the two. That is the likelier, "
            "and not what makes the squared error least: which number is that, of a distribution?"
        )
        assert abs(mine - right) < 1e-3, (
            f"At x̃ = {x}, σ = {sigma} it answers {mine:.3f}, and should {right:.3f}. How likely is "
            "1, seen from x̃, and how likely −1?"
        )


def ex_4_eta(answer: Any) -> None:
    """A function of (ᾱ_t, ᾱ_s): the share of new noise in the variance after a step of DDPM."""
    for now, then in ((0.1, 0.3), (0.5, 0.6), (0.5, 0.9), (0.9, 0.99)):
        mine = float(tried(answer(now, then)))
        sigma = (1 - then) / (1 - now) * (1 - now / then)
        right = sigma / (1 - then)
        assert abs(mine - sigma) > 1e-4 or abs(mine - right) < 1e-4, (
            f"From ᾱ = {now} to {then} it is {mine:.3f}. That is σ²: divide it by all the variance "
            "of noise there is at the new time."
        )
        assert abs(mine - right) < 1e-4, (
            f"From ᾱ = {now} to {then} it is {mine:.3f}, and should be {right:.3f}."
        )


def ex_4_confident(answer: Any) -> None:
    """100 pictures (1, 28, 28) in [0, 1] that the judge takes for digits, surer than real ones."""
    from aelib.experiments import judge

    mine = torch.as_tensor(tried(answer)).float()
    assert mine.shape == (100, 1, 28, 28), f"Its shape is {tuple(mine.shape)}."
    assert torch.equal(mine, mine.clamp(0, 1)), "Grey levels go from 0 to 1."
    digits = judge.digits()
    sure, of_digits = (float(judge.confidence(x)) for x in (mine, digits.test))
    far, apart = (float(judge.frechet(x)) for x in (mine, digits.test))
    assert sure > of_digits, (
        f"The judge is sure of them to {sure:.3f}, of real digits to {of_digits:.3f}."
    )
    assert far > 100 * apart, "Their Fréchet distance is too small: are there digits among them?"
    known = digits.train.flatten(1)

    def off(images: torch.Tensor) -> float:  # from the nearest digit, in the picture's own lengths
        flat = images.flatten(1)
        return float((torch.cdist(flat, known).amin(1) / flat.norm(dim=1)).median())

    assert off(mine) > 1.5 * off(digits.test), (
        f"Half of them lie within {off(mine):.2f} of their own length from a digit, of real ones "
        f"within {off(digits.test):.2f}: are they none?"
    )


def ex_4_features(answer: Any) -> None:
    """1,000 pictures (n, 1, 28, 28) or more: near digits in pixels, far in the judge's features."""
    from aelib.experiments import judge

    mine = torch.as_tensor(tried(answer)).float()
    assert mine.shape[1:] == judge.SHAPE, f"Each should be of shape {judge.SHAPE}."
    test, flat = judge.digits().test, judge.digits().train.flatten(1)
    assert len(mine) >= len(test), (
        f"They are {len(mine)}: too few for a Fréchet distance in {flat.shape[1]} pixels."
    )
    near, usual = (float(measures.frechet_distance(x.flatten(1), flat)) for x in (mine, test))
    assert near < 1.5 * usual, f"In pixels they are at {near:.2f}, real digits at {usual:.2f}."
    far, real = float(judge.frechet(mine)), float(judge.frechet(test))
    assert far > 100 * real, (
        f"In the judge's features they are at {far:.1f}, real ones at {real:.1f}: that is still "
        "something like digits."
    )


def ex_4_denoiser(answer: Any) -> None:
    """A function of (singular values, s): what no one can find of the input behind noise of s."""
    for values, s in (
        ([1.0, 1.0], 0.1),
        ([2.0, 0.1], 0.5),
        ([1.0, 0.0], 0.2),
        ([3.0, 1.0, 0.3], 1),
    ):
        slopes = torch.tensor(values)
        mine = float(tried(answer(slopes, s)))
        right = float((s**2 / (slopes.square() + s**2)).mean())
        assert abs(mine - right) < 1e-4, (
            f"For singular values {values} and s = {s} it is {mine:.3f}, and should be "
            f"{right:.3f}. Direction by direction: y = λx + s·e, x and e of variance 1. What is "
            "the variance of x once y is known?"
        )
