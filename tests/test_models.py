"""models: shapes, first weights, seeds, and what is refused."""

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
LAYER = nn.Linear(2, 2)

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
        model = BUILDS[name](skip=skip)
        code = model.encode(IMAGES)
        assert code.shape == (5, *CODES[name])
        decoded = model.decode(code)
        assert decoded.shape == IMAGES.shape
        assert torch.equal(model(IMAGES), decoded + skip * IMAGES if skip else decoded)
        assert torch.allclose(model(IMAGES[:1]), model(IMAGES)[:1], atol=1e-6)


@pytest.mark.parametrize("name", BUILDS)
def test_zero_gain_is_the_zero_map_and_with_a_skip_a_scaling(name):
    assert torch.equal(BUILDS[name](gain=0)(IMAGES), torch.zeros_like(IMAGES))
    assert torch.equal(BUILDS[name](gain=0, skip=0.5)(IMAGES), 0.5 * IMAGES)


@pytest.mark.parametrize("name", BUILDS)
def test_copies_by_deepcopy_state_and_pickle_are_the_same_model(name):
    model = BUILDS[name](skip=0.3)
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), BUILDS[name](skip=0.3)]
    others[2].load_state_dict(model.state_dict())
    for other in others:
        assert torch.equal(other(IMAGES), model(IMAGES))
        next(other.parameters()).data.zero_()
        assert not torch.equal(other(IMAGES), model(IMAGES))


def test_one_linear_matrix_is_a_product():
    model = models.LinearAutoencoder(SHAPE)
    assert [name for name, _ in model.named_parameters()] == ["encoder.weight"]
    expected = (IMAGES.reshape(5, -1).double() @ model.encoder.weight.detach().double().T).float()
    assert torch.allclose(model(IMAGES), expected.reshape(IMAGES.shape), atol=1e-6)


def test_two_linear_maps_are_their_product():
    model = models.LinearAutoencoder(SHAPE, code=3)
    matrix = model.decoder.weight @ model.encoder.weight
    assert torch.linalg.matrix_rank(matrix) == 3
    expected = (IMAGES.reshape(5, -1) @ matrix.T).reshape(IMAGES.shape)
    assert torch.allclose(model(IMAGES), expected, atol=1e-6)


def test_layers_stand_where_the_docstring_says():
    def layers(model):
        kinds = [type(m).__name__ for m in model.modules() if not list(m.children())]
        return " ".join(kinds).replace("Linear", "L").replace("ReLU", "r")

    assert layers(models.MLPAutoencoder(SHAPE, width=9, depth=2)) == "L r L r L"
    assert layers(models.MLPAutoencoder(SHAPE, width=9, depth=3, code=2)) == "L r L L r L"
    assert layers(models.MLPAutoencoder(SHAPE, width=9, depth=1, code=2)) == "L L"
    coded = models.MLPAutoencoder(SHAPE, width=9, depth=3, code=2)
    assert [m.out_features for m in coded.modules() if isinstance(m, nn.Linear)] == [9, 2, 9, 64]
    halved = models.ConvAutoencoder(SHAPE, width=4, depth=4, downs=2)
    assert layers(halved).replace("Conv2d", "C").replace("Upsample", "U") == "C r C r U C r U C"
    for name, layer in models.ACTIVATIONS.items():
        model = models.MLPAutoencoder(SHAPE, width=9, depth=1, activation=name)
        assert isinstance(model.encoder[1], layer)


def test_a_deep_linear_net_is_linear():
    model = models.MLPAutoencoder(SHAPE, width=9, depth=3, activation="linear", bias=False)
    assert torch.allclose(model(2 * IMAGES), 2 * model(IMAGES), atol=1e-6)


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
@pytest.mark.parametrize(("init", "factor"), [("torch", 3**-0.5), ("lecun", 1), ("he", 2**0.5)])
def test_init_deviations(init, factor, gain):
    """The deviation over 40,000 draws is within 2 %: six standard errors for a normal."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(400, 100), nn.Conv2d(16, 300, 3))
    for layer in models.init_weights(layers, init, gain):
        fan_in = layer.weight[0].numel()
        expected = gain * factor / math.sqrt(fan_in)
        assert abs(layer.weight.std().item() / expected - 1) < 0.02
        assert abs(layer.weight.mean().item()) < 6 * expected / math.sqrt(layer.weight.numel())
        if init == "torch":
            assert layer.weight.abs().max() <= gain / math.sqrt(fan_in)
            assert 0 < layer.bias.abs().max() <= gain / math.sqrt(fan_in)
        else:
            assert layer.weight.abs().max() > 3 * expected  # a normal has tails
            assert layer.bias.eq(0).all()


def test_the_torch_init_is_pytorchs_own():
    torch.manual_seed(1)
    theirs = nn.Linear(50, 20)
    ours = copy.deepcopy(theirs)
    torch.manual_seed(1)
    models.init_weights(ours)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, its, rtol=1e-6)


# --- Seeds ---------------------------------------------------------------------------------------


def test_replicate_is_seeded_building_and_leaves_the_generator_alone():
    def build():
        return models.MLPAutoencoder(SHAPE, width=8, depth=1)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    built = models.replicate(build, seeds=3, first=4)
    assert torch.equal(torch.get_rng_state(), before)
    for number, model in enumerate(built):
        torch.manual_seed(4 + number)
        for mine, its in zip(model.parameters(), build().parameters(), strict=True):
            assert torch.equal(mine, its)
    assert not torch.equal(built[0].encoder[0].weight, built[1].encoder[0].weight)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (LAYER, TypeError, "^build: expected a function, such as .* got Linear$"),
        (3, TypeError, "^build: expected a callable"),
        (lambda: 3, TypeError, r"^build\(\): expected a torch.nn.Module, got 3"),
        (lambda: nn.LazyLinear(2), ValueError, r"^build\(\): .* weight is not made yet .lazy"),
        (lambda: nn.Linear(2, 2, device="meta"), ValueError, r"^build\(\): .* values .meta"),
        (lambda: LAYER, ValueError, "^build: .* the same one twice"),
    ],
)
def test_what_replicate_cannot_build_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        models.replicate(build)


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: models.LinearAutoencoder((8, 8)), ValueError, "^shape: "),
        (lambda: models.MLPAutoencoder(SHAPE, width=8.0), TypeError, "^width: "),
        (lambda: models.MLPAutoencoder(SHAPE, depth=4, code=2), ValueError, "^depth: .* odd"),
        (lambda: models.VAE(SHAPE, depth=4, code=2), ValueError, "^depth: .* odd"),
        (lambda: models.MLPAutoencoder(SHAPE, activation="rulu"), ValueError, "mean 'relu'"),
        (lambda: models.MLPAutoencoder(SHAPE, init="leucn"), ValueError, "^init: .* mean 'lecun'"),
        (lambda: models.MLPAutoencoder(SHAPE, gain=-1), ValueError, "^gain: "),
        (lambda: models.LinearAutoencoder(SHAPE, skip=math.nan), ValueError, "^skip: "),
        (lambda: models.ConvAutoencoder(SHAPE, depth=3, downs=2), ValueError, "^depth: .*4 or"),
        (lambda: models.ConvAutoencoder(SHAPE, depth=9, downs=3), ValueError, "divisible by 8"),
    ],
)
def test_wrong_arguments_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_evaluating_puts_each_module_back():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(2), nn.Dropout()))
    model.train()
    model[1][0].eval()
    modes = [True, True, True, False, True]
    with models.evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(KeyError), models.evaluating(model):
        {}["an error"]
    assert [module.training for module in model.modules()] == modes
    lazy = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"^model: .*lazy"), models.evaluating(lazy):
        pass
    assert lazy.training
