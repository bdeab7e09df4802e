"""models: shapes, starts, seeds, and what is refused."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from aelib import models

SHAPE = (2, 8, 4)
IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))

BUILDS = {
    "linear": lambda **k: models.LinearAutoencoder(SHAPE, **k),
    "linear with a code": lambda **k: models.LinearAutoencoder(SHAPE, code=3, **k),
    "mlp": lambda **k: models.MLPAutoencoder(SHAPE, width=16, depth=3, **k),
    "mlp, even depth": lambda **k: models.MLPAutoencoder(SHAPE, width=16, depth=4, **k),
    "mlp, one layer": lambda **k: models.MLPAutoencoder(SHAPE, width=16, depth=1, **k),
    "mlp with a code": lambda **k: models.MLPAutoencoder(SHAPE, width=16, depth=5, code=3, **k),
    "conv": lambda **k: models.ConvAutoencoder(SHAPE, width=6, depth=3, **k),
    "conv, halved": lambda **k: models.ConvAutoencoder(SHAPE, width=6, depth=5, downs=2, **k),
}
CODES = {
    "linear": (64,),
    "linear with a code": (3,),
    "mlp": (16,),
    "mlp, even depth": (16,),
    "mlp, one layer": (16,),
    "mlp with a code": (3,),
    "conv": (6, 8, 4),
    "conv, halved": (6, 2, 1),
}


@pytest.mark.parametrize("name", BUILDS)
def test_encode_then_decode_plus_skip_is_forward(name):
    for skip in (0.0, 0.25, 1.0):
        net = BUILDS[name](skip=skip)
        code = net.encode(IMAGES)
        assert code.shape == (5, *CODES[name])
        decoded = net.decode(code)
        assert decoded.shape == IMAGES.shape
        assert torch.equal(net(IMAGES), decoded + skip * IMAGES if skip else decoded)
        assert torch.allclose(net(IMAGES[:1]), net(IMAGES)[:1], atol=1e-6)


@pytest.mark.parametrize("name", BUILDS)
def test_zero_gain_is_the_zero_map_and_with_a_skip_a_scaling(name):
    assert torch.equal(BUILDS[name](gain=0)(IMAGES), torch.zeros_like(IMAGES))
    assert torch.equal(BUILDS[name](gain=0, skip=0.5)(IMAGES), 0.5 * IMAGES)


@pytest.mark.parametrize("name", BUILDS)
def test_copies_by_deepcopy_state_and_pickle_are_the_same_net(name):
    net = BUILDS[name](skip=0.3)
    others = [copy.deepcopy(net), pickle.loads(pickle.dumps(net)), BUILDS[name](skip=0.3)]
    others[2].load_state_dict(net.state_dict())
    for other in others:
        assert torch.equal(other(IMAGES), net(IMAGES))
        next(other.parameters()).data.zero_()
        assert not torch.equal(other(IMAGES), net(IMAGES))


def test_one_linear_matrix_is_a_product():
    net = models.LinearAutoencoder(SHAPE)
    assert [name for name, _ in net.named_parameters()] == ["encoder.weight"]
    expected = (IMAGES.reshape(5, -1).double() @ net.encoder.weight.detach().double().T).float()
    assert torch.allclose(net(IMAGES), expected.reshape(IMAGES.shape), atol=1e-6)


def test_two_linear_maps_are_their_product():
    net = models.LinearAutoencoder(SHAPE, code=3)
    matrix = net.decoder.weight @ net.encoder.weight
    assert torch.linalg.matrix_rank(matrix) == 3
    expected = (IMAGES.reshape(5, -1) @ matrix.T).reshape(IMAGES.shape)
    assert torch.allclose(net(IMAGES), expected, atol=1e-6)


def test_layers_stand_where_the_docstring_says():
    def layers(net):
        found = [type(m).__name__ for m in net.modules() if not list(m.children())]
        return " ".join(found).replace("Linear", "L").replace("ReLU", "r")

    assert layers(models.MLPAutoencoder(SHAPE, width=9, depth=2)) == "L r L r L"
    assert layers(models.MLPAutoencoder(SHAPE, width=9, depth=3, code=2)) == "L r L L r L"
    assert layers(models.MLPAutoencoder(SHAPE, width=9, depth=1, code=2)) == "L L"
    coded = models.MLPAutoencoder(SHAPE, width=9, depth=3, code=2)
    assert [m.out_features for m in coded.modules() if isinstance(m, nn.Linear)] == [9, 2, 9, 64]
    halved = models.ConvAutoencoder(SHAPE, width=4, depth=4, downs=2)
    assert layers(halved).replace("Conv2d", "C").replace("Upsample", "U") == "C r C r U C r U C"
    for name, layer in models.ACTIVATIONS.items():
        net = models.MLPAutoencoder(SHAPE, width=9, depth=1, activation=name)
        assert isinstance(net.encoder[1], layer)


def test_a_deep_linear_net_is_linear():
    net = models.MLPAutoencoder(SHAPE, width=9, depth=3, activation="linear", bias=False)
    assert torch.allclose(net(2 * IMAGES), 2 * net(IMAGES), atol=1e-6)


def test_parameters_are_counted_by_hand():
    width = 7
    mlp = models.MLPAutoencoder(SHAPE, width=width, depth=3)
    expected = (64 * width + width) + 2 * (width * width + width) + (width * 64 + 64)
    assert models.count_parameters(mlp) == expected
    conv = models.ConvAutoencoder(SHAPE, width=width, depth=3)
    expected = (2 * width * 9 + width) + (width * width * 9 + width) + (width * 2 * 9 + 2)
    assert models.count_parameters(conv) == expected
    conv.encoder.requires_grad_(False)
    assert models.count_parameters(conv) == expected - (2 * width * 9 + width)


@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize(("start", "factor"), [("torch", 3**-0.5), ("lecun", 1), ("he", 2**0.5)])
def test_start_deviations(start, factor, gain):
    """The deviation over 40,000 draws is within 2 %: six standard errors for a normal."""
    torch.manual_seed(0)
    net = models.start_weights(
        nn.Sequential(nn.Linear(400, 100), nn.Conv2d(16, 300, 3)), start, gain
    )
    for layer in net:
        fan_in = layer.weight[0].numel()
        expected = gain * factor / math.sqrt(fan_in)
        assert abs(layer.weight.std().item() / expected - 1) < 0.02
        assert abs(layer.weight.mean().item()) < 6 * expected / math.sqrt(layer.weight.numel())
        if start == "torch":
            assert layer.weight.abs().max() <= gain / math.sqrt(fan_in)
            assert 0 < layer.bias.abs().max() <= gain / math.sqrt(fan_in)
        else:
            assert layer.weight.abs().max() > 3 * expected  # a normal has tails
            assert layer.bias.eq(0).all()


def test_the_torch_start_is_pytorchs_own():
    torch.manual_seed(1)
    plain = nn.Linear(50, 2000)
    ours = models.start_weights(nn.Linear(50, 2000), "torch")
    for mine, its in zip(ours.parameters(), plain.parameters(), strict=True):
        assert abs(mine.std() / its.std() - 1) < 0.05
        assert mine.abs().max() <= 50**-0.5 + 1e-7
        assert its.abs().max() <= 50**-0.5 + 1e-7


# --- Seeds ---------------------------------------------------------------------------------------


def test_replicate_is_seeded_building_and_leaves_the_generator_alone():
    def build():
        return models.MLPAutoencoder(SHAPE, width=8, depth=1)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    nets = models.replicate(build, seeds=3, first=4)
    assert torch.equal(torch.get_rng_state(), before)
    again = models.replicate(build, seeds=3, first=4)
    for number, (net, twin) in enumerate(zip(nets, again, strict=True)):
        torch.manual_seed(4 + number)
        alone = build()
        for mine, its, other in zip(
            net.parameters(), twin.parameters(), alone.parameters(), strict=True
        ):
            assert torch.equal(mine, its)
            assert torch.equal(mine, other)
    assert not torch.equal(nets[0].encoder[0].weight, nets[1].encoder[0].weight)
    for seeds, error in ((0, ValueError), (True, TypeError), (2.0, TypeError)):
        with pytest.raises(error, match="seeds"):
            models.replicate(build, seeds=seeds)


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: models.MLPAutoencoder((8, 8)), ValueError, r"shape: expected \(channels"),
        (lambda: models.MLPAutoencoder(64), ValueError, "shape: .* got 64"),
        (lambda: models.MLPAutoencoder((1, 0, 8)), ValueError, "shape"),
        (lambda: models.MLPAutoencoder((1, 8.0, 8)), ValueError, "shape"),
        (lambda: models.MLPAutoencoder(SHAPE, width=0), ValueError, "width: expected 1 or more"),
        (lambda: models.MLPAutoencoder(SHAPE, width=8.0), TypeError, "width"),
        (lambda: models.MLPAutoencoder(SHAPE, depth=0), ValueError, "depth"),
        (lambda: models.MLPAutoencoder(SHAPE, depth=True), TypeError, "depth"),
        (lambda: models.MLPAutoencoder(SHAPE, depth=4, code=2), ValueError, "depth: .* odd"),
        (lambda: models.MLPAutoencoder(SHAPE, code=0), ValueError, "code"),
        (lambda: models.MLPAutoencoder(SHAPE, activation="rulu"), ValueError, "mean 'relu'"),
        (lambda: models.MLPAutoencoder(SHAPE, start="leucn"), ValueError, "mean 'lecun'"),
        (lambda: models.MLPAutoencoder(SHAPE, gain=-1), ValueError, "gain"),
        (lambda: models.MLPAutoencoder(SHAPE, gain=math.nan), ValueError, "gain"),
        (lambda: models.MLPAutoencoder(SHAPE, gain="1"), ValueError, "gain.*got '1'"),
        (lambda: models.LinearAutoencoder(SHAPE, code=-1), ValueError, "code"),
        (lambda: models.ConvAutoencoder(SHAPE, depth=1), ValueError, "depth: expected at least 2"),
        (lambda: models.ConvAutoencoder(SHAPE, depth=3, downs=2), ValueError, "at least 4"),
        (lambda: models.ConvAutoencoder(SHAPE, depth=9, downs=3), ValueError, "divisible by 8"),
        (lambda: models.ConvAutoencoder(SHAPE, downs=-1), ValueError, "downs"),
        (lambda: models.ConvAutoencoder(SHAPE, downs=1.0), TypeError, "downs"),
    ],
)
def test_wrong_arguments_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_evaluating_puts_each_module_back():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(2), nn.Dropout()))
    net.train()
    net[1][0].eval()
    modes = [True, True, True, False, True]
    with models.evaluating(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(KeyError), models.evaluating(net):
        {}["an error"]
    assert [module.training for module in net.modules()] == modes
