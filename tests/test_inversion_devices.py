"""`invert` as it runs on a GPU: its logic on a CPU through stand-ins, and itself where one is."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from aelib import random, runtime
from aelib.inversion import Blur, Pixels, Recipe, cuda, invert, tracking

IMAGES = torch.rand(3, 3, 8, 8, generator=random.generator(0))
EQUAL = ("images", "m_g", "m_r", "m_i", "iterations")
HOW = {"seeds": 2, "steps": 25}


def net(device="cpu"):
    with random.seeded(0):
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 4, 3), nn.Tanh()
        ).to(device)  # fmt: skip


def assert_same(one, other, names=EQUAL, **close):
    for name in names:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), **close)
    assert one.stopped == other.stopped


@pytest.fixture
def asynchronous(monkeypatch):
    """A CPU that is taken for a device whose answers must be waited for; how often it was asked."""
    asked = []

    class Late:
        """Arrives when it is asked for the third time."""

        def __init__(self, value):
            self.value, self.times = value.clone(), 0
            asked.append(self)

        def arrived(self):
            self.times += 1
            return self.times == 3

    monkeypatch.setattr(cuda, "AsyncCopy", Late)
    monkeypatch.setattr(runtime, "is_cpu", lambda device: False)
    return asked


# --- Stopping without waiting --------------------------------------------------------------------


def test_a_batch_that_is_not_asked_to_wait_finds_the_same(monkeypatch, asynchronous):
    late = invert(net(), IMAGES, "3", until=0.5, **HOW)["3"]
    assert len(asynchronous) > 1
    monkeypatch.undo()
    at_once = invert(net(), IMAGES, "3", until=0.5, **HOW)["3"]
    assert "reached" in {word for row in late.stopped for word in row}
    assert len(at_once.iterations.unique()) > 1  # so that rows did leave the batch
    assert_same(late, at_once, rtol=1e-3, atol=1e-5)


def test_it_stops_a_few_steps_after_the_last_run(asynchronous):
    steps, model = [], net()
    model.register_forward_pre_hook(lambda *_: steps.append(1))
    found = invert(model, IMAGES, "3", until=1.0, steps=400, batch_size=3)["3"]
    assert {word for row in found.stopped for word in row} == {"reached"}
    assert len(steps) < int(found.iterations.max()) + 20 < 200
    every_fourth = [one.times for one in asynchronous[:-1]]
    assert every_fourth == [3] * len(every_fourth)
    assert not asynchronous[-1].value  # the answer that ended it


def test_a_run_that_ended_is_not_touched_again():
    runs = tracking.Runs(2, IMAGES)
    best = tracking.Best(IMAGES[:2], least=False)
    no, finite, one = torch.tensor([False] * 2), torch.tensor([True] * 2), torch.ones(2)
    runs.update(torch.tensor([True, False]), no, finite, last=False)
    best.update(runs, IMAGES[1:], one, one, no)
    runs.update(no, no, finite, last=True)
    assert torch.equal(best.images, torch.stack([IMAGES[0], IMAGES[2]]))
    assert runs.iterations.tolist() == [1, 2]
    assert runs.stopped() == ["reached", "steps"]


@pytest.mark.parametrize("value", [torch.tensor(True), torch.arange(3.0)])
def test_a_copy_on_a_cpu_has_arrived(value):
    copy = cuda.AsyncCopy(value)
    assert copy.arrived()
    assert torch.equal(copy.value, value)
    assert copy.value.data_ptr() != value.data_ptr()


# --- The step as one graph -----------------------------------------------------------------------


class Recorder:
    """torch.cuda's part of a graph on a CPU: it runs the step again on the very same memory."""

    step = args = results = None  # what the graph recorded

    def replay(self):
        again = Recorder.step(*Recorder.args)
        for into, new in zip(Recorder.results, again, strict=True):
            for key in new if isinstance(new, dict) else [...]:
                into[key].copy_(new[key])


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorder)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    stream = type("Stream", (), {"wait_stream": lambda self, other: None})
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    plain = cuda.cuda_graph

    def watched(step, warm=3):
        def noting(*args):
            Recorder.step, Recorder.args, Recorder.results = step, args, step(*args)
            return Recorder.results

        return plain(noting, warm)

    monkeypatch.setattr(cuda, "cuda_graph", watched)


def test_a_replayed_step_is_the_step(recorded):
    def step(state, aim):
        point = 2 * state["point"] + aim["target"]
        return {"point": point, "n": state["n"] + 1}, point.sum(1)

    again, state = cuda.cuda_graph(step), {"point": torch.ones(2, 3), "n": torch.zeros(2)}
    expected, aim = dict(state), {"target": torch.arange(3.0)}
    for _ in range(4):
        state, total = again(state, aim)
        expected, plain = step(expected, aim)
        assert torch.equal(total, plain)
        assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(parameterization=Pixels(), keep_best=False)])
def test_an_inversion_replayed_as_graphs_finds_the_same(
    monkeypatch, asynchronous, recorded, recipe
):
    how = {"recipe": recipe, "until": 0.5, **HOW}
    one, other = (invert(net(), IMAGES, "3", cuda_graphs=g, **how)["3"] for g in (True, False))
    assert_same(one, other, rtol=0, atol=0)


def test_graphs_cannot_hold_what_comes_after_a_step(asynchronous):
    recipe = Recipe(parameterization=Pixels(), after_step=Blur())
    with pytest.raises(ValueError, match=r"cuda_graphs: .*without `after_step`"):
        invert(net(), IMAGES, "3", recipe=recipe, cuda_graphs=True)


# --- Compiled ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own, about torch
@pytest.mark.parametrize("layer", ["3", "output"])
def test_a_compiled_model_finds_the_same(monkeypatch, layer):
    compiled, plain = [], torch.compile

    def compile_anywhere(model):
        compiled.append(model)
        return plain(model, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_anywhere)
    one = invert(net(), IMAGES, layer, compiled=True, **HOW)[layer]
    assert len(compiled) == 1
    assert_same(one, invert(net(), IMAGES, layer, **HOW)[layer], rtol=0, atol=0)


# --- On a GPU ------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("how", [{}, {"cuda_graphs": True}, {"compiled": True}, {"until": 0.5}])
def test_a_gpu_finds_what_a_cpu_finds(how):
    expected = invert(net(), IMAGES, "3", **HOW, until=how.get("until"))["3"]
    model = net(runtime.device())
    found = invert(model, IMAGES, "3", **{**HOW, **how})["3"]
    assert not found.images.is_cuda
    assert_same(found, expected, ("m_r",), rtol=1e-3, atol=1e-4)
    assert torch.allclose(found.images, expected.images, atol=0.05)
    assert next(model.parameters()).is_cuda


@pytest.mark.gpu
def test_a_copy_from_a_gpu_arrives():
    value = torch.ones(4, device=runtime.device())
    copy = cuda.AsyncCopy(value)
    torch.cuda.synchronize()
    assert copy.arrived()
    assert copy.value.tolist() == [1] * 4
    assert copy.value.is_pinned()
