"""Batch norms that cost next to nothing, while a frozen model is read.

In evaluation mode a batch norm multiplies each channel by one number and adds another. Where its
input is what a convolution gives, and nobody else's, the numbers go into the weights of the
convolution; elsewhere they are one multiply-add, without the statistics.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from aelib.inversion.reading import Forward, catching

ROUNDING = 1e-4  # of a layer's largest feature: so far may folding move the others
# What a batch norm does last: timm's has its activation in it. Other subclasses are left alone.
PLAIN, TIMMS = nn.BatchNorm2d, ("timm.layers.norm_act", "BatchNormAct2d")


@contextlib.contextmanager
def folded(
    model: nn.Module,
    layer: str,
    images: Tensor,
    forward: Forward | None = None,
    channels_last: bool = False,
) -> Iterator[None]:
    """Inside the block a frozen model computes `layer` with its batch norms folded.

    Two forward passes up to the layer, before and after, show which convolution a batch norm
    follows, and that the features stay the same but for rounding. Where they do not, as in a
    model that uses a convolution's own output elsewhere too, nothing is folded. Modules behind the
    layer are never touched, nor a convolution that is itself read.

    Args:
        model: a `frozen` module; its stand-ins are changed, and are back in place afterwards.
        layer: the name of a place in it (`names`), the only one to be read inside the block.
        images: (n, channels, height, width), which the features are compared for.
        forward: how images go through the model; None for model(images).
        channels_last: memory layout of the images.

    Source: Jacob et al. (2018), "Quantization and training of neural networks", section 3.2.
    """
    modules = [module for module in model.modules() if _can_fold(module)]
    with contextlib.ExitStack() as stack:
        if not all(isinstance(module, nn.Conv2d) for module in modules):
            with catching(model, [layer], forward, channels_last=channels_last) as catch:
                if not _fold_all(modules, lambda: catch(images)[layer], stack):
                    stack.close()
        yield


@torch.enable_grad()  # a forward pass may take a gradient of its own
def _fold_all(
    modules: Sequence[nn.Module], read: Callable[[], Tensor], stack: contextlib.ExitStack
) -> bool:
    """Fold until the stack is closed; whether what `read` gives is still the same."""
    before, came_from = _watched(modules, read)
    for norm, conv in came_from.items():
        _fold(norm, conv, stack)
    try:
        off = (read() - before).abs().max() if came_from else 0.0
    except Exception:  # of the folded model; one of the model's own is raised again without folding
        return False
    return bool(off <= ROUNDING * before.abs().max())


def _watched(
    modules: Sequence[nn.Module], read: Callable[[], Tensor]
) -> tuple[Tensor, dict[nn.BatchNorm2d, nn.Conv2d | None]]:
    """What `read` gives, and the batch norms that ran: each with the convolution before it.

    None stands for what cannot be changed, or runs more than once.
    """
    calls: Counter[nn.Module] = Counter()
    made: dict[int, tuple[nn.Conv2d, int, Tensor]] = {}  # held, so that no id comes twice
    came_from: dict[nn.BatchNorm2d, nn.Conv2d | None] = {}

    def note(module: nn.Conv2d | nn.BatchNorm2d, inputs: tuple, output: Tensor) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module, getattr(output, "_version", 0), output
            return
        given = inputs[0] if inputs else output
        conv, version, _ = made.get(id(given), (None, 0, given))
        came_from[module] = conv if given._version == version else None  # else changed in between

    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(note, prepend=True).remove)
        features = read()
    for norm, conv in came_from.items():
        if conv is not None and calls[norm] + calls[conv] > 2:
            came_from[norm] = None
    return features, came_from


def _can_fold(module: nn.Module) -> bool:
    """Whether it is a convolution or a batch norm, and running it runs that and nothing else."""
    kind, statistics = type(module), module._buffers.get("running_var")
    norm = kind is PLAIN or (kind.__module__, kind.__qualname__) == TIMMS
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    tensors = [*module._parameters.values(), *module._buffers.values()]
    return (
        (isinstance(module, nn.Conv2d) or (norm and statistics is not None and not module.training))
        and {"weight", "bias"} <= module._parameters.keys()  # else one is made at each call
        and all(one.dtype == torch.float32 for one in tensors if one is not None and one.dim())
        and not any(hooks)
        and "forward" not in vars(module)
    )


def _fold(norm: nn.BatchNorm2d, conv: nn.Conv2d | None, stack: contextlib.ExitStack) -> None:
    """Fold a batch norm into a convolution, or into a multiply-add, until the stack is closed."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    if conv is None:
        wide = [values.float()[:, None, None] for values in (scale, shift)]
        first = partial(_multiply_add, *wide)
    else:
        own = conv._parameters
        stack.callback(own.update, dict(own))
        bias = shift if conv.bias is None else shift + scale * conv.bias
        weight = (conv.weight * scale[:, None, None, None]).float()
        own["weight"], own["bias"] = (nn.Parameter(one, False) for one in (weight, bias.float()))
        first = _same
    stack.callback(vars(norm).pop, "forward")
    vars(norm)["forward"] = first if type(norm) is PLAIN else partial(_activated, norm, first)


def _same(x: Tensor) -> Tensor:
    return x


def _multiply_add(scale: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    return torch.addcmul(shift, x, scale).to(x.dtype)  # autocast's x is of another dtype


def _activated(norm: nn.Module, first: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    act, drop = cast(nn.Module, norm.act), cast(nn.Module, norm.drop)
    return act(drop(first(x)))
