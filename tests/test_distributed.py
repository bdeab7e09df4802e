"""training: device and precision of each call, and several processes that train as one."""

from __future__ import annotations

import itertools
import os
import socket

import numpy as np
import torch
from trainees import FEW, IMAGES, LABELS, classifiers, counted, near, same, seeds, weights

import aelib as ae


def test_precision_is_this_calls_own():
    results = []
    for precision in ("no", "bf16", "no", "bf16"):
        model = seeds(1)[0]
        settings = {"steps": 5, "batch_size": FEW, "lr": 0.01}
        ae.fit(model, IMAGES, precision=precision, device="cpu", **settings)
        results.append(model)
    assert same(results[0], results[2])
    assert same(results[1], results[3])
    assert not same(results[0], results[1])
    assert near(results[0], results[1], 0.05)  # bf16 keeps three digits
    assert all(value.dtype == torch.float32 for value in weights(results))


def test_low_precision_for_seeds_as_one_graph():
    alone, listed = seeds(), seeds()
    for models, vmap in ((alone, False), (listed, True)):
        ae.fit(models, IMAGES, steps=5, batch_size=FEW, precision="bf16", vmap=vmap)
    assert near(alone, listed, 0.01)


EMA = {"ema": 0.9, "schedule": "linear", "clip": 0.05}


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

    def note(losses, call):
        sizes.update([losses.shape[-1]] if call else [])
        return losses

    objective = counted([], note)
    for vmap in (False, True):
        settings = {"batch_size": 8, "vmap": vmap, "checkpoint": folder / f"{vmap}.pt"}
        settings["objective"] = objective
        ae.fit(seeds(), IMAGES, steps=4, **settings)
        resumed = seeds()
        history = ae.fit(resumed, IMAGES, steps=9, resume=True, **settings)
        torch.save([weights(resumed), history.loss[:, -1], sizes], folder / f"{vmap}.{rank}")
    for batch_size in (8, None):
        listed = classifiers()
        settings = {"objective": ae.objectives.classify, "labels": LABELS, **EMA}
        ae.fit(listed, IMAGES, steps=5, batch_size=batch_size, **settings)
        torch.save(weights(listed), folder / f"labels {batch_size}.{rank}")
    try:
        ae.fit(seeds(), IMAGES, steps=1, batch_size=7)
    except ValueError as error:
        (folder / f"error.{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    """Each takes half of every batch; the sums come in another order, no more."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    torch.multiprocessing.spawn(train_in_a_process, (port, tmp_path), 2)
    alone = seeds()
    history = ae.fit(alone, IMAGES, steps=9, batch_size=8, log_at=9)

    def close(values, models):
        pairs = zip(values, weights(models), strict=True)
        return all(torch.allclose(mine, its, rtol=0, atol=1e-5) for mine, its in pairs)

    for vmap, rank in itertools.product((False, True), (0, 1)):
        values, losses, sizes = torch.load(tmp_path / f"{vmap}.{rank}", weights_only=False)
        assert sizes == {4}
        assert close(values, alone)
        np.testing.assert_allclose(losses, history.loss[:, -1], rtol=1e-4)
        error = (tmp_path / f"error.{rank}").read_text()
        assert error == "batch_size: expected a multiple of 2, the processes that share it, got 7"
    for batch_size, rank in itertools.product((8, None), (0, 1)):
        alone = classifiers()
        settings = {"objective": ae.objectives.classify, "labels": LABELS, **EMA}
        ae.fit(alone, IMAGES, steps=5, batch_size=batch_size, **settings)
        assert close(torch.load(tmp_path / f"labels {batch_size}.{rank}"), alone)
