"""Files: where downloads go, folders that can be written to, files written whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


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
