"""The result of an inversion: images and distances by layer; a grid to look at, a file to keep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aelib import checks, runtime

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "aelib inversion 1"
NUMBERS = ("m_g", "m_r", "m_i", "m_i_start", "psnr", "ssim", "iterations", "seconds")
TRACED = ("m_g", "m_i", "psnr", "ssim")


@dataclass(frozen=True, eq=False)
class LayerInversion:
    """What was read from one layer; every tensor but `norm` and `steps` begins (seeds, images, …).

    Attributes:
        images: the recovered x_g, (seeds, images, channels, height, width). Not clipped.
        m_g: ‖O(x) − O(x_g)‖, the distance in the layer.
        m_r: ‖O(x) − O(x′)‖ for x′ = x + n, each element of n normal with deviation 1/18: the
            distance in the layer that an eye would forgive. 0 where the layer says nothing of x.
        m_i: ‖x − x_g‖, the distance in the image.
        m_i_start: the same for the image the descent began at: what knowing nothing scores.
        psnr, ssim: of x_g against x, in dB and up to 1; SSIM is NaN below 7×7 pixels.
        iterations: evaluations of the model until the row stopped.
        seconds: from the start of the row's batch until the row stopped.
        stopped: why, a word for each seed and image: "steps" (all were done), "reached" (m_g fell
            below until · m_r), "levelled off" (going on changed the image no more), "stalled" (no
            step helps any more), "diverged" (not finite), "interrupted" (Ctrl-C), "not begun"
            (Ctrl-C before its turn).
        steps: the iterations at which the trace was taken, (records,); 0 is the start.
        norm: ‖x‖, (images,).
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
    iterations: Tensor
    seconds: Tensor
    stopped: tuple[tuple[str, ...], ...]
    steps: Tensor
    norm: Tensor
    trace: Mapping[str, Tensor] = field(repr=False)

    @property
    def relative(self) -> Tensor:
        """m_i over the image's own length ‖x‖, (seeds, images); NaN for an image of zeros."""
        return self.m_i / self.norm.where(self.norm > 0, float("nan"))

    @property
    def leftover(self) -> Tensor:
        """m_i² over the start's, the share of its error that is left; (seeds, images)."""
        return (self.m_i / self.m_i_start).square()


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
            f"{'layer':<{wide}}     m_g/m_r   m_i   start   psnr dB   ssim  iterations  stopped"
        ]
        for layer, result in self.results.items():
            columns = (
                result.m_g / result.m_r, result.m_i, result.m_i_start, result.psnr, result.ssim,
                result.iterations,
            )  # fmt: skip
            medians = [float(values.double().nanmedian()) for values in columns]
            why = sorted({word for row in result.stopped for word in row})
            lines.append(
                "{:<{}}  {:>10.3g}{:>6.3g}{:>8.3g}{:>10.3g}{:>7.2g}{:>12.0f}  {}".format(
                    layer, wide, *medians, ", ".join(why)
                )
            )
        return "\n".join(lines)

    def figure(self, seed: int = 0) -> Figure:
        """The grid a paper would print: the inputs, then what each layer gives back of them.

        Args:
            seed: which of the seeds, by its place in `seeds`.

        Returns:
            A matplotlib figure, images down, layers across; under each layer's name the median of
            ‖x − x_g‖/‖x‖ over the images. Give it to `figures.show` with your alt text.

        Raises:
            ValueError: if there are not so many seeds.
        """
        from aelib.figures import grid

        checks.whole(seed, "seed", least=0, most=len(self.seeds) - 1, limit="the last of the seeds")
        columns = ["input"]
        for layer, result in self.results.items():
            columns.append(f"{layer}\n{float(result.relative[seed].nanmedian()):.2f}")
        recovered = torch.stack([result.images[seed] for result in self.results.values()], 1)
        rows = torch.cat([self.images[:, None], recovered], 1)  # (images, 1 + layers, …)
        return grid(list(rows.nan_to_num(0.5)), columns=columns)

    def numbers(self) -> dict:
        """Everything but pixels and traces, as plain lists: what `result.json` holds."""
        return {
            "seeds": list(self.seeds),
            "images": len(self.images),
            "layers": {
                layer: {name: getattr(result, name).tolist() for name in NUMBERS}
                | {"stopped": [list(row) for row in result.stopped]}
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
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path} is not a saved inversion; give a file from Inversion.save")
    images, results = tensors["images"], {}
    for number, (layer, stopped) in enumerate(about["layers"].items()):
        results[layer] = LayerInversion(
            **{name: tensors[f"{number}.{name}"] for name in ("images", "steps", *NUMBERS)},
            stopped=tuple(map(tuple, stopped)),
            norm=images.flatten(1).norm(dim=1),
            trace={name: tensors[f"{number}.trace.{name}"] for name in TRACED},
        )
    return Inversion(images, tuple(about["seeds"]), results)
