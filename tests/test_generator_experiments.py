"""Chapter 4's rules and estimates, where a value is known: far corners, blind noise levels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aelib import experiments, models, objectives, random, sampling
from aelib.experiments import (
    attention_alone,
    blind_estimate,
    convolutional_walk,
    digit_diffusion,
    long_range,
    noisy_input_read_back,
    output_read_back,
    prediction_target,
)
from aelib.experiments.digit_diffusion import SCHEDULE
from aelib.experiments.untrained_probe import edge


def test_the_rule_of_far_corners_holds_in_its_images_and_by_chance_in_others():
    images = long_range.marked(2000, seed=0)
    assert images.shape == (2000, 1, 16, 16)
    assert long_range.alike(images) == 1
    assert long_range.alike(images, 1, 2) == pytest.approx(0.25, abs=0.04)
    assert long_range.alike(long_range.marked(2000, 0, rule=False)) == pytest.approx(0.25, abs=0.04)
    assert long_range.readable(images).all()
    assert not long_range.readable(torch.zeros(3, 1, 16, 16)).any()
    assert not long_range.readable(torch.ones(3, 1, 16, 16)).any()  # a filled corner is no bar


def test_each_corner_and_stroke_is_told_from_the_others():
    for corner in range(4):
        for stroke in range(4):
            image = torch.zeros(1, 1, 16, 16)
            down, across = divmod(corner, 2)
            image[0, 0, 13 * down : 13 * down + 3, 13 * across : 13 * across + 3] = (
                0.7 * long_range.STROKES[stroke]
            )
            assert int(long_range.lying(image)[0, corner]) == stroke


def test_convolutions_alone_do_not_see_from_corner_to_corner():
    """But for group normalisation, which adds up over all places, and is left out here."""
    (net,) = long_range.nets_of("wider", 1, 16)
    for part in net.modules():
        for inner, layer in part.named_children():
            if isinstance(layer, torch.nn.GroupNorm):
                setattr(part, inner, torch.nn.Identity())
    image = torch.zeros(1, 1, 16, 16, requires_grad=True)
    net(image, torch.tensor([5]))[0, 0, 13:, 13:].sum().backward()
    slopes = image.grad[0, 0].abs()
    assert slopes[3:, 3:].amax() > 0
    assert slopes[:3, :3].amax() == 0


def test_noise_levels_are_found_where_there_is_nothing_but_noise():
    noise = random.normal((4, 1, 64, 64), torch.zeros(1), random.generator(0))
    levels = torch.tensor([0.05, 0.1, 0.2, 0.4])
    noisy = 0.5 + levels.view(-1, 1, 1, 1) * noise
    assert blind_estimate.by_hand(noisy) == pytest.approx(levels, rel=0.1)
    assert blind_estimate.removed(lambda x: 0 * x + 0.5, noisy) == pytest.approx(levels, rel=0.05)
    assert edge(noisy - 0.5) == pytest.approx(levels, rel=0.2)
    assert blind_estimate.r2(levels, levels) == 1
    assert blind_estimate.r2(levels.mean().expand(4), levels) == pytest.approx(0, abs=1e-6)
    assert blind_estimate.scaled(3 * levels - 1, levels) == pytest.approx(levels, rel=1e-4)


def test_linear_attention_is_a_mean_of_values_by_keys_and_queries():
    torch.manual_seed(0)
    layer = attention_alone.Attention(8, linear=True, heads=1, each=4)
    hidden = torch.randn(2, 8, 3, 3)
    queries, keys, values = layer.qkv(hidden).flatten(2).chunk(3, 1)  # (batch, each, pixels)
    queries = queries.softmax(1) / 2
    slow = torch.zeros(2, 4, 9)
    for pixel in range(9):
        weights = torch.einsum("bc,bcp->bp", queries[:, :, pixel], keys.softmax(2))
        slow[:, :, pixel] = torch.einsum("bp,bvp->bv", weights, values)
    assert torch.allclose(layer(hidden), layer.out(slow.view(2, 4, 3, 3)), atol=1e-6)


def test_a_label_asks_for_its_target_and_no_other():
    images = random.uniform((12, 1, 8, 8), torch.zeros(1), random.generator(0))
    model = lambda x, times: 0.3 * x  # noqa: E731
    for number, target in enumerate(objectives.TARGETS):
        labels = torch.full((12,), number)
        torch.manual_seed(4)
        wanted = objectives.diffusion(SCHEDULE, target)(model, images)
        torch.manual_seed(4)
        assert torch.allclose(prediction_target.as_labelled(model, images, labels), wanted)
    mixed = torch.arange(12) % 3  # and with seeds in front
    torch.manual_seed(4)
    losses = prediction_target.as_labelled(model, images.view(2, 6, 1, 8, 8), mixed.view(2, 6))
    for number, target in enumerate(objectives.TARGETS):
        torch.manual_seed(4)
        wanted = objectives.diffusion(SCHEDULE, target)(model, images.view(2, 6, 1, 8, 8))
        assert torch.allclose(losses.view(-1)[mixed == number], wanted.view(-1)[mixed == number])


def test_nets_that_lack_something_are_compared_with_whole_ones(monkeypatch):
    """With a distance that names the net it is of: what it lacks, its target, its first guess."""
    far = dict(zip(objectives.TARGETS, (1.0, 10.0, 100.0), strict=True))
    lack = {"no skip": 2, "no clock": 4, "neither": 8}

    def draw(net, n, seed, steps):
        mean_first = isinstance(net, prediction_target.MeanFirst)
        net = net.module if mean_first else net
        told = not isinstance(net, prediction_target.Clockless)
        skips = (net if told else net.net).skips
        worth = (1 if skips else 2) * (1 if told else 4) * far[net.diffusion_target]
        return torch.full((10, 1, 2, 2), worth if mean_first else worth**2)

    monkeypatch.setattr(prediction_target, "draw", draw)
    monkeypatch.setattr(
        prediction_target,
        "distance",
        lambda make, seeds, draws, first=0: torch.stack([make(i, i).mean() for i in range(seeds)]),
    )
    monkeypatch.setattr(
        prediction_target, "density", lambda _: lambda n, seed: torch.full((1,), 5.0)
    )
    found = prediction_target.run(**{**experiments.find("4.13").short, "steps": 1})
    noise, image = far["noise"], far["image"]
    for kind, worse in lack.items():
        for target in objectives.TARGETS:
            assert found[f"{target}, {kind} / whole"].tolist() == pytest.approx([worse] * 3)
        own = found[f"{prediction_target.OWN}, {kind} / whole"]
        assert own.tolist() == pytest.approx([worse**2] * 3)
        assert found[f"{kind}, image / noise"].tolist() == pytest.approx([image / noise] * 3)
        assert found[f"{kind}, noise / Gaussian"].tolist() == pytest.approx([worse * noise / 5] * 3)
    assert found["noise / Gaussian"].tolist() == pytest.approx([noise / 5] * 3)
    assert found["image / Gaussian"].tolist() == pytest.approx([image / 5] * 3)


@pytest.mark.parametrize("target", objectives.TARGETS)
@pytest.mark.parametrize("kind", ["whole", "neither"])
def test_a_walk_that_begins_with_the_mean_guesses_the_mean_first_and_then_as_the_net_does(
    target, kind
):
    (net,) = prediction_target.nets_of(kind, 1, 8)
    SCHEDULE.mark(net, target)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=random.generator(1)))
    begun, steps = prediction_target.MeanFirst(net), []
    sampling.sample(begun, SCHEDULE, 2, steps=4, callback=steps.append)
    mean = digit_diffusion.digits().train.mean(0)
    assert torch.allclose(steps[0]["denoised"], mean.expand(2, -1, -1, -1), atol=2e-3)
    states, times = torch.randn(3, 1, 28, 28), torch.full((3,), SCHEDULE.steps - 2)
    assert torch.equal(begun(states, times), net(states, times))


def test_a_projection_keeps_its_directions_and_loses_the_others():
    """Read back from the mean, its input is its output: what it lost stays at the start."""
    train = random.normal((40, 1, 4, 4), torch.zeros(1), random.generator(1)) * 0.1 + 0.5
    net, image = output_read_back.Projection(train, 5), train[:3].clamp(0, 1)
    made = net(image)
    assert torch.allclose(net(made), made, atol=1e-6)
    start = train.mean(0).expand_as(image)
    found = output_read_back.read_back(net, image, start, ["output"], 60)["output"]
    assert torch.allclose(found.images[0], made, atol=1e-3)
    assert noisy_input_read_back.arrived(found).all()


def test_a_search_has_arrived_where_it_matches_or_its_picture_moves_no_more_either_way():
    half = torch.tensor([[9.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    found: Any = SimpleNamespace(
        ratio=torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5, 0.001]]),
        m_i=torch.tensor([[1.0, 1.0, 0.98, 1.02, 1.005, 0.5]]),
        trace={"m_i": torch.stack([torch.ones(1, 6), half], -1)},
    )
    # f goes with the square: a hundredth of m_i is nearly two of f.
    assert noisy_input_read_back.arrived(found).tolist() == [False, True, False, False, True, True]


def test_a_walk_on_the_statistics_of_the_batch_leaves_the_running_ones_as_they_were():
    (net,) = models.replicate(lambda: models.UNet((1, 28, 28), 4), 1)
    start = random.uniform((6, 1, 28, 28), torch.zeros(1), random.generator(2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    batch, running = (
        convolutional_walk.path(net, way, start, [1, 2], 0.0, 0) for way in convolutional_walk.WAYS
    )
    assert batch.shape == running.shape == (3, 6, 1, 28, 28)
    assert torch.equal(batch[0], running[0])
    assert not torch.allclose(batch[1], running[1], atol=0.01)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_mixture_that_draws_copies_is_not_chosen_though_its_draws_come_nearest(monkeypatch):
    near = {0.1: (0.92, 50.0), 0.2: (0.7, 10.0), 0.3: (0.91, 60.0)}  # nearest / second, Fréchet

    def scores(images):
        ratio, distance = near.get(round(float(images.mean()), 3), (0.92, 4.0))
        sets = torch.ones(len(images))
        return {"nearest / second": ratio * sets, "Fréchet": distance * sets}

    drawn = lambda count, number=50: lambda n, seed: torch.full((n, 1, 28, 28), count / 100)  # noqa: E731
    monkeypatch.setattr(digit_diffusion, "density", drawn)
    monkeypatch.setattr(digit_diffusion, "scores", scores)
    mixtures = [(10, 50), (20, 50), (30, 50)]
    assert digit_diffusion.tuned_mixture(mixtures, n=2) == (10, 50)
    assert digit_diffusion.tuned_mixture(mixtures, n=2, copies=True) == (20, 50)
    assert digit_diffusion.tuned_mixture([(20, 50)], n=2) == (20, 50), "where all copy"
    assert digit_diffusion.best_mixture([10, 20, 30], n=2) == 20
