"""random: seeds, generators, white noise; everything random comes from here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aelib import random


def test_generator_starts_at_its_seed():
    draws = [torch.rand(3, generator=random.generator(seed)) for seed in (1, 1, 2, np.int64(1))]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[3])
    assert not torch.equal(draws[0], draws[2])
    own = torch.Generator()
    assert random.generator(own) is own
    for seed in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match="seed: expected a whole number"):
            random.generator(seed)


def test_seeded_puts_the_global_generator_back_also_after_an_error():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with random.seeded(3):
        inside = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(inside, torch.rand(4))
    torch.set_rng_state(before)
    with pytest.raises(KeyError), random.seeded(3):
        {}[torch.rand(1)]
    with random.seeded(None):
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, torch.rand(2))  # None starts where the generator is
    with pytest.raises(TypeError, match="seed"), random.seeded(0.5):
        pass


def test_an_offset_moves_every_seed(monkeypatch):
    def drawn(seed):
        with random.seeded(seed):
            return torch.rand(2)

    plain = torch.rand(2, generator=random.generator(5)), drawn(5), random.moved(5)
    monkeypatch.setenv("AELIB_SEED_OFFSET", "3")
    moved = torch.rand(2, generator=random.generator(2)), drawn(2), random.moved(2)
    assert torch.equal(plain[0], moved[0])
    assert torch.equal(plain[1], moved[1])
    assert plain[2] == moved[2] == 5
    monkeypatch.setenv("AELIB_SEED_OFFSET", "many")
    with pytest.raises(ValueError, match="AELIB_SEED_OFFSET: expected a whole number, got 'many'"):
        random.generator(0)


def test_the_state_of_a_gpu_that_the_environment_rules_out_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert list(random.state()) == ["cpu"]


def test_a_state_comes_back():
    state = random.state()
    first = torch.rand(3)
    random.set_state(state)
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("draw", "oracle"), [(random.normal, torch.randn), (random.uniform, torch.rand)]
)
def test_one_seed_is_one_noise_in_every_dtype(draw, oracle, dtype):
    like = torch.zeros(1, dtype=dtype)
    noise = draw((2, 3), like, random.generator(3))
    assert noise.dtype == dtype
    assert torch.equal(noise, oracle(2, 3, generator=torch.Generator().manual_seed(3)).to(dtype))
    torch.manual_seed(3)
    assert torch.equal(draw((2, 3), like), noise)


def test_noise_is_drawn_where_the_generator_is_and_moves(monkeypatch):
    """The meta device stands in for a GPU: images elsewhere than the generator."""
    asked, randn = [], torch.randn
    monkeypatch.setattr(torch, "randn", lambda *a, **k: asked.append(k["device"]) or randn(*a, **k))
    like, generator = torch.zeros(1, device="meta"), torch.Generator()
    assert random.normal((2,), like, generator).device == like.device
    random.normal((2,), like)
    assert asked == [generator.device, like.device]


def test_seeded_reseeds_no_device_that_it_does_not_put_back(monkeypatch):
    reseeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)
    with random.seeded(3, torch.device("cpu")):
        assert torch.initial_seed() == 3
    assert reseeded == []
