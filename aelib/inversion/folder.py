"""`invert_folder`: `invert` for thousands of image files; it can be killed, and goes on."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aelib import checks, runtime
from aelib.data.folder import image_files, listed, reason_of
from aelib.data.pixels import check_channels, open_plain, tensor_of
from aelib.inversion.chunks import LEFT_OUT, RUN, SHEET, TABLE, Chunk, Reasons, Store, Summary
from aelib.inversion.nodes import ROWS, check_model, check_names, check_ran, device_of, trace
from aelib.inversion.null import unlike
from aelib.inversion.probe import unfit
from aelib.inversion.reading import OUTPUT, Forward, frozen
from aelib.inversion.result import FORMAT
from aelib.inversion.search import invert
from aelib.inversion.team import Team
from aelib.training.checkpoint import fingerprint, fingerprint_of_model
from aelib.training.dry_run import plain_name

# What is handed on to `invert`, and what it takes for each where nothing is said.
OPTIONS = {
    name: inspect.signature(invert).parameters[name].default
    for name in ("recipe", "steps", "until", "log_at", "batch_size", "precision", "channels_last",
                 "compiled", "cuda_graphs")
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FolderInversion:
    """What `invert_folder` did. Print it; go through `chunks()` for the images.

    Attributes:
        inverted: how many were inverted; None after Ctrl-C, when it was not counted.
        left_out: why the others were not, by file.
        reduced: the files whose colours were cut to 8 bits a channel.
        made_anew: files of chunks that were spoilt, or of another run.
        interrupted: whether Ctrl-C stopped it; the same call goes on.
        under_way: the chunk that Ctrl-C stopped in this process, which is not kept; or None.
    """

    store: Store = field(repr=False)
    inverted: int | None
    left_out: Reasons
    reduced: tuple[str, ...]
    made_anew: tuple[str, ...]
    interrupted: bool
    under_way: Chunk | None = field(repr=False)

    @property
    def out(self) -> Path:
        """The folder everything was written to."""
        return self.store.out

    @property
    def files(self) -> int:
        """How many images were found."""
        return sum(map(len, self.store.chunks))

    def chunks(self) -> Iterator[Chunk]:
        """The chunks kept, read one after the other: `.files` and their `.inversion`."""
        return self.store.read()

    def __str__(self) -> str:
        lines = []
        if self.made_anew:
            lines.append(f"made anew, since they did not fit: {listed(self.made_anew)}")
        if self.interrupted:
            chunks, kept = len(self.store.chunks), self.store.kept()
            how = "call again with the same settings to go on"
            lines.append(f"stopped: {kept} of {chunks} chunks are kept in {self.out}; {how}")
            return "\n".join(lines)
        if self.reduced:
            lines.append(f"colours cut to 8 bits a channel: {listed(self.reduced)}")
        if self.left_out:
            told = _reasons(self.left_out)
            lines.append(f"left out, {len(self.left_out)} of {self.files} images: {told}")
        files = ", ".join((TABLE, LEFT_OUT, SHEET, RUN))
        lines.append(f"inverted {self.inverted:,} images, written to {self.out}: {files}, chunks")
        return "\n".join(lines)


def invert_folder(
    model: nn.Module,
    images: str | Path | Sequence[str | Path],
    layers: str | Sequence[str] = OUTPUT,
    *,
    out: str | Path,
    size: int = 224,
    channels: int = 3,
    chunk: int = 16,
    seeds: int | Sequence[int] = 1,
    forward: Forward | None = None,
    about: dict | None = None,
    progress: bool | None = None,
    label: str = "inverting",
    **options: Any,
) -> FolderInversion:
    """`invert` for image files, as many as there are, kept in a folder chunk by chunk.

    Killed or stopped, it goes on when called again with the same arguments: a chunk that is kept is
    not done again. Started by `accelerate launch` or `torchrun`, its processes share the chunks,
    each with the model on a device of its own; how many there are may change from call to call.

    `out` then holds

    - `table.csv`: a row an image, layer and seed, with every number of a `LayerInversion`, m_g/m_r,
      m_g and m_i of the image's baselines (alike for all seeds), and why it stopped; a cell is
      empty where there is no such number, as m_g/m_r where m_r is 0;
    - `left_out.csv`: the files that could not be read, are smaller than `size`, or of which a layer
      says nothing, or has nothing finite, its gradient and every seed's m_r included; and why;
    - `grid.png`: the first 16 images, and what the first 40 layers give back of them for the first
      seed;
    - `run.json`: settings, machines, versions;
    - `chunks/`: the recovered images, in float32 (float64 for a model of that) and not clipped,
      with all numbers and traces. Each file is an `Inversion` that `inversion.load` reads.

    Args:
        model: any module, as for `invert`.
        images: a folder with image files in it or below it, taken in the order of their names; or a
            list of files. What lies in `out` is passed over.
        layers: as for `invert`.
        out: the folder to write to.
        size: pixels a side: the centre square of each image is averaged to it.
        channels: 1 or 3.
        chunk: images that are read, descend and are kept together. A kill loses one chunk at most,
            and no more images than these are in memory.
        seeds: as for `invert`.
        forward: as for `invert`.
        about: what else `run.json` is to say, such as the model's name.
        progress: draw bars; None draws them for a person only, in the first process.
        label: the bars' name.
        options: recipe, steps, until, log_at, batch_size, precision, channels_last, compiled and
            cuda_graphs, as for `invert`.

    Returns:
        A `FolderInversion`. Ctrl-C ends it early, with what is kept so far.

    Raises:
        FileNotFoundError, ValueError, TypeError: for arguments that cannot work; no image that can
            be inverted; an `out` that holds a run with other settings, images or another model, or
            whose first m_r and m_g this model and `forward` do not give again.
        OSError: if `out` cannot be written to, or the disk is too small. What is kept stays.

    Source: chapter 4.

    >>> import pathlib, skimage, tempfile
    >>> cat = pathlib.Path(skimage.__file__).parent / "data" / "chelsea.png"
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())
    >>> with tempfile.TemporaryDirectory() as out:
    ...     found = invert_folder(model, [cat], "0", out=out, size=16, steps=5)
    ...     found.inverted, [chunk.inversion["0"].images.shape for chunk in found.chunks()]
    (1, [torch.Size([1, 1, 3, 16, 16])])
    """
    checks.module(model)
    size, chunk = (checks.whole(n, name, least=1) for n, name in ((size, "size"), (chunk, "chunk")))
    check_channels(channels)
    for name in options:
        checks.choice(name, "options", OPTIONS)
    if not isinstance(seeds, Sequence):
        seeds = checks.whole(seeds, "seeds", least=1)
    elif not (seeds := [checks.whole(seed, "seeds", least=0) for seed in seeds]):
        raise ValueError(checks.message("seeds", "how many, or a list of them", seeds))
    job = _Job(model, layers, seeds, size, channels, forward, options)
    paths = _paths(images, Path(out))
    out = runtime.check_writable(out, "the inversions")
    store = Store(out, job.settings(paths) | {"chunk": chunk}, about or {}, list(paths), chunk)
    store.check()

    team = Team()
    if team.processes > 1:
        model.to(team.device)
    states = {number: store.state(number) for number in team.share(range(len(store.chunks)))}
    states = {number: state for part in team.gather(states) for number, state in part.items()}
    job.check_kept(store, sorted(number for number, state in states.items() if state == "kept"))
    missing = sorted(number for number, state in states.items() if state != "kept")
    anew = tuple(store.path(n).name for n in missing if states[n] == "does not fit")
    mine, under_way, interrupted = team.share(missing), None, False
    shown = progress if team.rank == 0 else False

    def one(number: int) -> Chunk | None:
        """Do a chunk and keep it; if Ctrl-C stopped it, what there is of it."""
        files = {file: paths[file] for file in store.chunks[number]}
        left = sum(len(store.chunks[other]) for other in missing if other >= number)
        done, whole = job.run(
            files, lambda layers: store.check_room(left * job.bytes(layers)), label, shown
        )
        if whole:
            store.keep(number, done)
        return None if whole else done

    try:
        many = shown if len(mine) > 1 else False  # a chunk alone has the descent's own bar
        with runtime.progress(len(mine), f"{label}: chunks", many) as bar:
            for number in mine:
                under_way = one(number)
                if under_way is not None:
                    interrupted = True
                    break
                bar.update()
    except KeyboardInterrupt:
        interrupted = True
    if any(team.gather(interrupted)):
        return FolderInversion(store, None, {}, (), anew, True, under_way)
    summary: Summary = team.gather(store.join() if team.rank == 0 else None)[0]
    if not summary.inverted:
        why = {reason: file for file, reason in reversed(summary.left_out.items())}
        first = _reasons({file: reason for reason, file in reversed(why.items())})
        got = checks.Described(f"none of {len(paths)}: {first}")  # each reason once
        raise ValueError(checks.message("images", "some that can be inverted", got))
    return FolderInversion(
        store, summary.inverted, summary.left_out, summary.reduced, anew, False, None
    )


@dataclass(frozen=True)
class _Job:
    """What is done with each chunk of images."""

    model: nn.Module
    layers: str | Sequence[str]
    seeds: int | Sequence[int]
    size: int
    channels: int
    forward: Forward | None
    options: dict[str, Any]

    def settings(self, paths: dict[str, Path]) -> dict:
        """All that the numbers depend on, to be compared; a setting by its argument's name."""
        versions = runtime.versions()
        return {
            "images": f"{len(paths)} files, {_digest_of_files(paths)}",
            "model": f"{type(self.model).__name__}, {fingerprint_of_model(self.model)[:16]}",
            "forward": plain_name(self.forward),
            "layers": [self.layers] if isinstance(self.layers, str) else list(self.layers),
            "seeds": self.seeds if isinstance(self.seeds, int) else list(self.seeds),
            "size": self.size,
            "channels": self.channels,
            "format": FORMAT,
            **{name: value if isinstance(value, str | int | float | None) else _told(value)
               for name, value in (OPTIONS | self.options).items()},
            **{name: versions.get(name) for name in ("aelib", "torch")},
        }  # fmt: skip

    def check_kept(self, store: Store, kept: Sequence[int]) -> None:
        """Refuse to go on where the model does not give again what is kept, whatever its name is.

        Two functions may have one name, and a model computes with more than its `state_dict`.
        """
        found = (store.chunk(number).inversion for number in kept)
        first = next((inversion for inversion in found if inversion is not None), None)
        if first is not None:
            precision = self.options.get("precision", OPTIONS["precision"])
            if told := unlike(self.model, first, self.forward, precision):
                same = "`forward` and all that the model computes with as they were,"
                raise store.refusal(told, same)

    @property
    def dtype(self) -> torch.dtype:
        """Of the images, as `invert` wants them for this model."""
        weights = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return torch.float64 if next(weights, None) == torch.float64 else torch.float32

    def bytes(self, layers: int) -> int:
        """What is kept of an image, in bytes: its own pixels, and those recovered."""
        seeds = self.seeds if isinstance(self.seeds, int) else len(self.seeds)
        return self.dtype.itemsize * self.channels * self.size**2 * (1 + layers * seeds)

    def run(
        self,
        files: dict[str, Path],
        check_room: Callable[[int], None],
        label: str,
        progress: bool | None,
    ) -> tuple[Chunk, bool]:
        """A chunk, and whether it was done to its end; `check_room` is told how many layers."""
        left_out: Reasons = {}
        images, reduced = _read(files, self.size, self.channels, self.dtype, left_out)
        layers = self._drop_unfit(images, left_out)
        if not images:
            return Chunk((), None, left_out, reduced), True
        check_room(layers)
        found = invert(
            self.model, torch.stack(list(images.values())), self.layers, seeds=self.seeds,
            forward=self.forward, progress=progress, label=label, **self.options,
        )  # fmt: skip
        rows = [row for result in found.results.values() for row in result.stopped]
        words = {word for row in rows for word in row}
        whole = len(found) == layers and not words & {"interrupted", "not begun"}
        return Chunk(tuple(images), found, left_out, reduced), whole

    @torch.inference_mode(False)  # a caller's own would let no gradient through
    def _drop_unfit(self, images: dict[str, Tensor], left_out: Reasons) -> int:
        """Take out images for whose sake `invert` would refuse a layer; how many layers."""
        if not images:
            return 0
        first = next(iter(images.values()))[None]
        model = check_model(self.model, first)
        names = check_names(model, self.layers, first, self.forward)
        seeds = range(self.seeds) if isinstance(self.seeds, int) else self.seeds
        with frozen(model):
            check_ran(model, trace(model, first, self.forward, names), names, ROWS)
            for file, image in list(images.items()):
                here = image.to(device_of(model, image), copy=True)
                if why := unfit(model, here[None], names, seeds, self.forward):
                    left_out[file] = why
                    del images[file]
        return len(names)


def _read(
    files: dict[str, Path], size: int, channels: int, dtype: torch.dtype, left_out: Reasons
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The images that can be read, and which of them had deeper colours; `left_out` has the others.

    Returns:
        By file a centre square (channels, size, size) in [0, 1]; and names.
    """
    images, reduced = {}, []
    for file, path in files.items():
        try:
            picture, cut = open_plain(path)
            if min(picture.size) < size:
                raise ValueError(checks.message("size", f"{min(picture.size)} or less", size))
            images[file] = tensor_of(picture, size, channels).to(dtype)
        except Exception as error:  # decoders raise almost anything, and all of it is told
            left_out[file] = reason_of(error)
        else:
            reduced += [file] * cut
    return images, tuple(reduced)


def _paths(images: str | Path | Sequence[str | Path], out: Path) -> dict[str, Path]:
    """The files by the names they go by: below a folder by their way from it, else as given."""
    if not isinstance(images, str | Path):
        paths = {Path(path).as_posix(): Path(path) for path in images}
        if missing := [file for file, path in paths.items() if not path.is_file()]:
            raise FileNotFoundError(f"images: there is no file {listed(missing)}")
        if not paths or len(paths) < len(images):
            given = [str(path) for path in images]
            raise ValueError(checks.message("images", "at least one file, each once", given))
        return paths
    root, own = Path(images), Path(os.path.realpath(out))
    if not root.is_dir():
        got = checks.Described(f"{root}, which is {'a file' if root.exists() else 'not there'}")
        expected = "a folder, or a list of files"
        raise FileNotFoundError(checks.message("images", expected, got))
    real = Path(os.path.realpath(root))
    if own == real:
        got = checks.Described(f"{out}, where the images are")
        raise ValueError(checks.message("out", "a folder of its own", got))
    paths = {file: root / file for file in image_files(root)}
    if real in own.parents:  # its pictures are not to be read again
        paths = {
            file: path for file, path in paths.items()
            if own not in Path(os.path.realpath(path)).parents
        }  # fmt: skip
    if not paths:
        got = checks.Described(f"none in {root}")
        advice = "images are files named .jpg, .png and the like, in any subfolder"
        raise ValueError(checks.message("images", "some image files", got, advice))
    return paths


def _digest_of_files(paths: dict[str, Path]) -> str:
    """A short fingerprint of names and contents."""
    digests: dict[str, str | None] = {}
    for name, path in paths.items():
        try:
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            digests[name] = None  # cannot be read: listed as left out
    return _short(repr(digests))


def _told(value: object) -> str:
    """A setting in words, with a fingerprint of its tensors: words leave their middle out."""
    tensors = [fingerprint(tensor) for tensor in _tensors(value)]
    return plain_name(value) + (f", {_short(repr(tensors))}" if tensors else "")


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in a setting, which may be a dataclass of others."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _tensors(getattr(value, one.name))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _reasons(left_out: Reasons) -> str:
    return listed([f"{file} ({reason})" for file, reason in left_out.items()])
