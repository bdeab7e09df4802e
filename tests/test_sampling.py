"""sampling and schedules: closed forms, a Gaussian whose noise is known, the samplers' limits."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aelib import data, models, runtime, sampling
from aelib.sampling.samplers import visited

SHAPE = (1, 4, 4)
MEAN, SPREAD = 0.3, 0.25  # of the data, in the model's range


class Exact:
    """The best noise predictor for pixels N(MEAN, SPREAD²): E[e | x_t], in float64."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, states, times):
        bars = torch.tensor(self.schedule.alphas_bar, dtype=torch.float64)[times]
        left, added = bars.sqrt().view(-1, 1, 1, 1), (1 - bars).sqrt().view(-1, 1, 1, 1)
        return added * (states - left * MEAN) / (left**2 * SPREAD**2 + added**2)


def end_of_walk(schedule, steps, eta):
    """Mean and deviation in which a sampler ends, exactly: each step is linear in x_t."""
    times = visited(schedule, steps)
    mean, variance = 0.0, 1.0
    for number, time in enumerate(times):
        now = schedule.alphas_bar[time]
        then = schedule.alphas_bar[times[number + 1]] if number + 1 < len(times) else 1.0
        # ê = a x + b, x̂_0 = (x − √(1 − ᾱ) ê) / √ᾱ
        a = math.sqrt(1 - now) / (now * SPREAD**2 + 1 - now)
        b = -a * math.sqrt(now) * MEAN
        new = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
        kept = math.sqrt(max(1 - then - new, 0))
        slope = math.sqrt(then) * (1 - math.sqrt(1 - now) * a) / math.sqrt(now) + kept * a
        shift = -math.sqrt(then) * math.sqrt(1 - now) * b / math.sqrt(now) + kept * b
        mean, variance = slope * mean + shift, slope**2 * variance + new
    return mean, math.sqrt(variance)


# --- Schedules -----------------------------------------------------------------------------------


def test_linear_betas_rise_evenly_from_first_to_last():
    schedule = data.linear_schedule(5, first=0.1, last=0.3)
    expected = [0.1, 0.15, 0.2, 0.25, 0.3]
    assert schedule.betas.tolist() == pytest.approx(expected)
    assert schedule.alphas_bar[2] == pytest.approx(0.9 * 0.85 * 0.8)


def test_the_cosine_curve_in_closed_form():
    steps, offset = 40, 0.008
    schedule = data.cosine_schedule(steps, offset, most=0.999999)

    def curve(t):
        return math.cos((t / steps + offset) / (1 + offset) * math.pi / 2) ** 2

    for time in range(steps - 1):
        assert schedule.alphas_bar[time] == pytest.approx(curve(time + 1) / curve(0), rel=1e-9)


@given(st.lists(st.floats(0.001, 0.9), min_size=1, max_size=20))
def test_betas_and_shares_say_the_same(betas):
    bars, left = [], 1.0
    for beta in betas:
        left *= 1 - beta
        bars.append(left)
    assert data.Schedule(bars).betas.tolist() == pytest.approx(betas, rel=1e-6)


def test_noisy_keeps_energy_one():
    """For unit-variance data in the model's range, every x_t has unit variance."""
    schedule = data.cosine_schedule(10)
    generator = torch.Generator().manual_seed(0)
    images = data.to_images(torch.randn(20_000, 1, 2, 2, generator=generator))
    noise = torch.randn(images.shape, generator=generator)
    for time in (0, 5, 9):
        states = schedule.noisy(images, torch.full((len(images),), time), noise)
        assert states.std().item() == pytest.approx(1, abs=0.01)
    left, added = schedule.levels(torch.tensor([0, 5, 9]))
    assert torch.allclose(left**2 + added**2, torch.ones(3))
    plain = left[1] * (2 * images[:1] - 1) + added[1] * noise[:1]
    assert torch.allclose(schedule.noisy(images[:1], torch.tensor([5]), noise[:1]), plain)


def test_seeds_and_a_batch_may_stand_in_front():
    schedule = data.linear_schedule(10, 0.01, 0.2)
    images, noise = torch.rand(2, 3, *SHAPE), torch.randn(2, 3, *SHAPE)
    times = torch.tensor([[0, 1, 2], [7, 8, 9]])
    both = schedule.noisy(images, times, noise)
    for seed in range(2):
        assert torch.equal(both[seed], schedule.noisy(images[seed], times[seed], noise[seed]))


def test_the_ranges_are_each_others_inverse():
    images = torch.rand(3, *SHAPE)
    assert torch.allclose(data.to_images(data.to_model(images)), images, atol=1e-7)
    assert data.to_model(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]


def test_a_schedule_is_a_value():
    schedule = data.cosine_schedule(10)
    assert schedule.betas is schedule.betas
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert schedule == data.cosine_schedule(10) != data.cosine_schedule(11)
    assert "steps=10" in repr(schedule)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: data.Schedule(()), ValueError, "at least one"),
        (lambda: data.Schedule((0.9, 0.9)), ValueError, "below the one before"),
        (lambda: data.Schedule((0.5, 0.6)), ValueError, "got 0.6 at time 1 after 0.5"),
        (lambda: data.Schedule((1.0, 0.5)), ValueError, "between 0 and 1, got 1.0 at time 0"),
        (lambda: data.Schedule((0.5, 0.0)), ValueError, "at time 1"),
        (lambda: data.Schedule((0.5, math.nan)), ValueError, "got nan"),
        (lambda: data.Schedule(("a",)), TypeError, "expected numbers"),
        (lambda: data.linear_schedule(0), ValueError, "steps"),
        (lambda: data.linear_schedule(10.0), TypeError, "steps"),
        (lambda: data.linear_schedule(10, 0.2, 0.1), ValueError, "first ≤ last"),
        (lambda: data.linear_schedule(10, 0.0, 0.1), ValueError, "first"),
        (lambda: data.linear_schedule(10, 0.1, 1.0), ValueError, "last"),
        (lambda: data.cosine_schedule(10, -1), ValueError, "offset"),
        (lambda: data.cosine_schedule(10, most=1), ValueError, "most"),
        (lambda: data.cosine_schedule(offset="a"), TypeError, "offset: expected a number, got 'a'"),
        (lambda: data.cosine_schedule(most=None), TypeError, "most: expected a number, got None"),
        (lambda: data.linear_schedule(first="a"), TypeError, "first: expected a number, got 'a'"),
        (lambda: data.linear_schedule(last=True), TypeError, "last: expected a number, got True"),
        (lambda: data.cosine_schedule(4).levels(torch.tensor([4])), ValueError, "0 to 3 .*4 to 4"),
        (lambda: data.cosine_schedule(4).levels(torch.tensor([-1, 2])), ValueError, "-1 to 2"),
    ],
)
def test_schedules_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# --- Samplers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "steps", "eta"),
    [
        (sampling.ddpm, None, 1),
        (sampling.ddpm, 15, 1),
        (sampling.ddim, None, 0),
        (sampling.ddim, 20, 0),
        (sampling.ddim, 20, 0.5),
    ],
)
def test_a_gaussian_comes_out_as_the_recursion_says(sampler, steps, eta):
    """40,000 pixels: a mean is within 6/200 deviations, a deviation within 6/√80,000 of itself."""
    schedule = data.cosine_schedule(60)
    options = {"eta": eta} if sampler is sampling.ddim else {}
    images = sampler(Exact(schedule), schedule, SHAPE, 2500, steps=steps, clip=False, **options)
    states = data.to_model(images.double())
    mean, spread = end_of_walk(schedule, steps, eta)
    assert states.mean().item() == pytest.approx(mean, abs=6 * spread / 200)
    assert states.std().item() == pytest.approx(spread, rel=0.022)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_many_steps_the_end_is_the_data(eta):
    coarse, fine = (end_of_walk(data.cosine_schedule(steps), None, eta) for steps in (50, 2000))
    assert fine[0] == pytest.approx(MEAN, abs=1e-3)
    assert fine[1] == pytest.approx(SPREAD, rel=0.01)
    assert abs(fine[1] - SPREAD) < abs(coarse[1] - SPREAD)


def test_ddim_with_all_its_noise_is_ddpm():
    schedule = data.linear_schedule(12, 0.01, 0.3)
    net = Exact(schedule)
    for steps in (None, 5):
        first = sampling.ddpm(net, schedule, SHAPE, 6, steps=steps, seed=3)
        second = sampling.ddim(net, schedule, SHAPE, 6, steps=steps, eta=1, seed=3)
        assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(first, sampling.ddim(net, schedule, SHAPE, 6, steps=5, seed=3))


def test_ddpm_is_the_papers_algorithm_2():
    """x_s = (x − β ê / √(1 − ᾱ)) / √α + σ z, in plain loops."""
    schedule = data.linear_schedule(8, 0.05, 0.4)
    net, bars = Exact(schedule), schedule.alphas_bar
    source = torch.Generator().manual_seed(5)
    state = torch.randn(3, *SHAPE, generator=source)
    for time in range(7, -1, -1):
        beta = schedule.betas[time].item()
        before = bars[time - 1] if time else 1.0
        answer = net(state, torch.full((3,), time)).float()
        state = (state - beta / math.sqrt(1 - bars[time]) * answer) / math.sqrt(1 - beta)
        if time:
            spread = math.sqrt(beta * (1 - before) / (1 - bars[time]))
            state = state + spread * torch.randn(3, *SHAPE, generator=source)
    found = sampling.ddpm(net, schedule, SHAPE, 3, seed=5, clip=False)
    assert torch.allclose(data.to_model(found), state, atol=1e-5)


def test_one_step_is_the_guess():
    schedule = data.linear_schedule(8, 0.05, 0.4)
    start = torch.randn(4, *SHAPE)
    last = torch.full((4,), 7)
    left, added = (
        math.sqrt(share) for share in (schedule.alphas_bar[7], 1 - schedule.alphas_bar[7])
    )
    guess = (start - added * Exact(schedule)(start, last)) / left
    for sampler in (sampling.ddim, sampling.ddpm):
        found = sampler(Exact(schedule), schedule, SHAPE, 4, steps=1, start=start, clip=False)
        assert torch.allclose(data.to_model(found), guess.float(), atol=1e-5)


def test_a_deterministic_walk_depends_on_its_start_alone():
    schedule = data.cosine_schedule(20)
    start = torch.randn(4, *SHAPE)
    walks = [
        sampling.ddim(Exact(schedule), schedule, SHAPE, 4, steps=7, start=start, seed=seed)
        for seed in (0, 1)
    ]
    assert torch.equal(*walks)
    noisy = [
        sampling.ddim(Exact(schedule), schedule, SHAPE, 4, steps=7, start=start, seed=seed, eta=1)
        for seed in (0, 1, 0)
    ]
    assert torch.equal(noisy[0], noisy[2])
    assert not torch.equal(noisy[0], noisy[1])


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9))
def test_chunks_change_nothing(chunk):
    net = models.DiffusionUNet((1, 4, 4), width=8, steps=6)
    schedule = data.cosine_schedule(6)
    whole = sampling.ddpm(net, schedule, (1, 4, 4), 8, seed=2)
    parts = sampling.ddpm(net, schedule, (1, 4, 4), 8, seed=2, chunk=chunk)
    assert torch.allclose(whole, parts, atol=1e-4)


def test_clipped_guesses_stay_images():
    schedule = data.cosine_schedule(10)
    moments = []

    def wild(states, times):
        return 3 * torch.ones_like(states)

    images = sampling.ddpm(wild, schedule, SHAPE, 2, callback=moments.append)
    assert [moment.time for moment in moments] == list(range(9, -1, -1))
    assert [moment.step for moment in moments] == list(range(10))
    assert all(moment.guess.min() >= 0 and moment.guess.max() <= 1 for moment in moments)
    assert torch.equal(images, moments[-1].images)
    assert torch.allclose(images, moments[-1].guess, atol=1e-6)


def test_a_net_keeps_its_mode_and_the_global_generator_its_place():
    net = models.DiffusionUNet((1, 4, 4), width=8, steps=6).train()
    before = torch.get_rng_state()
    images = sampling.ddim(net, data.cosine_schedule(6), (1, 4, 4), 2, steps=3)
    assert net.training
    assert not images.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_times_are_visited_evenly():
    schedule = data.cosine_schedule(101)
    assert visited(schedule, 5) == [100, 75, 50, 25, 0]
    assert visited(schedule, 1) == [100]
    assert visited(schedule, None) == list(range(100, -1, -1))


SMALL = data.cosine_schedule(6)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("net", SMALL, SHAPE, 2), {}, TypeError, "net: expected a callable"),
        ((Exact(SMALL), 6, SHAPE, 2), {}, TypeError, "schedule"),
        ((Exact(SMALL), SMALL, (4, 4), 2), {}, ValueError, "shape"),
        ((Exact(SMALL), SMALL, SHAPE, 0), {}, ValueError, "n: expected 1"),
        ((Exact(SMALL), SMALL, SHAPE, 2.0), {}, TypeError, "n:"),
        ((Exact(SMALL), SMALL, SHAPE, 10**13), {}, ValueError, "more than there is"),
        ((Exact(SMALL), SMALL, SHAPE, 2), {"steps": 7}, ValueError, "6 times, got 7"),
        ((Exact(SMALL), SMALL, SHAPE, 2), {"chunk": 0}, ValueError, "chunk"),
        ((Exact(SMALL), SMALL, SHAPE, 2), {"start": torch.zeros(3, *SHAPE)}, ValueError, "start"),
        ((Exact(SMALL), SMALL, SHAPE, 2), {"start": [1, 2]}, TypeError, "a tensor .* got list"),
        (
            (Exact(SMALL), SMALL, SHAPE, 2),
            {"start": torch.full((2, *SHAPE), math.nan)},
            ValueError,
            "start: expected finite values",
        ),
        ((lambda x, t: x[:, :, 1:], SMALL, SHAPE, 2), {}, ValueError, "net: expected the noise"),
        ((lambda x, t: x / 0, SMALL, SHAPE, 2), {}, ValueError, "NaN"),
        (
            (models.DiffusionUNet((1, 4, 4), width=8, steps=5), SMALL, SHAPE, 2),
            {},
            ValueError,
            "knows 5 times and the schedule has 6",
        ),
        (
            (models.DiffusionUNet((1, 4, 4), width=8, steps=12), SMALL, SHAPE, 2),
            {},
            ValueError,
            "knows 12 times and the schedule has 6",
        ),
        (
            (models.DiffusionUNet((1, 8, 8), width=8, steps=6), SMALL, SHAPE, 2),
            {},
            ValueError,
            "built for",
        ),
    ],
)
def test_walks_that_cannot_work_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        sampling.ddpm(*arguments, **options)


@pytest.mark.parametrize("sampler", [sampling.ddpm, sampling.ddim])
@pytest.mark.parametrize("clip", [True, False])
def test_an_infinite_answer_on_the_way_is_not_hidden_by_clipping(sampler, clip):
    def overflows(states, times):
        return torch.where(times[:, None, None, None] > 2, torch.inf, states)

    with pytest.raises(ValueError, match="NaN or infinity"):
        sampler(overflows, SMALL, SHAPE, 2, steps=6, clip=clip)


def test_a_function_with_steps_of_its_own_and_a_net_without_a_clock_are_no_mismatch():
    def net(states, times):
        return torch.zeros_like(states)

    net.steps = 5
    assert sampling.ddim(net, SMALL, SHAPE, 2, steps=2).shape == (2, *SHAPE)
    clockless = models.DiffusionUNet(SHAPE, width=8, time=False)
    with pytest.raises(ValueError, match="built with time=False"):
        sampling.ddim(clockless, SMALL, SHAPE, 2, steps=2)


@pytest.mark.parametrize("sampler", [sampling.ddpm, sampling.ddim])
def test_nothing_is_begun_for_a_callback_that_is_none(sampler):
    asked = []
    with pytest.raises(TypeError, match=r"callback: expected a callable .*, got 3"):
        sampler(lambda x, t: asked.append(t) or x, SMALL, SHAPE, 2, steps=2, callback=3)
    assert not asked


@pytest.mark.parametrize("sampler", [sampling.ddpm, sampling.ddim])
def test_more_samples_than_memory_holds_are_refused(monkeypatch, sampler):
    """Where memory is promised that is not there, only what is free tells."""
    asked, held = [], 8 * 4 * 16
    net = lambda x, t: asked.append(t) or x  # noqa: E731
    monkeypatch.setattr(runtime.memory, "free_memory", lambda place: 2**30)
    n = 2**30 // held
    with pytest.raises(ValueError, match=rf"n: {2 * n} samples need 2\.0 GiB, .*1\.0 GiB free"):
        sampler(net, SMALL, SHAPE, 2 * n, steps=2)
    assert not asked
    monkeypatch.setattr(runtime.memory, "free_memory", lambda place: 2 * held)
    assert len(sampler(Exact(SMALL), SMALL, SHAPE, 2, steps=2)) == 2
    with pytest.raises(ValueError, match="n: 3 samples need"):
        sampler(Exact(SMALL), SMALL, SHAPE, 3, steps=2)
    monkeypatch.setattr(
        runtime.memory, "free_memory", lambda place: None
    )  # it does not say: a trial
    assert len(sampler(Exact(SMALL), SMALL, SHAPE, 3, steps=2)) == 3
    for n in (10**13, 10**30):
        with pytest.raises(ValueError, match="more than there is; draw fewer at a time"):
            sampler(Exact(SMALL), SMALL, SHAPE, n, steps=2)


@pytest.mark.parametrize("eta", [-0.1, 1.1, True, "1"])
def test_eta_is_a_share(eta):
    with pytest.raises(ValueError, match="eta"):
        sampling.ddim(Exact(SMALL), SMALL, SHAPE, 2, eta=eta)
