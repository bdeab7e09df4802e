"""Any net that people bring: `invert`, `layers` and `features` read it, or say what to do."""

from __future__ import annotations

import dataclasses
import warnings
from collections import OrderedDict, namedtuple
from functools import partial

import pytest
import torch
import torchvision
from test_inversion_input import Plain
from torch import nn
from torch.nn.utils import parametrizations

from aelib import random
from aelib.inversion import Fourier, features, invert, layers

IMAGES = torch.rand(2, 3, 8, 8, generator=random.generator(0))


@pytest.fixture(autouse=True)
def _seeded():
    with random.seeded(0):  # a net drawn anew each time may have a unit that is off everywhere
        yield


def tall(side, channels=3):
    return torch.rand(1, channels, side, side, generator=random.generator(1))


def assert_reads(net, layer, expected, images=IMAGES, **how):
    """`features` gives what is expected, `layers` lists it, and `invert` comes nearer to it."""
    shape = tuple(expected.shape[1:])
    entry = layers(net, images, **how)[layer]
    assert (entry.note, entry.shape) == ("", shape)
    found = features(net, images, layer, **how)[layer]
    assert torch.allclose(found, expected.to(found.dtype), rtol=1e-4, atol=1e-5)
    result = invert(net, images, layer, steps=3, **how)[layer]
    assert (result.m_g < result.trace["m_g"][..., 0]).all()
    assert result.images.isfinite().all()


def heard(net, layer, images):
    """What a module gives in evaluation mode, by a hook of the test's own."""
    given = []
    module = net.get_submodule(layer)
    handle = module.register_forward_hook(lambda module, inputs, output: given.append(output))
    net.eval()(images)
    handle.remove()
    return given


# --- Families ------------------------------------------------------------------------------------

MODELS = torchvision.models
FAMILIES = {
    "squeezenet": (MODELS.squeezenet1_1, "features.7", 32),
    "resnet": (MODELS.resnet18, "layer2", 32),
    "densenet": (MODELS.densenet121, "features.transition1", 32),
    "googlenet": (partial(MODELS.googlenet, init_weights=False), "inception3b", 32),
    "inception": (partial(MODELS.inception_v3, init_weights=False), "Mixed_5b", 75),
    "shufflenet": (MODELS.shufflenet_v2_x0_5, "stage3", 32),
    "mobilenet v2": (MODELS.mobilenet_v2, "features.5", 32),
    "mobilenet v3": (MODELS.mobilenet_v3_small, "features.4", 32),
    "mnasnet": (MODELS.mnasnet0_5, "layers.9", 32),
    "efficientnet": (MODELS.efficientnet_b0, "features.3", 32),
    "regnet": (MODELS.regnet_y_400mf, "trunk_output.block2", 32),
    "convnext": (MODELS.convnext_tiny, "features.3", 32),
    "swin": (MODELS.swin_t, "features.3", 32),
    "vit": (lambda weights: MODELS.VisionTransformer(32, 16, 2, 2, 16, 32),
            "encoder.layers.encoder_layer_1", 32),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_torchvision(name):
    make, layer, side = FAMILIES[name]
    net, images = make(weights=None), tall(side)
    assert_reads(net, layer, heard(net, layer, images)[-1], images)


def test_a_segmentation_net_names_the_parts_of_its_dictionary():
    net = MODELS.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    images = tall(32)
    found = layers(net, images)
    assert found["output"].note == "returns a OrderedDict, not one tensor"
    assert found["backbone[high]"].shape == (960, 2, 2)
    assert_reads(net, "output[out]", net.eval()(images)["out"], images)
    with pytest.raises(ValueError, match=r"can be read: 'output\[out\]'$"):
        invert(net, images, "output")


TIMM = {
    "test_resnet": "layer2",
    "test_vit": "blocks.1",
    "test_convnext": "stages.1",
    "test_efficientnet": "blocks.2",
    "mobilenetv3_small_050": "blocks.2",
    "swin_tiny_patch4_window7_224": "layers.0",
}


@pytest.mark.parametrize("name", TIMM)
def test_a_family_of_timm(name):
    timm = pytest.importorskip("timm", reason="timm is not installed: its nets are not tested")
    small = {
        "test_vit": {"img_size": 32},
        "swin_tiny_patch4_window7_224": {
            "img_size": 32,
            "window_size": 4,
            "embed_dim": 12,
            "depths": (1, 1),
            "num_heads": (1, 2),
        },
    }
    net, images = timm.create_model(name, pretrained=False, **small.get(name, {})), tall(32)
    assert_reads(net, TIMM[name], heard(net, TIMM[name], images)[0], images)


# --- Inputs and outputs --------------------------------------------------------------------------

Pair = namedtuple("Pair", "near far")


@dataclasses.dataclass
class Fields:
    near: torch.Tensor
    rest: object = None


class Returning(nn.Module):
    """A convolution whose output is put into something; asked by keyword."""

    def __init__(self, wrap):
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(3, 2, 3), wrap

    def forward(self, *, pixel_values):
        return self.wrap(self.conv(pixel_values))


def by_keyword(model, images):
    return model(pixel_values=images)


@pytest.mark.parametrize(("wrap", "layer", "factor"), [
    (lambda y: (y, 2 * y), "output[1]", 2),
    (lambda y: [y, 2 * y], "output[0]", 1),
    (lambda y: {"a": y, "b.c": 2 * y}, "output[b.c]", 2),
    (lambda y: OrderedDict(a=y, b=None), "output[a]", 1),
    (lambda y: Pair(y, 3 * y), "output[far]", 3),
    (lambda y: Fields(5 * y, 3), "output[near]", 5),
    (lambda y: Fields(y, {"x": [y, (2 * y, 7 * y)]}), "output[rest][x][1][1]", 7),
])  # fmt: skip
def test_parts_of_what_is_returned_have_names(wrap, layer, factor):
    net = Returning(wrap)
    expected = factor * net.conv(IMAGES)
    assert_reads(net, layer, expected, forward=by_keyword)
    found = layers(net, IMAGES, by_keyword)
    assert found["output"].note.startswith("returns a ")
    assert set(invert(net, IMAGES, found.names, steps=1, forward=by_keyword)) == set(found.names)
    with pytest.raises(ValueError, match=r"'output\[no\]' \(Returning\) gives no such part"):
        features(net, IMAGES, "output[no]", by_keyword)
    with pytest.raises(ValueError, match="if it needs more inputs, say how: forward="):
        layers(net, IMAGES)


class Rows(nn.Module):
    """A part for sequences, given the rows of an image."""

    def __init__(self, part, copies=1):
        super().__init__()
        self.part, self.copies = part, copies

    def forward(self, images):
        rows = images.flatten(2).mT
        return self.part(*[rows] * self.copies)


def test_an_attention_and_an_lstm_name_their_parts():
    attention = Rows(nn.MultiheadAttention(3, 1, batch_first=True), 3)
    assert_reads(attention, "part[1]", attention(IMAGES)[1])
    lstm = Rows(nn.LSTM(3, 4, batch_first=True))
    assert_reads(lstm, "part[0]", lstm(IMAGES)[0])
    found = layers(lstm, IMAGES)
    assert found["part[1][0]"].note == "returns shape (1, 2, 4), whose first axis is not the batch"
    assert found.names == ("part[0]", "output[0]")
    assert lstm.part._flat_weights[0] is lstm.part.weight_ih_l0


def test_an_axis_as_long_as_the_look_is_wide_is_no_batch():
    """A GRU of two layers gives two states for two images, layers first."""
    gru = Rows(nn.GRU(3, 4, num_layers=2, batch_first=True))
    found = layers(gru, IMAGES)
    assert found["part[1]"].note == "returns shape (2, 3, 4), whose first axis is not the batch"
    assert found.names == ("part[0]", "output[0]")
    assert list(invert(gru, IMAGES, "**", steps=1)) == ["part[0]", "output[0]"]
    told = r"layers: 'part\[1\]' returns shape \(2, 1, 4\) for one image, so its first axis is not"
    with pytest.raises(ValueError, match=told):
        invert(gru, IMAGES, "part[1]", steps=1)


def test_torchs_own_transformer_is_read_inside():
    net = Rows(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)).eval()
    images = torch.rand(2, 4, 6, 6, generator=random.generator(0))
    (expected,) = heard(net, "part.linear1", images.clone().requires_grad_())
    assert_reads(net, "part.linear1", expected, images)


def test_what_an_lstm_runs_on_wants_no_gradient_either():
    lstm, wanted = Rows(nn.LSTM(3, 4, batch_first=True)), []

    def forward(model, images):
        wanted.extend(one.requires_grad for one in model.part._flat_weights)
        return model(images)

    features(lstm, IMAGES, "part[0]", forward)
    assert wanted == [False] * 4


# --- Calls ---------------------------------------------------------------------------------------


class Thrice(nn.Module):
    """One ReLU after each of three layers; what was reached is noted."""

    def __init__(self, returns=lambda y: y):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.relu, self.returns = Pass(returns), returns
        self.reached = 0

    def forward(self, images):
        y = self.relu(self.a(images))
        y = self.relu(self.b(y if isinstance(y, torch.Tensor) else y[1]))
        y = self.relu(self.c(y if isinstance(y, torch.Tensor) else y[1]))
        self.reached += 1
        return y


class Pass(nn.Module):
    def __init__(self, returns):
        super().__init__()
        self.returns = returns

    def forward(self, y):
        return self.returns(y.relu())


def test_each_call_of_a_layer_has_a_name():
    net = Thrice()
    found = layers(net, IMAGES)
    assert [one.name for one in found] == [
        "a", "relu", "relu#0", "b", "relu#1", "c", "relu#2", "output"
    ]  # fmt: skip
    assert found.names == ("a", "relu#0", "b", "relu#1", "c", "relu#2", "output")
    assert found["relu"].note == "runs 3 times"
    first = net.a(IMAGES).relu()
    assert_reads(net, "relu#1", net.b(first).relu())
    assert torch.equal(features(net, IMAGES, "a#0")["a#0"], net.a(IMAGES))
    for function in (invert, features):
        with pytest.raises(ValueError, match=r"'relu' \(Pass\) runs 3 times; can be read: 'relu#0"):
            function(net, IMAGES, "relu")
        with pytest.raises(
            ValueError, match=r"'relu#3' .* runs 3 times, counted from 0; .*'relu#2'"
        ):
            function(net, IMAGES, "relu#3")


def test_nothing_behind_a_call_is_computed():
    net = Thrice()
    invert(net, IMAGES, "relu#1", steps=5)
    assert net.reached == 2  # when the layers were looked at, and when classes were


def test_a_part_of_a_call():
    net = Thrice(lambda y: (-y, y))
    assert_reads(net, "relu#1[0]", -net.b(net.a(IMAGES).relu()).relu())
    found = layers(net, IMAGES)
    assert found["relu#1"].note == "returns a tuple, not one tensor"
    assert set(invert(net, IMAGES, found.names, steps=1)) == set(found.names)


def test_compiled_reads_no_single_call():
    with pytest.raises(ValueError, match=r"compiled: .*got 'relu#1'; leave compiled=False"):
        invert(Thrice(), IMAGES, "relu#1", compiled=True)


# --- Globs ---------------------------------------------------------------------------------------


def nested():
    block = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()) for _ in range(2)]
    return nn.Sequential(OrderedDict(b1=block[0], b2=block[1], end=Pass(lambda y: (y, y))))


@pytest.mark.parametrize(("asked", "expected"), [
    ("b?", ["b1", "b2"]),
    ("b*", ["b1", "b2"]),
    (["b1.*"], ["b1.0", "b1.1"]),
    (["**.1"], ["b1.1", "b2.1"]),
    (["b2", "b*"], ["b2", "b1"]),
    (["b*", "b2"], ["b1", "b2"]),
    (["*[1]"], ["end[1]", "output[1]"]),
    (["b*.[01]*", "b1"], None),
    (["e?d**"], ["end[0]", "end[1]"]),
])  # fmt: skip
def test_a_glob_takes_what_can_be_read(asked, expected):
    net = nested()
    if expected is None:
        with pytest.raises(
            ValueError, match=r"layers: expected a glob that matches .*known: 'b1.0'"
        ):
            features(net, IMAGES, asked)
        return
    assert list(features(net, IMAGES, asked)) == expected
    assert list(invert(net, IMAGES, asked, steps=1)) == expected


def test_a_hash_in_a_glob_is_a_call():
    assert list(features(Thrice(), IMAGES, ["relu#?", "?"])) == [
        "relu#0", "relu#1", "relu#2", "a", "b", "c"
    ]  # fmt: skip


# --- Weights that are made -----------------------------------------------------------------------


def everything(net):
    """All a module holds, to the bit and by identity, gradients and graphs included."""
    found = []
    for name, module in net.named_modules():
        for values in (vars(module), module._parameters, module._buffers):
            for key, value in values.items():
                found.append((name, key, id(value), type(module)))
                if isinstance(value, torch.Tensor):
                    found.append(
                        (value.detach().clone().tolist(), value.requires_grad, value._version)
                    )
    return found


OLD = {"weight_norm": nn.utils.weight_norm, "spectral_norm": nn.utils.spectral_norm}
NEW = {
    name: getattr(parametrizations, name) for name in ("weight_norm", "spectral_norm", "orthogonal")
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")  # the old one, which is asked for
@pytest.mark.parametrize(
    "norm", [*OLD.values(), *NEW.values()], ids=[*map("old {}".format, OLD), *NEW]
)
def test_weights_made_anew_at_each_pass(norm):
    net = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.Tanh(), nn.Flatten(), norm(nn.Linear(144, 5)))
    net(IMAGES).sum().backward()
    net.eval()
    expected, before = net(IMAGES).detach(), everything(net)
    assert_reads(net, "output", expected)
    assert everything(net) == before

    def breaks(info):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        invert(net, IMAGES, "3", steps=2, callback=breaks)
    assert everything(net) == before
    assert torch.equal(net(IMAGES), expected)


def test_what_a_forward_pass_notes_on_the_model_is_taken_off():
    class Noting(nn.Conv2d):
        last = None

        def forward(self, images):
            self.last = super().forward(images)
            self.register_buffer("later", self.last.mean(), persistent=False)
            self.sums += 1
            return self.last

    net = Noting(3, 2, 3)
    net.sums = torch.zeros(1)  # neither weight nor buffer
    before = everything(net)
    invert(net, IMAGES, steps=1)
    layers(net, IMAGES)
    assert everything(net) == before


# --- Dtypes --------------------------------------------------------------------------------------


def small(dtype=torch.float32):
    with random.seeded(0):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(288, 40)
        ).to(dtype)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_other_dtypes(dtype):
    net, low = small(dtype), dtype != torch.float64
    images = IMAGES.to(torch.float32 if low else dtype)
    found = features(net, images, ["2", "output"])
    assert all(values.dtype == images.dtype for values in found.values())
    assert torch.equal(found["output"], net.eval()(images.to(dtype)).to(images.dtype))
    result = invert(net, images, ["2", "output"], steps=15)
    plain = invert(small(images.dtype), images, ["2", "output"], steps=15)
    for layer in result:
        assert result[layer].images.dtype == result[layer].m_g.dtype == images.dtype
        assert torch.allclose(result[layer].m_r, plain[layer].m_r, rtol=0.1)
        assert (result[layer].m_g < 0.5 * result[layer].trace["m_g"][..., 0]).all()
    for wrong in (images.double() if low else images.float(), images.bfloat16()):
        with pytest.raises(TypeError, match=r"images: expected .* use images") as told:
            invert(net, wrong, "2")
        assert str(told.value).endswith((f"use images.to({images.dtype})", "use images.float()"))


def test_a_float16_gradient_does_not_vanish():
    """A loss that is small beside float16's least number still moves the image."""
    from aelib.inversion.reading import frozen, reader

    slopes = {}
    for dtype in (torch.float32, torch.float16):
        net, images = small(dtype), IMAGES.clone().requires_grad_()
        with frozen(net), reader(net, "output") as read:
            weight = torch.tensor([1e-9, 1e3])[:, None]
            (read(images).square() * weight).sum().backward()
        slopes[dtype] = images.grad
    off = (slopes[torch.float16] - slopes[torch.float32]).flatten(1).norm(dim=1)
    assert (off < 0.01 * slopes[torch.float32].flatten(1).norm(dim=1)).all()


def test_the_first_floating_weight_decides():
    net = small()
    net[4].to(torch.bfloat16)
    net.insert(4, Plain(lambda y: y.bfloat16()))
    found = features(net, IMAGES, ["2", "output"])
    assert found["output"].dtype == torch.float32
    with pytest.raises(TypeError, match=r"torch.float32, as the first of the weights is"):
        features(net, IMAGES.double(), "2")


# --- Sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("size", [(7, 11), (9, 8), (1, 5), (5, 1)])
def test_any_size_and_number_of_channels(channels, size):
    images = torch.rand(2, channels, *size, generator=random.generator(0))
    parameters = Fourier().to_parameters(images)
    again = Fourier().to_image(parameters, (channels, *size))
    assert torch.allclose(again, images, atol=1e-5)
    net = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.Tanh())
    assert_reads(net, "1", net(images), images)


# --- Models that are wrapped, or let nobody in ---------------------------------------------------


def compiled(module):
    return torch.compile(module, backend="eager")


def compiled_in_place(module):
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize("wrap", [compiled, compiled_in_place, nn.DataParallel])
@pytest.mark.parametrize("inside", [False, True])
def test_a_wrapped_model_is_looked_through(wrap, inside):
    plain = small().eval()
    expected = invert(plain, IMAGES, ["2", "output"], steps=3)
    if inside:
        plain[0] = wrap(plain[0])
        net, layer = plain, "0.module" if wrap is nn.DataParallel else "0"
        alone = net[0]
    else:
        net, layer = wrap(plain), "0"
        alone = plain[0]
    net(IMAGES)  # compiled before it is read
    found = invert(net, IMAGES, ["2", "output"], steps=3)
    assert torch.equal(found["output"].images, expected["output"].images)
    assert torch.equal(found["2"].images, expected["2"].images)
    assert_reads(net, layer, alone(IMAGES))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize(("make", "error", "match"), [
    (lambda: torch.jit.script(small()), TypeError, "model: it is scripted .* it was made from"),
    (lambda: nn.Sequential(torch.jit.script(nn.Conv2d(3, 2, 3)), nn.Tanh()), TypeError,
     "model: '0' in it is scripted"),
    (lambda: nn.Sequential(nn.Conv2d(3, 2, 3), torch.jit.trace(nn.Tanh(), IMAGES)), TypeError,
     "model: '1' in it is scripted"),
    (lambda: torch.ao.quantization.quantize_dynamic(small().eval(), {nn.Linear}), TypeError,
     r"model: '4' in it is quantised \(Linear\) .* as it was before"),
    (lambda: torch.export.export(small().eval(), (IMAGES,)).module(), TypeError,
     "model: it is exported .* it was made from"),
    (lambda: nn.Sequential(nn.LazyConv2d(2, 3)), ValueError, "model: .*lazy.*call it on images"),
    (lambda: small().to("meta"), ValueError, "model: .*meta.*build it on a device"),
    (lambda: apart(small()), ValueError,
     r"model: expected weights on one device, got cpu \(0.weight\) and cuda:1 \(4.weight\); move"),
])  # fmt: skip
def test_a_model_that_cannot_be_read(make, error, match):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
    for function in (invert, layers, lambda *given: features(*given, "output")):
        with pytest.raises(error, match=match):
            function(model, IMAGES)


def apart(net):
    """Its last weight is taken for one on a GPU that is not here."""
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        net[4].weight = nn.Parameter(torch.empty(40, 288, device="cuda:1"))
    return net


# --- Layers and images that behave badly ---------------------------------------------------------


def test_a_layer_that_the_next_one_changes_in_place():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), Plain(lambda y: y[:, 1:]))
    expected = net[0](IMAGES)
    assert_reads(net, "0", expected)
    assert_reads(net, "2", expected.relu()[:, 1:])
    last = net.to(memory_format=torch.channels_last)
    assert_reads(last, "0", expected)


def test_layers_of_integers_are_features_and_no_more():
    net = Plain(lambda images: {"top": images.flatten(1).argmax(1), "all": images})
    assert features(net, IMAGES, "output[top]")["output[top]"].dtype == torch.int64
    assert layers(net, IMAGES).names == ("output[all]",)
    assert layers(net, IMAGES)["output[top]"].note == "returns torch.int64, not floats"


def test_an_image_for_which_it_is_not_finite_is_named():
    images = torch.rand(11, 3, 8, 8, generator=random.generator(0))
    images[9] = 0
    net = Plain(lambda y: y / (y.abs().sum((1, 2, 3), keepdim=True) > 0).float())
    with pytest.raises(ValueError, match=r"layers: 'output' is not finite for images\[9\]"):
        invert(net, images, steps=1)
    with pytest.raises(ValueError, match=r"for images\[0\] moved by the noise .* clamp them"):
        invert(Plain(lambda y: (y + 1e-4).log()), images[:9] * 0.1, steps=1)


def test_a_seed_whose_noise_takes_a_layer_where_it_is_not_finite_is_named():
    net = Plain(lambda y: (y + 0.18).log())
    images = torch.stack([IMAGES[0], torch.zeros(3, 8, 8)]).clamp_min(0)
    assert invert(net, images, seeds=[0, 7], steps=1)["output"].m_r.isfinite().all()
    with pytest.raises(ValueError, match=r"for images\[1\] moved by the noise of seed 1, whose"):
        invert(net, images, seeds=3, steps=1)  # the least of noise 1 is −0.19


@pytest.mark.parametrize(("factor", "told"), [
    (1e-22, r"'output' is too small: float32 .* for images\[0\]; scale it in `forward`, or give"),
    (1e19, r"'output' is too large: float32 .* for images\[0\]; scale it in `forward`, or give"),
])  # fmt: skip
def test_features_whose_squares_a_float_does_not_hold_are_refused(factor, told):
    net = Plain(lambda y: factor * y)
    with pytest.raises(ValueError, match=told):
        invert(net, IMAGES, steps=1)
    found = invert(net, IMAGES.double(), steps=20)["output"]
    assert (found.ratio < 0.5).all()


class OwnGradient(nn.Module):
    """Gives a gradient that it takes inside its forward pass, as nets of energies and forces do."""

    def __init__(self, asks=True):
        super().__init__()
        self.asks = asks
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        if self.asks and not images.requires_grad:
            images = images.detach().requires_grad_()
        energy = torch.tanh(self.conv(images)).square().sum()
        return torch.autograd.grad(energy, images, create_graph=True)[0]


def test_a_net_that_takes_a_gradient_in_its_forward_pass_is_read():
    net = OwnGradient()
    assert_reads(net, "output", net(IMAGES).detach())
    net.conv = nn.Sequential(net.conv, nn.BatchNorm2d(4))
    net = nn.Sequential(net, nn.Flatten())
    found = invert(net, IMAGES, steps=1)
    assert found.null(net)["output"].isfinite().all()


def test_a_net_that_takes_a_gradient_and_does_not_ask_for_one_is_told_how():
    net = OwnGradient(asks=False)
    with pytest.raises(
        ValueError, match=r"ask first: forward=.*model\(images.requires_grad_\(\)\)"
    ):
        invert(net, IMAGES, steps=1)
    found = invert(net, IMAGES, steps=1, forward=lambda model, x: model(x.requires_grad_()))
    assert found["output"].m_g.isfinite().all()


def test_a_layer_with_nothing_in_it_is_refused_in_words():
    net = Plain(lambda y: (y, y.flatten(1)[:, :0]))
    assert layers(net, IMAGES).names == ("output[0]",)
    with pytest.raises(ValueError, match=r"'output\[1\]' .* which has nothing in it; can be read"):
        invert(net, IMAGES, "output[1]", steps=1)


class InPlace(nn.Module):
    """Changes in place what the backward pass needs: it could not be trained either."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

    def forward(self, images):
        y = self.act(self.conv(images))
        y *= 2
        return y


def test_what_the_gradient_needs_and_is_changed_in_place_is_refused_before_the_search():
    searched = []
    with pytest.raises(ValueError, match=r"layers: 'output' cannot be inverted, since .* in place"):
        invert(InPlace(), IMAGES, ["conv", "output"], steps=2, callback=searched.append)
    assert not searched
    assert list(invert(InPlace(), IMAGES, ["conv", "act"], steps=2)) == ["conv", "act"]


class Catching(nn.Module):
    """Takes another way where the first one fails."""

    def __init__(self, caught):
        super().__init__()
        self.a, self.b, self.caught = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), caught

    def forward(self, images):
        try:
            return self.a(images)
        except self.caught:
            return self.b(images)


@pytest.mark.parametrize("caught", [Exception, BaseException])
def test_a_net_that_catches_exceptions_is_read(caught):
    net = Catching(caught)
    assert_reads(net, "a", net.a(IMAGES))


def test_a_layer_that_is_constant_for_one_of_several_images():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    nn.init.ones_(net[0].weight)
    nn.init.constant_(net[0].bias, -9.0)
    images = torch.stack([torch.zeros(3, 8, 8), IMAGES[0]])
    found = invert(net, images, steps=3)["output"]
    assert found.m_r[0, 0] == 0 < found.m_r[0, 1]
    assert found.images.isfinite().all()


# --- The look before the first iteration ---------------------------------------------------------


@pytest.mark.parametrize(("n", "asked", "expected"), [
    (1, ["0"], [2, 1, 2]),
    (1, ["0", "2", "output"], [2, 1, 2]),  # there were 1 + 3 a layer
    (10, ["2", "4"], [2, 1, 16, 4]),
    (1, "*", [2, 3, 2, 1, 2]),  # a glob lists the layers first
])  # fmt: skip
def test_one_look_serves_all_layers(n, asked, expected):
    net, rows = small(), []
    net.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    images = torch.rand(n, 3, 8, 8, generator=random.generator(0))
    result = invert(net, images, asked, steps=1)
    expected = expected + [n] * 2  # the classes of the images and of the starts
    for layer in result:
        folding = 1 if layer == "0" else 2  # before and after
        # Aimed at, moved, two baselines, two evaluations, and the class of what was found.
        expected = expected + [min(n, 2)] * folding + [n] * 7
    assert rows == expected


def test_the_look_goes_no_deeper_than_the_last_layer():
    net, rows = small(), []
    net[3].register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    invert(net, IMAGES, ["0", "2"], steps=1)
    # Behind the layers only once; the rest asks for classes: of images, starts and what was found.
    assert rows == [2] + [2] * 2 + [2] * 2
