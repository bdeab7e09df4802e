"""What the numbers of this machine depend on: processor, kernels, threads, versions."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from aelib.runtime.device import device
from aelib.runtime.session import profile

# What a reader may set to choose other kernels; each changes the last digits of the numbers.
KERNEL_SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages the numbers depend on."""
    result = {"python": platform.python_version()}
    for package in ("aelib", "torch", "torchvision", "numpy", "scikit-learn", "scikit-image"):
        with contextlib.suppress(PackageNotFoundError):
            result[package] = version(package)
    return result


def machine() -> str:
    """One line about the machine: processor, cores, threads, kernels, BLAS, accelerator.

    Two machines that differ in any of these may differ in the last digits of every number.
    """
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    parts = [
        processor(),
        f"{len(usable)} cores",
        f"{torch.get_num_threads()} threads",
        f"kernels {torch.backends.cpu.get_cpu_capability()}",
        f"BLAS {blas()}",
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def processor() -> str:
    """The processor's own name, or its architecture where the system does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    return platform.processor() or platform.machine()


def blas() -> str:
    """The library torch multiplies matrices with, and what the environment asks of it."""
    built = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    name = built.group(1) if built else "unknown"
    asked = [f"{key}={os.environ[key]}" for key in KERNEL_SETTINGS if os.environ.get(key)]
    return " ".join([name, *asked])


def header() -> str:
    """One line for the top of a notebook: profile, device, versions."""
    known = versions()
    shown = [f"{name} {known[name]}" for name in ("aelib", "torch", "python") if name in known]
    return f"profile {profile().name} · device {device()} · {', '.join(shown)}"
