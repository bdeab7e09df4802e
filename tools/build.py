"""Build the book's pages strictly: a warning is an error, and nothing old is left to look at.

A build is skipped when no file it reads has changed since the last good one, so a second
``make book`` costs seconds. ``--force`` builds in any case.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
STAMP = ROOT / "_build" / "built.json"
READ = (
    "*.md", "*.yml", "*.bib", "*.lock", "LICENSE", "CITATION.cff", "chapters/**/*", "pages/**/*",
    "assets/**/*", "aelib/**/*.py", "tools/*.py",
)  # fmt: skip


def inputs(root: Path) -> str:
    """A hash of the names and the bytes of every file the pages are made from."""
    total = hashlib.sha256(sys.version.encode())
    files = {path for pattern in READ for path in root.glob(pattern) if path.is_file()}
    for path in sorted(files):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue  # a tool's cache, which no page is made from
        total.update(f"{path.relative_to(root)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def stored() -> str:
    """The hash of the last good build, or nothing where there was none."""
    try:
        return str(json.loads(STAMP.read_text())["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def build() -> int:
    """Build from a clean start; the builder's words are shown only when it fails."""
    shutil.rmtree(HTML, ignore_errors=True)
    shutil.rmtree(ROOT / "_build" / ".doctrees", ignore_errors=True)
    STAMP.unlink(missing_ok=True)
    STAMP.parent.mkdir(exist_ok=True)
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()",
        "build", ".", "-W", "-n", "--keep-going", "--all",
    ]  # fmt: skip
    environment = os.environ | {"AELIB_INTERACTIVE": "0", "PYTHONUTF8": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        said = done.stdout.decode(errors="replace").splitlines()
        complaints = [line for line in said if "WARNING" in line or "ERROR" in line]
        print("\n".join(complaints or said), flush=True)
        print("The build is strict: what it complains of above has to go.", file=sys.stderr)
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    force = parser.parse_args().force
    before = inputs(ROOT)
    if not force and stored() == before and (HTML / "index.html").is_file():
        print("Pages: nothing has changed")
    else:
        print("Pages: building …", flush=True)
        if code := build():
            return code
        STAMP.write_text(json.dumps({"inputs": before}))
    print(f"The book: {(HTML / 'index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
