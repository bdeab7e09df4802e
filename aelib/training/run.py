"""The state of a training while it runs: nets, optimisers, batches, step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from aelib import runtime
from aelib.training.stack import Stack

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}

# Above this size the images stay where they are and each batch travels by itself.
RESIDENT_BYTES = 4 << 30


class Run:
    """The state of a training: nets, optimisers, batch generators, step."""

    def __init__(self, nets, sets, objective, batch, lr, optimiser, seed, together, accelerator):
        self.nets, self.objective, self.batch, self.accelerator = (
            nets,
            objective,
            batch,
            accelerator,
        )
        self.settings = {
            "objective": getattr(objective, "__name__", repr(objective)),
            "batch": batch, "lr": lr, "seed": seed, "together": together,
            "optimiser": optimiser if isinstance(optimiser, str) else getattr(optimiser, "__name__", "own"),
        }  # fmt: skip
        self.homes = [next(net.parameters(), sets[0]).device for net in nets]
        self.modes = [net.training for net in nets]
        self.sets = sets
        self.step = 0
        self.generators = [runtime.generator(seed + number) for number in range(len(nets))]
        place = accelerator.device
        resident = sum(
            one.numel() * one.element_size() for one in {id(s): s for s in sets}.values()
        )
        if resident <= RESIDENT_BYTES:
            moved = {id(one): one.to(place) for one in sets}
            self.sets_there = [moved[id(one)] for one in sets]
        else:
            self.sets_there = sets
        for net in nets:
            net.to(place).train()
        self.stack = Stack(nets) if together else None
        make = OPTIMISERS[optimiser] if isinstance(optimiser, str) else optimiser
        extra = {"fused": True} if optimiser == "adam" and place.type in ("cpu", "cuda") else {}
        self.parts: list[tuple[nn.Module, torch.optim.Optimizer]] = []
        for module in [self.stack] if self.stack is not None else nets:
            module.to(place)
            self.parts.append(
                accelerator.prepare(module, make(module.parameters(), lr=lr, **extra))
            )
        self.totals = [
            torch.zeros(1 if self.stack is None else len(nets), device=place) for _ in self.parts
        ]
        self.since = 0

    def draw(self, number: int) -> Tensor:
        """This process's share of the batch of model `number` for this step."""
        there = self.sets_there[number]
        rank, share = self.accelerator.process_index, self.accelerator.num_processes
        if self.batch is None:
            return there if share == 1 else there[rank::share]
        count = len(there)
        generator = self.generators[number]
        if self.batch * 4 < count:  # cheaper than a permutation of all; a few repeats at most
            chosen = torch.randint(count, (self.batch,), generator=generator)
        else:
            chosen = torch.randperm(count, generator=generator)[: self.batch]
        return there[chosen[rank::share].to(there.device)].to(
            self.accelerator.device, non_blocking=True
        )

    def advance(self) -> None:
        """One optimiser step of every model."""
        batches = [self.draw(number) for number in range(len(self.nets))]
        if self.stack is not None:
            batches = [torch.stack(batches)]  # (seeds, batch, channels, height, width)
        for (module, optimiser), total, images in zip(
            self.parts, self.totals, batches, strict=True
        ):
            with self.accelerator.autocast():
                loss = self.objective(module, images).float().mean(-1)  # () or (seeds,)
            self.accelerator.backward(loss.sum())
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            total += loss.detach()
        self.step += 1
        self.since += 1

    def losses(self) -> list[float]:
        """Mean loss of each model since the last call."""
        mean = torch.cat(self.totals) / max(self.since, 1)
        for total in self.totals:
            total.zero_()
        self.since = 0
        return self.accelerator.reduce(mean, "mean").tolist()

    def measure(self, watch: Mapping[str, Callable]) -> dict[str, list[float]]:
        """Each watched number for each model."""
        if not watch:
            return {}
        if self.stack is not None:
            self.stack.unstack()
        found = {}
        with torch.no_grad(), torch.random.fork_rng():
            for net in self.nets:
                net.eval()
            for name, function in watch.items():
                found[name] = [float(function(net)) for net in self.nets]
            for net in self.nets:
                net.train()
        return found

    def release(self) -> None:
        """Give the models back: trained, on their own device, in their own mode."""
        if self.stack is not None:
            self.stack.unstack()
        for net, home, mode in zip(self.nets, self.homes, self.modes, strict=True):
            net.to(home).train(mode)

    def about(self, seed: int) -> dict:
        """What a checkpoint must agree with: the models, the images, the settings."""
        shapes = [
            {name: list(value.shape) for name, value in net.state_dict().items()}
            for net in self.nets
        ]
        digest = hashlib.sha256()
        for one in {id(s): s for s in self.sets}.values():
            digest.update(
                str(tuple(one.shape)).encode() + one.detach().cpu().contiguous().numpy().tobytes()
            )
        return {"models": shapes, "images": digest.hexdigest(), "settings": self.settings}
