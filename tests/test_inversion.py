"""`invert`: what it finds, for whom it works alone, what it leaves alone, and what it refuses."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur

import aelib as ae
from aelib import random
from aelib.inversion import (
    Adam,
    Blur,
    Fourier,
    GradientDescent,
    Pixels,
    Recipe,
    TotalVariation,
    invert,
    layers,
    load,
)

SHAPE = (3, 8, 8)
PIXELS = Recipe(parameterization=Pixels(), steps=30, init_contrast=1.0)


def pictures(n=2, shape=SHAPE, seed=0, dtype=torch.float64):
    return torch.rand(n, *shape, generator=random.generator(seed), dtype=dtype)


def small(dtype=torch.float64, seed=0):
    """A net with batch norm and a depth to cut: modules "0" to "7"."""
    with random.seeded(seed):
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(),
            nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Tanh(),
            nn.Flatten(), nn.Linear(64, 5),
        )  # fmt: skip
        for norm in (net[1], net[4]):
            norm.running_mean.uniform_(-0.1, 0.1)
            norm.running_var.uniform_(0.2, 1.5)
    return net.to(dtype)


class Called(nn.Module):
    """Passes images on and counts how often it was asked; then breaks, where it should."""

    def __init__(self, breaks: int | None = None, error: BaseException | None = None):
        super().__init__()
        self.times, self.breaks, self.error = 0, breaks, error
        self.register_buffer("noted", torch.zeros(1))  # written to in evaluation mode too

    def forward(self, images):
        self.times += 1
        self.noted += 1
        if self.times == self.breaks:
            raise self.error
        return images


# --- Oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [40, 150])
def test_a_linear_layer_gives_the_pseudo_inverse(outputs):
    """From a start s, descent in pixels ends at s + W⁺(y − W s): it adds nothing W cannot see."""
    with random.seeded(1):
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, outputs)).double()
    x, start = pictures(), pictures(seed=5)
    found = invert(net, x, recipe=replace(PIXELS, steps=200), init=start)["output"]
    weight = net[1].weight.detach()
    moved = (torch.linalg.pinv(weight) @ (weight @ (x - start).flatten(1).T)).T
    expected = start + moved.unflatten(1, SHAPE)
    assert torch.allclose(found.images[0], expected, rtol=0, atol=1e-6)
    assert (found.m_g < 1e-5 * found.m_r).all()


@pytest.mark.parametrize("recipe", [PIXELS, replace(Recipe(), steps=120)])
def test_an_orthogonal_layer_gives_the_image_itself(recipe):
    with random.seeded(1):
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 192)).double()
        nn.init.orthogonal_(net[1].weight)
    x = pictures()
    found = invert(net, x, recipe=recipe)["output"]
    assert torch.allclose(found.images[0], x, rtol=0, atol=1e-6)
    assert torch.allclose(found.m_i, found.m_g, atol=1e-12)  # it keeps distances
    noise = random.normal(SHAPE, x, random.generator(0)) / 18
    assert torch.allclose(found.m_r, noise.norm().expand(1, 2), rtol=1e-12)  # the same for all


def test_the_numbers_are_what_they_say():
    net, x = small().eval(), pictures()
    result = invert(net, x, ["0", "5"], seeds=[4, 1], steps=7, log_at=[3], recipe=PIXELS)
    assert (result.layers, result.seeds, len(result)) == (("0", "5"), (4, 1), 2)
    for name, part in (("0", net[:1]), ("5", net[:6])):
        found = result[name]
        for s, seed in enumerate((4, 1)):
            noise = random.normal(SHAPE, x, random.generator(seed)) / 18
            for i in range(2):
                y, again, other = (part(z[None]).flatten().detach()
                                   for z in (x[i], found.images[s, i], x[i] + noise))  # fmt: skip
                assert float(found.m_g[s, i]) == pytest.approx(float((y - again).norm()), rel=1e-9)
                assert float(found.m_r[s, i]) == pytest.approx(float((y - other).norm()), rel=1e-9)
        flat = (found.images - x).flatten(2)
        assert torch.allclose(found.m_i, flat.norm(dim=2))
        assert torch.allclose(found.psnr[0], ae.measures.psnr(found.images[0], x))
        assert torch.allclose(found.ssim[1], ae.measures.ssim(found.images[1], x))
        assert torch.allclose(found.relative, found.m_i / x.flatten(1).norm(dim=1))
        assert torch.allclose(found.leftover, (found.m_i / found.m_i_start) ** 2)
        assert found.steps.tolist() == [0, 3, 7]
        assert torch.equal(found.trace["m_g"][..., -1], found.m_g)
        assert torch.allclose(found.trace["m_i"][..., 0], found.m_i_start)
        assert (found.trace["m_g"].diff(dim=2) < 0).all()
        assert found.stopped == (("steps", "steps"),) * 2
        assert (found.iterations == 8).all()


def test_an_init_keeps_a_share_of_its_contrast():
    net, x, start = small(), pictures(), pictures(seed=5)
    grey = invert(net, x, "3", steps=4, recipe=replace(PIXELS, init_contrast=0.25), init=start)["3"]
    given = invert(net, x, "3", steps=4, recipe=PIXELS, init=0.5 + 0.25 * (start - 0.5))["3"]
    assert torch.equal(grey.images, given.images)
    paled = 0.5 + 0.25 * (start - 0.5)
    assert torch.allclose(grey.m_i_start[0], (x - paled).flatten(1).norm(dim=1))
    assert torch.allclose(grey.m_i_start, grey.trace["m_i"][..., 0])


def plain_badger(net, x, start, steps):
    """The published loop as its page tells it: one image, L1, gradient descent, a blur."""
    target = net(x[None]).detach()
    image = start[None].clone()
    for i in range(steps):
        image = image.detach().requires_grad_()
        loss = 0.15 * (net(image) - target).abs().sum()
        loss.backward()
        lr = 0.1 + (0.1 - 0.1) * i / steps
        with torch.no_grad():
            image = image - lr * image.grad
            sigma = 2.4 + (0.4 - 2.4) * i / steps
            image = gaussian_blur(image, [3, 3], [sigma, sigma])
    return image[0]


def test_the_papers_recipe_is_the_papers_loop():
    net, x = small().eval(), pictures()
    found = invert(net, x, "3", recipe="badger2022", steps=40, seeds=2)["3"]
    drawn = invert(net, x, "3", recipe="badger2022", steps=1, seeds=2)["3"]  # for its start
    starts = 0.7 + pictures(2, seed=8) / 20
    given = invert(net, x, "3", recipe="badger2022", steps=40, seeds=2, init=starts)["3"]
    for row in range(2):
        expected = plain_badger(net[:4], x[row], starts[row], 40)
        for seed in range(2):
            assert torch.allclose(given.images[seed, row], expected, rtol=0, atol=1e-10)
    assert torch.equal(drawn.m_i_start, found.m_i_start)
    assert abs(float(drawn.m_i_start.square().mean()) / 192 - (0.2**2 + 1 / 12 + 0.05**2)) < 0.03
    assert not torch.equal(found.images, given.images)


# --- Alone and together --------------------------------------------------------------------------

BLURRED = Recipe(
    parameterization=Pixels(), optimizer=GradientDescent(20.0, 10.0), after_step=Blur(0.4, 0.2)
)
RECIPES = {
    "default": Recipe(),
    "l-bfgs": PIXELS,
    "adam": Recipe(
        parameterization=Fourier(), optimizer=Adam(0.05), regularizer=TotalVariation(0.01)
    ),
    "descent": replace(BLURRED, keep_best=False),
}


@pytest.mark.parametrize("until", [None, 1.0])
@pytest.mark.parametrize("name", RECIPES)
def test_each_run_of_a_batch_is_the_run_alone(name, until):
    """Seeds × images × layers at once, in batches of 1, 3 and all, with rows that stop early."""
    net, x, how = small(), pictures(3), {"recipe": RECIPES[name], "until": until, "steps": 25}
    together = invert(net, x, ["0", "5"], seeds=[2, 7], **how)
    for size in (1, 4):
        parted = invert(net, x, ["0", "5"], seeds=[2, 7], batch_size=size, **how)
        for layer in together:
            assert_same(parted[layer], together[layer])
    for layer in ("0", "5"):
        alone = invert(net, x[1:2], layer, seeds=[7], **how)[layer]
        assert_same(alone, together[layer], (slice(1, 2), slice(1, 2)))
    if until and name == "l-bfgs":
        assert len(together["5"].iterations.unique()) > 1
    if until:
        words = {word for layer in together for row in together[layer].stopped for word in row}
        assert "reached" in words


def assert_same(one, other, at=(slice(None), slice(None))):
    for name in ("images", "m_g", "m_r", "m_i", "m_i_start", "psnr", "ssim", "iterations"):
        values, expected = getattr(one, name), getattr(other, name)[at]
        assert torch.allclose(values, expected, rtol=1e-8, atol=1e-8, equal_nan=True), name
    for name, values in one.trace.items():
        expected = other.trace[name][at]
        assert torch.allclose(values, expected, rtol=1e-8, atol=1e-8, equal_nan=True), name
    assert one.stopped == tuple(row[at[1]] for row in other.stopped[at[0]])


def test_a_run_is_decided_by_its_seed():
    net, x = small(), pictures()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again = (invert(net, x, "3", seeds=[3, 5], steps=6)["3"] for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.images, again.images)
    assert_same(invert(net, x, "3", seeds=[5], steps=6)["3"], one, (slice(1, 2), slice(None)))
    assert not torch.allclose(one.images[0], one.images[1])
    assert not torch.equal(one.m_r[0], one.m_r[1])


def test_the_start_does_not_know_the_noise_it_is_measured_by():
    x = pictures(1, (1, 24, 24), dtype=torch.float32)
    seen = {}
    invert(nn.Identity(), x, steps=1, recipe="badger2022",
           callback=lambda info: seen.setdefault(info["step"], info["images"]))  # fmt: skip
    plain = 0.7 + random.normal((1, 24, 24), x, random.generator(0)) / 20
    assert not torch.allclose(seen[0][0], plain)


def test_a_batch_that_does_not_fit_is_split():
    class Full(Called):
        def forward(self, images):
            if len(images) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            return images

    net, x = small(), pictures(5)
    plain = invert(net, x, "3", steps=8)["3"]
    assert_same(invert(nn.Sequential(Full(), *net), x, "4", steps=8)["4"], plain)
    none = Called(16, torch.OutOfMemoryError("none left"))  # in the descent, also not for one
    with pytest.raises(torch.OutOfMemoryError, match="none left"):
        invert(nn.Sequential(none, *net), x, "4", steps=8, batch_size=1)
    early = Called(2, torch.OutOfMemoryError("none left"))  # while the layer is looked at
    with pytest.raises(torch.OutOfMemoryError, match="none left"):
        invert(nn.Sequential(early, *net), x, "4", steps=8)


@pytest.mark.parametrize("recipe", [Recipe(), RECIPES["descent"]])
def test_layouts_agree(recipe):
    net, x = small(), pictures()
    last, first = (
        invert(net, x, "4", recipe=recipe, steps=10, channels_last=c)["4"] for c in (True, False)
    )
    assert_same(last, first)


def test_bf16_comes_near_float32():
    net, x = small(torch.float32), pictures(dtype=torch.float32)
    full, half = (invert(net, x, "3", steps=30, precision=p)["3"] for p in ("no", "bf16"))
    assert half.images.dtype == torch.float32
    assert not torch.equal(full.m_r, half.m_r)
    assert torch.allclose(full.m_r, half.m_r, rtol=0.1)
    assert torch.allclose(full.images, half.images, atol=0.1)
    assert (half.m_g < half.m_r).all()


# --- What is left alone --------------------------------------------------------------------------


def state_of(model):
    """All that `invert` could have changed, to the bit."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    found = [
        (name, id(t), t.data_ptr(), t.stride(), t.requires_grad, t.detach().clone().tolist(),
         None if t.grad is None else (id(t.grad), t.grad.tolist()))
        for name, t in tensors
    ]  # fmt: skip
    for module in model.modules():
        hooks = [getattr(module, name) for name in vars(module) if name.endswith("_hooks")]
        found.append((id(module), module.training, [len(one) for one in hooks if one is not None]))
        found.append(sorted(vars(module)))
    return found


def worn():
    """A net in use: mixed modes, gradients, a frozen weight, a hook, tied weights."""
    net = small().train()
    net[4].eval()
    net[0].weight.requires_grad_(False)
    net.append(nn.Linear(5, 5).double()).append(nn.Linear(5, 5).double())
    net[9].weight = net[8].weight
    net(pictures(4)).sum().backward()
    net[2].register_forward_hook(lambda *_: None)
    return net


@pytest.mark.parametrize("how", ["done", "raised", "interrupted", "refused"])
def test_the_model_stays_as_it_was_to_the_bit(how):
    net, x = worn(), pictures()
    net.insert(3, Called(*((9, RuntimeError("broken")) if how == "raised" else ())))
    before = state_of(net)
    if how == "raised":
        with pytest.raises(RuntimeError, match="broken"):
            invert(net, x, "5", steps=9)
    elif how == "refused":
        with pytest.raises(ValueError, match="got 'no'"):
            invert(net, x, ["5", "no"], steps=9)
    elif how == "interrupted":

        def twice(info):  # the second Ctrl-C is not held back
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            invert(net, x, "5", steps=9, callback=twice)
    else:
        invert(net, x, ["0", "5", "output"], steps=3)
        layers(net, x)
    assert state_of(net) == before
    net.eval()(x)


def test_ctrl_c_keeps_what_is_done():
    net, x, before = small(), pictures(3), signal.getsignal(signal.SIGINT)

    def stop(info):
        if info["layer"] == "3" and info["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    result = invert(net, x, ["0", "3", "5"], steps=8, batch_size=2, log_at=[4], callback=stop)
    assert signal.getsignal(signal.SIGINT) is before
    assert result.layers == ("0", "3")
    assert result["0"].stopped == (("steps",) * 3,)
    found = result["3"]
    assert found.stopped == (("interrupted", "interrupted", "not begun"),)
    assert found.iterations.tolist() == [[5, 5, 0]]
    same = invert(net, x, "3", steps=4)["3"]
    assert torch.equal(found.images[:, :2], same.images[:, :2])
    assert torch.equal(found.trace["m_g"][:, :2, 1], same.m_g[:, :2])
    assert found.m_g[0, 2].isnan()
    assert torch.allclose(found.m_i[0, 2], found.m_i_start[0, 2])
    assert float(found.seconds[0, 2]) == 0
    assert "interrupted, not begun" in str(result)


def test_nothing_behind_the_layer_is_computed():
    deep = Called()
    net = nn.Sequential(nn.Conv2d(3, 2, 3).double(), nn.ReLU(), deep, nn.Flatten())
    invert(net, pictures(), "1", steps=1)
    looked = deep.times
    invert(net, pictures(), "1", steps=12)
    assert deep.times == 2 * looked  # however long the descent
    assert looked == 4  # when the layers are looked at, and for the class of x, start and result


def test_what_the_caller_holds_is_not_written_to():
    x, start, kept = pictures(), pictures(seed=4), []
    copies = x.clone(), start.clone()
    net = nn.Sequential(nn.ReLU(inplace=True), *small())
    result = invert(net, x, "4", init=start, steps=4, log_at=[1, 2],
                    callback=lambda info: kept.append(info["images"]))  # fmt: skip
    assert torch.equal(x, copies[0])
    assert torch.equal(start, copies[1])
    assert all(not torch.equal(a, b) for a, b in pairwise(kept))
    x.zero_()
    assert torch.equal(result.images, copies[0])


def test_it_works_where_gradients_are_off():
    net, x = small(), pictures()
    expected = invert(net, x, "3", steps=4)["3"]
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert_same(invert(net, x, "3", steps=4)["3"], expected)
            assert layers(net, x).names == ("0", "1", "2", "3", "4", "5", "6", "7", "output")


# --- Why it stops --------------------------------------------------------------------------------


def test_a_run_stops_when_it_is_near_enough():
    found = invert(small(), pictures(3), "3", until=0.5, steps=60)["3"]
    assert {word for row in found.stopped for word in row} == {"reached"}
    assert (found.m_g <= 0.5 * found.m_r).all()
    assert (found.iterations < 61).all()
    shorter = invert(small(), pictures(3), "3", steps=int(found.iterations.min()) - 2)["3"]
    assert (shorter.m_g > 0.5 * shorter.m_r).any()


def test_a_run_stops_where_nothing_helps():
    x = pictures()
    found = invert(small(), x, "3", init=x, recipe=PIXELS)["3"]
    assert found.stopped == (("stalled", "stalled"),)
    assert torch.equal(found.images[0], x)
    assert found.psnr.isinf().all()


def test_a_layer_that_is_dead_for_one_image_says_so_in_m_r():
    x = torch.stack([torch.zeros(SHAPE), torch.rand(SHAPE, generator=random.generator(0))]).double()
    dead = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).double()
    nn.init.ones_(dead[0].weight)
    nn.init.constant_(dead[0].bias, -9.0)  # the black image stays below, the other one does not
    found = invert(dead, x, steps=9)["output"]
    assert float(found.m_r[0, 0]) == float(found.m_g[0, 0]) == 0 < float(found.m_r[0, 1])
    assert found.stopped == (("stalled", "steps"),)


def test_a_run_that_leaves_the_numbers_is_told_of():
    wild = replace(PIXELS, optimizer=GradientDescent(1e200), keep_best=False)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 9)).double()
    found = invert(net, pictures(), recipe=wild, steps=20)["output"]
    assert found.stopped == (("diverged", "diverged"),)
    assert found.images.isfinite().all()
    assert (found.iterations < 5).all()


# --- What comes back -----------------------------------------------------------------------------


def test_save_and_load_keep_everything(tmp_path):
    result = invert(small(), pictures(), ["0", "5"], seeds=[1, 9], steps=3)
    again = load(result.save(tmp_path / "new" / "found.safetensors"))
    assert again.seeds == (1, 9)
    assert again.layers == ("0", "5")
    assert torch.equal(again.images, result.images)
    for layer in result:
        for name in (*ae.inversion.result.NUMBERS, "images", "steps", "relative", "leftover"):
            assert torch.equal(getattr(again[layer], name), getattr(result[layer], name))
        assert again[layer].stopped == result[layer].stopped
        assert all(torch.equal(again[layer].trace[k], v) for k, v in result[layer].trace.items())
    assert again.numbers() == result.numbers()
    assert str(again) == str(result)


@pytest.mark.parametrize("content", ["", "not one", "other", "list"])
def test_load_refuses_another_file(tmp_path, content):
    from safetensors.torch import save

    path = tmp_path / "file"
    about = {"other": None, "list": {"about": "[1]"}}
    data = save({"a": torch.ones(1)}, about[content]) if content in about else content.encode()
    path.write_bytes(data)
    with pytest.raises(ValueError, match="file is not a saved inversion"):
        load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "none")


def test_images_of_other_channels_are_drawn_in_grey_a_row_for_each():
    import matplotlib.pyplot as plt

    result = invert(nn.Conv2d(2, 2, 3).double(), pictures(3, (2, 8, 9)), steps=2)
    figure = result.figure()
    height, width = figure.axes[0].images[0].get_array().shape[:2]
    assert height / width == pytest.approx(3 * 2 * 8 / (2 * 9), rel=0.1)  # six rows of two
    plt.close(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_draws_a_grid(channels):
    import matplotlib.pyplot as plt

    net = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten()).double()
    result = invert(net, pictures(3, (channels, 8, 9)), ["0", "1"], seeds=2, steps=2)
    figure = result.figure(seed=1)
    shown = {text.get_text() for text in figure.findobj(plt.Text)}
    assert f"0\n{float(result['0'].relative[1].median()):.2f}" in shown
    plt.close(figure)
    with pytest.raises(ValueError, match="seed: expected 1 or less"):
        result.figure(seed=2)
    with pytest.raises(KeyError, match="'4' was not inverted"):
        result["4"]


# --- Any small net -------------------------------------------------------------------------------

ACTIVATIONS = (nn.LeakyReLU, nn.Tanh, nn.GELU, nn.Identity)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 99),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    acts=st.lists(st.sampled_from(ACTIVATIONS), min_size=3, max_size=3),
    side=st.integers(3, 9),
    channels=st.sampled_from([1, 2, 3]),
    flat=st.booleans(),
)
def test_any_small_net_is_read_and_left_alone(seed, widths, acts, side, channels, flat):
    with random.seeded(seed):
        parts, before = [], channels
        for width, act in zip(widths, acts, strict=False):
            parts += [nn.Conv2d(before, width, 3, padding=1), act()]
            before = width
        tail = [nn.Flatten(), nn.Linear(before * side * (side + 1), 4)] if flat else []
        net = nn.Sequential(*parts, *tail).double()
    x = pictures(2, (channels, side, side + 1), seed)
    state, table = state_of(net), layers(net, x)
    result = invert(net, x, [table.names[0], table.names[-1]], steps=5)
    alone = invert(net, x[1:], table.names[0], steps=5, channels_last=False)[table.names[0]]
    assert_same(alone, result[table.names[0]], (slice(None), slice(1, 2)))
    assert state_of(net) == state
    for layer in result:
        assert (result[layer].trace["m_g"].diff(dim=2) <= 1e-12).all()
        assert result[layer].images.shape == (1, *x.shape)


def test_what_a_forward_notes_in_a_list_or_a_dictionary_goes_again():
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.seen, self.last = nn.Linear(192, 8), ["first"], {"first": 1}

        def forward(self, images):
            answer = self.layer(images.flatten(1))
            self.seen.append(answer)
            self.last["answer"] = answer
            return answer

    model = Noting()
    seen, last = model.seen, model.last
    invert(model, torch.rand(1, *SHAPE), steps=3)
    assert (model.seen is seen, seen, model.last is last, last) == (
        True, ["first"], True, {"first": 1},
    )  # fmt: skip


def test_a_dictionary_that_nothing_changed_is_not_touched():
    class Frozen(dict):
        def update(self, *rest):
            raise TypeError("no update")

        clear = pop = update

    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8))
    model.options = Frozen(a=1)
    invert(model, torch.rand(1, *SHAPE), steps=2)
    assert model.options == {"a": 1}
