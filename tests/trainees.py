"""Small models, images and the plain loop, for the tests of `fit`."""

from __future__ import annotations

import copy
import functools
import os
import signal

import pytest
import torch
from torch import nn

import aelib as ae

SHAPE = (1, 4, 4)
IMAGES = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(len(IMAGES)) % 3
FEW = 4  # few of the images, so batches are drawn with replacement
FUSED = functools.partial(torch.optim.Adam, fused=True)
MOMENTUM = functools.partial(torch.optim.SGD, momentum=0.5)

ways = pytest.mark.parametrize("vmap", [False, True])


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A job started in the background ignores Ctrl-C, and hands that down to these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def build(**changes):
    return ae.models.MLPAutoencoder(SHAPE, **{"width": 12, "depth": 1, **changes})


def twins():
    model = build()
    return model, copy.deepcopy(model)


def seeds(n=2, **changes):
    return ae.models.replicate(lambda: build(**changes), n)


class Dropping(nn.Module):
    """Draws at every step, so that its randomness has to be kept too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 12), nn.Dropout(), nn.Linear(12, 16)
        )

    def forward(self, images):
        return self.layers(images).reshape(images.shape)


def dropping():
    return ae.models.replicate(Dropping, 2)


def unets():
    """Models whose weights lie in memory with their channels last."""
    return ae.models.replicate(lambda: ae.models.UNet(SHAPE, 8, downs=1, norm="group"), 2)


def norms(n=2):
    def make():
        return nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))

    return ae.models.replicate(make, n)


def classifiers(n=2):
    return ae.models.replicate(lambda: nn.Sequential(nn.Flatten(-3), nn.Linear(16, 3)), n)


def weights(models):
    listed = [models] if isinstance(models, nn.Module) else models
    return [value.clone() for model in listed for value in model.state_dict().values()]


def same(first, second):
    """Bit for bit."""
    return all(map(torch.equal, weights(first), weights(second)))


def near(first, second, tolerance=1e-5):
    pairs = zip(weights(first), weights(second), strict=True)
    return all(torch.allclose(mine, its, rtol=0, atol=tolerance) for mine, its in pairs)


def plain(
    model, images, steps, batch_size, lr=1e-3, make=FUSED, seed=0, factor=None, clip=None, ema=None
):
    """The loop anyone would write, with the batches that `fit` draws."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = make(model.parameters(), lr=lr)
    average, losses = weights(model), []
    for step in range(steps):
        batch = images
        if batch_size is not None and batch_size * 4 < len(images):
            batch = images[torch.randint(len(images), (batch_size,), generator=generator)]
        elif batch_size is not None:
            batch = images[torch.randperm(len(images), generator=generator)[:batch_size]]
        if factor is not None:
            optimizer.param_groups[0]["lr"] = lr * factor(step)
        optimizer.zero_grad()
        loss = ((model(batch) - batch) ** 2).mean(dim=(1, 2, 3)).mean()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
        if ema is not None:
            decay = min(ema, (2 + step) / (11 + step))
            average = [decay * old + (1 - decay) * new
                       for old, new in zip(average, weights(model), strict=True)]  # fmt: skip
    if ema is not None:
        model.load_state_dict(dict(zip(model.state_dict(), average, strict=True)))
    return losses


def counted(calls, change=lambda losses, step: losses):
    """The objective `copy`, its losses changed by the number of the call within a step."""

    def objective(model, images):
        calls.extend([1] * torch.is_grad_enabled())  # not in the dry run
        return change(ae.objectives.copy(model, images), len(calls) * torch.is_grad_enabled())

    objective.__name__ = "copy"
    return objective


def interrupting(step):
    """An objective that presses Ctrl-C in its call number `step`."""

    def press(losses, call):
        if call == step:
            press_ctrl_c()
        return losses

    return counted([], press)
