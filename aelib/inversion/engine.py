"""`invert`: rebuild an image from what one layer says of it, for many images, seeds and layers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.inversion import cuda
from aelib.inversion.found import NUMBERS, TRACED, Inversion, assemble
from aelib.inversion.image import GREY
from aelib.inversion.layers import check_layers, check_model
from aelib.inversion.reading import OUTPUT, Forward, Read, reading, run
from aelib.inversion.recipe import Recipe
from aelib.inversion.recipe import recipe as find_recipe
from aelib.measures.similarity import SSIM_WINDOW, structural_similarity

REFERENCE = 1 / 18  # deviation of the noise that m_r stands for, as in Badger's code
PRECISIONS = ("no", "bf16")
MOST = 64  # runs at once; more gain nothing and show less progress
STOPPED = ("steps", "reached", "stalled", "diverged", "interrupted", "not begun")
Callback = Callable[[str, int, Tensor], object]


@torch.inference_mode(False)  # a caller's own would leave no gradient to descend
def invert(
    model: nn.Module,
    images: Tensor,
    layers: str | Sequence[str] = OUTPUT,
    *,
    seeds: int | Sequence[int] = 1,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    until: float | None = None,
    start: Tensor | None = None,
    forward: Forward = run,
    record: int | Sequence[int] = 10,
    batch: int | None = None,
    precision: str = "no",
    channels_last: bool = True,
    compiled: bool = False,
    graphs: bool = False,
    callback: Callback | None = None,
    progress: bool | None = None,
    label: str = "inverting",
) -> Inversion:
    """Images x_g whose features in a layer come near those of x, found by descending from noise.

    Each layer, seed and image is a run of its own: it has its own loss, step length, stopping and
    result, the same as if it were run alone (but for rounding, which a long descent amplifies).
    A layer's runs share each forward pass, which ends at the layer. The model stays as it is.

    Args:
        model: any module, run in evaluation mode where its weights are.
        images: x, (images, channels, height, width), floats in [0, 1] of the weights' dtype.
        layers: module names (`aelib.layers` lists them), or "output".
        seeds: how many, or which. A seed decides the start and the noise in m_r, for every image
            and layer alike.
        recipe: "default", "badger2022" (the published loop) or a `Recipe`.
        steps: evaluations of the net and its gradient; None for the recipe's.
        until: stop a run when m_g ≤ until · m_r; None to go on.
        start: first images instead of the recipe's, (images, …) or (seeds, images, …). The recipe
            may pale them; `Recipe(pale=1)` begins at them exactly.
        forward: how images go through the model, as model(images) if not given. Here belong
            further inputs, and the normalisation the model was trained with.
        record: how many records of the trace, evenly spaced, or at which iterations.
        batch: runs at once; None for as many as a quarter of the free memory holds. Halved, and
            tried again, where memory runs out.
        precision: "bf16" runs the net in autocast; image, loss and steps stay as they are.
        channels_last: memory layout of images and weights, faster for convolutions.
        compiled: torch.compile on the traced part of the net; pays on a GPU only, for long runs.
        graphs: on a CUDA device, replay the whole step as one graph.
        callback: called as callback(layer, iteration, images) at each record, with the images kept
            so far, (runs in this batch, channels, height, width).
        progress: draw a bar with an estimate; None draws it for a person only.
        label: the bar's name.

    Returns:
        An `Inversion`. After Ctrl-C it holds what was done; a second Ctrl-C stops at once.

    Raises:
        ValueError, TypeError: for arguments, layers or models that cannot work, or more runs than
            memory holds, before the first iteration.

    Source: Mahendran & Vedaldi (2015), arXiv 1412.0035; Badger (2022), arXiv 2211.06496;
        chapter 4.
    """
    chosen = find_recipe(recipe)
    if not isinstance(layers, str | Sequence):
        raise TypeError(f"layers: expected a name or a list of names, got {layers!r}")
    names = [layers] if isinstance(layers, str) else list(layers)
    count = _count(seeds)
    steps = checks.whole(chosen.steps if steps is None else steps, "steps", least=1)
    if until is not None and not (isinstance(until, Real) and 0 < until < math.inf):
        raise ValueError(f"until: expected a number above 0, such as 1.0, got {until!r}")
    if batch is not None:
        checks.whole(batch, "batch", least=1)
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; {checks.nearest(precision, PRECISIONS)}")
    if callback is not None and not callable(callback):
        raise TypeError(
            f"callback: expected a callable callback(layer, iteration, images), got {callback!r}"
        )
    records = _records(record, steps)
    check_model(model, images)
    _check_room(count, images, len(names), len(records), start)
    numbers = _seeds(seeds)
    place = next((p.device for p in model.parameters()), images.device)
    if graphs and (runtime.is_cpu(place) or chosen.after is not None):
        raise ValueError(
            "graphs: needs a model on a CUDA device and a recipe without `after`; leave it False"
        )
    images = images.detach().to(place)
    starts = _starts(chosen, images, numbers, start)
    weight = check_layers(model, images, names, forward)
    settings = _Settings(chosen, steps, until, records, graphs, callback)

    rows = len(numbers) * len(images)
    parts: dict[str, dict] = {}
    work = len(names) * rows * (steps + 1)
    how = {"channels_last": channels_last, "precision": precision, "compiled": compiled}
    with runtime.interruptible() as interrupted, runtime.progress(work, label, progress) as bar:
        for name in names:
            if interrupted.is_set():
                break
            size = batch or _fitting(chosen, starts[0, :1], weight[name], place)
            with reading(model, name, forward, **how) as read:
                job = _Job(name, read, images, numbers, starts, settings)
                done = _descend_all(job, rows, size, interrupted, bar)
            parts[name] = _fields(done, len(numbers), len(images), records)
    return assemble(images.cpu().clone(), numbers, parts)


@dataclass(frozen=True)
class _Settings:
    recipe: Recipe
    steps: int
    until: float | None
    records: tuple[int, ...]
    graphs: bool
    callback: Callback | None


@dataclass(frozen=True)
class _Job:
    """One layer's work: run `row` is seed row // images, image row % images."""

    layer: str
    read: Read
    images: Tensor
    seeds: tuple[int, ...]
    starts: Tensor
    settings: _Settings


def _descend_all(job: _Job, rows: int, size: int, interrupted, bar) -> list[dict]:
    """All runs of a layer, `size` at once, fewer where memory runs out."""
    done, first = [], 0
    while first < rows:
        these = range(first, min(first + size, rows))
        before = bar.n
        try:
            done.append(_descend(job, these, interrupted, bar))
        except (RuntimeError, MemoryError) as error:
            if not runtime.out_of_memory(error) or len(these) == 1:
                raise
            size = len(these) // 2  # and the same runs again, from their start
            bar.update(before - bar.n)
            continue
        first += len(these)
    return done


def _descend(job: _Job, these: range, interrupted, bar) -> dict:
    """The runs `these` of a layer, side by side."""
    settings, chosen = job.settings, job.settings.recipe
    seed, image = (
        list(part) for part in zip(*(divmod(r, len(job.images)) for r in these), strict=True)
    )
    originals = job.images[image]
    first = GREY + chosen.pale * (job.starts[seed, image] - GREY)
    shape = tuple(originals.shape[1:])
    targets, reference = _targets(job, seed, originals)
    if (losses := chosen.distance(targets, targets)).shape != reference.shape:
        raise ValueError(
            f"recipe: distance must give one loss a row, {tuple(reference.shape)}, got shape "
            f"{tuple(losses.shape)}"
        )
    limit = reference * settings.until if settings.until else torch.full_like(reference, -1)
    aim = {"targets": targets, "limit": limit}
    watch = _Watch(originals, first, settings)
    state = chosen.optimiser.begin(chosen.image.numbers(first), settings.steps)

    def advance(
        state: dict[str, Tensor], aim: dict[str, Tensor]
    ) -> tuple[dict, Tensor, Tensor, Tensor]:
        """One evaluation at the point, and the optimiser's answer to it."""
        numbers = state["point"].detach().requires_grad_()
        with torch.enable_grad():
            pictures = chosen.image.image(numbers, shape)
            features = job.read(pictures)
            losses = chosen.distance(features, aim["targets"])
            if chosen.cost is not None:
                losses = losses + chosen.cost(pictures)
            (gradient,) = torch.autograd.grad(losses.sum(), numbers)
        with torch.no_grad():
            far = (features - aim["targets"]).flatten(1).norm(dim=1)
            state = chosen.optimiser.step(state, losses.detach(), gradient)
        return state, pictures.detach(), losses.detach(), far

    if settings.graphs:
        advance = cuda.cuda_graph(advance)
    for iteration in range(settings.steps + 1):
        if interrupted.is_set():
            break
        state, pictures, losses, far = advance(state, aim)
        left = watch.see(iteration, pictures, losses, far, aim["limit"], state["stalled"])
        bar.update(len(these))
        if left is not None:  # some runs stopped: go on with the others
            state, aim = ({k: v[left] for k, v in one.items()} for one in (state, aim))
        if settings.callback is not None and iteration in settings.records:
            settings.callback(job.layer, iteration, watch.images.clone())
        if watch.over:
            bar.update(len(these) * (settings.steps - iteration))
            break
        if chosen.after is not None:
            moved = state["point"].unflatten(1, shape)
            state["point"] = chosen.after(moved, iteration / settings.steps).flatten(1)
    return watch.fields(reference)


class _Watch:
    """What is kept of each run of a batch while the batch descends.

    On a CPU runs that stop leave the batch at once. Elsewhere they stay in it, unseen, and the loop
    asks whether any is left without waiting for the answer.
    """

    def __init__(self, originals: Tensor, first: Tensor, settings: _Settings):
        rows, self.settings, self.began = len(originals), settings, time.perf_counter()
        self.originals, self.first = originals, first
        self.images = first.clone()
        none = originals.new_zeros(rows)
        self.loss = none + math.inf
        self.far = none + math.nan  # m_g
        self.iterations = none.long()
        self.seconds = none.clone()
        self.why = none.long() + STOPPED.index("not begun")
        self.rows = torch.arange(rows, device=originals.device)  # those still in the batch
        self.on = torch.ones_like(self.rows, dtype=torch.bool)  # of these, those still going
        self.trace = {name: none.new_full((rows, len(settings.records)), math.nan)
                      for name in TRACED}  # fmt: skip
        self.last = -1  # the iteration seen last
        self.over = False
        self._answer = None

    def see(self, iteration: int, pictures: Tensor, losses: Tensor, far: Tensor, limit: Tensor,
            stalled: Tensor) -> Tensor | None:  # fmt: skip
        """Take in one evaluation; which of the batch's rows go on, or None for all of them."""
        rows, on, self.last = self.rows, self.on, iteration
        last = iteration == self.settings.steps
        reached, finite = far <= limit, losses.isfinite()
        keep = finite & on
        if self.settings.recipe.best:
            keep = keep & (reached | (losses < self.loss[rows]))
        self.images[rows] = torch.where(keep[:, None, None, None], pictures, self.images[rows])
        self.loss[rows] = torch.where(keep, losses, self.loss[rows])
        self.far[rows] = torch.where(keep, far, self.far[rows])
        self.iterations[rows] = self.iterations[rows] + on
        why = torch.where(finite, STOPPED.index("stalled"), STOPPED.index("diverged"))
        why = torch.where(reached, STOPPED.index("reached"), why)
        ended = reached | stalled
        why = torch.where(ended, why, STOPPED.index("steps" if last else "interrupted"))
        self.why[rows] = torch.where(on, why, self.why[rows])
        self.on = on & ~ended
        if iteration in self.settings.records:
            self._record(self.settings.records.index(iteration))
        if runtime.is_cpu(rows.device):
            return self._leave(last)
        self._look(last)
        return None

    def fields(self, reference: Tensor) -> dict:
        """The batch's results, one row a run."""
        self.seconds[self.rows] = time.perf_counter() - self.began
        self.seconds[self.iterations == 0] = 0.0
        self._record(None)
        for at, iteration in enumerate(self.settings.records):
            if iteration > self.last >= 0:  # a run that stopped keeps its last values
                self._record(at)
        stopped = [STOPPED[number] for number in self.why.tolist()]
        done = {"m_g": self.far, "m_r": reference, **self.now, "images": self.images}
        done["m_i_start"] = (self.first - self.originals).flatten(1).norm(dim=1)
        done |= {"iterations": self.iterations, "seconds": self.seconds}
        return {key: value.cpu() for key, value in done.items()} | {
            "trace": {name: values.cpu() for name, values in self.trace.items()},
            "stopped": stopped,
        }

    def _record(self, at: int | None) -> None:
        """Measure the images kept so far, and put it in the trace."""
        error = (self.images - self.originals).flatten(1)
        m_i = error.norm(dim=1)
        if min(self.images.shape[2:]) < SSIM_WINDOW:
            ssim = torch.full_like(m_i, math.nan)
        else:
            ssim = structural_similarity(self.images, self.originals)
        psnr = 10 * torch.log10(error.shape[1] / m_i.square())
        self.now = {"m_i": m_i, "psnr": psnr, "ssim": ssim}
        if at is not None:
            for name, values in {"m_g": self.far, **self.now}.items():
                self.trace[name][:, at] = values

    def _leave(self, last: bool) -> Tensor | None:
        """Let the runs that stopped leave the batch; which go on, or None if none left."""
        if bool(self.on.all()):
            self.over = last
            return None
        self.seconds[self.rows[~self.on]] = time.perf_counter() - self.began
        left = self.on.nonzero()[:, 0]
        self.rows, self.on = self.rows[left], self.on[left]
        self.over = last or not len(left)
        return left

    def _look(self, last: bool) -> None:
        """Whether any run is left, as of the last answer that has arrived."""
        if self._answer is None:
            self._answer = cuda.AsyncCopy(self.on.any())
        elif self._answer.there():
            self.over, self._answer = not self._answer.value.item(), None
        self.over = self.over or last


def _targets(job: _Job, seed: Sequence[int], originals: Tensor) -> tuple[Tensor, Tensor]:
    """O(x) for each run, and m_r = ‖O(x) − O(x + n)‖, n drawn from the run's seed alone."""
    noise = torch.stack([_reference_noise(job.seeds[s], originals[0]) for s in seed])
    with torch.enable_grad():  # the same path through the net as in the loop
        targets, moved = (
            job.read(images.detach().requires_grad_().clone()).detach()
            for images in (originals, originals + noise)
        )
    return targets, (targets - moved).flatten(1).norm(dim=1)


def _reference_noise(seed: int, like: Tensor) -> Tensor:
    """n, one for all images of a seed."""
    drawn = torch.randn(like.shape, generator=random.generator(seed), dtype=torch.float64)
    return (REFERENCE * drawn).to(like)


def _starts(chosen: Recipe, images: Tensor, seeds: Sequence[int], start: Tensor | None) -> Tensor:
    """First images, (seeds, images, channels, height, width)."""
    wanted = (len(seeds), *images.shape)
    if start is None:
        shape = tuple(images.shape[1:])
        # Another stream than the reference noise's, or the start would know it. (Of a CPU
        # generator's seed only 32 bits count.)
        drawn = [chosen.start(shape, random.generator(2**31 + seed)) for seed in seeds]
        return torch.stack(drawn).to(images)[:, None].expand(wanted)
    if not isinstance(start, Tensor) or start.shape not in (images.shape, torch.Size(wanted)):
        came = tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__
        raise ValueError(
            f"start: expected images of shape {tuple(images.shape)} or {wanted}, got {came}"
        )
    if not start.isfinite().all():
        raise ValueError("start: expected finite values, got NaN or infinity")
    return start.detach().to(images).expand(wanted)


def _count(seeds: int | Sequence[int]) -> int:
    """How many seeds, before any of them is looked at: there may be more than memory holds."""
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        return checks.whole(seeds, "seeds", least=1)
    if not isinstance(seeds, Sequence) or not len(seeds):
        raise ValueError(f"seeds: expected how many, or a list of them, got {seeds!r}")
    return len(seeds)


def _check_room(count: int, images: Tensor, layers: int, records: int, start: Tensor | None):
    """Refuse more runs than the processor's memory, where results end up, has room for."""
    pixels, runs = images[0].nbytes, count * len(images)
    kept = pixels + images.itemsize * (len(NUMBERS) + len(TRACED) * records)  # of a run, by layer
    # The last layer's results twice, when its batches are joined; starts are one a seed.
    need = runs * kept * (layers + 1) + (count * pixels if start is None else 0)
    runtime.check_memory(
        f"seeds: {runs * layers} runs (one a seed, image and layer)", need, None,
        "take fewer at a time: a list says which, such as seeds=[3, 4]",
    )  # fmt: skip


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Integral):
        return tuple(range(seeds))
    found = tuple(checks.whole(seed, "seeds", least=0) for seed in seeds)
    if len(set(found)) < len(found):
        raise ValueError(f"seeds: expected each once, got {list(found)}")
    return found


def _records(record: int | Sequence[int], steps: int) -> tuple[int, ...]:
    """The iterations of the trace: 0, the last, and those asked for."""
    if isinstance(record, Integral):
        count = checks.whole(record, "record", least=1)
        asked = [round(steps * part / count) for part in range(count + 1)]
    elif not isinstance(record, Iterable):
        raise TypeError(f"record: expected how many, or the iterations as a list, got {record!r}")
    else:
        asked = [checks.whole(one, "record", least=0) for one in record]
        if any(one > steps for one in asked):
            raise ValueError(f"record: expected iterations up to {steps}, got {max(asked)}")
    return tuple(sorted({0, *asked, steps}))


def _fitting(chosen: Recipe, first: Tensor, weight: int, place: torch.device) -> int:
    """How many runs at once need a quarter of the memory that is free."""
    free = runtime.free_memory(place)
    if free is None:
        return MOST
    state = chosen.optimiser.begin(chosen.image.numbers(first), 1)
    # Twice what autograd keeps, for its gradients; the state twice, old and new; some images.
    need = 2 * weight + 2 * sum(value.nbytes for value in state.values()) + 12 * first.nbytes
    return max(1, min(MOST, free // (4 * need)))


def _fields(done: list[dict], seeds: int, images: int, records: Sequence[int]) -> dict:
    """A layer's batches as the fields of `Found`, (seeds, images, …)."""
    joined = {
        key: torch.cat([one[key] for one in done]).unflatten(0, (seeds, images))
        for key in done[0]
        if key not in ("trace", "stopped")
    }
    words = [word for one in done for word in one["stopped"]]
    return joined | {
        "trace": {
            name: torch.cat([one["trace"][name] for one in done]).unflatten(0, (seeds, images))
            for name in TRACED
        },
        "stopped": tuple(tuple(words[s * images : (s + 1) * images]) for s in range(seeds)),
        "steps": torch.tensor(records),
    }
