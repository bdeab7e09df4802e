"""What `invert` and `layers` refuse, before the first iteration, and what they get along with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import random
from aelib.inversion import Blur, Recipe, invert, layers

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
    how.setdefault("callback", lambda *_: begun.append(1))
    with pytest.raises(error, match=match):
        invert(net, images, layer, **{"steps": 50, **how})
    assert not begun
    assert getattr(net, "times", 0) <= 6  # four to look at a layer, two for what is aimed at


@pytest.mark.parametrize(("images", "error", "match"), [
    (IMAGES[0], ValueError, r"images: expected .* got shape \(3, 8, 8\); for one image"),
    (IMAGES[:0], ValueError, "images: expected"),
    (IMAGES.numpy(), TypeError, "images: expected a floating-point tensor"),
    ((IMAGES * 255).byte(), TypeError, r"got torch.uint8; use images.float\(\) / 255"),
    (IMAGES.long(), TypeError, "got torch.int64"),
    (IMAGES * float("nan"), ValueError, "expected finite values, got 384"),
    (IMAGES / 0, ValueError, "expected finite values"),
    (IMAGES * 255, ValueError, "divide by 255"),
    (IMAGES * 2, ValueError, r"images: expected pixels in \[0, 1\], got .* let `forward` norm"),
    (IMAGES - 0.5, ValueError, r"images: expected pixels in \[0, 1\]"),
    (IMAGES.double(), TypeError, r"weights are torch.float32, the images torch.float64"),
    (IMAGES.half(), TypeError, "expected float32 or float64, got torch.float16"),
    (IMAGES[:, :1], ValueError, r"cannot take images of shape \(1, 8, 8\) .*channels"),
])  # fmt: skip
def test_images_it_cannot_take(images, error, match):
    refused(error, match, images=images)
    with pytest.raises(error, match=match):
        layers(Counted(), images)


@pytest.mark.parametrize(("how", "error", "match"), [
    ({"layer": "frist"}, ValueError, "the model has no 'frist'; did you mean 'first'"),
    ({"layer": []}, ValueError, "layers: expected at least one name"),
    ({"layer": ["first", "first"]}, ValueError, "expected each name once"),
    ({"layer": None}, TypeError, "layers: expected a name or a list of names, got None"),
    ({"steps": 0}, ValueError, "steps: expected 1 or more, got 0"),
    ({"steps": 2.0}, TypeError, "steps: expected a whole number"),
    ({"recipe": Recipe(steps=0), "steps": None}, ValueError, "steps: expected 1 or more"),
    ({"seeds": 0}, ValueError, "seeds: expected 1 or more"),
    ({"seeds": [-1]}, ValueError, "seeds: expected 0 or more, got -1"),
    ({"seeds": [1, 1]}, ValueError, "seeds: expected each once"),
    ({"seeds": []}, ValueError, "seeds: expected how many"),
    ({"seeds": 1.5}, ValueError, "seeds: expected how many"),
    ({"seeds": [1.5]}, TypeError, "seeds: expected a whole number"),
    ({"seeds": True}, ValueError, "seeds: expected how many"),
    ({"until": 0}, ValueError, "until: expected a number above 0"),
    ({"until": float("nan")}, ValueError, "until: expected a number above 0"),
    ({"batch": 0}, ValueError, "batch: expected 1 or more"),
    ({"record": 0}, ValueError, "record: expected 1 or more"),
    ({"record": 1.5}, TypeError, "record: expected how many, or the iterations .* got 1.5"),
    ({"callback": 3}, TypeError, r"callback: expected a callable callback\(.* got 3"),
    ({"record": [51]}, ValueError, "record: expected iterations up to 50, got 51"),
    ({"start": IMAGES[:1]}, ValueError, r"start: expected images of shape \(2, 3, 8, 8\) or"),
    ({"start": 0.5}, ValueError, "start: .* got float"),
    ({"start": IMAGES / 0}, ValueError, "start: expected finite values"),
    ({"precision": "fp8"}, ValueError, "precision is 'fp8'; known: 'no', 'bf16'"),
    ({"graphs": True}, ValueError, "graphs: needs a model on a CUDA device"),
    ({"recipe": "bager2022"}, ValueError, "did you mean 'badger2022'"),
    ({"recipe": Recipe(after=Blur())}, ValueError, "use it with image=Pixels"),
    ({"recipe": Recipe(distance=lambda y, t: (y - t).square().mean())}, ValueError,
     r"distance must give one loss a row, \(2,\), got shape \(\)"),
    ({"forward": lambda model, images: model(images, 3)}, ValueError,
     "could not be called with images alone"),
])  # fmt: skip
def test_arguments_that_cannot_work(how, error, match):
    refused(error, match, **how)


@pytest.mark.parametrize("seeds", [1001, range(1001), list(range(1001))])
def test_more_runs_than_memory_holds_are_refused(monkeypatch, seeds):
    """A seed has a start of 768 bytes; a run 768, 8 numbers and 4 traces of 2, twice."""
    need = 1000 * (768 + 2 * 2 * (768 + 4 * (8 + 4 * 2)))
    monkeypatch.setattr(ae.runtime.memory, "free_memory", lambda place: need)
    refused(ValueError, r"seeds: 2002 runs \(one a seed, image and layer\) need 0\.0 GiB, more "
            r"than there is \(0\.0 GiB free\); take fewer", seeds=seeds, record=[50])  # fmt: skip
    monkeypatch.setattr(ae.runtime.memory, "free_memory", lambda place: 3 * need)
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
    (Twice(), "part.same", r"'part.same' \(Tanh\) runs 2 times; can be read: .*'output'"),
    (Twice(), "part.never", "'part.never' is in the model but never runs; layers that do: 'first'"),
    (Sequence(nn.LSTM(4, 2, batch_first=True)), "part.part", "returns a tuple, not one tensor"),
    (Sequence(nn.MultiheadAttention(4, 2, batch_first=True)), "part.part", "returns a tuple"),
    (Plain(lambda y: nn.functional.dropout(y, training=True)), "part", "not the same from run to"),
    (nn.BatchNorm2d(4, track_running_stats=False), "part", "the images of a batch influence"),
    (Plain(lambda y: y.argmax(1)), "part", "returns torch.int64, not floats"),
    (Plain(lambda y: y.argmax(1).float()), "part", "no gradient flows back to the image"),
    (Plain(torch.Tensor.detach), "part", "no gradient flows back to the image"),
    (nn.Flatten(0, 2), "part", r"shape \(64, 8\), whose first axis is not the batch"),
    (Plain(torch.Tensor.sum), "part", r"shape \(\), whose first axis"),
    (Plain(lambda y: y.new_ones(2, 3, requires_grad=True)), "part", "cannot be inverted, since"),
    (Plain(lambda y: y / 0), "part", "or its gradient is not finite"),
    (Plain(lambda y: (y - y).sqrt()), "part", "or its gradient is not finite"),
    (nn.Linear(7, 2), "part", r"cannot take images of shape \(3, 8, 8\)"),
    (nn.Bilinear(4, 4, 4), "part", "if it needs more inputs, say how"),
])  # fmt: skip
def test_layers_that_cannot_be_inverted(part, layer, match):
    refused(ValueError, match, net=Counted(part), layer=layer)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_model_that_is_none_is_refused():
    with pytest.raises(TypeError, match=r"model: expected a torch.nn.Module, got function"):
        invert(lambda images: images, IMAGES)
    scripted = torch.jit.trace(nn.Conv2d(3, 2, 3), IMAGES, check_trace=False)
    with pytest.raises(TypeError, match="give the module it was made from"):
        invert(scripted, IMAGES)


def test_compiled_says_what_it_cannot_trace():
    branches = Counted(Plain(lambda y: y if y.sum() > 0 else -y))
    refused(ValueError, "compiled: torch.fx cannot trace this model up to 'part'", net=branches,
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


def test_a_net_that_wants_the_time_is_told_of_forward():
    refused(ValueError, r"could not be called with images alone .*times.*forward=",
            net=ae.models.DiffusionUNet((3, 8, 8), 8), layer="mid")  # fmt: skip


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
    noise = torch.randn(3, 8, 8, generator=random.generator(0), dtype=torch.float64) / 18
    apart = (net.output(IMAGES) - net.output(IMAGES + noise.float())).detach().flatten(1)
    assert torch.allclose(found.m_r[0], apart.norm(dim=1), rtol=1e-4)


def test_image_files_are_squares_in_range(tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 10), (255, 0, 51)).save(tmp_path / "a.png")
    images = ae.data.read_images([tmp_path / "a.png", str(tmp_path / "a.png")], 5)
    assert images.shape == (2, 3, 5, 5)
    assert torch.allclose(images[1].amax((1, 2)), torch.tensor([1.0, 0.0, 0.2]))
    assert ae.data.read_images([tmp_path / "a.png"], 10, channels=1).shape == (1, 1, 10, 10)
    with pytest.raises(ValueError, match=r"a\.png to have at least 11 pixels .* got 10"):
        ae.data.read_images([tmp_path / "a.png"], 11)
    with pytest.raises(FileNotFoundError, match="image: there is no file"):
        ae.data.read_images([tmp_path / "b.png"], 5)
    (tmp_path / "b.png").write_text("none")
    with pytest.raises(ValueError, match=r"b\.png cannot be read \(in no format that Pillow"):
        ae.data.read_images([tmp_path / "b.png"], 5)
