"""What comes back of `invert`: class ranks, baselines, and numbers that are none said in words."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import random
from aelib.inversion import Pixels, Recipe, invert, load
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


def test_another_format_is_refused_in_words(tmp_path):
    from safetensors.torch import save

    path = tmp_path / "old"
    about = {"about": json.dumps({"format": "aelib inversion 1"})}
    path.write_bytes(save({"a": torch.ones(1)}, about))
    with pytest.raises(ValueError, match="of another version of aelib"):
        load(path)
