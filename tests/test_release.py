"""A release: one version everywhere, and what stands in its way is said before work starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import aelib
from press import release
from press.files import version

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_one() -> None:
    """The package has the next one while it is worked at; what is cited is the last release."""
    assert aelib.__version__ == version(), "run: make install"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) · (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert newest
    assert (str(citation["version"]), str(citation["date-released"])) == newest.groups()


def test_the_changelog_is_of_releases_newest_first() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    if heads[0] == "Unreleased":
        heads = heads[1:]
    assert heads[-1].startswith("0.1.0 · ")
    parts = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) · \d{4}-\d\d-\d\d", head) for head in heads]
    assert all(parts), heads
    numbers = [tuple(map(int, part.groups())) for part in parts if part]
    assert numbers == sorted(numbers, reverse=True)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of three files, committed, ready to be released as 1.2.3."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1.2.3"\n')
    (tmp_path / "CITATION.cff").write_text("version: 1.2.3\ndate-released: 2026-01-02\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.2.3 · 2026-01-02\n\n- New.\n\n## 1.2.2 · 2026-01-01\n\n- Old.\n"
    )
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True)
    return tmp_path


def test_nothing_stands_in_the_way(book: Path) -> None:
    assert release.obstacles(book) == []
    assert release.obstacles(book, "v1.2.3") == []
    assert release.notes((book / "CHANGELOG.md").read_text(), "1.2.3") == ("2026-01-02", "- New.")


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def test_a_dirty_tree_is_no_release(book: Path) -> None:
    replace(book / "pyproject.toml", "project", "project ")
    for name in ("new.txt", "not a né.txt"):
        (book / name).touch()
    (said,) = release.obstacles(book)
    assert said.startswith("Not committed: pyproject.toml, new.txt, not a né.txt. Commit it or put")


@pytest.mark.parametrize("tag", ["v1.2.2", "1.2.3", "nonsense"])
def test_a_tag_that_is_not_the_versions_is_no_release(book: Path, tag: str) -> None:
    (said,) = release.obstacles(book, tag)
    assert said == f"The tag is {tag} and the version in pyproject.toml 1.2.3: they must agree."


def test_a_version_that_is_out_is_not_released_again(book: Path) -> None:
    subprocess.run(["git", "tag", "v1.2.3"], cwd=book, check=True)
    assert release.obstacles(book) == [
        "v1.2.3 is out already: set the next version in pyproject.toml."
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("CHANGELOG.md", "1.2.3", "Unreleased", "CHANGELOG.md has no section `## 1.2.3 ·"),
        ("CITATION.cff", "1.2.3", "1.2.2", "CITATION.cff has version 1.2.2 of 2026-01-02"),
        ("CITATION.cff", "01-02", "01-03", "CITATION.cff has version 1.2.3 of 2026-01-03"),
    ],
)
def test_words_that_do_not_agree_are_no_release(book: Path, file, old, new, said) -> None:
    replace(book / file, old, new)
    found = [one for one in release.obstacles(book) if not one.startswith("Not committed")]
    assert len(found) == 1
    assert found[0].startswith(said)


def test_the_command_says_it_and_ends_with_one() -> None:
    command = [sys.executable, "-m", "press.release", "check", "v9.9.9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "This cannot be released:\n  The tag is v9.9.9" in done.stderr
