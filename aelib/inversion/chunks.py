"""What an inversion of many images keeps in its folder: chunk by chunk, and a table of them all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from aelib import checks, figures, runtime
from aelib.inversion.baselines import BASELINES, Baseline
from aelib.inversion.result import NUMBERS, Inversion, load

RUN, TABLE, LEFT_OUT, SHEET = "run.json", "table.csv", "left_out.csv", "grid.png"
OF_BASELINES = tuple(f"{key}_{name}" for name in BASELINES for key in Baseline._fields)
COLUMNS = ("file", "layer", "seed", *NUMBERS, "m_g/m_r", *OF_BASELINES, "stopped")
SHEET_IMAGES, SHEET_LAYERS, SHEET_INCHES = 16, 40, 0.8  # the last: an image's side

Reasons = dict[str, str]  # by file


class Chunk(NamedTuple):
    """Some of the images of a folder, once they are done with.

    files: those inverted. inversion: of these, or None where there are none. left_out: why the
    others were not, by file. reduced: those whose colours were cut to 8 bits a channel.
    """

    files: tuple[str, ...]
    inversion: Inversion | None
    left_out: Reasons
    reduced: tuple[str, ...]


class Summary(NamedTuple):
    """What the chunks say together."""

    inverted: int
    left_out: Reasons
    reduced: tuple[str, ...]


class Store:
    """The folder of one run, which is one list of files with one model and one set of settings.

    A chunk is two files: the `Inversion`, and what is said of it, which is written last and makes
    it count. Both are written whole or not at all.
    """

    def __init__(self, out: Path, settings: dict, about: dict, files: Sequence[str], chunk: int):
        self.out, self.settings, self.about = out, settings, about
        self.chunks = [tuple(files[i : i + chunk]) for i in range(0, len(files), chunk)]
        self.key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def check(self) -> None:
        """Refuse a folder that holds another run, or files of ours that no run vouches for.

        Raises:
            ValueError: names what differs.
        """
        run = self.out / RUN
        if not run.exists():
            if there := [name for name in (TABLE, LEFT_OUT, SHEET) if (self.out / name).exists()]:
                got = checks.Described(f"{self.out}, which holds {', '.join(there)} but no {RUN}")
                advice = "give a new folder"
                raise ValueError(checks.message("out", "a folder of this run", got, advice))
            return
        try:
            kept = json.loads(run.read_text(encoding="utf-8"))["settings"]
            names = sorted({*kept, *self.settings})
        except (ValueError, LookupError, TypeError):
            got = checks.Described(f"{run}, which says nothing of a run")
            raise ValueError(
                checks.message("out", "a folder of this run", got, "give a new folder")
            ) from None
        unlike = [
            f"{name} {kept.get(name)!r}, now {self.settings.get(name)!r}"
            for name in names
            if kept.get(name) != self.settings.get(name)
        ]
        if unlike:
            raise self.refusal("; ".join(unlike), "the same settings")

    def refusal(self, unlike: str, same: str) -> ValueError:
        """What is said of a folder that holds another run."""
        got = checks.Described(f"{self.out}, which holds one with {unlike}")
        advice = f"give a new folder, or {same} to go on"
        return ValueError(checks.message("out", "a folder of this run", got, advice))

    def check_room(self, need: int) -> None:
        """Refuse work whose results do not fit on the disk.

        Raises:
            OSError: says how much is needed, and how much is free.
        """
        free = shutil.disk_usage(self.out).free
        if need > free:
            expected = f"room for {need / 2**30:,.1f} GiB of recovered images"
            got = checks.Described(f"{free / 2**30:,.1f} GiB free in {self.out}")
            advice = "make room, or take fewer images, layers or seeds"
            raise OSError(checks.message("out", expected, got, advice))

    def keep(self, number: int, chunk: Chunk) -> None:
        """Write a chunk. The first one with an inversion in it makes the folder this run's."""
        said = {"run": self.key, "machine": runtime.machine(), "files": chunk.files,
                "left_out": chunk.left_out, "reduced": chunk.reduced, "rows": [], "sha256": None,
               }  # fmt: skip
        if chunk.inversion is not None:
            if not (self.out / RUN).exists():
                self._note({})
            kept = chunk.inversion.save(self.path(number))
            said |= {"rows": _rows(chunk), "sha256": _digest(kept)}
        said_in = self._said_in(number)
        runtime.check_writable(said_in.parent, "the chunks")
        runtime.write_whole(said_in, json.dumps(said).encode())

    def state(self, number: int) -> str:
        """Whether a chunk is "kept", is "missing", or "does not fit": spoilt, or of another run."""
        if not self._said_in(number).exists():
            return "missing"
        try:
            said = self._said(number)
            fits = said["run"] == self.key and (
                said["sha256"] is None or said["sha256"] == _digest(self.path(number))
            )
        except (OSError, ValueError, LookupError, TypeError):
            fits = False
        return "kept" if fits else "does not fit"

    def kept(self) -> int:
        """How many chunks are written."""
        return sum(self._said_in(number).exists() for number in range(len(self.chunks)))

    def path(self, number: int) -> Path:
        """The file of a chunk's inversion."""
        return self.out / "chunks" / f"{number:05d}.safetensors"

    def read(self) -> Iterator[Chunk]:
        """The chunks that are kept, one after the other, in order."""
        for number in range(len(self.chunks)):
            if self._said_in(number).exists():
                yield self.chunk(number)

    def chunk(self, number: int) -> Chunk:
        """One that is kept."""
        said = self._said(number)
        found = load(self.path(number)) if said["sha256"] else None
        return Chunk(tuple(said["files"]), found, said["left_out"], tuple(said["reduced"]))

    def join(self) -> Summary:
        """Write what is said of all chunks: the table, who was left out, the sheet, the run."""
        table, omitted = _Csv(COLUMNS), _Csv(("file", "reason"))
        left_out, reduced, machines, inverted = {}, [], set(), 0
        for number in range(len(self.chunks)):
            said = self._said(number)
            table.add(said["rows"])
            omitted.add(said["left_out"].items())
            left_out |= said["left_out"]
            reduced += said["reduced"]
            inverted += len(said["files"])
            machines.add(said["machine"])
        if inverted:
            runtime.write_whole(self.out / TABLE, table.content())
            runtime.write_whole(self.out / LEFT_OUT, omitted.content())
            runtime.write_whole(self.out / SHEET, self._sheet())
            counts = {"inverted": inverted, "left_out": len(left_out)}
            self._note({"machines": sorted(machines), **counts})
        return Summary(inverted, left_out, tuple(reduced))

    def _sheet(self) -> bytes:
        """The first images, and what the layers give back of them for the first seed."""
        rows, columns = [], []
        for chunk in self.read():
            if chunk.inversion is not None:
                layers = chunk.inversion.layers[:SHEET_LAYERS]
                columns = ["input", *layers]
                found = [chunk.inversion[layer].images[0] for layer in layers]
                rows += torch.stack([chunk.inversion.images, *found], 1).nan_to_num(0.5)
            if len(rows) >= SHEET_IMAGES:
                break
        width = max(6.4, (len(columns) + 1) * 1.1 * SHEET_INCHES)
        rows = rows[:SHEET_IMAGES]
        return figures.png(figures.grid(rows, columns=columns, cell=SHEET_INCHES, width=width))

    def _note(self, more: dict) -> None:
        content = {"settings": self.settings, **self.about, "versions": runtime.versions(), **more}
        runtime.write_whole(self.out / RUN, (json.dumps(content, indent=1) + "\n").encode())

    def _said_in(self, number: int) -> Path:
        return self.path(number).with_suffix(".json")

    def _said(self, number: int) -> dict:
        return json.loads(self._said_in(number).read_text(encoding="utf-8"))


class _Csv:
    """A table in memory, rows of texts."""

    def __init__(self, header: Sequence[str]):
        self.text = io.StringIO()
        self.writer = csv.writer(self.text, lineterminator="\n")
        self.writer.writerow(header)

    def add(self, rows) -> None:
        self.writer.writerows(rows)

    def content(self) -> bytes:
        # A file's name need be no text; it goes out as it came in.
        return self.text.getvalue().encode("utf-8", "surrogateescape")


def _rows(chunk: Chunk) -> list[list[str]]:
    """The table's rows of a chunk, images down, within each its layers, within these the seeds."""
    assert chunk.inversion is not None
    rows = []
    for i, file in enumerate(chunk.files):
        for layer, result in chunk.inversion.results.items():
            numbers = [getattr(result, name) for name in NUMBERS] + [result.ratio]
            blank = [_cell(values[i]) for found in result.baselines.values() for values in found]
            for s, seed in enumerate(chunk.inversion.seeds):
                shown = [_cell(values[s, i]) for values in numbers]
                rows.append([file, layer, str(seed), *shown, *blank, result.stopped[s][i]])
    return rows


def _cell(value: Tensor) -> str:
    """A number in as many digits as tell; nothing where there is none."""
    return "" if value.isnan() else str(value.numpy())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
