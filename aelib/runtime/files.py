"""Files: where downloads go, folders that can be written to, files written whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import time
from pathlib import Path

UNFINISHED = ".unfinished"  # the ending of a file that is being written; seen only after a kill


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
    """Write `data` to `path` whole or not at all: a neighbour file first, then one rename.

    Where `path` is a link, the file it leads to is written and the link stays. What is left of an
    earlier attempt at the same file goes, if its process has ended or it is a minute old: another
    process may be at work on a younger one.

    Returns:
        `path`.

    Raises:
        OSError: says which file, how many bytes it needs and what to do. A file that was there
            before is then as it was.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    neighbour = None
    try:
        if target.is_symlink():  # real paths are none, but in a circle
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        _sweep(target)
        handle, neighbour = tempfile.mkstemp(
            UNFINISHED, f".{target.name}.{os.getpid()}.", target.parent
        )
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            mode = target.stat().st_mode & 0o777
        except FileNotFoundError:
            mode = 0o666 & ~_umask()
        os.chmod(neighbour, mode)
        os.replace(neighbour, target)
    except BaseException as error:
        if neighbour is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(neighbour)
        if not isinstance(error, OSError):
            raise
        failure = type(error)(
            f"cannot write the {len(data):,} bytes of {path} ({error.strerror or error}); "
            "make room or give another path; what was there before is as it was"
        )
        failure.errno = error.errno
        raise failure from error
    return path


def _umask() -> int:
    """What the user takes away from the rights of new files; to be read it has to be set."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _sweep(target: Path) -> None:
    """Remove what killed processes left of `target`."""
    unfinished = re.compile(
        rf"\.{re.escape(target.name)}\.(\d{{1,9}})\.\w{{8}}{re.escape(UNFINISHED)}"
    )
    for path in target.parent.iterdir():
        if match := unfinished.fullmatch(path.name):
            with contextlib.suppress(OSError):  # gone by now, or another's
                # A number may by now be another process's: hence the minute.
                if not _running(int(match[1])) or time.time() - path.lstat().st_mtime > 60:
                    path.unlink()


def _running(process: int) -> bool:
    """Whether a process of this number runs on this machine; True where that cannot be asked."""
    if os.name != "posix":  # on Windows the question would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, and is another's
        return True
    return True
