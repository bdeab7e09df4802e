"""The session: how large the experiments are, who watches, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from aelib import checks

PROFILES = ("cpu", "gpu")


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

    >>> profile("gpu").pick(cpu=16, gpu=32)
    32
    """
    chosen = name or os.environ.get("AELIB_PROFILE") or "cpu"
    where = "profile" if name else "AELIB_PROFILE"
    return Profile(checks.choice(chosen, where, PROFILES))


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
    setting = os.environ.get("AELIB_INTERACTIVE")
    if setting is not None:
        return setting not in ("", "0")
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
