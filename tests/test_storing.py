"""Storing: many nets iterated as one map end where each of them ends alone, on every device."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from aelib import data, measures, runtime
from aelib.experiments import copier_and_denoiser, storing, two_clocks

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


def test_nets_are_compared_where_they_miss_as_much():
    missed = np.array([[1e-2, 1e-4, 1e-6], [1e-2, 5e-3, 2e-3], [5e-4, 1e-4, 1e-5]])
    recall = np.array([[0.0, 0.8, 1.0], [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]])
    there, found = storing.at_fit({"missed": missed, "H": recall})
    # Half-way between two records by the logarithm; never reached; passed before the first record.
    assert there == pytest.approx([1e-3, 2e-3, 5e-4])
    assert found == pytest.approx([0.4, 0.3, 0.5])


def test_a_clock_that_never_strikes_gives_its_last_step():
    reached = np.array([[False, True, True], [False, False, False]])
    assert two_clocks.first_time(reached, [1, 10, 100]).tolist() == [10, 100]


def test_a_net_that_passes_on_more_than_it_gets_has_a_break_even_all_the_same():
    images = DIGITS.test[:4]
    twice = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64, bias=False))
    torch.nn.init.eye_(twice[1].weight).data.mul_(2)
    net = torch.nn.Sequential(*twice, torch.nn.Unflatten(1, (1, 8, 8)))
    assert copier_and_denoiser.break_even([net], images, [0.01]) == [1.0]
