"""sampling and schedules: closed forms, a Gaussian whose noise is known, the samplers' limits."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aelib import models, objectives, random, runtime, sampling

SHAPE = (1, 4, 4)
MEAN, SPREAD = 0.3, 0.25  # of the data, in the model's range


class Exact:
    """The best noise predictor for pixels N(MEAN, SPREAD²): E[e | x_t], in float64."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, states, times):
        bars = torch.tensor(self.schedule.alphas_cumprod, dtype=torch.float64)[times]
        left, added = bars.sqrt().view(-1, 1, 1, 1), (1 - bars).sqrt().view(-1, 1, 1, 1)
        return added * (states - left * MEAN) / (left**2 * SPREAD**2 + added**2)


def end_of_walk(schedule, steps, eta):
    """Mean and deviation in which a sampler ends, exactly: each step is linear in x_t."""
    times = schedule.times(steps)
    mean, variance = 0.0, 1.0
    for number, time in enumerate(times):
        now = schedule.alphas_cumprod[time]
        then = schedule.alphas_cumprod[times[number + 1]] if number + 1 < len(times) else 1.0
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
    schedule = objectives.linear_schedule(5, first=0.1, last=0.3)
    expected = [0.1, 0.15, 0.2, 0.25, 0.3]
    assert schedule.betas.tolist() == pytest.approx(expected)
    assert schedule.alphas_cumprod[2] == pytest.approx(0.9 * 0.85 * 0.8)


def test_the_cosine_curve_in_closed_form():
    steps, offset = 40, 0.008
    schedule = objectives.cosine_schedule(steps, offset, most=0.999999)

    def curve(t):
        return math.cos((t / steps + offset) / (1 + offset) * math.pi / 2) ** 2

    for time in range(steps - 1):
        assert schedule.alphas_cumprod[time] == pytest.approx(curve(time + 1) / curve(0), rel=1e-9)


@given(st.lists(st.floats(0.001, 0.9), min_size=1, max_size=20))
def test_betas_and_shares_say_the_same(betas):
    bars, left = [], 1.0
    for beta in betas:
        left *= 1 - beta
        bars.append(left)
    assert objectives.Schedule(bars).betas.tolist() == pytest.approx(betas, rel=1e-6)


def test_noisy_keeps_energy_one():
    """For unit-variance data in the model's range, every x_t has unit variance."""
    schedule = objectives.cosine_schedule(10)
    generator = torch.Generator().manual_seed(0)
    images = objectives.to_images(torch.randn(20_000, 1, 2, 2, generator=generator))
    noise = torch.randn(images.shape, generator=generator)
    for time in (0, 5, 9):
        states = schedule.noisy(images, torch.full((len(images),), time), noise)
        assert states.std().item() == pytest.approx(1, abs=0.01)
    left, added = schedule.levels(torch.tensor([0, 5, 9]))
    assert torch.allclose(left**2 + added**2, torch.ones(3))
    plain = left[1] * (2 * images[:1] - 1) + added[1] * noise[:1]
    assert torch.allclose(schedule.noisy(images[:1], torch.tensor([5]), noise[:1]), plain)


def test_seeds_and_a_batch_may_stand_in_front():
    schedule = objectives.linear_schedule(10, 0.01, 0.2)
    images, noise = torch.rand(2, 3, *SHAPE), torch.randn(2, 3, *SHAPE)
    times = torch.tensor([[0, 1, 2], [7, 8, 9]])
    both = schedule.noisy(images, times, noise)
    for seed in range(2):
        assert torch.equal(both[seed], schedule.noisy(images[seed], times[seed], noise[seed]))


def test_the_ranges_are_each_others_inverse():
    images = torch.rand(3, *SHAPE)
    assert torch.allclose(objectives.to_images(objectives.to_model(images)), images, atol=1e-7)
    assert objectives.to_model(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]


def test_a_schedule_is_a_value():
    schedule = objectives.cosine_schedule(10)
    assert schedule.betas is schedule.betas
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert schedule == objectives.cosine_schedule(10) != objectives.cosine_schedule(11)
    assert "steps=10" in repr(schedule)


def test_times_are_visited_evenly():
    schedule = objectives.cosine_schedule(101)
    assert schedule.times(5) == [100, 75, 50, 25, 0]
    assert schedule.times(1) == [100]
    assert schedule.times() == list(range(100, -1, -1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: objectives.Schedule(()), ValueError, "steps: expected 1 or more"),
        (lambda: objectives.Schedule(0.5), TypeError, "alphas_cumprod: .* sequence"),
        (
            lambda: objectives.Schedule((0.5, 0.6)),
            ValueError,
            r"\[1\]: .* below 0.5, got 0.6; noise",
        ),
        (lambda: objectives.Schedule((1.0, 0.5)), ValueError, r"\[0\]: .* below 1, got 1.0"),
        (lambda: objectives.Schedule((0.5, 0.0)), ValueError, r"\[1\]: .* above 0"),
        (lambda: objectives.Schedule((0.5, math.nan)), ValueError, r"\[1\]: .* finite"),
        (lambda: objectives.Schedule(("a",)), TypeError, r"\[0\]: expected a number"),
        (lambda: objectives.linear_schedule(0), ValueError, "steps"),
        (lambda: objectives.cosine_schedule(0), ValueError, "steps: expected 1 or more, got 0"),
        (lambda: objectives.linear_schedule(10, 0.2, 0.1), ValueError, "last"),
        (lambda: objectives.linear_schedule(10, 0.0, 0.1), ValueError, "first"),
        (lambda: objectives.linear_schedule(10, 0.1, 1.0), ValueError, "last: .* below 1"),
        (lambda: objectives.cosine_schedule(10, -1), ValueError, "offset"),
        (lambda: objectives.cosine_schedule(10, most=1), ValueError, "most: .* below 1"),
        (lambda: objectives.cosine_schedule(4).levels(torch.tensor([4])), ValueError, "0 to 3"),
        (lambda: objectives.cosine_schedule(4).levels(torch.tensor([-1])), ValueError, "-1 to"),
        (lambda: objectives.cosine_schedule(4).times(5), ValueError, "steps: expected 4 or less"),
    ],
)
def test_schedules_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_digest_tells_schedules_apart_and_forgives_rounding():
    schedule = objectives.cosine_schedule(50)
    rounded = objectives.Schedule([value * (1 + 1e-12) for value in schedule.alphas_cumprod])
    assert rounded != schedule
    assert rounded.digest == schedule.digest
    others = [objectives.linear_schedule(50), objectives.cosine_schedule(50, 0.01)]
    assert len({schedule.digest, *(other.digest for other in others)}) == 3


# --- Sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "eta"), [(None, 1), (15, 1), (None, 0), (20, 0), (20, 0.5)])
def test_a_gaussian_comes_out_as_the_recursion_says(steps, eta):
    """40,000 pixels: a mean is within 6/200 deviations, a deviation within 6/√80,000 of itself."""
    schedule = objectives.cosine_schedule(60)
    images = sampling.sample(
        Exact(schedule), schedule, 2500, shape=SHAPE, steps=steps, eta=eta, clamp=None
    )
    states = objectives.to_model(images.double())
    mean, spread = end_of_walk(schedule, steps, eta)
    assert states.mean().item() == pytest.approx(mean, abs=6 * spread / 200)
    assert states.std().item() == pytest.approx(spread, rel=0.022)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_many_steps_the_end_is_the_data(eta):
    coarse, fine = (end_of_walk(objectives.cosine_schedule(n), None, eta) for n in (50, 2000))
    assert fine[0] == pytest.approx(MEAN, abs=1e-3)
    assert fine[1] == pytest.approx(SPREAD, rel=0.01)
    assert abs(fine[1] - SPREAD) < abs(coarse[1] - SPREAD)


def ancestral(model, schedule, x, steps, source, clamp):
    """DDPM, step by step: a draw from q(x_s | x_t, x_0), Ho et al., equation 7."""
    times = schedule.times(steps)
    for step, time in enumerate(times, 1):
        now = schedule.alphas_cumprod[time]
        then = schedule.alphas_cumprod[times[step]] if step < steps else 1.0
        noise = model(x, torch.full((len(x),), time))
        x0 = (x - math.sqrt(1 - now) * noise) / math.sqrt(now)
        x0 = x0.clamp(-1, 1) if clamp else x0
        x = (math.sqrt(then) * (1 - now / then) * x0 + math.sqrt(now / then) * (1 - then) * x) / (
            1 - now
        )
        if step < steps:
            spread = math.sqrt((1 - now / then) * (1 - then) / (1 - now))
            x = x + spread * random.normal(x.shape, x, source)
    return x


@pytest.mark.parametrize("steps", [12, 5])
def test_with_all_its_noise_it_is_ddpm(steps):
    schedule = objectives.linear_schedule(12, 0.01, 0.3)
    noise = torch.randn(6, *SHAPE, dtype=torch.float64)

    def model(x, times):  # half of the noise is left in, so that there is something to clamp
        return Exact(schedule)(x, times) / 2

    draws = []
    for clamp in (None, (0, 1)):
        plain = ancestral(model, schedule, noise, steps, random.generator(3), clamp)
        options = {"noise": noise, "steps": steps, "clamp": clamp, "seed": 3}
        draws.append(sampling.sample(model, schedule, eta=1, **options))
        assert draws[-1].dtype == torch.float64
        assert torch.allclose(objectives.to_model(draws[-1]), plain, atol=1e-12)
        assert not torch.allclose(draws[-1], sampling.sample(model, schedule, **options))
    assert not torch.allclose(*draws)


def test_with_all_its_noise_it_is_algorithm_2():
    """x_s = (x − β ê / √(1 − ᾱ)) / √α + σ z, in plain loops, in the precision of a model."""
    schedule = objectives.linear_schedule(8, 0.05, 0.4)
    model, alphas = Exact(schedule), schedule.alphas_cumprod
    source = torch.Generator().manual_seed(5)
    state = torch.randn(3, *SHAPE, generator=source)
    for time in range(7, -1, -1):
        beta = schedule.betas[time].item()
        before = alphas[time - 1] if time else 1.0
        answer = model(state, torch.full((3,), time)).float()
        state = (state - beta / math.sqrt(1 - alphas[time]) * answer) / math.sqrt(1 - beta)
        if time:
            spread = math.sqrt(beta * (1 - before) / (1 - alphas[time]))
            state = state + spread * torch.randn(3, *SHAPE, generator=source)
    drawn = sampling.sample(model, schedule, 3, shape=SHAPE, seed=5, eta=1, clamp=None)
    assert torch.allclose(drawn, objectives.to_images(state), atol=1e-6)


def test_without_noise_it_is_ddim_in_the_paper_s_other_coordinates():
    """x/√ᾱ moves by the change of √(1 − ᾱ)/√ᾱ times the noise: Song et al., equation 13."""
    schedule = objectives.cosine_schedule(30)
    noise = torch.randn(3, *SHAPE, dtype=torch.float64)
    alphas = [schedule.alphas_cumprod[time] for time in schedule.times(9)]
    x = noise / math.sqrt(alphas[0])
    for time, now, then in zip(schedule.times(9), alphas, [*alphas[1:], 1.0], strict=True):
        e = Exact(schedule)(math.sqrt(now) * x, torch.full((3,), time))
        x = x + (math.sqrt(1 / then - 1) - math.sqrt(1 / now - 1)) * e
    drawn = sampling.sample(Exact(schedule), schedule, noise=noise, steps=9, clamp=None)
    assert torch.allclose(objectives.to_model(drawn), x, atol=1e-12)


@pytest.mark.parametrize("eta", [0, 1])
def test_one_step_is_the_guess(eta):
    schedule = objectives.linear_schedule(8, 0.05, 0.4)
    noise = torch.randn(4, *SHAPE)
    left, added = (share[:, None, None, None] for share in schedule.levels(torch.full((4,), 7)))
    guess = (noise - added * Exact(schedule)(noise, torch.full((4,), 7))) / left
    options = {"steps": 1, "noise": noise, "clamp": None, "eta": eta}
    drawn = sampling.sample(Exact(schedule), schedule, **options)
    assert torch.allclose(objectives.to_model(drawn), guess.float(), atol=1e-5)


@pytest.mark.parametrize("target", objectives.TARGETS)
@pytest.mark.parametrize("eta", [0, 0.5, 1])
def test_the_best_answer_to_each_target_leads_to_the_gaussian_it_should(target, eta):
    """For pixels N(MEAN, SPREAD²) the best image is a line in x_t, and so is the velocity."""
    schedule, steps = objectives.cosine_schedule(40), 10

    def image(states, times):
        left, added = (share[:, None, None, None].double() for share in schedule.levels(times))
        pull = left * SPREAD**2 / (left**2 * SPREAD**2 + added**2)
        return MEAN + pull * (states - left * MEAN)

    def velocity(states, times):
        left, added = (share[:, None, None, None].double() for share in schedule.levels(times))
        return left * Exact(schedule)(states, times) - added * image(states, times)

    answers = {"noise": Exact(schedule), "image": image, "velocity": velocity}
    noise = torch.randn(4000, *SHAPE, dtype=torch.float64, generator=random.generator(3))
    options = {"noise": noise, "steps": steps, "eta": eta, "clamp": None, "target": target}
    ends = objectives.to_model(sampling.sample(answers[target], schedule, **options))
    mean, deviation = end_of_walk(schedule, steps, eta)
    assert ends.mean().item() == pytest.approx(mean, abs=0.01)
    assert ends.std().item() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("target", objectives.TARGETS)
def test_what_is_wanted_is_found_again(target):
    schedule = objectives.cosine_schedule(10)
    images, noise = torch.rand(3, *SHAPE).double(), torch.randn(3, *SHAPE).double()
    for time in (0, 5, 9):
        times = torch.full((3,), time)
        states = schedule.noisy(images, times, noise)
        wanted = schedule.wanted(target, images, times, noise)
        image, e = schedule.found(target, wanted, states, time)
        share = schedule.alphas_cumprod[time]
        assert torch.allclose(math.sqrt(share) * image + math.sqrt(1 - share) * e, states)
        if time < 9:  # there the image is a 4,000th of the state, and float32 levels round it away
            assert torch.allclose(image, objectives.to_model(images), atol=1e-4)
        assert torch.allclose(e, noise, atol=1e-4)


def test_a_model_is_asked_for_what_it_was_taught():
    model = unet()
    assert objectives.Schedule.target_of(model) == "noise"
    objectives.diffusion(SMALL, "image").mark([torch.nn.DataParallel(model)])
    assert model.diffusion_target == "image"
    taken, told = (sampling.sample(model, SMALL, 2, target=each) for each in (None, "image"))
    assert torch.equal(taken, told)
    with pytest.raises(ValueError, match=r"target: expected 'image', which .* got 'noise'"):
        sampling.sample(model, SMALL, 2, target="noise")
    model.diffusion_target = None
    assert not torch.allclose(taken, sampling.sample(model, SMALL, 2))


def test_an_unknown_target_is_refused_before_any_work():
    ASKED.clear()
    with pytest.raises(ValueError, match="target: expected a known name, got 'score'"):
        sampling.sample(lambda x, t: ASKED.append(t) or x, SMALL, 2, shape=SHAPE, target="score")
    assert not ASKED
    with pytest.raises(ValueError, match="target: expected a known name"):
        objectives.diffusion(SMALL, "velocty")
    with pytest.raises(ValueError, match="target: expected a known name"):
        SMALL.wanted("score", torch.rand(1, *SHAPE), torch.tensor([0]), torch.randn(1, *SHAPE))


def test_a_deterministic_walk_depends_on_its_start_alone():
    schedule = objectives.cosine_schedule(20)
    options = {"steps": 7, "noise": torch.randn(4, *SHAPE)}
    walks = [sampling.sample(Exact(schedule), schedule, seed=s, **options) for s in (0, 1)]
    assert torch.equal(*walks)
    noisy = [
        sampling.sample(Exact(schedule), schedule, seed=s, eta=1, **options) for s in (0, 1, 0)
    ]
    assert torch.equal(noisy[0], noisy[2])
    assert not torch.equal(noisy[0], noisy[1])


def test_a_generator_is_advanced():
    schedule, source = objectives.cosine_schedule(6), random.generator(4)
    draws = [
        sampling.sample(Exact(schedule), schedule, 2, shape=SHAPE, seed=seed)
        for seed in (source, source, 4)
    ]
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9))
def test_the_batch_size_changes_nothing(batch_size):
    model = models.DiffusionUNet((1, 4, 4), width=8, steps=6)
    schedule = objectives.cosine_schedule(6)
    whole = sampling.sample(model, schedule, 8, seed=2, eta=1)
    parts = sampling.sample(model, schedule, 8, seed=2, eta=1, batch_size=batch_size)
    assert torch.allclose(whole, parts, atol=1e-4)


@pytest.mark.parametrize("clamp", [(0, 1), (0.2, 0.7)])
def test_the_guess_is_clamped_and_the_callback_sees_each_step(clamp):
    infos = []
    images = sampling.sample(
        lambda x, times: 3 * torch.ones_like(x),
        objectives.cosine_schedule(10),
        2,
        shape=SHAPE,
        eta=1,
        clamp=clamp,
        callback=infos.append,
    )
    assert [info["time"] for info in infos] == list(range(9, -1, -1))
    assert [info["step"] for info in infos] == list(range(1, 11))
    low, high = (clamp[0] - 1e-6, clamp[1] + 1e-6)
    assert all(low <= info["denoised"].min() <= info["denoised"].max() <= high for info in infos)
    assert torch.equal(images, infos[-1]["images"])
    assert torch.allclose(images, infos[-1]["denoised"], atol=1e-6)


def test_a_model_keeps_its_mode_and_the_global_generator_its_place():
    model = models.DiffusionUNet((1, 4, 4), width=8, steps=6).train()
    before = torch.get_rng_state()
    images = sampling.sample(model, objectives.cosine_schedule(6), 2, steps=3)
    assert model.training
    assert not images.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


SMALL = objectives.cosine_schedule(6)
ASKED = []


def unet(shape=SHAPE, **options):
    return models.DiffusionUNet(shape, width=8, **{"steps": 6, **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "net"}, TypeError, "model: .* callable"),
        ({"schedule": 6}, TypeError, "schedule: expected the model's"),
        ({"shape": (4, 4)}, ValueError, "shape: "),
        ({"shape": None}, ValueError, "shape: .* got None"),
        ({"n": 0}, ValueError, "n: expected 1"),
        ({"n": None}, TypeError, "n, noise: expected one of them"),
        ({"noise": torch.zeros(2, *SHAPE)}, TypeError, "n, noise: expected one of them"),
        ({"n": None, "noise": torch.zeros(2, 1, 4, 5)}, ValueError, "noise: "),
        ({"n": 10**13}, ValueError, "n: .* more than there is"),
        ({"n": 10**30}, ValueError, "n: .* more than there is"),
        ({"steps": 7}, ValueError, "steps: expected 6 or less .*, got 7"),
        ({"eta": 1.1}, ValueError, "eta: .* 1 or less"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"clamp": (1, 0)}, ValueError, "clamp: "),
        ({"callback": 3}, TypeError, "callback: expected a callable"),
        ({"model": unet(steps=5)}, ValueError, r"model: .* schedule's 6 times .* built for 5"),
        ({"model": unet(steps=12)}, ValueError, r"model: .* schedule's 6 times .* built for 12"),
        ({"model": unet((1, 8, 8))}, ValueError, r"shape: expected \(1, 8, 8\), as the model"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(options, error, message):
    ASKED.clear()
    settings = {"model": lambda x, t: ASKED.append(t) or x, "schedule": SMALL, "n": 2}
    with pytest.raises(error, match=message):
        sampling.sample(**{**settings, "shape": SHAPE, **options})
    assert not ASKED


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda x, t: x[:, :, 1:], ValueError, "model: .* answers in the shape of x, got one that"),
        (lambda x, t: x[:1], ValueError, "model: .* answers in the shape of x"),
        (lambda x, t: None, ValueError, "model: .* returns None"),
        (models.MLPAutoencoder(SHAPE, width=8, depth=3), TypeError, "model: .* MLPAutoencoder"),
        (unet(time=False), ValueError, "time=False"),
    ],
)
def test_a_model_that_gives_no_noise_is_named(model, error, message):
    with pytest.raises(error, match=message):
        sampling.sample(model, SMALL, 2, shape=SHAPE)


@pytest.mark.parametrize("eta", [0, 1])
@pytest.mark.parametrize("clamp", [(0, 1), None])
def test_an_infinite_answer_on_the_way_is_not_hidden_by_clamping(eta, clamp):
    def overflows(x, times):
        return torch.where(times[:, None, None, None] > 2, torch.inf, x)

    with pytest.raises(ValueError, match=r"model: .* NaN or infinity"):
        sampling.sample(overflows, SMALL, 2, shape=SHAPE, eta=eta, clamp=clamp)


def test_a_model_is_sampled_with_the_schedule_it_was_trained_on():
    model, other = unet(), objectives.linear_schedule(6)
    sampling.sample(model, other, 2)  # not trained: any of as many times
    objectives.diffusion(SMALL).mark([torch.nn.DataParallel(model)])
    assert model.schedule_digest == SMALL.digest
    sampling.sample(model, SMALL, 2)
    for trained in (model, torch.nn.DataParallel(model)):
        with pytest.raises(ValueError, match=r"model: .* trained on this schedule"):
            sampling.sample(trained, other, 2, shape=SHAPE)
    objectives.diffusion(other)(model, torch.rand(2, *SHAPE))  # it may be trained again
    objectives.diffusion(other).mark([model])
    sampling.sample(model, other, 2)


def test_a_function_with_steps_of_its_own_is_no_mismatch():
    def model(x, times):
        return torch.zeros_like(x)

    model.steps = 5
    assert sampling.sample(model, SMALL, 2, shape=SHAPE, steps=2).shape == (2, *SHAPE)


def test_more_images_than_memory_holds_are_refused(monkeypatch):
    """Where memory is promised that is not there, only what is free tells."""
    needed = 8 * 4 * 16  # bytes an image

    def draw(n, free):
        monkeypatch.setattr(runtime.memory, "free_memory", lambda device: free)
        return sampling.sample(Exact(SMALL), SMALL, n, shape=SHAPE, steps=2)

    n = 2 * 2**30 // needed
    with pytest.raises(ValueError, match=rf"n: {n} images need 2\.0 GiB, .*1\.0 GiB free"):
        draw(n, free=2**30)
    assert len(draw(2, free=2 * needed)) == 2
    with pytest.raises(ValueError, match="n: 3 images need"):
        draw(3, free=2 * needed)
    assert len(draw(3, free=None)) == 3  # it does not say: a trial
    with pytest.raises(ValueError, match="more than there is; draw fewer at a time"):
        draw(10**13, free=None)


def test_a_model_may_change_the_state_in_place():
    schedule = objectives.cosine_schedule(20)
    ways = (lambda x, t: x.relu_(), lambda x, t: x.relu())
    assert torch.equal(*(sampling.sample(way, schedule, 2, shape=SHAPE) for way in ways))
