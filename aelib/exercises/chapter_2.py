"""Chapter 2: what is copied off the data, and when images are stored."""

from __future__ import annotations

import numpy as np
import torch

from aelib import data, fit, measures, models, random
from aelib.exercises import tried


def ex_2_linear(answer) -> None:
    """How many nonzero images can attract: under a ↦ W a, and under a ↦ W a + b."""
    found = tried(answer)
    assert np.shape(found) == (2,), "Give two whole numbers: without the vector b, and with it."
    without, with_it = found
    assert without == 0, (
        "If W a = a, then W (1.01 a) = 1.01 a as well: does a neighbour of a come back to a?"
    )
    assert with_it == 1, (
        "If two images are copied exactly, so is every point of the line through them. And one "
        "alone, with W = 0 and b that image?"
    )


def ex_2_lines(answer) -> None:
    """With 1, 3 or 5 hidden layers: which stores fewest of 16 digits?"""
    found = tried(answer)
    assert found in (1, 3, 5), "Answer with the number of hidden layers: 1, 3 or 5."
    assert found == 1, "Measure it: how many fixed points attract with so few layers?"


def ex_2_offdata(answer) -> None:
    """`answer(optimizer, lr)` gives the largest change in training of any W v off the data."""
    plain = float(tried(answer("sgd", 0.5)))
    adam = float(tried(answer("adam", 2e-3)))
    assert plain < 1e-4, (
        f"Plain descent moved W v by {plain:.2g}; it should not move it. Is v off the data, and "
        "are both weights detached before they are compared?"
    )
    assert adam > 1e-3, f"Adam moves W v by more than {adam:.2g}. Did the net train with Adam?"


def ex_2_mistake(answer) -> None:
    """`answer(net, taught, others)` gives the share of starts that a net draws to what it knows."""
    generator = torch.Generator().manual_seed(0)
    taught = torch.rand(4, 1, 4, 4, generator=generator)
    others = torch.rand(20, 1, 4, 4, generator=generator)
    identity = float(tried(answer(lambda images: images, taught, others)))
    assert identity < 0.01, (
        f"The identity stores nothing, and your measure gives it {identity:g}. Where did the "
        "starts come from?"
    )
    stuck = float(answer(lambda images: taught[:1].expand_as(images), taught, others))
    assert stuck > 0.99, (
        f"A net that gives one of its images whatever goes in stores that one, and your measure "
        f"gives it {stuck:g}. The end may be at any of the taught images."
    )
    lost = float(answer(lambda images: torch.full_like(images, 9.0), taught, others))
    assert lost < 0.01, (
        f"A net that sends everything far from all of its images stores none, and your measure "
        f"gives it {lost:g}. Near what has the end to be?"
    )
    slow = float(answer(lambda images: images + 0.3 * (taught[:1] - images), taught, others))
    assert slow > 0.99, (
        f"A net that goes a third of the way to one of its images at each application draws "
        f"everything to it in the end, and your measure gives it {slow:g}. When do you look?"
    )


def ex_2_break(answer) -> None:
    """Options of MLPAutoencoder with which four digits are fitted and not stored."""
    options = {"width": 128, "depth": 5, **tried(answer)}
    assert options["width"] >= 64, "The claim is about overcomplete nets: keep the width above 64."
    digits = data.load("digits")
    few = digits.take(4, seed=0).train
    with random.seeded(0):
        net = models.MLPAutoencoder(digits.shape, **options)
    fit(net, few, steps=800, batch_size=4)
    missed = float(measures.unexplained_variance(net, few))
    assert missed < 1e-3, f"The net must fit its four images; it misses {missed:.2g} of them."
    recall = measures.memory(net, few, digits.test[:40], times=300)
    stored = float(recall.recalled.float().mean())
    assert stored < 0.05, f"Of the new digits {stored:.0%} still end at one of the four."


def ex_2_threshold(answer) -> None:
    """`answer(n, width)` gives training variance missed and H, (nets,), where they are compared."""
    missed, recalled = (np.atleast_1d(part) for part in tried(answer(16, 128)))
    assert missed.mean() < 2e-3, (
        f"On average {missed.mean():.2g} of the training variance is missed: train until a "
        "thousandth is."
    )
    assert recalled.mean() > 0.1, (
        f"H is {recalled.mean():.2g}. Sixteen images are stored more often than that at this fit."
    )
    _, many = (np.atleast_1d(part) for part in answer(64, 128))
    assert many.mean() < recalled.mean(), (
        "Sixty-four images in the same net are stored less often. Does your function use n?"
    )
