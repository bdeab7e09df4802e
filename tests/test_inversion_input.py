"""What `invert` and `layers` refuse, before the first iteration, and what they get along with."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import random
from aelib.inversion import Blur, Pixels, Recipe, features, invert, layers

IMAGES = torch.rand(2, 3, 8, 8, generator=random.generator(0))


class Counted(nn.Module):
    """A net around a part; `times` it was called."""

    def __init__(self, part=None):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.part = part or nn.Identity()
        self.times = 0

    def forward(self, images):
        self.times += 1
        return self.part(self.first(images))


class Plain(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def refused(error, match, net=None, images=IMAGES, layer="first", **how):
    """It raises, and no iteration was begun: neither a record nor more than a look at the net."""
    net, begun = net or Counted(), []
    how.setdefault("callback", lambda info: begun.append(1))
    with pytest.raises(error, match=match):
        invert(net, images, layer, **{"steps": 50, **how})
    assert not begun
    assert getattr(net, "times", 0) <= 6  # four to look at the layers, two for what is aimed at


@pytest.mark.parametrize(("images", "error", "match"), [
    (IMAGES[0], ValueError, r"images: expected .* for one image use images\[None\]"),
    (IMAGES * 255, ValueError, "images: .* use images / 255"),
    (IMAGES * 3 - 1, ValueError, r"images: expected values in \[0, 1\], .* `forward` normalize"),
    (IMAGES.double(), TypeError, "images: expected torch.float32, as the first of"),
    (IMAGES.half(), TypeError, "images: expected a float32 or float64"),
    (IMAGES[:, :1], ValueError, r"cannot take images of shape \(1, 8, 8\) .*channels"),
])  # fmt: skip
def test_images_it_cannot_take(images, error, match):
    refused(error, match, images=images)
    with pytest.raises(error, match=match):
        layers(Counted(), images)
    if "values in" not in match and "255" not in match:  # features of any values are read
        with pytest.raises(error, match=match):
            features(Counted(), images, "first")


@pytest.mark.parametrize(("how", "error", "match"), [
    ({"layer": "frist"}, ValueError, "layers: .* did you mean 'first'"),
    ({"layer": []}, ValueError, "layers: expected at least one"),
    ({"layer": ["first", "first"]}, ValueError, "layers: .*each once"),
    ({"layer": None}, TypeError, "layers: expected a name"),
    ({"steps": 0}, ValueError, "steps"),
    ({"recipe": "bager2022"}, ValueError, "recipe: .*did you mean 'badger2022'"),
    ({"recipe": 3}, TypeError, "recipe: .* or a Recipe"),
    ({"recipe": Recipe(after_step=Blur())}, ValueError, r"recipe: .*Pixels\(\)"),
    ({"recipe": Recipe(loss=lambda y, t: (y - t).square().mean())}, ValueError,
     r"recipe: expected a loss that gives one value a row, \(2,\)"),
    ({"seeds": [1, 1]}, ValueError, "seeds: expected each once"),
    ({"seeds": []}, ValueError, "seeds: expected how many"),
    ({"seeds": True}, TypeError, "seeds"),
    ({"until": 0}, ValueError, "until"),
    ({"until": "leveled of"}, ValueError, "until: .*did you mean 'levelled off'"),
    ({"until": [1.0, 2.0]}, ValueError, "until: expected a number, 'levelled off'"),
    ({"until": []}, ValueError, "until: expected a number, 'levelled off'"),
    ({"until": {}}, TypeError, "until"),
    ({"recipe": Recipe(equalize=0.25, parameterization=Pixels())}, ValueError,
     r"recipe: .*Fourier\(\)"),
    ({"recipe": Recipe(equalize=1)}, ValueError, "equalize: .* 0.5 or less"),
    ({"recipe": Recipe(leak=2)}, ValueError, "leak: .* 1 or less"),
    ({"recipe": Recipe(leak_steps=0)}, ValueError, "leak_steps"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"log_at": 0}, ValueError, "log_at"),
    ({"log_at": [51]}, ValueError, "log_at: expected 50 or less"),
    ({"callback": 3}, TypeError, r"callback: .*callback\(info\)"),
    ({"init": IMAGES[:1]}, ValueError, r"init: expected .*\(2, 3, 8, 8\).* one set for each seed"),
    ({"init": IMAGES[None].expand(2, -1, -1, -1, -1)}, ValueError, r"init: .*\(1, 2, 3, 8, 8\)"),
    ({"precision": "fp8"}, ValueError, "precision"),
    ({"cuda_graphs": True}, ValueError, "cuda_graphs: needs a model on a CUDA device"),
    ({"forward": lambda model, images: model(images, 3)}, ValueError,
     "could not be called with images alone"),
])  # fmt: skip
def test_arguments_that_cannot_work(how, error, match):
    refused(error, match, **how)


@pytest.mark.parametrize("seeds", [1001, range(1001), list(range(1001))])
def test_more_runs_than_memory_holds_are_refused(monkeypatch, seeds):
    """A seed has an init of 768 bytes; a run 768, 8 numbers and 4 traces of 2, twice."""
    need = 1000 * (768 + 2 * 2 * (768 + 4 * (8 + 4 * 2)))
    monkeypatch.setattr(ae.runtime.memory, "free_memory", lambda device: need)
    refused(ValueError, "seeds: 2002 runs .* more than there is", seeds=seeds, log_at=[50])
    monkeypatch.setattr(ae.runtime.memory, "free_memory", lambda device: 3 * need)
    assert invert(Counted(), IMAGES, "first", seeds=2, steps=1).seeds == (0, 1)


@pytest.mark.parametrize("seeds", [10**15, range(10**15), 10**30])
def test_so_many_seeds_are_refused_before_they_are_counted_out(seeds):
    refused(ValueError, "more than there is", seeds=seeds)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.same, self.never = nn.Tanh(), nn.Linear(2, 2)

    def forward(self, images):
        return self.same(self.same(images))


class Sequence(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, images):
        rows = images.flatten(2).mT
        return self.part(rows)[0] if isinstance(self.part, nn.LSTM) else self.part(*[rows] * 3)[0]


@pytest.mark.parametrize(("part", "layer", "match"), [
    (Twice(), "part.same",
     r"'part.same' \(Tanh\) runs 2 times; can be read: 'part.same#0', 'part.same#1'$"),
    (Twice(), "part.never", "'part.never' is in the model but never runs; layers that do: 'first'"),
    (Sequence(nn.LSTM(4, 2, batch_first=True)), "part.part", "returns a tuple, not one tensor"),
    (Sequence(nn.MultiheadAttention(4, 2, batch_first=True)), "part.part", "returns a tuple"),
    (Plain(lambda y: nn.functional.dropout(y, training=True)), "part", "not the same from run to"),
    (nn.BatchNorm2d(4, track_running_stats=False), "part", "the images of a batch influence"),
    (Plain(lambda y: y.argmax(1)), "part", "returns torch.int64, not floats"),
    (Plain(lambda y: y.argmax(1).float()), "part", "passes no gradient back to the image"),
    (Plain(torch.Tensor.detach), "part", "passes no gradient back to the image"),
    (nn.Flatten(0, 2), "part", r"shape \(64, 8\), whose first axis is not the batch"),
    (Plain(torch.Tensor.sum), "part", r"shape \(\), whose first axis"),
    (Plain(lambda y: y.new_ones(2, 3, requires_grad=True)), "part", "cannot be inverted, since"),
    (Plain(lambda y: y / 0), "part", "or its gradient is not finite"),
    (Plain(lambda y: (y - y).sqrt()), "part", "or its gradient is not finite"),
    (nn.Linear(7, 2), "part", r"cannot take images of shape \(3, 8, 8\)"),
    (nn.Bilinear(4, 4, 4), "part", "if it needs more inputs, say how"),
    (nn.Sequential(nn.Threshold(99.0, 7.0), nn.Conv2d(4, 2, 3)), "part.1",
     "gives the same for x and x \\+ n, so it says nothing of x"),
])  # fmt: skip
def test_layers_that_cannot_be_inverted(part, layer, match):
    refused(ValueError, match, net=Counted(part), layer=layer)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(("make", "error", "match"), [
    (lambda: lambda images: images, TypeError, "model: expected a torch.nn.Module"),
    (lambda: torch.jit.trace(nn.Conv2d(3, 2, 3), IMAGES, check_trace=False), TypeError,
     "model: .* give the module it was made from"),
    (lambda: nn.LazyConv2d(2, 3), ValueError, "model: .*lazy"),
])  # fmt: skip
def test_a_model_that_is_none_is_refused(make, error, match):
    model = make()
    for function in (invert, layers, lambda *given: features(*given, "output")):
        with pytest.raises(error, match=match):
            function(model, IMAGES)


def test_a_model_made_in_inference_mode_works_unless_it_hides_a_tensor():
    with torch.inference_mode():
        net = Counted(nn.Sequential(nn.Flatten(), nn.Linear(256, 8)))
    found = invert(net, IMAGES, "part", steps=3)["part"]
    assert (found.m_g < found.trace["m_g"][..., 0]).all()
    with torch.inference_mode():
        hidden = torch.ones(3, 8, 8)
    refused(ValueError, r"model: expected one made outside torch.inference_mode\(\)",
            net=Plain(lambda images: images * hidden), layer="output")  # fmt: skip


def test_compiled_says_what_it_cannot_trace():
    branches = Counted(Plain(lambda y: y if y.sum() > 0 else -y))
    refused(ValueError, "model: .* torch.fx cannot trace up to 'part'", net=branches,
            layer="part", compiled=True)  # fmt: skip


def test_a_transformer_refuses_another_size():
    from torchvision.models import VisionTransformer

    net = VisionTransformer(16, 8, 1, 1, 4, 4)
    found = layers(net, torch.rand(1, 3, 16, 16))
    assert found["encoder.layers.encoder_layer_0"].shape == (5, 4)
    assert found["encoder.layers.encoder_layer_0.self_attention"].note == (
        "returns a tuple, not one tensor"
    )
    refused(ValueError, r"cannot take images of shape \(3, 8, 8\) \(Wrong image height",
            net=net, layer="encoder")  # fmt: skip


def test_more_inputs_go_in_by_forward():
    net = nn.Bilinear(8, 8, 2)
    found = invert(net, IMAGES, steps=3, forward=lambda model, x: model(x, x))["output"]
    assert (found.m_g < found.trace["m_g"][..., 0]).all()


def test_layers_lists_what_runs_in_its_order():
    net = Counted(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(256, 24)))
    found = layers(net, IMAGES)
    names = ("first", "part.0", "part.1", "part.2", "part", "output")
    assert found.names == names
    assert [one.shape for one in found][:4] == [(4, 8, 8), (4, 8, 8), (256,), (24,)]
    assert (found["part.2"].elements, found["part.2"].share) == (24, 24 / 192)
    assert found["part.2"].kind == "Linear"
    assert len(str(found).splitlines()) == 7
    assert "4 × 8 × 8" in str(found)
    with pytest.raises(KeyError, match=r"did you mean 'part\.1'"):
        found["parts.1"]
    noted = layers(Counted(Twice()), IMAGES)
    assert noted["part.same"].note == "runs 2 times"
    assert "part.same" not in noted.names


def test_a_module_called_output_is_that_module():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.output, self.after = nn.Conv2d(3, 2, 3), nn.Flatten()

        def forward(self, images):
            return self.after(self.output(images)).abs() + 5

    net = Named()
    assert layers(net, IMAGES)["output"].shape == (2, 6, 6)
    found = invert(net, IMAGES, "output", steps=1)["output"]
    noise = random.normal((3, 8, 8), IMAGES, random.generator(0)) / 18
    apart = (net.output(IMAGES) - net.output(IMAGES + noise)).detach().flatten(1)
    assert torch.allclose(found.m_r[0], apart.norm(dim=1), rtol=1e-4)


def test_features_are_what_the_modules_gave():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten())
    net.train()
    x = (IMAGES * 3 - 1).requires_grad_()  # of any range
    found = features(net, x, ["2", "1", "output"])
    assert list(found) == ["2", "1", "output"]
    assert net.training
    assert int(net[1].num_batches_tracked) == 0
    net.eval()
    assert torch.equal(found["1"], net[1](net[0](x)))  # not what the ReLU made of it in place
    assert torch.equal(found["output"], net(x))
    found["1"].sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    with torch.no_grad():
        assert not features(net, x, "1")["1"].requires_grad


def test_features_can_be_differentiated_by_torch_func():
    net, layer = Counted(nn.Tanh()), "part"
    with warnings.catch_warnings():  # torch's own, about torch
        warnings.simplefilter("ignore", FutureWarning)
        slopes = torch.func.jacfwd(lambda x: features(net, x[None], layer)[layer][0])(IMAGES[0])
        plain = torch.func.jacfwd(lambda x: net(x[None])[0])(IMAGES[0])
    assert torch.allclose(slopes, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("part", "layer", "match"), [
    (Twice(), "part.same", "runs 2 times"),
    (Twice(), "part.never", "never runs"),
    (Sequence(nn.LSTM(4, 2, batch_first=True)), "part.part", "returns a tuple"),
])  # fmt: skip
def test_features_that_cannot_be_read(part, layer, match):
    with pytest.raises(ValueError, match=f"layers: '{layer}' .*{match}"):
        features(Counted(part), IMAGES, ["first", layer])
