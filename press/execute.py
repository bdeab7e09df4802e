"""Run the notebooks whose results may have changed, and store what they print, draw and measure.

`python -m press.execute [NOTEBOOK …] [--force | --check]`. A notebook says in its metadata from
what its outputs were made: a digest of its code cells, of those outputs, of every file of aelib and
of the lock file. It runs again when they do not give that digest any more, so a fresh clone runs
nothing. With `--check` nothing runs in any case: it names what would, and ends with 1. A notebook
that fails is reported and stays as it was. At the end the verdicts are held to the prose, and where
they do not agree it says so and ends with 1.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import copy
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from press import environment, ledger, names
from press.files import ROOT, write_whole
from press.notebooks import Notebook, notebooks, read
from press.stored import FRONT, digest_of, front_picture, settle

T = TypeVar("T")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
MACHINE = "__import__('aelib').runtime.machine()"


class Failed(Exception):
    """A notebook that could not be run to its end; says which cell and why."""


class Client(NotebookClient):
    """Nbclient's, except that Ctrl-C and SIGTERM end all notebooks and not only the youngest."""

    stopped = False

    async def async_start_new_kernel(self, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)  # nbclient's own
            signal.signal(number, stop)
        await super().async_start_new_kernel(**options)

    async def ask(self, expression: str) -> Any:
        """The value of an expression in the kernel, in silence; None if it raises there."""
        assert self.kc is not None
        message = self.kc.execute("", silent=True, user_expressions={"answer": expression})
        reply = await self.async_wait_for_reply(message) or {}
        answer = reply.get("content", {}).get("user_expressions", {}).get("answer", {})
        return ast.literal_eval(answer["data"]["text/plain"]) if "data" in answer else None


def stop(number: int, frame: object) -> None:
    """End the program; on the way out every notebook's kernel is shut down."""
    Client.stopped = True
    print("\nStopped. What was running is as it was before.", file=sys.stderr)
    sys.exit(128 + number)


async def run(
    notebook: Notebook, timeout: int = 600, on_error: str = "stop", **variables: str
) -> tuple[NotebookNode, str]:
    """The notebook as a fresh kernel of this Python fills it, and the machine as aelib names it.

    Args:
        notebook: stays as it is.
        timeout: seconds a cell may take.
        on_error: "stop", or "go on" with the next cell.
        variables: of the kernel's environment, besides those here.

    Raises:
        Failed: for a cell that raises (unless told to go on) or runs too long, or a dead kernel.
    """
    content = copy.deepcopy(notebook.content)
    content.metadata.pop("widgets", None)
    client = Client(
        content,
        kernel_name="python3",
        timeout=timeout,
        startup_timeout=max(timeout, 300),  # a kernel on a busy machine may need over a minute
        allow_errors=on_error == "go on",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(notebook.path.parent)}},
    )
    client.reset_execution_trackers()
    index = 0
    with tempfile.TemporaryFile() as chatter:  # the kernel's own, told only if it dies
        try:
            async with client.async_setup_kernel(env=os.environ | variables, stderr=chatter):
                for index, cell in enumerate(content.cells):
                    count = client.code_cells_executed + 1
                    await client.async_execute_cell(cell, index, execution_count=count)
                client.set_widgets_metadata()
                return content, await client.ask(MACHINE) or platform.machine()
        except CellExecutionError as error:
            why = error.traceback or f"{error.ename}: {error.evalue}"
        except CellTimeoutError:
            why = f"The cell ran longer than {timeout} s (--timeout)."
        except DeadKernelError:
            if Client.stopped:
                raise asyncio.CancelledError from None
            chatter.seek(0)
            last = chatter.read().decode(errors="replace")[-1000:]
            why = f"The kernel died: stopped, or out of memory. {last}".strip()
    source = "\n".join(f"    {line}" for line in content.cells[index].source.splitlines())
    why = why if sys.stdout.isatty() else ANSI.sub("", why)
    raise Failed(f"{shown(notebook.path)}, cell {index + 1}, failed:\n{source}\n{why}")


def shown(path: Path) -> str:
    """The path as a person would type it from here."""
    return os.path.relpath(path)


async def renew(path: Path, timeout: int, force: bool) -> bool:
    """Run one notebook and store it; False if it failed."""
    notebook, began = read(path), time.perf_counter()
    print(f"{shown(path)}: running", flush=True)
    try:
        fresh, machine = await run(notebook, timeout)
        seconds = round(time.perf_counter() - began)
        result = settle(notebook, fresh, machine, seconds, renew=force)
    except (Failed, ValueError) as failure:  # a cell, or a number that no cell gives
        print(f"{failure}\nThe stored notebook is unchanged.", flush=True)
        return False
    text = (nbformat.v4.writes(result.content) + "\n").encode()
    if read(path).content != notebook.content:
        print(f"{shown(path)}: changed while it ran; nothing is stored. Run it again.", flush=True)
        return False
    if text != path.read_bytes():
        write_whole(path, text)
    picture = front_picture(result)
    if picture and path.is_relative_to(ROOT) and picture != FRONT[1].read_bytes():
        write_whole(FRONT[1], picture)
    stays = [cell.outputs for cell in notebook.code] == [cell.outputs for cell in result.code]
    outcome = "it says what was stored, which stays" if stays else "its new outputs are stored"
    print(f"{shown(path)}: done in {seconds} s; {outcome}", flush=True)
    for number, cell in enumerate(result.content.cells, 1):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":  # a page must not, and a test will say so too
                print(f"{shown(path)}, cell {number}, wrote to stderr: {output.text[:300]}")
    return True


async def in_turn(jobs: int, tasks: Iterable[Awaitable[T]]) -> list[T]:
    """The tasks' results in their order; `jobs` of them run at a time."""
    gate = asyncio.Semaphore(jobs)

    async def one(task: Awaitable[T]) -> T:
        async with gate:
            return await task

    return await asyncio.gather(*map(one, tasks))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m press.execute",
        description="Run the notebooks whose results may have changed; store what they give.",
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: chapters/*.ipynb")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--force", action="store_true", help="run even if nothing changed; store what comes"
    )
    which.add_argument(
        "--check", action="store_true", help="run nothing; end with 1 if something would run"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default 2)")
    parser.add_argument(
        "--timeout", type=int, default=600, help="seconds a cell may take (default 600)"
    )
    given = parser.parse_args()
    if given.jobs < 1 or given.timeout < 1:
        parser.error("--jobs and --timeout must be 1 or more")
    for path in given.notebooks:
        if path.suffix != ".ipynb" or not path.is_file():
            parser.error(f"{path} is not a notebook here; give a path such as chapters/NAME.ipynb")
    return given


def execute(paths: list[Path], given: argparse.Namespace) -> int:
    """Run those that need it and hold all to their prose; the exit status."""
    stale = []
    for path in paths:
        notebook = read(path)
        if given.force or notebook.last_run.get("digest") != digest_of(notebook):
            stale.append(path)
        else:
            print(f"{shown(path)}: nothing that reaches it has changed")
    if given.check and stale:
        changed = ", ".join(map(shown, stale))
        print(f"The code has changed since it ran: {changed}. Run: make book", file=sys.stderr)
        return 1
    renewals = [renew(path, given.timeout, given.force) for path in stale]
    done = asyncio.run(in_turn(given.jobs, renewals))
    if failed := [shown(path) for path, well in zip(stale, done, strict=True) if not well]:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    folders = sorted({path.parent for path in paths})
    wrong = [line for folder in folders for line in ledger.disagreements(folder)]
    for line in wrong:
        print(f"does not agree: {line}", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    given = arguments()
    environment.quiet()
    try:
        if not given.check:
            names.write()
        paths = [path.resolve() for path in given.notebooks]
        return execute(paths or [notebook.path for notebook in notebooks()], given)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
