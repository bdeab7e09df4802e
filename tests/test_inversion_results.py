"""What comes back of `invert`: class ranks, baselines, and numbers that are none said in words."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import random
from aelib.inversion import Pixels, Recipe, invert, load, nearer, share_below, spectrum
from aelib.inversion.classes import Classes

SHAPE = (3, 8, 8)
PIXELS = Recipe(parameterization=Pixels(), steps=6, init_contrast=1.0)


def pictures(n=3, seed=0, dtype=torch.float64):
    return torch.rand(n, *SHAPE, generator=random.generator(seed), dtype=dtype)


def linear(outputs=40, seed=1):
    with random.seeded(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(192, outputs)).double()


def place(scores, of):
    """Slowly: by sorting the scores, falling."""
    ordered = scores.sort(descending=True).values
    return 1 + int((ordered == scores[of]).nonzero()[0])


# --- Class ranks ---------------------------------------------------------------------------------


def test_the_rank_is_the_place_of_the_images_class():
    net, x, start = linear(), pictures(), pictures(seed=5)
    recipe = replace(PIXELS, init_contrast=0.5)
    found = invert(net, x, ["0", "output"], seeds=2, steps=1, recipe=recipe, init=start)
    for layer in found:
        for name, images in (
            ("rank", found[layer].images),
            ("rank_start", (0.5 + 0.5 * (start - 0.5)).expand(2, *x.shape)),
        ):
            expected = [
                [place(net(image[None])[0], net(x[i : i + 1])[0].argmax()) for i, image in
                 enumerate(row)] for row in images
            ]  # fmt: skip
            ranks = getattr(found[layer], name)
            assert ranks.tolist() == expected
            assert ranks.dtype == torch.float64
    assert (found["0"].rank_start > 1).any()  # so that the test can fail
    near = invert(net, x, recipe=PIXELS, steps=200, init=start)["output"]
    assert (near.rank == 1).all()


def test_classes_alike_share_a_place():
    scores = torch.tensor([[0.0, 3.0, 2.0], [5.0, 1.0, 5.0], [1.0, 1.0, 1.0]])
    classes = Classes(nn.Flatten(), scores[:1, None, None])
    assert classes.called.tolist() == [1]
    assert classes.ranks(scores[:, None, None].__getitem__, 3).tolist() == [1, 3, 1]


class Headed(nn.Module):
    """A layer, and behind it a head that gives what `give` makes of it."""

    def __init__(self, give):
        super().__init__()
        self.conv, self.give, self.calls = nn.Conv2d(3, 2, 3).double(), give, 0

    def forward(self, images):
        self.calls += 1
        return self.give(self, self.conv(images).flatten(1))


def breaks(net, features):
    if net.calls > 3:  # none but those of the look at the layer
        raise RuntimeError("no head")
    return features


@pytest.mark.parametrize(
    "give",
    [
        lambda net, features: {"logits": features},
        lambda net, features: features[:, :1],
        lambda net, features: features[:, 0],
        lambda net, features: features.unflatten(1, (2, 6, 6)),
        lambda net, features: features.long(),
        lambda net, features: features / 0,
        breaks,
    ],
)
def test_where_nothing_is_called_anything_there_is_no_rank(give, tmp_path):
    net = Headed(give)
    found = invert(net, pictures(), "conv", seeds=2, steps=2)
    assert found["conv"].rank.isnan().all()
    assert found["conv"].rank_start.isnan().all()
    assert found["conv"].m_g.isfinite().all()
    assert found.numbers()["layers"]["conv"]["rank"] == [[None] * 3] * 2
    assert " – " in str(found)
    assert net.calls < 13  # those of the look, of the class of x, and the descent


def test_an_image_whose_outputs_are_no_numbers_has_no_rank_and_the_others_have():
    net = linear()
    x = pictures()
    classes = Classes(
        net, x, lambda net, images: net(images) / (images != x[1]).any((1, 2, 3))[:, None]
    )
    assert classes.called.tolist()[1] == -1
    assert (
        classes.ranks(torch.cat([x, x]).__getitem__, 6).isnan().tolist() == [False, True, False] * 2
    )


def test_ranks_go_through_forward_and_in_as_many_rows_as_fit():
    net, x, rows = linear(), pictures(5), []

    def forward(net, images):
        rows.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return -net(images)

    classes = Classes(net, x, forward)
    assert classes.called.tolist() == net(x).argmin(1).tolist()
    assert rows == [5, 5, 5, 5, 4, 2, 2, 1]  # 64 at once, 32, …
    assert (classes.ranks(x.__getitem__, 5) == 1).all()


def test_a_rank_for_which_no_memory_is_left_costs_no_result():
    def forward(net, images):
        if not torch.is_grad_enabled():
            raise torch.OutOfMemoryError
        return net(images)

    x = pictures()
    classes = Classes(linear(), x, forward)
    assert classes.called.tolist() == [-1] * 3
    assert classes.ranks(x.__getitem__, 3).isnan().all()


# --- Baselines -----------------------------------------------------------------------------------


def test_baselines_are_what_is_left_of_an_image_without_detail():
    net, x = linear(), pictures()
    found = invert(net, x, seeds=3, recipe=PIXELS)["output"]
    blocks = x.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    plain = {
        "mean": x.mean((2, 3), keepdim=True).expand_as(x),
        "thumbnail": blocks.repeat_interleave(2, 2).repeat_interleave(2, 3),
    }
    assert set(found.baselines) == set(plain)
    for name, image in plain.items():
        error = (x - image).flatten(1)
        m_g, m_i = found.baselines[name]
        assert torch.allclose(m_i, error.norm(dim=1), rtol=1e-12)
        assert torch.allclose(m_g, (error @ net[1].weight.T).norm(dim=1), rtol=1e-9)
        assert m_g.shape == (3,)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 3, 5), (3, 4, 9), (1, 1, 1)])
def test_a_thumbnail_of_any_shape_keeps_a_flat_image(shape):
    flat = torch.full((2, *shape), 0.25)
    assert torch.allclose(ae.measures.thumbnail(flat), flat)
    assert torch.allclose(ae.measures.thumbnail(flat, side=1), flat)
    with pytest.raises(ValueError, match="side: expected 1 or more"):
        ae.measures.thumbnail(flat, side=0)


# --- Numbers that are none -----------------------------------------------------------------------


def half_dead(images=3):
    """A net that is constant in the first image, which is black, and not in the others."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).double()
    nn.init.ones_(net[0].weight)
    nn.init.constant_(net[0].bias, -9.0)
    x = pictures(images)
    x[0] = 0
    return net, x


def test_an_image_of_which_the_layer_says_nothing_is_told_in_words():
    net, x = half_dead()
    found = invert(net, x, ["0", "output"], steps=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = str(found).splitlines()
    assert "it says nothing of 1 of 3 images (m_r = 0)" in lines[2]
    assert "nothing" not in lines[1]
    assert "nan" not in str(found)
    assert "inf" not in str(found)
    ratio = found["output"].ratio
    assert ratio[0].isnan().tolist() == [True, False, False]
    assert torch.equal(ratio[0, 1:], (found["output"].m_g / found["output"].m_r)[0, 1:])
    alone = replace(found["output"], m_r=torch.zeros(1, 3).double())
    told = str(replace(found, results={"output": alone})).splitlines()[1]
    assert told.split()[:2] == ["output", "–"]
    assert "nothing of 3 of 3" in told


def test_numbers_are_json_whatever_they_are():
    x = pictures()
    found = invert(linear(), x, init=x, recipe=PIXELS)
    assert found["output"].psnr.isinf().all()
    assert found["output"].leftover.isnan().all()
    assert " inf" in str(found)
    again = json.loads(json.dumps(found.numbers(), allow_nan=False))["layers"]["output"]
    assert again["psnr"] == [[None] * 3]
    assert again["rank"] == [[1.0] * 3]
    assert again["m_i"] == [[0.0] * 3]
    assert again["baselines"]["mean"]["m_i"] == found["output"].baselines["mean"].m_i.tolist()


def test_what_is_kept_comes_back(tmp_path):
    found = invert(linear(), pictures(), ["0", "output"], seeds=2, recipe=PIXELS)
    again = load(found.save(tmp_path / "found.safetensors"))
    for layer in found:
        for name, distances in found[layer].baselines.items():
            assert all(map(torch.equal, again[layer].baselines[name], distances))
        assert torch.equal(again[layer].rank, found[layer].rank)
    assert again.numbers() == found.numbers()


def test_of_two_searches_the_nearer_counts_image_by_image():
    net, x = linear(), pictures()
    near, far = x.clone(), x.clone()
    near[0], far[1:] = near[0] + 0.1, far[1:] + 0.1  # one is nearer to image 0, the other to 1, 2
    options = {"recipe": PIXELS, "steps": 1, "seeds": 2, "log_at": [0]}
    one, other = (invert(net, x, "0", init=start, **options)["0"] for start in (near, far))
    one = replace(one, stopped=(("levelled off", "steps", "steps"),) * 2)
    found = nearer(one, other)
    assert torch.equal(found.m_i, torch.minimum(one.m_i, other.m_i))
    assert torch.equal(found.images[:, 0], other.images[:, 0])
    assert torch.equal(found.images[:, 1:], one.images[:, 1:])
    assert torch.equal(found.trace["m_g"][:, 1:], one.trace["m_g"][:, 1:])
    assert found.stopped == ((other.stopped[0][0], "steps", "steps"),) * 2
    assert one.levelled_off.tolist() == [[1, 0, 0]] * 2
    assert found.levelled_off.sum() == 0
    lost = replace(other, m_i=torch.full_like(other.m_i, math.nan))  # a search that diverged
    assert torch.equal(nearer(lost, one).images, one.images)
    for change in ({"steps": 2}, {"seeds": 1}):
        elsewhere = invert(net, x, "0", **(options | change))["0"]
        with pytest.raises(ValueError, match="searches: expected those of the same images"):
            nearer(one, elsewhere)
    with pytest.raises(ValueError, match=r"searches: .* got some with another norm"):
        nearer(one, invert(net, pictures(seed=3), "0", **options)["0"])
    assert torch.equal(nearer(one).images, one.images)


def test_another_format_is_refused_in_words(tmp_path):
    from safetensors.torch import save

    path = tmp_path / "old"
    about = {"about": json.dumps({"format": "aelib inversion 1"})}
    path.write_bytes(save({"a": torch.ones(1)}, about))
    with pytest.raises(ValueError, match="of another version of aelib"):
        load(path)


# --- The null distribution -----------------------------------------------------------------------


def test_the_null_is_the_distances_between_different_images():
    net, x = linear(), pictures(4)
    found = invert(net, x, ["0", "output"], seeds=[3, 5], recipe=PIXELS, steps=40)
    flat = x.flatten(1)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    null = found.null(net)
    for layer, weight in (("0", torch.eye(192).double()), ("output", net[1].weight.detach())):
        expected = sorted(float((weight @ (flat[i] - flat[j])).norm()) for i, j in pairs)
        assert null[layer].tolist() == pytest.approx(expected, rel=1e-9)
    assert (share_below(null["output"], found["output"].m_g) == 0).all()
    other = found.null(net, others=pictures(11, seed=7))
    assert {layer: len(values) for layer, values in other.items()} == {"0": 55, "output": 55}


def test_the_share_of_a_null_is_counted():
    null = torch.tensor([4.0, 1.0, 2.0, 2.0])
    m_g = torch.tensor([[0.5, 1.0, 1.5], [2.0, 4.5, math.nan]])
    expected = torch.tensor([[0, 0.25, 0.25], [0.75, 1, math.nan]])
    assert torch.equal(share_below(null, m_g).nan_to_num(9), expected.nan_to_num(9))
    assert torch.equal(share_below(null.double(), m_g.T).nan_to_num(9), expected.T.nan_to_num(9))


def test_a_null_of_another_model_or_of_images_that_are_none_is_refused():
    net, x = linear(), pictures(3)
    found = invert(net, x, seeds=[3], recipe=PIXELS)
    with pytest.raises(ValueError, match="model: expected the one that was inverted, whose m_r"):
        found.null(linear(), forward=lambda net, images: 1.2 * net(images))
    with pytest.raises(ValueError, match="model: expected the one that was inverted"):
        found.null(linear(outputs=400))
    with pytest.raises(ValueError, match="others: expected two images or more, no two alike"):
        found.null(net, others=x[[0, 1, 0]])
    with pytest.raises(ValueError, match="got 1, with 1 different ones; give some"):
        invert(net, x[:1], recipe=PIXELS).null(net)
    with pytest.raises(ValueError, match="others: expected a floating-point tensor"):
        found.null(net, others=torch.rand(3, 3, 4, 4).double())
    narrow = invert(net, x, "1", recipe=PIXELS)
    with pytest.raises(ValueError, match="layers: expected names of the model, got '1'"):
        narrow.null(nn.Flatten())


# --- Spectra -------------------------------------------------------------------------------------


class Attending(nn.Module):
    """Rows of pixels as tokens, through torch's own attention: same shape out as in."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(24, 2, 24, batch_first=True, norm_first=True)

    def forward(self, images):
        tokens = images.transpose(1, 2).flatten(2)  # (n, height, channels · width)
        tokens = nn.functional.scaled_dot_product_attention(tokens, tokens, self.block(tokens))
        return tokens.unflatten(2, (3, 8)).transpose(1, 2)


def convolving():
    norm = nn.BatchNorm2d(6)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norm, nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip
    norm.running_var.uniform_(0.2, 1.5)
    return net


NETS = {
    "convolving": convolving,
    "attending": Attending,
    "dense": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(192, 50), nn.Tanh(), nn.Linear(50, 192), nn.Unflatten(1, SHAPE)
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_leading_singular_values_are_the_exact_ones(name):
    with random.seeded(0):
        net = NETS[name]()
    x = pictures(2, dtype=torch.float32)
    exact = ae.measures.singular_values(net, x)
    found = ae.measures.leading_singular_values(net, x, k=10)
    assert torch.allclose(found.values, exact[:, :10], rtol=0.01)
    assert (found.values <= exact[:, :10] * (1 + 1e-5)).all()
    energy = exact.square().sum(1)
    assert torch.allclose(found.energy, energy, rtol=0.1)
    assert torch.allclose(found.share, exact[:, :10].square().sum(1) / energy, rtol=0.1)
    whole = ae.measures.leading_singular_values(net, x, k=500, rows=64)
    assert whole.values.shape == exact.shape
    assert torch.allclose(whole.values, exact, atol=1e-4 * float(exact.max()))
    assert torch.allclose(whole.energy, energy, rtol=1e-4)
    assert (whole.share <= 1).all()
    assert net.training  # as it was


def test_features_of_any_shape_have_singular_values():
    with random.seeded(0):
        net = nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.GELU()).double()
    x = pictures(1)
    matrix = torch.autograd.functional.jacobian(net, x).reshape(18, 192)
    found = ae.measures.leading_singular_values(net, x, k=18, rows=5)
    assert torch.allclose(found.values[0], torch.linalg.svdvals(matrix), rtol=1e-9)
    assert torch.allclose(found.energy[0], matrix.square().sum(), rtol=1e-9)
    pair = ae.measures.leading_singular_values([net, lambda x: 2 * x], x, k=3)
    assert pair.values.shape == (2, 1, 3)
    assert torch.allclose(pair.values[1], torch.full((1, 3), 2.0).double())
    assert pair.rank().shape == pair.share.shape == (2, 1)


def test_what_the_values_leave_is_estimated():
    """J = diag(3, 3, 1, …, 1): two values hold 18 of 18 + 190."""
    scale = torch.ones(192).double()
    scale[:2] = 3
    found = ae.measures.leading_singular_values(
        lambda x: scale * x.flatten(1), pictures(1), k=2, oversampling=0
    )
    assert torch.allclose(found.values, torch.full((1, 2), 3.0).double(), rtol=1e-3)
    assert float(found.energy) == pytest.approx(208, rel=0.1)
    assert float(found.share) == pytest.approx(18 / 208, rel=0.1)


def test_the_numerical_rank_is_that_of_a_narrow_layer():
    with random.seeded(0):
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.Linear(3, 40)).double()
    found = spectrum(net, pictures(2), ["1", "2"], k=5)
    assert found["1"].values.shape == (2, 3)
    assert found["2"].values.shape == (2, 5)
    for name in ("1", "2"):
        assert found[name].rank().tolist() == [3, 3]
        assert torch.allclose(found[name].share, torch.ones(2).double())
    assert found["2"].rank(0.999).tolist() == [1, 1]
    assert spectrum(net, pictures(2), "0", k=4)["0"].rank().tolist() == [4, 4]  # or above
    with pytest.raises(ValueError, match="tolerance: expected a finite number, above 0"):
        found["1"].rank(0)


def test_a_spectrum_goes_through_forward_and_leaves_the_model_alone():
    net, x = linear().train(), pictures(1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    once = spectrum(net, x, k=4)["output"].values
    thrice = spectrum(net, x, k=4, forward=lambda net, x: net(3 * x))["output"].values
    assert torch.allclose(thrice, 3 * once)
    exact = torch.linalg.svdvals(net[1].weight.detach())
    assert torch.allclose(once[0], exact[:4], rtol=0.01)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    with torch.inference_mode():
        assert torch.equal(spectrum(net, x, k=4)["output"].values, once)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


@pytest.mark.parametrize(
    ("model", "how", "error", "match"),
    [
        (lambda x: x.detach(), {}, ValueError, "model: expected one whose output depends on its"),
        (lambda x: x.sum(0), {}, ValueError, "a row for each image, .*shape .3, 8, 8."),
        (
            lambda x: {"a": x},
            {},
            ValueError,
            "a row for each image, .*got one that returns .*a",
        ),
        (Once.apply, {}, ValueError, "model: expected one that torch can differentiate twice"),
        (torch.neg, {"k": 0}, ValueError, "k: expected 1 or more"),
        (torch.neg, {"rows": 0}, ValueError, "rows: expected 1 or more"),
        (torch.neg, {"iterations": -1}, ValueError, "iterations: expected 0 or more"),
        (torch.neg, {"oversampling": 0.5}, TypeError, "oversampling: expected a whole number"),
        (3, {}, TypeError, "model: expected a callable"),
    ],
)
def test_jacobians_that_cannot_be(model, how, error, match):
    with pytest.raises(error, match=match):
        ae.measures.leading_singular_values(model, pictures(1), **how)


class Mixing(nn.Module):
    def forward(self, images):
        return images - images.mean(0)


def test_a_layer_that_mixes_images_has_no_spectrum():
    with pytest.raises(ValueError, match="influence each other"):
        spectrum(Mixing(), pictures(2))


def test_searches_in_two_precisions_can_be_held_against_each_other():
    model, image = nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), torch.rand(1, 1, 8, 8)
    first = invert(model, image, steps=2)["output"]
    assert torch.equal(nearer(first, replace(first, m_r=first.m_r.double())).m_i, first.m_i)


def test_an_inversion_of_no_layer_has_no_figure():
    found = invert(nn.Flatten(), torch.rand(1, 1, 8, 8), steps=1)
    with pytest.raises(ValueError, match="one layer or more to show"):
        replace(found, results={}).figure()
