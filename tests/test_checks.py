"""checks: what is let through, what is refused, and the words of every refusal."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aelib import checks

GOOD = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
AXES = "a floating-point tensor (n, channels, height, width)"

# (the call, the error, all of its message)
REFUSED = {
    "choice: near": (
        lambda: checks.choice("adm", "optimizer", ["sgd", "adam"]),
        ValueError,
        "optimizer: expected a known name, got 'adm'; did you mean 'adam'? known: 'sgd', 'adam'",
    ),
    "choice: no name": (
        lambda: checks.choice(3, "optimizer", ["sgd", "adam"]),
        ValueError,
        "optimizer: expected a known name, got 3; known: 'sgd', 'adam'",
    ),
    "whole: bool": (
        lambda: checks.whole(True, "n"),
        TypeError,
        "n: expected a whole number, got True",
    ),
    "whole: float": (
        lambda: checks.whole(2.0, "n"),
        TypeError,
        "n: expected a whole number, got 2.0",
    ),
    "whole: text": (
        lambda: checks.whole("2", "n"),
        TypeError,
        "n: expected a whole number, got '2'",
    ),
    "whole: few": (
        lambda: checks.whole(0, "n", least=1),
        ValueError,
        "n: expected 1 or more, got 0",
    ),
    "whole: many": (
        lambda: checks.whole(9, "n", least=1, most=8, limit="the number of images"),
        ValueError,
        "n: expected 8 or less (the number of images), got 9",
    ),
    "number: text": (
        lambda: checks.number("1e-3", "lr"),
        TypeError,
        "lr: expected a number, got '1e-3'",
    ),
    "number: bool": (
        lambda: checks.number(True, "lr"),
        TypeError,
        "lr: expected a number, got True",
    ),
    "number: two": (
        lambda: checks.number(torch.ones(2), "lr"),
        TypeError,
        "lr: expected a number, got torch.float32 of shape (2,)",
    ),
    "number: nan": (
        lambda: checks.number(math.nan, "lr"),
        ValueError,
        "lr: expected a finite number, got nan",
    ),
    "number: at the open end": (
        lambda: checks.number(0, "lr", above=0),
        ValueError,
        "lr: expected a finite number, above 0, got 0",
    ),
    "number: one too high": (
        lambda: checks.number(torch.tensor(1.5), "eta", least=0, most=1),
        ValueError,
        "eta: expected a finite number, 0 or more and 1 or less, got 1.5",
    ),
    "function": (
        lambda: checks.function("copy", "objective", "aelib.objectives.copy"),
        TypeError,
        "objective: expected a callable, such as aelib.objectives.copy, got 'copy'",
    ),
    "methods": (
        lambda: checks.methods(torch.nn.ReLU(), "encode", "decode", advice="give an autoencoder"),
        TypeError,
        "model: expected one with encode and decode, got ReLU without encode and decode; "
        "give an autoencoder",
    ),
    "shape: two": (
        lambda: checks.shape((8, 8)),
        ValueError,
        "shape: expected (channels, height, width), such as (3, 32, 32), got (8, 8)",
    ),
    "shape: nothing high": (
        lambda: checks.shape([1, 0, 8]),
        ValueError,
        "shape: expected (channels, height, width), such as (3, 32, 32), got [1, 0, 8]",
    ),
    "shape: a number": (
        lambda: checks.shape(8),
        ValueError,
        "shape: expected (channels, height, width), such as (3, 32, 32), got 8",
    ),
    "shape: not divisible": (
        lambda: checks.shape((3, 30, 5), multiple=8),
        ValueError,
        "shape: expected height and width divisible by 8, got (3, 30, 5); (3, 24, 8) or (3, 32, 8) "
        "would do",
    ),
    "shape: less than the multiple": (
        lambda: checks.shape((3, 3, 3), multiple=4),
        ValueError,
        "shape: expected height and width divisible by 4, got (3, 3, 3); (3, 4, 4) would do",
    ),
    "counts": (
        lambda: checks.counts(width=3, depth=0),
        ValueError,
        "depth: expected 1 or more, got 0",
    ),
    "sized": (
        lambda: checks.sized(GOOD[0], (3, 4, 4)),
        ValueError,
        "images: expected (n, 3, 4, 4), got torch.float32 of shape (3, 4, 4); build the model for "
        "their shape",
    ),
    "module: none": (
        lambda: checks.module("net"),
        TypeError,
        "model: expected a torch.nn.Module, got 'net'",
    ),
    "module: lazy": (
        lambda: checks.module(torch.nn.Sequential(torch.nn.LazyLinear(2))),
        ValueError,
        "model: expected one whose weights have values, got Sequential whose 0.weight is not made "
        "yet (lazy); call it on images once, before",
    ),
    "module: meta": (
        lambda: checks.module(torch.nn.BatchNorm2d(2, affine=False, device="meta")),
        ValueError,
        "model: expected one whose weights have values, got BatchNorm2d whose running_mean is "
        "without values (meta); build it on a device that holds values",
    ),
    "tensor: a list": (
        lambda: checks.tensor([1.0], "codes", ("n", 2)),
        TypeError,
        "codes: expected a floating-point tensor (n, 2), got [1.0]",
    ),
    "tensor: NumPy": (
        lambda: checks.tensor(np.ones((3, 2)), "codes", ("n", 2)),
        TypeError,
        "codes: expected a floating-point tensor (n, 2), got a NumPy array, float64 of shape "
        "(3, 2); use torch.from_numpy",
    ),
    "tensor: dtype": (
        lambda: checks.tensor(GOOD[0, 0].half(), "codes", ("n", 4), dtypes=[torch.float32]),
        TypeError,
        "codes: expected a float32 tensor (n, 4), got torch.float16 of shape (4, 4); "
        "use codes.float()",
    ),
    "tensor: size": (
        lambda: checks.tensor(GOOD[0, 0], "codes", ("n", 2), advice="they come from encode"),
        ValueError,
        "codes: expected a floating-point tensor (n, 2), got torch.float32 of shape (4, 4); "
        "they come from encode",
    ),
    "tensor: size after any": (
        lambda: checks.tensor(GOOD, "codes", ("n", ..., 3)),
        ValueError,
        "codes: expected a floating-point tensor (n, ..., 3), got torch.float32 of shape "
        "(2, 3, 4, 4)",
    ),
    "images: bytes": (
        lambda: checks.images((GOOD * 255).to(torch.uint8), "photos"),
        TypeError,
        f"photos: expected {AXES}, got torch.uint8 of shape (2, 3, 4, 4); use photos.float() / 255",
    ),
    "images: bits": (
        lambda: checks.images(GOOD > 0.5),
        TypeError,
        f"images: expected {AXES}, got torch.bool of shape (2, 3, 4, 4); use images.float()",
    ),
    "images: complex": (
        lambda: checks.images(GOOD + 0j),
        TypeError,
        f"images: expected {AXES}, got torch.complex64 of shape (2, 3, 4, 4); use images.float()",
    ),
    "images: one": (
        lambda: checks.images(GOOD[0], "photos"),
        ValueError,
        f"photos: expected {AXES}, got torch.float32 of shape (3, 4, 4); "
        "for one image use photos[None]",
    ),
    "images: five axes": (
        lambda: checks.images(GOOD[None]),
        ValueError,
        f"images: expected {AXES}, got torch.float32 of shape (1, 2, 3, 4, 4)",
    ),
    "images: none": (
        lambda: checks.images(GOOD[:0]),
        ValueError,
        f"images: expected {AXES} with values in it, got torch.float32 of shape (0, 3, 4, 4)",
    ),
    "images: other shape": (
        lambda: checks.images(GOOD, shape=(1, 4, 4)),
        ValueError,
        "images: expected a floating-point tensor (n, 1, 4, 4), got torch.float32 of shape "
        "(2, 3, 4, 4)",
    ),
    "images: other pairs": (
        lambda: checks.images(GOOD[:1], "noisy", like=GOOD),
        ValueError,
        "noisy: expected a floating-point tensor (2, 3, 4, 4), got torch.float32 of shape "
        "(1, 3, 4, 4)",
    ),
    "span: bytes": (
        lambda: checks.images(GOOD.round() * 200, span=(0, 1)),
        ValueError,
        "images: expected values in [0, 1], got values from 0 to 200; "
        "if they run from 0 to 255, use images / 255",
    ),
    "span: around zero": (
        lambda: checks.images(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1), span=(0, 1)),
        ValueError,
        "images: expected values in [0, 1], got values from -1 to 1; "
        "if they run from -1 to 1, use (images + 1) / 2",
    ),
    "usual_range": (
        lambda: checks.usual_range(torch.full((1, 1, 1, 1), -11.0)),
        ValueError,
        "images: expected values in [-10, 10], got values from -11 to -11",
    ),
    "labels: floats": (
        lambda: checks.labels(torch.zeros(2), 2),
        TypeError,
        "labels: expected 2 whole numbers, one for each example, got torch.float32 of shape "
        "(2,); use labels.long()",
    ),
    "labels: a list": (
        lambda: checks.labels([0, 1], 2),
        TypeError,
        "labels: expected 2 whole numbers, one for each example, got [0, 1]",
    ),
    "labels: too few": (
        lambda: checks.labels(torch.zeros(2).long(), 3),
        ValueError,
        "labels: expected 3 whole numbers, one for each example, got torch.int64 of shape (2,)",
    ),
    "labels: unknown class": (
        lambda: checks.labels(torch.tensor([-1, 3]), 2, classes=3),
        ValueError,
        "labels: expected whole numbers from 0 to 2, got -1 to 3",
    ),
    "output: several": (
        lambda: checks.output((1, 2), GOOD, "vae"),
        ValueError,
        "vae: expected one that gives back the shape it gets, (2, 3, 4, 4), got one that "
        "returns (1, 2); change its shape argument or last layer",
    ),
    "output: shape": (
        lambda: checks.output(GOOD[:, :1], GOOD),
        ValueError,
        "model: expected one that gives back the shape it gets, (2, 3, 4, 4), got one that "
        "returns torch.float32 of shape (2, 1, 4, 4); change its shape argument or last layer",
    ),
    "output: nan": (
        lambda: checks.output(GOOD * math.nan, GOOD),
        ValueError,
        "model(images): expected finite values, got some that are NaN or infinite",
    ),
    "output: nan, and what to do": (
        lambda: checks.output(GOOD * math.nan, GOOD, advice="take fewer steps"),
        ValueError,
        "model(images): expected finite values, got some that are NaN or infinite; "
        "take fewer steps",
    ),
    "number: at the open end above": (
        lambda: checks.number(1, "first", above=0, below=1),
        ValueError,
        "first: expected a finite number, above 0 and below 1, got 1",
    ),
    "interval: falling": (
        lambda: checks.interval((1, 0), "clamp"),
        ValueError,
        "clamp: expected a lower and a higher number, such as (0, 1), got (1, 0)",
    ),
    "interval: a number": (
        lambda: checks.interval(1, "clamp"),
        ValueError,
        "clamp: expected a lower and a higher number, such as (0, 1), got 1",
    ),
    "interval: text": (
        lambda: checks.interval((0, "1"), "clamp"),
        TypeError,
        "clamp[1]: expected a number, got '1'",
    ),
    "span: more than rounding": (
        lambda: checks.values_in(torch.tensor([0, 1.00001]), "images", (0, 1)),
        ValueError,
        "images: expected values in [0, 1], got values from 0 to 1.00001",
    ),
    "span: advice": (
        lambda: checks.values_in(torch.tensor([-2.0, 2.0]), "images", (0, 1), "let it normalize"),
        ValueError,
        "images: expected values in [0, 1], got values from -2 to 2; let it normalize",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_argument_and_what_would_do(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value) == words


def test_numbers_come_back_plain():
    assert type(checks.whole(np.int64(3), "n", least=3, most=3)) is int
    for value in (0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5)):
        result = checks.number(value, "eta", least=0.5, most=0.5)
        assert type(result) is float
        assert result == 0.5
    assert checks.shape(torch.Size([np.int64(1), 2, 3])) == (1, 2, 3)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        ({"a": 1}, "{'a': 1}"),
        (list(range(99)), f"{str(list(range(99)))[:76]} …"),
        ([torch.zeros(2, 2)], "[tensor([[0., 0.], [0., 0.]])]"),
        (torch.nn.ModuleDict({"a": torch.nn.ReLU()}), "ModuleDict"),
        (torch.nn.ReLU, "the class ReLU"),
        (checks.Described("as it is"), "as it is"),
    ],
)
def test_values_are_described_on_one_short_line(value, words):
    assert checks.described(value) == words


def test_nearest_puts_the_likely_meaning_first():
    assert checks.nearest("adm", ["sgd", "adam"]) == "did you mean 'adam'? known: 'sgd', 'adam'"
    assert checks.nearest("zzz", ["sgd", "adam"]) == "known: 'sgd', 'adam'"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_good_images_pass_in_silence_and_carry_no_graph(dtype):
    images = GOOD.to(dtype).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = checks.images(images, shape=(3, 4, 4), span=(0, 1))
        checks.usual_range(result)
        checks.usual_range(result * 2 - 1)
    assert torch.equal(result, images)
    assert not result.requires_grad
    assert images.requires_grad  # the caller's own stays as it was
    assert checks.images(GOOD, like=images).dtype == dtype


@pytest.mark.parametrize("axes", [("n", 3, 4, 4), (..., 4), (2, ...), (2, ..., 4), (..., 3, 4, 4)])
def test_axes_may_be_open(axes):
    assert checks.tensor(GOOD, "images", axes) is not None


@settings(deadline=None, max_examples=30)
@given(
    st.sets(st.integers(0, 95), min_size=1, max_size=5),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_values_that_are_not_finite_are_counted_and_placed(places, value):
    images = GOOD.clone()
    images.view(-1)[list(places)] = value
    first = list(map(int, np.unravel_index(min(places), GOOD.shape)))
    with pytest.raises(ValueError, match=f"got {len(places)} that are NaN") as caught:
        checks.images(images)
    assert str(caught.value).endswith(f"first images{first}")


@pytest.mark.parametrize("value", [1.01, -1.01, 9.9])
def test_unusual_ranges_warn_where_the_caller_was_called(value):
    def entrance(images):
        checks.usual_range(images)

    with pytest.warns(checks.ValueRangeWarning, match="images: values from .* made for") as caught:
        entrance(torch.tensor([0.0, value]).view(2, 1, 1, 1))
    assert caught[0].filename == __file__
    assert caught[0].lineno == entrance.__code__.co_firstlineno + 4


def test_labels_of_any_whole_kind_become_int64():
    for dtype in (torch.uint8, torch.int32, torch.int64):
        result = checks.labels(torch.tensor([0, 2], dtype=dtype), 2, classes=3)
        assert result.dtype == torch.int64
        assert result.tolist() == [0, 2]


def test_an_array_is_made_of_whatever_holds_numbers():
    rows = [[1.0, 0.5], [3.0, 4.0]]
    for value in (rows, np.array(rows, "f4"), torch.tensor(rows, dtype=torch.bfloat16)):
        result = checks.array(value, "points", ("n", 2))
        assert result.dtype == np.float64
        assert result.tolist() == rows


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("ab", TypeError, "points: expected numbers in an array (n, 2), got 'ab'"),
        ([[1, 2], [3]], TypeError, "numbers in an array (n, 2), got [[1, 2], [3]]"),
        ([1, 2], ValueError, "(n, 2), got shape (2,)"),
        (np.empty((0, 2)), ValueError, "got shape (0, 2)"),
        ([[1, math.nan], [3, math.inf]], ValueError, "finite values, got 2 that are infinite or"),
    ],
)
def test_what_is_no_such_array_is_refused(value, error, words):
    with pytest.raises(error, match=re.escape(words)):
        checks.array(value, "points", ("n", 2))


def test_with_gaps_only_infinities_are_refused():
    assert np.isnan(checks.array([math.nan, 1], "cells", ("n",), gaps=True)[0])
    with pytest.raises(ValueError, match="got 1 that are infinite; look"):
        checks.array([math.nan, math.inf], "cells", ("n",), gaps=True)


def test_as_many_counts():
    with pytest.raises(ValueError, match="labels: expected 2 texts, got 1"):
        checks.as_many(["in"], "labels", 2, "texts")


def test_rows_are_codes_or_images_and_nothing_between():
    assert checks.rows(torch.ones(2, 1, 4, 4), "codes", least=2).shape == (2, 16)
    for value, words in (
        (torch.ones(2, 3, 4), r"codes: .* \(n, k\), got .*flatten what one example has"),
        (torch.ones(1, 3), "codes: expected 2 examples or more"),
    ):
        with pytest.raises(ValueError, match=words):
            checks.rows(value, "codes", least=2)


def test_output_may_be_infinite_where_a_map_may_diverge():
    infinite = torch.tensor([[math.inf]])
    assert checks.output(infinite, like=infinite, finite=False) is infinite
    with pytest.raises(ValueError, match=r"model\(images\): expected finite"):
        checks.output(infinite, like=infinite)


def test_rounding_beyond_a_span_is_allowed():
    for span in ((0, 1), (-1, 1)):
        checks.values_in(torch.tensor([span[0] - 1e-7, span[1] + 1.2e-7]), "images", span)
