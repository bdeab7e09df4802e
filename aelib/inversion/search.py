"""`invert`: rebuild an image from what one layer says of it, for many images, seeds and layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.inversion import stopping
from aelib.inversion.baselines import BASELINES, Baseline
from aelib.inversion.classes import Classes
from aelib.inversion.descent import Task, descend, reference_noise
from aelib.inversion.folding import folded
from aelib.inversion.leak import leaky
from aelib.inversion.nodes import check_model, check_names, device_of
from aelib.inversion.parameterization import image_shape
from aelib.inversion.probe import check_layers, check_seeds
from aelib.inversion.reading import OUTPUT, Forward, frozen, reader
from aelib.inversion.recipe import Recipe, find_recipe
from aelib.inversion.result import NUMBERS, TRACED, Inversion, LayerInversion
from aelib.inversion.stopping import LevelledOff

PRECISIONS = ("no", "bf16")
MAX_BATCH_SIZE = 64  # runs at once; more gain nothing and show less progress


@torch.inference_mode(False)  # a caller's own would leave no gradient to descend
def invert(
    model: nn.Module,
    images: Tensor,
    layers: str | Sequence[str] = OUTPUT,
    *,
    seeds: int | Sequence[int] = 1,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    until: float | str | LevelledOff | Sequence | None = None,
    init: Tensor | None = None,
    forward: Forward | None = None,
    log_at: int | Sequence[int] = 10,
    batch_size: int | None = None,
    precision: str = "no",
    channels_last: bool = True,
    compiled: bool = False,
    cuda_graphs: bool = False,
    callback: Callable[[dict], object] | None = None,
    progress: bool | None = None,
    label: str = "inverting",
) -> Inversion:
    """Images x_g whose features in a layer come near those of x, found by descending from noise.

    Each layer, seed and image is a run of its own: it has its own loss, step length, stopping and
    result, the same as if it were run alone (but for rounding, which a long descent amplifies).
    A layer's runs share each forward pass, which ends at the layer; the whole model is asked but
    for the class of x, of the start and of x_g. The model stays as it is.

    Args:
        model: any module, run in evaluation mode where its weights are.
        images: x, (images, channels, height, width), floats in [0, 1] of the weights' dtype
            (of the first floating-point one; float32 for less precise ones).
        layers: names (`aelib.layers` lists them), or globs: * within one dotted part, ** across
            dots, ? one character.
        seeds: how many, or which. A seed decides the init and the noise in m_r, for every image
            and layer alike.
        recipe: "default"; "trained", for models with trained weights; "badger2022" (the published
            loop); or a `Recipe`.
        steps: evaluations of the model and its gradient; None for the recipe's.
        until: what stops a run before `steps`: a number, when m_g ≤ until · m_r; "levelled off" or
            a `LevelledOff`, when going on no longer changes its image; one of each in a list, when
            either holds. None to go on. `stopped` says which it was.
        init: x₀, where the search begins, instead of the recipe's: (images, …) or
            (seeds, images, …). The recipe may take contrast from it; `Recipe(init_contrast=1)`
            begins at it exactly.
        forward: how images go through the model, None for model(images). Here belong further
            inputs, and the normalization the model was trained with.
        log_at: how many records of the trace, evenly spaced, or at which steps.
        batch_size: runs at once; None for as many as a quarter of the free memory holds. Halved,
            and tried again, where memory runs out.
        precision: "bf16" runs the model in autocast; image, loss and steps stay as they are.
        channels_last: memory layout of images and weights, faster for convolutions.
        compiled: torch.compile on the traced part of the model; pays on a GPU only, for long runs.
        cuda_graphs: on a CUDA device, replay the whole step as one graph.
        callback: called as callback(info) at each record with a dictionary of "layer" (its name),
            "step" and "images" (those kept so far, (runs in this batch, channels, height, width)).
        progress: draw a bar with an estimate; None draws it for a person only.
        label: the bar's name.

    Returns:
        An `Inversion`. After Ctrl-C it holds what was done; a second Ctrl-C stops at once.

    Raises:
        ValueError, TypeError: for arguments, layers or models that cannot work, layers that say
            nothing of the images, or more runs than memory holds, before the first iteration.

    Source: Mahendran & Vedaldi (2015), arXiv 1412.0035; Badger (2022), arXiv 2211.06496;
        chapter 4.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten())
    >>> images = torch.rand(2, 1, 8, 8)
    >>> inversion = invert(model, images, ["0", "output"], seeds=3, steps=5)
    >>> inversion["0"].images.shape, inversion["0"].m_g.shape
    (torch.Size([3, 2, 1, 8, 8]), torch.Size([3, 2]))
    """
    recipe = find_recipe(recipe)
    steps = checks.whole(recipe.steps if steps is None else steps, "steps", least=1)
    stop = stopping.until(until)
    if batch_size is not None:
        checks.whole(batch_size, "batch_size", least=1)
    checks.choice(precision, "precision", PRECISIONS)
    if callback is not None:
        checks.function(callback, "callback", "callback(info)")
    log_at = _records(log_at, steps)
    model = check_model(model, images)
    names = check_names(model, layers, images, forward)
    device = device_of(model, images)
    if cuda_graphs and (runtime.is_cpu(device) or recipe.after_step is not None):
        raise ValueError(
            "cuda_graphs: needs a model on a CUDA device and a recipe without `after_step`; "
            "leave it False"
        )
    seeds = _seeds(seeds, images, len(names), len(log_at), drawn=init is None)
    originals = images.detach().to(device)
    inits = _inits(recipe, originals, seeds, init)
    task = Task(recipe, originals, seeds, inits, steps, stop, log_at, cuda_graphs, callback)

    how = {"channels_last": channels_last, "precision": precision, "compiled": compiled}
    results, runs = {}, len(seeds) * len(images)
    work = len(names) * runs * (steps + 1)
    with frozen(model, channels_last):
        noise = reference_noise(seeds[0], originals[0])
        needed = check_layers(model, originals, names, noise, forward)
        check_seeds(model, originals, names, seeds[1:], forward)
        sizes = {
            name: batch_size or _batch_size(recipe, inits[0, :1], need)
            for name, need in needed.items()
        }
        classes = Classes(model, originals, forward, min(sizes.values()))
        rank_start = classes.ranks(lambda rows: task.start(range(runs)[rows]), runs)
        with runtime.interruptible() as interrupted, runtime.progress(work, label, progress) as bar:
            for name in names:
                if interrupted.is_set():
                    break
                # O(x), m_r and the search are all of the same folded model.
                fold = folded(model, name, originals[:2], forward, channels_last)
                with (
                    fold,
                    reader(model, name, forward, **how) as read,
                    leaky(model, device) as leak,
                ):
                    batch = partial(
                        descend, task, name, read, leak, interrupted=interrupted, bar=bar
                    )
                    fields = _joined(_in_batches(batch, runs, sizes[name], bar))
                fields["rank"] = classes.ranks(fields["images"].__getitem__, runs)
                fields["rank_start"] = rank_start.clone()
                results[name] = _result(fields, task)
    return Inversion(originals.cpu().clone(), seeds, results)


def _in_batches(batch: Callable[[range], dict], runs: int, size: int, bar: Any) -> list[dict]:
    """`batch` of all runs, `size` at once; fewer, and those again, where memory runs out."""
    done, first = [], 0
    while first < runs:
        rows, before = range(first, min(first + size, runs)), bar.n
        try:
            done.append(batch(rows))
        except (RuntimeError, MemoryError) as error:
            if not runtime.out_of_memory(error) or len(rows) == 1:
                raise
            size = len(rows) // 2
            bar.update(before - bar.n)
            continue
        first += len(rows)
    return done


def _joined(batches: list[dict]) -> dict:
    """A layer's batches as one, (runs, …)."""
    return {
        name: torch.cat([fields[name] for fields in batches])
        if name != "stopped"
        else [word for fields in batches for word in fields[name]]
        for name in batches[0]
    }


def _result(fields: dict, task: Task) -> LayerInversion:
    """What is known of a layer's runs, (runs, …), by seeds and images, (seeds, images, …)."""
    n, words = len(task.images), fields.pop("stopped")
    fields = {key: values.unflatten(0, (len(task.seeds), n)) for key, values in fields.items()}
    return LayerInversion(
        **{name: fields[name] for name in ("images", *NUMBERS)},
        stopped=tuple(tuple(words[row : row + n]) for row in range(0, len(words), n)),
        steps=torch.tensor(task.log_at),
        norm=task.images.cpu().flatten(1).norm(dim=1),
        baselines={  # of every seed alike, but for rounding
            name: Baseline(fields[f"m_g_{name}"][0], fields[f"m_i_{name}"][0]) for name in BASELINES
        },
        trace={name: fields[f"trace.{name}"] for name in TRACED},
    )


def _seeds(
    seeds: int | Sequence[int], images: Tensor, layers: int, records: int, drawn: bool
) -> tuple[int, ...]:
    """The seeds, if the processor's memory, where results end up, has room for their runs."""
    if isinstance(seeds, Sequence) and not seeds:
        raise ValueError(checks.message("seeds", "how many, or a list of them", seeds))
    # Counted before any is looked at: there may be more than memory holds.
    n = len(seeds) if isinstance(seeds, Sequence) else checks.whole(seeds, "seeds", least=1)
    pixels, runs = images[0].nbytes, n * len(images)
    size = pixels + images.itemsize * (len(NUMBERS) + len(TRACED) * records)  # of a run, by layer
    # The last layer's results twice, when its batches are joined; inits are one a seed.
    runtime.check_memory(
        f"seeds: {runs * layers} runs (one a seed, image and layer)",
        runs * size * (layers + 1) + (n * pixels if drawn else 0),
        None,
        "take fewer at a time: a list says which, such as seeds=[3, 4]",
    )
    listed = seeds if isinstance(seeds, Sequence) else range(n)
    result = tuple(checks.whole(seed, "seeds", least=0) for seed in listed)
    if len(set(result)) < len(result):
        raise ValueError(checks.message("seeds", "each once", list(result)))
    return result


def _inits(recipe: Recipe, images: Tensor, seeds: Sequence[int], init: Tensor | None) -> Tensor:
    """First images, (seeds, images, channels, height, width)."""
    shape = (len(seeds), *images.shape)
    if init is None:
        # Another stream than the reference noise's, or the init would know it. (Of a CPU
        # generator's seed only 32 bits count.)
        drawn = [recipe.init(image_shape(images), random.generator(2**31 + seed)) for seed in seeds]
        return torch.stack(drawn).to(images)[:, None].expand(shape)
    axes = shape if isinstance(init, Tensor) and init.ndim == 5 else tuple(images.shape)
    advice = "or as many, one set for each seed"
    return checks.tensor(init, "init", axes, advice=advice).to(images).expand(shape)


def _records(log_at: int | Sequence[int], steps: int) -> tuple[int, ...]:
    """The steps of the trace: 0, the last, and those asked for."""
    if isinstance(log_at, Sequence):
        asked = [checks.whole(step, "log_at", least=0, most=steps) for step in log_at]
    else:
        n = checks.whole(log_at, "log_at", least=1)
        asked = [round(steps * record / n) for record in range(n + 1)]
    return tuple(sorted({0, *asked, steps}))


def _batch_size(recipe: Recipe, init: Tensor, needed: int) -> int:
    """How many runs at once need a quarter of the memory that is free."""
    free = runtime.free_memory(init.device)
    if free is None:
        return MAX_BATCH_SIZE
    state = recipe.optimizer.init(recipe.parameterization.to_parameters(init), 1)
    # Twice what autograd keeps, for its gradients; the state twice, old and new; some images.
    need = 2 * needed + 2 * sum(value.nbytes for value in state.values()) + 12 * init.nbytes
    return max(1, min(MAX_BATCH_SIZE, free // (4 * need)))
