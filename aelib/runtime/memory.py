"""How much memory is left, asked before the work that needs it begins."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from aelib.runtime.device import is_cpu


def free_memory(device: torch.device) -> int | None:
    """Bytes a device can still give, or None where it does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # a container may be given less
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        taken = int((group / "memory.current").read_text())
        # Files that were read count as taken, and are given up when something else needs the room.
        with contextlib.suppress(OSError, ValueError, StopIteration):
            lines = (group / "memory.stat").read_text().splitlines()
            taken -= int(next(x for x in lines if x.startswith("inactive_file ")).split()[1])
        free.append(limit - taken)
    return min(free) if free and is_cpu(device) else None


def check_memory(what: str, need: int, device: torch.device | None, instead: str) -> None:
    """Refuse work that needs more bytes at `device` than are free there.

    A trial allocation would not tell: a system may promise memory that it does not have. Only where
    a device does not say what is free is one made.

    Args:
        what: the argument and what it asks for, as the message begins: "n: 9 samples".
        need: bytes.
        device: the device; None for the processor.
        instead: what to do, as the message ends.

    Raises:
        ValueError: says how much is needed, and how much is free.
    """
    device = torch.Generator().device if device is None else device
    free, amount = free_memory(device), ""
    if free is not None:
        if not is_cpu(device):  # what torch holds and has not given out
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        short, amount = need > free, f" ({free / 2**30:,.1f} GiB free)"
    else:
        short = need >= 2**63  # no size of a tensor
        try:
            torch.empty(0 if short else need, dtype=torch.uint8, device=device)
        except (RuntimeError, MemoryError):
            short = True
    if short:
        raise ValueError(
            f"{what} need {need / 2**30:,.1f} GiB, more than there is{amount}; {instead}"
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, the processor included, had no memory left."""
    words = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    )
