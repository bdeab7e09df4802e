"""`fit` on a GPU: what it gives there beside what it gives on a CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from trainees import IMAGES, near, same, seeds, ways

import aelib as ae
from aelib import runtime

pytestmark = pytest.mark.gpu

HOW = {"steps": 20, "batch_size": 16, "lr": 0.01, "log_at": 4}


@ways
def test_a_gpu_learns_what_a_cpu_learns_and_gives_the_models_back(vmap):
    there, here = seeds(), seeds()
    history = ae.fit(there, IMAGES, vmap=vmap, **HOW)
    expected = ae.fit(here, IMAGES, vmap=vmap, device="cpu", **HOW)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-2)
    assert near(there, here, 0.05)
    assert {value.device.type for model in there for value in model.parameters()} == {"cpu"}


def test_images_and_models_may_be_on_the_gpu():
    here = seeds()
    there = copy.deepcopy(here)
    for model in there:
        model.to(runtime.device())
    ae.fit(there, IMAGES.to(runtime.device()), **HOW)
    assert all(value.is_cuda for model in there for value in model.parameters())
    ae.fit(here, IMAGES, **HOW)
    for model in there:
        model.cpu()
    assert near(there, here, 1e-3)


@ways
def test_metrics_and_callback_see_the_models_where_their_data_is(vmap):
    there, here, seen = seeds(), seeds(), []
    how = {**HOW, "vmap": vmap, "metrics": {"error": lambda net: (net(IMAGES) - IMAGES).norm()}}
    history = ae.fit(
        there, IMAGES, callback=lambda now: seen.append(now["models"][0](IMAGES)), **how
    )
    expected = ae.fit(here, IMAGES, device="cpu", **how)
    np.testing.assert_allclose(history.metrics["error"], expected.metrics["error"], rtol=1e-2)
    assert len(seen) == len(history.steps)
    assert near(there, here, 0.05)  # and the training went on from where it was


def test_stacked_transformers_learn_on_a_gpu():
    images, labels = torch.rand(16, 3, 32, 32), torch.arange(16) % 4
    nets = ae.models.replicate(lambda: ae.models.SmallViT((3, 32, 32), 4), 3)
    how = {"objective": ae.objectives.classify, "vmap": True, "steps": 150, "lr": 1e-3}
    loss = ae.fit(nets, images, labels=labels, log_at=[1], **how).loss
    assert (loss[:, -1] < loss[:, 0] / 2).all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_on_a_gpu_learns_about_the_same(precision):
    full, mixed = seeds(), seeds()
    losses = [
        ae.fit(models, IMAGES, precision=how, **HOW).loss
        for models, how in ((full, "no"), (mixed, precision))
    ]
    np.testing.assert_allclose(*losses, rtol=0.1)
    assert not same(mixed, full)


def test_a_training_on_a_gpu_goes_on_from_its_checkpoint(tmp_path):
    through, halves, how = seeds(), seeds(), {**HOW, "ema": 0.9}
    ae.fit(through, IMAGES, **how)
    path = tmp_path / "half.pt"
    ae.fit(halves, IMAGES, checkpoint=path, **{**how, "steps": 10})
    ae.fit(halves, IMAGES, checkpoint=path, resume=True, **how)
    assert near(halves, through, 1e-4)
    assert torch.load(path, map_location="cpu", weights_only=True)
