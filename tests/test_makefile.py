"""The Makefile: what it lists, and what it says where something is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    """One target, with this Python for .venv's, and nothing installed first."""
    ready = tmp_path / "ready"
    ready.touch()
    # Under another make this one would announce itself.
    outside = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["make", "--no-print-directory", *arguments, "PY=python", f"READY={ready}"],
        cwd=ROOT,
        env={**outside, "PATH": path, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )


def test_help_lists_every_target(tmp_path: Path) -> None:
    (targets,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = make(tmp_path, "help").stdout
    for target in set(targets.split()) - {"help"}:
        assert re.search(rf"^make {target}\b", listed, re.MULTILINE), target


@pytest.mark.parametrize("word", ["it's", '"; touch left; "', "`touch left`", "v1;touch left"])
def test_what_is_given_from_outside_is_never_run(tmp_path: Path, word: str) -> None:
    for arguments in (("address", f"URL={word}"), ("dist", f"TAG={word}")):
        ran = make(tmp_path, *arguments)
        assert ran.returncode != 0
        said = f"URL={word} is not" if arguments[0] == "address" else f"The tag is {word} and"
        assert said in ran.stderr
    assert not (ROOT / "left").exists()


def test_a_command_that_lacks_something_says_what(tmp_path: Path) -> None:
    for target in ("colab", "colab-head"):
        assert f"Which Python? make {target} PYTHON=" in make(tmp_path, target).stderr
    ran = make(tmp_path, "colab-image", "PATH=")
    assert ran.returncode != 0
    assert ran.stderr.startswith("Colab's image needs docker to run it.")


def test_what_the_commands_leave_behind_is_not_committed(tmp_path: Path) -> None:
    """A release is refused where something is not committed."""
    left = [".coverage", ".coverage.host.123", "build/lib", "dist/notes.md", "_build/html"]
    ignored = subprocess.run(
        ["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True
    )
    assert ignored.stdout.split() == left


def test_without_a_gpu_make_gpu_says_so_and_fails(tmp_path: Path) -> None:
    ran = make(tmp_path, "gpu")
    assert ran.returncode != 0
    assert ran.stderr.startswith("There is no CUDA device here, so nothing was tested on one")
    assert not ran.stdout
