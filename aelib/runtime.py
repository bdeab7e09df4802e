"""Where and how the code runs: device, seeds, profile, progress, files. No room before this one."""

from __future__ import annotations

import contextlib
import difflib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PROFILES = ("cpu", "gpu")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error message about an unknown `name`: nearest match first, then all known."""
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(map(repr, known))}"


@dataclass(frozen=True)
class Profile:
    """How large the experiments are: "cpu" (the whole book in minutes) or "gpu" (paper sizes)."""

    name: str

    def pick(self, *, cpu, gpu):
        """The value for this profile: `profile().pick(cpu=16, gpu=32)`."""
        return {"cpu": cpu, "gpu": gpu}[self.name]


def profile(name: str | None = None) -> Profile:
    """The profile called `name`, else the one in the environment's AELIB_PROFILE, else "cpu".

    Raises:
        ValueError: for a name that is neither "cpu" nor "gpu".
    """
    chosen = name or os.environ.get("AELIB_PROFILE") or "cpu"
    if chosen not in PROFILES:
        where = "profile" if name else "the environment variable AELIB_PROFILE"
        raise ValueError(f"{where} is {chosen!r}; {nearest(chosen, PROFILES)}")
    return Profile(chosen)


def device(name: str | torch.device | None = None) -> torch.device:
    """The device asked for, else a GPU if torch sees one, else the CPU.

    Raises:
        ValueError: if the device asked for does not exist here.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = getattr(torch.backends, "mps", None)
        return torch.device("mps" if mps is not None and mps.is_available() else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f'device: expected "cpu", "cuda" or "cuda:1", got {name!r}') from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f'device is {name!r}, but torch sees no GPU here; use "cpu" or leave it out'
        )
    return found


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh `torch.Generator` started at `seed`."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected an int, got {seed!r}")
    return torch.Generator(device).manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block torch's global generator starts at `seed`; afterwards it is as it was."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected an int, got {seed!r}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside the block torch uses `count` CPU threads; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interactive() -> bool:
    """True where a person watches: a terminal or a notebook, not CI, not a build of the book.

    AELIB_INTERACTIVE=0 or =1 decides; else a set CI means no; else look at what stdout is.
    """
    told = os.environ.get("AELIB_INTERACTIVE")
    if told is not None:
        return told not in ("", "0")
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    return "ipykernel" in sys.modules or sys.stderr.isatty()


def progress(total: int, label: str, show: bool | None = None):
    """A tqdm bar of `total` steps, drawn for a person and silent elsewhere (`interactive`)."""
    from tqdm.auto import tqdm

    quiet = not (interactive() if show is None else show)
    return tqdm(total=total, desc=label, disable=quiet, leave=False, dynamic_ncols=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in ("aelib", "torch", "torchvision", "numpy", "scikit-learn", "scikit-image"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def machine() -> str:
    """One line about the machine: cores, processor, accelerator."""
    line = f"{os.cpu_count()} cores, {platform.machine()}"
    return f"{line}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else line


def header() -> str:
    """One line for the top of a notebook: profile, device, versions."""
    found = versions()
    names = ", ".join(
        f"{name} {found[name]}" for name in ("aelib", "torch", "python") if name in found
    )
    return f"profile {profile().name} · device {device()} · {names}"


def cache_folder() -> Path:
    """Where downloads go: AELIB_CACHE, else ~/.cache/aelib. Not created here."""
    return Path(os.environ.get("AELIB_CACHE") or Path.home() / ".cache" / "aelib")


def check_writable(folder: Path, purpose: str) -> Path:
    """Create `folder` if need be and prove that a file can be written in it.

    Raises:
        OSError: says which folder, what it was for and what to do; raised before any work.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write {purpose} to {folder} ({error.strerror or error}); "
            "give a folder you may write to"
        ) from error
    return folder


def write_whole(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path` whole or not at all: a neighbour file first, then one rename."""
    path = Path(path)
    handle, neighbour = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(neighbour, 0o644)
        os.replace(neighbour, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(neighbour)
        raise
    return path
