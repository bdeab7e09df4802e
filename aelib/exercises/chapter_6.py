"""Chapter 6: the family."""

from __future__ import annotations

from typing import Any

import torch

from aelib import measures, models, objectives, random
from aelib.exercises import tried


def ex_6_bits(answer: Any) -> None:
    """(bits of 16 slots and 64 words, words that 8 slots need for as many bits)."""
    bits, words = answer
    assert bits == 96, f"Not {bits} bits. One slot chooses one of 64 words; there are 16 slots."
    assert words == 4096, f"Not {words} words. Half as many slots need twice the bits each."


def ex_6_loophole(answer: Any) -> None:
    """A function of a linear autoencoder and a factor, changing it in place: the same copies, and
    the penalty on the code's derivatives divided by the factor squared."""
    images = torch.rand(5, 1, 4, 4, generator=random.generator(0))
    for factor in (2.0, 10.0):
        (net,) = models.replicate(lambda: models.LinearAutoencoder((1, 4, 4), code=3), 1)
        before, copies = _code_penalty(net, images), measures.outputs(net, images)
        answer(net, factor)
        gap = float((measures.outputs(net, images) - copies).abs().max())
        assert gap < 1e-4, f"The copies moved by up to {gap:.2g}. The decoder must make up for it."
        ratio = before / _code_penalty(net, images)
        assert abs(ratio / factor**2 - 1) < 1e-3, (
            f"For a factor of {factor:g} the penalty fell by {ratio:.3g}, not by {factor**2:g}."
        )


def ex_6_wiener(answer: Any) -> None:
    """A function of the second moment C (d, d) and β: the matrix W that is best for a linear net
    with the contractive penalty on the whole map."""
    root = torch.randn(6, 6, generator=random.generator(1), dtype=torch.float64)
    second = root @ root.T
    for beta in (0.1, 2.0):
        mine = torch.as_tensor(tried(answer(second, beta)), dtype=torch.float64)
        slope = (mine - torch.eye(6)) @ second + beta * mine  # half the gradient of d · the loss
        left = float(slope.abs().max())
        assert left < 1e-6, (
            f"For β = {beta:g} the loss still has a gradient of {left:.2g} there. Set the gradient "
            "of tr[(W − 1) C (W − 1)ᵀ] + β tr[W Wᵀ] to zero."
        )


def ex_6_hidden(answer: Any) -> None:
    """A function (net, images, hidden): the masked loss of each image, (n,); what is hidden is
    shown as ½."""
    images = torch.rand(8, 1, 4, 4, generator=random.generator(2))
    hidden = torch.rand(8, 1, 4, 4, generator=random.generator(3)) < 0.5

    def identity(x: torch.Tensor) -> torch.Tensor:
        return x

    mine = torch.as_tensor(tried(answer(identity, images, hidden)))
    assert mine.shape == (8,), f"One loss for each image, please: (8,), not {tuple(mine.shape)}."
    right = ((0.5 - images).square() * hidden).sum((1, 2, 3)) / hidden.sum((1, 2, 3))
    assert not torch.allclose(mine, torch.zeros(8), atol=1e-6), (
        "The identity pays nothing: it is shown what it is asked for."
    )
    assert torch.allclose(mine, right, atol=1e-5), (
        f"For the identity the first image's loss is {float(right[0]):.4f}, not "
        f"{float(mine[0]):.4f}. Count hidden pixels only, and divide by how many there are."
    )


def ex_6_words(answer: Any) -> None:
    """A function of indices (n, slots) and the size of the book: how many words are in use, as the
    exponential of the usage's entropy."""
    for index, words, right in (
        (torch.arange(8).view(2, 4), 8, 8.0),
        (torch.zeros(5, 4, dtype=torch.long), 8, 1.0),
        (torch.tensor([[0, 0, 0, 1]]), 4, 1.7548),
    ):
        mine = float(tried(answer(index, words)))
        assert abs(mine - right) < 1e-3, (
            f"For {index.flatten().tolist()} of {words} words it is {right:.4g}, not {mine:.4g}. "
            "Words that are never used add nothing: 0 log 0 is 0."
        )


def ex_6_break(answer: Any) -> None:
    """A function of images to images, without a net: where it is ½, noise of deviation 0.1 adds at
    least twice what the contractive penalty says."""
    images = torch.full((4000, 1, 2, 2), 0.5)
    noise = 0.1 * random.normal(images.shape, images, random.generator(0))
    before = (tried(answer(images)) - images).square().mean()
    after = torch.stack([(answer(images + s * noise) - images).square().mean() for s in (1, -1)])
    with random.seeded(0):
        penalty = 0.01 * objectives.contractive_terms(answer, images).slope.detach().mean()
    ratio = float((after.mean() - before) / penalty)
    assert ratio >= 2, f"Noise adds {ratio:.2f} times what the penalty says. Bend the map more."


def _code_penalty(net: models.LinearAutoencoder, images: torch.Tensor) -> float:
    with random.seeded(0), torch.no_grad():
        return float(objectives.contractive_terms(net, images, "code").slope.mean())
