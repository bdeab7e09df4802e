"""UNet and the statistics of its batch normalisation: shapes, what skips carry, what is refused."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import models

SHAPE = (2, 8, 12)
IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def build(**changes):
    with ae.random.seeded(0):
        return models.UNet(SHAPE, **{"width": 4, "norm": "none", **changes})


# --- The model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [None, 6])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("skips", ["none", "concat", "double"])
def test_it_gives_back_the_shape_and_each_image_by_itself(skips, norm, hidden):
    model = build(skips=skips, norm=norm, hidden=hidden).eval()
    output = model(IMAGES)
    assert output.shape == IMAGES.shape
    assert torch.allclose(model(IMAGES[1:2]), output[1:2], atol=1e-5)
    assert model.encode(IMAGES).shape == (5, 16, 2, 3)
    if skips == "none":
        assert torch.equal(model.decode(model.encode(IMAGES)), output)
    else:
        with pytest.raises(ValueError, match=f"^skips: .*decode, got '{skips}'"):
            model.decode(model.encode(IMAGES))


@pytest.mark.parametrize("downs", [1, 2])
def test_channels_double_with_every_halving(downs):
    model = build(downs=downs, width=3)
    assert model.encode(IMAGES).shape == (5, 3 * 2**downs, 8 // 2**downs, 12 // 2**downs)


def test_only_skips_carry_what_the_code_has_lost():
    """With its code erased, a model without skips has nothing left of the image."""
    for skips, differs in (("none", False), ("concat", True), ("double", True)):
        model = build(skips=skips)
        nn.init.zeros_(model.down[-1][0].weight)
        output = model(IMAGES)
        assert torch.allclose(output[0], output[1], atol=1e-6) is not differs


def test_a_doubled_skip_is_a_skip_with_the_sum_of_two_weights():
    doubled, single = build(skips="double"), build(skips="concat")
    state = doubled.state_dict()
    for level, width in ((0, 8), (1, 4)):
        name = f"up.{level}.0.weight"
        below, first, second = state[name].split([2 * width, width, width], dim=1)
        state[name] = torch.cat([below, first + second], dim=1)
    single.load_state_dict(state)
    assert torch.allclose(single(IMAGES), doubled(IMAGES), atol=1e-5)


def test_seeds_of_a_net_without_batch_norm_share_a_graph():
    pair, alone = (
        models.replicate(lambda: models.UNet(SHAPE, 4, skips="concat", norm="group"), 2)
        for _ in range(2)
    )
    ae.fit(pair, IMAGES, steps=3, batch_size=2, vmap=True)
    ae.fit(alone, IMAGES, steps=3, batch_size=2, vmap=False)
    for mine, its in zip(pair, alone, strict=True):
        assert torch.allclose(mine(IMAGES), its(IMAGES), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skips": "doubled"}, "^skips: .* mean 'double'"),
        ({"norm": "layer"}, "^norm: "),
        ({"downs": 0}, "^downs: "),
        ({"downs": 3}, "^shape: .* divisible by 8"),
        ({"hidden": 0}, "^hidden: "),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


# --- One image alone -----------------------------------------------------------------------------


def test_one_image_under_batch_statistics_is_warned_about():
    model = build(norm="batch")
    with pytest.warns(models.OneImageBatch, match="brightness and contrast are lost"):
        model(IMAGES[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(IMAGES)
        model.eval()(IMAGES[:1])
        build(norm="group")(IMAGES[:1])
        build(norm="none")(IMAGES[:1])


def test_what_the_warning_says_is_true():
    """Alone, an image and a darker copy of lower contrast come out alike, but for the padding."""
    model = build(norm="batch").double()
    image = IMAGES[:1].double()
    first = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-12)).double()
    assert torch.allclose(first(image), first(0.5 * image + 0.1), atol=1e-6)
    model.train()
    with pytest.warns(models.OneImageBatch):
        gap = (model(image) - model(0.5 * image)).abs().mean()
    assert gap < 1e-3 * (model.eval()(image) - model(0.5 * image)).abs().mean()


# --- Whose statistics ----------------------------------------------------------------------------


def normalized():
    with ae.random.seeded(1):
        model = build(norm="batch")
    ae.fit(model, IMAGES, steps=3, batch_size=4)
    return model.eval()


def state_of(model):
    """Modes and momenta, and a copy of all values."""
    modes = [(module.training, getattr(module, "momentum", 0)) for module in model.modules()]
    return modes, {name: value.tolist() for name, value in model.state_dict().items()}


def test_batch_statistics_are_those_of_training_mode():
    model, twin = normalized(), normalized().train()
    state = state_of(model)
    with torch.no_grad():
        running, trained = model(IMAGES), twin(IMAGES)
        with models.batch_statistics(model):
            assert torch.equal(model(IMAGES), trained)
            assert not torch.allclose(model(IMAGES[:2]), trained[:2])
        assert torch.equal(model(IMAGES), running)
    assert not torch.allclose(running, trained, atol=1e-3)
    assert state_of(model) == state


def test_statistics_of_chosen_images_are_frozen_and_calibrate_makes_them_permanent():
    model, others = normalized(), 0.3 * IMAGES + 0.5
    model.down[1].train()  # a mode of its own is left as it is
    state, first, layer = state_of(model), *model.down[0][:2]
    mean, variance = first(IMAGES).mean((0, 2, 3)), first(IMAGES).transpose(0, 1).flatten(1).var(1)
    with torch.no_grad():
        with models.statistics_of(model, IMAGES):
            assert torch.allclose(layer.running_mean, mean, atol=1e-6)
            assert torch.allclose(layer.running_var, variance, atol=1e-6)
            inside = model.eval()(others)
            assert torch.allclose(model(others[:1]), inside[:1], atol=1e-5)  # no batch in it
        assert not torch.allclose(model(others), inside, atol=1e-3)
        model.down[1].train()
        assert state_of(model) == state
        assert models.calibrate(model, IMAGES) is model
        assert state_of(model)[0] == state[0]
        assert torch.equal(model.eval()(others), inside)


def test_calibrating_in_batches_takes_a_plain_mean_over_them():
    model = models.calibrate(normalized(), IMAGES[:4], batch_size=2)
    layer, first = model.down[0][1], model.down[0][0](IMAGES[:4])
    assert torch.allclose(layer.running_mean, first.mean((0, 2, 3)), atol=1e-6)
    variances = [half.transpose(0, 1).flatten(1).var(1) for half in first.split(2)]
    assert torch.allclose(layer.running_var, torch.stack(variances).mean(0), atol=1e-6)


def test_statistics_come_back_after_an_error_and_need_a_batch_norm():
    model = normalized().train()
    state = state_of(model)
    for scope in (models.batch_statistics(model), models.statistics_of(model, IMAGES)):
        with pytest.raises(KeyError), scope:
            raise KeyError
        assert state_of(model) == state
    with pytest.raises(RuntimeError):
        models.calibrate(model, IMAGES[:, :1])
    assert state_of(model) == state
    for use in (models.batch_statistics, lambda model: models.statistics_of(model, IMAGES)):
        with pytest.raises(ValueError, match=r"^model: "), use(build()):
            pass
    with pytest.raises(ValueError, match=r"^images: "):
        models.calibrate(model, IMAGES * math.nan)
