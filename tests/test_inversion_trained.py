"""What brings a search on trained weights further, and what says that it has arrived."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import random
from aelib.inversion import Fourier, GradientDescent, LevelledOff, Pixels, Recipe, invert
from aelib.inversion.equalizer import equalized
from aelib.inversion.leak import leaky
from aelib.inversion.stopping import Until, until

SHAPE = (3, 8, 8)


def pictures(n=2, shape=SHAPE, seed=0):
    return torch.rand(n, *shape, generator=random.generator(seed), dtype=torch.float64)


def net(seed=0):
    with random.seeded(seed):
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU6(), nn.Conv2d(6, 6, 3, stride=2), nn.ReLU(True),
            nn.Conv2d(6, 8, 1),
        ).double()  # fmt: skip


# --- A gradient through flat sides ---------------------------------------------------------------


@pytest.mark.parametrize(("relu", "top"), [(nn.ReLU(), math.inf), (nn.ReLU6(), 6.0)])
def test_only_the_flat_sides_leak(relu, top):
    given = torch.tensor([-2.0, -0.1, 0.5, 5.0, 7.0], requires_grad=True)
    with leaky(relu, given.device) as leak:
        for slope in (0.0, 0.25, 0.0):
            leak.set(slope)
            output = relu(given)
            assert torch.equal(output, given.detach().clamp(0, top))  # the answer is exact
            (gradient,) = torch.autograd.grad(output.sum(), given)
            rising = (given > 0) & (given < top)
            assert torch.equal(gradient, torch.where(rising, 1.0, slope))
    assert "forward" not in vars(relu)
    (after,) = torch.autograd.grad(relu(given).sum(), given)
    assert torch.equal(after, ((given > 0) & (given < top)).float())


class Shortcut(nn.Module):
    """What goes round the convolution has been through the in-place ReLU, too."""

    def __init__(self, relu):
        super().__init__()
        self.stem, self.relu, self.conv = nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images):
        x = self.stem(images)
        y = self.conv(self.relu(x))
        return x + y


@pytest.mark.parametrize("relu", [nn.ReLU(True), nn.ReLU6(True)])
def test_an_in_place_relu_stays_in_place_while_it_leaks(relu):
    with random.seeded(0):
        model = Shortcut(relu).double()
    image, images = pictures(1).requires_grad_(), pictures()
    with leaky(model, image.device) as leak:
        leak.set(0.2)
        output = model(image.clone())
        (gradient,) = torch.autograd.grad(output.sum(), image)
    assert torch.equal(output, model(image.clone()))
    slope = torch.where(model.stem(image) > 0, 1.0, 0.2).requires_grad_(False)
    kept = model.stem(image) * slope  # its gradient is the leaky one
    (expected,) = torch.autograd.grad((kept + model.conv(kept)).sum(), image)
    assert torch.allclose(gradient, expected)
    found = invert(model, images, recipe="trained", steps=20)["output"]
    apart = (model(found.images[0]) - model(images)).flatten(1).norm(dim=1)
    assert torch.allclose(found.m_g[0], apart)


def test_a_model_is_as_before_also_after_an_error():
    model = net()
    model[1].forward = own = lambda images: images  # somebody's own: left alone
    inside = []
    with pytest.raises(RuntimeError), leaky(model, torch.zeros(0).device):  # noqa: PT012
        inside += ["forward" in vars(model[3]), vars(model[1])["forward"] is own]
        model(torch.zeros(1, 5, 8, 8))
    assert inside == [True, True]
    assert "forward" not in vars(model[3])
    assert vars(model[1])["forward"] is own


def test_a_leak_turns_on_units_that_are_off():
    """A net whose ReLU is off everywhere on the start: no true gradient, so nothing to descend."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([-0.6, 0.2]))
    x = 0.8 + 0.1 * torch.rand(1, 1, 4, 4, generator=random.generator(0))  # seen by unit 0 alone
    grey = torch.full_like(x, 0.5)  # off in both
    flat = invert(model, x, init=grey, recipe=Recipe(init_contrast=1.0), steps=60)["output"]
    leaking = invert(model, x, init=grey, recipe=Recipe(init_contrast=1.0, leak=0.2), steps=60)
    assert flat.stopped == (("stalled",),)
    assert float(flat.m_i / flat.m_i_start) == 1
    assert float(leaking["output"].m_i / leaking["output"].m_i_start) < 0.05


@dataclasses.dataclass(frozen=True)
class GivingUp(GradientDescent):
    """Plain descent whose line search fails at its third step, as one may on a leaky gradient."""

    def step(self, state, loss, gradient):
        state = super().step(state, loss, gradient)
        return {**state, "stalled": state["stalled"] | (state["done"] >= 3)}


def test_a_search_that_stalls_while_the_gradient_leaks_begins_anew():
    model, x = net(), pictures()
    recipe = Recipe(parameterization=Pixels(), optimizer=GivingUp(1.0))
    plain = invert(model, x, "1", recipe=recipe, steps=20)["1"]
    assert plain.iterations.tolist() == [[3, 3]]
    assert plain.stopped == (("stalled", "stalled"),)
    leaky_first = dataclasses.replace(recipe, leak=0.2, leak_steps=7)
    again = invert(model, x, "1", recipe=leaky_first, steps=20)["1"]
    assert again.iterations.tolist() == [[9, 9]]  # anew after 3 and 6; at 9 the gradient is true
    assert again.stopped == (("stalled", "stalled"),)
    assert (again.m_g < plain.m_g).all()


# --- Larger steps where a layer hears little -----------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 9), (4, 1, 6)])
def test_equalized_coefficients_draw_and_undo(shape):
    images = pictures(2, shape)
    basis = equalized(Fourier(), lambda x: x.square(), images[0], 0.4)
    parameters = basis.to_parameters(images)
    assert torch.allclose(basis.to_image(parameters, shape), images)


def test_a_gain_is_the_energy_heard_to_a_power():
    """Of the identity each coefficient's energy is the square of its weight in the image."""
    like = pictures(1, (1, 32, 32))[0]
    gain = equalized(Fourier(slope=1.0, flat=1.0), lambda x: x, like, 0.25).gain[0, :, :, 0]
    assert gain.min() == gain[1, 0] == gain[0, 1]  # the lowest frequency is heard best
    # Half an octave has one gain; three octaves down in amplitude are six in energy.
    ratio = gain[8, 0] / gain[1, 0]
    assert ratio == pytest.approx(64**0.25, rel=0.15)
    assert torch.equal(equalized(Fourier(), lambda x: x, like, 0.0).gain.unique(), torch.ones(1))


def test_a_deaf_band_is_not_blown_up():
    like = pictures(1, (1, 16, 16))[0]
    mean = equalized(Fourier(), lambda x: x.mean((2, 3)), like, 0.5).gain
    assert mean.max() == pytest.approx(1e-3**-0.5, rel=1e-3)
    assert mean[0, 0, 0, 0] == 1


def test_the_gain_knows_nothing_of_the_image_and_is_the_same_again():
    a, b = (equalized(Fourier(), net(), x, 0.25).gain for x in pictures(2))
    assert torch.equal(a, b)


def test_the_trained_recipe_runs_each_row_as_if_alone():
    x, model = pictures(3), net()
    found = invert(model, x, "4", recipe="trained", steps=20, seeds=2)["4"]
    assert (found.m_g < found.m_r.amax()).all()
    for i in range(3):
        alone = invert(model, x[i : i + 1], "4", recipe="trained", steps=20, seeds=2)["4"]
        assert torch.allclose(alone.images[:, 0], found.images[:, i], atol=1e-8)


# --- Levelled off --------------------------------------------------------------------------------


def test_a_run_has_levelled_off_when_doubling_changes_nothing():
    rule = LevelledOff(change=0.02, within=0.01, least=10)
    falling = torch.linspace(2.0, 1.0, 41)
    early = torch.cat([torch.linspace(2.0, 1.0, 11), torch.ones(30)])  # level from 10 on
    creeping = torch.cat([torch.linspace(2.0, 1.0, 11), torch.linspace(1.0, 0.98, 30)])
    m_i = torch.stack([falling, early, creeping, early])
    m_g, m_r = torch.tensor([0.5, 0.5, 0.5, 1.5]), torch.ones(4)
    assert rule.holds(m_i, m_g, m_r).tolist() == [False, True, False, False]  # the last: m_g > m_r
    assert rule.holds(m_i[:, :20], m_g, m_r).tolist() == [False] * 4  # half of 19 is before 10
    assert not LevelledOff(least=50).holds(m_i, m_g, m_r).any()
    assert rule.holds(m_i[:, :2], torch.full((4,), 0.009), m_r).all()  # near enough at once


def test_runs_stop_where_they_level_off_and_say_so():
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Tanh()).double()  # two colours of three are lost
    rule = LevelledOff(change=0.02, within=1e-9, least=20)
    found = invert(model, pictures(3), until=rule, steps=300, log_at=300)["output"]
    assert set(sum(found.stopped, ())) <= {"levelled off", "stalled"}
    assert "levelled off" in sum(found.stopped, ())
    longer = invert(model, pictures(3), steps=300)["output"]
    assert torch.allclose(found.m_i, longer.m_i, rtol=0.02)
    assert (found.iterations < 300).all()


def test_a_target_and_a_plateau_each_end_their_own_runs():
    model, x = net(), pictures(2)
    found = invert(model, x, "4", until=["levelled off", 0.9], steps=150)["4"]
    assert found.stopped == (("reached", "reached"),)
    assert until("levelled off") == Until(level=LevelledOff())
    assert until(None) == Until()
    assert until([LevelledOff(least=3), 2]) == Until(2.0, LevelledOff(least=3))


def test_levelled_off_is_kept_in_a_file(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Tanh()).double()
    rule = LevelledOff(within=1e-9, least=10)
    found = invert(model, pictures(1), until=rule, steps=200)
    assert ae.inversion.load(found.save(tmp_path / "a.safetensors"))["output"].stopped == (
        found["output"].stopped
    )
