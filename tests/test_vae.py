"""The variational autoencoder and its loss, against closed forms and torch.distributions."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

import aelib as ae
from aelib import models, objectives, random

SHAPE = (2, 3, 4)
IMAGES = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(0))
quick = settings(max_examples=40, deadline=None, derandomize=True)


def vae(**options):
    with random.seeded(0):
        return models.VAE(SHAPE, **{"width": 16, "depth": 3, "code": 5, **options})


@quick
@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(-6, 3)), min_size=1, max_size=6))
def test_the_divergence_is_torch_s(pairs):
    mean, log_variance = torch.tensor(pairs, dtype=torch.float64).T
    normal = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(normal, Normal(torch.zeros_like(mean), 1.0)).sum()
    found = objectives.kl_to_standard(mean, log_variance)
    assert float(found) == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


def test_the_divergence_is_exact_near_zero_and_zero_at_the_standard_gaussian():
    zero = torch.zeros(3, 4)
    assert torch.equal(objectives.kl_to_standard(zero, zero), torch.zeros(3))
    small = torch.full((1,), 1e-4)
    assert float(objectives.kl_to_standard(torch.zeros(1), small)) == pytest.approx(2.5e-9, rel=0.1)
    assert float(objectives.kl_to_standard(torch.ones(1), torch.zeros(1))) == 0.5


def test_forward_is_the_mean_s_copy_and_draws_nothing():
    net = vae()
    mean, log_variance = net.posterior(IMAGES)
    assert mean.shape == log_variance.shape == (7, 5)
    assert torch.equal(net.encode(IMAGES), mean)
    before = torch.get_rng_state()
    assert torch.equal(net(IMAGES), net.decode(mean))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(net(IMAGES[:1]), net(IMAGES)[:1], atol=1e-6)


def test_its_layers_are_those_of_the_plain_net_but_for_the_log_variances():
    plain = models.MLPAutoencoder(SHAPE, width=16, depth=5, code=5)
    ours = vae(depth=5)
    extra = 16 * 5 + 5
    assert models.count_parameters(ours) == models.count_parameters(plain) + extra
    outline = [str(layer) for half in (plain.encoder, plain.decoder) for layer in half]
    layers = [str(layer) for half in (ours.encoder, ours.decoder) for layer in half]
    assert [re.sub("out_features=10", "out_features=5", layer) for layer in layers] == outline


def test_draws_have_the_posterior_s_mean_and_deviation():
    posterior = models.Posterior(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -2.0]]))
    many = models.Posterior(*(values.expand(40_000, 2) for values in posterior))
    drawn = many.sample(torch.Generator().manual_seed(1))
    assert drawn.mean(0).tolist() == pytest.approx([1, -2], abs=0.02)
    assert drawn.std(0).tolist() == pytest.approx([1, math.exp(-1)], rel=0.02)
    again = many.sample(torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)


def test_the_loss_is_error_plus_beta_times_divergence_per_element():
    net = vae()
    with random.seeded(3):
        loss = objectives.variational(0.7)(net, IMAGES)
    with random.seeded(3):
        error, kl = objectives.variational_terms(net, IMAGES)
    assert loss.shape == error.shape == kl.shape == (7,)
    assert torch.equal(loss, error + 0.7 * kl)
    with random.seeded(3):
        posterior = net.posterior(IMAGES)
        copies = net.decode(posterior.sample())
    assert torch.allclose(error, ((copies - IMAGES) ** 2).mean((1, 2, 3)))
    normal = Normal(posterior.mean, (posterior.log_variance / 2).exp())
    nats = kl_divergence(normal, Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(kl, nats / math.prod(SHAPE), atol=1e-6)


def test_at_beta_two_sigma_squared_it_is_the_bound_on_the_likelihood():
    """d/2σ² times the loss is −log p(a|z) − its constant + KL."""
    net, sigma, d = vae(), 0.3, math.prod(SHAPE)
    with random.seeded(3):
        loss = objectives.variational(sigma=sigma)(net, IMAGES)
    with random.seeded(3):
        posterior = net.posterior(IMAGES)
        guess = Normal(net.decode(posterior.sample()), sigma)
    normal = Normal(posterior.mean, (posterior.log_variance / 2).exp())
    bound = guess.log_prob(IMAGES).sum((1, 2, 3)) - kl_divergence(normal, Normal(0.0, 1.0)).sum(1)
    constant = d / 2 * math.log(2 * math.pi * sigma**2)
    assert torch.allclose(loss * d / (2 * sigma**2), -bound - constant, rtol=1e-4)


def test_gradients_reach_both_halves_of_the_posterior():
    net = vae()
    objectives.variational(0.1)(net, IMAGES).mean().backward()
    last = net.encoder[-1].weight.grad
    assert (last[:5].abs().sum(1) > 0).all()
    assert (last[5:].abs().sum(1) > 0).all()


def test_fit_trains_seeds_and_a_higher_beta_buys_less():
    digits = ae.data.load("digits", train=200)
    rates = {}
    for beta in (0.01, 1.0):
        nets = models.replicate(lambda: models.VAE(digits.shape, width=32, depth=3, code=4), 2)
        history = ae.fit(nets, digits.train, steps=150, objective=objectives.variational(beta))
        assert history.loss.shape[-1] == 2 or len(history.loss) == 2
        with torch.no_grad(), random.seeded(0):
            terms = [objectives.variational_terms(net, digits.test) for net in nets]
        rates[beta] = min(float(term.kl.mean()) for term in terms)
    assert rates[1.0] < rates[0.01] / 5


def test_what_cannot_work_is_refused():
    for options, words in (
        ({"beta": -1.0}, "beta: .*0 or more"),
        ({"sigma": 0}, "sigma: .*above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            objectives.variational(**options)
    with pytest.raises(TypeError, match=r"beta, sigma: .* one of them"):
        objectives.variational(0.1, sigma=0.2)
    plain = models.MLPAutoencoder(SHAPE, width=8, depth=3)
    with pytest.raises(
        objectives.ObjectiveError, match=r"model: .*MLPAutoencoder without posterior"
    ):
        objectives.variational(0.1)(plain, IMAGES)
    with pytest.raises(ValueError, match="posterior"):
        ae.fit(plain, IMAGES, steps=1, objective=objectives.variational(0.1))
