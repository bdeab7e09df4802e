"""UNet and the statistics of its batch normalisation: shapes, what skips carry, what is refused."""

from __future__ import annotations

import copy
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


# --- The net -------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [None, 6])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("skips", ["none", "concat", "double"])
def test_it_gives_back_the_shape_and_each_image_by_itself(skips, norm, hidden):
    net = build(skips=skips, norm=norm, hidden=hidden).eval()
    output = net(IMAGES)
    assert output.shape == IMAGES.shape
    assert torch.allclose(net(IMAGES[1:2]), output[1:2], atol=1e-5)
    assert net.encode(IMAGES).shape == (5, 16, 2, 3)
    if skips == "none":
        assert torch.equal(net.decode(net.encode(IMAGES)), output)
    else:
        with pytest.raises(ValueError, match=f"decode: with skips='{skips}' the decoder also"):
            net.decode(net.encode(IMAGES))


@pytest.mark.parametrize("downs", [1, 2])
def test_channels_double_with_every_halving(downs):
    net = build(downs=downs, width=3)
    assert net.encode(IMAGES).shape == (5, 3 * 2**downs, 8 // 2**downs, 12 // 2**downs)


def test_only_skips_carry_what_the_code_has_lost():
    """With its code erased, a net without skips has nothing left of the image."""
    for skips, differs in (("none", False), ("concat", True), ("double", True)):
        net = build(skips=skips)
        nn.init.zeros_(net.down[-1][0].weight)
        output = net(IMAGES)
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
    ae.fit(pair, IMAGES, steps=3, batch=2, together=True)
    ae.fit(alone, IMAGES, steps=3, batch=2, together=False)
    for mine, its in zip(pair, alone, strict=True):
        assert torch.allclose(mine(IMAGES), its(IMAGES), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "downs", "message"),
    [
        ((3, 30, 32), 2, r"height 30 \(28 or 32 can\) cannot be halved 2 times"),
        ((3, 30, 33), 3, r"height 30 \(24 or 32 can\) and width 33 \(32 or 40 can\)"),
        ((1, 3, 3), 2, r"height 3 \(4 can\) and width 3 \(4 can\) cannot be halved 2 times; crop"),
    ],
)
def test_sizes_that_cannot_be_halved_are_named_with_those_that_can(shape, downs, message):
    with pytest.raises(ValueError, match=message):
        models.UNet(shape, downs=downs)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"skips": "doubled"}, ValueError, "skips is 'doubled'; did you mean 'double'"),
        ({"skips": None}, ValueError, "skips is None"),
        ({"norm": "layer"}, ValueError, "norm is 'layer'; .*'batch', 'group', 'none'"),
        ({"downs": 0}, ValueError, "downs"),
        ({"width": 0}, ValueError, "width"),
        ({"hidden": 0}, ValueError, "hidden"),
        ({"hidden": 2.5}, TypeError, "hidden"),
        ({"activation": "rellu"}, ValueError, "activation"),
    ],
)
def test_wrong_arguments_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        build(**changes)


# --- One image alone -----------------------------------------------------------------------------


def test_one_image_under_batch_statistics_is_warned_about():
    net = build(norm="batch")
    with pytest.warns(models.OneImageBatch, match="brightness and contrast are lost"):
        net(IMAGES[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(IMAGES)
        net.eval()(IMAGES[:1])
        build(norm="group")(IMAGES[:1])
        build(norm="none")(IMAGES[:1])


def test_what_the_warning_says_is_true():
    """Alone, an image and a darker copy of lower contrast come out alike, but for the padding."""
    net = build(norm="batch").double()
    image = IMAGES[:1].double()
    first = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-12)).double()
    assert torch.allclose(first(image), first(0.5 * image + 0.1), atol=1e-6)
    net.train()
    with pytest.warns(models.OneImageBatch):
        gap = (net(image) - net(0.5 * image)).abs().mean()
    assert gap < 1e-3 * (net.eval()(image) - net(0.5 * image)).abs().mean()


# --- Whose statistics ----------------------------------------------------------------------------


def norm_net():
    with ae.random.seeded(1):
        net = build(norm="batch")
    ae.fit(net, IMAGES, steps=3, batch=4)
    return net.eval()


def test_batch_statistics_are_those_of_training_mode():
    net, twin = norm_net(), norm_net().train()
    state = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        running, trained = net(IMAGES), twin(IMAGES)
        with models.batch_statistics(net):
            assert torch.equal(net(IMAGES), trained)
            assert not torch.allclose(net(IMAGES[:2]), trained[:2])
        assert torch.equal(net(IMAGES), running)
    assert not torch.allclose(running, trained, atol=1e-3)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not any(module.training for module in net.modules())


def test_statistics_of_chosen_images_are_frozen():
    net = norm_net()
    state, momentum = copy.deepcopy(net.state_dict()), net.down[0][1].momentum
    others = 0.3 * IMAGES + 0.5
    with torch.no_grad():
        running = net(others)
        with models.batch_statistics(net):
            first = net.down[0][0](IMAGES)
            expected = first.mean((0, 2, 3)), first.transpose(0, 1).flatten(1).var(1)
        with models.statistics_of(net, IMAGES):
            layer = net.down[0][1]
            assert torch.allclose(layer.running_mean, expected[0], atol=1e-6)
            assert torch.allclose(layer.running_var, expected[1], atol=1e-6)
            both = net(others)
            assert torch.allclose(net(others[:1]), both[:1], atol=1e-5)  # frozen: no batch in it
            assert not torch.allclose(both, running, atol=1e-3)
        assert torch.equal(net(others), running)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert layer.momentum == momentum


def test_statistics_come_back_after_an_error_and_need_a_batch_norm():
    net = norm_net()
    state = copy.deepcopy(net.state_dict())
    for scope in (models.batch_statistics(net), models.statistics_of(net, IMAGES)):
        with pytest.raises(KeyError), scope:
            raise KeyError
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    for scope in (models.batch_statistics(build()), models.statistics_of(build(), IMAGES)):
        with pytest.raises(ValueError, match="no batch normalisation"), scope:
            pass
