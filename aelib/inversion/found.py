"""What an inversion found: images and distances by layer; a grid to look at, a file to keep."""

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
class Found:
    """What was read from one layer; every tensor begins (seeds, images, …).

    Attributes:
        images: the recovered x_g, (seeds, images, channels, height, width). Not clipped.
        m_g: ‖O(x) − O(x_g)‖, the distance in the layer.
        m_r: ‖O(x) − O(x′)‖ for x′ = x + n, each element of n normal with deviation 1/18: the
            distance in the layer that an eye would forgive.
        m_i: ‖x − x_g‖, the distance in the image.
        m_i_start: the same for the image the descent began at: what knowing nothing scores.
        psnr, ssim: of x_g against x, in dB and up to 1; SSIM is NaN below 7×7 pixels.
        iterations: evaluations of the net until the row stopped.
        seconds: from the start of the row's batch until the row stopped.
        stopped: why, a word for each seed and image: "steps" (all were done), "reached" (m_g fell
            below until · m_r), "stalled" (no step helps any more), "diverged" (not finite),
            "interrupted" (Ctrl-C), "not begun" (Ctrl-C before its turn).
        steps: the iterations at which the trace was taken, (records,); 0 is the start.
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
    trace: Mapping[str, Tensor] = field(repr=False)

    @property
    def relative(self) -> Tensor:
        """m_i over the image's own length ‖x‖, (seeds, images); NaN for an image of zeros."""
        return self.m_i / self._length

    @property
    def leftover(self) -> Tensor:
        """m_i² over the start's, the share of its error that is left; (seeds, images)."""
        return (self.m_i / self.m_i_start).square()

    _length: Tensor = field(repr=False, default=None)


@dataclass(frozen=True, eq=False)
class Inversion:
    """Everything one call of `invert` found. `found["layer1"]` is a `Found`; `.layers` lists them.

    `images` are the inputs x, (images, channels, height, width); `seeds` the seeds.
    """

    images: Tensor = field(repr=False)
    seeds: tuple[int, ...]
    found: Mapping[str, Found] = field(repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers inverted, in the order asked for."""
        return tuple(self.found)

    def __getitem__(self, layer: str) -> Found:
        if layer not in self.found:
            raise KeyError(f"{layer!r} was not inverted; {checks.nearest(layer, self.layers)}")
        return self.found[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __str__(self) -> str:
        wide = max((len(layer) for layer in self.found), default=5)
        lines = [
            f"{'layer':<{wide}}     m_g/m_r   m_i   start   psnr dB   ssim  iterations  stopped"
        ]
        for layer, one in self.found.items():
            middle = [
                float(value.double().nanmedian())
                for value in (
                    one.m_g / one.m_r, one.m_i, one.m_i_start, one.psnr, one.ssim,
                    one.iterations.double(),
                )
            ]  # fmt: skip
            why = sorted({word for row in one.stopped for word in row})
            lines.append(
                "{:<{}}  {:>10.3g}{:>6.3g}{:>8.3g}{:>10.3g}{:>7.2g}{:>12.0f}  {}".format(
                    layer, wide, *middle, ", ".join(why)
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
            ValueError: for a place that is not there.
        """
        from aelib.figures import grid

        if not 0 <= checks.whole(seed, "seed") < len(self.seeds):
            raise ValueError(f"seed: expected a place from 0 to {len(self.seeds) - 1}, got {seed}")
        columns = ["input"]
        for layer, one in self.found.items():
            columns.append(f"{layer}\n{float(one.relative[seed].nanmedian()):.2f}")
        recovered = torch.stack([one.images[seed] for one in self.found.values()], 1)
        rows = torch.cat([self.images[:, None], recovered], 1)  # (images, 1 + layers, …)
        return grid(list(rows.nan_to_num(0.5)), columns=columns)

    def numbers(self) -> dict:
        """Everything but pixels and traces, as plain lists: what `result.json` holds."""
        return {
            "seeds": list(self.seeds),
            "images": len(self.images),
            "layers": {
                layer: {name: getattr(one, name).tolist() for name in NUMBERS}
                | {"stopped": [list(row) for row in one.stopped]}
                for layer, one in self.found.items()
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
        for number, (layer, one) in enumerate(self.found.items()):
            about["layers"][layer] = [list(row) for row in one.stopped]
            parts = {name: getattr(one, name) for name in ("images", "steps", *NUMBERS)}
            parts |= {f"trace.{name}": one.trace[name] for name in TRACED}
            tensors |= {f"{number}.{key}": value.contiguous() for key, value in parts.items()}
        path = Path(path)
        runtime.check_writable(path.parent, "the inversion")
        return runtime.write_whole(path, save(tensors, {"about": json.dumps(about)}))


def assemble(images: Tensor, seeds: tuple[int, ...], parts: Mapping[str, dict]) -> Inversion:
    """An `Inversion` from each layer's fields; the length ‖x‖ is taken from the images."""
    length = images.flatten(1).norm(dim=1)
    length = length.where(length > 0, float("nan"))
    found = {layer: Found(**fields, _length=length) for layer, fields in parts.items()}
    return Inversion(images, seeds, found)


def load(path: str | Path) -> Inversion:
    """What `Inversion.save` kept, on the CPU.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a saved inversion ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path} is not a saved inversion; give a file from Inversion.save")
    parts = {}
    for number, (layer, stopped) in enumerate(about["layers"].items()):
        own = {key.split(".", 1)[1]: value for key, value in tensors.items()
               if key.startswith(f"{number}.")}  # fmt: skip
        trace = {name: own.pop(f"trace.{name}") for name in TRACED}
        parts[layer] = own | {"trace": trace, "stopped": tuple(map(tuple, stopped))}
    return assemble(tensors["images"], tuple(about["seeds"]), parts)
