"""Files of the book: where they are, one digest of many, and writing one whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"


def version(root: Path = ROOT) -> str:
    """The version, of which pyproject.toml is the one home."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    if not found:
        raise SystemExit('pyproject.toml has no version = "…" any more; put it back first')
    return found[1]


def digest(
    root: Path,
    patterns: Iterable[str],
    *texts: str,
    content: Callable[[Path], bytes] = Path.read_bytes,
    counts: Callable[[Path], bool] = lambda path: True,
) -> str:
    """A hash of the texts, and of the names and contents of the files that match under `root`.

    What hidden files and Python's caches hold does not count, nor a path below `root` for which
    `counts` is false.
    """
    total = hashlib.sha256()
    for text in texts:
        total.update(hashlib.sha256(text.encode()).digest())
    found = {path.relative_to(root) for pattern in patterns for path in root.glob(pattern)}
    for path in sorted(found):
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
        if not hidden and counts(path) and (root / path).is_file():
            total.update(f"{path.as_posix()}\0".encode())
            total.update(hashlib.sha256(content(root / path)).digest())
    return total.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either the old content or all of the new."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
