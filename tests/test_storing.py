"""Storing: many nets iterated as one map end where each of them ends alone, on every device."""

from __future__ import annotations

import copy

import pytest
import torch

from aelib import data, measures, runtime
from aelib.experiments import storing

DIGITS = data.load("digits")
SETS = [DIGITS.take(n, seed=seed).train for n, seed in ((4, 0), (4, 1), (4, 2))]
STARTS = DIGITS.test[:12]


@pytest.fixture(scope="module")
def nets():
    """Three nets that store a part: the first the most, the last nothing."""
    trained = storing.build(SETS, width=64, depth=3)
    for net, images, steps in zip(trained, SETS, (300, 150), strict=False):
        storing.fit([net], [images], steps=steps, batch_size=4, device="cpu")
    return trained


def alone(nets) -> torch.Tensor:
    recall = [
        measures.memory(net, own, STARTS, times=80) for net, own in zip(nets, SETS, strict=True)
    ]
    return torch.stack([each.recalled.float().mean() for each in recall])


def test_nets_iterated_as_one_recall_what_each_recalls_alone(nets):
    together = storing.recalled(nets, SETS, STARTS, times=80)
    torch.testing.assert_close(together, alone(nets))
    assert together[0] > 0.5 > together[2]  # or equal would say nothing


def test_maps_that_are_no_nets_are_iterated_too():
    projections = measures.pca_filter(SETS)
    assert storing.recalled(projections, SETS, STARTS, times=5).tolist() == [0, 0, 0]


@pytest.mark.gpu
def test_on_a_gpu_the_same_is_recalled_to_rounding(nets):
    there = [copy.deepcopy(net).to(runtime.device()) for net in nets]
    sets = [images.to(runtime.device()) for images in SETS]
    found = storing.recalled(there, sets, STARTS.to(runtime.device()), times=80)
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, alone(nets), atol=1.01 / len(STARTS), rtol=0)
    missed = storing.missed(there, sets)
    torch.testing.assert_close(
        torch.from_numpy(missed), torch.from_numpy(storing.missed(nets, SETS)), rtol=1e-3, atol=0
    )
