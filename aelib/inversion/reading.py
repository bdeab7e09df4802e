"""Reading a model that stays exactly as it is: frozen, and cut off behind the layer read."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.inversion.names import OUTPUT, Node, Path, named_modules, parse, parts
from aelib.models import evaluating
from aelib.runtime import out_of_memory

Forward = Callable[[nn.Module, Tensor], object]
Read = Callable[[Tensor], Tensor]


def run(model: nn.Module, images: Tensor) -> object:
    """The usual way through a model. Another `forward` can add inputs or normalize the images."""
    return model(images)


def alike(first: Tensor, second: Tensor) -> bool:
    """Whether features differ by no more than rounding; such a layer says nothing of the image."""
    rounding = 4 * torch.finfo(first.dtype).eps * first.abs().max()
    return bool((first - second).abs().max() <= rounding)


class _Reached(BaseException):
    """Raised behind the layer that is read, so that nothing deeper is computed.

    No `Exception`: a forward pass that catches those would go on with another branch.
    """


class Call(NamedTuple):
    """One call of a module in a forward pass, and what it returned."""

    name: str
    kind: str  # of the module
    returned: str  # the kind of what it returned
    parts: dict[Path, Tensor]


@contextlib.contextmanager
def frozen(model: nn.Module, channels_last: bool = False) -> Iterator[None]:
    """Inside the block the model runs in evaluation mode on stand-ins for all its tensors.

    Those for weights want no gradient, so none is computed for them; whatever a forward pass
    writes into a buffer, or an attribute that holds a tensor, goes into a copy. The model's own
    tensors are never touched; afterwards, also after an exception or Ctrl-C, they and each module's
    mode are back in place. Convolutions run in whole float32 meanwhile: on a GPU cuDNN would round
    to TF32, and differently for one image than for a batch of them.

    `torch.func.functional_call` gives the same features, but swaps at every call instead of once.

    Args:
        model: any module.
        channels_last: lay out four-dimensional weights with the channels last.
    """

    def stand_in(tensor: Tensor, copy: bool) -> Tensor:
        plain = tensor.detach()
        if channels_last and plain.dim() == 4:
            plain = plain.contiguous(memory_format=torch.channels_last)
        # A tensor made in inference mode can be no part of a graph; its clone can.
        return plain.clone() if copy or plain.is_inference() else plain

    modules = list(model.modules())
    # Plain attributes too: old hooks keep there the weight they make, an LSTM a list of its own.
    held: list[tuple[dict[str, Any], bool]] = []
    for module in modules:
        parameters: dict[str, Any] = module._parameters
        held += [(parameters, False), (module._buffers, True), (vars(module), True)]
    before = [(values, dict(values)) for values, _ in held]
    # What a forward notes in a list or a dictionary of its own goes again.
    common = vars(nn.Module())
    noted = [
        (value, value.copy())
        for module in modules
        for name, value in vars(module).items()
        if name not in common and isinstance(value, list | dict)
    ]
    stand_ins: dict[int, Tensor] = {}  # a tensor that two modules share stays shared
    with evaluating(model), _whole_float32():
        try:
            for values, copy in held:
                for name, own in list(values.items()):
                    if isinstance(own, Tensor):
                        if id(own) not in stand_ins:
                            new = stand_in(own, copy)
                            stand_ins[id(own)] = new if copy else nn.Parameter(new, False)
                        values[name] = stand_ins[id(own)]
                    elif isinstance(own, list) and any(id(one) in stand_ins for one in own):
                        values[name] = [stand_ins.get(id(one), one) for one in own]
            yield
        finally:
            for values, own in before:
                _restore(values, own)
            for value, contents in noted:
                if _parts(value) != _parts(contents):
                    if isinstance(value, list):
                        value[:] = contents
                    else:
                        dict.clear(value)
                        dict.update(value, contents)


def _parts(value: list | dict) -> list[int]:
    """What a list or a dictionary holds, by identity: to compare values would ask tensors."""
    items = value.items() if isinstance(value, dict) else ((one,) for one in value)
    return [id(part) for item in items for part in item]


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """No TF32 in cuDNN's convolutions; torch allows it there unless it is told not to."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _restore(values: dict[str, Any], own: dict[str, Any]) -> None:
    """Undo what was done to tensors, and lists of them, in a module's dictionary."""

    def tensors(value: object) -> bool:
        return isinstance(value, Tensor) or (
            isinstance(value, list) and any(isinstance(one, Tensor) for one in value)
        )

    for name in [*values, *(name for name in own if name not in values)]:
        was, now = own.get(name), values.get(name)
        if was is not now and (tensors(was) or tensors(now)):
            if name in own:
                values[name] = was
            else:
                del values[name]


@contextlib.contextmanager
def reader(
    model: nn.Module,
    layer: str,
    forward: Forward | None = None,
    *,
    channels_last: bool = False,
    precision: str = "no",
    compiled: bool = False,
) -> Iterator[Read]:
    """A function from images to the features of `layer`, alive inside the block.

    Args:
        model: a `frozen` module.
        layer: the name of a place in it (`names`).
        forward: how images go through the model; None for model(images).
        channels_last: memory layout of the images.
        precision: "no", or "bf16" for autocast inside the model.
        compiled: cut the model by tracing instead of by a hook, and compile what is left. It needs
            a model that torch.fx can trace, and minutes for the first call.

    Yields:
        read(images): images (n, channels, height, width) to features (n, …) of the images' own
        dtype, whatever the weights'. Gradients flow back to the images and nowhere else. The images
        are not written to.
    """
    how = {"channels_last": channels_last, "precision": precision, "compiled": compiled}
    with catching(model, [layer], forward, **how) as catch:
        yield lambda images: catch(images)[layer]


@contextlib.contextmanager
def catching(
    model: nn.Module,
    layers: Sequence[str],
    forward: Forward | None = None,
    *,
    channels_last: bool = False,
    precision: str = "no",
    compiled: bool = False,
    keep: Callable[[str, Tensor], Tensor] = lambda name, features: features,
) -> Iterator[Callable[[Tensor], dict[str, Tensor]]]:
    """A `reader` of several layers at once: by name, in one forward pass that ends with the last.

    `keep(name, features)` is called when a layer has run, before the next can change its features
    in place; it gives what is returned of them.
    """
    forward, dtype, modules = forward or run, weights_dtype(model), named_modules(model)
    nodes = {name: cast(Node, parse(name, {*modules, OUTPUT})) for name in layers}
    calls: Counter[str] = Counter()
    caught: dict[str, Tensor] = {}
    images, lift = torch.empty(0), cast(Callable[[Tensor], Tensor], None)

    def note(module: str, output: object) -> None:
        call = calls[module]
        calls[module] += 1
        for name, node in nodes.items():
            if node.module == module and (node.call or 0) == call:
                part = dict(parts(output))[node.path] if node.path else cast(Tensor, output)
                # Losses flatten them again and again, which copies what is not laid out in order.
                features = part.to(images.dtype).contiguous()
                if dtype == torch.float16 and features.requires_grad:
                    features = lift(features)
                caught[name] = keep(name, features)
                if len(caught) == len(nodes):
                    raise _Reached

    with contextlib.ExitStack() as stack:
        if compiled:
            [(name, node)] = nodes.items()
            model, modules = cast(nn.Module, torch.compile(_cut(model, node))), {}
            nodes = {name: Node(OUTPUT, None, node.path)}
        else:
            stack.enter_context(eager())
        for name in {node.module for node in nodes.values()} & modules.keys():

            def stop(module: nn.Module, inputs: tuple, output: object, name: str = name) -> None:
                note(name, output)

            stack.callback(modules[name].register_forward_hook(stop).remove)

        def catch(given: Tensor) -> dict[str, Tensor]:
            nonlocal images, lift
            images = given
            layout = torch.channels_last if channels_last else torch.preserve_format
            copy = images.clone(memory_format=layout)  # a model may begin with an in-place step
            mixed = torch.autocast(
                images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"
            )
            if dtype == torch.float16:
                copy, lift = _lifting(copy)
            try:
                with mixed:
                    note(OUTPUT, forward(model, copy.to(dtype or images.dtype)))
            except _Reached:
                return dict(caught)
            else:
                for name in nodes:
                    if name not in caught:
                        raise ValueError(f"layers: {name!r} did not run for these images")
                return dict(caught)  # the forward pass has swallowed even `_Reached`
            finally:
                calls.clear()
                caught.clear()

        yield catch


def _lifting(images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Images, and a function for their features, between which each row's gradient is near 1.

    In float16 the small gradient of a large layer would vanish on its way back.
    """
    scale = torch.empty(0)

    def up(gradient: Tensor) -> Tensor:
        nonlocal scale
        size = gradient.flatten(1).abs().amax(1)
        scale = torch.exp2(size.where(size > 0, 1.0).log2().floor())  # a power of 2 rounds nothing
        return gradient / scale.view(-1, *[1] * (gradient.dim() - 1))

    def down(gradient: Tensor) -> Tensor:
        return gradient * scale[:, None, None, None]

    def lift(features: Tensor) -> Tensor:
        features = features.view_as(features)
        features.register_hook(up)
        return features

    if images.requires_grad:
        images.register_hook(down)
    return images, lift


def eager() -> contextlib.AbstractContextManager:
    """What torch.compile made runs as it was written: hooks are called, and runs can be cut."""
    if "torch._dynamo" in sys.modules:  # else nothing was compiled
        return torch.compiler.set_stance("force_eager")
    return contextlib.nullcontext()


def weights_dtype(model: nn.Module) -> torch.dtype | None:
    """The dtype of the first floating-point weight, in which images go in; None without weights."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)


def _cut(model: nn.Module, node: Node) -> nn.Module:
    """The traced part of the model that leads to a module, on the weights it has now."""
    layer = node.module
    if layer == OUTPUT:
        return model
    if node.call is not None or node.path:
        expected, advice = "layers that run once and give one tensor", "leave compiled=False"
        raise ValueError(checks.message("compiled", expected, str(node), advice))
    from torchvision.models.feature_extraction import create_feature_extractor

    try:
        extractor = create_feature_extractor(model, {layer: "features"})
    except Exception as error:  # tracing fails in as many ways as there are models
        got = checks.Described(f"one that torch.fx cannot trace up to {layer!r} ({error})")
        advice = "leave compiled=False"
        raise ValueError(
            checks.message("model", "one that can be compiled", got, advice)
        ) from error
    extractor.eval()

    class Cut(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return extractor(images)["features"]

    return Cut()


def outputs(
    model: nn.Module,
    images: Tensor,
    forward: Forward | None = None,
    names: Collection[str] | None = None,
    keep: Collection[str] | None = None,
) -> list[Call]:
    """The calls of a model's modules in the order they finish; last the model's own output.

    Args:
        model: a `frozen` module.
        images: (n, channels, height, width); not written to.
        forward: how images go through the model; None for model(images).
        names: the modules to listen to; None for all.
        keep: those of them whose tensors are kept, as clones, which stay as they are if the next
            module changes a tensor in place; None for all. Others' are on the meta device.
    """
    ran: list[Call] = []
    modules = named_modules(model)

    def note(name: str, module: nn.Module, output: object) -> None:
        found = {}
        for path, given in parts(output):
            described = keep is not None and name not in keep
            found[path] = _described(given) if described else given.clone()
        ran.append(Call(name, type(module).__name__, type(output).__name__, found))

    with contextlib.ExitStack() as stack:
        stack.enter_context(eager())
        for name, module in modules.items():
            if names is None or name in names:

                def hook(module: nn.Module, inputs: tuple, output: object, name: str = name):
                    note(name, module, output)

                stack.callback(module.register_forward_hook(hook).remove)
        given = images.clone().to(weights_dtype(model) or images.dtype)
        output = _call(model, given, forward or run)
    if OUTPUT not in modules:
        note(OUTPUT, model, output)
    return ran


def _described(tensor: Tensor) -> Tensor:
    """A tensor without its values."""
    wants = tensor.requires_grad
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta", requires_grad=wants)


def _call(model: nn.Module, images: Tensor, forward: Forward) -> object:
    """The model's output, or what its refusal means."""
    try:
        return forward(model, images)
    except TypeError as error:
        raise ValueError(
            f"model: it could not be called with images alone ({first_line(error)}); if it needs "
            "more inputs, say how: forward=lambda model, images: model(images, …)"
        ) from error
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        if out_of_memory(error):
            raise
        if "Inference tensors" in str(error):
            words = checks.Described("one that keeps a tensor made inside it")
            expected = "one made outside torch.inference_mode()"
            raise ValueError(checks.message("model", expected, words, "make it anew")) from error
        raise ValueError(
            f"model: it cannot take images of shape {tuple(images.shape[1:])} "
            f"({first_line(error)}); change their size or channels, or build the model for them"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, to be put into a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".;")
