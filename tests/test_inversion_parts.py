"""The parts of an inversion, each against another version: parameterization, loss, optimizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.transforms.v2.functional import gaussian_blur

from aelib import random
from aelib.inversion import (
    LBFGS,
    RECIPES,
    Adam,
    Blur,
    Fourier,
    GradientDescent,
    PinkNoise,
    Pixels,
    Recipe,
    SumL1,
    TotalVariation,
    WhiteNoise,
    cosine,
    invert,
    l1,
    l2,
)
from aelib.inversion.recipe import find_recipe
from aelib.measures import psnr, ssim

SHAPES = [(3, 8, 8), (3, 7, 9), (1, 9, 6), (2, 5, 5), (4, 1, 7), (3, 6, 1)]


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=random.generator(seed), dtype=dtype)


def descend(optimizer, function, point, steps):
    """The states of a descent, the first before any step; function(points) gives (rows,)."""
    state = optimizer.init(point, steps)
    states, losses = [state], []
    for _ in range(steps):
        at = state["point"].detach().requires_grad_()
        loss = function(at)
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        state = dict(optimizer.step(state, loss.detach(), gradient))
        losses.append(loss.detach())
        states.append({key: value.clone() for key, value in state.items()})
    return states, torch.stack(losses)


# --- Parameterization ----------------------------------------------------------------------------


@pytest.mark.parametrize("parameterization", [Pixels(), Fourier(), Fourier(slope=0.7, flat=1.5)])
@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_draw_the_image_they_were_taken_from(parameterization, shape):
    x = drawn(3, *shape)
    numbers = parameterization.to_parameters(x)
    assert numbers.shape[0] == 3
    assert numbers.dim() == 2
    assert torch.allclose(parameterization.to_image(numbers, shape), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_fourier_numbers_add_up_and_keep_rows_apart(shape):
    fourier = Fourier()
    a, b = (torch.randn(2, *fourier.to_parameters(drawn(1, *shape)).shape[1:],
                        generator=random.generator(seed), dtype=torch.float64)
            for seed in (1, 2))  # fmt: skip
    grey = fourier.to_image(torch.zeros_like(a), shape)
    assert torch.equal(grey, torch.full_like(grey, 0.5))
    both = fourier.to_image(2 * a - 3 * b, shape) - grey
    parts = 2 * (fourier.to_image(a, shape) - grey) - 3 * (fourier.to_image(b, shape) - grey)
    assert torch.allclose(both, parts, atol=1e-12)
    alone = fourier.to_image(a[1:], shape)
    assert torch.allclose(fourier.to_image(a, shape)[1:], alone, rtol=0, atol=1e-13)
    repeated = fourier.to_image(a[:1].expand(2, -1), shape)  # of any layout in memory
    assert torch.allclose(repeated[1], fourier.to_image(a[:1], shape)[0], rtol=0, atol=1e-13)


def test_equal_numbers_give_the_spectrum_and_colours_of_photographs():
    """Amplitude is flat up to `flat` cycles an image, then falls with the slope; so by numpy."""
    fourier, size, rows = Fourier(slope=1.25, flat=4.0, colors=(1.0, 0.35, 0.2)), 32, 400
    numbers = torch.randn(rows, 3 * size * (size // 2 + 1) * 2, generator=random.generator(0))
    image = fourier.to_image(numbers, (3, size, size)).numpy() - 0.5
    power = (np.abs(np.fft.fft2(image, norm="ortho")) ** 2).sum(1).mean(0)  # all colours
    assert np.isclose(power[0, 2], power[3, 1], rtol=0.2)  # both below 4 cycles
    assert np.isclose(power[0, 8] / power[0, 2], 2**-2.5, rtol=0.2)
    assert np.isclose(power[6, 8] / power[0, 2], 2.5**-2.5, rtol=0.2)  # 10 cycles, aslant
    axes = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], float)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    turned = np.einsum("kc,rchw->krhw", axes, image).reshape(3, -1)
    deviations = turned.std(1) / turned[0].std()
    assert np.allclose(deviations, (1, 0.35, 0.2), rtol=0.05)
    correlations = np.corrcoef(turned) - np.eye(3)
    assert np.abs(correlations).max() < 0.02


def test_starts_have_the_mean_and_deviation_asked_for():
    noise = WhiteNoise(0.7, 1 / 20)((3, 64, 64), random.generator(0))
    assert float(noise.mean()) == pytest.approx(0.7, abs=0.002)
    assert float(noise.std()) == pytest.approx(0.05, rel=0.03)
    small, large = (
        PinkNoise(deviation)((3, 31, 17), random.generator(0)) for deviation in (0.01, 0.02)
    )
    assert small.shape == (3, 31, 17)
    assert torch.allclose(large - 0.5, 2 * (small - 0.5), atol=1e-6)
    assert PinkNoise()((1, 9, 9), random.generator(0)).shape == (1, 9, 9)


# --- Losses, blur --------------------------------------------------------------------------------


def test_losses_against_plain_sums():
    features, targets = (drawn(4, 3, 5, seed=seed) - 0.5 for seed in (1, 2))
    for row in range(4):
        y, t = features[row].numpy().ravel(), targets[row].numpy().ravel()
        expected = {
            l2: 0.5 * ((y - t) ** 2).sum() / (t**2).sum(),
            l1: np.abs(y - t).sum() / np.abs(t).sum(),
            cosine: 1 - y @ t / np.sqrt((y @ y) * (t @ t)),
            SumL1(0.15): 0.15 * np.abs(y - t).sum(),
        }
        for distance, value in expected.items():
            assert distance(features, targets).shape == (4,)
            assert float(distance(features, targets)[row]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("distance", [l1, l2])
def test_a_target_of_zeros_is_divided_by_nothing(distance):
    features = drawn(2, 5)
    assert torch.allclose(distance(features, torch.zeros(2, 5, dtype=torch.float64)),
                          features.abs().sum(1) if distance is l1
                          else features.square().sum(1) / 2)  # fmt: skip


def test_total_variation_is_the_mean_step_between_neighbours():
    x = drawn(2, 3, 6, 5)
    plain = 0.0
    for channel in range(3):
        for i in range(5):
            for j in range(4):
                down = x[0, channel, i + 1, j] - x[0, channel, i, j]
                across = x[0, channel, i, j + 1] - x[0, channel, i, j]
                plain += float(torch.hypot(down, across)) / 60
    assert float(TotalVariation(2.0, eps=1e-9)(x)[0]) == pytest.approx(2 * plain, rel=1e-6)
    flat = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    cost = TotalVariation(1.0)(flat)
    assert cost.tolist() == [0.0]
    assert torch.autograd.grad(cost.sum(), flat)[0].isfinite().all()


@pytest.mark.parametrize("width", [2.4, 1.4, 0.8, 0.4])
def test_blur_is_torchvisions(width):
    x = drawn(2, 3, 7, 6)
    expected = gaussian_blur(x, [3, 3], [width, width])
    assert torch.allclose(Blur(width, width)(x, 0.3), expected, rtol=0, atol=1e-12)
    share = (2.4 - width) / 2.0  # of the way from 2.4 to 0.4
    assert torch.allclose(Blur()(x, share), expected, rtol=0, atol=1e-12)
    assert not torch.allclose(Blur()(x, share + 0.1), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_and_psnr_are_scikit_images(channels):
    a = drawn(3, channels, 16, 11, seed=1)
    b = (a + 0.2 * drawn(3, channels, 16, 11, seed=2)).clamp(0, 1)
    for x, y in ((a, b), (a, a), (b, 1 - a)):
        for row in range(3):
            p, q = x[row].numpy(), y[row].numpy()
            expected = structural_similarity(p, q, data_range=1, channel_axis=0)
            assert float(ssim(x, y)[row]) == pytest.approx(expected, abs=1e-10)
            if x is not y:
                expected = peak_signal_noise_ratio(p, q, data_range=1)
                assert float(psnr(x, y)[row]) == pytest.approx(expected, abs=1e-10)


# --- Optimizers ----------------------------------------------------------------------------------


def bowls(rows=4, count=12, seed=0):
    """A convex quadratic for each row, of condition 10 to 1000; its points' losses."""
    turns = torch.linalg.qr(drawn(rows, count, count, seed=seed) - 0.5).Q
    high = torch.logspace(1, 3, rows, dtype=torch.float64)
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    matrices = turns.mT @ ((high[:, None] ** ramp)[..., None] * turns)
    centres = drawn(rows, count, seed=seed + 1)

    def losses(points):
        away = points - centres
        return 0.5 * (away * torch.einsum("rij,rj->ri", matrices, away)).sum(1)

    return losses, centres


def valley(x):
    """Rosenbrock's, for each row; least, 0, where all are 1."""
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def two_loops(gradient, pairs, first):
    """−H g by the textbook's two loops (Nocedal & Wright, algorithm 7.4); oldest pair first."""
    q, alphas = gradient.clone(), []
    for s, y in reversed(pairs):
        alphas.append(float(s @ q / (y @ s)))
        q = q - alphas[-1] * y
    r = q * (float(pairs[-1][0] @ pairs[-1][1] / pairs[-1][1].square().sum()) if pairs else first)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + s * (alpha - float(y @ r / (y @ s)))
    return -r


@pytest.mark.parametrize("history", [1, 3, 5])
def test_lbfgs_takes_the_direction_of_the_two_loops(history):
    """Before and after the ring of pairs is full, in rows that accept and refuse in their turn."""
    states, values = descend(LBFGS(history_size=history), valley, 4 * drawn(4, 6, seed=9) - 2, 30)
    refused = kept = 0
    for row in range(4):
        pairs, before = [], None
        for number, (state, value) in enumerate(zip(states[1:], values, strict=True)):
            if state["backtracks"][row] > 0:
                refused += 1
                continue
            x, g = state["from"][row], state["gradient"][row]
            if before is not None:
                s, y = x - before[0], g - before[1]
                if s @ y > 1e-6 * s.norm() * y.norm():
                    pairs, kept = [*pairs, (s, y)][-history:], kept + 1
            before = (x, g)
            expected = two_loops(g, pairs, float(value[row] / g.square().sum()))
            off = (state["direction"][row] - expected).norm() / expected.norm()
            assert off < 1e-7, (row, number)
    assert kept == int(states[-1]["n_pairs"].sum()) > 4 * history
    assert refused  # or nothing was asked of the rows' independence


def test_lbfgs_does_not_learn_from_a_pair_that_curves_downwards():
    start = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    states, values = descend(LBFGS(), lambda x: 4 - 0.5 * x.square().sum(1), start, 3)
    assert states[-1]["n_pairs"].tolist() == [0, 0]
    assert (values.diff(dim=0) < 0).all()  # and yet it goes downhill, also below a loss of 0
    assert not states[-1]["stalled"].any()


def test_lbfgs_reaches_the_bottom_as_scipys_does():
    """Within one and a half times as many evaluations as scipy, to the same tiny loss."""
    losses, centres = bowls()
    start = drawn(4, 12, seed=9)
    states, values = descend(LBFGS(history_size=10), losses, start, 180)
    for row in range(4):

        def one(x, row=row):
            points = start.clone()
            points[row] = torch.from_numpy(x)
            points.requires_grad_()
            loss = losses(points)[row]
            return float(loss.detach()), torch.autograd.grad(loss, points)[0][row].numpy()

        peer = minimize(one, start[row].numpy(), jac=True, method="L-BFGS-B",
                        options={"maxcor": 10, "ftol": 0, "gtol": 1e-7})  # fmt: skip
        target = max(float(peer.fun), 1e-12)
        ours = int((values[:, row] <= target).nonzero()[0]) + 1
        assert ours <= 1.5 * peer.nfev, (row, ours, peer.nfev)
    assert torch.allclose(states[-1]["from"], centres, atol=1e-6)


def test_lbfgs_crosses_rosenbrocks_valley_as_scipys_does():
    starts = np.array([[-1.2, 1.0, -1.2, 1.0], [0.0, 0.0, 0.0, 0.0], [2.0, -1.0, 0.5, 1.5]])
    _, values = descend(LBFGS(), valley, torch.tensor(starts), 160)
    for row, start in enumerate(starts):
        peer = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B",
                        options={"maxcor": 6, "ftol": 0, "gtol": 1e-6})  # fmt: skip
        ours = int((values[:, row] <= 1e-10).nonzero()[0]) + 1
        assert peer.fun < 1e-9
        assert ours <= 2 * peer.nfev, (row, ours, peer.nfev)


def test_lbfgs_walks_back_from_where_the_loss_is_not_finite():
    """−log x from near 0 with a first step far too long; rows beside it take no notice."""

    def wall(x):
        return (x - x.log()).sum(1) + 50  # a least value far above 0: Polyak's step is too long

    states, values = descend(LBFGS(), wall, torch.tensor([[3.0, 0.5], [1.5, 2.0]]).double(), 40)
    assert not values.isfinite().all()
    assert torch.allclose(states[-1]["from"], torch.ones(2, 2).double(), atol=1e-5)


def test_a_row_is_stalled_where_nothing_helps():
    optimizer = LBFGS(max_backtracks=3)
    exact = optimizer.init(torch.zeros(1, 2), 9)
    exact = optimizer.step(exact, torch.zeros(1), torch.zeros(1, 2))
    assert exact["stalled"].tolist() == [True]
    assert exact["point"].isfinite().all()
    state = optimizer.init(torch.zeros(1, 2), 9)
    state = optimizer.step(state, torch.ones(1), torch.ones(1, 2))
    for tries in range(1, 4):  # every trial is worse than the last
        state = optimizer.step(state, torch.ones(1) + tries, torch.ones(1, 2))
        assert state["stalled"].tolist() == [tries == 3]


@pytest.mark.parametrize("name", ["history_size", "memory", "max_backtracks"])
def test_lbfgs_refuses_counts_below_one(name):
    with pytest.raises(ValueError, match=f"{name}: expected 1 or more"):
        LBFGS(**{name: 0})


def test_adam_is_torchs():
    losses, _ = bowls()
    start = drawn(4, 12, seed=9)
    states, _ = descend(Adam(lr=0.05, betas=(0.8, 0.95), eps=1e-6), losses, start, 25)
    point = start.clone().requires_grad_()
    peer = torch.optim.Adam([point], lr=0.05, betas=(0.8, 0.95), eps=1e-6)
    for state in states[1:]:
        peer.zero_grad()
        losses(point).sum().backward()
        peer.step()
        assert torch.allclose(state["point"], point.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("last", [None, 0.002])
def test_gradient_descent_is_a_plain_loop(last):
    losses, _ = bowls(rows=2)
    point = drawn(2, 12, seed=9)
    states, _ = descend(GradientDescent(0.001, last), losses, point, 10)
    for step, state in enumerate(states[1:]):
        at = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(losses(at).sum(), at)
        point = point - (0.001 + ((last or 0.001) - 0.001) * step / 10) * gradient
        assert torch.allclose(state["point"], point, rtol=0, atol=1e-13)


@pytest.mark.parametrize("optimizer", [LBFGS(), Adam(0.05), GradientDescent(1e-3, 5e-4)])
def test_rows_descend_alone(optimizer):
    """Rows of different condition together as each by itself; a bad row spoils no other."""
    losses, _ = bowls()
    start = drawn(4, 12, seed=9)

    def spoiled(points):
        return losses(points) * torch.tensor([1, 1, float("nan"), 1]).double()

    together, values = descend(optimizer, losses, start, 20)
    beside, _ = descend(optimizer, spoiled, start, 20)
    for row in range(4):

        def alone(point, row=row):
            return losses(torch.cat([start[:row], point, start[row + 1 :]]))[row : row + 1]

        single, value = descend(optimizer, alone, start[row : row + 1], 20)
        for state in (together, beside) if row != 2 else (together,):
            assert torch.allclose(state[-1]["point"][row], single[-1]["point"][0], atol=1e-8)
        assert torch.allclose(values[:, row], value[:, 0], atol=1e-8)
    assert beside[-1]["stalled"][2]
    assert not beside[-1]["stalled"][[0, 1, 3]].any()


# --- Recipe --------------------------------------------------------------------------------------


def test_the_recipes_have_names():
    assert find_recipe("default") == Recipe() == RECIPES["default"]
    assert find_recipe("badger2022").steps == 500
    assert find_recipe(Recipe(steps=3)).steps == 3


@pytest.mark.parametrize("sides", [(1, 7), (7, 1)])
@pytest.mark.parametrize("recipe", [
    "badger2022", Recipe(regularizer=TotalVariation(0.1)),
])  # fmt: skip
def test_images_without_neighbours_are_refused_where_neighbours_are_needed(recipe, sides):
    model = torch.nn.Conv2d(2, 3, 1)
    with pytest.raises(ValueError, match=r"images: expected 2 pixels or more a side for .*without"):
        invert(model, drawn(1, 2, *sides, dtype=torch.float32), recipe=recipe, steps=3)


def test_a_basis_first_made_in_inference_mode_serves_outside_of_it():
    shape = (1, 7, 11)  # of no other test: what is made once is kept
    with torch.inference_mode():
        PinkNoise()(shape, torch.Generator())
    images = torch.rand(1, *shape)
    found = invert(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(77, 8)), images, steps=2)
    assert found["output"].images.isfinite().all()
