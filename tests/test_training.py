"""training: `fit` against a plain loop, against itself cut in two, and against bad input."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import os
import pickle
import signal
import socket
import threading

import numpy as np
import pytest
import safetensors
import torch
from torch import nn

import aelib as ae
from aelib import training
from aelib.training import loop
from aelib.training.stack import difference

SHAPE = (1, 4, 4)
IMAGES = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0))
BATCH = 4  # few of the images, so batches are drawn with replacement
FUSED = functools.partial(torch.optim.Adam, fused=True)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A job started in the background ignores Ctrl-C, and hands that down to these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def build(**changes):
    return ae.models.MLPAutoencoder(SHAPE, **{"width": 12, "depth": 1, **changes})


def nets(seeds=3, **changes):
    return ae.models.replicate(lambda: build(**changes), seeds=seeds)


class Dropping(nn.Module):
    """Draws at every step, so that its randomness has to be kept too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 12), nn.Dropout(), nn.Linear(12, 16)
        )

    def forward(self, images):
        return self.layers(images).reshape(images.shape)


def dropping(seeds=2):
    return ae.models.replicate(Dropping, seeds=seeds)


def unets(seeds=2):
    """Nets whose weights lie in memory with their channels last."""
    return ae.models.replicate(lambda: ae.models.UNet(SHAPE, 8, downs=1, norm="group"), seeds)


def in_a_step():
    """[1] in a step of the training, [] in the trial before it."""
    return [1] * torch.is_grad_enabled()


def weights(models):
    listed = [models] if isinstance(models, nn.Module) else models
    return [value.clone() for net in listed for value in net.state_dict().values()]


def same(first, second):
    """Bit for bit."""
    pairs = list(zip(weights(first), weights(second), strict=True))
    return all(torch.equal(mine, its) for mine, its in pairs)


def near(first, second, tolerance=1e-5):
    pairs = zip(weights(first), weights(second), strict=True)
    return all(torch.allclose(mine, its, rtol=0, atol=tolerance) for mine, its in pairs)


def same_history(first, second):
    assert first.watched.keys() == second.watched.keys()
    np.testing.assert_array_equal(first.steps, second.steps)
    for name in ("loss", *first.watched):
        np.testing.assert_array_equal(first[name], second[name])


def plain(net, images, steps, batch, lr=1e-3, make=FUSED, seed=0):
    """The loop anyone would write, with the batches that `fit` draws."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = make(net.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        drawn = images
        if batch is not None and batch * 4 < len(images):
            drawn = images[torch.randint(len(images), (batch,), generator=generator)]
        elif batch is not None:
            drawn = images[torch.randperm(len(images), generator=generator)[:batch]]
        optimiser.zero_grad()
        loss = ((net(drawn) - drawn) ** 2).mean(dim=(1, 2, 3)).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def interrupt_at(step):
    """A watch that presses Ctrl-C at its `step`-th call."""
    calls = []

    def watch(net):
        calls.append(1)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    return watch


# --- Against a plain loop ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [4, 16, 1000, None])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adam", FUSED),
        ("sgd", torch.optim.SGD),
        (functools.partial(torch.optim.SGD, momentum=0.9),) * 2,
    ],
)
def test_one_model_is_a_plain_loop_bit_for_bit(batch, name, make):
    mine, its = build(), build()
    its.load_state_dict(mine.state_dict())
    history = ae.fit(mine, IMAGES, steps=7, batch=batch, lr=0.01, optimiser=name, seed=5, record=7)
    losses = plain(its, IMAGES, 7, None if batch is None else min(batch, 40), 0.01, make, seed=5)
    assert same(mine, its)
    np.testing.assert_array_equal(history.steps, range(1, 8))
    np.testing.assert_allclose(history.loss, [losses], rtol=1e-6)


def test_the_recorded_loss_is_the_mean_since_the_record_before():
    mine, its = build(), build()
    its.load_state_dict(mine.state_dict())
    history = ae.fit(mine, IMAGES, steps=10, record=[4, 10])
    losses = plain(its, IMAGES, 10, 40)
    expected = [losses[0], np.mean(losses[1:4]), np.mean(losses[4:])]
    np.testing.assert_array_equal(history.steps, [1, 4, 10])
    np.testing.assert_allclose(history.loss[0], expected, rtol=1e-5)


def test_stale_gradients_do_not_enter_the_first_step():
    mine, its = build(), build()
    its.load_state_dict(mine.state_dict())
    mine(IMAGES).sum().backward()
    ae.fit(mine, IMAGES, steps=2, batch=BATCH)
    plain(its, IMAGES, 2, BATCH)
    assert same(mine, its)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("batch", [BATCH, 16, None])
def test_a_list_is_each_model_alone(together, batch):
    """One batched graph sums in another order, so there the last digits differ, no more."""
    listed, alone = nets(), nets()
    history = ae.fit(listed, IMAGES, steps=20, batch=batch, seed=3, together=together)
    single = [
        ae.fit(net, IMAGES, steps=20, batch=batch, seed=3 + number)
        for number, net in enumerate(alone)
    ]
    assert (near if together else same)(listed, alone)
    assert history.loss.shape == (3, len(history.steps))
    expected = np.concatenate([one.loss for one in single])
    np.testing.assert_allclose(history.loss, expected, rtol=1e-4 if together else 0)
    assert not near(listed[:1], listed[1:2], 0.01)


@pytest.mark.parametrize("together", [False, True])
def test_images_of_its_own_for_each_model(together):
    sets = [IMAGES[:30], 1 - IMAGES, IMAGES[:8]]
    listed, alone = nets(), nets()
    ae.fit(listed, sets, steps=10, batch=6, together=together)
    for number, (net, one) in enumerate(zip(alone, sets, strict=True)):
        ae.fit(net, one, steps=10, batch=6, seed=number)
    assert (near if together else same)(listed, alone)
    if together:
        with pytest.raises(ValueError, match="together: without batch= all models need as many"):
            ae.fit(listed, sets, steps=1, batch=None, together=True)
    ae.fit(listed, sets, steps=1, batch=None)


def test_conv_nets_train_together():
    def build():
        return ae.models.ConvAutoencoder(SHAPE, width=4, depth=4, downs=1)

    listed, alone = (ae.models.replicate(build, 2) for _ in range(2))
    ae.fit(listed, IMAGES, steps=5, batch=BATCH, together=True)
    ae.fit(alone, IMAGES, steps=5, batch=BATCH, together=False)
    assert near(listed, alone)


@pytest.mark.parametrize("together", [False, True])
def test_frozen_parameters_stay(together):
    listed = nets(2)
    for net in listed:
        net.encoder.requires_grad_(False)
    before = copy.deepcopy(listed)
    ae.fit(listed, IMAGES, steps=5, batch=BATCH, together=together)
    for net, old in zip(listed, before, strict=True):
        assert same(net.encoder, old.encoder)
        assert not near(net.decoder, old.decoder)


@pytest.mark.parametrize("together", [False, True])
def test_tied_parameters_stay_tied(together):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(16, 16)
            self.second = nn.Linear(16, 16)
            self.second.weight = self.first.weight

        def forward(self, images):
            return self.second(self.first(images.flatten(-3))).unflatten(-1, SHAPE)

    listed, alone = (ae.models.replicate(Tied, 2) for _ in range(2))
    ae.fit(listed, IMAGES, steps=5, batch=BATCH, together=together)
    for number, net in enumerate(alone):
        plain(net, IMAGES, 5, BATCH, seed=number)
    assert near(listed, alone)
    assert listed[0].first.weight is listed[0].second.weight


def test_the_objective_is_minimised():
    def brighten(net, images):
        return (net(images) - 1).square().mean(dim=(-3, -2, -1))

    for together in (False, True):
        listed = nets(2)
        ae.fit(
            listed, IMAGES, objective=brighten, steps=300, batch=None, lr=0.01, together=together
        )
        assert all((net(IMAGES) - 1).abs().mean() < 0.05 for net in listed)


# --- Which models may share a graph --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"skip": 0.5}, "skip"),
        ({"activation": "tanh"}, "the type of encoder.1"),
        ({"width": 13}, "encoder.0"),
        ({"depth": 2}, "decoder"),
    ],
)
def test_models_that_differ_do_not_share_a_graph(changes, what):
    """The skip is no parameter: a shared graph would train the second as if it were the first."""
    pair, alone = ([build(), build(**changes)] for _ in range(2))
    for net, twin in zip(pair, alone, strict=True):
        twin.load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match=rf"together: models 0 and 1 .* {what}.*together=False"):
        ae.fit(pair, IMAGES, steps=1, together=True)
    ae.fit(pair, IMAGES, steps=5, batch=BATCH)
    for number, net in enumerate(alone):
        plain(net, IMAGES, 5, BATCH, seed=number)
    assert same(pair, alone)


def test_buffers_hooks_and_frozen_layers_are_seen():
    assert difference(nets()) == ""
    norms = [nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)) for _ in range(2)]
    assert "buffers" in difference(norms)
    hooked = nets()
    hooked[1].register_forward_hook(lambda *_: None)
    assert "hooks" in difference(hooked)
    frozen = nets()
    frozen[2].encoder.requires_grad_(False)
    assert "models 0 and 2" in difference(frozen)
    ae.fit(norms, IMAGES, steps=2, batch=BATCH)
    with pytest.raises(ValueError, match="buffers"):
        ae.fit(norms, IMAGES, steps=2, together=True)


def test_a_model_that_vmap_cannot_run_trains_by_itself():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images):
            return images * self.scale if images.mean() > 0 else images

    pair = [Branching(), Branching()]
    with pytest.raises(ValueError, match=r"together: torch\.func\.vmap cannot run these models"):
        ae.fit(pair, IMAGES, steps=2, together=True)
    assert len(ae.fit(pair, IMAGES, steps=2).loss) == 2


def test_the_cheaper_way_is_chosen_by_size(monkeypatch):
    made = []
    original = loop.Stack
    monkeypatch.setattr(loop, "Stack", lambda *a: made.append(1) or original(*a))
    size = BATCH * ae.models.count_parameters(build())
    for limit, seeds, expected in ((size, 2, [1]), (size - 1, 2, []), (size, 1, [])):
        monkeypatch.setattr(loop, "SMALL_STEP", limit)
        ae.fit(nets(seeds), IMAGES, steps=1, batch=BATCH, device="cpu")
        assert made == expected
        made.clear()


# --- Records and what is watched -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "steps", "expected"),
    [
        (2, 10, [1, 5, 10]),
        (3, 3, [1, 2, 3]),
        (50, 3, [1, 2, 3]),
        (1, 1, [1]),
        ([0, 4], 10, [0, 1, 4, 10]),
        ((), 10, [1, 10]),
        (np.array([2, 2]), 3, [1, 2, 3]),
        (np.int64(1), 2, [1, 2]),
    ],
)
def test_records(record, steps, expected):
    history = ae.fit(build(), IMAGES, steps=steps, batch=BATCH, record=record)
    assert history.steps.tolist() == expected
    assert np.isnan(history.loss[0]).tolist() == [step == 0 for step in expected]


@pytest.mark.parametrize("together", [False, True])
def test_watching_changes_nothing(together):
    modes = []

    def noisy(net):
        modes.append((net.training, torch.is_grad_enabled()))
        return net(IMAGES).mean() + torch.rand(1)

    torch.manual_seed(0)
    outside = torch.get_rng_state()
    watched, unwatched = dropping(), dropping()
    history = ae.fit(
        watched, IMAGES, steps=9, batch=BATCH, watch={"noisy": noisy}, together=together
    )
    ae.fit(unwatched, IMAGES, steps=9, batch=BATCH, together=together, record=2)
    assert same(watched, unwatched)
    assert set(modes) == {(False, False)}
    assert history["noisy"].shape == (2, 9)
    assert all(module.training for net in watched for module in net.modules())
    assert torch.equal(torch.get_rng_state(), outside)


@pytest.mark.parametrize("together", [False, True])
def test_what_is_watched_is_the_model_at_that_step(together):
    watch = {"bias": lambda net: net.decoder[-1].bias.sum(), "one": lambda net: 1}
    listed, alone = nets(2), nets(2)
    history = ae.fit(
        listed, IMAGES, steps=6, batch=BATCH, record=[0, 3], watch=watch, together=together
    )
    assert history.steps.tolist() == [0, 1, 3, 6]
    for number, net in enumerate(alone):
        for column, steps in enumerate((0, 1, 3, 6)):
            twin = copy.deepcopy(net)
            plain(twin, IMAGES, steps, BATCH, seed=number)
            expected = twin.decoder[-1].bias.sum().item()
            assert history["bias"][number, column] == pytest.approx(expected, abs=1e-5)
    assert (history["one"] == 1).all()


def test_a_seeded_run_repeats_whatever_the_global_generator_does():
    first, second = dropping(), dropping()
    ae.fit(first, IMAGES, steps=4, batch=BATCH, seed=1)
    torch.rand(7)
    ae.fit(second, IMAGES, steps=4, batch=BATCH, seed=1)
    assert same(first, second)


def test_history():
    history = ae.fit(nets(2), IMAGES, steps=3, watch={"error": lambda net: 0.5})
    assert history.loss.shape == history["error"].shape == (2, 3)
    assert history["loss"] is history.loss
    assert history.stopped == "finished"
    assert history.seconds > 0
    assert repr(history).startswith("History(finished at step 3, 2 seeds, loss 0.")
    with pytest.raises(KeyError, match="did you mean 'error'"):
        history["eror"]
    empty = training.History(np.array([], int), np.zeros((1, 0)), stopped="diverged")
    assert repr(empty) == "History(diverged at step 0, 1 seed, 0.0 s)"
    assert "loss" not in repr(training.History(np.array([0]), np.full((1, 1), np.nan)))


# --- Models come back as they were ---------------------------------------------------------------


def test_modes_come_back_also_after_an_error():
    class Once(Exception):
        pass

    def fail(net):
        raise Once

    for together in (False, True):
        listed = nets(2)
        listed[0].eval()
        listed[1].encoder.eval()
        modes = [[module.training for module in net.modules()] for net in listed]
        ae.fit(listed, IMAGES, steps=2, together=together)
        assert [[module.training for module in net.modules()] for net in listed] == modes
        before = copy.deepcopy(listed)
        with pytest.raises(Once):
            ae.fit(listed, IMAGES, steps=2, batch=BATCH, watch={"x": fail}, together=together)
        assert [[module.training for module in net.modules()] for net in listed] == modes
        assert not near(listed, before, 1e-4)  # the step that was done is kept
        assert {value.device.type for value in weights(listed)} == {"cpu"}


def test_a_trained_model_can_be_copied_and_pickled():
    net = build()
    ae.fit(net, IMAGES, steps=2, precision="bf16")
    assert "forward" not in vars(net)
    assert same(pickle.loads(pickle.dumps(net)), net)
    assert same(copy.deepcopy(net), net)
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in net.parameters())


# --- A bar for a person --------------------------------------------------------------------------


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


@pytest.mark.parametrize("together", [False, True])
def test_ctrl_c_keeps_whole_steps(together):
    handler = signal.getsignal(signal.SIGINT)
    listed, alone = nets(2), nets(2)
    watch = {"x": interrupt_at(3)}  # called once for each model: the first model's second record
    history = ae.fit(
        listed, IMAGES, steps=50, batch=BATCH, record=50, watch=watch, together=together
    )
    assert history.stopped == "interrupted"
    assert history.steps.tolist() == [1, 2]
    assert history["x"].shape == history.loss.shape == (2, 2)
    for number, net in enumerate(alone):
        plain(net, IMAGES, 2, BATCH, seed=number)
    assert (near if together else same)(listed, alone)
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(net.training for net in listed)


def test_ctrl_c_between_records_is_a_record_too():
    steps = []

    def objective(net, images):
        steps.extend(in_a_step())
        if len(steps) == 5 and in_a_step():
            os.kill(os.getpid(), signal.SIGINT)
        return ae.objectives.copy(net, images)

    history = ae.fit(build(), IMAGES, objective=objective, steps=100, record=[100])
    assert history.steps.tolist() == [1, 5]
    assert history.stopped == "interrupted"
    assert np.isfinite(history.loss).all()


def test_ctrl_c_at_the_last_step_is_an_end():
    history = ae.fit(build(), IMAGES, steps=2, record=2, watch={"x": interrupt_at(2)})
    assert history.stopped == "finished"


def test_a_second_ctrl_c_is_not_held_back():
    handler = signal.getsignal(signal.SIGINT)

    def twice(net):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    for together in (False, True):
        listed, alone = nets(2), nets(2)
        listed[0].eval()
        with pytest.raises(KeyboardInterrupt):
            ae.fit(listed, IMAGES, steps=9, batch=BATCH, watch={"x": twice}, together=together)
        for number, net in enumerate(alone):
            plain(net, IMAGES, 1, BATCH, seed=number)
        assert near(listed, alone)
        assert not listed[0].training
        assert signal.getsignal(signal.SIGINT) is handler
        assert ae.fit(listed, IMAGES, steps=1).stopped == "finished"


def test_a_programs_own_ctrl_c_stays_its_own():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        history = ae.fit(build(), IMAGES, steps=3, watch={"x": interrupt_at(2)})
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [1]
    assert history.stopped == "finished"


def test_training_in_another_thread_leaves_ctrl_c_alone():
    found = []
    thread = threading.Thread(target=lambda: found.append(ae.fit(build(), IMAGES, steps=2)))
    thread.start()
    thread.join()
    assert found[0].stopped == "finished"


# --- Checkpoints ---------------------------------------------------------------------------------

WATCH = {"bias": lambda net: next(net.parameters()).sum()}
WAYS = [
    pytest.param(build_, together, optimiser, id=f"{name}, together={together}, {label}")
    for name, build_ in (("dropout", dropping), ("mlp", lambda: nets(2)), ("channels last", unets))
    for together in (False, True)
    for label, optimiser in (
        ("adam", "adam"),
        ("sgd", functools.partial(torch.optim.SGD, momentum=0.5)),
    )
]


@pytest.mark.parametrize(("make", "together", "optimiser"), WAYS)
def test_a_resumed_run_ends_where_an_unbroken_one_ends(tmp_path, make, together, optimiser):
    """Interrupted between two records: weights and history are those of the unbroken run."""
    settings = {"steps": 12, "batch": BATCH, "record": [4, 8, 12], "together": together}
    settings |= {"watch": WATCH, "optimiser": optimiser, "seed": 2}
    whole, broken = make(), make()
    expected = ae.fit(whole, IMAGES, **settings)
    calls = []

    def objective(net, images):
        calls.extend(in_a_step())
        if len(calls) == (7 if together else 13) and in_a_step():  # within the seventh step
            os.kill(os.getpid(), signal.SIGINT)
        return ae.objectives.copy(net, images)

    objective.__name__ = "copy"
    file = tmp_path / "run.safetensors"
    first = ae.fit(broken, IMAGES, objective=objective, checkpoint=file, **settings)
    assert first.stopped == "interrupted"
    assert first.steps.tolist() == [1, 4, 7]
    with safetensors.safe_open(str(file), "pt") as opened:
        seconds = json.loads(opened.metadata()["aelib"])["seconds"]
    fresh = make()  # a new process has other weights and another global generator
    torch.rand(11)
    resumed = ae.fit(fresh, IMAGES, checkpoint=file, resume=True, **settings)
    assert same(fresh, whole)
    same_history(resumed, expected)
    assert 0 < seconds < resumed.seconds
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_more_steps_than_before(tmp_path):
    for together in (False, True):
        file = tmp_path / f"{together}.safetensors"
        whole, grown = dropping(), dropping()
        settings = {"batch": BATCH, "together": together, "checkpoint": file}
        ae.fit(grown, IMAGES, steps=5, record=[2], **settings)
        history = ae.fit(grown, IMAGES, steps=9, record=[2], resume=True, **settings)
        settings["checkpoint"] = None
        expected = ae.fit(whole, IMAGES, steps=9, record=[2, 5], **settings)
        assert same(grown, whole)
        same_history(history, expected)


def test_resuming_what_is_finished_returns_it_and_fewer_steps_is_refused(tmp_path):
    file = tmp_path / "run"
    net, other = build(), build()
    first = ae.fit(net, IMAGES, steps=5, checkpoint=file)
    again = ae.fit(other, IMAGES, steps=5, checkpoint=file, resume=True)
    assert same(net, other)
    same_history(first, again)
    with pytest.raises(ValueError, match=r"steps: .* is already at step 5, got 4"):
        ae.fit(other, IMAGES, steps=4, checkpoint=file, resume=True)


def test_resume_without_a_file_yet_begins(tmp_path):
    net, other = build(), build()
    other.load_state_dict(net.state_dict())
    ae.fit(net, IMAGES, steps=3, checkpoint=tmp_path / "new" / "run", resume=True)
    ae.fit(other, IMAGES, steps=3)
    assert same(net, other)
    assert (tmp_path / "new" / "run").exists()


@pytest.fixture
def kept(tmp_path):
    """A checkpoint at step 3 of two nets, and what it was made with."""
    file = tmp_path / "run.safetensors"
    settings = {"batch": BATCH, "record": [3], "watch": WATCH, "together": False}
    ae.fit(nets(2), IMAGES, steps=3, checkpoint=file, **settings)
    return file, settings


def darken(net, images):
    return net(images).square().mean(dim=(-3, -2, -1))


@pytest.mark.parametrize(
    ("models", "images", "changes", "message"),
    [
        (lambda: nets(2, width=13), IMAGES, {}, "another model"),
        (lambda: nets(2, activation="tanh"), IMAGES, {}, "another model"),
        (lambda: nets(2, skip=0.5), IMAGES, {}, "another model"),
        (lambda: nets(3), IMAGES, {}, "another model"),
        (lambda: nets(2), IMAGES[:39], {}, "other images"),
        (lambda: nets(2), IMAGES.flip(0), {}, "other images"),
        (lambda: nets(2), [IMAGES, IMAGES.flip(0)], {}, "other images"),
        (lambda: nets(2), IMAGES, {"lr": 0.01}, "made with lr '0.001', now '0.01'"),
        (lambda: nets(2), IMAGES, {"batch": 5}, "batch 4, now 5"),
        (lambda: nets(2), IMAGES, {"seed": 1}, "seed 0, now 1"),
        (lambda: nets(2), IMAGES, {"together": True}, "together False, now True"),
        (lambda: nets(2), IMAGES, {"precision": "bf16"}, "precision 'no', now 'bf16'"),
        (lambda: nets(2), IMAGES, {"optimiser": "sgd"}, "optimiser 'Adam', now 'SGD'"),
        (
            lambda: nets(2),
            IMAGES,
            {"optimiser": functools.partial(torch.optim.Adam, fused=True, weight_decay=0.1)},
            "weight_decay '0', now '0.1'",
        ),
        (
            lambda: nets(2),
            IMAGES,
            {"objective": lambda net, x: net(x).square().mean((-3, -2, -1))},
            "objective 'copy'",
        ),
        (lambda: nets(2), IMAGES, {"watch": {}}, r"seen.bias"),
        (lambda: nets(2), IMAGES, {"watch": {**WATCH, "more": float}}, r"seen.more"),
    ],
)
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


def test_the_same_images_elsewhere_are_the_same_images(kept):
    file, settings = kept
    ae.fit(nets(2), [IMAGES, IMAGES.clone()], steps=4, checkpoint=file, resume=True, **settings)


def test_each_model_keeps_its_own_images(tmp_path):
    file, other = tmp_path / "run", IMAGES.flip(0)
    ae.fit(nets(3), [IMAGES, IMAGES, other], steps=2, checkpoint=file)
    with pytest.raises(ValueError, match="other images"):
        ae.fit(nets(3), [IMAGES, other, other], steps=3, checkpoint=file, resume=True)


def test_a_checkpoint_cut_short_is_refused(kept):
    file, settings = kept
    content = file.read_bytes()
    header = int.from_bytes(content[:8], "little")
    others = [b"not safetensors at all", b"{}", bytes(1000), np.zeros(4).tobytes()]
    foreign = ae.training.checkpoint.safetensors.torch.save({"a": torch.zeros(2)})
    empty = ae.training.checkpoint.safetensors.torch.save(
        {"a": torch.zeros(2)}, {"aelib": json.dumps({"step": 1})}
    )
    cuts = [0, 1, 7, 8, 9, header // 2, header + 8, header + 100, len(content) - 1]
    for bad in [*(content[:cut] for cut in cuts), *others, foreign, empty, content + b"more"]:
        file.write_bytes(bad)
        listed = nets(2)
        before = copy.deepcopy(listed)
        with pytest.raises(ValueError, match=r"checkpoint: .* was not written by fit .* delete it"):
            ae.fit(listed, IMAGES, steps=9, checkpoint=file, resume=True, **settings)
        assert same(listed, before)
        assert file.read_bytes() == bad


def test_a_checkpoint_in_the_way_is_not_overwritten(kept, tmp_path):
    file, settings = kept
    net, content = build(), file.read_bytes()
    before = copy.deepcopy(net)
    with pytest.raises(FileExistsError, match="resume=True goes on from it, or give another name"):
        ae.fit(net, IMAGES, steps=9, checkpoint=file, **settings)
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        ae.fit(net, IMAGES, steps=9, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="resume: there is nothing to resume"):
        ae.fit(net, IMAGES, steps=9, resume=True)
    for folder in (file / "below", "/proc/nowhere"):
        with pytest.raises(OSError, match="cannot write a checkpoint to"):
            ae.fit(net, IMAGES, steps=9, checkpoint=f"{folder}/run")
    assert same(net, before)
    assert file.read_bytes() == content


def test_a_checkpoint_is_never_half_written(kept, monkeypatch):
    file, settings = kept
    content = file.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    for name in ("replace", "fsync"):
        listed = nets(2)
        monkeypatch.setattr(os, name, fail)
        with pytest.raises(OSError, match="disk full"):
            ae.fit(listed, IMAGES, steps=6, checkpoint=file, resume=True, **settings)
        assert file.read_bytes() == content
        assert [one.name for one in file.parent.iterdir()] == [file.name]
        monkeypatch.undo()
    ae.fit(nets(2), IMAGES, steps=6, checkpoint=file, resume=True, **settings)
    assert file.read_bytes() != content


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    file = tmp_path / "run"
    steps = []

    def objective(net, images):
        steps.extend(in_a_step())
        return ae.objectives.copy(net, images) * (1 if len(steps) < 5 else float("nan"))

    settings = {"batch": BATCH, "record": [3, 6], "checkpoint": file}
    with pytest.raises(ae.training.TrainingDiverged):
        ae.fit(build(), IMAGES, objective=objective, steps=6, **settings)
    steps.clear()
    history = ae.fit(
        build(), IMAGES, objective=objective, steps=3, resume=True, **settings | {"record": [3]}
    )
    assert history.steps.tolist() == [1, 3]


# --- One model out of a checkpoint ---------------------------------------------------------------


def test_load_weights_gives_each_model_its_own(tmp_path):
    file, listed = tmp_path / "run", norms(2)
    ae.fit(listed, IMAGES, steps=3, batch=BATCH, checkpoint=file)
    for number, net in enumerate(listed):
        fresh = norms(3)[2]
        assert training.load_weights(fresh, file, number) is fresh
        assert same(fresh, net)  # batch statistics too
    assert not same(listed[0], listed[1])


def test_load_weights_refuses_what_does_not_fit(tmp_path, kept):
    file, _ = kept
    net = build()
    before = copy.deepcopy(net)
    with pytest.raises(FileNotFoundError, match="path: there is no file"):
        training.load_weights(net, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"index: .* holds 2 models, counted from 0, got 2"):
        training.load_weights(net, file, 2)
    with pytest.raises(ValueError, match="index: expected 0 or more"):
        training.load_weights(net, file, -1)
    for changes, line in (({"width": 13}, "out_features=12"), ({"activation": "tanh"}, "ReLU")):
        other = build(**changes)
        before_other = copy.deepcopy(other)
        with pytest.raises(ValueError, match=f"model: .* holds another one; it has .*{line}"):
            training.load_weights(other, file)
        assert same(other, before_other)
    whole = file.read_bytes()
    for content in (whole[:50], whole[:-4], b"", safetensors.torch.save({"a": torch.ones(1)})):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"was not written by fit .*; give another"):
            training.load_weights(net, file)
    assert same(net, before)


def test_load_weights_sees_a_buffer_that_the_text_does_not_show(tmp_path):
    """Two nets may print alike and still differ."""

    class Offset(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.register_buffer("offset", torch.zeros(size))
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images):
            return images * self.scale + self.offset.sum()

    ae.fit(Offset(1), IMAGES, steps=1, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds another one; .*offset"):
        training.load_weights(Offset(2), tmp_path / "run")


# --- Models that are no autoencoders, and labels -------------------------------------------------


class Timed(nn.Module):
    """Called with a number for each image, as a diffusion model is."""

    def __init__(self):
        super().__init__()
        self.image, self.time = nn.Linear(16, 16), nn.Linear(1, 16)

    def forward(self, images, times):
        return (self.image(images.flatten(-3)) + self.time(times[..., None])).unflatten(-1, SHAPE)


def timed(net, images):
    times = torch.linspace(0, 1, images.shape[-4]).expand(images.shape[:-3])
    return (net(images, times) - images).square().mean(dim=(-3, -2, -1))


def classifiers(seeds=2):
    def build():
        return nn.Sequential(nn.Flatten(-3), nn.Linear(16, 3))

    return ae.models.replicate(build, seeds)


LABELS = torch.arange(len(IMAGES)) % 3


def norms(seeds):
    def build():
        return nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))

    return ae.models.replicate(build, seeds)


def test_a_net_with_a_second_input_trains_together():
    alone, stacked = (ae.models.replicate(Timed, 2) for _ in range(2))
    begun = copy.deepcopy(alone)
    for listed, together in ((alone, False), (stacked, True)):
        ae.fit(listed, IMAGES, objective=timed, steps=5, batch=BATCH, together=together)
    assert near(alone, stacked)
    assert not near(alone, begun, 1e-3)


def test_an_input_that_is_no_tensor_is_one_for_all_seeds():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = nn.Linear(16, 16)

        def forward(self, images, scale):
            return scale * self.image(images.flatten(-3)).unflatten(-1, SHAPE)

    def half(net, images):
        return (net(images, 0.5) - images).square().mean(dim=(-3, -2, -1))

    alone, stacked = (ae.models.replicate(Scaled, 2) for _ in range(2))
    for listed, together in ((alone, False), (stacked, True)):
        ae.fit(listed, IMAGES, objective=half, steps=5, batch=BATCH, together=together)
    assert near(alone, stacked)


def test_an_objective_that_calls_more_than_the_net_trains_side_by_side():
    def through_the_code(net, images):
        return (net.decode(net.encode(images)) - images).square().mean(dim=(-3, -2, -1))

    listed, alone = nets(2), nets(2)
    ae.fit(listed, IMAGES, objective=through_the_code, steps=4, batch=BATCH)
    ae.fit(alone, IMAGES, steps=4, batch=BATCH, together=False)
    assert same(listed, alone)
    with pytest.raises(ValueError, match=r"together: torch\.func\.vmap cannot run these models"):
        ae.fit(listed, IMAGES, objective=through_the_code, steps=1, together=True)


@pytest.mark.parametrize("batch", [BATCH, 16, None])
@pytest.mark.parametrize("together", [False, True])
def test_labels_travel_with_their_images(batch, together):
    """The oracle is a plain loop whose every step looks its labels up by the images' values."""
    table = {
        tuple(image.flatten().tolist()): label for image, label in zip(IMAGES, LABELS, strict=True)
    }
    seen = []

    def checked(net, images, labels):
        for image, label in zip(images.flatten(0, -4), labels.flatten(), strict=True):
            assert table[tuple(image.flatten().tolist())] == label
        seen.append(images.shape[:-3])
        return ae.objectives.classify(net, images, labels)

    listed, alone = classifiers(), classifiers()
    settings = {"steps": 6, "batch": batch, "together": together}
    ae.fit(listed, IMAGES, objective=checked, labels=LABELS, **settings)
    size = len(IMAGES) if batch is None else batch
    assert seen[-1] == ((2, size) if together else (size,))
    for number, net in enumerate(alone):
        ae.fit(net, IMAGES, objective=ae.objectives.classify, labels=LABELS.int(), seed=number,
               **settings | {"together": None})  # fmt: skip
    assert near(listed, alone)
    assert not near(listed, classifiers(), 1e-3)


def test_labels_of_its_own_for_each_model():
    one, other = LABELS, LABELS.flip(0)
    listed, alone = classifiers(), classifiers()
    settings = {"objective": ae.objectives.classify, "steps": 5, "batch": BATCH}
    ae.fit(listed, IMAGES, labels=[one, other], together=True, **settings)
    for number, (net, labels) in enumerate(zip(alone, (one, other), strict=True)):
        ae.fit(net, IMAGES, labels=labels, seed=number, **settings)
    assert near(listed, alone)


def test_other_labels_are_another_training(tmp_path):
    file, net = tmp_path / "run", classifiers(1)[0]
    settings = {"objective": ae.objectives.classify, "checkpoint": file, "batch": BATCH}
    ae.fit(net, IMAGES, labels=LABELS, steps=2, **settings)
    ae.fit(net, IMAGES, labels=LABELS.clone(), steps=3, resume=True, **settings)
    with pytest.raises(ValueError, match="belongs to other labels"):
        ae.fit(net, IMAGES, labels=LABELS.flip(0), steps=4, resume=True, **settings)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (
            LABELS[:-1],
            ValueError,
            r"labels: expected one for each of the 40 images, .* got \(39,\)",
        ),
        (LABELS[:, None], ValueError, "labels: expected one for each"),
        (
            LABELS.float(),
            TypeError,
            "labels: expected a tensor of whole numbers, got torch.float32",
        ),
        (LABELS > 1, TypeError, "labels: expected a tensor of whole numbers, got torch.bool"),
        (LABELS.tolist(), ValueError, r"one per model \(2\), got 40"),
        ([LABELS, LABELS.numpy()], TypeError, "whole numbers, got ndarray"),
        (LABELS + (torch.arange(40) == 38), ValueError, "from 0 to 2, .* got 0 to 3"),
        (LABELS - 1 * (torch.arange(40) == 21), ValueError, "got -1 to 2"),
        (None, ValueError, "labels: expected a label for each image"),
    ],
)
def test_bad_labels_are_refused_before_the_first_step(labels, error, message):
    listed = classifiers()
    before = copy.deepcopy(listed)
    with pytest.raises(error, match=message):
        ae.fit(listed, IMAGES, objective=ae.objectives.classify, labels=labels, steps=2)
    assert same(listed, before)


def test_the_trial_leaves_no_trace():
    """Modes, buffers and the global generator, whatever the net and the objective draw."""

    def drawing(net, images):
        return ae.objectives.copy(net, images + 0.1 * torch.randn_like(images))

    from aelib.training.trial import try_objective

    net = nn.Sequential(*norms(1)[0], nn.Dropout())
    net[1].eval()
    before, state = [m.training for m in net.modules()], weights(net)
    generator = torch.get_rng_state()
    try_objective(drawing, net, IMAGES)
    assert [m.training for m in net.modules()] == before
    assert all(torch.equal(mine, its) for mine, its in zip(weights(net), state, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (timed, r"cannot take these images, \(1, 4, 4\) of torch.float32 each, for the objective "
                "timed"),
        (lambda net, images: net(images).mean(), r"one loss per example, shape \(2,\), got \(\)"),
        (lambda net, images: None, "one loss per example.* got NoneType"),
        (lambda net, images: (net(images) / 0).mean((-3, -2, -1)), "not finite before any"),
        (ae.objectives.classify, "labels: expected a label"),
    ],
)  # fmt: skip
def test_an_objective_that_does_not_fit_is_refused(objective, message):
    net = build()
    before = copy.deepcopy(net)
    with pytest.raises(ValueError, match=message):
        ae.fit(net, IMAGES, objective=objective, steps=2)
    assert same(net, before)


# --- Divergence ----------------------------------------------------------------------------------


def test_divergence_stops_with_a_reason_and_the_history():
    def nan_after(limit):
        steps = []

        def objective(net, images):
            steps.extend(in_a_step())
            return ae.objectives.copy(net, images) / (len(steps) < limit)

        return objective

    with pytest.raises(
        training.TrainingDiverged, match=r"model 0 is not finite, between steps 2"
    ) as caught:
        ae.fit(build(), IMAGES, objective=nan_after(4), steps=8, record=4)
    history = caught.value.history
    assert "smaller lr (it is 0.001)" in str(caught.value)
    assert history.stopped == "diverged"
    assert history.steps.tolist() == [1, 2]
    assert np.isfinite(history.loss).all()
    with pytest.raises(training.TrainingDiverged) as caught:
        ae.fit(build(), IMAGES, objective=nan_after(1), steps=8, record=[0])
    assert caught.value.history.steps.tolist() == [0]
    assert "diverged" in repr(caught.value.history)


@pytest.mark.parametrize("together", [False, True])
def test_an_exploding_step_size_is_named(together):
    listed = nets(2)
    with pytest.raises(training.TrainingDiverged, match=r"smaller lr \(it is 1e\+10\)"):
        ae.fit(listed, IMAGES, steps=100, lr=1e10, optimiser="sgd", together=together)


def test_a_loss_that_grows_a_thousandfold_stops_too():
    steps = []

    def objective(net, images):
        steps.extend(in_a_step())
        return ae.objectives.copy(net, images) * 11 ** len(steps)

    grown = r"has grown to .*e\+03, from [345]\."
    with pytest.raises(training.TrainingDiverged, match=grown) as caught:
        ae.fit(build(), IMAGES, objective=objective, steps=9, lr=1e-9)
    assert caught.value.history.steps.tolist() == [1, 2, 3]


# --- Bad input -----------------------------------------------------------------------------------


def bad(value):
    images = IMAGES.clone()
    images[3, 0, 1, 2] = value
    return images


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: expected 1 or more, got 0"),
        ({"steps": -3}, ValueError, "steps"),
        ({"steps": True}, TypeError, "steps: expected a whole number, got True"),
        ({"steps": 2.0}, TypeError, "steps"),
        ({"batch": 0}, ValueError, "batch"),
        ({"batch": 2.5}, TypeError, "batch"),
        ({"lr": 0}, ValueError, "lr: expected a positive number, got 0"),
        ({"lr": -1.0}, ValueError, "lr"),
        ({"lr": float("nan")}, ValueError, "lr"),
        ({"lr": float("inf")}, ValueError, "lr"),
        ({"lr": "1e-3"}, ValueError, "lr"),
        ({"lr": True}, ValueError, "lr"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"optimiser": "adan"}, ValueError, "optimiser is 'adan'; did you mean 'adam'"),
        ({"precision": "bf61"}, ValueError, "precision is 'bf61'; did you mean 'bf16'"),
        ({"device": "gpu"}, ValueError, "device: expected"),
        ({"device": "meta"}, ValueError, "device: .* got 'meta'"),
        ({"record": 0}, ValueError, "record"),
        ({"record": True}, TypeError, "record"),
        ({"record": [5, 11]}, ValueError, "record: expected steps between 0 and 10"),
        ({"record": [-1]}, ValueError, "record"),
        ({"record": [0.5]}, TypeError, "record"),
        ({"watch": {"x": 3}}, ValueError, "watch"),
        ({"watch": {"loss": float}}, ValueError, "watch"),
        ({"models": []}, TypeError, "models: expected an nn.Module or a non-empty list"),
        ({"models": [build(), 3]}, TypeError, "models"),
        ({"models": 3}, TypeError, "models: expected an nn.Module"),
        ({"models": [build()] * 2}, ValueError, "models: one model stands there twice"),
        ({"models": nn.Identity()}, ValueError, "models: one of them has no parameters"),
        ({"models": nn.Conv2d(1, 2, 1)}, ValueError, "model: expected one that gives back the shape"),
        ({"models": build(gain=1e30)}, ValueError, "not finite before any training"),
        ({"images": [IMAGES, IMAGES]}, ValueError, r"one per model \(1\), got 2"),
        ({"images": bad(float("nan"))}, ValueError, r"finite values.*\[3, 0, 1, 2\]"),
        ({"images": bad(float("inf"))}, ValueError, "images: expected finite values"),
        ({"images": bad(255.0)}, ValueError, "divide by 255"),
        ({"images": (IMAGES * 255).byte()}, TypeError, r"torch.uint8; use images.float\(\) / 255"),
        ({"images": IMAGES[0]}, ValueError, r"for one image use images\[None\]"),
        ({"images": IMAGES[:0]}, ValueError, "images"),
        ({"images": IMAGES.numpy()}, TypeError, "use torch.from_numpy"),
        ({"images": IMAGES.double()}, ValueError, "torch.float64"),
        ({"images": torch.rand(5, 1, 6, 6)}, ValueError, r"cannot take these images, \(1, 6, 6\)"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_the_first_step(tmp_path, changes, error, message):
    net = build()
    given = {"models": net, "images": IMAGES, "steps": 10, **changes}
    models = given["models"]
    modules = models if isinstance(models, list) else [models]
    before = [weights(one) for one in modules if isinstance(one, nn.Module)]
    with pytest.raises(error, match=message):
        ae.fit(given.pop("models"), given.pop("images"), **given, checkpoint=tmp_path / "run")
    after = [weights(one) for one in modules if isinstance(one, nn.Module)]
    assert all(
        torch.equal(mine, its)
        for old, new in zip(before, after, strict=True)
        for mine, its in zip(old, new, strict=True)
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="half precision works on a GPU")
def test_half_precision_without_a_gpu():
    with pytest.raises(
        ValueError, match=r"precision: fp16 needs a GPU, and this is cpu; try 'bf16'"
    ):
        ae.fit(build(), IMAGES, steps=1, precision="fp16")


def test_images_of_one_and_a_batch_of_one():
    for images, batch in ((IMAGES[:1], 64), (IMAGES, 1), (IMAGES[:1], None)):
        assert ae.fit(nets(2), images, steps=2, batch=batch).loss.shape == (2, 2)


# --- Accelerate ----------------------------------------------------------------------------------


def test_device_and_precision_are_this_calls_own():
    """Accelerate remembers the first call's; fit must not."""
    results = []
    for precision in ("no", "bf16", "no", "bf16"):
        net = nets(1)[0]
        ae.fit(net, IMAGES, steps=5, batch=BATCH, lr=0.01, precision=precision, device="cpu")
        results.append(net)
        ae.fit(build(), IMAGES, steps=1)
    assert same(results[0], results[2])
    assert same(results[1], results[3])
    assert not same(results[0], results[1])
    assert near(results[0], results[1], 0.05)  # bf16 keeps three digits
    assert all(value.dtype == torch.float32 for value in weights(results))


def test_low_precision_for_seeds_together():
    alone, stacked = nets(2), nets(2)
    for listed, together in ((alone, False), (stacked, True)):
        ae.fit(listed, IMAGES, steps=5, batch=BATCH, precision="bf16", together=together)
    assert near(alone, stacked, 0.01)


def train_in_a_process(rank, port, folder):
    """What each process of the next test does, started as `accelerate launch` does."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    torch.set_num_threads(1)
    sizes = set()

    def objective(net, images):
        sizes.update(images.shape[-4] for _ in in_a_step())
        return ae.objectives.copy(net, images)

    for together in (False, True):
        settings = {"batch": 8, "together": together, "checkpoint": folder / f"{together}"}
        settings["objective"] = objective
        ae.fit(nets(2), IMAGES, steps=4, **settings)
        resumed = nets(2)
        history = ae.fit(resumed, IMAGES, steps=9, resume=True, **settings)
        result = [weights(resumed), history.loss[:, -1], sizes]
        torch.save(result, folder / f"{together}.{rank}")
    for batch in (8, None):
        listed = classifiers()
        settings = {"objective": ae.objectives.classify, "labels": LABELS, "batch": batch}
        ae.fit(listed, IMAGES, steps=5, **settings)
        torch.save(weights(listed), folder / f"labels {batch}.{rank}")
    try:
        ae.fit(nets(2), IMAGES, steps=1, batch=7)
    except ValueError as error:
        (folder / f"error.{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    """Each takes half of every batch; the sums come in another order, no more."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    torch.multiprocessing.spawn(train_in_a_process, (port, tmp_path), 2)
    alone = nets(2)
    history = ae.fit(alone, IMAGES, steps=9, batch=8, record=9)
    for together, rank in itertools.product((False, True), (0, 1)):
        found, losses, sizes = torch.load(tmp_path / f"{together}.{rank}", weights_only=False)
        assert sizes == {4}
        for mine, its in zip(found, weights(alone), strict=True):
            assert torch.allclose(mine, its, rtol=0, atol=1e-5)
        np.testing.assert_allclose(losses, history.loss[:, -1], rtol=1e-4)
        error = (tmp_path / f"error.{rank}").read_text()
        assert error == "batch: 7 images cannot be shared by 2 processes; change batch"
    for batch, rank in itertools.product((8, None), (0, 1)):
        alone = classifiers()
        settings = {"objective": ae.objectives.classify, "labels": LABELS, "batch": batch}
        ae.fit(alone, IMAGES, steps=5, **settings)
        found = torch.load(tmp_path / f"labels {batch}.{rank}")
        for mine, its in zip(found, weights(alone), strict=True):
            assert torch.allclose(mine, its, rtol=0, atol=1e-5)
