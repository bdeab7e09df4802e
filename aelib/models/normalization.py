"""How images go into a trained classifier: less a mean, over a deviation, as it was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from aelib.models.pretrained import (
    LITE0,
    import_timm,
    source,
    timm_name,
    torchvision_entries,
)
from aelib.models.weights import Weights

Color = tuple[float, float, float]

# What most of torchvision's weights were trained on: pixels in [0, 1], less mean, over deviation.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def imagenet(model: nn.Module, images: Tensor) -> Tensor:
    """model(images), for RGB images in [0, 1], normalised as most of torchvision's weights want.

    Give it to `invert`, `layers` and `features` as forward=models.imagenet. `normalization` gives
    the right one for each classifier.
    """
    return _normalized(model, images, IMAGENET_MEAN, IMAGENET_DEVIATION)


def normalization(
    name: str, weights: Weights | None = None
) -> Callable[[nn.Module, Tensor], Tensor]:
    """What to give to `invert`, `layers` and `features` as `forward` with a trained classifier.

    Args:
        name, weights: as `classifier` takes them. Weights from a file, or None, count as the best
            that the name has.

    Returns:
        forward(model, images): model((images − mean) / deviation), for RGB images in [0, 1] and the
        means and deviations of the three colours that the weights were trained with.

    Raises:
        ValueError: for an unknown name.
        ModuleNotFoundError: for one of timm's, without timm.

    >>> forward = normalization("efficientnet_v2_l")
    >>> forward(nn.Identity(), torch.ones(1, 3, 1, 1)).flatten()
    tensor([1., 1., 1.])
    """
    mean, deviation = _statistics(name, weights)
    return partial(_normalized, mean=mean, deviation=deviation)


def _statistics(name: str, weights: Weights | None) -> tuple[Color, Color]:
    if name == LITE0:
        return _color([127 / 255] * 3), _color([128 / 255] * 3)
    if source(name) == "timm":
        config = import_timm(name).get_pretrained_cfg(timm_name(name))
        return _color(config.mean), _color(config.std)
    if name in ("googlenet", "inception_v3"):  # torchvision changes the usual ones inside the net
        return _color([0.5] * 3), _color([0.5] * 3)
    entries = torchvision_entries(name)
    transforms = entries.get(str(weights), entries["DEFAULT"]).transforms()
    return _color(transforms.mean), _color(transforms.std)


def _color(values: Sequence[float]) -> Color:
    red, green, blue = values
    return red, green, blue


def _normalized(model: nn.Module, images: Tensor, mean: Color, deviation: Color) -> Tensor:
    # Filled where the images are: a copy from the host could be no part of a CUDA graph.
    low, scale = (
        torch.stack([images.new_full((1, 1), value) for value in values])
        for values in (mean, deviation)
    )
    return model((images - low) / scale)
