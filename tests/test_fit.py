"""training: `fit` against a plain loop, one model and many, side by side and as one graph."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn
from trainees import (
    FEW,
    FUSED,
    IMAGES,
    LABELS,
    SHAPE,
    build,
    classifiers,
    dropping,
    near,
    norms,
    plain,
    same,
    seeds,
    twins,
    ways,
    weights,
)  # fmt: skip

import aelib as ae
from aelib import random
from aelib.training import ensemble
from aelib.training.ensemble import difference

# --- Against a plain loop ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [4, 16, 1000, None])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adam", FUSED),
        ("sgd", torch.optim.SGD),
        (functools.partial(torch.optim.SGD, momentum=0.9),) * 2,
    ],
)
def test_one_model_is_a_plain_loop_bit_for_bit(batch_size, name, make):
    mine, its = twins()
    history = ae.fit(
        mine, IMAGES, steps=7, batch_size=batch_size, lr=0.01, optimizer=name, seed=5, log_at=7
    )
    its_size = None if batch_size is None else min(batch_size, 40)
    losses = plain(its, IMAGES, 7, its_size, 0.01, make, seed=5)
    assert same(mine, its)
    np.testing.assert_array_equal(history.steps, range(1, 8))
    np.testing.assert_allclose(history.loss, [losses], rtol=1e-6)


FACTORS = {
    "cosine": lambda step: (1 + math.cos(math.pi * step / 20)) / 2,
    "linear": lambda step: 1 - step / 20,
    lambda step: 0.5**step: lambda step: 0.5**step,
}


@ways
@pytest.mark.parametrize("schedule", FACTORS)
def test_a_schedule_is_a_factor_of_lr(schedule, vmap):
    listed, alone = seeds(), seeds()
    settings = {"steps": 20, "batch_size": FEW, "lr": 0.01, "schedule": schedule}
    ae.fit(listed, IMAGES, vmap=vmap, **settings)
    for number, model in enumerate(alone):
        plain(model, IMAGES, 20, FEW, 0.01, seed=number, factor=FACTORS[schedule])
    assert (near if vmap else same)(listed, alone)
    constant = seeds()[0]
    ae.fit(constant, IMAGES, **settings | {"schedule": None})
    assert not near(listed[0], constant, 1e-3)


@ways
def test_a_gradient_longer_than_clip_is_scaled_down_for_each_model_alone(vmap):
    listed, alone = seeds(), seeds()
    with torch.no_grad():
        listed[0].decoder[-1].bias += 10  # its gradient alone is far longer
        alone[0].decoder[-1].bias += 10
    sgd = {"steps": 20, "batch_size": FEW, "lr": 0.5}
    ae.fit(listed, IMAGES, vmap=vmap, optimizer="sgd", clip=0.05, **sgd)
    for number, model in enumerate(alone):
        plain(model, IMAGES, 20, FEW, 0.5, make=torch.optim.SGD, seed=number, clip=0.05)
    assert near(listed, alone)
    free = seeds()
    ae.fit(free, IMAGES, optimizer="sgd", **sgd)
    assert not near(free[1], listed[1], 1e-3)


@ways
def test_ema_ends_with_the_average_and_shows_it(vmap):
    def bias(model):
        return model.decoder[-1].bias.sum()

    listed = seeds()
    settings = {"steps": 30, "batch_size": FEW, "lr": 0.01, "vmap": vmap, "log_at": [10]}
    history = ae.fit(listed, IMAGES, ema=0.8, metrics={"bias": bias}, **settings)
    for number, model in enumerate(listed):
        for steps, shown in zip((1, 10, 30), history["bias"][number], strict=True):
            alone = seeds()[number]
            plain(alone, IMAGES, steps, FEW, 0.01, seed=number, ema=0.8)
            assert shown == pytest.approx(bias(alone).item(), abs=1e-5)
        assert near(model, alone)
    last = seeds()
    ae.fit(last, IMAGES, **settings)
    assert not near(last, listed, 1e-3)


def test_stale_gradients_do_not_enter_the_first_step():
    mine, its = twins()
    mine(IMAGES).sum().backward()
    ae.fit(mine, IMAGES, steps=2, batch_size=FEW)
    plain(its, IMAGES, 2, FEW)
    assert same(mine, its)


@ways
@pytest.mark.parametrize("batch_size", [FEW, 16, None])
def test_a_list_is_each_model_alone(vmap, batch_size):
    """One batched graph sums in another order, so there the last digits differ, no more."""
    listed, alone = seeds(3), seeds(3)
    history = ae.fit(listed, IMAGES, steps=20, batch_size=batch_size, seed=3, vmap=vmap)
    single = [
        ae.fit(model, IMAGES, steps=20, batch_size=batch_size, seed=3 + number)
        for number, model in enumerate(alone)
    ]
    assert (near if vmap else same)(listed, alone)
    assert history.loss.shape == (3, len(history.steps))
    expected = np.concatenate([one.loss for one in single])
    np.testing.assert_allclose(history.loss, expected, rtol=1e-4 if vmap else 0)
    assert not near(listed[:1], listed[1:2], 0.01)


@ways
def test_images_of_its_own_for_each_model(vmap):
    sets = [IMAGES[:30], 1 - IMAGES, IMAGES[:8]]
    listed, alone = seeds(3), seeds(3)
    ae.fit(listed, sets, steps=10, batch_size=6, vmap=vmap)
    for number, (model, its) in enumerate(zip(alone, sets, strict=True)):
        ae.fit(model, its, steps=10, batch_size=6, seed=number)
    assert (near if vmap else same)(listed, alone)
    if vmap:
        with pytest.raises(ValueError, match=r"vmap: .* other numbers of images.*; use vmap=False"):
            ae.fit(listed, sets, steps=1, batch_size=None, vmap=True)
    ae.fit(listed, sets, steps=1, batch_size=None)


class Tied(nn.Module):
    """Two layers with one weight, and a third that does not learn."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.frozen = (nn.Linear(16, 16) for _ in range(3))
        self.second.weight = self.first.weight
        self.frozen.requires_grad_(False)

    def forward(self, images):
        hidden = self.second(self.first(images.flatten(-3)))
        return self.frozen(hidden).unflatten(-1, SHAPE)


@ways
@pytest.mark.parametrize("ema", [None, 0.9])
def test_tied_parameters_stay_tied_and_frozen_ones_stay(vmap, ema):
    listed, alone, begun = (ae.models.replicate(Tied, 2) for _ in range(3))
    ae.fit(listed, IMAGES, steps=5, batch_size=FEW, vmap=vmap, ema=ema)
    for number, model in enumerate(alone):
        plain(model, IMAGES, 5, FEW, seed=number, ema=ema)
    assert near(listed, alone)
    assert listed[0].first.weight is listed[0].second.weight
    assert same(listed[1].frozen, begun[1].frozen)


def test_a_seeded_run_repeats_whatever_the_global_generator_does():
    first, second = dropping(), dropping()
    ae.fit(first, IMAGES, steps=4, batch_size=FEW, seed=1)
    torch.rand(7)
    ae.fit(second, IMAGES, steps=4, batch_size=FEW, seed=1)
    assert same(first, second)


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
    for model, twin in zip(pair, alone, strict=True):
        twin.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match=rf"vmap: .* models 0 and 1, .* {what}.*use vmap=False"):
        ae.fit(pair, IMAGES, steps=1, vmap=True)
    ae.fit(pair, IMAGES, steps=5, batch_size=FEW)
    for number, model in enumerate(alone):
        plain(model, IMAGES, 5, FEW, seed=number)
    assert same(pair, alone)


def test_models_that_share_a_layer_train_side_by_side():
    """As one graph it would be two copies, of which the last would overwrite the first."""

    def sharing():
        pair = seeds()
        pair[1].encoder[0] = pair[0].encoder[0]
        return pair

    listed, alone = sharing(), sharing()
    history = ae.fit(listed, IMAGES, steps=30, batch_size=None, lr=0.01)
    ae.fit(alone, IMAGES, steps=30, batch_size=None, lr=0.01, vmap=False)
    assert same(listed, alone)
    error = ae.objectives.copy(listed[0], IMAGES).mean().item()
    assert error == pytest.approx(history.loss[0, -1], rel=0.1)
    with pytest.raises(ValueError, match=r"vmap: .* share a parameter"):
        ae.fit(listed, IMAGES, steps=1, vmap=True)


def test_buffers_hooks_and_frozen_layers_are_seen():
    assert difference(seeds(3)) == ""
    assert "buffers" in difference(norms())
    hooked, frozen = seeds(3), seeds(3)
    hooked[1].register_forward_hook(lambda *_: None)
    assert "hooks" in difference(hooked)
    frozen[2].encoder.requires_grad_(False)
    assert "models 0 and 2" in difference(frozen)
    ae.fit(norms(), IMAGES, steps=2, batch_size=FEW)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return images * self.scale if images.mean() > 0 else images


def through_the_code(model, images):
    return (model.decode(model.encode(images)) - images).square().mean(dim=(-3, -2, -1))


@pytest.mark.parametrize(
    ("make", "objective"),
    [(lambda: [Branching(), Branching()], ae.objectives.copy), (seeds, through_the_code)],
)
def test_what_vmap_cannot_run_trains_side_by_side(make, objective):
    listed, alone = make(), make()
    settings = {"objective": objective, "steps": 4, "batch_size": FEW}
    ae.fit(listed, IMAGES, **settings)
    ae.fit(alone, IMAGES, vmap=False, **settings)
    assert same(listed, alone)
    with pytest.raises(ValueError, match=r"vmap: .* that torch\.func\.vmap cannot run"):
        ae.fit(listed, IMAGES, vmap=True, **settings)


def test_the_cheaper_way_is_chosen_by_size(monkeypatch):
    made = []
    original = ensemble.Ensemble
    monkeypatch.setattr(ensemble, "Ensemble", lambda *a: made.append(1) or original(*a))
    monkeypatch.setattr("aelib.training.learner.Ensemble", original)
    size = FEW * ae.models.count_parameters(build())
    for limit, n, expected in ((size, 2, [1]), (size - 1, 2, []), (size, 1, [])):
        monkeypatch.setattr(ensemble, "SMALL_STEP", limit)
        ae.fit(seeds(n), IMAGES, steps=1, batch_size=FEW, device="cpu")
        assert made == expected
        made.clear()


# --- Models with a second input, and labels ------------------------------------------------------


class Timed(nn.Module):
    """Called with a number for each image, as a diffusion model is, or with one for all."""

    def __init__(self):
        super().__init__()
        self.image, self.time = nn.Linear(16, 16), nn.Linear(1, 16)

    def forward(self, images, times):
        if isinstance(times, torch.Tensor):
            times = self.time(times[..., None])
        return (self.image(images.flatten(-3)) + times).unflatten(-1, SHAPE)


def timed(model, images):
    times = torch.linspace(0, 1, images.shape[-4]).expand(images.shape[:-3])
    return (model(images, times) - images).square().mean(dim=(-3, -2, -1))


def one_time(model, images):
    return (model(images, 0.5) - images).square().mean(dim=(-3, -2, -1))


@pytest.mark.parametrize("objective", [timed, one_time])
def test_a_second_input_in_one_graph(objective):
    alone, listed = (ae.models.replicate(Timed, 2) for _ in range(2))
    begun = copy.deepcopy(alone)
    for models, vmap in ((alone, False), (listed, True)):
        ae.fit(models, IMAGES, objective=objective, steps=5, batch_size=FEW, vmap=vmap)
    assert near(alone, listed)
    assert not near(alone, begun, 1e-3)


def test_stacked_transformers_learn_what_single_ones_learn():
    images, labels = torch.rand(16, 3, 32, 32, generator=random.generator(0)), torch.arange(16) % 4
    how = {"labels": labels, "objective": ae.objectives.classify, "steps": 20, "lr": 0.001}
    losses = []
    for vmap in (True, False):  # stacked ones without a word of torch's about a slow attention
        nets = ae.models.replicate(lambda: ae.models.SmallViT((3, 32, 32), 4, width=24, depth=2), 2)
        losses.append(ae.fit(nets, images, vmap=vmap, log_at=4, **how).loss)
    np.testing.assert_allclose(*losses, rtol=1e-3)


@ways
@pytest.mark.parametrize("batch_size", [FEW, 16, None])
def test_labels_travel_with_their_images(batch_size, vmap):
    """The oracle is a plain loop whose every step looks its labels up by the images' values."""
    table = {
        tuple(image.flatten().tolist()): label for image, label in zip(IMAGES, LABELS, strict=True)
    }
    shapes = []

    def checked(model, images, labels):
        for image, label in zip(images.flatten(0, -4), labels.flatten(), strict=True):
            assert table[tuple(image.flatten().tolist())] == label
        shapes.append(images.shape[:-3])
        return ae.objectives.classify(model, images, labels)

    listed, alone = classifiers(), classifiers()
    settings = {"steps": 6, "batch_size": batch_size}
    each = [LABELS, LABELS.clone()]  # of its own for each model
    ae.fit(listed, IMAGES, objective=checked, labels=each, vmap=vmap, **settings)
    n = len(IMAGES) if batch_size is None else batch_size
    assert shapes[-1] == ((2, n) if vmap else (n,))
    settings["objective"] = ae.objectives.classify
    for number, model in enumerate(alone):
        ae.fit(model, IMAGES, labels=LABELS.int(), seed=number, **settings)
    assert near(listed, alone)
    assert not near(listed, classifiers(), 1e-3)


# --- Whatever surrounds the call -----------------------------------------------------------------


@ways
@pytest.mark.parametrize("surrounding", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_wherever_it_is_called(surrounding, vmap):
    listed, alone = classifiers(), classifiers()
    settings = {"objective": ae.objectives.classify, "steps": 3, "batch_size": None, "vmap": vmap}
    with surrounding():
        ae.fit(listed, IMAGES + 0, labels=LABELS.int(), ema=0.5, **settings)
        assert not torch.is_grad_enabled()
    ae.fit(alone, IMAGES, labels=LABELS, ema=0.5, **settings)
    assert same(listed, alone)
    assert not any(value.is_inference() for value in listed[0].parameters())


@pytest.mark.parametrize("batch_size", [FEW, None])
def test_images_are_only_read(batch_size):
    source = IMAGES.clone().requires_grad_()
    mine, its = twins()
    ae.fit(mine, (source * 1).clamp(0, 1), steps=3, batch_size=batch_size)  # carries a graph
    ae.fit(mine, source, steps=3, batch_size=batch_size)
    for _ in range(2):
        ae.fit(its, IMAGES, steps=3, batch_size=batch_size)
    assert source.grad is None
    assert same(mine, its)


def test_an_objective_marks_the_models_before_the_first_step():
    class Marking:
        def __call__(self, model, images):
            return ae.objectives.copy(model, images)

        def mark(self, models):
            marked.append((list(models), weights(models)))

    marked, listed = [], seeds()
    before = [value.clone() for value in weights(listed)]
    ae.fit(listed, IMAGES, objective=Marking(), steps=2, vmap=True)
    ((models, values),) = marked
    assert models == listed
    assert all(map(torch.equal, values, before))


@ways
def test_modes_and_devices_come_back_also_after_an_error(vmap):
    class Once(Exception):
        pass

    def fail(model):
        raise Once

    listed = seeds()
    listed[0].eval()
    listed[1].encoder.eval()
    modes = [[module.training for module in model.modules()] for model in listed]
    ae.fit(listed, IMAGES, steps=2, vmap=vmap)
    assert [[module.training for module in model.modules()] for model in listed] == modes
    before = copy.deepcopy(listed)
    with pytest.raises(Once):
        ae.fit(listed, IMAGES, steps=2, batch_size=FEW, metrics={"x": fail}, vmap=vmap)
    assert [[module.training for module in model.modules()] for model in listed] == modes
    assert not near(listed, before, 1e-4)  # the step that was done is kept
    assert {value.device.type for value in weights(listed)} == {"cpu"}


def test_a_trained_model_can_be_copied_and_pickled():
    model = build()
    ae.fit(model, IMAGES, steps=2, precision="bf16")
    assert "forward" not in vars(model)
    assert same(pickle.loads(pickle.dumps(model)), model)
    assert same(copy.deepcopy(model), model)
    assert all(value.is_leaf and value.requires_grad for value in model.parameters())


def test_training_in_another_thread_leaves_ctrl_c_alone():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(ae.fit(build(), IMAGES, steps=2)))
    thread.start()
    thread.join()
    assert histories[0].stopped == "finished"


class Hiding(nn.Module):
    """Keeps a fixed layer in a list, where torch does not see it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.hidden = [nn.Linear(16, 16).requires_grad_(False)]

    def forward(self, images):
        return self.hidden[0](self.layer(images.flatten(1))).view_as(images)


def test_models_that_hide_different_layers_do_not_share_one_graph():
    models = ae.models.replicate(Hiding, 2)
    alone = copy.deepcopy(models[1])
    ae.fit(models, IMAGES, steps=3)
    ae.fit(alone, IMAGES, steps=3, seed=1)
    assert torch.equal(models[1].layer.weight, alone.layer.weight)
    with pytest.raises(ValueError, match="which differ in hidden"):
        ae.fit(models, IMAGES, steps=1, vmap=True)


def test_models_with_the_same_plain_contents_share_one_graph():
    for contents in ([1, 2], (1, "a"), {"a": [1.0]}, {2, 3}):
        models = seeds(2)
        for model in models:
            model.contents = copy.deepcopy(contents)
        ae.fit(models, IMAGES, steps=1, vmap=True)


def test_a_callback_samples_a_model_as_it_is_trained():
    schedule = ae.objectives.cosine_schedule(20)
    model, found = ae.models.DiffusionUNet(SHAPE, width=8, steps=20, downs=1), []
    walk = functools.partial(ae.sampling.sample, model, schedule, 4, steps=5, clamp=None)
    ae.fit(
        model,
        IMAGES,
        objective=ae.objectives.diffusion(schedule, "velocity"),
        steps=2,
        log_at=[2],
        callback=lambda at: found.append(walk()),
    )
    assert torch.equal(found[-1], walk())


def test_a_list_of_a_models_own_parts_is_no_difference():
    models = seeds(2)
    for model in models:
        model.listed = [model.encoder, slice(0, 3), {"self": []}]
        model.listed[2]["self"].append(model.listed)  # a container that lies in itself
    ae.fit(models, IMAGES, steps=1)
    for model in models:
        del model.listed[2]
    ae.fit(models, IMAGES, steps=1, vmap=True)


def test_a_training_that_does_not_begin_leaves_a_models_note(tmp_path):
    schedule = ae.objectives.cosine_schedule(20)
    model = ae.models.DiffusionUNet(SHAPE, width=8, steps=20, downs=1)
    once = {"steps": 1, "checkpoint": tmp_path / "checkpoint"}
    ae.fit(model, IMAGES, objective=ae.objectives.diffusion(schedule, "noise"), **once)
    other = ae.objectives.diffusion(schedule, "velocity")
    with pytest.raises(ValueError, match="checkpoint"):
        ae.fit(model, IMAGES, objective=other, resume=True, **once)
    assert schedule.target_of(model) == "noise"
