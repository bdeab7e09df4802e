"""`invert_features`: pictures for features that no picture gave, such as a direction's."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aelib import checks, random
from aelib.inversion.descent import evaluation, reference_noise
from aelib.inversion.nodes import PRECISE, check_model, check_names, device_of
from aelib.inversion.parameterization import GRAY
from aelib.inversion.probe import check_layers
from aelib.inversion.reading import Forward, frozen, reader, weights_dtype
from aelib.inversion.recipe import Recipe, find_recipe


def over_places(features: Tensor) -> Tensor:
    """Features averaged over where they are: (n, channels) of maps, tokens, or as they come.

    Args:
        features: (n, channels, height, width), (n, tokens, channels) or (n, channels). Which axis
            is the channels' no tensor says: for maps with the channels last, as torchvision's and
            timm's Swin give, use features.mean((1, 2)) instead.

    >>> over_places(torch.ones(2, 5, 3, 3)).shape, over_places(torch.ones(2, 9, 5)).shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features


@torch.inference_mode(False)
def invert_features(
    model: nn.Module,
    targets: Tensor,
    layer: str,
    shape: Sequence[int],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
    forward: Forward | None = None,
) -> Tensor:
    """Pictures whose features in a layer come near `targets`, by the search of `invert`.

    `invert` takes its targets from images. Here they are given: a class's mean, say, or one
    direction of a code. All searches start at the same picture and are made side by side.

    Args:
        model: any module, run in evaluation mode where its weights are; it is as before afterwards.
        targets: (n, …) as the layer gives them, of the weights' dtype (of the first floating-point
            one; float32 for less precise ones); or (n, channels) for a layer of maps, channels
            first, or of tokens, which are then averaged (`over_places`), so that a thing may stand
            anywhere in the picture.
        layer: a name that `aelib.layers` lists.
        shape: (channels, height, width) of the pictures.
        recipe, steps, forward: as in `invert`; of a recipe, its `equalize` and `leak` are not used.
        seed: of the start.

    Returns:
        The pictures with the least loss, or where the recipe keeps not the best the last ones that
        had a finite one; (n, channels, height, width), on the CPU. Grey levels may leave [0, 1]:
        clamp them to be shown, or asked for again.

    Raises:
        ValueError, TypeError: for targets that are not finite or do not fit the layer, and an
            unknown layer or recipe; for a layer that `invert` would refuse, asked at the grey
            picture where the search begins; where no loss on the way was finite.

    Source: Mahendran and Vedaldi (2015), arXiv 1412.0035; Olah, Mordvintsev and Schubert (2017);
        chapter 6.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh())
    >>> invert_features(model, torch.eye(4), "0", (1, 8, 8), steps=5).shape
    torch.Size([4, 1, 8, 8])
    """
    recipe = find_recipe(recipe)
    steps = checks.whole(recipe.steps if steps is None else steps, "steps", least=1)
    size, device = checks.shape(shape), device_of(checks.module(model), targets)
    targets = checks.tensor(targets, "targets", ("n", ...)).to(device)
    dtype = weights_dtype(model) or targets.dtype
    dtype = dtype if dtype in PRECISE else torch.float32
    if targets.dtype != dtype:
        expected = f"{dtype}, in which this model's pictures and features are"
        raise TypeError(checks.message("targets", expected, targets, f"use targets.to({dtype})"))
    seed = checks.whole(seed, "seed", least=0)
    init = recipe.init(size, random.generator(2**31 + seed)).to(targets)
    start = (GRAY + recipe.init_contrast * (init - GRAY)).expand(len(targets), *size)
    model = check_model(model, start[:1], span=None)
    names = check_names(model, layer, start[:1], forward)
    if len(names) > 1:
        raise ValueError(checks.message("layer", "one", names, "call once for each"))
    (layer,) = names
    with frozen(model), contextlib.ExitStack() as stack:
        check_layers(model, start[:1], [layer], reference_noise(seed, start[0]), forward)
        read = stack.enter_context(reader(model, layer, forward))

        def seen(images: Tensor) -> Tensor:
            features = read(images)
            return over_places(features) if targets.ndim == 2 else features

        found = seen(start[:1]).shape[1:]
        if found != targets.shape[1:]:
            expected = f"features of {layer!r}, (n, {', '.join(map(str, found))})"
            raise ValueError(checks.message("targets", expected, targets))
        parameterization = recipe.parameterization
        evaluate = evaluation(recipe, parameterization, seen, size)
        state = recipe.optimizer.init(parameterization.to_parameters(start), steps)
        best, least = start, torch.full_like(targets.flatten(1)[:, 0], torch.inf)
        for step in range(steps + 1):
            state, images, losses, _ = evaluate(state, {"targets": targets})
            better = losses.isfinite() & ((losses < least) | (not recipe.keep_best))
            least = losses.where(better, least)
            best = images.where(better[:, None, None, None], best)
            if recipe.after_step is not None:
                images = state["point"].unflatten(1, size)
                state["point"] = recipe.after_step(images, step / steps).flatten(1)
    if not least.isfinite().all():
        lost = (~least.isfinite()).nonzero()[:, 0].tolist()
        got = checks.Described(f"none for targets{lost}")
        advice = "scale them to what the layer gives, or take another loss"
        raise ValueError(checks.message("targets", "some picture of finite loss", got, advice))
    return best.cpu()
