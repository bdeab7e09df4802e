"""Where a training runs: on which device, shared by how many processes, in which precision."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aelib import checks, runtime

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Place:
    """One process's place in a training; `scaler` does nothing but in fp16."""

    device: torch.device
    rank: int
    processes: int
    precision: str
    scaler: torch.amp.GradScaler

    def autocast(self) -> contextlib.AbstractContextManager:
        """Inside the block the operators that can work in the precision asked for."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as it is called: with several processes, one that averages the gradients."""
        return model if self.processes == 1 else nn.parallel.DistributedDataParallel(model)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.processes > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values / self.processes

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any of the processes."""
        if self.processes == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)


def place(device: str | torch.device | None, precision: str) -> Place:
    """This process's place. Accelerate says how many there are, and starts their exchange.

    Raises:
        ValueError: for an unknown precision or one this device lacks; for a device that is not
            here, or that differs from what `accelerate launch` gave this process.
    """
    from accelerate import PartialState

    checks.choice(precision, "precision", PRECISIONS)
    # Without its word several processes on CPUs would not know of each other.
    state = PartialState(cpu=runtime.is_cpu(runtime.device()))
    given = runtime.device(state.device)
    here = given if device is None else runtime.device(device)
    if state.num_processes > 1 and here.type != given.type:
        launched = f"{given}, as launched for each of {state.num_processes} processes"
        raise ValueError(
            checks.message("device", launched, checks.Described(here), "leave device out")
        )
    half = precision == "fp16"
    if half and runtime.is_cpu(here):
        got = checks.Described(f"'fp16' on {here}, which needs a GPU")
        raise ValueError(checks.message("precision", "'no' or 'bf16'", got))
    scaler = torch.amp.GradScaler(here.type, enabled=half)
    return Place(here, state.process_index, state.num_processes, precision, scaler)
