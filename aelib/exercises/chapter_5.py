"""Chapter 5: where do codes lie, and where do steps between them lead?"""

from __future__ import annotations

import math
from typing import Any

import torch

from aelib import data, random
from aelib.exercises import tried


def ex_5_middle(answer: Any) -> None:
    """A function of t: by how much to stretch (1 − t) x + t y away from the mean."""
    for t in (0.5, 0.25, 0.9, 0.0):
        mine, right = float(tried(answer(t))), 1 / math.hypot(t, 1 - t)
        assert abs(mine - right) < 1e-4, (
            f"At t = {t} it is {mine:.3f}, and should be {right:.3f}. What is the variance of "
            "(1 − t) x + t y for independent x and y of variance 1?"
        )


def ex_5_residual(answer: Any) -> None:
    """The share of digits that ten applications of a residual net move by over 0.3."""
    share = float(tried(answer))
    assert 0 <= share <= 1, f"A share lies between 0 and 1, and this is {share:g}."
    assert share < 0.1, (
        f"A share of {share:.2f} walked. Did the net train, and is the image itself added to its "
        "answer, skip=1.0?"
    )


def ex_5_posterior(answer: Any) -> None:
    """A function of (noisy, known, sigma): P(each known image | the noisy one), (n, m)."""
    known = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]])[:, None, None]
    noisy = torch.tensor([[1.0, 0.0], [0.5, 0.0], [30.0, 40.0]])[:, None, None]
    for sigma in (1.0, 0.5):
        mine = torch.as_tensor(tried(answer(noisy, known, sigma)))
        assert mine.shape == (3, 3), f"Its shape is {tuple(mine.shape)}, not (3, 3)."
        square = torch.cdist(noisy.flatten(1), known.flatten(1)).square()
        right = (-square / (2 * sigma**2)).softmax(1)
        assert torch.isfinite(mine).all(), (
            "Far from all of them it is not a number: every density is 0 there. Compare their "
            "logarithms."
        )
        assert torch.allclose(mine, right, atol=1e-4), (
            f"With σ = {sigma:g} the second image gets {mine[1].tolist()}, and should get "
            f"{[round(float(p), 4) for p in right[1]]}. What is the density of noise of deviation "
            "σ, as a function of the distance?"
        )


def ex_5_break(answer: Any) -> None:
    """Two places, (2, 2): discs a pixel or more apart whose mixture is nearly a disc."""
    places = torch.as_tensor(tried(answer)).float()
    assert places.shape == (2, 2), f"Its shape is {tuple(places.shape)}, not (2, 2)."
    apart = float((places[0] - places[1]).norm())
    assert apart >= 1, f"They are {apart:.2f} pixels apart, and one is asked for."
    first, last = data.discs.draw(places)
    off = float(data.discs.nearest(((first + last) / 2)[None]).distances)
    assert off < 0.5, (
        f"Half-way in pixels lies {off:.2f} from the nearest disc: that does not refute the claim."
    )


def ex_5_linear(answer: Any) -> None:
    """A function of (U, V, a, eps, t): mean (d,) and covariance (d, d) of the linear walk."""
    for seed, t in ((0, 1), (1, 4)):
        source = random.generator(seed)
        U, V = (0.6 * torch.randn(shape, generator=source).double() for shape in ((2, 4), (4, 2)))
        a = torch.rand(4, generator=source).double()
        mean, covariance = tried(answer(U, V, a, 0.5, t))
        end = a.expand(200_000, 4)
        for _ in range(t):
            code = end @ U.T
            end = (code + 0.5 * torch.randn(code.shape, generator=source).double()) @ V.T
        scale = float(end.std(0).max())
        assert torch.allclose(torch.as_tensor(mean).double(), end.mean(0), atol=0.02 * scale), (
            f"After {t} steps 200,000 walkers have another mean. Follow the code: what takes it "
            "from one encoding to the next?"
        )
        right = torch.as_tensor(covariance).double()
        assert torch.allclose(right, end.T.cov(), atol=0.05 * scale**2), (
            f"The mean is right; after {t} steps 200,000 walkers have another covariance. Each "
            "step's noise goes through all the steps after it."
        )


def ex_5_generate(answer: Any) -> None:
    """500 pictures, (500, 1, 28, 28): nearer to digits than a mixture of 40, and no copies."""
    from aelib.experiments.digit_diffusion import density
    from aelib.experiments.judge import digits, frechet

    mine = torch.as_tensor(tried(answer)).detach().float()
    assert mine.shape == (500, 1, 28, 28), f"Its shape is {tuple(mine.shape)}."
    known = torch.cat([digits().train, digits().test]).flatten(1)
    two = torch.cdist(mine.flatten(1), known).topk(2, largest=False).values
    ratio = float((two[:, 0] / two[:, 1]).mean())
    assert ratio > 0.896, (  # .03 below what real new digits have, chapter 4's bound
        f"The nearest known digit is {ratio:.2f} times as far as the second nearest: these are "
        "copies, or nearly. Real new digits have .93."
    )
    here, rival = float(frechet(mine)), float(frechet(density(40)(500, 0)))
    assert here < rival, (
        f"Its Fréchet distance is {here:.0f}, that of forty Gaussians in 50 directions of the "
        f"pixels {rival:.0f}. Train longer, take a code of other width, or more Gaussians."
    )


def ex_5_walk(answer: Any) -> None:
    """A function of (noisy discs, seed): one step back from noise of deviation 4.

    Its walk is to keep the data's spread.
    """
    start, places = data.discs.sample(128, 3)

    def step_from(x: torch.Tensor, seed: int) -> torch.Tensor:
        back = torch.as_tensor(tried(answer(x, seed))).detach().float()
        assert back.shape == start.shape, f"A step's shape is {tuple(back.shape)}."
        return back

    there = data.discs.nearest(step_from(start, 0)).numbers
    moved = float((there - places).norm(dim=1).mean())
    assert moved < 5.5, (
        f"From a disc without noise your step leads {moved:.1f} pixels away; to any disc at all it "
        "would be 7. Does it look at the picture?"
    )
    x, source = start, random.generator(7)
    mean = data.discs.nearest(start.mean(0, keepdim=True)).distances
    for step in range(60):
        x = step_from(x + 4 * random.normal(x.shape, x, source), step)
    found = data.discs.nearest(x)
    off = float(found.distances.mean() / mean)
    wide = float(data.discs.spread(found.numbers))
    assert off < 0.3, (
        f"After 60 steps the walkers are {off:.2f} times as far from the manifold as the mean "
        "picture is. What pulls them back to it?"
    )
    assert 0.8 < wide < 1.2, (
        f"The walkers stay on the manifold, with {wide:.2f} of the data's variance; 1 is asked "
        "for, within a fifth. Does a step draw, or does it average?"
    )
