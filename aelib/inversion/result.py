"""The result of an inversion: images and distances by layer; a grid to look at, a file to keep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aelib import checks, runtime
from aelib.inversion.baselines import BASELINES, Baseline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aelib.inversion.reading import Forward

FORMAT = "aelib inversion 2"
NUMBERS = (
    "m_g", "m_r", "m_i", "m_i_start", "psnr", "ssim", "rank", "rank_start", "iterations", "seconds",
)  # fmt: skip
TRACED = ("m_g", "m_i", "psnr", "ssim")


@dataclass(frozen=True, eq=False)
class LayerInversion:
    """What was read from one layer; tensors begin (seeds, images, …), but for three.

    Attributes:
        images: the recovered x_g, (seeds, images, channels, height, width). Not clipped.
        m_g: ‖O(x) − O(x_g)‖, the distance in the layer.
        m_r: ‖O(x) − O(x′)‖ for x′ = x + n, each element of n normal with deviation 1/18: the
            distance in the layer that an eye would forgive. 0 where the layer says nothing of x.
        m_i: ‖x − x_g‖, the distance in the image.
        m_i_start: the same for the image the descent began at, which is the recipe's init with the
            contrast that `init_contrast` leaves it: what knowing nothing scores.
        psnr, ssim: of x_g against x, in dB and up to 1; SSIM is NaN below 7×7 pixels.
        rank: the place, from 1, of the class the model calls x by (its largest output) among its
            outputs for x_g: 1 + the number of classes strictly above it. NaN where the model's
            output is not (n, classes) finite floats, two classes or more.
        rank_start: the same for the image the descent began at.
        iterations: evaluations of the model until the row stopped, the start's counted as well.
        seconds: from the start of the row's batch until the row stopped.
        stopped: why, a word for each seed and image: "steps" (all were done), "reached" (m_g fell
            below until · m_r), "levelled off" (going on changed the image no more), "stalled" (no
            step helps any more), "diverged" (not finite), "interrupted" (Ctrl-C), "not begun"
            (Ctrl-C before its turn).
        steps: the iterations at which the trace was taken, (records,); 0 is the start.
        norm: ‖x‖, (images,).
        baselines: m_g and m_i, each (images,), of x without its detail: "mean", its mean colour
            everywhere; "thumbnail", its 4 × 4 patches' means (`measures.thumbnail`).
        trace: m_g, m_i, psnr, ssim of the image kept so far, each (seeds, images, records). NaN
            where a run did not come so far; a row that stopped keeps its last value.
    """

    images: Tensor
    m_g: Tensor
    m_r: Tensor
    m_i: Tensor
    m_i_start: Tensor
    psnr: Tensor
    ssim: Tensor
    rank: Tensor
    rank_start: Tensor
    iterations: Tensor
    seconds: Tensor
    stopped: tuple[tuple[str, ...], ...]
    steps: Tensor
    norm: Tensor
    baselines: Mapping[str, Baseline]
    trace: Mapping[str, Tensor] = field(repr=False)

    @property
    def ratio(self) -> Tensor:
        """m_g / m_r, (seeds, images); NaN where m_r is 0, for there the layer says nothing of x."""
        return self.m_g / self.m_r.where(self.m_r > 0, math.nan)

    @property
    def levelled_off(self) -> Tensor:
        """Whether the search stopped for that, 0 or 1; (seeds, images)."""
        level = [[word == "levelled off" for word in row] for row in self.stopped]
        return torch.tensor(level).float()

    @property
    def relative(self) -> Tensor:
        """m_i over the image's own length ‖x‖, (seeds, images); NaN for an image of zeros."""
        return self.m_i / self.norm.where(self.norm > 0, math.nan)

    @property
    def leftover(self) -> Tensor:
        """f = m_i² / m_i_start², the share of the start's error that is left; (seeds, images).

        The start is the paled one of m_i_start. NaN where the descent began at x itself. What an
        image without detail would score, m_i of `baselines` over m_i_start says.
        """
        return (self.m_i / self.m_i_start.where(self.m_i_start > 0, math.nan)).square()


def nearer(first: LayerInversion, *others: LayerInversion) -> LayerInversion:
    """Of several searches of one layer for the same images and seeds, the one that came nearest.

    Chosen for each seed and image by m_i. No one way to search suits every net; what a layer has
    lost, none finds.

    Raises:
        ValueError: for searches of other images, of other seeds, or logged at other steps.

    >>> from aelib.inversion import invert
    >>> image, ways = torch.rand(1, 1, 8, 8), ("default", "trained")
    >>> one, other = (invert(nn.Flatten(), image, steps=5, recipe=way)["output"] for way in ways)
    >>> bool(nearer(one, other).m_i == min(one.m_i, other.m_i))
    True
    """
    for one in others:
        for name in ("norm", "m_r", "steps"):
            mine, other = getattr(first, name), getattr(one, name)
            mine, other = mine.cpu().double(), other.cpu().double()
            if mine.shape != other.shape or not torch.allclose(mine, other):
                expected = "those of the same images and seeds, logged at the same steps"
                got = checks.Described(f"some with another {name}")
                raise ValueError(checks.message("searches", expected, got))
    searches = (first, *others)
    best = torch.stack([one.m_i for one in searches]).nan_to_num(math.inf).argmin(0)
    seeds, images = (torch.arange(n) for n in best.shape)

    def taken(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([*values])[best, seeds[:, None], images]

    why = [[searches[k].stopped[s][i] for i, k in enumerate(row)] for s, row in enumerate(best)]
    return replace(
        first,
        **{name: taken([getattr(one, name) for one in searches]) for name in ("images", *NUMBERS)},
        stopped=tuple(map(tuple, why)),
        trace={name: taken([one.trace[name] for one in searches]) for name in first.trace},
    )


@dataclass(frozen=True, eq=False)
class Inversion:
    """The result of one call of `invert`: `inversion["layer1"]` is a `LayerInversion`.

    Attributes:
        images: the inputs x, (images, channels, height, width).
        seeds: the seeds.
        results: a `LayerInversion` for each layer, by name.
    """

    images: Tensor = field(repr=False)
    seeds: tuple[int, ...]
    results: Mapping[str, LayerInversion] = field(repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers inverted, in the order asked for."""
        return tuple(self.results)

    def __getitem__(self, layer: str) -> LayerInversion:
        if layer not in self.results:
            raise KeyError(f"{layer!r} was not inverted; {checks.nearest(layer, self.layers)}")
        return self.results[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __str__(self) -> str:
        wide = max((len(layer) for layer in self.results), default=5)
        lines = [
            f"{'layer':<{wide}}     m_g/m_r   m_i   start   psnr dB   ssim  rank  iterations"
            "  stopped"
        ]
        for layer, result in self.results.items():
            columns = (
                (result.ratio, "10.3g"), (result.m_i, "6.3g"), (result.m_i_start, "8.3g"),
                (result.psnr, "10.3g"), (result.ssim, "7.2g"), (result.rank, "6.0f"),
                (result.iterations, "12.0f"),
            )  # fmt: skip
            medians = "".join(_median(values, form) for values, form in columns)
            why = ", ".join(sorted({word for row in result.stopped for word in row}))
            if silent := int((result.m_r == 0).any(0).sum()):
                why += f"; it says nothing of {silent} of {len(self.images)} images (m_r = 0)"
            lines.append(f"{layer:<{wide}}  {medians}  {why}")
        return "\n".join(lines)

    def figure(self, seed: int = 0) -> Figure:
        """The grid a paper would print: the inputs, then what each layer gives back of them.

        Args:
            seed: which of the seeds, by its place in `seeds`.

        Returns:
            A matplotlib figure, images down, layers across; under each layer's name the median of
            ‖x − x_g‖/‖x‖ over the images. Images of neither 1 nor 3 channels take a row for each
            channel, in grey. Give it to `figures.show` with your alt text.

        Raises:
            ValueError: if there are not so many seeds, or no layer.
        """
        from aelib.figures import grid

        checks.whole(seed, "seed", least=0, most=len(self.seeds) - 1, limit="the last of the seeds")
        if not self.results:
            got = checks.Described("none: it was stopped before the first was done")
            raise ValueError(checks.message("inversion", "one layer or more to show", got))
        columns = ["input"]
        for layer, result in self.results.items():
            columns.append(f"{layer}\n{float(result.relative[seed].nanmedian()):.2f}")
        recovered = torch.stack([result.images[seed] for result in self.results.values()], 1)
        rows = torch.cat([self.images[:, None], recovered], 1)  # (images, 1 + layers, …)
        if rows.shape[2] not in (1, 3):
            rows = rows.movedim(2, 1).flatten(0, 1)[:, :, None]
        return grid(list(rows.nan_to_num(0.5)), columns=columns)

    def null(
        self, model: nn.Module, others: Tensor | None = None, forward: Forward | None = None
    ) -> dict[str, Tensor]:
        """‖O(a) − O(b)‖ for all pairs of different images, by layer: (pairs,), rising, on the CPU.

        `share_below(null[layer], inversion[layer].m_g)` then says what share of it lies at or below
        m_g: a match is one outside of it.

        Args:
            model: the one that was inverted.
            others: the images to be paired, two or more, of the same shape; None for the
                inversion's own. They should show different things: two takes of one are too near.
            forward: as it was for `invert`.

        Raises:
            ValueError, TypeError: for a model that does not give the m_r of the first seed again,
                but for 10 %; images that are too few, alike, or of another shape.

        Source: Feather et al. (2023), "Model metamers reveal divergent invariances"; chapter 4.

        >>> from aelib.inversion import invert, share_below
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 9))
        >>> found = invert(model, torch.rand(3, 1, 8, 8), steps=20)
        >>> null = found.null(model)["output"]
        >>> null.shape, share_below(null, found["output"].m_g)
        (torch.Size([3]), tensor([[0., 0., 0.]]))
        """
        from aelib.inversion.null import null_distances, reference_distances

        images = self.images
        if others is not None:
            images = checks.images(others, "others", shape=self.images.shape[1:])
        again = reference_distances(model, self.images, self.layers, self.seeds[0], forward)
        for layer, m_r in again.items():
            was, now = float(self[layer].m_r[0].norm()), float(m_r.norm())
            if not abs(now - was) <= 0.1 * was:
                expected = f"the one that was inverted, whose m_r in {layer!r} is {was:.4g}"
                got = checks.Described(f"one where it is {now:.4g}")
                advice = "give its weights, and `forward`, as they were"
                raise ValueError(checks.message("model", expected, got, advice))
        return null_distances(model, images, self.layers, forward)

    def numbers(self) -> dict:
        """Everything but pixels and traces, as plain lists: what `result.json` holds.

        None stands for what is not finite, such as the PSNR of the image itself.
        """
        return {
            "seeds": list(self.seeds),
            "images": len(self.images),
            "layers": {
                layer: _plain(
                    {name: getattr(result, name) for name in NUMBERS}
                    | {"stopped": [list(row) for row in result.stopped]}
                    | {"baselines": {k: v._asdict() for k, v in result.baselines.items()}}
                )
                for layer, result in self.results.items()
            },
        }

    def save(self, path: str | Path) -> Path:
        """Keep it in one file (safetensors), written whole or not at all; `load` reads it.

        Raises:
            OSError: if the folder cannot be written to.
        """
        from safetensors.torch import save

        tensors = {"images": self.images.contiguous().cpu()}
        about = {"format": FORMAT, "seeds": list(self.seeds), "layers": {}}
        for number, (layer, result) in enumerate(self.results.items()):
            about["layers"][layer] = [list(row) for row in result.stopped]
            parts = {name: getattr(result, name) for name in ("images", "steps", *NUMBERS)}
            parts |= {f"trace.{name}": result.trace[name] for name in TRACED}
            for name, found in result.baselines.items():
                parts |= {f"{name}.{key}": values for key, values in found._asdict().items()}
            tensors |= {f"{number}.{key}": value.contiguous() for key, value in parts.items()}
        path = Path(path)
        runtime.check_writable(path.parent, "the inversion")
        return runtime.write_whole(path, save(tensors, {"about": json.dumps(about)}))


def load(path: str | Path) -> Inversion:
    """What `Inversion.save` kept, on the CPU.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a saved inversion ({error})") from error
    kept = about.get("format") if isinstance(about, dict) else None
    if not isinstance(kept, str) or not kept.startswith(FORMAT[:-1]):
        raise ValueError(f"{path} is not a saved inversion; give a file from Inversion.save")
    if kept != FORMAT:
        raise ValueError(
            f"{path} is of another version of aelib ({kept!r}, where this one reads {FORMAT!r}); "
            "invert the images anew"
        )
    images, results = tensors["images"], {}
    for number, (layer, stopped) in enumerate(about["layers"].items()):
        results[layer] = LayerInversion(
            **{name: tensors[f"{number}.{name}"] for name in ("images", "steps", *NUMBERS)},
            stopped=tuple(map(tuple, stopped)),
            norm=images.flatten(1).norm(dim=1),
            baselines={
                name: Baseline(*(tensors[f"{number}.{name}.{key}"] for key in Baseline._fields))
                for name in BASELINES
            },
            trace={name: tensors[f"{number}.trace.{name}"] for name in TRACED},
        )
    return Inversion(images, tuple(about["seeds"]), results)


def _median(values: Tensor, form: str) -> str:
    """The median of those that are numbers, as wide as `form` says; a dash where none is."""
    median = float(values.double().nanmedian())
    return f"{median:>{form}}" if not math.isnan(median) else f"{'–':>{form.partition('.')[0]}}"


def _plain(value: Any) -> Any:
    """Tensors in dictionaries and lists as JSON can hold them."""
    if isinstance(value, dict):
        return {key: _plain(inside) for key, inside in value.items()}
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
