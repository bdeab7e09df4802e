"""The attention U-Net and its objective: nodes, slow plain versions, what is refused."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from aelib import models, objectives, training

SHAPE = (2, 8, 8)
IMAGES = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
TIMES = torch.tensor([0, 7, 19])


def build(**options):
    torch.manual_seed(0)
    return models.DiffusionUNet(SHAPE, **{"width": 8, "steps": 20, **options})


# --- The model -----------------------------------------------------------------------------------


def test_nodes_run_once_in_the_order_of_the_docstring():
    model = build(downs=2, attention=(1, 2))
    nodes = [
        "stem", "encoder.0", "down.0", "encoder.1", "down.1", "encoder.2", "mid.block1",
        "mid.attention", "mid.block2", "mid", "decoder.2", "up.1", "decoder.1", "up.0", "decoder.0",
        "output",
    ]  # fmt: skip
    runs = []
    for node in nodes:
        model.get_submodule(node).register_forward_hook(
            lambda _, __, output, node=node: runs.append((node, tuple(output.shape)))
        )
    model(IMAGES, TIMES)
    assert [node for node, _ in runs] == nodes
    sizes = dict(runs)
    assert sizes["encoder.0"] == (3, 8, 8, 8)
    assert sizes["encoder.1"] == sizes["decoder.1"] == (3, 16, 4, 4)
    assert sizes["mid.attention"] == (3, 32, 2, 2)
    assert sizes["output"] == (3, *SHAPE)


def test_a_patch_is_one_place_with_its_pixels_for_channels():
    """The net of patches is the net without, of images whose patches are channels already."""
    patched = build(patch=2)
    torch.manual_seed(0)
    plain = models.DiffusionUNet((8, 4, 4), width=8, steps=20)
    plain.load_state_dict(patched.state_dict())
    unshuffled = torch.nn.functional.pixel_unshuffle(IMAGES, 2)
    expected = torch.nn.functional.pixel_shuffle(plain(unshuffled, TIMES), 2)
    assert torch.equal(patched(IMAGES, TIMES), expected)


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("attention", [None, (), (0,), (0, 1)])
@pytest.mark.parametrize("time", [True, False])
def test_it_returns_the_shape_it_gets(skips, attention, time):
    model = build(skips=skips, attention=attention, time=time)
    inputs = (IMAGES, TIMES) if time else (IMAGES,)
    whole = model(*inputs)
    assert whole.shape == IMAGES.shape
    alone = model(*(values[1:2] for values in inputs))
    assert torch.allclose(alone, whole[1:2], atol=1e-5)
    attending = [name for name, _ in model.named_modules() if name.endswith("attention")]
    levels = (1,) if attention is None else attention
    assert len(attending) == 2 * len(levels) + (1 in levels)


def test_without_skips_what_the_encoder_says_first_reaches_the_output_only_from_below():
    """Cut the way below level 0: with skips the input still reaches the output."""
    for skips in (True, False):
        model = build(skips=skips)
        for parameter in model.down[0].parameters():
            parameter.data.zero_()
        change = (model(IMAGES, TIMES) - model(1 - IMAGES, TIMES)).abs().max()
        assert (change > 1e-3) == skips


def test_the_time_changes_the_answer_and_without_it_nothing_is_told():
    model = build()
    assert not torch.allclose(model(IMAGES, TIMES), model(IMAGES, TIMES.flip(0)))
    assert "time" not in " ".join(name for name, _ in build(time=False).named_parameters())


def test_gain_zero_answers_nothing_and_learns_all_the_same():
    model = build(gain=0)
    assert torch.equal(model(IMAGES, TIMES), torch.zeros_like(IMAGES))
    schedule = objectives.cosine_schedule(20)
    history = training.fit(
        model, IMAGES, objective=objectives.diffusion(schedule), steps=60, lr=5e-3, batch_size=None
    )
    assert history.loss[0, -1] < 0.9 * history.loss[0, 0]


def test_gain_scales_the_last_layer_of_each_branch_and_of_the_output_and_no_other():
    options = {"downs": 1, "attention": (0, 1)}
    plain, scaled = build(**options).state_dict(), build(gain=0.25, **options).state_dict()
    blocks = ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
    last = [f"{block}.block.second.2" for block in blocks]
    last += [f"{block}.attention.proj" for block in [*blocks, "mid"]]
    last += ["mid.block1.second.2", "mid.block2.second.2", "output.2"]
    for name, value in plain.items():
        layer = name.rpartition(".")[0]
        assert torch.equal(scaled[name], 0.25 * value if layer in last else value), name


def test_a_copy_keeps_the_digest_of_its_schedule():
    model = build()
    assert model.schedule_digest is None
    model.schedule_digest = "a1b2"
    assert copy.deepcopy(model).schedule_digest == "a1b2"


def test_attention_written_out():
    torch.manual_seed(1)
    model = build(attention=(0,)).double()
    attention = model.encoder[0].attention
    hidden = torch.randn(2, 8, 2, 3, dtype=torch.float64)
    qkv = attention.qkv(attention.norm(hidden)).flatten(2)
    queries, keys, values = qkv.split(8, dim=1)
    attended = torch.zeros(2, 8, 6, dtype=torch.float64)
    for index in range(2):
        for pixel in range(6):
            scores = torch.stack(
                [queries[index, :, pixel] @ keys[index, :, other] for other in range(6)]
            )
            shares = (scores / math.sqrt(8)).softmax(0)
            attended[index, :, pixel] = values[index] @ shares
    expected = hidden + attention.proj(attended.view(2, 8, 2, 3))
    assert torch.allclose(attention(hidden), expected, atol=1e-10)


def test_the_sinusoidal_embedding_in_closed_form():
    from aelib.models.diffusion_unet import sinusoidal_embedding

    waves = sinusoidal_embedding(torch.tensor([0, 3]), 6)
    rates = [1, 10_000**-0.5, 10_000**-1]
    expected = [math.sin(3 * rate) for rate in rates] + [math.cos(3 * rate) for rate in rates]
    assert waves[1].tolist() == pytest.approx(expected, rel=1e-5)
    assert waves[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_seeds_as_one_graph_are_the_seeds():
    pair = models.replicate(lambda: models.DiffusionUNet(SHAPE, 8, steps=20), 2)
    objective = objectives.diffusion(objectives.cosine_schedule(20))
    ensemble = training.Ensemble(
        pair, lambda both: objective(both, IMAGES.expand(2, *IMAGES.shape))
    )
    both = ensemble(IMAGES.expand(2, *IMAGES.shape), TIMES.expand(2, 3))
    for model, output in zip(pair, both, strict=True):
        assert torch.allclose(model(IMAGES, TIMES), output, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": 12}, ValueError, "^width: .* multiple of 8, got 12; try 16"),
        ({"downs": 4}, ValueError, "^shape: .* divisible by 16"),
        ({"downs": -1}, ValueError, "^downs: "),
        ({"attention": (2,)}, ValueError, "^attention: .* 1 or less .downs"),
        ({"attention": 1}, TypeError, r"^attention: expected a tuple .* \(1,\)"),
        ({"steps": 0}, ValueError, "^steps: "),
        ({"gain": -1.0}, ValueError, "^gain: "),
        ({"patch": 0}, ValueError, "^patch: "),
        ({"patch": 8}, ValueError, "^shape: .* divisible by 16"),
        ({"skips": "no"}, TypeError, "^skips: expected True or False, got 'no'"),
    ],
)
def test_sizes_it_cannot_take_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((IMAGES,), TypeError, r"^times: .* got None; call model\(images, times\)"),
        ((IMAGES, TIMES.float()), TypeError, r"^times: .* use times.long\(\)"),
        ((IMAGES, TIMES[:2]), ValueError, r"^times: expected 3 whole numbers"),
        ((IMAGES, TIMES + 1), ValueError, "^times: .* 0 to 19, got 1 to 20"),
        ((IMAGES, TIMES - 1), ValueError, "^times: .* got -1 to 18"),
        ((IMAGES[..., :4], TIMES), ValueError, "^images: "),
    ],
)
def test_calls_it_cannot_answer_are_refused(inputs, error, message):
    with pytest.raises(error, match=message):
        build()(*inputs)


def test_a_model_without_time_refuses_one():
    with pytest.raises(ValueError, match=r"^times: .*time=False"):
        build(time=False)(IMAGES, TIMES)


# --- The objective -------------------------------------------------------------------------------


def test_the_loss_is_the_error_in_the_noise():
    """A net that finds the noise by the schedule's own formula has no loss; one that says 0, 1."""
    schedule = objectives.cosine_schedule(20)
    objective = objectives.diffusion(schedule)

    def knows(states, times):
        left, added = (part[:, None, None, None] for part in schedule.levels(times))
        return (states - left * (2 * IMAGES - 1)) / added

    torch.manual_seed(0)
    assert objective(knows, IMAGES).max() < 1e-6
    silent = objective(lambda states, times: torch.zeros_like(states), torch.rand(2000, *SHAPE))
    assert silent.shape == (2000,)
    assert silent.mean().item() == pytest.approx(1, abs=6 * math.sqrt(2 / 128 / 2000))


@pytest.mark.parametrize("target", objectives.TARGETS)
def test_the_loss_is_the_error_in_the_target(target):
    """A net that is always right about the noise, and says it as the target, has no loss."""
    schedule = objectives.cosine_schedule(20)

    def knows(states, times):
        left, added = (part[:, None, None, None] for part in schedule.levels(times))
        image = 2 * IMAGES - 1
        noise = (states - left * image) / added
        answers = {"noise": noise, "image": image, "velocity": left * noise - added * image}
        return answers[target]

    torch.manual_seed(0)
    assert objectives.diffusion(schedule, target)(knows, IMAGES).max() < 1e-6


def test_times_are_drawn_from_the_whole_schedule_one_an_image():
    seen = []

    def watch(states, times):
        seen.append(times)
        return states

    objective = objectives.diffusion(objectives.cosine_schedule(5))
    torch.manual_seed(0)
    losses = objective(watch, torch.rand(2, 500, *SHAPE))
    assert losses.shape == seen[0].shape == (2, 500)
    counts = seen[0].flatten().bincount(minlength=5)
    assert len(counts) == 5
    assert (counts - 200).abs().max() < 6 * math.sqrt(1000 * 0.2 * 0.8)
    torch.manual_seed(0)
    assert torch.equal(objective(watch, torch.rand(2, 500, *SHAPE)), losses)


def test_fit_trains_it_and_repeats_itself():
    images = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(1))
    objective = objectives.diffusion(objectives.cosine_schedule(20))
    first, second = build(), build()
    runs = [
        training.fit(net, images, objective=objective, steps=30, batch_size=16, lr=3e-3)
        for net in (first, second)
    ]
    assert runs[0].loss[0, -1] < runs[0].loss[0, 0]
    for mine, its in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, its)
    assert repr(objective) != repr(objectives.diffusion(objectives.cosine_schedule(21)))
    assert copy.deepcopy(objective) == objective


def test_bad_objectives_are_refused():
    with pytest.raises(TypeError, match="schedule: expected a Schedule"):
        objectives.diffusion(1000)
    objective = objectives.diffusion(objectives.cosine_schedule(20))
    with pytest.raises(objectives.ObjectiveError, match=r"model: .*shape"):
        objective(lambda states, times: states[..., 1:], IMAGES)
    for steps in (10, 40):  # fewer would fail late, more would train on the wrong noise
        with pytest.raises(ValueError, match=rf"model: .* 20 times .* built for {steps}"):
            training.fit([build(steps=steps), build(steps=steps)], IMAGES, objective=objective)
    with pytest.raises(ValueError, match=r"^model: .* built for 10"):  # through a wrapper too
        training.fit(torch.nn.DataParallel(build(steps=10)), IMAGES, objective=objective)


@pytest.mark.parametrize("gradients", [True, False])
def test_images_outside_its_span_are_refused(gradients):
    """In [−1, 1] they would become [−3, 1], which nothing afterwards would show."""
    objective = objectives.diffusion(objectives.cosine_schedule(20))
    assert objective.span == (0, 1)
    with torch.set_grad_enabled(gradients):
        for images in (2 * IMAGES - 1, 255 * IMAGES):
            with pytest.raises(
                objectives.ObjectiveError, match=r"images: .*\[0, 1\].*; if they run"
            ):
                objective(lambda states, times: states, images)
        objective(lambda states, times: states, torch.full_like(IMAGES, 1 + 1e-7))  # rounding
