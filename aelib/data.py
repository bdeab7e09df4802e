"""Images in, and what spoils them: bundled sets, torchvision's sets, a reader's folder, noise.

Every set arrives as one `Images`: float32 tensors in [0, 1] of shape (n, channels, height, width),
already divided into training and test images. "digits" and "photos" are read from files that
scikit-learn and scikit-image ship inside their packages, so a first run needs no network.
Heavy imports wait inside the functions that need them: `import aelib` stays quick.
"""

from __future__ import annotations

import http.client
import importlib.util
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aelib import runtime

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SETS = ("digits", "photos", "cifar10", "mnist", "fashion_mnist")

# The colour photographs of everyday things in the two packages, as (file, package, folder).
# Left out: microscope and telescope pictures, drawings, the grey ones, and the right half of the
# motorcycle's stereo pair, which would be one scene twice.
TRAIN_PHOTOS = (
    ("astronaut.png", "skimage", "data"),
    ("china.jpg", "sklearn", "datasets/images"),
    ("motorcycle_left.png", "skimage", "data"),
    ("chelsea.png", "skimage", "data"),
    ("rocket.jpg", "skimage", "data"),
)
# Of all pairs, the one whose crops have the spectrum nearest to that of the other five.
TEST_PHOTOS = (
    ("coffee.png", "skimage", "data"),
    ("flower.jpg", "sklearn", "datasets/images"),
)

# What counts as an image in a folder. HEIC and JPEG XL need a Pillow plug-in; where it is missing
# they are named as unreadable, which tells a reader more than passing over them.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .tif .tiff .webp .avif .ppm .pgm .pbm .pnm"
    " .pfm .jp2 .j2k .tga .ico .heic .heif .jxl".split()
)
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, the weights of Pillow's own grey


class UnreadableImagesWarning(UserWarning):
    """Some image files in a folder could not be read. `.files` has a (name, reason) for each."""

    def __init__(self, message: str, files: Sequence[tuple[str, str]] = ()):
        super().__init__(message)
        self.files = tuple(files)


class ValueRangeWarning(UserWarning):
    """Some values lie outside [-1, 1], the widest range the book's nets are made for."""


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A set of images divided into training and test, as `load` returns it.

    Attributes:
        name: the set's name, or the folder's.
        train, test: float32 in [0, 1], (n, channels, height, width).
        train_labels, test_labels: int64, (n,), indices into `classes`; None where there are none.
        classes: the classes' names, () where there are none.
        train_sources, test_sources: the photograph or file of each image; () where there is none.
    """

    name: str
    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    train_sources: tuple[str, ...] = ()
    test_sources: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.train.shape[1:])

    def take(self, n: int, seed: int = 0) -> Images:
        """The same set with `n` training images, drawn without repetition; test images stay.

        With the same seed, a smaller n takes the first of a larger n's images.

        Raises:
            TypeError: if n or seed is not a whole number.
            ValueError: if n is below 1 or above the number of training images.
        """
        _check_whole("seed", seed, least=0)
        picked = _pick("n", n, len(self.train), "training", self.name, seed)
        return replace(
            self,
            train=self.train[picked],
            train_labels=None if self.train_labels is None else self.train_labels[picked],
            train_sources=tuple(self.train_sources[i] for i in picked if self.train_sources),
        )

    def __repr__(self) -> str:
        counts = f"{len(self.train)} train, {len(self.test)} test"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Images({self.name!r}: {counts}, {'×'.join(map(str, self.shape))}{classes})"


def load(
    name: str | PurePath,
    size: int | None = None,
    *,
    channels: int | None = None,
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Images:
    """Load images by the name of a set, or from a folder.

    Args:
        name: one of

            - "digits": scikit-learn's 1,797 handwritten digits, 8×8, grey, labelled; a fifth,
              drawn by seed, is for testing. Writers are not told apart, so one hand may be on
              both sides. No network.
            - "photos": crops of seven colour photographs; two of them are only for testing.
              32×32, 2,048 and 512 crops unless said otherwise. How they are cut: `_photos`.
              No network.
            - "cifar10", "mnist", "fashion_mnist": torchvision's, with their own division,
              downloaded into `runtime.cache_folder()` if they are not there.
            - the path of a folder: images of your own, subfolders included. How they are read,
              labelled and divided: `_folder`.
        size: height and width in pixels. None keeps a set's own size, and needs all images in a
            folder to have one. Images in a folder are made smaller and cropped at the centre,
            never enlarged; the small sets (digits, torchvision's) can be.
        channels: 1 (luma) or 3 (grey three times). None: a set's own number; 3 for a folder.
        train, test: how many images, chosen by seed. None: all there are.
        seed: of every choice. The same arguments give the same tensors.

    Raises:
        TypeError, ValueError: for an unknown name or an argument out of range, before any work;
            for a folder without enough readable images, or with images too small.
        FileNotFoundError, NotADirectoryError: for a path that leads to no folder.
        OSError: if the cache folder cannot be written to, before any download.
        ConnectionError: if a download fails.

    Warns:
        UnreadableImagesWarning: names the files of a folder that could not be read.

    Source: chapter 1 introduces "digits", chapter 2 "photos".
    """
    for argument, value in (("size", size), ("train", train), ("test", test)):
        if value is not None:
            _check_whole(argument, value, least=1)
    _check_whole("seed", seed, least=0)
    if channels is not None:
        _check_whole("channels", channels, least=1)
        if channels not in (1, 3):
            raise ValueError(f"channels: expected 1 (grey) or 3 (colour), got {channels}")

    match name:
        case "digits":
            return _digits(size, channels, train, test, seed)
        case "photos":
            return _photos(size or 32, channels or 3, train or 2048, test or 512, seed)
        case "cifar10" | "mnist" | "fashion_mnist":
            return _torchvision(name, size, channels, train, test, seed)
    return _folder(_existing_folder(name), size, channels or 3, train, test, seed)


# ---- sets ------------------------------------------------------------------------------------


def _digits(size, channels, train, test, seed) -> Images:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    images = torch.from_numpy(pixels[order]).float().div(16).view(-1, 1, 8, 8)
    labels = torch.from_numpy(labels[order]).long()
    held_out = math.ceil(len(labels) / 5)
    parts = (images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out])
    return _finished("digits", parts, map(str, range(10)), size, channels, (train, test), seed)


def _torchvision(name, size, channels, train, test, seed) -> Images:
    from torchvision import datasets

    kinds = {"cifar10": "CIFAR10", "mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
    kind = getattr(datasets, kinds[name])
    folder = runtime.cache_folder()
    try:
        sides = [kind(str(folder), train=side, download=False) for side in (True, False)]
    except RuntimeError:  # torchvision's way to say: not there, or not whole
        # Before minutes of downloading, not after.
        runtime.check_writable(folder, f"{name!r} (AELIB_CACHE names the folder for downloads)")
        try:
            sides = [kind(str(folder), train=side, download=True) for side in (True, False)]
        except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
            raise ConnectionError(
                f"{name!r} is not in {folder}, and downloading it failed ({error}). Try again with"
                ' a network, or load "digits" or "photos", which need none, or a folder of your own'
            ) from error
    parts = []
    for side in sides:
        pixels = torch.as_tensor(side.data)
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.movedim(-1, 1)
        parts.append((pixels, torch.as_tensor(side.targets)))  # (n, channels, height, width), (n,)
    return _finished(name, parts, sides[0].classes, size, channels, (train, test), seed)


def _finished(name, parts, classes, size, channels, counts, seed) -> Images:
    """Choose, then convert: a thousand images of CIFAR-10 never cost the memory of them all."""
    done = []
    for argument, n, (images, labels) in zip(("train", "test"), counts, parts, strict=True):
        if n is not None:
            side = "training" if argument == "train" else "test"
            picked = _pick(argument, n, len(images), side, name, seed)
            images, labels = images[picked], labels[picked]
        images = images.float().div(255) if images.dtype == torch.uint8 else images
        images = _with_channels(images, channels or images.shape[1])
        if size is not None and tuple(images.shape[-2:]) != (size, size):
            images = torch.nn.functional.interpolate(
                images, (size, size), mode="bilinear", antialias=True
            ).clamp(0, 1)
        done.append((images.contiguous(), labels))
    (train, train_labels), (test, test_labels) = done
    return Images(name, train, test, train_labels, test_labels, tuple(classes))


def _photos(size: int, channels: int, train: int, test: int, seed: int) -> Images:
    """Square crops of bundled photographs; no test crop is from a training photograph.

    The photographs take turns, so every run of crops is balanced over them. A crop's side is
    drawn evenly on a logarithmic scale, from twice `size` (so that a small crop shows a thing, not
    a flat patch of it) to half the photograph's short side (so that two crops are seldom nearly
    the same); its place evenly; half of the crops are mirrored. The photograph is then averaged
    down to `size`. Flat crops stay: sky belongs to natural images. Asking for more crops keeps the
    earlier ones. With one channel they are the luma of the same crops in colour.
    """
    done = []
    for stream, (photos, count) in enumerate(((TRAIN_PHOTOS, train), (TEST_PHOTOS, test))):
        # A stream for each side: the number of training crops does not change the test crops.
        draws = np.random.default_rng([seed, stream]).random((count, 4))
        crops = torch.empty(count, 3, size, size)
        for turn, photo in enumerate(photos):
            chosen = slice(turn, None, len(photos))
            _cut(_bundled_photo(*photo), photo[0], draws[chosen], crops[chosen])
        names = tuple(PurePath(photos[i % len(photos)][0]).stem for i in range(count))
        done.append((_with_channels(crops, channels), names))
    (train_crops, train_names), (test_crops, test_names) = done
    return Images(
        "photos", train_crops, test_crops, train_sources=train_names, test_sources=test_names
    )


def _cut(picture: Picture, name: str, draws: np.ndarray, crops: Tensor) -> None:
    """Fill `crops` from one photograph, a row (scale, left, top, mirror) of `draws` for each."""
    size, short = crops.shape[-1], min(picture.size)
    if size > short:
        raise ValueError(
            f"size: the bundled photograph {name} is {short} pixels on its short side, got {size};"
            " ask for less, or load a folder of larger photographs"
        )
    smallest = min(2 * size, short)
    largest = max(smallest, short / 2)
    for crop, (scale, left, top, mirror) in zip(crops, draws, strict=True):
        side = round(smallest * (largest / smallest) ** scale)
        x, y = int(left * (picture.width - side + 1)), int(top * (picture.height - side + 1))
        pixels = _pixels(picture, (size, size), (x, y, x + side, y + side))
        crop.copy_(pixels.flip(-1) if mirror < 0.5 else pixels)


def _bundled_photo(file: str, package: str, folder: str) -> Picture:
    """A photograph inside an installed package, by its path.

    The packages' own loaders are passed by, since some download what they do not find.
    """
    from PIL import Image

    product = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    found = importlib.util.find_spec(package)
    path = Path(found.origin).parent / folder / file if found and found.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f'"photos" needs {file}, which the {product} installed here does not hold; install'
            f' another version of {product}, or load "digits" or a folder of your own'
        )
    with Image.open(path) as picture:
        return picture.convert("RGB")


# ---- a reader's folder -----------------------------------------------------------------------


def _existing_folder(name: str | PurePath) -> Path:
    if not isinstance(name, (str, PurePath)):
        raise TypeError(f"name: expected the name of a set or a path, got {type(name).__name__}")
    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        return folder
    if folder.is_file():
        raise NotADirectoryError(f"name: expected a folder of images, got the file {str(name)!r}")
    if isinstance(name, PurePath) or len(folder.parts) > 1:
        raise FileNotFoundError(f"name: there is no folder {str(name)!r}")
    raise ValueError(
        f"name: {name!r} is neither a set nor a folder here; {runtime.nearest(name.lower(), SETS)};"
        " or give the path of a folder of images"
    )


def _folder(root: Path, size, channels: int, train, test, seed: int) -> Images:
    """Images of the reader's own, from a folder and all its subfolders, in an order by seed.

    Where both `train/` and `test/` exist they are the division, and the rest is left alone; where
    they do not, a fifth (or `test` images) is held out by seed. If all images lie in subfolders,
    the first subfolder's name is the class. Files with another ending than an image's and hidden
    files are passed over. Whatever Pillow reads is welcome (`_plain` says how each mode is taken);
    what it cannot read is named in a warning. Of several frames the first is used. An image
    smaller than `size` is an error: enlarging makes smooth pixels, and how smooth images are is
    what the book measures.
    """
    label = root.resolve().name
    divided = all((root / side).is_dir() for side in ("train", "test"))
    train_side, test_side = ("train", "test") if divided else ("", "")
    names = {side: _image_files(root, side) for side in {train_side, test_side}}
    order = {side: _shuffled(found, seed) for side, found in names.items()}

    held_out = test if divided or test else max(1, len(names[test_side]) // 5)
    test_read, failed = _read(root, order[test_side], held_out, size, channels, {})
    # Undivided, training begins where reading for the test images stopped.
    rest = order[train_side][0 if divided else len(test_read) + len(failed) :]
    train_read, more = _read(root, rest, train, size, channels, test_read)
    failed += more

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
                f"{side}: expected at least {wanted or 1} readable images in {where}{besides}, got"
                f" {len(read)}; images are files named .jpg, .png and the like, in any subfolder"
            )

    groups = {side: [_group(name, side) for name in found] for side, found in names.items()}
    classes = sorted({group for found in groups.values() if all(found) for group in found})

    def labels(read: dict[str, Tensor], side: str) -> Tensor | None:
        if not all(groups[side]):  # an image outside any subfolder: the folders are no classes
            return None
        return torch.tensor([classes.index(_group(name, side)) for name in read])

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
    from PIL import Image, ImageOps, UnidentifiedImageError

    read, failed, small = {}, [], []
    first = next(iter(before.items()), None)
    with runtime.progress(want or len(names), f"reading {root.name}") as bar:
        for name in names:
            if len(read) == want:
                break
            try:
                with Image.open(root / name) as opened:
                    picture = _plain(ImageOps.exif_transpose(opened))
            except UnidentifiedImageError:
                failed.append((name, "in no format that Pillow knows"))
                continue
            except Exception as error:  # decoders raise almost anything, and all of it is told
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                failed.append((name, reason))
                continue
            width, height = picture.size
            short = min(picture.size)
            if size is None:
                image = _pixels(picture, picture.size, (0, 0, width, height))
            elif short < size:
                small.append((short, name))
                continue
            else:
                left, top = (width - short) // 2, (height - short) // 2
                image = _pixels(picture, (size, size), (left, top, left + short, top + short))
            read[name] = _with_channels(image, channels)
            first = first or (name, read[name])
            if read[name].shape != first[1].shape:
                other = "×".join(map(str, reversed(first[1].shape[1:])))
                raise ValueError(
                    f"size: without it all images must have one size, but {first[0]} is {other} and"
                    f" {name} is {width}×{height}; give size={min(short, *first[1].shape[1:])} or less"
                )
            bar.update()
    if small:
        short, name = min(small)
        raise ValueError(
            f"size: expected images of at least {size} pixels on the short side, but {len(small)} of"
            f" {len(small) + len(read)} are smaller ({name} has {short}); ask for size={short} or"
            " less, or take the small ones out of the folder"
        )
    return read, failed


def _plain(picture: Picture) -> Picture:
    """The same picture as 8-bit RGB, or as mode F in [0, 1] where 8 bits would lose something.

    Transparency is laid over white. 16-bit values divide by 65,535. Floats must be finite and
    within [0, 1] or [0, 255]. Raises ValueError for values that no scale of these explains.
    """
    from PIL import Image

    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float32)
        low, high = values.min(), values.max()  # NaN, where there is one
        scales = (1, 255) if picture.mode == "F" else (65535,)
        if not (low >= 0 and high <= scales[-1]):
            raise ValueError(f"values from {low:g} to {high:g}, expected 0 to {scales[-1]}")
        return Image.fromarray(values / (1 if high <= scales[0] == 1 else scales[-1]))
    if "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        opaque = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(opaque, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


# ---- shared ----------------------------------------------------------------------------------


def _pixels(picture: Picture, size: tuple[int, int], box: tuple[int, int, int, int]) -> Tensor:
    """The part of a plain picture inside `box`, averaged to (width, height): (channels, …)."""
    from PIL import Image

    # Pillow widens this filter as it shrinks a picture, so nothing aliases.
    values = np.array(picture.resize(size, Image.Resampling.BILINEAR, box=box))
    if values.ndim == 2:  # mode F, already in [0, 1]
        return torch.from_numpy(values).clamp(0, 1)[None]  # (1, height, width)
    return torch.from_numpy(values).movedim(-1, 0).float().div(255)  # (3, height, width)


def _with_channels(images: Tensor, channels: int) -> Tensor:
    """(…, 1 or 3, height, width) with 1 (luma) or 3 (grey three times) channels."""
    if images.shape[-3] == channels:
        return images
    if channels == 3:
        return images.repeat_interleave(3, dim=-3)
    weights = torch.tensor(LUMA).view(3, 1, 1)
    return (images * weights).sum(-3, keepdim=True).clamp(0, 1)


def _shuffled(names: list[str], seed: int) -> list[str]:
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


def _pick(argument: str, n: int, total: int, side: str, name: str, seed: int) -> list[int]:
    """`n` of `total` indices by seed, or an error that tells how many there are."""
    _check_whole(argument, n, least=1)
    if n > total:
        raise ValueError(f"{argument}: {name!r} has {total} {side} images, got {n}; ask for fewer")
    return np.random.default_rng(seed).permutation(total)[:n].tolist()


def _check_whole(argument: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{argument}: expected a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{argument}: expected at least {least}, got {value}")


# ---- what spoils images ----------------------------------------------------------------------


@dataclass(frozen=True)
class GaussianNoise:
    """Adds noise of mean `mean` and deviation `sigma` to images. Made by `gaussian`."""

    sigma: float
    mean: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy `images`: the same shape, dtype and device, not clipped to any range.

        A generator draws on its own device, so one seed gives one noise wherever the images are.

        Raises:
            TypeError: if images are not floating-point.
        """
        if not images.is_floating_point():
            raise TypeError(f"images: expected a floating-point tensor, got {images.dtype}")
        where = images.device if generator is None else generator.device
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=where)
        return images + (noise.to(images.device) * self.sigma + self.mean)


def gaussian(sigma: float, mean: float = 0.0) -> GaussianNoise:
    """Independent Gaussian noise on every pixel: `gaussian(0.2)(images, generator)`.

    Args:
        sigma: the deviation, in the images' units; 0 adds the mean alone.
        mean: the mean. The source document uses 0.7 beside a sigma of 0.2.

    Raises:
        TypeError, ValueError: unless both are finite numbers and sigma is at least 0.

    Source: chapter 3.
    """
    for argument, value in (("sigma", sigma), ("mean", mean)):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{argument}: expected a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{argument}: expected a finite number, got {value}")
    if sigma < 0:
        raise ValueError(f"sigma: expected a deviation of at least 0, got {sigma}")
    return GaussianNoise(float(sigma), float(mean))


def white_noise(count: int, shape: Sequence[int], seed: int = 0) -> Tensor:
    """Images that are nothing but noise: every value drawn evenly from [0, 1).

    Args:
        count: how many.
        shape: (channels, height, width), as in `Images.shape`.
        seed: the same seed gives the same images.

    Returns:
        float32, (count, channels, height, width).

    Source: chapter 2.
    """
    _check_whole("count", count, least=1)
    if len(shape) != 3:
        raise ValueError(f"shape: expected (channels, height, width), got {tuple(shape)}")
    for value in shape:
        _check_whole("shape", value, least=1)
    return torch.rand((count, *shape), generator=runtime.generator(seed))


# ---- before a long run -----------------------------------------------------------------------


def check_images(images: Tensor, name: str = "images") -> None:
    """Stop bad images before they cost an hour. Reads the tensor once and changes nothing.

    Args:
        images: expected floating-point, finite, (n, channels, height, width), n at least 1.
        name: what the caller calls them, for the messages.

    Raises:
        TypeError: if they are no tensor, or hold whole numbers or complex ones.
        ValueError: for another number of axes, no values, values that are not finite, or values
            beyond [-10, 10].

    Warns:
        ValueRangeWarning: for values outside [-1, 1].
    """
    expected = "expected a floating-point tensor of shape (n, channels, height, width)"
    if not isinstance(images, Tensor):
        hint = "; use torch.from_numpy" if isinstance(images, np.ndarray) else ""
        raise TypeError(f"{name}: {expected}, got {type(images).__name__}{hint}")
    if not images.is_floating_point():
        hint = f"; use {name}.float() / 255" if images.dtype == torch.uint8 else ""
        raise TypeError(f"{name}: {expected}, got {images.dtype}{hint}")
    if images.ndim != 4:
        hint = f"; for one image use {name}[None]" if images.ndim == 3 else ""
        raise ValueError(f"{name}: {expected}, got shape {tuple(images.shape)}{hint}")
    if images.numel() == 0:
        raise ValueError(f"{name}: {expected} with values in it, got shape {tuple(images.shape)}")
    low, high = (float(value) for value in images.detach().aminmax())  # NaN, where there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        where = (~images.detach().isfinite()).nonzero()
        raise ValueError(
            f"{name}: expected finite values, got {len(where)} that are NaN or infinite, the first"
            f" at {name}{where[0].tolist()}"
        )
    span = f"values from {low:.4g} to {high:.4g}"
    if low < -10 or high > 10:
        raise ValueError(
            f"{name}: expected values in [0, 1], got {span}; if they run from 0 to 255, divide by 255"
        )
    if low < -1 or high > 1:
        warnings.warn(
            f"{name}: {span}; the book's nets are made for [0, 1] or [-1, 1]",
            ValueRangeWarning,
            stacklevel=2,
        )
