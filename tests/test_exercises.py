"""exercises: each has a test that says right, wrong and not tried; every label is the book's."""

from __future__ import annotations

import re

import pytest
import torch

from aelib import data, exercises, measures, random
from press.notebooks import notebooks

LABELS = [
    (label, note.path.stem)
    for note in notebooks()
    for label in re.findall(r"^:label: (ex-[\w-]+)$", "\n".join(note.prose), re.MULTILINE)
]


@pytest.fixture
def one(monkeypatch):
    def test(answer):
        result = exercises.tried(answer(2))
        assert result == 4, f"It is 4, not {result}."

    monkeypatch.setattr(exercises, "exercises", lambda: {"ex-0-double": test})


@pytest.mark.parametrize(
    ("answer", "told", "right"),
    [
        (lambda number: 2 * number, "ex-0-double: right.", True),
        (lambda number: number, "ex-0-double: not yet. It is 4, not 2.", False),
        (lambda number: ..., "ex-0-double: not tried yet.", False),
        (lambda number: None, "ex-0-double: not tried yet.", False),
        (None, "ex-0-double: not tried yet.", False),
        (..., "ex-0-double: not tried yet.", False),
        (lambda: 4, "ex-0-double: not yet. It stopped with TypeError", False),
    ],
)
def test_an_answer_is_judged_in_words(one, capsys, answer, told, right):
    assert exercises.check("ex-0-double", answer) is right
    assert capsys.readouterr().out.startswith(told)


def test_an_unknown_exercise_is_refused(one):
    with pytest.raises(ValueError, match="label: expected an exercise's, got 'ex-0-dubble'"):
        exercises.check("ex-0-dubble", 4)


def test_every_test_belongs_to_an_exercise_of_the_book():
    assert set(exercises.exercises()) <= {label for label, _ in LABELS}


def without_half(noisy, known, sigma):
    """The posterior with noise weaker than it is."""
    far = torch.cdist(noisy.flatten(1), known.flatten(1))
    return (-((far / sigma) ** 2)).softmax(1)


def posterior(noisy, known, sigma):
    far = torch.cdist(noisy.flatten(1), known.flatten(1))
    return (-(far**2) / (2 * sigma**2)).softmax(1)


@pytest.mark.parametrize(
    ("label", "answer", "told"),
    [
        ("ex-5-middle", lambda t: 2**0.5, "not yet. At t = 0.25"),
        ("ex-5-middle", lambda t: ((1 - t) ** 2 + t**2) ** -0.5, "right."),
        ("ex-5-posterior", without_half, "not yet. With σ = 1"),
        ("ex-5-posterior", posterior, "right."),
        ("ex-5-break", torch.tensor([[12.0, 12.0], [12.5, 12.0]]), "not yet. They are 0.50"),
        ("ex-5-break", torch.tensor([[12.0, 12.0], [16.0, 12.0]]), "not yet. Half-way"),
        ("ex-5-break", torch.tensor([[12.0, 12.0], [13.0, 12.0]]), "right."),
        ("ex-5-residual", 0.4, "not yet. A share of 0.40"),
        (
            "ex-5-walk",
            lambda x, seed: data.discs.sample(len(x), seed + 9).images,
            "not yet. From a disc",
        ),
        ("ex-5-walk", lambda x, seed: x, "not yet. After 60 steps"),
    ],
)
def test_chapter_5_tells_right_from_wrong(label, answer, told, capsys):
    exercises.check(label, answer)
    assert capsys.readouterr().out.startswith(f"{label}: {told}")


def arrived(ratio, change):
    """A judge of searches by its two questions; f far above a half is lost."""

    def judge(f, at_the_end):
        level = at_the_end < 1 and change(f)
        done = ratio(at_the_end) or level
        return ("lost" if f[-1] > 0.5 else "kept") if done else "unfinished"

    return judge


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (arrived(lambda m: m < 0.01, lambda f: abs(f[-1] - f[-2]) < 0.02 * f[-2]), True),
        (arrived(lambda m: m < 0.01, lambda f: f[-2] - f[-1] < 0.02 * f[-2]), False),  # it rises
        (arrived(lambda m: m < 0.01, lambda f: abs(f[-1] - f[-2]) < 0.02), False),  # no share
        (arrived(lambda m: m < 0.15, lambda f: abs(f[-1] - f[-2]) < 0.02 * f[-2]), False),
        (lambda f, m: "lost" if m < 0.01 or abs(f[-1] - f[-2]) < 0.02 * f[-2] else "kept", False),
    ],
)
def test_a_judge_of_searches_is_right_only_by_both_rules(answer, right):
    assert exercises.check("ex-4-arrived", answer) is right


def zeros_alone():
    from aelib.experiments import judge

    digits = judge.digits()
    return digits.test[digits.test_labels == 0][:100]


def faintly_noisy():
    from aelib.experiments import judge

    return data.gaussian(0.06)(judge.digits().test, random.generator(0)).clamp(0, 1)


def held_out():
    from aelib.experiments import judge

    return judge.digits().test[:500]


def mean_picture(images):
    return torch.nn.functional.normalize(images.mean(0).flatten(), dim=0)


def main_direction(images):
    return torch.linalg.svd(images.flatten(1), full_matrices=False)[2][0]


def nearer_than_it_was(net, taught, others):
    ends = measures.iterate(net, others, 50)
    gaps = torch.cdist(ends.flatten(1), taught.flatten(1)).amin(1)
    return (gaps < (ends - others).flatten(1).norm(dim=1)).float().mean()


def after_one_application(net, taught, others):
    gaps = torch.cdist(net(others).flatten(1), taught.flatten(1)).amin(1)
    return (gaps < 0.05).float().mean()


def each_by_itself(batch, like):
    def moments(images, over):
        return images.mean(over, keepdim=True), images.std(over, keepdim=True, unbiased=False)

    mean, deviation = moments(batch, (2, 3))
    wanted, spread = moments(like, (0, 2, 3))
    return (batch - mean) / deviation * spread + wanted


@pytest.mark.parametrize(
    ("label", "answer", "right"),
    [
        ("ex-1-mean", lambda: mean_picture, False),
        ("ex-1-mean", lambda: main_direction, True),
        ("ex-1-bound", lambda: (0.457, 0.3288), True),
        ("ex-1-bound", lambda: (0.5, 0.367), True),
        ("ex-1-bound", lambda: (0.5, 0.33), False),
        ("ex-2-mistake", lambda: nearer_than_it_was, False),
        ("ex-2-mistake", lambda: after_one_application, False),
        ("ex-3-standardise", lambda: each_by_itself, False),
        ("ex-4-confident", zeros_alone, False),
        ("ex-4-features", faintly_noisy, False),
        ("ex-5-generate", held_out, False),
    ],
)
def test_an_answer_that_misses_what_is_asked_is_not_right(label, answer, right):
    assert exercises.check(label, answer()) is right
