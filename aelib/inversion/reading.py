"""Reading a model that stays exactly as it is: frozen, and cut off behind the layer read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.models import evaluating
from aelib.runtime import out_of_memory

OUTPUT = "output"  # names the model's own output, unless a module is called so

Forward = Callable[[nn.Module, Tensor], object]
Read = Callable[[Tensor], Tensor]


def run(model: nn.Module, images: Tensor) -> object:
    """The usual way through a model. Another `forward` can add inputs or normalize the images."""
    return model(images)


class _Reached(Exception):
    """Raised behind the layer that is read, so that nothing deeper is computed."""


@contextlib.contextmanager
def frozen(model: nn.Module, channels_last: bool = False) -> Iterator[None]:
    """Inside the block the model runs in evaluation mode on stand-ins for its weights and buffers.

    The stand-ins want no gradient, so none is computed for them, and whatever a forward pass writes
    into a buffer goes into a copy. The model's own tensors are never touched; afterwards, also
    after an exception or Ctrl-C, they and each module's mode are back in place.

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

    swapped: list[tuple[dict[str, Any], str, Tensor]] = []
    stand_ins: dict[int, Tensor] = {}  # a tensor that two modules share stays shared
    with evaluating(model):
        try:
            for module in model.modules():
                parameters: dict[str, Any] = module._parameters
                for tensors, copy in ((parameters, False), (module._buffers, True)):
                    for name, own in list(tensors.items()):
                        if own is None:
                            continue
                        if id(own) not in stand_ins:
                            new = stand_in(own, copy)
                            stand_ins[id(own)] = new if copy else nn.Parameter(new, False)
                        swapped.append((tensors, name, own))
                        tensors[name] = stand_ins[id(own)]
            yield
        finally:
            for tensors, name, own in reversed(swapped):
                tensors[name] = own


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
        layer: a module's name, or "output".
        forward: how images go through the model; None for model(images).
        channels_last: memory layout of the images.
        precision: "no", or "bf16" for autocast inside the model; features come back in the images'
            own dtype.
        compiled: cut the model by tracing instead of by a hook, and compile what is left. It needs
            a model that torch.fx can trace, and minutes for the first call.

    Yields:
        read(images): images (n, channels, height, width) to features (n, …). Gradients flow back to
        the images and nowhere else. The images are not written to.
    """
    forward = forward or run
    with contextlib.ExitStack() as stack:
        module = None if compiled else dict(model.named_modules()).get(layer)  # None: the output
        if compiled:
            model = cast(nn.Module, torch.compile(_cut(model, layer)))
        caught: list[Tensor] = []
        if module is not None:

            def stop(module: nn.Module, inputs: tuple, output: Tensor) -> None:
                caught.append(output)
                raise _Reached

            stack.callback(module.register_forward_hook(stop).remove)

        def read(images: Tensor) -> Tensor:
            layout = torch.channels_last if channels_last else torch.preserve_format
            copy = images.clone(memory_format=layout)  # a model may begin with an in-place step
            mixed = torch.autocast(
                images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"
            )
            try:
                with mixed:
                    output = forward(model, copy)
            except _Reached:
                output = caught.pop()
            finally:
                caught.clear()
            return cast(Tensor, output).to(images.dtype)

        yield read


def _cut(model: nn.Module, layer: str) -> nn.Module:
    """The traced part of the model that leads to `layer`, on the weights it has now."""
    if layer == OUTPUT:
        return model
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
    copy: Callable[[Tensor], Tensor] = torch.Tensor.clone,
) -> dict[str, tuple[str, list]]:
    """By name: the kind of each module that ran, and all it returned; last the model's output.

    Args:
        model: a `frozen` module.
        images: (n, channels, height, width); not written to.
        forward: how images go through the model; None for model(images).
        names: the modules to listen to; None for all.
        copy: what is kept of a tensor. A clone stays as it is if the next module changes the
            tensor in place.
    """
    ran: dict[str, tuple[str, list]] = {}
    with contextlib.ExitStack() as stack:
        for name, module in model.named_modules():
            if not name or (names is not None and name not in names):
                continue

            def note(module: nn.Module, inputs: tuple, output: object, name: str = name) -> None:
                output = copy(output) if isinstance(output, Tensor) else output
                ran.setdefault(name, (type(module).__name__, []))[1].append(output)

            stack.callback(module.register_forward_hook(note).remove)
        output = _call(model, images.clone(), forward or run)
    ran.setdefault(OUTPUT, (type(model).__name__, [output]))
    return ran


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
