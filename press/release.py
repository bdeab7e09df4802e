"""A release: may it be made, what it carries, and what to push.

`python -m press.release check [TAG]` says what stands in its way. `make` puts the wheel, the pages
in an archive, the PDF and the changelog's words into dist/. `say` tells what to push. `make
release` does all of it, with the tests between.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from press import setup_cell
from press.address import present
from press.files import ROOT, version

HTML = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "autoencoders.pdf"
DIST = ROOT / "dist"


def git(*words: str, root: Path = ROOT) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def notes(changelog: str, version: str) -> tuple[str, str] | None:
    """The day of a version's section in the changelog, and its words; None if there is none."""
    section = rf"^## {re.escape(version)} · (\d{{4}}-\d\d-\d\d)\n(.*?)(?=^## |\Z)"
    found = re.search(section, changelog, re.MULTILINE | re.DOTALL)
    return (found[1], found[2].strip()) if found else None


def obstacles(root: Path = ROOT, tag: str | None = None) -> list[str]:
    """What stands in the way of releasing the commit checked out, each with what to do.

    Args:
        root: the book's folder.
        tag: that begins the release; None before there is one.
    """
    found, now = [], version(root)
    if tag is not None and tag != f"v{now}":
        found.append(f"The tag is {tag} and the version in pyproject.toml {now}: they must agree.")
    if tag is None and f"v{now}" in git("tag", root=root).split():
        found.append(f"v{now} is out already: set the next version in pyproject.toml.")
    if dirty := git("status", "--porcelain", "--no-renames", "-z", root=root).split("\0")[:-1]:
        names = ", ".join(entry[3:] for entry in dirty[:5])  # after two letters and a space
        found.append(f"Not committed: {names}. Commit it or put it away; a release is a commit.")
    section = notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), now)
    if section is None:
        found.append(f"CHANGELOG.md has no section `## {now} · {datetime.date.today()}`.")
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    cited = str(citation["version"]), str(citation["date-released"])
    if section and cited != (now, section[0]):
        found.append(
            f"CITATION.cff has version {cited[0]} of {cited[1]}, the changelog {now} of "
            f"{section[0]}: make them agree."
        )
    if root == ROOT and (stale := [book.path.name for book in setup_cell.stale()]):
        found.append(f"Old set-up cells: {', '.join(stale)}. Run: python -m press.setup_cell")
    return found


def make() -> None:
    """Fill dist/ with what a release carries."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(DIST), "."]
    subprocess.run(pip, cwd=ROOT, check=True)
    shutil.make_archive(str(DIST / "autoencoders-pages"), "zip", HTML.parent, HTML.name)
    shutil.copy(PDF, DIST)
    section = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version())
    (DIST / "notes.md").write_text(f"{section[1] if section else ''}\n", encoding="utf-8")
    for path in sorted(DIST.iterdir()):
        print(f"  {path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m press.release", description="Release the book."
    )
    parser.add_argument("what", choices=["check", "make", "say"])
    parser.add_argument("tag", nargs="?", help="that begins the release, such as v0.1.0")
    given = parser.parse_args()
    if given.what == "make":
        make()
        return 0
    if found := obstacles(tag=given.tag):
        print("This cannot be released:", *(f"  {one}" for one in found), sep="\n", file=sys.stderr)
        return 1
    if given.what == "say":
        print(
            f"Checked, tested and made. To release v{version()} of {present(ROOT)}:\n"
            f"  git tag -a v{version()} -m 'v{version()}'\n"
            f"  git push origin main v{version()}\n"
            "The forge then builds it once more and attaches what is in dist/. Afterwards set the\n"
            "next version in pyproject.toml, and run: python -m press.setup_cell"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
