"""Several models as one: one batched graph for all seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from aelib import checks, random, runtime
from aelib.models import count_parameters
from aelib.training.dry_run import UNFIT
from aelib.training.plan import Plan

# On a CPU one batched graph pays only while a step, parameters × batch of one model, is so small
# that the time goes into calling the operators. benchmarks/seeds.py: any limit from 2 to 4.7
# million loses least over three and ten seeds; above it the ways without a graph cost the same.
SMALL_STEP = 4_000_000

PLAIN = (
    bool, int, float, complex, str, type(None), slice, range, np.generic, torch.dtype, torch.device
)  # fmt: skip
CONTAINERS = (list, tuple, set, frozenset, dict)


class Ensemble(nn.Module):
    """Models of one architecture as one module: parameters stacked, forward vectorised over seeds.

    Maps (seeds, batch, …) to (seeds, batch, …); every tensor it is called with has both axes. The
    models' own parameters are not touched until `unstack` writes the stacked ones back into them.

    Args:
        models: differing in nothing but the values of their parameters, on one device.
        attempt: tries the graph: called with this module, its result is not used.

    Raises:
        ValueError: if the models cannot share one graph; says why.
    """

    def __init__(self, models: Sequence[nn.Module], attempt: Callable[[Ensemble], object]):
        super().__init__()
        if why := difference(models):
            raise _refusal(why)
        stacked, _ = torch.func.stack_module_state(list(models))
        trained = {name: value.requires_grad for name, value in models[0].named_parameters()}
        self._names = list(stacked)
        self.stacked = nn.ParameterList(
            nn.Parameter(value.detach().clone(), trained[name]) for name, value in stacked.items()
        )
        self._models = tuple(models)  # a tuple, so that they are not registered as submodules
        try:
            self._bare = (deepcopy(models[0]),)
            with torch.no_grad(), random.seeded(None, self.stacked[0].device):
                attempt(self)
        except UNFIT as error:
            raise _refusal(f"models that torch.func.vmap cannot run ({error})") from error

    def forward(self, *inputs):
        bare = self._bare[0]

        def single(parameters: dict[str, Tensor], *inputs):
            return torch.func.functional_call(bare, parameters, inputs)

        parameters = dict(zip(self._names, self.stacked, strict=True))
        axes = (0, *(0 if isinstance(value, Tensor) else None for value in inputs))
        # Under vmap fused attention runs seed by seed on a CPU, and its backward fails on a GPU.
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.vmap(single, axes, randomness="different")(parameters, *inputs)

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


def ensemble(plan: Plan) -> Ensemble | None:
    """A plan's models as one graph, if that is asked for, or possible and cheaper; else None.

    Raises:
        ValueError: if it is asked for and not possible.
    """
    n, device, vmap = len(plan.models), plan.place.device, plan.vmap
    if n == 1 or vmap is False:
        return None
    small = plan.sizes[0] * count_parameters(plan.models[0]) <= SMALL_STEP
    if vmap is None and runtime.is_cpu(device) and not small:
        return None
    try:
        if len(set(plan.sizes)) > 1:
            raise _refusal("other numbers of images, and no batch_size")
        pair = plan.images[0][:2].to(device)
        inputs = [pair.expand(n, *pair.shape)]
        if plan.labels is not None:
            inputs.append(plan.labels[0][:2].to(device).expand(n, -1))
        return Ensemble(plan.models, lambda models: plan.objective(models, *inputs))
    except ValueError:
        if vmap:
            raise
        return None


def _refusal(why: str) -> ValueError:
    got = checks.Described(why)
    return ValueError(
        checks.message("vmap", "models that can share one graph", got, "use vmap=False")
    )


def difference(models: Sequence[nn.Module]) -> str:
    """Why these models cannot share one graph, in words; empty if they can.

    They can if only the values of their parameters differ: one architecture, down to each plain
    attribute (such as a skip), no buffers, no hooks, and no parameter in common, which as one
    graph would become several.
    """
    modules = [module for model in models for module in model.modules()]
    if any(True for model in models for _ in model.buffers()):
        return "models with buffers (such as batch statistics)"
    if any(module._forward_hooks or module._forward_pre_hooks for module in modules):
        return "models with hooks"
    trained = [value for model in models for value in model.parameters() if value.requires_grad]
    if len(set(map(id, trained))) < len(trained):
        return "models that share a parameter"
    first, *others = map(_outline, models)
    for number, other in enumerate(others, 1):
        unlike = [name for name in first | other if first.get(name, ()) != other.get(name, ())]
        if unlike:
            return f"models 0 and {number}, which differ in {unlike[0]}"
    return ""


def _contents(value: Any, parts: dict[int, str], around: tuple[int, ...] = ()) -> object:
    """What stands for an attribute: of a part of the model its name, of what is plain the contents,
    of anything else itself. `around`: the containers that it lies in."""
    if id(value) in parts:
        return "part", parts[id(value)]
    if isinstance(value, PLAIN):
        return type(value), repr(value)
    inside = (*around, id(value))
    if not isinstance(value, CONTAINERS) or id(value) in around:
        return id(value)
    if isinstance(value, dict):
        return dict, tuple((key, _contents(one, parts, inside)) for key, one in value.items())
    contents = [_contents(one, parts, inside) for one in value]
    ordered = isinstance(value, list | tuple)
    return type(value), tuple(contents) if ordered else frozenset(contents)


def _outline(model: nn.Module) -> dict[str, object]:
    """All that makes a model what it is, except its parameters' values."""
    common = vars(nn.Module())
    outline: dict[str, object] = {}
    parts = {id(part): path for path, part in (*model.named_modules(), *model.named_parameters())}
    for path, module in model.named_modules():
        outline[f"the type of {path or 'the model'}"] = type(module)
        for name, value in vars(module).items():
            if name not in common:
                outline[f"{path}.{name}".lstrip(".")] = _contents(value, parts)
    for name, value in model.named_parameters():
        outline[name] = (value.shape, value.dtype, value.requires_grad)
    return outline
