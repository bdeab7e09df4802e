"""Chapter 6, second page: what is one direction of a code?"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from aelib import random
from aelib.data import Images
from aelib.exercises import tried


def ex_6b_soft(answer: Any) -> None:
    """A function of a and λ: the code z ≥ 0 that makes (z − a)² + λ z least, number by number."""
    a = torch.linspace(-1, 1, 21)
    for penalty in (0.0, 0.4, 1.0):
        mine = torch.as_tensor(tried(answer(a, penalty))).float()
        z = torch.linspace(0, 1, 2001)
        right = z[((z[None] - a[:, None]).square() + penalty * z[None]).argmin(1)]
        assert mine.shape == a.shape, f"It returns the shape {tuple(mine.shape)}, not {(21,)}."
        worst = int((mine - right).abs().argmax())
        assert (mine - right).abs().max() < 2e-3, (
            f"For a = {a[worst]:.1f} and λ = {penalty} it says {mine[worst]:.3f}, and trying every "
            f"z says {right[worst]:.3f}. Where is the slope 0, and may z be below 0?"
        )


def ex_6b_columns(answer: Any) -> None:
    """A function of V (d, u) and z (n, u): the decoder with columns of norm 1, and its code."""
    drawn = random.generator(0)
    columns = torch.randn(6, 9, generator=drawn) * torch.linspace(0.1, 5, 9)
    code = torch.rand(4, 9, generator=drawn)
    mine = tried(answer(columns, code))
    assert isinstance(mine, tuple), "It returns two things, V and z."
    new, its_code = mine
    norms = new.norm(dim=0)
    assert torch.allclose(norms, torch.ones(9), atol=1e-4), (
        f"The columns' norms are {norms.min():.2f} to {norms.max():.2f}. A column is new[:, j]."
    )
    assert torch.allclose(its_code @ new.T, code @ columns.T, atol=1e-4), (
        "The outputs are others than before. What a column lost, its unit must gain."
    )


def ex_6b_told(answer: Any) -> None:
    """A function of likeness (p, u) and own (p,): for each picture, the share of *other* units
    that it is less like than its own."""
    likeness = torch.tensor([[0.9, 0.1, 0.2, 0.3], [0.5, 0.4, 0.6, 0.1]])
    for own, right in (([0, 1], [1.0, 1 / 3]), ([3, 2], [2 / 3, 1.0]), ([1, 3], [0.0, 0.0])):
        mine = torch.as_tensor(tried(answer(likeness, torch.tensor(own)))).float()
        assert mine.shape == (2,), f"It returns the shape {tuple(mine.shape)}: one share a picture."
        assert torch.allclose(mine, torch.tensor(right), atol=1e-4), (
            f"For own units {own} it says {[round(v, 2) for v in mine.tolist()]}, and should say "
            f"{[round(v, 2) for v in right]}. The own unit is none of the others."
        )


def ex_6b_untaught(answer: Any) -> None:
    """A function of inputs (n, d): directions (d, u), u ≥ 50, whose top inputs are alike though
    nothing was trained."""
    from aelib.experiments.sparse_units import TOP, alike

    drawn = random.generator(0)
    kinds = torch.randn(40, 30, generator=drawn)  # forty kinds of thing, in thirty numbers
    which = torch.randint(40, (2000,), generator=drawn)
    inputs = kinds[which] + 0.4 * torch.randn(2000, 30, generator=drawn)
    columns = torch.as_tensor(tried(answer(inputs))).float()
    assert columns.shape[:-1] == (30,), "Directions are columns, (30, u)."
    assert columns.shape[1] >= 50, f"There are {columns.shape[1]} of them: fifty at least."
    seen = torch.nn.functional.normalize(inputs, dim=1)

    def score(directions: torch.Tensor) -> float:
        return float(alike((inputs @ directions).topk(TOP, 0).indices, seen).mean())

    chance = score(torch.randn(30, 200, generator=drawn))
    mine = score(columns)
    assert mine > 1.2 * chance, (
        f"Their top inputs are alike by {mine:.2f}; those of random directions by {chance:.2f}. "
        "Which directions are sure to have things near them?"
    )


def ex_6b_shuffled(answer: Any) -> None:
    """A function of a net with a layer "stage3", images, and how another net sees some, as rows of
    length 1: how alike the top images of sparse units are, a mean over the units."""
    drawn = random.generator(0)
    colors = torch.rand(6, 3, 1, 1, generator=drawn)  # six kinds of picture, each of one colour
    which = torch.arange(480) % 6
    noise = 0.03 * torch.randn(480, 3, 4, 4, generator=drawn)
    pictures = (colors[which] + noise).clamp(0, 1)
    images = Images("colours", pictures[:240], pictures[240:])
    with random.seeded(0):
        net = nn.Sequential(OrderedDict(stage3=nn.Conv2d(3, 24, 1), head=nn.Flatten()))

    def by_kind(some: torch.Tensor) -> torch.Tensor:
        far = (some.mean((2, 3))[:, None] - colors.flatten(1)).square().sum(2)
        return nn.functional.one_hot(far.argmin(1), 6).float()

    def by_nothing(some: torch.Tensor) -> torch.Tensor:
        rows = torch.randn(len(some), 200, generator=random.generator(1))
        return nn.functional.normalize(rows, dim=1)

    kinds, nothing = (float(tried(answer(net, images, look))) for look in (by_kind, by_nothing))
    assert abs(nothing) < 0.1, (
        f"To a net that sees nothing the top images are alike by {nothing:.2f}, not by 0. A "
        "picture is not to be compared with itself."
    )
    assert kinds > 0.5, (
        f"Pictures of six plain colours: to a net that sees colours the top images of a unit are "
        f"alike by {kinds:.2f} only. Are they the top images of units that are on?"
    )
