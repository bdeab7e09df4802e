"""What a training changes from step to step: models with their optimizers, and their batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from aelib import random
from aelib.training.distributed import Place
from aelib.training.ensemble import Ensemble, ensemble
from aelib.training.plan import Plan

# Above this size the images stay where they are and each batch travels by itself.
RESIDENT_BYTES = 4 << 30


class Batches:
    """The images of one model's steps, and their labels: the same however it is trained."""

    def __init__(self, data: Sequence[Tensor], batch_size: int | None, seed: int, place: Place):
        self.data, self.batch_size, self.place = data, batch_size, place
        self.generator = random.generator(seed)

    def draw(self) -> list[Tensor]:
        """This process's share of one batch: images, and labels where there are any."""
        n, share = len(self.data[0]), slice(self.place.rank, None, self.place.processes)
        if self.batch_size is None:
            return [value[share].to(self.place.device, non_blocking=True) for value in self.data]
        if self.batch_size * 4 < n:  # cheaper than a permutation of all; a few repeats at most
            chosen = torch.randint(n, (self.batch_size,), generator=self.generator)
        else:
            chosen = torch.randperm(n, generator=self.generator)[: self.batch_size]
        return [
            value.index_select(0, chosen[share].to(value.device)).to(
                self.place.device, non_blocking=True
            )
            for value in self.data
        ]


class Learner:
    """One module with its optimizer: a model, or all of them as one graph.

    Attributes:
        model: what the objective is called with.
        optimizer: of its parameters; at `lr` times the schedule's factor.
        batches: one for each seed.
        total: the sum of the losses since the last record, () or (seeds,).
        ones: the gradient of the losses' sum over seeds, without the sum, in that shape.
        averages: of the parameters that are trained, over the steps; empty without `ema`.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batches], plan: Plan):
        self.bare, self.batches, self.plan = model, batches, plan
        self.optimizer = plan.optimizer(model.parameters(), lr=plan.lr)
        self.optimizer.zero_grad()  # of whatever the models were used for before
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.model = plan.place.wrap(model)
        width = (len(batches),) if isinstance(model, Ensemble) else ()
        self.total = torch.zeros(width, device=plan.place.device)
        self.ones = torch.ones_like(self.total)
        self.trained: list[Tensor] = [value for value in model.parameters() if value.requires_grad]
        self.averages = [value.detach().clone() for value in self.trained if plan.ema is not None]

    def draw(self) -> list[Tensor]:
        """Images (batch, channels, height, width), any labels (batch,); an ensemble's with seeds
        in front.
        """
        drawn = [batches.draw() for batches in self.batches]
        if isinstance(self.bare, Ensemble):
            return [torch.stack(values) for values in zip(*drawn, strict=True)]
        return drawn[0]

    def set_rate(self, done: int) -> None:
        """The schedule's step size after so many steps."""
        if self.plan.schedule is not None:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * self.plan.factor(done)

    @torch.no_grad()
    def clip(self, scaler: torch.amp.GradScaler) -> None:
        """Scale each model's gradient down to the length it may have, where it is longer."""
        if self.plan.clip is None:
            return
        scaler.unscale_(self.optimizer)
        gradients = [value.grad for value in self.trained if value.grad is not None]
        rows = [each.reshape(*self.ones.shape, -1) for each in gradients]  # by seed, if as one
        length = torch.stack([row.square().sum(-1) for row in rows]).sum(0).sqrt()  # () or (seeds,)
        factor = self.plan.clip / length.clamp_min(self.plan.clip)
        for each in gradients:
            each.mul_(factor.reshape(*factor.shape, *[1] * (each.dim() - factor.dim())))

    def average(self, step: int) -> None:
        """Let the weights of this step enter the average.

        In the first steps it is shorter than `ema` asks for, since it would be of the start only.
        """
        if self.plan.ema is not None:
            decay = min(self.plan.ema, (1 + step) / (10 + step))
            get_ema_multi_avg_fn(decay)(self.averages, self.trained, step)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their averages, where there are any."""
        for weight, average in zip(self.trained, self.averages, strict=bool(self.averages)):
            before = weight.clone()
            weight.copy_(average)
            average.copy_(before)

    def hand_over(self) -> None:
        """Give the models the weights they would end with now."""
        self.swap()
        if isinstance(self.bare, Ensemble):
            self.bare.unstack()


@contextlib.contextmanager
def handed_over(learners: Sequence[Learner]) -> Iterator[None]:
    """Inside the block the models are as they would end now; afterwards the training goes on."""
    for learner in learners:
        learner.hand_over()
    try:
        yield
    finally:
        for learner in reversed(learners):
            learner.swap()


@contextlib.contextmanager
def at_home(plan: Plan) -> Iterator[None]:
    """Inside the block the models are on the device they came from, where their caller's data is;
    afterwards back on the plan's.
    """
    for model, home in zip(plan.models, plan.homes, strict=True):
        model.to(home)
    try:
        yield
    finally:
        for model in plan.models:
            model.to(plan.place.device)


@contextlib.contextmanager
def prepared(plan: Plan) -> Iterator[list[Learner]]:
    """The learners of a plan: one for each model, or one for all of them as one graph.

    Inside the block the models are on the plan's device in training mode, gradients are on and the
    global generators start at the plan's seed; afterwards each model is trained, back in its place
    and mode, and all else is as it was.
    """
    models, device = plan.models, plan.place.device
    modes = [(module, module.training) for model in models for module in model.modules()]
    learners: list[Learner] = []
    with torch.inference_mode(False), torch.enable_grad(), random.seeded(plan.seed, device):
        try:
            for model in models:
                model.to(device).train()
            whole, batches = ensemble(plan), _batches(plan)
            if whole is not None:
                learners.append(Learner(whole, batches, plan))
            else:
                for model, own in zip(models, batches, strict=True):
                    learners.append(Learner(model, [own], plan))
            yield learners
        finally:
            for learner in learners:
                learner.hand_over()
            for model, home in zip(models, plan.homes, strict=True):
                model.to(home)
            for module, training in modes:
                module.training = training


def _batches(plan: Plan) -> list[Batches]:
    """Each model draws from a seed of its own; what fits is brought to the device at once."""
    device = plan.place.device
    images = {id(value): value for value in plan.images}
    if sum(value.numel() * value.element_size() for value in images.values()) <= RESIDENT_BYTES:
        images = {key: value.to(device) for key, value in images.items()}
    data = [[images[id(value)]] for value in plan.images]
    for row, labels in zip(data, plan.labels or [], strict=plan.labels is not None):
        row.append(labels.to(device))
    return [
        Batches(row, plan.batch_size, plan.seed + number, plan.place)
        for number, row in enumerate(data)
    ]
