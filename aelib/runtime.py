"""Where and how the code runs: device, seeds, profile, progress, files. No room before this one."""

from __future__ import annotations

import contextlib
import difflib
import os
import platform
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
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
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f'device: expected "cpu", "cuda" or "cuda:1", got {name!r}') from error
    try:
        torch.empty(1, device=found).tolist()  # only using it tells; a "meta" tensor fails here too
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f'device is {name!r}, but torch cannot use it here; try "cpu", or leave it out'
        ) from error
    return found


def on_cpu(place: torch.device) -> bool:
    """Whether a device is the CPU, where small operators cost more to call than to compute."""
    return place.type == "cpu"


def free_memory(place: torch.device) -> int | None:
    """Bytes a device can still give, or None where it does not say."""
    if place.type == "cuda":
        return torch.cuda.mem_get_info(place)[0]
    free = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # a container may be given less
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free.append(limit - int((group / "memory.current").read_text()))
    return min(free) if free and place.type == "cpu" else None


def check_memory(what: str, need: int, place: torch.device | None, instead: str) -> None:
    """Refuse work that needs more bytes at `place` than are free there.

    A trial allocation would not tell: a system may promise memory that it does not have. Only where
    a device does not say what is free is one made.

    Args:
        what: the argument and what it asks for, as the message begins: "n: 9 samples".
        need: bytes.
        place: the device; None for the processor.
        instead: what to do, as the message ends.

    Raises:
        ValueError: says how much is needed, and how much is free.
    """
    place = torch.Generator().device if place is None else place
    free, there = free_memory(place), ""
    if free is not None:
        if not on_cpu(place):  # what torch holds and has not given out
            free += torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        short, there = need > free, f" ({free / 2**30:,.1f} GiB free)"
    else:
        short = need >= 2**63  # no size of a tensor
        try:
            torch.empty(0 if short else need, dtype=torch.uint8, device=place)
        except (RuntimeError, MemoryError):
            short = True
    if short:
        raise ValueError(
            f"{what} need {need / 2**30:,.1f} GiB, more than there is{there}; {instead}"
        )


class Arriving:
    """A device's value on its way to the host, which does not wait for it."""

    def __init__(self, value: torch.Tensor):
        self.value = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        self.value.copy_(value, non_blocking=True)
        self._event = torch.Event(value.device) if value.is_cuda else None
        if self._event is not None:
            self._event.record()

    def there(self) -> bool:
        """Whether `value` may be read."""
        return self._event is None or self._event.query()


def replayed(step: Callable, warm: int = 3) -> Callable:
    """`step(state, aim)` recorded once as a CUDA graph and replayed; for one shape of arguments.

    `state` and `aim` are dictionaries of tensors; the first of the results is the next state. The
    results are overwritten by the next call.
    """
    kept: dict = {}

    def again(state: dict, aim: dict) -> tuple:
        if not kept:
            still = {key: value.clone() for key, value in state.items()}
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # lets libraries set themselves up outside the graph
                for _ in range(warm):
                    step({key: value.clone() for key, value in still.items()}, aim)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                results = step(still, aim)
            kept.update(still=still, graph=graph, results=results)
        for key, value in kept["still"].items():
            value.copy_(state[key])
        kept["graph"].replay()
        return kept["results"]

    return again


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, the processor included, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def typed(value: float, number: str) -> str:
    """A number for people, in the given format: with a true minus sign, and none before 0."""
    text = format(value, number)
    if not re.search("[1-9]|inf", text):
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def check_whole(name: str, value: int, least: int | None = None) -> int:
    """`value` as an int.

    Raises:
        TypeError: if it is no whole number, for a bool and 3.0 too.
        ValueError: if it is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name}: expected {least} or more, got {value!r}")
    return int(value)


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh `torch.Generator` started at `seed`."""
    return torch.Generator(device).manual_seed(check_whole("seed", seed))


def random_state(place: torch.device | None = None) -> dict[str, torch.Tensor]:
    """The state of torch's global generators, the CPU's and that of `place` (of `device()`)."""
    place = place or device()
    states = {"cpu": torch.get_rng_state()}
    if place.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(place)
    elif place.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: Mapping[str, torch.Tensor], place: torch.device | None = None) -> None:
    """Put back what `random_state` gave; a device that is not here any more is passed over."""
    place = place or device()
    torch.set_rng_state(states["cpu"])
    if place.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], place)
    elif place.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextlib.contextmanager
def seeded(seed: int | None, place: torch.device | None = None) -> Iterator[None]:
    """Inside the block torch's global generators start at `seed`; afterwards they are as before.

    None starts them where they are: the block's own draws then leave no trace outside.
    """
    if seed is not None:
        check_whole("seed", seed)
    before = random_state(place)
    try:
        if seed is not None:
            torch.manual_seed(seed)
        yield
    finally:
        set_random_state(before, place)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside the block torch uses `count` CPU threads; afterwards as many as before."""
    check_whole("count", count, least=1)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Inside the block the first Ctrl-C only sets the event, so that the step under way ends whole.

    A program that handles Ctrl-C in a way of its own keeps it.
    """
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is not signal.default_int_handler:
        yield event
        return

    def note(number, frame):
        event.set()
        signal.signal(signal.SIGINT, before)  # a second one is not held back

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def interactive() -> bool:
    """True where a person watches: a terminal or a notebook, not CI, not a build of the book.

    AELIB_INTERACTIVE=0 or =1 decides; else a set CI means no; else whether there is a notebook's
    kernel, or a terminal at stderr, where bars are drawn.
    """
    told = os.environ.get("AELIB_INTERACTIVE")
    if told is not None:
        return told not in ("", "0")
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") or sys.stderr.isatty()


def progress(total: int, label: str, show: bool | None = None, done: int = 0):
    """A tqdm bar of `total` steps, `done` of them behind us, drawn for a person (`interactive`).

    `show` decides otherwise: True draws it anywhere, False nowhere.
    """
    from tqdm.auto import tqdm

    quiet = not (interactive() if show is None else show)
    return tqdm(
        total=total, desc=label, disable=quiet, leave=False, dynamic_ncols=True, initial=done
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in ("aelib", "torch", "torchvision", "numpy", "scikit-learn", "scikit-image"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def machine() -> str:
    """One line about the machine: cores, processor, accelerator."""
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    line = f"{len(usable)} cores, {platform.machine()}"
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
    return Path(os.environ.get("AELIB_CACHE") or "~/.cache/aelib").expanduser()


def check_writable(folder: str | Path, purpose: str) -> Path:
    """Create `folder` if need be and prove that a file can be written in it.

    Raises:
        OSError: says which folder, what it was for and what to do; raised before any work.
    """
    folder = Path(folder)
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
