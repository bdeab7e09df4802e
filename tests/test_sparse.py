"""The sparse autoencoder and its loss, against a known dictionary and a closed form."""

from __future__ import annotations

import re

import pytest
import torch

import aelib as ae
from aelib import models, objectives, random

SHAPE = (16, 1, 1)


def known_dictionary(atoms=24, elements=16, n=4000, on=2):
    """Inputs made of `on` of the atoms, with sizes between 1 and 2: inputs, atoms (columns)."""
    source = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(
        torch.randn(elements, atoms, generator=source), dim=0
    )
    chosen = torch.rand(n, atoms, generator=source).topk(on).indices
    sizes = 1 + torch.rand(n, on, generator=source)
    code = torch.zeros(n, atoms).scatter(1, chosen, sizes)
    return models.scaling(code @ directions.T)(code @ directions.T), directions


@pytest.mark.parametrize(
    ("k", "objective", "least"), [(2, objectives.copy, 0.9), (None, objectives.sparse(0.05), 0.85)]
)
def test_a_known_dictionary_is_found(k, objective, least):
    inputs, atoms = known_dictionary()
    (model,) = models.replicate(lambda: models.SparseAutoencoder(SHAPE, code=48, k=k), seeds=1)

    def found():
        with torch.no_grad():
            return float((atoms.T @ model.decoder.columns()).amax(1).mean())

    before = found()
    ae.fit(model, inputs, objective=objective, steps=500, lr=1e-2, batch_size=64)
    assert before < 0.65
    assert found() > least


def test_the_best_code_of_an_orthonormal_dictionary_is_half_the_penalty_smaller():
    model = models.SparseAutoencoder((4, 1, 1), code=4)
    with torch.no_grad():
        model.decoder.weight.copy_(torch.eye(4))
        model.encoder.weight.copy_(torch.eye(4))
    for parameter in (model.decoder.weight, model.decoder.bias, model.encoder.weight):
        parameter.requires_grad_(False)
    inputs = 0.4 + 0.5 * torch.rand(200, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    ae.fit(model, inputs, objective=objectives.sparse(0.2), steps=400, lr=1e-2, batch_size=None)
    assert torch.allclose(model.encoder.bias, torch.full((4,), -0.1), atol=1e-3)


def test_the_terms_are_what_their_equations_say():
    model = models.SparseAutoencoder(SHAPE, code=40)
    inputs = torch.randn(5, *SHAPE)
    code = model.encode(inputs)
    error, l1 = objectives.sparse_terms(model, inputs)
    assert torch.allclose(error, (model(inputs) - inputs).square().mean((1, 2, 3)))
    assert torch.allclose(l1, code.sum(1) / 16)
    assert torch.allclose(objectives.sparse(0.3)(model, inputs), error + 0.3 * l1)
    stacked = objectives.sparse_terms(model, inputs[None].expand(2, *inputs.shape))
    assert torch.allclose(stacked.l1[1], l1)


def test_columns_have_norm_one_whatever_the_weights_and_the_code_is_top_k():
    model = models.SparseAutoencoder(SHAPE, code=40, k=7)
    with torch.no_grad():
        model.decoder.weight.mul_(torch.rand(40) * 9 + 0.1)
    assert torch.allclose(model.decoder.columns().norm(dim=0), torch.ones(40))
    inputs = torch.randn(50, *SHAPE)
    code, dense = model.encode(inputs), models.SparseAutoencoder(SHAPE, code=40)
    assert int((code > 0).sum(1).max()) <= 7
    dense.load_state_dict(model.state_dict())
    full = dense.encode(inputs)
    assert torch.equal(code, full.where(code > 0, 0.0))
    assert torch.equal(code.amax(1), full.amax(1))


def test_seeds_train_as_one_graph_as_they_do_alone():
    inputs, _ = known_dictionary(n=200)
    pairs = [
        models.replicate(lambda: models.SparseAutoencoder(SHAPE, 24, 2), seeds=2) for _ in range(2)
    ]
    for nets, vmap in zip(pairs, (True, False), strict=True):
        ae.fit(nets, inputs, steps=20, vmap=vmap)
    for one, other in zip(*pairs, strict=True):
        assert torch.allclose(one.decoder.weight, other.decoder.weight, atol=1e-5)


def test_scaled_features_have_mean_zero_and_one_is_the_largest():
    features = 5 + 3 * torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    inputs = models.scaling(features)(features)
    assert inputs.shape == (300, 16, 1, 1)
    assert torch.allclose(inputs.mean(0), torch.zeros(SHAPE), atol=1e-6)
    assert float(inputs.abs().max()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objectives.sparse(-0.1), "penalty: expected a finite number, 0 or more, got -0.1"),
        (
            lambda: models.SparseAutoencoder(SHAPE, code=8, k=9),
            "k: expected 8 or less (the code), got 9",
        ),
        (
            lambda: models.scaling(torch.ones(10, 4)),
            "features: expected features that differ, got features that are the same",
        ),
        (
            lambda: objectives.sparse(0.1)(torch.nn.Identity(), torch.rand(2, 1, 4, 4)),
            "encode",
        ),
        (lambda: models.dead_units(torch.nn.Identity(), torch.rand(2, 1, 4, 4)), "encode"),
    ],
)
def test_what_cannot_work_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


def test_dead_units_are_named_with_what_to_try():
    with random.seeded(0):
        model = models.SparseAutoencoder(SHAPE, code=20)
    with torch.no_grad():
        model.encoder.bias[[3, 11]] = -1e6
    inputs = torch.randn(400, *SHAPE, generator=torch.Generator().manual_seed(0))
    with pytest.warns(models.DeadUnitsWarning, match="2 of 20 units .* try a smaller penalty"):
        assert models.dead_units(model, inputs).tolist() == [3, 11]


def test_looking_for_dead_units_leaves_the_model_as_it_is():
    class Normed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.BatchNorm1d(16), torch.nn.Dropout()
            )

        def encode(self, images):
            return self.layers(images)

    model, before = Normed(), torch.get_rng_state()
    assert models.dead_units(model, torch.rand(9, *SHAPE)).shape == (0,)
    assert float(model.layers[1].running_mean.abs().sum()) == 0
    assert model.training
    torch.rand(9, *SHAPE)  # what the images took
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    torch.rand(9, *SHAPE)
    torch.rand(9, *SHAPE)
    assert torch.equal(after, torch.get_rng_state())
