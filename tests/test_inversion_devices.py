"""`invert` as it runs on a GPU: its logic on a CPU through stand-ins, and itself where one is."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from aelib import models, random, runtime
from aelib.inversion import Adam, Blur, Pixels, Recipe, TotalVariation, cuda, invert, tracking

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
    no, one = torch.tensor([False] * 2), torch.ones(2)
    runs.update({"stalled": no, "reached": torch.tensor([True, False])}, last=False)
    best.update(runs, IMAGES[1:], one, one, no)
    runs.update({"stalled": no, "reached": no}, last=True)
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


class Graph:
    """torch.cuda.CUDAGraph on a CPU: it runs the step it recorded again on the very same memory."""

    capturing = None

    def __enter__(self):
        Graph.capturing = self

    def __exit__(self, *_):
        Graph.capturing = None

    def record(self, step, args):
        self.step, self.args, self.results = step, args, step(*args)
        return self.results

    def replay(self):
        again = self.step(*self.args)
        for into, new in zip(self.results, again, strict=True):
            for key in new if isinstance(new, dict) else [...]:
                into[key].copy_(new[key])


@pytest.fixture
def recorded(monkeypatch):
    """A CPU that records and replays; the graphs it made."""
    graphs, plain = [], cuda.cuda_graph

    def make():
        graphs.append(Graph())
        return graphs[-1]

    def watched(step, warm=3):
        def noting(*args):
            graph = Graph.capturing
            return step(*args) if graph is None else graph.record(step, args)

        return plain(noting, warm)

    stream = type("Stream", (), {"wait_stream": lambda self, other: None})
    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: graph)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    monkeypatch.setattr(cuda, "cuda_graph", watched)
    return graphs


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


RECIPES = [
    Recipe(),
    Recipe(parameterization=Pixels(), keep_best=False),
    Recipe(parameterization=Pixels(), optimizer=Adam(0.05), regularizer=TotalVariation(0.1)),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_inversion_replayed_as_graphs_finds_the_same(asynchronous, recorded, recipe):
    how = {"recipe": recipe, "until": 0.5, "batch_size": 4, "forward": models.imagenet, **HOW}
    one, other = (invert(net(), IMAGES, ["0", "3"], cuda_graphs=g, **how) for g in (True, False))
    assert len(recorded) == 4  # one for each layer and batch
    for layer in one:
        assert_same(one[layer], other[layer], rtol=0, atol=0)


class Full(nn.Module):
    """Has memory for three images; for the targets of more, but not for a step with them."""

    more = 0

    def forward(self, images):
        self.more += len(images) > 3
        if self.more > 2:
            self.more = 2
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return images.clone()


def test_a_batch_that_does_not_fit_is_split_and_recorded_anew(asynchronous, recorded):
    model, whole = nn.Sequential(Full(), *net()), nn.Sequential(nn.Identity(), *net())
    split = invert(model, IMAGES, "4", cuda_graphs=True, **HOW)["4"]
    assert [len(graph.args[0]["point"]) for graph in recorded] == [3, 3]
    assert_same(split, invert(whole, IMAGES, "4", **HOW)["4"], rtol=1e-3, atol=1e-5)


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
@pytest.mark.filterwarnings("ignore::UserWarning")  # what torch.compile says of itself
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
@pytest.mark.parametrize("recipe", RECIPES)
def test_graphs_on_a_gpu_find_what_single_steps_find(recipe):
    how = {"recipe": recipe, "until": 0.5, "batch_size": 4, "forward": models.imagenet, **HOW}
    model = net(runtime.device())
    one, other = (invert(model, IMAGES, ["0", "3"], cuda_graphs=g, **how) for g in (True, False))
    for layer in one:
        assert_same(one[layer], other[layer], ("images", "m_g", "m_r"), rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
def test_a_gpu_stops_soon_after_the_last_run():
    steps, model = [], net(runtime.device())
    model.register_forward_pre_hook(lambda *_: steps.append(1))
    found = invert(model, IMAGES, "3", until=1.0, steps=5000, batch_size=3)["3"]
    assert {word for row in found.stopped for word in row} == {"reached"}
    assert len(steps) < int(found.iterations.max()) + 500  # the queue in front of the device


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_bf16_on_a_gpu_comes_near_float32(cuda_graphs):
    model, how = net(runtime.device()), {"cuda_graphs": cuda_graphs, **HOW}
    full, half = (invert(model, IMAGES, "3", precision=p, **how)["3"] for p in ("no", "bf16"))
    assert half.images.dtype == torch.float32
    assert not torch.equal(full.m_r, half.m_r)
    assert torch.allclose(full.m_r, half.m_r, rtol=0.1)
    assert torch.allclose(full.images, half.images, atol=0.1)
    assert (half.m_g < half.m_r).all()


class Wide(nn.Module):
    """Features that need far more memory than their images; how many came at once."""

    def __init__(self):
        super().__init__()
        self.scales = nn.Parameter(torch.linspace(0.5, 2, 64)[:, None, None])
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return (images[:, :, None] * self.scales).tanh().flatten(1, 2)


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_a_gpu_is_split():
    images, how = torch.rand(16, 3, 64, 64), {"steps": 5, "batch_size": 16}
    whole = invert(Wide().to(runtime.device()), images, **how)["output"]
    model = Wide().to(runtime.device())
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 2**27  # some five rows; the whole batch needs 400 MB
    total = torch.cuda.get_device_properties(model.scales.device).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        split = invert(model, images, **how)["output"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert max(model.sizes) == 16 > model.sizes[-1]
    assert_same(split, whole, ("images", "m_g", "m_r"), rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
def test_a_copy_from_a_gpu_arrives():
    value = torch.ones(4, device=runtime.device())
    copy = cuda.AsyncCopy(value)
    torch.cuda.synchronize()
    assert copy.arrived()
    assert copy.value.tolist() == [1] * 4
    assert copy.value.is_pinned()


def test_convolutions_run_in_whole_float32_while_a_model_is_read():
    allowed = []

    class Watched(nn.Conv2d):
        def forward(self, input):
            allowed.append(torch.backends.cudnn.allow_tf32)
            return super().forward(input)

    before = torch.backends.cudnn.allow_tf32
    invert(nn.Sequential(Watched(3, 4, 3)), IMAGES, "0", steps=2)
    assert before
    assert allowed
    assert not any(allowed)
    assert torch.backends.cudnn.allow_tf32 == before
