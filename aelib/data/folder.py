"""Images of the reader's own, from a folder: found, read, labelled, divided; nothing in silence."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from aelib import checks, runtime
from aelib.data.images import Images
from aelib.data.pixels import check_channels, open_plain, tensor_of

# What counts as an image in a folder. HEIC and JPEG XL need a Pillow plug-in; where it is missing
# they are named as unreadable, which tells a reader more than passing over them.
IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".tga", ".ico",
    ".heic", ".heif", ".jxl",
}  # fmt: skip

# Folders of these names, in any case, are sides of a division and never classes.
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation")
SIDE_NAMES = TRAIN_NAMES + TEST_NAMES + VALIDATION_NAMES


class UnreadableImagesWarning(UserWarning):
    """Some image files in a folder could not be read. `.files` has a (name, reason) for each."""

    def __init__(self, message: str, files: Sequence[tuple[str, str]] = ()):
        super().__init__(message)
        self.files = tuple(files)


class BitDepthWarning(UserWarning):
    """Some image files hold colours of more than 8 bits a channel, which Pillow cuts to 8."""


def folder_images(
    root: Path, size: int | None, channels: int, train: int | None, test: int | None, seed: int
) -> Images:
    """Images of the reader's own, from a folder and all its subfolders, in an order by seed.

    **Division.** Where a folder for training (`train` or `training`) and one for testing (`test` or
    `testing`; where there is neither, `val`, `valid` or `validation`) lie in it, in capitals or
    not, they are the division, and the rest is left alone: of `train`, `val` and `test` the first
    and the last are used. Where no folder has such a name, a fifth (or `test` images) is held out
    by seed. Anything else, such as `train` alone or `cats/test`, is an error that names the
    folders. With `train` and `test` both given no more files are read than needed.

    **Labels.** If all images of a side lie in subfolders, the first subfolder's name is the class.

    **Files.** Whatever Pillow reads is welcome (`plain` says how each mode is taken); what it
    cannot read is named in a warning, as are colours of more than 8 bits a channel, which it cuts
    to 8. Files with another ending than an image's, hidden files, and what is no regular file (a
    pipe, a socket, a device) are passed over. Of several frames the first is used. An image smaller
    than `size` is an error: enlarging makes smooth pixels, and how smooth images are is what the
    book measures.
    """
    root = Path(os.path.abspath(root))  # so that "." has a name
    label = root.name
    train_side, test_side = _sides(root)
    divided = train_side != test_side
    names = {side: image_files(root, side) for side in (test_side, train_side)}
    if divided:
        limits = {test_side: test, train_side: train}
    else:
        _refuse_sides(label, names[""])
        limits = {"": train + test if train and test else None}
    read, failed, cut = _read(root, names, limits, size, channels, seed)
    test_read, train_read = list(read[test_side].items()), list(read[train_side].items())
    if not divided:
        held_out = test or max(1, len(test_read) // 5)
        test_read, train_read = test_read[:held_out], train_read[held_out:][:train]

    of = f"of {len(train_read) + len(test_read) + len(failed)} image files in {label!r}"
    if failed:
        reasons = listed([f"{name} ({reason})" for name, reason in failed])
        text = f"{len(failed)} {of} cannot be read and are left out: {reasons}"
        warnings.warn(UnreadableImagesWarning(text, failed), stacklevel=3)
    if cut:
        warnings.warn(f"{len(cut)} {of} {_CUT}: {listed(cut)}", BitDepthWarning, stacklevel=3)
    for argument, n, side, images in (
        ("test", test, test_side, test_read), ("train", train, train_side, train_read)
    ):  # fmt: skip
        if len(images) < (n or 1):
            besides = "" if divided or images is test_read else f" besides {len(test_read)} to test"
            expected = (
                f"{n or 'some'} readable images in {str(PurePosixPath(label, side))!r}{besides}"
            )
            got = checks.Described(len(images) or "none")
            advice = "images are files named .jpg, .png and the like, in any subfolder"
            raise ValueError(checks.message(argument, expected, got, advice))

    groups = {side: [_group(name, divided) for name in files] for side, files in names.items()}
    classes = sorted({group for side in groups.values() if all(side) for group in side})
    index = {name: i for i, name in enumerate(classes)}

    def arrays(side: str, images: list[tuple[str, Tensor]]) -> tuple[Tensor, Tensor | None, tuple]:
        sources = tuple(name for name, _ in images)
        labels = [index[_group(name, divided)] for name in sources] if all(groups[side]) else None
        stacked = torch.stack([image for _, image in images])
        return stacked, None if labels is None else torch.tensor(labels), sources

    train_images, train_labels, train_sources = arrays(train_side, train_read)
    test_images, test_labels, test_sources = arrays(test_side, test_read)
    return Images(
        label, train_images, test_images, train_labels, test_labels, tuple(classes),
        train_sources, test_sources,
    )  # fmt: skip


def read_images(paths: Sequence[str | Path], size: int, channels: int = 3) -> Tensor:
    """Image files as the centre square of each, averaged to `size` pixels a side.

    Args:
        paths: a list of files that Pillow can read, for instance `sorted(folder.glob("*.png"))`.
        size: at most the short side of each.
        channels: 1 or 3.

    Returns:
        float32 in [0, 1], (files, channels, size, size), in the order of `paths`.

    Raises:
        TypeError: unless paths is a list or tuple, size and channels whole numbers.
        FileNotFoundError: for a path that is no file.
        ValueError: for a file that is no image, or too small; for no files.

    Warns:
        BitDepthWarning: names the files whose colours were cut to 8 bits a channel.

    >>> import aelib, pathlib, skimage
    >>> folder = pathlib.Path(skimage.__file__).parent / "data"
    >>> aelib.data.read_images([folder / "chelsea.png", folder / "coffee.png"], size=64).shape
    torch.Size([2, 3, 64, 64])
    """
    if not isinstance(paths, list | tuple):
        # The order of the files is the order of the images: a glob's own differs between machines.
        raise TypeError(
            checks.message("paths", "a list of files", paths, "use [path] or sorted(…)")
        )
    if not paths:
        raise ValueError(checks.message("paths", "at least one file", paths))
    checks.whole(size, "size", least=1)
    check_channels(channels)
    images, cut = [], []
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f"paths: there is no file {path}")
        try:
            picture, reduced = open_plain(path)
        except Exception as error:  # decoders raise almost anything, and all of it is told
            raise ValueError(f"paths: {path} cannot be read ({reason_of(error)})") from error
        if min(picture.size) < size:
            got = checks.Described(f"{size} for {path} of {'×'.join(map(str, picture.size))}")
            raise ValueError(checks.message("size", f"{min(picture.size)} or less", got))
        images.append(tensor_of(picture, size, channels))
        cut += [str(path)] * reduced
    if cut:
        text = f"{len(cut)} of {len(paths)} image files {_CUT}: {listed(cut)}"
        warnings.warn(text, BitDepthWarning, stacklevel=2)
    return torch.stack(images)


_CUT = "hold colours of more than 8 bits a channel, of which 8 are used"


def _sides(root: Path) -> tuple[str, str]:
    """The folders for training and for testing, or twice "" where there is not one of each."""
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    train, test, validation = (
        [name for name in folders if name.casefold() in known]
        for known in (TRAIN_NAMES, TEST_NAMES, VALIDATION_NAMES)
    )
    test = test or validation
    return (train[0], test[0]) if len(train) == len(test) == 1 else ("", "")


def _refuse_sides(label: str, names: list[str]) -> None:
    """Images to be divided by seed: none may lie in a folder that is a side of some division."""
    folders = {folder for name in names for folder in PurePosixPath(name).parents}
    sides = sorted(str(folder) for folder in folders if folder.name.casefold() in SIDE_NAMES)
    if sides:
        expected = f"one folder to train and one to test (or val) directly in {label!r}, or neither"
        advice = "give the folder that holds both, or rename those that are classes"
        got = checks.Described(listed(sides))
        raise ValueError(checks.message("name", expected, got, advice))


def image_files(root: Path, side: str = "") -> list[str]:
    """The image files below root/side, named relative to root, sorted. Links are followed."""

    def stop(error: OSError) -> None:  # os.walk would pass over a folder it may not open
        raise error

    names, visited = [], set()
    for folder, below, files in os.walk(root / side, followlinks=True, onerror=stop):
        real = os.path.realpath(folder)
        if real in visited:  # a link back up: the walk would never end
            below.clear()
            continue
        visited.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        for name in files:
            path = Path(folder, name)
            # No pipe, socket or device, which may never answer; a link to nowhere will tell.
            plain = os.path.isfile(path) or not os.path.exists(path)
            if plain and not name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES:
                names.append(path.relative_to(root).as_posix())
    return sorted(names)


def _group(name: str, divided: bool) -> str:
    """The first folder below its side on the way to an image, "" where it lies in the side."""
    parts = PurePosixPath(name).parts[divided:]
    return parts[0] if len(parts) > 1 else ""


def _read(
    root: Path,
    names: dict[str, list[str]],
    limits: dict[str, int | None],
    size: int | None,
    channels: int,
    seed: int,
) -> tuple[dict[str, dict[str, Tensor]], list[tuple[str, str]], list[str]]:
    """Read each side's files in an order by seed until there are as many as wanted (None: all).

    Returns:
        {side: {name: image}}, (name, why not) of what cannot be read, the names of what was cut.
    """
    read, failed, cut, small, first = {}, [], [], [], None
    for side, n in limits.items():
        images = read[side] = {}
        order = np.random.default_rng(seed).permutation(len(names[side]))
        with runtime.progress(n or len(order), f"reading {root.name}") as bar:
            for name in (names[side][i] for i in order):
                if len(images) == n:
                    break
                try:
                    picture, reduced = open_plain(root / name)
                except Exception as error:  # decoders raise almost anything, and all of it is told
                    failed.append((name, reason_of(error)))
                    continue
                short = min(picture.size)
                if size is not None and short < size:
                    small.append((short, name))
                    continue
                first = first or (name, picture.size)
                if size is None and picture.size != first[1]:
                    (other, (wide, high)), (width, height) = first, picture.size
                    got = checks.Described(f"{name} of {width}×{height}, {other} of {wide}×{high}")
                    advice = f"give a size, here size={min(short, wide, high)} or less"
                    raise ValueError(checks.message("size", "images of one size", got, advice))
                images[name] = tensor_of(picture, size, channels)
                cut += [name] * reduced
                bar.update()
    if small:
        (short, name), total = min(small), len(small) + sum(map(len, read.values()))
        got = checks.Described(f"{len(small)} of {total} that are smaller ({name} has {short})")
        advice = f"ask for size={short} or less, or take the small ones out of the folder"
        expected = f"images of at least {size} pixels on the short side"
        raise ValueError(checks.message("size", expected, got, advice))
    return read, failed, cut


def listed(names: Sequence[str]) -> str:
    """The first ten, and how many more."""
    more = [f"and {len(names) - 10} more"] if len(names) > 10 else []
    return ", ".join([*names[:10], *more])


def reason_of(error: Exception) -> str:
    """Why a file could not be read, in few words and without the path of the folder."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "in no format that Pillow knows"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
