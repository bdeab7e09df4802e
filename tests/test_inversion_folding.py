"""Folded batch norms: the same features, in any net, and a model that stays as it is."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from aelib import random
from aelib.inversion import features, invert
from aelib.inversion.folding import folded
from aelib.inversion.reading import frozen, reader

IMAGES = torch.rand(2, 3, 32, 32, generator=random.generator(0))
SAME, MULTIPLY_ADD, FOLDED = "batch norm as it is", "multiply-add", "in the convolution"


def used(net):
    """The net with batch norms that have seen something: else folding could hardly go wrong."""
    generator = random.generator(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -1, 1),
                (module.running_var, 0.5, 2),
                (module.weight, 0.5, 2),
                (module.bias, -1, 1),
            ):
                if values is not None:
                    values.data.uniform_(low, high, generator=generator)
    return net.eval()


def read_folded(net, layer, images=IMAGES, **how):
    """What the layer gives in a folded net, and what became of each batch norm."""
    with (
        frozen(net, how.get("channels_last", False)),
        folded(net, layer, images, **how),
        reader(net, layer, **how) as read,
    ):
        found, became = read(images), {}
        for name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                first = vars(module).get("forward")
                first = first.args[1] if type(module) is not nn.BatchNorm2d and first else first
                kind = FOLDED if getattr(first, "__name__", "") == "_same" else MULTIPLY_ADD
                became[name] = kind if first else SAME
    return found, became


def off(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def bits(net):
    """Everything of the net that folding could leave changed."""
    return [
        (
            id(module),
            sorted(vars(module)),
            [(name, id(v)) for name, v in module._parameters.items()],
        )
        for module in net.modules()
    ] + [(name, values.clone().numpy().tobytes()) for name, values in net.state_dict().items()]


MODELS = torchvision.models
FAMILIES = {  # how many batch norms at least go into a convolution on the way to the layer
    "resnet": (MODELS.resnet18, "layer2", 10),
    "densenet": (MODELS.densenet121, "features.denseblock2", 19),
    "googlenet": (partial(MODELS.googlenet, init_weights=False), "inception3b", 15),
    "mobilenet": (MODELS.mobilenet_v3_small, "features.4", 10),
    "regnet": (MODELS.regnet_y_400mf, "trunk_output.block2", 6),
    "vgg": (MODELS.vgg11_bn, "features.20", 5),
}
TIMMS = {"test_efficientnet": ("blocks.2", 6), "resnetv2_50": ("stages.0", 4)}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_folded_net_gives_the_same(name, channels_last):
    make, layer, least = FAMILIES[name]
    net = used(make(weights=None))
    expected = features(net, IMAGES, layer)[layer]
    found, became = read_folded(net, layer, channels_last=channels_last)
    assert off(found, expected) < 1e-5
    assert list(became.values()).count(FOLDED) >= least


@pytest.mark.parametrize("name", TIMMS)
def test_timms_batch_norms_keep_their_activation(name):
    timm = pytest.importorskip("timm", reason="timm is not installed: its nets are not tested")
    layer, least = TIMMS[name]
    net = used(timm.create_model(name, pretrained=False))
    expected = features(net, IMAGES, layer)[layer]
    found, became = read_folded(net, layer)
    assert off(found, expected) < 1e-5
    kinds = list(became.values())
    assert kinds.count(FOLDED) + kinds.count(MULTIPLY_ADD) >= least


def test_gradients_of_the_images_are_the_same():
    net = used(MODELS.resnet18(weights=None))
    slopes = []
    for fold in (False, True):
        images = IMAGES.clone().requires_grad_()
        with frozen(net):
            context = folded(net, "layer1", images.detach()) if fold else frozen(net)
            with context, reader(net, "layer1") as read:
                (slope,) = torch.autograd.grad(read(images).square().sum(), images)
        slopes.append(slope)
    assert off(*slopes) < 1e-4


def pair(**how):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6, **how)
    return used(nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 4, 3)))


def test_a_convolution_that_is_read_gives_its_own_output():
    net = pair()
    for layer, kind in {"0": SAME, "1": FOLDED, "2": FOLDED, "3": FOLDED}.items():
        found, became = read_folded(net, layer)
        assert off(found, features(net, IMAGES, layer)[layer]) < 1e-5
        assert became == {"1": kind}
    inversion = invert(net, IMAGES, ["0", "3"], steps=5)
    for layer, result in inversion.results.items():
        x, x_g = (features(net, i, layer)[layer] for i in (IMAGES, result.images[0]))
        assert torch.allclose(result.m_g[0], (x - x_g).flatten(1).norm(dim=1), rtol=1e-4)


class Twice(nn.Module):
    """What a convolution gives, and what its batch norm makes of it."""

    def __init__(self, change=lambda raw: raw):
        super().__init__()
        self.conv, self.norm, self.change = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), change
        self.first = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
        self.last = nn.Conv2d(6, 5, 1)

    def forward(self, images):
        raw = self.conv(self.first(images))
        return self.last(self.norm(self.change(raw)) + raw.sin())


@pytest.mark.parametrize("layer", ["conv", "norm", "last", "output"])
def test_a_convolution_used_twice_is_not_folded(layer):
    net = used(Twice())
    found, became = read_folded(net, layer)
    assert off(found, features(net, IMAGES, layer)[layer]) < 1e-6
    assert became["norm"] == (FOLDED if layer == "norm" else SAME)


def test_a_change_in_place_between_the_two_is_seen():
    net = used(Twice(change=nn.ReLU(inplace=True)))
    found, became = read_folded(net, "output")
    assert off(found, features(net, IMAGES, "output")["output"]) < 1e-5
    assert became == {"norm": MULTIPLY_ADD, "first.1": FOLDED}


def shared():
    conv = nn.Conv2d(3, 3, 3)
    return nn.Sequential(conv, nn.BatchNorm2d(3), conv, nn.BatchNorm2d(3))


def hooked():
    net = pair()
    net[0].register_forward_hook(lambda *_: None)  # who listens is to hear the truth
    return net


class Doubled(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Fussy(nn.Conv2d):
    """It cannot have what a folded convolution has."""

    def forward(self, x):
        assert self.bias is None
        return super().forward(x)


NOT_FOLDED = {
    "shared": (shared, MULTIPLY_ADD),
    "hooked": (hooked, MULTIPLY_ADD),
    "unknown": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3), Doubled(6)), SAME),
    "no statistics": (partial(pair, track_running_stats=False), SAME),
    "double": (lambda: pair().double(), SAME),
    "double, alone": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Tanh()).double(), SAME),
    "bfloat16": (lambda: pair().bfloat16(), SAME),
    "spectral": (lambda: nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6)), MULTIPLY_ADD),
    "fussy": (lambda: nn.Sequential(Fussy(3, 6, 3, bias=False), nn.BatchNorm2d(6)), SAME),
    "no convolution": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), MULTIPLY_ADD),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_FOLDED)
def test_what_cannot_be_folded_is_left_in_peace(name):
    make, kind = NOT_FOLDED[name]
    net = make() if name == "no statistics" else used(make())
    images = IMAGES.double() if name.startswith("double") else IMAGES
    last = str(len(net) - 1)
    found, became = read_folded(net, last, images)
    # Statistics of the batch make rows depend on each other, but not the two readings.
    assert off(found, features(net, images, last)[last]) < 1e-5
    assert set(became.values()) == {kind}


def test_batch_norms_without_weights_and_convolutions_with_biases_are_folded():
    for net in (pair(affine=False), pair()):
        found, became = read_folded(net, "3")
        assert off(found, features(net, IMAGES, "3")["3"]) < 1e-5
        assert became == {"1": FOLDED}


def test_bf16_stays_bf16_behind_a_multiply_add():
    net = used(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.Identity()))
    kinds = []
    net[3].register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    with (
        frozen(net),
        folded(net, "output", IMAGES),
        reader(net, "output", precision="bf16") as read,
    ):
        read(IMAGES)
    assert kinds[-1] == torch.bfloat16


@pytest.mark.parametrize("how", ["done", "raised", "undone"])
def test_the_model_stays_as_it_was(how):
    net = used(Twice() if how == "undone" else MODELS.resnet18(weights=None))
    net.train()
    before = bits(net)
    expected = pytest.raises(RuntimeError, match="broken") if how == "raised" else nullcontext()
    with expected, frozen(net), folded(net, "output", IMAGES):
        assert [module for module in net.modules() if "forward" in vars(module)] or how == "undone"
        if how == "raised":
            raise RuntimeError("broken")
    assert bits(net) == before
    invert(net, IMAGES, "output", steps=2)
    assert bits(net) == before
