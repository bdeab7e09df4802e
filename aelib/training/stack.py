"""Several models as one: one batched graph for all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """Models of one architecture as one module: parameters stacked, forward vectorised over seeds.

    Maps (seeds, batch, …) to (seeds, batch, …). The models' own parameters are not touched until
    `unstack` writes the stacked ones back into them.
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        stacked, buffers = torch.func.stack_module_state(list(models))
        if buffers:
            raise ValueError(
                "together: models with buffers (such as batch statistics) cannot share one graph; "
                "use together=False"
            )
        self._names = list(stacked)
        self.stacked = nn.ParameterList(
            [nn.Parameter(value.detach().clone()) for value in stacked.values()]
        )
        self._models = tuple(models)  # a tuple, so that they are not registered as submodules
        self._bare = (deepcopy(models[0]).to("meta"),)

    def forward(self, images: Tensor) -> Tensor:
        bare = self._bare[0]

        def one(parameters: dict[str, Tensor], batch: Tensor) -> Tensor:
            return torch.func.functional_call(bare, parameters, (batch,))

        parameters = dict(zip(self._names, self.stacked, strict=True))
        return torch.func.vmap(one, randomness="different")(parameters, images)

    @torch.no_grad()
    def unstack(self) -> None:
        """Write each seed's parameters into its own model."""
        for name, values in zip(self._names, self.stacked, strict=True):
            for model, value in zip(self._models, values, strict=True):
                model.get_parameter(name).copy_(value)

    @torch.no_grad()
    def restack(self) -> None:
        """The other way: take the models' parameters."""
        for name, values in zip(self._names, self.stacked, strict=True):
            for model, value in zip(self._models, values, strict=True):
                value.copy_(model.get_parameter(name))
