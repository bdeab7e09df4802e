"""The state of a training while it runs: nets, optimisers, batches, step."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from aelib import random
from aelib.models import evaluating
from aelib.training.stack import Stack
from aelib.training.trial import check_each, plain_name

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}

# Above this size the images stay where they are and each batch travels by itself.
RESIDENT_BYTES = 4 << 30


@contextlib.contextmanager
def borrowed(nets: Sequence[nn.Module], place: torch.device) -> Iterator[None]:
    """Inside the block the nets train on `place`; afterwards each is back in its place and mode."""
    homes = [next(net.parameters()).device for net in nets]
    modes = [(module, module.training) for net in nets for module in net.modules()]
    try:
        for net in nets:
            net.to(place).train()
        yield
    finally:
        for net, home in zip(nets, homes, strict=True):
            net.to(home)
        for module, training in modes:
            module.training = training


class Run:
    """A training under way: what changes from step to step.

    Args:
        nets: the models, on the accelerator's device, in training mode.
        sets: the images of each.
        labels: the labels of each, or None.
        stack: the same models as one graph, or None to train them one by one.
        objective, batch, lr, optimiser, seed: as in `fit`.
        accelerator: `accelerate.Accelerator`.
    """

    def __init__(
        self, nets, sets, labels, stack, objective, batch, lr, optimiser, seed, accelerator
    ):
        self.nets: Sequence[nn.Module] = nets
        self.sets: Sequence[Tensor] = sets
        self.labels: Sequence[Tensor] | None = labels
        self.stack: Stack | None = stack
        self.objective, self.batch, self.accelerator = objective, batch, accelerator
        self.place = accelerator.device
        self.rank, self.share = accelerator.process_index, accelerator.num_processes
        self.autocast = contextlib.nullcontext
        if accelerator.mixed_precision != "no":
            self.autocast = accelerator.autocast
        self.step = 0
        self.generators = [random.generator(seed + number) for number in range(len(nets))]
        distinct = {id(one): one for one in sets}
        if sum(one.numel() * one.element_size() for one in distinct.values()) <= RESIDENT_BYTES:
            distinct = {key: one.to(self.place) for key, one in distinct.items()}
        self.sets_there = [distinct[id(one)] for one in sets]
        self.labels_there = None if labels is None else [one.to(self.place) for one in labels]

        make = OPTIMISERS[optimiser] if isinstance(optimiser, str) else optimiser
        extra = {"fused": True} if optimiser == "adam" else {}
        self.parts: list[tuple[nn.Module, torch.optim.Optimizer]] = []
        for module in nets if stack is None else [stack]:
            stepper = make(module.parameters(), lr=lr, **extra)
            stepper.zero_grad()  # of whatever the models were used for before
            # Wrapped only to average gradients over processes; the optimiser stays bare, for
            # Accelerate's looks for an optional package in the file system at every step.
            self.parts.append((accelerator.prepare(module) if self.share > 1 else module, stepper))
        width = 1 if stack is None else len(nets)
        self.totals = [torch.zeros(width, device=self.place) for _ in self.parts]
        self.since = 0
        self.settings = {
            "objective": plain_name(objective),
            "batch": batch,
            "seed": seed,
            "together": stack is not None,
            "precision": accelerator.mixed_precision,
            "optimiser": type(self.parts[0][1]).__name__,
            **{key: repr(value) for key, value in self.parts[0][1].defaults.items()},
        }

    def draw(self, number: int) -> tuple[Tensor, ...]:
        """This process's share of the batch of model `number` for this step: images, any labels."""
        there = self.sets_there[number]
        labels = () if self.labels_there is None else (self.labels_there[number],)
        if self.batch is None:
            if self.share > 1:
                there, *labels = (one[self.rank :: self.share] for one in (there, *labels))
            return there.to(self.place, non_blocking=True), *labels
        count = len(there)
        if self.batch * 4 < count:  # cheaper than a permutation of all; a few repeats at most
            chosen = torch.randint(count, (self.batch,), generator=self.generators[number])
        else:
            chosen = torch.randperm(count, generator=self.generators[number])[: self.batch]
        if self.share > 1:
            chosen = chosen[self.rank :: self.share]
        drawn = there.index_select(0, chosen.to(there.device)).to(self.place, non_blocking=True)
        return drawn, *(one.index_select(0, chosen.to(one.device)) for one in labels)

    def advance(self) -> None:
        """One optimiser step of every model."""
        batches = [self.draw(number) for number in range(len(self.nets))]
        if self.stack is not None:
            # Images (seeds, batch, channels, height, width), labels (seeds, batch).
            batches = [tuple(map(torch.stack, zip(*batches, strict=True)))]
        scaler = self.accelerator.scaler
        for (module, optimiser), total, drawn in zip(self.parts, self.totals, batches, strict=True):
            with self.autocast():
                each = self.objective(module, *drawn)  # (batch,) or (seeds, batch)
            check_each(each, drawn[0])
            loss = each.float().mean(-1)  # () or (seeds,)
            whole = loss.sum() if self.stack is not None else loss
            if scaler is None:
                whole.backward()
                optimiser.step()
            else:
                scaler.scale(whole).backward()
                scaler.step(optimiser)
            optimiser.zero_grad()
            total += loss.detach()
        if scaler is not None:
            scaler.update()
        self.step += 1
        self.since += 1

    def losses(self) -> list[float]:
        """Mean loss of each model over the steps since the last `start_mean`."""
        mean = torch.cat(self.totals) / max(self.since, 1)
        return self.accelerator.reduce(mean, "mean").tolist()

    def start_mean(self) -> None:
        """Begin the mean loss anew."""
        for total in self.totals:
            total.zero_()
        self.since = 0

    def anywhere(self, flag: bool) -> bool:
        """Whether `flag` is set in any of the processes."""
        if self.share == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.place)) > 0)

    def measure(self, watch: Mapping[str, Callable]) -> dict[str, list[float]]:
        """Each watched number for each model; the training's own randomness is not touched."""
        found: dict[str, list[float]] = {key: [] for key in watch}
        if not watch:
            return found
        if self.stack is not None:
            self.stack.unstack()
        for net in self.nets:
            with evaluating(net), torch.no_grad(), random.seeded(None, self.place):
                for key, function in watch.items():
                    found[key].append(float(function(net)))
        return found

    def release(self) -> None:
        """Leave the models trained and unwrapped."""
        for module, _ in self.parts if self.share > 1 else []:
            self.accelerator.unwrap_model(module, keep_fp32_wrapper=False)
        if self.stack is not None:
            self.stack.unstack()

    def about(self) -> dict:
        """What a checkpoint must agree with: the models, the images, the settings."""
        labels = self.labels or ()
        digests = {id(one): _digest(one) for one in (*self.sets, *labels)}
        shapes = [{k: list(v.shape) for k, v in net.state_dict().items()} for net in self.nets]
        texts = [plain_name(net) for net in self.nets]
        return {
            "models": {"layers": texts, "shapes": shapes},
            "images": [digests[id(one)] for one in self.sets],
            "labels": [digests[id(one)] for one in labels],
            "settings": self.settings,
        }


def _digest(images: Tensor) -> str:
    values = images.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    shape = f"{tuple(images.shape)} {images.dtype}"
    return hashlib.sha256(shape.encode() + values.tobytes()).hexdigest()
