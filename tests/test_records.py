"""training: what `fit` records and shows on the way, Ctrl-C, and how it says that it diverged."""

from __future__ import annotations

import copy
import signal

import numpy as np
import pytest
import torch
from trainees import (
    FEW,
    IMAGES,
    build,
    counted,
    ctrl_c_is_heard,
    dropping,
    interrupting,
    near,
    plain,
    press_ctrl_c,
    same,
    seeds,
    twins,
    ways,
    weights,
)  # fmt: skip

import aelib as ae
from aelib import training

__all__ = ["ctrl_c_is_heard"]  # a fixture: it is used by being here


def interrupt_at(call):
    """A metric that presses Ctrl-C at its `call`-th call."""
    calls = []

    def metric(model):
        calls.append(1)
        if len(calls) == call:
            press_ctrl_c()
        return 0.0

    return metric


# --- Records, metrics, callback ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_at", "steps", "expected"),
    [
        (2, 10, [1, 5, 10]),
        (50, 3, [1, 2, 3]),
        (1, 1, [1]),
        ([0, 4], 10, [0, 1, 4, 10]),
        ((), 10, [1, 10]),
        (np.array([2, 2]), 3, [1, 2, 3]),
        (np.int64(1), 2, [1, 2]),
    ],
)
def test_records(log_at, steps, expected):
    history = ae.fit(build(), IMAGES, steps=steps, batch_size=FEW, log_at=log_at)
    assert history.steps.tolist() == expected
    assert np.isnan(history.loss[0]).tolist() == [step == 0 for step in expected]


def test_the_recorded_loss_is_the_mean_since_the_record_before():
    mine, its = twins()
    history = ae.fit(mine, IMAGES, steps=10, log_at=[4, 10])
    losses = plain(its, IMAGES, 10, 40)
    expected = [losses[0], np.mean(losses[1:4]), np.mean(losses[4:])]
    np.testing.assert_array_equal(history.steps, [1, 4, 10])
    np.testing.assert_allclose(history.loss[0], expected, rtol=1e-5)


@ways
@pytest.mark.parametrize("ema", [None, 0.9])
def test_looking_changes_nothing(vmap, ema):
    modes = []

    def noisy(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return model(IMAGES).mean() + torch.rand(1)

    torch.manual_seed(0)
    outside = torch.get_rng_state()
    seen, unseen = dropping(), dropping()
    settings = {"steps": 9, "batch_size": FEW, "vmap": vmap, "ema": ema}
    looking = {"metrics": {"noisy": noisy}, "callback": lambda info: noisy(info["models"][1])}
    history = ae.fit(seen, IMAGES, **looking, **settings)
    ae.fit(unseen, IMAGES, log_at=2, **settings)
    assert same(seen, unseen)
    assert set(modes) == {(False, False)}
    assert history["noisy"].shape == (2, 9)
    assert all(module.training for model in seen for module in model.modules())
    assert torch.equal(torch.get_rng_state(), outside)


@ways
def test_what_is_shown_is_the_model_at_that_step(vmap):
    infos, biases = [], []

    def bias(model):
        return model.decoder[-1].bias.sum()

    def callback(info):
        infos.append(info)
        biases.append([bias(model).item() for model in info["models"]])

    listed, alone = seeds(), seeds()
    history = ae.fit(
        listed, IMAGES, steps=6, batch_size=FEW, log_at=[0, 3], metrics={"bias": bias}, vmap=vmap,
        callback=callback,
    )  # fmt: skip
    assert history.steps.tolist() == [0, 1, 3, 6] == [info["step"] for info in infos]
    for number, model in enumerate(alone):
        for column, steps in enumerate((0, 1, 3, 6)):
            twin = copy.deepcopy(model)
            plain(twin, IMAGES, steps, FEW, seed=number)
            expected = bias(twin).item()
            assert history["bias"][number, column] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(np.array(biases).T, history["bias"], rtol=1e-6)
    assert set(infos[0]) == {"step", "loss", "metrics", "models"}
    np.testing.assert_array_equal(np.array([info["loss"] for info in infos]).T, history.loss)
    np.testing.assert_array_equal([info["metrics"]["bias"] for info in infos], history["bias"].T)


def test_history():
    history = ae.fit(seeds(), IMAGES, steps=3, metrics={"error": lambda model: 0.5})
    assert history.loss.shape == history["error"].shape == (2, 3)
    assert history["loss"] is history.loss
    assert history["error"] is history.metrics["error"]
    assert history.seconds > 0
    assert repr(history).startswith("History(finished at step 3, 2 models, loss 0.")
    with pytest.raises(KeyError, match="did you mean 'error'"):
        history["eror"]
    empty = training.History(np.array([], int), np.zeros((1, 0)), stopped="diverged")
    assert repr(empty) == "History(diverged at step 0, 1 model, 0.0 s)"
    assert "loss" not in repr(training.History(np.array([0]), np.full((1, 1), np.nan)))


def test_bar(capsys, monkeypatch):
    ae.fit(build(), IMAGES, steps=2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("AELIB_INTERACTIVE", "1")
    ae.fit(build(), IMAGES, steps=2, label="a name")
    assert "a name" in capsys.readouterr().err
    ae.fit(build(), IMAGES, steps=2, progress=False)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("AELIB_INTERACTIVE", "0")
    ae.fit(build(), IMAGES, steps=2, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "0/2" in captured.err


# --- Ctrl-C --------------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("ema", [None, 0.9])
def test_ctrl_c_keeps_whole_steps(vmap, ema):
    handler = signal.getsignal(signal.SIGINT)
    listed, alone = seeds(), seeds()
    metrics = {"x": interrupt_at(3)}  # called once for each model: the first's second record
    history = ae.fit(listed, IMAGES, steps=50, batch_size=FEW, metrics=metrics, vmap=vmap, ema=ema)
    assert history.stopped == "interrupted"
    assert history.steps.tolist() == [1, 2]
    assert history["x"].shape == history.loss.shape == (2, 2)
    for number, model in enumerate(alone):
        plain(model, IMAGES, 2, FEW, seed=number, ema=ema)
    assert near(listed, alone, 1e-6)
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(model.training for model in listed)


def test_ctrl_c_between_records_is_a_record_too():
    history = ae.fit(build(), IMAGES, objective=interrupting(5), steps=100, log_at=[100])
    assert history.steps.tolist() == [1, 5]
    assert history.stopped == "interrupted"
    assert np.isfinite(history.loss).all()


def test_ctrl_c_at_the_last_step_is_an_end():
    history = ae.fit(build(), IMAGES, steps=2, log_at=2, metrics={"x": interrupt_at(2)})
    assert history.stopped == "finished"


@ways
def test_a_second_ctrl_c_is_not_held_back(vmap):
    handler = signal.getsignal(signal.SIGINT)

    def twice(model):
        press_ctrl_c()
        press_ctrl_c()
        return 0.0

    listed, alone = seeds(), seeds()
    listed[0].eval()
    with pytest.raises(KeyboardInterrupt):
        ae.fit(listed, IMAGES, steps=9, batch_size=FEW, metrics={"x": twice}, vmap=vmap)
    for number, model in enumerate(alone):
        plain(model, IMAGES, 1, FEW, seed=number)
    assert near(listed, alone)
    assert not listed[0].training
    assert signal.getsignal(signal.SIGINT) is handler
    assert ae.fit(listed, IMAGES, steps=1).stopped == "finished"


def test_a_programs_own_ctrl_c_stays_its_own():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        history = ae.fit(build(), IMAGES, steps=3, metrics={"x": interrupt_at(2)})
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [1]
    assert history.stopped == "finished"


# --- Divergence ----------------------------------------------------------------------------------


def nan_from(limit):
    return counted([], lambda losses, call: losses / (call < limit))


def test_divergence_stops_with_a_reason_and_the_history():
    with pytest.raises(training.TrainingDiverged, match=r"model 0 .*, between steps 2") as caught:
        ae.fit(build(), IMAGES, objective=nan_from(4), steps=8, log_at=4)
    history = caught.value.history
    assert "weights are lost: build it anew and try a smaller lr (it is 0.001)" in str(caught.value)
    assert history.stopped == "diverged"
    assert history.steps.tolist() == [1, 2]
    assert np.isfinite(history.loss).all()
    with pytest.raises(training.TrainingDiverged) as caught:
        ae.fit(build(), IMAGES, objective=nan_from(1), steps=8, log_at=[0])
    assert caught.value.history.steps.tolist() == [0]
    assert "diverged" in repr(caught.value.history)


@ways
def test_an_exploding_step_size_is_named(vmap):
    with pytest.raises(training.TrainingDiverged, match=r"smaller lr \(it is 1e\+10\)"):
        ae.fit(seeds(), IMAGES, steps=100, lr=1e10, optimizer="sgd", vmap=vmap)


def test_a_loss_that_grows_a_thousandfold_stops_too():
    objective = counted([], lambda losses, call: losses * 11**call)
    grown = r"has grown to .*e\+03, from [345]\."
    with pytest.raises(training.TrainingDiverged, match=grown) as caught:
        ae.fit(build(), IMAGES, objective=objective, steps=9, lr=1e-9)
    assert caught.value.history.steps.tolist() == [1, 2, 3]


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    file, fresh = tmp_path / "run.pt", build()
    settings = {"batch_size": FEW, "log_at": [3, 6], "checkpoint": file}
    with pytest.raises(training.TrainingDiverged):
        ae.fit(build(), IMAGES, objective=nan_from(5), steps=6, **settings)
    training.load_weights(fresh, file)
    assert all(value.isfinite().all() for value in weights(fresh))
    history = ae.fit(
        build(), IMAGES, objective=nan_from(5), steps=3, resume=True, **settings | {"log_at": [3]}
    )
    assert history.steps.tolist() == [1, 3]
