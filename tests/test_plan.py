"""training: what cannot work is refused before the first step, and leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from trainees import IMAGES, LABELS, build, classifiers, norms, same, seeds, twins, weights

import aelib as ae
from aelib.training.dry_run import dry_run


def bad(value):
    images = IMAGES.clone()
    images[3, 0, 1, 2] = value
    return images


def in_inference_mode():
    with torch.inference_mode():
        return build()


class Spanned:
    span = (0.0, 1.0)

    def __call__(self, model, images):
        return ae.objectives.copy(model, images)


META = build().to("meta")
LAZY = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.Unflatten(1, (1, 4, 4)))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: .* 0"),
        ({"batch_size": 0}, ValueError, "batch_size: .* 0"),
        ({"lr": -1.0}, ValueError, "lr"),
        ({"lr": "1e-3"}, TypeError, "lr"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"ema": 1.5}, ValueError, "ema"),
        ({"schedule": "cosin"}, ValueError, "schedule: .* did you mean 'cosine'"),
        ({"optimizer": "adan"}, ValueError, "optimizer: .* did you mean 'adam'"),
        ({"optimizer": 3}, TypeError, "optimizer: .* callable"),
        ({"precision": "bf61"}, ValueError, "precision: .* did you mean 'bf16'"),
        ({"device": "gpu"}, ValueError, "device: expected"),
        ({"device": "meta"}, ValueError, "device: .* 'meta'"),
        ({"log_at": 0}, ValueError, "log_at"),
        ({"log_at": [5, 11]}, ValueError, r"log_at: expected 10 or less \(steps\)"),
        ({"log_at": [0.5]}, TypeError, "log_at"),
        ({"metrics": {"x": 3}}, TypeError, r"metrics\['x'\]: expected a callable"),
        ({"metrics": {"loss": float}}, ValueError, "metrics: .*taken"),
        ({"callback": 3}, TypeError, "callback: expected a callable"),
        ({"objective": "copy"}, TypeError, "objective: .* such as ae.objectives.copy, got 'copy'"),
        ({"models": []}, TypeError, "models: expected a torch.nn.Module, or a list"),
        ({"models": [build(), 3]}, TypeError, "models"),
        ({"models": [build()] * 2}, ValueError, "models: .* got one model twice"),
        ({"models": nn.Identity()}, ValueError, "models: .* got Identity without"),
        ({"models": LAZY}, ValueError, "models: .*lazy"),
        ({"models": META}, ValueError, "models: .*meta"),
        ({"models": in_inference_mode()}, ValueError, "models: .*inference_mode"),
        ({"models": nn.Conv2d(1, 2, 1)}, ValueError, "model: .* shape"),
        ({"models": build(gain=1e30)}, ValueError, "model: expected a finite loss before any"),
        ({"images": [IMAGES, IMAGES]}, ValueError, "images: .* 1 models, got 2 of them"),
        ({"images": bad(float("nan"))}, ValueError, r"images: .*\[3, 0, 1, 2\]"),
        ({"images": bad(255.0)}, ValueError, "images: .* images / 255"),
        ({"images": IMAGES * 2 - 1, "objective": Spanned()}, ValueError, r"images: .*\(images \+"),
        ({"images": IMAGES.double()}, ValueError, "model: .* torch.float64"),
        ({"images": torch.rand(5, 1, 6, 6)}, ValueError, r"model: .* images \(1, 6, 6\)"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*[Ll]azy")
def test_bad_input_is_refused_before_the_first_step(tmp_path, changes, error, message):
    given = {"models": build(), "images": IMAGES, "steps": 10, **changes}
    models, images = given.pop("models"), given.pop("images")
    listed = models if isinstance(models, list) else [models]
    usable = [model for model in listed if isinstance(model, nn.Module)]
    usable = [model for model in usable if model is not LAZY and model is not META]
    before = [weights(model) for model in usable]
    with pytest.raises(error, match=message):
        ae.fit(models, images, **given, checkpoint=tmp_path / "run.pt")
    for model, old in zip(usable, before, strict=True):
        assert all(map(torch.equal, weights(model), old))
    assert not (tmp_path / "run.pt").exists()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (LABELS[:-1], ValueError, r"labels: expected 40 whole numbers, .* \(39,\)"),
        (LABELS.float(), TypeError, r"labels: .* use labels.long\(\)"),
        (LABELS.tolist(), ValueError, "labels: .* 2 models, got 40 of them"),
        (LABELS + (torch.arange(40) == 38), ValueError, "labels: .* 0 to 2"),
        (LABELS - 1 * (torch.arange(40) == 21), ValueError, "labels: .* -1 to 2"),
        (None, ValueError, "labels"),
    ],
)
def test_bad_labels_are_refused_before_the_first_step(labels, error, message):
    listed = classifiers()
    before = copy.deepcopy(listed)
    with pytest.raises(error, match=message):
        ae.fit(listed, IMAGES, objective=ae.objectives.classify, labels=labels, steps=2)
    assert same(listed, before)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda x, y: (x - y).square().mean((1, 2, 3)), r"objective: .* \(model, images\).*Type"),
        (lambda model, images: model(images, 0), "objective: .* by itself takes these images"),
        (lambda model, images: model(images).mean(), r"one loss per example, shape \(2,\), got"),
        (lambda model, images: None, "one loss per example.* got NoneType"),
        (lambda model, images: (model(images) / 0).mean((-3, -2, -1)), "model: .* finite loss"),
        (ae.objectives.classify, "labels"),
    ],
)
def test_an_objective_that_does_not_fit_is_refused(objective, message):
    model, before = twins()
    with pytest.raises(ValueError, match=message):
        ae.fit(model, IMAGES, objective=objective, steps=2)
    assert same(model, before)


def test_images_of_one_and_batches_of_one():
    for images, batch_size in ((IMAGES[:1], 64), (IMAGES, 1), (IMAGES[:1], None)):
        assert ae.fit(seeds(), images, steps=2, batch_size=batch_size).loss.shape == (2, 2)
    assert ae.fit(norms(), IMAGES[:1], steps=2).stopped == "finished"


def test_one_image_under_batch_statistics_is_refused():
    def model():
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 16),
                             nn.Unflatten(1, (1, 4, 4)))  # fmt: skip

    for images, batch_size in ((IMAGES[:1], 64), (IMAGES, 1)):
        listed = [model(), model()]
        before = copy.deepcopy(listed)
        with pytest.raises(ValueError, match="batch_size: expected 2 or more images a step"):
            ae.fit(listed, images, steps=2, batch_size=batch_size)
        assert same(listed, before)
    assert ae.fit(model(), IMAGES, steps=2, batch_size=2).stopped == "finished"


@pytest.mark.parametrize("smallest", [1, 2])
def test_the_dry_run_leaves_no_trace(smallest):
    """Modes, buffers and the global generator, whatever the model and the objective draw."""

    def drawing(model, images):
        return ae.objectives.copy(model, images + 0.1 * torch.randn_like(images))

    model = nn.Sequential(*norms(1)[0], nn.Dropout())
    model[1].eval()
    before, state = [module.training for module in model.modules()], weights(model)
    generator = torch.get_rng_state()
    dry_run(drawing, model, IMAGES, smallest=smallest)
    assert [module.training for module in model.modules()] == before
    assert all(map(torch.equal, weights(model), state))
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.skipif(torch.cuda.is_available(), reason="half precision works on a GPU")
def test_half_precision_without_a_gpu():
    with pytest.raises(ValueError, match=r"precision: .* 'fp16' on cpu"):
        ae.fit(build(), IMAGES, steps=1, precision="fp16")
