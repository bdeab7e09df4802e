"""The family: each constraint against a closed form or a plain version, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aelib as ae
from aelib import data, measures, models, objectives, random
from aelib.experiments import family, family_knobs, masked_copying

SHAPE = (2, 4, 4)
IMAGES = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def dense(**options):
    with random.seeded(0):
        return models.MLPAutoencoder(SHAPE, width=16, depth=3, code=5, **options)


def quantised(**options):
    with random.seeded(0):
        return models.VQAutoencoder(SHAPE, 16, **{"code": 8, "slots": 4, "words": 6, **options})


# --- contractive ---------------------------------------------------------------------------------


def test_the_slope_is_the_jacobian_s_size_on_average():
    net = dense(activation="tanh")
    exact = [measures.jacobian(net, image).square().sum() / 32 for image in IMAGES]
    many = IMAGES.repeat_interleave(4000, 0)
    with random.seeded(1):
        error, slope = objectives.contractive_terms(net, many)
    assert torch.allclose(slope.view(6, -1).mean(1), torch.stack(exact), rtol=0.06)
    assert torch.allclose(error, objectives.copy(net, many))


def test_of_a_linear_encoder_it_is_the_sum_of_the_squared_weights():
    net = models.LinearAutoencoder(SHAPE, code=3)
    with random.seeded(1):
        slope = objectives.contractive_terms(net, IMAGES.repeat(4000, 1, 1, 1), "code").slope
    exact = net.encoder.weight.square().sum().item() / 32
    assert slope.mean().item() == pytest.approx(exact, rel=0.02)


def test_of_a_linear_net_the_loss_is_the_denoiser_s():
    net, sigma = models.LinearAutoencoder(SHAPE), 0.3
    many = IMAGES.repeat(20_000, 1, 1, 1)
    with random.seeded(1):
        contracted = objectives.contractive(sigma**2)(net, many).mean()
        denoised = objectives.denoise(data.gaussian(sigma))(net, many).mean()
    w = net.encoder.weight.double()
    flat = IMAGES.flatten(1).double()
    closed = ((flat @ w.T - flat).square().sum(1).mean() + sigma**2 * w.square().sum()) / 32
    assert contracted.item() == pytest.approx(closed.item(), rel=0.01)
    assert denoised.item() == pytest.approx(closed.item(), rel=0.01)


def test_the_penalty_pulls_and_leaves_no_graph_where_none_is_asked_for():
    net = dense()
    objectives.contractive(1.0)(net, IMAGES).sum().backward()
    assert all(value.grad is not None for value in net.encoder[0].parameters() if value.ndim > 1)
    with torch.no_grad():
        assert not objectives.contractive(1.0)(net, IMAGES).requires_grad
    shrunk = {}
    for beta in (0.0, 0.3):
        (one,) = models.replicate(dense, 1)
        ae.fit(one, IMAGES, objective=objectives.contractive(beta), steps=60, lr=1e-2)
        shrunk[beta] = float(measures.jacobian(one, IMAGES[0]).square().sum())
    assert shrunk[0.3] < 0.5 * shrunk[0.0]


def test_seeds_share_a_graph():
    nets = models.replicate(dense, 2)
    options = {"objective": objectives.contractive(0.1), "steps": 4, "vmap": True}
    assert ae.fit(nets, IMAGES, **options).loss.shape == (2, 4)


def test_contractive_says_what_is_wrong():
    with pytest.raises(ValueError, match="beta: expected a finite number, 0 or more, got -1"):
        objectives.contractive(-1)
    with pytest.raises(ValueError, match=r"part: .* got 'encoder'.* known: 'copy', 'code'"):
        objectives.contractive(0.1, "encoder")
    with pytest.raises(objectives.ObjectiveError, match=r"model: expected .*encode"):
        objectives.contractive(0.1, "code")(nn.Identity(), IMAGES)


# --- masked --------------------------------------------------------------------------------------


def test_masked_is_the_error_on_hidden_pixels():
    mask = data.masked(0.5, fill=0.5, patch=2)
    with random.seeded(3):
        loss = objectives.masked(mask)(torch.square, IMAGES)
    with random.seeded(3):
        terms = objectives.masked_terms(torch.square, IMAGES, mask)
    with random.seeded(3):
        hidden = mask.hidden(IMAGES)
    for image, part, one, seen in zip(IMAGES, hidden, *terms, strict=True):
        errors = (image.where(~part, 0.5).square() - image).square()
        inside = [e for e, is_hidden in zip(errors.flatten(), part.expand(2, 4, 4).flatten(),
                                            strict=True) if is_hidden]  # fmt: skip
        assert float(one) == pytest.approx(float(torch.stack(inside).mean()), rel=1e-5)
        rest = (errors * ~part).sum() / (~part).expand(2, 4, 4).sum().clamp_min(1)
        assert float(seen) == pytest.approx(float(rest), rel=1e-5)
    assert torch.equal(loss, terms.hidden)
    stacked = objectives.masked(mask)(torch.square, IMAGES.expand(3, *IMAGES.shape))
    assert stacked.shape == (3, 6)


def test_what_is_said_of_a_seen_pixel_does_not_count():
    class Liar(nn.Module):
        def forward(self, images):
            return images.where(images == 0.5, 100.0)  # right or wrong, but wild where it sees

    grey = torch.full((4, 1, 4, 4), 0.5)
    assert torch.equal(objectives.masked(data.masked(0.5, fill=0.5))(Liar(), grey), torch.zeros(4))


def test_patches_are_hidden_whole():
    hidden = data.masked(0.5, patch=4).hidden(torch.zeros(50, 3, 8, 8), random.generator(0))
    blocks = hidden.unflatten(2, (2, 4)).unflatten(4, (2, 4)).transpose(3, 4).flatten(4)
    assert hidden.shape == (50, 1, 8, 8)
    assert torch.equal(blocks.all(-1), blocks.any(-1))
    assert 0.35 < float(hidden.float().mean()) < 0.65


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (data.masked(1.0), ValueError, "mask: expected one that hides a part .* got everything"),
        (data.masked(0.0), ValueError, "got nothing"),
        (0.5, TypeError, r"mask: expected a mask, such as data.masked\(0.5\), got 0.5"),
    ],
)
def test_a_mask_of_everything_leaves_nothing_to_learn_from(mask, error, message):
    with pytest.raises(error, match=message):
        objectives.masked(mask)


def test_patches_that_do_not_fit():
    with pytest.raises(ValueError, match=r"images: expected sides divisible by 3 \(patch\)"):
        data.masked(0.5, patch=3)(IMAGES)
    with pytest.raises(ValueError, match="patch: expected 1 or more, got 0"):
        data.masked(0.5, patch=0)


# --- vector-quantised ----------------------------------------------------------------------------


def test_a_code_becomes_its_nearest_words():
    net = quantised()
    code = net.continuous(IMAGES)
    for row, pieces in zip(net.encode(IMAGES), code.unflatten(1, (4, 2)), strict=True):
        for word, piece in zip(row.unflatten(0, (4, 2)), pieces, strict=True):
            far = [(piece - other).square().sum().item() for other in net.words]
            assert torch.allclose(word, net.words[far.index(min(far))], atol=1e-6)
    assert torch.allclose(net(IMAGES), net.decode(code), atol=1e-6)
    assert torch.allclose(net(IMAGES[:1]), net(IMAGES)[:1], atol=1e-6)


def test_the_gradient_goes_straight_through():
    net, weights = quantised(), torch.randn(6, 8)
    code = net.continuous(IMAGES).detach().requires_grad_()
    (net.quantize(code) * weights).sum().backward()
    assert torch.equal(code.grad, weights)  # as if words and code were one
    assert net.words.grad is None


def test_each_term_moves_its_own():
    net = quantised()
    error, book, commitment = objectives.quantized_terms(net, IMAGES)
    assert torch.allclose(book, commitment)
    assert torch.allclose(error, objectives.copy(net, IMAGES), atol=1e-6)
    for term, moves_words, moves_encoder in (
        (error, False, True), (book, True, False), (commitment, False, True)
    ):  # fmt: skip
        found = torch.autograd.grad(term.sum(), [net.words, net.encoder[0].weight],
                                    retain_graph=True, allow_unused=True)  # fmt: skip
        moved = [slopes is not None and bool(slopes.abs().max() > 0) for slopes in found]
        assert moved == [moves_words, moves_encoder]
    whole = objectives.quantized(0.25)(net, IMAGES)
    assert torch.allclose(whole, error + book + 0.25 * commitment)


def test_three_words_for_three_kinds_of_images_are_found():
    kinds = torch.tensor([0.1, 0.5, 0.9])[torch.arange(60) % 3]
    images = kinds[:, None, None, None].expand(60, 1, 2, 2).contiguous()
    (net,) = models.replicate(
        lambda: models.VQAutoencoder((1, 2, 2), 16, code=2, slots=1, words=3), 1
    )
    ae.fit(
        net,
        images,
        objective=objectives.quantized(),
        steps=300,
        lr=1e-2,
        log_at=[0, 20, 50],
        callback=lambda at: [models.restart_unused(one, images) for one in at["models"]],
    )
    assert float(measures.clean_error(net, images).max()) < 1e-3
    assert net.usage(images).tolist() == pytest.approx([1 / 3] * 3)


def test_unused_words_are_told_and_started_again():
    net = quantised(words=64)
    with torch.no_grad():
        net.words[1:] = 1e3
    with pytest.warns(models.UnusedWordsWarning, match="63 of 64 never used; call models.restart"):
        assert net.usage(IMAGES).tolist() == [1.0] + [0.0] * 63
    before = net.words[0].clone()
    assert models.restart_unused(net, IMAGES) == 63
    assert torch.equal(net.words[0], before)
    pieces = net.continuous(IMAGES).detach().view(-1, 2)
    assert all(bool((pieces == word).all(1).any()) for word in net.words.detach()[1:])


def test_words_that_cannot_be():
    with pytest.raises(ValueError, match="words: expected 2 or more, got 1; with one word every"):
        quantised(words=1)
    with pytest.raises(ValueError, match=r"code: expected a multiple of 3 \(slots\), got 8"):
        quantised(slots=3)
    with pytest.raises(ValueError, match="images: expected images that differ, got images of"):
        models.restart_unused(quantised(), torch.full((5, *SHAPE), 0.5))
    with pytest.raises(ValueError, match="beta: expected a finite number, 0 or more"):
        objectives.quantized(-0.1)
    with pytest.raises(objectives.ObjectiveError, match=r"use models\.VQAutoencoder"):
        objectives.quantized()(dense(), IMAGES)


# --- the experiments' own measures ---------------------------------------------------------------


def rows(**members):
    """A table of two nets each: (error, reader, samples) by member."""
    columns = ("error", "reader", "samples")
    return {
        name: {column: [value, value] for column, value in zip(columns, values, strict=True)}
        for name, values in members.items()
    }


def test_the_all_rounder_is_the_least_behind_at_its_worst():
    table = rows(a=(1.0, 60.0, 10.0), b=(2.0, 80.0, 30.0), c=(1.5, 70.0, 12.0))
    # a is behind by 40/20 at the reader, b by 30/10 at samples, c by 30/20 at error and reader.
    assert family.behind(table).tolist() == [1.5, 1.5]
    assert family.behind(table, ["a"]).tolist() == [2.0, 2.0]
    assert family.behind(table, ["b"], ("error", "reader")).tolist() == [2.0, 2.0]
    everything = rows(a=(1.0, 60.0, 10.0), best=(1.0, 90.0, 9.0))
    assert family.behind(everything).tolist() == [1.0, 1.0]


def test_luck_does_not_choose_for_itself():
    table = {"a": {"samples": [1.0, 5.0, 5.0]}, "b": {"samples": [4.0, 4.0, 4.0]}}
    assert family.best(table, "samples").tolist() == [4.0, 5.0, 5.0]


def test_a_value_between_two_noises():
    errors = torch.tensor([[0.1], [0.4]]).numpy()
    values = torch.tensor([[60.0], [80.0]]).numpy()
    found = masked_copying.at_error(torch.tensor([0.2]).numpy(), errors, values)
    assert found.tolist() == pytest.approx([70.0])  # half-way on the logarithm


def test_the_density_stays_in_the_leading_directions():
    code = torch.randn(600, 40, generator=random.generator(0)) * torch.linspace(3, 0.1, 40)
    mean, basis, _ = measures.principal_directions(code[..., None, None], family.DIRECTIONS)
    first, second = family.density(code, 4000, seed=1, draws=2)
    off = (first - mean) - (first - mean) @ basis.T @ basis
    assert off.abs().max() < 1e-4
    assert torch.allclose(first[:, :5].std(0), code[:, :5].std(0), rtol=0.1)
    assert not torch.equal(first, second)


def test_only_the_largest_units_stay():
    keep = family.TopK(2)
    code = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-1.0, 0.5, -2.0, -3.0]])
    assert keep(code).tolist() == [[3.0, 0.0, 2.0, 0.0], [0.0, 0.5, 0.0, 0.0]]
    assert torch.equal(keep(keep(code)), keep(code))


def test_how_many_pixels_a_picture_moves():
    one, all_alike = torch.zeros(1, 1, 4, 4), -torch.ones(1, 1, 4, 4)
    one[..., 1, 2] = 5.0
    assert family.spread(torch.cat([one, all_alike])).tolist() == pytest.approx([1 / 16, 1.0])


def test_what_is_idle_and_what_is_dead_is_counted():
    net = quantised(words=6)
    code = torch.randn(50, 4, generator=random.generator(0)) * torch.tensor([1.0, 1.0, 1e-3, 0.0])
    assert family.usage(dense(), code, IMAGES) == {"dead": 25.0, "idle": 50.0}
    with torch.no_grad():
        net.words[3:] = 1e3
    found = family.usage(net, code, IMAGES)
    assert found["dead"] == found["idle"] >= 50.0


def test_a_charge_cannot_be_paid_with_a_small_code_and_a_large_decoder():
    with random.seeded(0):
        net = family.charged((1, 4, 4), 0.1)
    images = torch.rand(5, 1, 4, 4, generator=random.generator(0))
    code, before = net.encode(images), net(images)
    assert float(code.detach().min()) == 0.0
    with torch.no_grad():
        for layer in net.decoder:
            if isinstance(layer, nn.Linear):
                layer.weight *= 100.0
    assert torch.allclose(net(images), before, atol=1e-5)


def test_a_code_that_has_died_is_drawn_as_it_is():
    (drawn,) = family.density(torch.full((20, 3), 0.5), 4, seed=0)
    assert drawn.tolist() == [[0.5] * 3] * 4
    assert family.spread(torch.zeros(2, 1, 4, 4)).tolist() == [0.0, 0.0]


def test_the_knob_is_chosen_by_the_other_nets():
    far = torch.tensor([[1.0, 9.0], [2.0, 2.0], [3.0, 3.0]]).numpy()
    assert family_knobs.at_best(far, far).tolist() == [2.0, 9.0]
    table = {
        "alike": {"samples": far + 10, "reader": 100 - far},
        "apart": {"samples": far[[0, 1]] * 0 + [[20.0], [10.0]],
                  "reader": 100 - (far[[0, 1]] * 0 + [[5.0], [10.0]])},
    }  # fmt: skip
    plain = {"samples": torch.tensor([40.0, 40.0]).numpy(), "reader": torch.zeros(2).numpy() + 80}
    found = family_knobs.readings(table, plain)
    assert found[family_knobs.SAMPLES].tolist() == pytest.approx([1.0, 2.0])
    assert found[family_knobs.WRONG].tolist() == pytest.approx([1.0, 2.0])
    assert found[family_knobs.PLAIN_SAMPLES][1] == pytest.approx(4.0)
    assert found[family_knobs.PLAIN_WRONG][1] == pytest.approx(4.0)
    assert family_knobs.best_settings(
        {"error": far, "reader": far, "samples": far}
    ) == {"error": 1, "reader": 0, "samples": 1}  # fmt: skip


def test_every_knob_has_a_middle_and_turns_one_way():
    for name in family_knobs.KNOBS:
        values = family.MEMBERS[name].values
        assert len(values) == 5
        assert list(values) in (sorted(values), sorted(values, reverse=True))
        assert family.MEMBERS[name].middle == values[2]
