"""Reading one layer of a model that stays exactly as it is: frozen, cut off behind the layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from aelib.models import evaluating

OUTPUT = "output"  # names the model's own output, unless a module is called so

Forward = Callable[[nn.Module, Tensor], object]
Read = Callable[[Tensor], Tensor]


def run(model: nn.Module, images: Tensor) -> object:
    """The usual way through a model. Another `forward` can add inputs or normalise the images."""
    return model(images)


class _Reached(Exception):
    """Raised behind the layer that is read, so that nothing deeper is computed."""


@contextlib.contextmanager
def frozen(model: nn.Module, channels_last: bool = False) -> Iterator[None]:
    """Inside the block the model runs in evaluation mode on stand-ins for its weights and buffers.

    The stand-ins want no gradient, so none is computed for them, and whatever a forward pass writes
    into a buffer goes into a copy. The model's own tensors are never touched; afterwards, also
    after an exception or Ctrl-C, they and each module's mode are back in place.

    Args:
        model: any module.
        channels_last: lay out four-dimensional weights with the channels last.
    """

    def stand_in(tensor: Tensor, copy: bool) -> Tensor:
        plain = tensor.detach()
        if channels_last and plain.dim() == 4:
            plain = plain.contiguous(memory_format=torch.channels_last)
        return plain.clone() if copy else plain

    swapped: list[tuple[dict, str, Tensor]] = []
    copies: dict[int, Tensor] = {}  # a tensor that two modules share stays shared
    with evaluating(model):
        try:
            for module in model.modules():
                for tensors, copy in ((module._parameters, False), (module._buffers, True)):
                    for name, own in list(tensors.items()):
                        if own is None:
                            continue
                        if id(own) not in copies:
                            new = stand_in(own, copy)
                            copies[id(own)] = new if copy else nn.Parameter(new, False)
                        swapped.append((tensors, name, own))
                        tensors[name] = copies[id(own)]
            yield
        finally:
            for tensors, name, own in reversed(swapped):
                tensors[name] = own


@contextlib.contextmanager
def reading(
    model: nn.Module,
    layer: str,
    forward: Forward = run,
    *,
    channels_last: bool = False,
    precision: str = "no",
    compiled: bool = False,
) -> Iterator[Read]:
    """A function from images to the features of `layer`, alive inside the block.

    Args:
        model: any module; frozen inside the block, and as it was afterwards.
        layer: a module's name, or "output".
        forward: how images go through the model.
        channels_last: memory layout of weights and images.
        precision: "no", or "bf16" for autocast inside the net; features come back in the images'
            own dtype.
        compiled: cut the model by tracing instead of by a hook, and compile what is left. It needs
            a model that torch.fx can trace, and minutes for the first call.

    Yields:
        read(images): images (n, channels, height, width) to features (n, …). Gradients flow back to
        the images and nowhere else. The images are not written to.
    """
    with frozen(model, channels_last), contextlib.ExitStack() as stack:
        if compiled:
            net, chosen = torch.compile(_cut(model, layer)), None
        else:
            net, chosen = model, dict(model.named_modules()).get(layer)  # None: the output
        caught: list[Tensor] = []
        if chosen is not None:

            def stop(module: nn.Module, inputs: tuple, output: Tensor) -> None:
                caught.append(output)
                raise _Reached

            stack.callback(chosen.register_forward_hook(stop).remove)

        def read(images: Tensor) -> Tensor:
            layout = torch.channels_last if channels_last else torch.preserve_format
            given = images.clone(memory_format=layout)  # a net may begin with an in-place step
            mixed = torch.autocast(
                images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"
            )
            try:
                with mixed:
                    output = forward(net, given)
            except _Reached:
                output = caught.pop()
            finally:
                caught.clear()
            return output.to(images.dtype)

        yield read


def _cut(model: nn.Module, layer: str) -> nn.Module:
    """The traced part of the model that leads to `layer`, on the weights it has now."""
    if layer == OUTPUT:
        return model
    from torchvision.models.feature_extraction import create_feature_extractor

    try:
        extractor = create_feature_extractor(model, {layer: "features"})
    except Exception as error:  # tracing fails in as many ways as there are models
        raise ValueError(
            f"compiled: torch.fx cannot trace this model up to {layer!r} ({error}); leave "
            "compiled=False"
        ) from error
    extractor.eval()

    class Cut(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return extractor(images)["features"]

    return Cut()
