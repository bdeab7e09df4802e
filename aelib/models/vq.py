"""The vector-quantised autoencoder: its code is written in words of a book that it learns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib import checks, random
from aelib.models.autoencoders import MLPAutoencoder
from aelib.models.modes import evaluating


class UnusedWordsWarning(UserWarning):
    """More than half of a code book stands for nothing in the images."""


class VQAutoencoder(MLPAutoencoder):
    """A fully connected autoencoder whose code is a row of words from a book of few.

    The layers of an `MLPAutoencoder` of the same width, depth and code. The code's numbers are cut
    into `slots` pieces, and each piece is replaced by the nearest of the `words`, vectors of
    code/slots numbers that are learned with the net. What the decoder gets is slots · log₂(words)
    bits. `encode` gives the words, (batch, code); `decode` takes any code to its nearest words
    first. The nearest word changes in jumps, so no gradient passes; `quantize` lets it pass as if
    code and words were one (straight through).

    Args:
        shape: (channels, height, width) of an image; d is their product.
        width: elements of each hidden layer.
        depth: hidden layers, the code's included; odd.
        code: elements of the code, divisible by `slots`.
        slots: pieces of the code.
        words: in the book, 2 or more.
        activation, init, gain, bias: as in `MLPAutoencoder`.

    Raises:
        ValueError, TypeError: for sizes that do not fit, a book of one word.

    Source: van den Oord et al. (2017), arXiv 1711.00937; chapter 6.

    >>> model = VQAutoencoder((1, 8, 8), width=32, code=8, slots=4, words=16)
    >>> model.index(torch.rand(5, 1, 8, 8)).shape  # which word in each slot
    torch.Size([5, 4])
    """

    def __init__(self, shape: Sequence[int], width: int = 512, depth: int = 3, *, code: int,
                 slots: int = 16, words: int = 64, activation: str = "relu", init: str = "torch",
                 gain: float = 1.0, bias: bool = True):  # fmt: skip
        checks.counts(slots=slots)
        advice = "with one word every image has the same code"
        if checks.whole(words, "words", least=1) == 1:
            raise ValueError(checks.message("words", "2 or more", words, advice))
        if checks.whole(code, "code", least=1) % slots:
            expected = f"a multiple of {slots} (slots)"
            raise ValueError(checks.message("code", expected, code))
        super().__init__(shape, width, depth, code=code, activation=activation, init=init,
                         gain=gain, bias=bias)  # fmt: skip
        self.words = nn.Parameter(torch.randn(words, code // slots))

    def continuous(self, images: Tensor) -> Tensor:
        """What the encoder says before it is put into words, (batch, code)."""
        return super().encode(images)

    def index(self, images: Tensor) -> Tensor:
        """Which word stands in each slot of the images' codes: whole numbers, (batch, slots)."""
        return self._index(self.continuous(images))

    def nearest(self, code: Tensor) -> Tensor:
        """The words nearest to a code, (batch, code); a gradient reaches the words only."""
        return self.words[self._index(code)].flatten(-2)

    def quantize(self, code: Tensor) -> Tensor:
        """The words nearest to a code, (batch, code); a gradient reaches the code, unchanged."""
        return code + (self.nearest(code) - code).detach()

    def encode(self, images: Tensor) -> Tensor:
        """The words of the images' codes, (batch, code)."""
        return self.quantize(self.continuous(images))

    def decode(self, code: Tensor) -> Tensor:
        """The image D(z̄) for the words z̄ nearest to a code."""
        return super().decode(self.quantize(code))

    def usage(self, images: Tensor) -> Tensor:
        """The share of all slots of these images in which each word stands: (words,), sum 1.

        Warns:
            UnusedWordsWarning: where more than half of the words stand nowhere.
        """
        with evaluating(self), torch.no_grad():
            index = self.index(images).flatten()
        counts = torch.bincount(index, minlength=len(self.words))
        unused = int((counts == 0).sum())
        if 2 * unused > len(counts):
            advice = "call models.restart_unused now and then while it learns, or take fewer words"
            warnings.warn(
                checks.message("words", "a book that is used",
                               checks.Described(f"{unused} of {len(counts)} never used"), advice),
                UnusedWordsWarning, stacklevel=2,
            )  # fmt: skip
        return counts / len(index)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, words={tuple(self.words.shape)}"

    def _index(self, code: Tensor) -> Tensor:
        pieces = code.detach().unflatten(-1, (-1, self.words.shape[1]))  # (batch, slots, size)
        words = self.words.detach()
        # ‖z − w‖² without ‖z‖², which is the same for all words.
        return (words.square().sum(-1) - 2 * pieces @ words.T).argmin(-1)


@torch.no_grad()
def restart_unused(model: VQAutoencoder, images: Tensor, seed: int | torch.Generator = 0) -> int:
    """Put each word that none of these images uses onto a piece of one of their codes.

    Call it now and then in a training, with a batch or more:
    `fit(net, images, callback=lambda at: [restart_unused(n, images) for n in at["models"]], …)`;
    `objectives.quantized` trains several nets side by side, so that the change lasts; with `ema` it
    does not.

    Args:
        model: changed in place.
        images: (n, channels, height, width).
        seed: which pieces.

    Returns:
        How many words were moved.

    Raises:
        ValueError: for images whose codes are all alike, which no word can tell apart.

    Source: Dhariwal et al. (2020), arXiv 2005.00341, section 3, "random restarts"; chapter 6.

    >>> model = VQAutoencoder((1, 4, 4), width=32, code=2, slots=1, words=8)
    >>> images = torch.rand(100, 1, 4, 4)
    >>> restart_unused(model, images) > 0
    True
    """
    images = images.to(model.words.device)
    with evaluating(model):
        code, index = model.continuous(images), model.index(images)
    if float((code - code[:1]).abs().max()) == 0:
        got = checks.Described("images of which all codes are alike")
        advice = "constant images, or an encoder that ignores them: lower the learning rate"
        raise ValueError(checks.message("images", "images that differ", got, advice))
    unused = torch.bincount(index.flatten(), minlength=len(model.words)) == 0
    pieces = code.unflatten(-1, (-1, model.words.shape[1])).flatten(0, 1)
    source = random.generator(seed)
    chosen = torch.randint(len(pieces), (int(unused.sum()),), generator=source)
    model.words[unused] = pieces[chosen.to(pieces.device)]
    return len(chosen)
