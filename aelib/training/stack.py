"""Several models as one: one batched graph for all seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from aelib import random
from aelib.training.trial import UNFIT

PLAIN = (bool, int, float, complex, str, type(None), torch.dtype, torch.device)


class Stack(nn.Module):
    """Models of one architecture as one module: parameters stacked, forward vectorised over seeds.

    Maps (seeds, batch, …) to (seeds, batch, …); every tensor it is called with has both axes. The
    models' own parameters are not touched until `unstack` writes the stacked ones back into them.

    Args:
        models: differing in nothing but the values of their parameters, on one device.
        attempt: tries the graph: called with this module, its result is not used.

    Raises:
        ValueError: if the models cannot share one graph; says why.
    """

    def __init__(self, models: Sequence[nn.Module], attempt: Callable[[Stack], object]):
        super().__init__()
        if why := difference(models):
            raise ValueError(f"together: {why}; use together=False")
        stacked, _ = torch.func.stack_module_state(list(models))
        wanted = {name: value.requires_grad for name, value in models[0].named_parameters()}
        self._names = list(stacked)
        self.stacked = nn.ParameterList(
            nn.Parameter(value.detach().clone(), wanted[name]) for name, value in stacked.items()
        )
        self._models = tuple(models)  # a tuple, so that they are not registered as submodules
        try:
            self._bare = (deepcopy(models[0]),)
            with torch.no_grad(), random.seeded(None, self.stacked[0].device):
                attempt(self)
        except UNFIT as error:
            raise ValueError(
                f"together: torch.func.vmap cannot run these models ({error}); use together=False"
            ) from error

    def forward(self, *inputs):
        bare = self._bare[0]

        def one(parameters: dict[str, Tensor], *inputs):
            return torch.func.functional_call(bare, parameters, inputs)

        parameters = dict(zip(self._names, self.stacked, strict=True))
        axes = (0, *(0 if isinstance(one, Tensor) else None for one in inputs))
        return torch.func.vmap(one, axes, randomness="different")(parameters, *inputs)

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


def difference(models: Sequence[nn.Module]) -> str:
    """Why these models cannot share one graph, in words; empty if they can.

    They can if only the values of their parameters differ: one architecture, down to each plain
    attribute (such as a skip), no buffers, no hooks.
    """
    modules = [module for model in models for module in model.modules()]
    if any(True for model in models for _ in model.buffers()):
        return "models with buffers (such as batch statistics) cannot share one graph"
    if any(module._forward_hooks or module._forward_pre_hooks for module in modules):
        return "models with hooks cannot share one graph"
    first, *others = map(_outline, models)
    for number, other in enumerate(others, 1):
        unlike = [name for name in first | other if first.get(name, ()) != other.get(name, ())]
        if unlike:
            return f"models 0 and {number} cannot share one graph: they differ in {unlike[0]}"
    return ""


def _outline(model: nn.Module) -> dict[str, object]:
    """All that makes a model what it is, except its parameters' values."""
    own = vars(nn.Module())
    found: dict[str, object] = {}
    for path, module in model.named_modules():
        found[f"the type of {path or 'the model'}"] = type(module)
        for name, value in vars(module).items():
            if name not in own:
                plain = repr(value) if isinstance(value, list | tuple | dict | set) else id(value)
                found[f"{path}.{name}".lstrip(".")] = value if isinstance(value, PLAIN) else plain
    for name, value in model.named_parameters():
        found[name] = (value.shape, value.dtype, value.requires_grad)
    return found
