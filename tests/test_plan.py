"""training: what cannot work is refused before the first step, and leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from trainees import IMAGES, LABELS, build, classifiers, norms, same, seeds, twins, weights

import aelib as ae
from aelib.training.dry_run import dry_run


class Spanned:
    span = (0.0, 1.0)

    def __call__(self, model, images):
        return ae.objectives.copy(model, images)


with torch.inference_mode():
    FIXED = build()
META = build().to("meta")
LARGE = IMAGES * 255


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"lr": -1.0}, ValueError, "lr"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"ema": 1.5}, ValueError, "ema"),
        ({"clip": 0}, ValueError, "clip"),
        ({"schedule": "cosin"}, ValueError, "schedule: .*'cosine'"),
        ({"optimizer": "adan"}, ValueError, "optimizer: .*'adam'"),
        ({"optimizer": 3}, TypeError, "optimizer"),
        ({"precision": "bf61"}, ValueError, "precision: .*'bf16'"),
        ({"device": "meta"}, ValueError, "device"),
        ({"log_at": 0}, ValueError, "log_at"),
        ({"log_at": [5, 11]}, ValueError, r"log_at: .* \(steps\)"),
        ({"metrics": {"x": 3}}, TypeError, "metrics.*x"),
        ({"metrics": {"loss": float}}, ValueError, "metrics: .*taken"),
        ({"callback": 3}, TypeError, "callback"),
        ({"objective": "copy"}, TypeError, "objective: .*objectives.copy"),
        ({"models": []}, TypeError, "models"),
        ({"models": [build(), 3]}, TypeError, "models"),
        ({"models": [META]}, ValueError, "models: .*meta"),
        ({"models": [build()] * 2}, ValueError, "models: .*twice"),
        ({"models": nn.Identity()}, ValueError, "models: .*without parameters"),
        ({"models": FIXED}, ValueError, "models: .*inference_mode"),
        ({"models": nn.Conv2d(1, 2, 1)}, ValueError, "model: .*shape"),
        ({"models": build(gain=1e30)}, ValueError, "model: .*before any training"),
        ({"images": [IMAGES, IMAGES]}, ValueError, "images: .* 1 models"),
        ({"images": LARGE}, ValueError, "images: .*255"),
        ({"images": IMAGES * 2 - 1, "objective": Spanned()}, ValueError, "images: .*-1 to 1"),
        ({"images": IMAGES.double()}, ValueError, "model: .*float64"),
        ({"images": IMAGES[..., :3]}, ValueError, r"model: .*\(1, 4, 3\)"),
        ({"objective": lambda x, y: x - y}, ValueError, "objective: .*TypeError"),
        ({"objective": lambda model, images: model(images, 0)}, ValueError, "objective: .*itself"),
        ({"objective": lambda model, x: model(x).mean()}, ValueError, "objective: .*per example"),
        ({"objective": lambda model, images: None}, ValueError, "objective: .*NoneType"),
    ],
)
def test_bad_input_is_refused_before_the_first_step(tmp_path, changes, error, message):
    given = {"models": build(), "images": IMAGES, "steps": 10, **changes}
    before = copy.deepcopy(given["models"])
    with pytest.raises(error, match=message):
        ae.fit(**given, checkpoint=tmp_path / "run.pt")
    if isinstance(before, nn.Module):
        assert same(given["models"], before)
    assert not (tmp_path / "run.pt").exists()


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (LABELS[:-1], ValueError),
        (LABELS.float(), TypeError),
        (LABELS.tolist(), ValueError),
        (LABELS + (torch.arange(40) == 38), ValueError),  # one out of range
        (LABELS - 1 * (torch.arange(40) == 21), ValueError),
        (None, ValueError),
    ],
)
def test_bad_labels_are_refused_before_the_first_step(labels, error):
    listed = classifiers()
    before = copy.deepcopy(listed)
    with pytest.raises(error, match="labels"):
        ae.fit(listed, IMAGES, objective=ae.objectives.classify, labels=labels, steps=2)
    assert same(listed, before)


def test_one_image_a_step_is_enough_but_for_batch_statistics():
    def flat():
        layers = nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 16), nn.Unflatten(1, (1, 4, 4))
        return nn.Sequential(*layers)

    for images, batch_size in ((IMAGES[:1], 64), (IMAGES, 1), (IMAGES[:1], None)):
        settings = {"steps": 2, "batch_size": batch_size}
        assert ae.fit(seeds(), images, **settings).loss.shape == (2, 2)
        assert ae.fit(norms(), images, **settings).stopped == "finished"
        model = flat()
        before = copy.deepcopy(model)
        with pytest.raises(ValueError, match="batch_size: expected 2 or more images a step"):
            ae.fit(model, images, **settings)
        assert same(model, before)
    assert ae.fit(flat(), IMAGES, steps=2, batch_size=2).stopped == "finished"


@pytest.mark.parametrize("smallest", [1, 2])
def test_the_dry_run_leaves_no_trace(smallest):
    """Modes, buffers and the global generator, whatever the model and the objective draw."""

    def drawing(model, images):
        return ae.objectives.copy(model, images + 0.1 * torch.randn_like(images))

    model = nn.Sequential(*norms(1)[0], nn.Dropout())
    model[1].eval()
    modes, state = [module.training for module in model.modules()], weights(model)
    generator = torch.get_rng_state()
    dry_run(drawing, model, IMAGES, smallest=smallest)
    assert [module.training for module in model.modules()] == modes
    assert all(map(torch.equal, weights(model), state))
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.skipif(torch.cuda.is_available(), reason="half precision works on a GPU")
def test_half_precision_without_a_gpu():
    model, before = twins()
    with pytest.raises(ValueError, match=r"precision: .*'fp16' on cpu"):
        ae.fit(model, IMAGES, steps=1, precision="fp16")
    assert same(model, before)


class InPlace(nn.Module):
    """Shifts its images themselves, which are the target as well."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, images):
        images.sub_(0.5)
        return self.layer(images.flatten(1)).view_as(images)


def test_a_model_that_changes_its_images_in_place_is_refused():
    images, model = IMAGES.clone(), InPlace()
    for scope in (torch.inference_mode(False), torch.inference_mode()):
        with scope, pytest.raises(ValueError, match="only reads the images, got one that changes"):
            ae.fit(model, images, steps=1, batch_size=None)
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("name", ["vmap", "resume"])
def test_a_word_for_a_switch_is_refused(name):
    with pytest.raises(TypeError, match=f"{name}: expected True"):
        ae.fit(build(), IMAGES, steps=1, **{name: "no"})


def test_a_dry_run_leaves_buffers_as_they_were():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 16)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, images):
            self.calls += 1
            return self.layer(images.flatten(1)).view_as(images)

    model = Counting()
    dry_run(ae.objectives.copy, model, IMAGES)
    assert float(model.calls) == 0


def test_what_changes_images_in_training_alone_is_seen_as_well():
    model = nn.Sequential(nn.Dropout(0.5, inplace=True), nn.Flatten(), nn.Linear(16, 16))
    model.append(nn.Unflatten(1, (1, 4, 4)))
    with pytest.raises(ValueError, match="only reads the images, got one that changes"):
        ae.fit(model, IMAGES, steps=1)


def test_an_expanded_buffer_that_nothing_changes_is_no_matter():
    model = build()
    model.register_buffer("scale", torch.ones(1).expand(64))
    ae.fit(model, IMAGES, steps=1)
