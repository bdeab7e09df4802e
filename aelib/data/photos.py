"""Crops of the photographs that installed packages carry; nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch

from aelib import checks
from aelib.data.images import Images
from aelib.data.pixels import pixels_of, with_channels

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# The colour photographs of everyday things in scikit-image and scikit-learn, as (file, package,
# folder). Left out: microscope and telescope pictures, drawings, the grey ones, and the right half
# of the motorcycle's stereo pair, which would be one scene twice.
TRAIN_PHOTOS = (
    ("astronaut.png", "skimage", "data"),
    ("china.jpg", "sklearn", "datasets/images"),
    ("motorcycle_left.png", "skimage", "data"),
    ("flower.jpg", "sklearn", "datasets/images"),
    ("rocket.jpg", "skimage", "data"),
)
# Of all pairs, the one whose crops the other five's principal components fit most nearly as well
# as their own (error ratios .8, .9, 1.2 with 16, 64, 256 components at 16×16).
TEST_PHOTOS = (
    ("chelsea.png", "skimage", "data"),
    ("coffee.png", "skimage", "data"),
)
# matplotlib's portrait makes eight, to be held out in turn. It is in neither side of the fixed
# division, which is older.
PHOTOS = (
    *TRAIN_PHOTOS,
    *TEST_PHOTOS,
    ("grace_hopper.jpg", "matplotlib", "mpl-data/sample_data"),
)


def photo_crops(
    size: int, channels: int, train: int, test: int, seed: int, holdout: int | None = None
) -> Images:
    """Square crops of bundled photographs; no test crop is from a training photograph.

    Without `holdout` five photographs train (astronaut, china, motorcycle_left, flower, rocket) and
    two are held out (chelsea, coffee), the pair that principal components of the other five fit
    most nearly as well as their own: kind to linear filters. `holdout` from 0 to 7 holds out that
    one of `PHOTOS` (those seven in this order, then grace_hopper) and trains on the other seven, so
    that eight trainings rotate them all. At 64 pixels a crop is 128 to 150 pixels or more of a
    photograph; at 128, where twice the size is more than half the short side, exactly 256.

    The photographs take turns, so every run of crops is balanced over them. A crop's side is
    drawn evenly on a logarithmic scale, from twice `size` (so that a small crop shows a thing, not
    a flat patch of it) to half the photograph's short side (so that two crops are seldom nearly
    the same); its place evenly; half of the crops are mirrored. The photograph is then averaged
    down to `size`. Flat crops stay: sky belongs to natural images. Asking for more crops keeps the
    earlier ones. With one channel they are the luma of the same crops in colour.
    """
    named = TRAIN_PHOTOS, TEST_PHOTOS
    if holdout is not None:
        checks.whole(holdout, "holdout", least=0, most=len(PHOTOS) - 1, limit="the last photograph")
        named = (*PHOTOS[:holdout], *PHOTOS[holdout + 1 :]), PHOTOS[holdout : holdout + 1]
    sides = [[_bundled_photo(*photo) for photo in side] for side in named]
    short = min(min(picture.size) for pictures in sides for picture in pictures)
    checks.whole(size, "size", most=short, limit="the short side of the smallest photograph")
    done = []
    for stream, (pictures, n) in enumerate(zip(sides, (train, test), strict=True)):
        # A stream for each side: the number of training crops does not change the test crops.
        draws = np.random.default_rng([seed, stream]).random((n, 4))
        crops = np.empty((n, 3, size, size), np.float32)
        for turn, picture in enumerate(pictures):
            _cut(picture, draws[turn :: len(pictures)], crops[turn :: len(pictures)])
        done.append(with_channels(torch.from_numpy(crops), channels))
    return Images(
        "photos",
        *done,
        train_sources=_sources(named[0], train),
        test_sources=_sources(named[1], test),
    )


def _sources(photos: tuple[tuple[str, str, str], ...], n: int) -> tuple[str, ...]:
    return tuple(PurePath(photos[i % len(photos)][0]).stem for i in range(n))


def _cut(picture: Picture, draws: np.ndarray, crops: np.ndarray) -> None:
    """Fill `crops` from one photograph, a row (scale, left, top, mirror) of `draws` for each."""
    size, short = crops.shape[-1], min(picture.size)
    smallest = min(2 * size, short)
    largest = max(smallest, short / 2)
    for crop, (scale, left, top, mirror) in zip(crops, draws, strict=True):
        side = round(smallest * (largest / smallest) ** scale)
        x, y = int(left * (picture.width - side + 1)), int(top * (picture.height - side + 1))
        pixels = pixels_of(picture, (size, size), (x, y, x + side, y + side))
        crop[:] = pixels[..., ::-1] if mirror < 0.5 else pixels


def _bundled_photo(file: str, package: str, folder: str) -> Picture:
    """A photograph inside an installed package, by its path.

    The packages' own loaders are passed by, since some download what they do not find.
    """
    from PIL import Image

    product = {"skimage": "scikit-image", "sklearn": "scikit-learn"}.get(package, package)
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / folder / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f'"photos" needs {file}, which the {product} installed here does not hold; install'
            f' another version of {product}, or load "digits" or a folder of your own'
        )
    with Image.open(path) as picture:
        return picture.convert("RGB")
