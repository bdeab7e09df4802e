"""Pictures for features that no picture gave."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from aelib import inversion, models, random

SHAPE = (1, 8, 8)


def net():
    with random.seeded(0):
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 5))


def test_features_of_a_picture_are_found_again():
    model, images = net(), torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    targets = model(images).detach()
    found = inversion.invert_features(model, targets, "3", SHAPE, steps=200)
    assert found.shape == (3, *SHAPE)
    assert torch.allclose(model(found), targets, atol=1e-3)


def test_maps_are_matched_on_their_mean_over_places():
    model, targets = net(), 0.1 * torch.eye(4)
    found = inversion.invert_features(model, targets, "0", SHAPE, steps=200)
    assert torch.allclose(model[0](found).mean((2, 3)), targets, atol=1e-3)
    one = inversion.invert_features(model, targets[1:2], "0", SHAPE, steps=200)
    assert torch.allclose(one[0], found[1], atol=1e-2)  # rows are searches of their own


def test_tokens_are_matched_on_their_mean():
    with random.seeded(0):
        model = models.SmallViT((3, 8, 8), 4, width=16, depth=1, patch=4).eval()
    tokens = inversion.features(model, torch.rand(2, 3, 8, 8), "block0")["block0"]
    targets = tokens.mean(1)
    assert torch.equal(inversion.over_places(tokens), targets)
    found = inversion.invert_features(model, targets, "block0", (3, 8, 8), steps=60)
    again = inversion.features(model, found, "block0")["block0"].mean(1)
    grey = inversion.features(model, torch.full_like(found, 0.5), "block0")["block0"].mean(1)
    assert (again - targets).square().sum() < 0.05 * (grey - targets).square().sum()


def test_more_evaluations_do_not_make_it_worse_and_the_net_stays_as_it_is():
    model, targets = net().train(), torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    off = [
        (model(inversion.invert_features(model, targets, "3", SHAPE, steps=n)) - targets)
        .square()
        .sum()
        .item()
        for n in (1, 10, 40)
    ]
    assert off[0] > off[1] >= off[2]
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("targets", "layer", "message"),
    [
        (torch.zeros(2, 7), "3", "targets: expected features of '3', (n, 5)"),
        (torch.full((2, 5), torch.nan), "3", "targets"),
        (torch.zeros(2, 5), "9", "9"),
    ],
)
def test_what_cannot_be_matched_is_refused(targets, layer, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        inversion.invert_features(net(), targets, layer, SHAPE, steps=2)


class Through(nn.Module):
    """A net of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images.flatten(1))


def weighted(value):
    model = net()
    nn.init.constant_(model[0].weight, value)
    return model


@pytest.mark.parametrize(("model", "message"), [
    (weighted(torch.nan), "is not finite"),
    (weighted(0.0), "says nothing of x"),
    (Through(lambda rows: (rows - rows.mean(0))[:, :5]), "images of a batch influence each other"),
    (Through(lambda rows: rows.detach()[:, :5]), "passes no gradient back to the image"),
])  # fmt: skip
def test_a_layer_that_invert_would_refuse_is_refused(model, message):
    with pytest.raises(ValueError, match=rf"layers: .*'output' .*{message}"):
        inversion.invert_features(model, torch.zeros(2, 5), "output", SHAPE, steps=2)


def test_targets_of_another_dtype_are_named():
    told = r"targets: expected torch.float32, .* use targets.to\(torch.float32\)"
    with pytest.raises(TypeError, match=told):
        inversion.invert_features(net(), torch.zeros(2, 5).double(), "3", SHAPE, steps=2)
    found = inversion.invert_features(net().bfloat16(), torch.zeros(2, 5), "3", SHAPE, steps=2)
    assert found.dtype == torch.float32


def test_a_recipe_changes_pictures_after_each_step_and_keeps_the_last():
    model, targets, seen = net(), torch.zeros(2, 5), []

    def darker(images, fraction):
        seen.append(fraction)
        return images - 1

    recipe = inversion.Recipe(
        parameterization=inversion.Pixels(), optimizer=inversion.GradientDescent(1e-9, 0.0),
        after_step=darker, keep_best=False,
    )  # fmt: skip
    found = inversion.invert_features(model, targets, "3", SHAPE, recipe=recipe, steps=4)
    assert seen == [0, 0.25, 0.5, 0.75, 1]
    assert torch.allclose(found, torch.full_like(found, 0.5 - 4), atol=0.2)


def test_targets_for_which_no_loss_is_finite_are_named():
    targets = torch.tensor([[0.1] * 5, [1e30] * 5])
    with pytest.raises(ValueError, match=r"targets: .* finite loss, got none for targets\[1\]"):
        inversion.invert_features(net(), targets, "3", SHAPE, steps=2)


def test_an_untrained_classifier_can_be_asked_too():
    model = models.SmallResNet((3, 32, 32), 10).eval()
    found = inversion.invert_features(model, torch.rand(2, 256), "stage3", (3, 32, 32), steps=3)
    assert found.shape == (2, 3, 32, 32)


def test_along_sees_the_direction_from_the_origin_and_not_how_far():
    along = inversion.Along(torch.tensor([1.0, 1.0]))
    target = torch.tensor([[1.0, 2.0]])  # straight up from the origin
    seen = torch.tensor([[1.0, 9.0], [3.0, 1.0], [1.0, 0.0]])
    assert along(seen, target.expand(3, 2)).tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_two_layers_and_a_seed_that_is_none_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh())
    with pytest.raises(ValueError, match="layer: expected one, got"):
        inversion.invert_features(model, torch.eye(4), "*", (1, 8, 8), steps=2)
    with pytest.raises(ValueError, match="seed: expected 0 or more"):
        inversion.invert_features(model, torch.eye(4), "0", (1, 8, 8), steps=2, seed=-3)
    with pytest.raises(TypeError, match="seed: expected a whole number"):
        inversion.invert_features(model, torch.eye(4), "0", (1, 8, 8), steps=2, seed="a")
