"""torchvision's image classifiers by name: with random weights anywhere, with trained ones if here.

Nothing falls back in silence: weights that are asked for are loaded, whole, or an error says what
to do.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from aelib import checks, random

# What torchvision's weights were trained on: pixels in [0, 1], less this mean, over this deviation.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def imagenet(model: nn.Module, images: Tensor) -> Tensor:
    """model(images), for RGB images in [0, 1], normalised as torchvision's weights want them.

    Give it to `invert` and `layers` as forward=models.imagenet.
    """
    mean, deviation = (
        images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    return model((images - mean) / deviation)


def classifier(
    name: str, weights: str | os.PathLike | None = None, *, size: int = 224, seed: int = 0
) -> nn.Module:
    """torchvision's classifier `name`, such as "resnet50" or "vit_l_16", in evaluation mode.

    Args:
        name: one of torchvision's image classifiers.
        weights: None for random ones drawn from `seed`; a file (.pt, .pth, .safetensors); or
            torchvision's name for them, such as "IMAGENET1K_V2" or "DEFAULT", which are downloaded
            once into torch's cache. Files are read without running code in them.
        size: pixels a side of the images it will see. Vision transformers are built for it, and
            trained position embeddings interpolated to it.

    Returns:
        The model. Images with trained weights want `imagenet`.

    Raises:
        TypeError: for weights that are neither a name nor a path.
        ValueError: for an unknown name; a size that the model's patches do not divide; weights of
            another model.
        OSError: if weights cannot be had here; it says what to do.

    Source: He et al. (2016), arXiv 1512.03385; Dosovitskiy et al. (2021), arXiv 2010.11929;
        chapter 4.
    """
    if weights is not None and not isinstance(weights, str | os.PathLike):
        expected = "None for random ones, a file, or torchvision's name for them, such as 'DEFAULT'"
        raise TypeError(checks.message("weights", expected, weights))
    import torchvision

    checks.choice(name, "name", torchvision.models.list_models(module=torchvision.models))
    transformer = name.startswith("vit_")
    patch = int(name.rsplit("_", 1)[1]) if transformer else 1
    if checks.whole(size, "size", least=1) % patch:
        below, above = max(1, size // patch) * patch, (size // patch + 1) * patch
        expected = f"a multiple of {patch}, the patches of {name}"
        raise ValueError(checks.message("size", expected, size, f"take {below} or {above}"))
    state = None if weights is None else _state(name, weights)
    with random.seeded(seed):
        model = torchvision.models.get_model(
            name, weights=None, **({"image_size": size} if transformer else {})
        )
    if state is not None:
        try:
            if transformer:
                resized = torchvision.models.vision_transformer.interpolate_embeddings
                state = resized(size, patch, OrderedDict(state))
            model.load_state_dict(state)
        except (RuntimeError, KeyError, ValueError) as error:
            expected = set(model.state_dict())
            missing, extra = len(expected - set(state)), len(set(state) - expected)
            got = checks.Described(
                f"{weights}: {missing} of its tensors are missing and {extra} belong to something "
                "else, or shapes differ"
            )
            raise ValueError(checks.message("weights", f"those of {name}", got)) from error
    return model.eval()


def _state(name: str, weights: str | os.PathLike) -> dict[str, Tensor]:
    """A state dictionary from a file, or by torchvision's name for it."""
    import torchvision

    path = Path(weights)
    if path.is_file():
        return _read(path)
    entries = torchvision.models.get_model_weights(name)
    known = [entry.name for entry in entries] + ["DEFAULT"]
    is_path = path.suffix in (".pt", ".pth", ".safetensors") or os.sep in str(weights)
    if is_path and str(weights) not in known:
        raise FileNotFoundError(
            checks.message("weights", "a file that is there", checks.Described(weights))
        )
    entry = entries[checks.choice(str(weights), "weights", known)]
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        got = checks.Described(f"none here, and no download ({error})")
        advice = (
            f"on a machine with a network get {entry.url} and give the file's path as weights, or "
            "leave weights out for random ones"
        )
        raise OSError(checks.message("weights", f"{weights} of {name}", got, advice)) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, without running any code that may stand in it."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location=lambda storage, _: storage, weights_only=True)
    except Exception as error:  # unpickling fails in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        got = checks.Described(f"{path}: it cannot be read ({reason})")
        raise ValueError(checks.message("weights", "a file of tensors", got)) from error
    for key in ("model", "state_dict"):  # as training scripts wrap them
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        got = checks.Described(f"{path}: it holds something else")
        raise ValueError(checks.message("weights", "a dictionary of tensors (a state_dict)", got))
    return state
