"""Images of the reader's own, from a folder: found, read, labelled, divided; nothing in silence."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aelib import runtime
from aelib.data.images import Images
from aelib.data.pixels import pixels_of, plain, with_channels

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# What counts as an image in a folder. HEIC and JPEG XL need a Pillow plug-in; where it is missing
# they are named as unreadable, which tells a reader more than passing over them.
IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".tga", ".ico",
    ".heic", ".heif", ".jxl",
}  # fmt: skip


class UnreadableImagesWarning(UserWarning):
    """Some image files in a folder could not be read. `.files` has a (name, reason) for each."""

    def __init__(self, message: str, files: Sequence[tuple[str, str]] = ()):
        super().__init__(message)
        self.files = tuple(files)


def folder_images(root: Path, size, channels: int, train, test, seed: int) -> Images:
    """Images of the reader's own, from a folder and all its subfolders, in an order by seed.

    Where both `train/` and `test/` exist they are the division, and the rest is left alone; where
    they do not, a fifth (or `test` images) is held out by seed. With `train` and `test` both given
    no more files are read than needed. If all images lie in subfolders, the first subfolder's name
    is the class. Files with another ending than an image's and hidden files are passed over.
    Whatever Pillow reads is welcome (`plain` says how each mode is taken); what it cannot read is
    named in a warning. Of several frames the first is used. An image smaller than `size` is an
    error: enlarging makes smooth pixels, and how smooth images are is what the book measures.
    """
    root = Path(os.path.abspath(root))  # so that "." has a name
    label = root.name
    divided = all((root / side).is_dir() for side in ("train", "test"))
    train_side, test_side = ("train", "test") if divided else ("", "")
    names = {side: _image_files(root, side) for side in sorted({train_side, test_side})}
    order = {side: _shuffled(found, seed) for side, found in names.items()}

    if divided:
        test_read, failed = _read(root, order["test"], test, size, channels, {})
        train_read, more = _read(root, order["train"], train, size, channels, test_read)
        failed += more
    else:
        enough = train + test if train and test else None
        read, failed = _read(root, order[""], enough, size, channels, {})
        held_out = test or max(1, len(read) // 5)
        test_read = dict(islice(read.items(), held_out))
        train_read = dict(islice(read.items(), held_out, held_out + train if train else None))

    if failed:
        shown = [f"{name} ({reason})" for name, reason in failed[:10]]
        shown += [f"and {len(failed) - 10} more"] * (len(failed) > 10)
        of = f"{len(failed)} of {len(train_read) + len(test_read) + len(failed)} image files"
        message = f"{of} in {label!r} cannot be read and are left out: {', '.join(shown)}"
        warnings.warn(UnreadableImagesWarning(message, failed), stacklevel=3)
    for side, wanted, read in (("test", test, test_read), ("train", train, train_read)):
        if len(read) < (wanted or 1):
            where = f"the folder {f'{label}/{side}' if divided else label!r}"
            besides = "" if divided or side == "test" else f" besides {len(test_read)} for testing"
            raise ValueError(
                f"{side}: expected {wanted or 'some'} readable images in {where}{besides}, got"
                f" {len(read) or 'none'}; images are files named .jpg, .png and the like, in any"
                " subfolder"
            )

    groups = {side: [_group(name, side) for name in found] for side, found in names.items()}
    classes = sorted({group for found in groups.values() if all(found) for group in found})

    index = {name: i for i, name in enumerate(classes)}

    def labels(read: dict[str, Tensor], side: str) -> Tensor | None:
        if not all(groups[side]):  # an image outside any subfolder: the folders are no classes
            return None
        return torch.tensor([index[_group(name, side)] for name in read])

    return Images(
        label,
        torch.stack(list(train_read.values())),
        torch.stack(list(test_read.values())),
        labels(train_read, train_side),
        labels(test_read, test_side),
        tuple(classes),
        tuple(train_read),
        tuple(test_read),
    )


def _image_files(root: Path, side: str) -> list[str]:
    """The image files below root/side, named relative to root, sorted. Links are followed."""

    def stop(error: OSError):  # os.walk would pass over a folder it may not open
        raise error

    names, seen = [], set()
    for folder, below, files in os.walk(root / side, followlinks=True, onerror=stop):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up: the walk would never end
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        names += [
            str(inside / name)
            for name in files
            if not name.startswith(".") and PurePath(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(names)


def _group(name: str, side: str) -> str:
    """The first folder below `side` on the way to an image, "" where it lies in `side` itself."""
    parts = PurePosixPath(name).relative_to(side).parts
    return parts[0] if len(parts) > 1 else ""


def _read(
    root: Path, names: list[str], want: int | None, size, channels: int, before: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[tuple[str, str]]]:
    """Read files in turn until there are `want` images: {name: image} and [(name, why not)].

    With size None all must have one size, the images read `before` included.
    """
    read, failed, small = {}, [], []
    first = next(iter(before.items()), None)
    with runtime.progress(want or len(names), f"reading {root.name}") as bar:
        for name in names:
            if len(read) == want:
                break
            try:
                picture = _open(root / name)
            except Exception as error:  # decoders raise almost anything, and all of it is told
                failed.append((name, _reason(error)))
                continue
            width, height = picture.size
            short = min(picture.size)
            if size is None:
                image = pixels_of(picture, picture.size, (0, 0, width, height))
            elif short < size:
                small.append((short, name))
                continue
            else:
                image = _square(picture, size)
            read[name] = with_channels(torch.from_numpy(image), channels)
            first = first or (name, read[name])
            if read[name].shape != first[1].shape:
                high, wide = first[1].shape[1:]
                raise ValueError(
                    f"size: without it all images must have one size, but {first[0]} is"
                    f" {wide}×{high} and {name} is {width}×{height}; give a size, here"
                    f" size={min(short, high, wide)} or less"
                )
            bar.update()
    if small:
        short, name = min(small)
        raise ValueError(
            f"size: expected images of at least {size} pixels on the short side, but"
            f" {len(small)} of {len(small) + len(read)} are smaller ({name} has {short}); ask for"
            f" size={short} or less, or take the small ones out of the folder"
        )
    return read, failed


def read_images(paths: Sequence[str | Path], size: int, channels: int = 3) -> Tensor:
    """Image files as the centre square of each, averaged to `size` pixels a side.

    Args:
        paths: files that Pillow can read.
        size: at most the short side of each.
        channels: 1 or 3.

    Returns:
        float32 in [0, 1], (files, channels, size, size).

    Raises:
        FileNotFoundError: for a path that is no file.
        ValueError: for a file that is no image, or too small; for no files.
    """
    if isinstance(paths, str | Path) or not len(paths):
        raise ValueError(f"paths: expected a list of files, got {paths!r}")
    images = []
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f"image: there is no file {path}")
        try:
            picture = _open(path)
        except Exception as error:  # decoders raise almost anything, and all of it is told
            raise ValueError(f"image: {path} cannot be read ({_reason(error)})") from error
        if min(picture.size) < size:
            raise ValueError(
                f"size: expected {path} to have at least {size} pixels on the short side, got "
                f"{min(picture.size)}; give a smaller size"
            )
        images.append(with_channels(torch.from_numpy(_square(picture, size)), channels))
    return torch.stack(images)


def _open(path: Path) -> Picture:
    """A file as a plain picture, the right way up."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        return plain(ImageOps.exif_transpose(opened))


def _square(picture: Picture, size: int) -> np.ndarray:
    """The centre square, averaged to `size`: (1 or 3, size, size)."""
    (width, height), short = picture.size, min(picture.size)
    left, top = (width - short) // 2, (height - short) // 2
    return pixels_of(picture, (size, size), (left, top, left + short, top + short))


def _reason(error: Exception) -> str:
    """Why a file could not be read, in few words and without the path of the folder."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "in no format that Pillow knows"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _shuffled(names: list[str], seed: int) -> list[str]:
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
