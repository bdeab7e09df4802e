"""Accelerate, asked for one training: which device, which precision, how many processes."""

from __future__ import annotations

import torch

from aelib import checks, runtime

PRECISIONS = ("no", "bf16", "fp16")


def accelerator(device: str | torch.device | None, precision: str):
    """An `accelerate.Accelerator` for this call, whatever earlier calls in this process asked for.

    Raises:
        ValueError: for an unknown precision or one this device lacks; for a device that is not
            here, or that differs from what `accelerate launch` gave this process.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import patch_environment

    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; {checks.nearest(precision, PRECISIONS)}")
    wanted = None if device is None else runtime.device(device)
    # Accelerate keeps the first device and precision it is asked for as long as the process lives,
    # and has no public way to ask anew; its own tests and transformers' Trainer do it like this.
    AcceleratorState._reset_state()
    alone = PartialState().num_processes == 1
    if alone:
        PartialState._reset_state()
    place = {"accelerate_torch_device": str(wanted)} if alone and wanted is not None else {}
    with patch_environment(**place):
        found = Accelerator(mixed_precision=precision)
    if wanted is not None and wanted.type != found.device.type:
        raise ValueError(
            f"device is {device!r}, but each of these {found.num_processes} processes was given "
            f"{found.device} when they were launched; leave device out"
        )
    if precision == "fp16" and found.scaler is None:
        raise ValueError(f"precision: fp16 needs a GPU, and this is {found.device}; try 'bf16'")
    return found
