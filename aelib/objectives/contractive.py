"""`contractive`: give back the image, and answer its small changes as little as that allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aelib import checks, random
from aelib.objectives.objective import ObjectiveError, squared_error

PARTS = ("copy", "code")


class ContractiveTerms(NamedTuple):
    """The two terms of the contractive loss for each image, both (...).

    `error`: ‖O(a) − a‖²/d, a mean over the image's d elements.
    `slope`: ‖Jᵀu‖²/d for one u ~ N(0, 1), a sum over the image divided by the same d; its mean
    over u is ‖J‖_F²/d, the sum of all squared derivatives.
    """

    error: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Contractive:
    """Squared error plus β times the squared derivatives. Made by `contractive`."""

    beta: float
    part: str = "copy"

    def __call__(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The loss of each image, shape (...); u is drawn from torch's global generator."""
        error, slope = contractive_terms(model, images, self.part)
        return error + self.beta * slope


def contractive(beta: float, part: str = "copy") -> Contractive:
    """The objective of a contractive autoencoder: ‖O(a) − a‖²/d + (β/d) ‖J‖_F².

    The derivatives are those of the whole map, J = ∂O/∂a, for which β = σ² makes this loss that of
    a denoiser of noise σ: exactly if the net is linear, else up to terms of σ⁴ and one of σ² that
    multiplies the net's curvature with its error. Or they are those of the encoder alone,
    J = ∂E/∂a, as they were first proposed. A net can lower these for nothing, by a smaller code and
    a larger decoder, unless the decoder's scale is held.

    ‖J‖_F² is not computed but estimated, without bias, by the gradient of a random mixture u of
    what comes out, for each image: twice the cost of a copy, whatever d.

    Args:
        beta: the weight β ≥ 0, a squared grey level; 0 is copying.
        part: "copy" for J of the whole map, "code" for J of `model.encode`.

    Raises:
        TypeError, ValueError: for a weight out of range, an unknown part.

    Source: Rifai et al. (2011), ICML, for the code; Alain and Bengio (2014), arXiv 1211.4246,
    section 2, for the whole map; chapter 6.

    >>> objective = contractive(0.0)
    >>> objective(lambda images: images + 0.5, torch.zeros(2, 1, 8, 8)).detach()
    tensor([0.2500, 0.2500])
    """
    beta = checks.number(beta, "beta", least=0)
    return Contractive(beta, checks.choice(part, "part", PARTS))


def contractive_terms(model: Any, images: Tensor, part: str = "copy") -> ContractiveTerms:
    """The two terms apart, before β: see `ContractiveTerms`.

    Args:
        model: maps images to images; with `encode` and `decode` where `part` is "code".
        images: (..., channels, height, width).

    Raises:
        ObjectiveError: for a model that returns another shape, or has no `encode`.

    Source: chapter 6.
    """
    if part == "code":
        try:
            checks.methods(model, "encode", "decode", advice='use part="copy"')
        except TypeError as error:
            raise ObjectiveError(str(error)) from None
    learning = torch.is_grad_enabled()
    with torch.enable_grad():  # the derivatives are part of the value
        inputs = images.detach().requires_grad_()
        answers = model(inputs) if part == "copy" else model.encode(inputs)
        mixture = random.normal(answers.shape, answers)
        (slopes,) = torch.autograd.grad(answers, inputs, mixture, create_graph=learning)
    answers = answers if learning else answers.detach()
    error = squared_error(answers if part == "copy" else model.decode(answers), images)
    d = images.shape[-3:].numel()
    return ContractiveTerms(error, slopes.square().sum((-3, -2, -1)) / d)
