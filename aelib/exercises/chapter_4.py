"""Chapter 4: what do layers keep?"""

from __future__ import annotations

from typing import Any

import torch

from aelib import data, inversion, random
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
    """A function of the leftover after 1, 2, 4, … evaluations and of m_g/m_r at the end: "lost",
    "kept" or "unfinished"."""
    for f, ratio, right in (
        ([1.0, 0.9, 0.8, 0.7], 0.3, "unfinished"),
        ([1.0, 0.4, 0.3, 0.2], 0.3, "unfinished"),
        ([1.0, 0.8, 0.75, 0.745], 0.2, "lost"),
        ([1.0, 0.9, 0.8, 0.7], 0.005, "lost"),
        ([1.0, 0.3, 0.2, 0.199], 0.3, "kept"),
        ([1.0, 0.5, 0.1, 0.01], 0.005, "kept"),
    ):
        mine = tried(answer(f, ratio))
        assert mine == right, (
            f"For f = {f} and m_g/m_r = {ratio} it says {mine!r}. Has this search arrived: is "
            "m_g/m_r below .01, or did doubling change f by less than 2 %?"
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
    assert f > 0.5, f"Its leftover is {f:.2f}: that is still much of the cat. Start elsewhere."
    assert near < 1, f"m_g/m_r is {near:.2f}: the stage tells it from the cat. Search on."
