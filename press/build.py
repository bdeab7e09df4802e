"""Build the book's pages strictly: a warning is an error, and nothing old is left to look at.

A build is skipped when no file it reads has changed since the last good one, so a second
``make book`` costs seconds. ``--force`` builds in any case. ``--links`` builds nothing: it asks the
network for every address that the pages link to, and ends with 1 where one leads nowhere.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from press.files import ROOT, digest

HTML = ROOT / "_build" / "html"
LINKS = ROOT / "_build" / "links" / "_build" / "html" / "output.txt"
HOSTS = ("https://github.com", "https://arxiv.org")  # that most links lead to
STAMP = ROOT / "_build" / "built.json"
READ = (
    "*.md", "*.yml", "*.bib", "*.lock", "LICENSE", "CITATION.cff", "chapters/**/*", "pages/**/*",
    "assets/**/*", "aelib/**/*", "press/**/*.py", "benchmarks/results.json",
    "benchmarks/on_gpu/*.json",
)  # fmt: skip


def inputs() -> str:
    """A hash of the names and the bytes of every file the pages are made from."""
    return digest(ROOT, READ, sys.version)


def stored() -> str:
    """The hash of the last good build, or nothing where there was none."""
    try:
        return str(json.loads(STAMP.read_text())["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def jupyter_book(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the builder; its words, of both streams, are in `stdout`."""
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()",
        "build", ".", "--keep-going", "--all", *options,
    ]  # fmt: skip
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"AELIB_INTERACTIVE": "0", "PYTHONUTF8": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def build() -> int:
    """Build from a clean start; the builder's words are shown only when it fails."""
    shutil.rmtree(HTML, ignore_errors=True)
    shutil.rmtree(ROOT / "_build" / ".doctrees", ignore_errors=True)
    STAMP.unlink(missing_ok=True)
    STAMP.parent.mkdir(exist_ok=True)
    done = jupyter_book("-W", "-n")
    if done.returncode:
        said = done.stdout.splitlines()
        complaints = [line for line in said if "WARNING" in line or "ERROR" in line]
        print("\n".join(complaints or said), flush=True)
        print("The build is strict: what it complains of above has to go.", file=sys.stderr)
    return done.returncode


def answers(address: str) -> bool:
    """Whether anything answers there, be it with a refusal."""
    try:
        urlopen(Request(address, method="HEAD"), timeout=20).close()
    except HTTPError:
        return True
    except OSError:  # no such name, no way there, no answer in time
        return False
    return True


def links() -> int:
    """Ask for every external link, with Sphinx's own checker; what is broken is printed."""
    if not any(map(answers, HOSTS)):
        hosts = " nor ".join(HOSTS)
        print(f"There is no network here: neither {hosts} answers.", file=sys.stderr)
        print("Not one link was asked for.", file=sys.stderr)
        return 1
    LINKS.unlink(missing_ok=True)
    done = jupyter_book("--builder", "linkcheck", "--path-output", "_build/links")
    if not LINKS.is_file():
        print(done.stdout, file=sys.stderr)
        return done.returncode or 1
    broken = [line for line in LINKS.read_text(encoding="utf-8").splitlines() if "[broken]" in line]
    print("\n".join(broken) or "Every external link leads somewhere.")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m press.build", description="Build the book's pages, strictly."
    )
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    parser.add_argument("--links", action="store_true", help="check external links instead")
    given = parser.parse_args()
    if given.links:
        return links()
    force = given.force
    before = inputs()
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
