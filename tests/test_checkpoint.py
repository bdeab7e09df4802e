"""training: a training cut in two ends where an unbroken one ends, or says why it cannot."""

from __future__ import annotations

import copy
import functools
import json
import os
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from trainees import (
    FEW,
    IMAGES,
    LABELS,
    MOMENTUM,
    build,
    classifiers,
    ctrl_c_is_heard,
    dropping,
    interrupting,
    norms,
    same,
    seeds,
    twins,
    unets,
    ways,
)  # fmt: skip

import aelib as ae
from aelib import training

__all__ = ["ctrl_c_is_heard"]  # a fixture: it is used by being here

METRICS = {"bias": lambda model: next(model.parameters()).sum()}
OPTIONS = {
    "adam": {},
    "sgd": {"optimizer": MOMENTUM},
    "averaged": {"ema": 0.9, "schedule": "cosine"},
}


def same_history(first, second):
    assert first.metrics.keys() == second.metrics.keys()
    np.testing.assert_array_equal(first.steps, second.steps)
    for name in ("loss", *first.metrics):
        np.testing.assert_array_equal(first[name], second[name])


@ways
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("make", [dropping, seeds, unets])
def test_a_resumed_run_ends_where_an_unbroken_one_ends(tmp_path, make, vmap, options):
    """Interrupted between two records: weights and history are those of the unbroken run."""
    settings = {"steps": 12, "batch_size": FEW, "log_at": [4, 8, 12], "vmap": vmap}
    settings |= {"metrics": METRICS, "seed": 2, **OPTIONS[options]}
    whole, broken, fresh = make(), make(), make()
    expected = ae.fit(whole, IMAGES, **settings)
    file = tmp_path / "run.pt"
    objective = interrupting(7 if vmap else 13)  # within the seventh step
    first = ae.fit(broken, IMAGES, objective=objective, checkpoint=file, **settings)
    assert first.stopped == "interrupted"
    assert first.steps.tolist() == [1, 4, 7]
    seconds = torch.load(file, weights_only=True)["records"]["seconds"]
    loaded = make()
    for number, model in enumerate(loaded):
        training.load_weights(model, file, number)
    assert same(loaded, broken)
    torch.rand(11)  # a new process has another global generator
    resumed = ae.fit(fresh, IMAGES, checkpoint=file, resume=True, **settings)
    assert same(fresh, whole)
    same_history(resumed, expected)
    assert 0 < seconds < resumed.seconds
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


@ways
def test_more_steps_than_before(tmp_path, vmap):
    whole, grown = dropping(), dropping()
    settings = {"batch_size": FEW, "vmap": vmap, "ema": 0.9, "schedule": lambda step: 0.9**step}
    kept = {"checkpoint": tmp_path / "run.pt", **settings}
    ae.fit(grown, IMAGES, steps=5, log_at=[0, 2], **kept)
    history = ae.fit(grown, IMAGES, steps=9, log_at=[0, 2], resume=True, **kept)
    expected = ae.fit(whole, IMAGES, steps=9, log_at=[0, 2, 5], **settings)
    assert same(grown, whole)
    same_history(history, expected)


def test_resuming_what_is_finished_returns_it_and_fewer_steps_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    model, other = twins()
    first = ae.fit(model, IMAGES, steps=5, checkpoint=file)
    again = ae.fit(other, IMAGES, steps=5, checkpoint=file, resume=True)
    assert same(model, other)
    same_history(first, again)
    with pytest.raises(ValueError, match=r"steps: expected 5 or more, .* got 4"):
        ae.fit(other, IMAGES, steps=4, checkpoint=file, resume=True)


@pytest.fixture
def kept(tmp_path):
    """A checkpoint at step 3 of two models, and what it was made with."""
    file = tmp_path / "run.pt"
    settings = {"batch_size": FEW, "log_at": [3], "metrics": METRICS, "vmap": False}
    ae.fit(seeds(), IMAGES, steps=3, checkpoint=file, **settings)
    return file, settings


def darken(model, images):
    return model(images).square().mean(dim=(-3, -2, -1))


@pytest.mark.parametrize(
    ("models", "images", "changes", "message"),
    [
        (lambda: seeds(width=13), IMAGES, {}, "other models"),
        (lambda: seeds(activation="tanh"), IMAGES, {}, "other models"),
        (lambda: seeds(3), IMAGES, {}, "other models"),
        (seeds, IMAGES[:39], {}, "other images"),
        (seeds, [IMAGES, IMAGES.flip(0)], {}, "other images"),
        (seeds, IMAGES, {"lr": 0.01}, "lr '0.001', now '0.01'"),
        (seeds, IMAGES, {"batch_size": 5, "seed": 1}, "batch_size 4, now 5; seed 0, now 1"),
        (seeds, IMAGES, {"clip": 1}, r"clip None, now 1\.0"),
        (seeds, IMAGES, {"ema": 0.9, "vmap": True}, "ema None, .*vmap False"),
        (seeds, IMAGES, {"precision": "bf16"}, "precision 'no'"),
        (seeds, IMAGES, {"schedule": "linear"}, "schedule None, now 'linear over 9 steps'"),
        (seeds, IMAGES, {"optimizer": "sgd"}, "optimizer 'Adam'"),
        (
            seeds, IMAGES,
            {"optimizer": functools.partial(torch.optim.Adam, fused=True, weight_decay=0.1)},
            "weight_decay '0'",
        ),
        (seeds, IMAGES, {"objective": darken}, "objective 'copy', now 'darken'"),
        (seeds, IMAGES, {"metrics": {**METRICS, "more": float}}, "metrics .* 'bias, more'"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_something_else_is_refused(kept, models, images, changes, message):
    file, settings = kept
    listed, content = models(), file.read_bytes()
    before = copy.deepcopy(listed)
    listed[0].eval()
    with pytest.raises(ValueError, match=f"(?s)checkpoint: .*{message}"):
        ae.fit(listed, images, steps=9, checkpoint=file, resume=True, **settings | changes)
    assert same(listed, before)
    assert not listed[0].training
    assert file.read_bytes() == content


def test_the_same_values_elsewhere_are_the_same(kept, tmp_path):
    file, settings = kept
    settings = {"checkpoint": file, "resume": True, **settings}
    ae.fit(seeds(), [IMAGES, IMAGES.clone()], steps=4, **settings)
    settings = {"checkpoint": tmp_path / "own", "resume": True, "batch_size": FEW}
    ae.fit(seeds(3), [IMAGES, IMAGES, IMAGES.flip(0)], steps=2, **settings)
    with pytest.raises(ValueError, match="other images"):
        ae.fit(seeds(3), [IMAGES, IMAGES.flip(0), IMAGES.flip(0)], steps=3, **settings)
    settings |= {"checkpoint": tmp_path / "labels", "objective": ae.objectives.classify}
    ae.fit(classifiers(), IMAGES, labels=LABELS, steps=2, **settings)
    ae.fit(classifiers(), IMAGES, labels=LABELS.clone(), steps=3, **settings)
    with pytest.raises(ValueError, match="other labels"):
        ae.fit(classifiers(), IMAGES, labels=LABELS.flip(0), steps=4, **settings)


def test_a_checkpoint_cut_short_is_refused(kept):
    file, settings = kept
    content = file.read_bytes()
    cuts = [content[:cut] for cut in (0, 1, 9, len(content) // 2, len(content) - 1)]
    others = [b"no checkpoint at all", json.dumps([1]).encode(), bytes(1000)]
    for foreign in (torch.zeros(2), {"about": {"settings": {}}}, build().state_dict(), build()):
        torch.save(foreign, file)
        others.append(file.read_bytes())
    for bad in [*cuts, *others]:
        file.write_bytes(bad)
        listed = seeds()
        before = copy.deepcopy(listed)
        with pytest.raises(ValueError, match=r"checkpoint: .* not written by fit; delete it"):
            ae.fit(listed, IMAGES, steps=9, checkpoint=file, resume=True, **settings)
        with pytest.raises(ValueError, match=r"not written by fit; give another"):
            training.load_weights(listed[0], file)
        assert same(listed, before)
        assert file.read_bytes() == bad


def test_a_checkpoint_in_the_way_is_not_overwritten(kept, tmp_path):
    file, settings = kept
    model, before = twins()
    content = file.read_bytes()
    with pytest.raises(FileExistsError, match="resume=True goes on from it, or give another name"):
        ae.fit(model, IMAGES, steps=9, checkpoint=file, **settings)
    with pytest.raises(ValueError, match=r"checkpoint: expected a file, .*name a file in it"):
        ae.fit(model, IMAGES, steps=9, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="checkpoint: expected a file to resume from"):
        ae.fit(model, IMAGES, steps=9, resume=True)
    for folder in (file / "below", "/proc/nowhere"):
        with pytest.raises(OSError, match="cannot write a checkpoint to"):
            ae.fit(model, IMAGES, steps=9, checkpoint=f"{folder}/run.pt")
    assert same(model, before)
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_full_disk_is_named_and_costs_neither_file_nor_models(kept, monkeypatch, name):
    file, settings = kept
    content, listed, whole = file.read_bytes(), seeds(), seeds()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(training.CheckpointError, match=r"checkpoint: .*No space left") as caught:
        ae.fit(listed, IMAGES, steps=6, checkpoint=file, resume=True, **settings)
    assert file.name in str(caught.value)
    assert caught.value.history.steps.tolist() == [1, 3, 6]
    assert caught.value.history.stopped == "not saved"
    assert file.read_bytes() == content
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    monkeypatch.undo()
    ae.fit(whole, IMAGES, steps=6, **settings)
    assert same(listed, whole)
    ae.fit(seeds(), IMAGES, steps=6, checkpoint=file, resume=True, **settings)
    assert file.read_bytes() != content


def test_a_checkpoint_behind_a_link_is_written_where_it_leads(kept, tmp_path):
    file, settings = kept
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    shutil.move(file, real)
    link.symlink_to(real)
    listed, fresh = seeds(), seeds()
    ae.fit(listed, IMAGES, steps=5, checkpoint=link, resume=True, **settings)
    assert link.is_symlink()
    training.load_weights(fresh[1], real, 1)
    assert same(fresh[1], listed[1])


# --- One model out of a checkpoint ---------------------------------------------------------------


def test_load_weights_gives_each_model_its_own(tmp_path):
    file, listed = tmp_path / "run.pt", norms()
    ae.fit(listed, IMAGES, steps=3, batch_size=FEW, checkpoint=file)
    for number, model in enumerate(listed):
        fresh = norms(3)[2]
        assert training.load_weights(fresh, file, number) is fresh
        assert same(fresh, model)  # batch statistics too
    assert not same(listed[0], listed[1])


def test_load_weights_refuses_what_does_not_fit(tmp_path, kept):
    file, _ = kept
    model, before = twins()
    with pytest.raises(FileNotFoundError, match=r"path: .* not there"):
        training.load_weights(model, tmp_path / "nowhere")
    for index, words in ((2, "1 or less .*holds 2 models"), (-1, "0 or more")):
        with pytest.raises(ValueError, match=f"index: expected {words}"):
            training.load_weights(model, file, index)
    assert same(model, before)
    for changes, line in (({"width": 13}, "out_features=12"), ({"activation": "tanh"}, "ReLU")):
        other = build(**changes)
        before = copy.deepcopy(other)
        with pytest.raises(ValueError, match=f"model: expected one built like .*{line}"):
            training.load_weights(other, file)
        assert same(other, before)


def test_load_weights_sees_a_buffer_that_the_text_does_not_show(tmp_path):
    """Two models may print alike and still differ."""

    class Offset(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.register_buffer("offset", torch.zeros(size))
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images):
            return images * self.scale + self.offset.sum()

    ae.fit(Offset(1), IMAGES, steps=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"expected one built like .*offset"):
        training.load_weights(Offset(2), tmp_path / "run.pt")
