"""The Makefile: what it lists, and what it says where something is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_without_a_gpu_make_gpu_says_so_and_fails(tmp_path: Path) -> None:
    ran = make(tmp_path, "gpu")
    assert ran.returncode != 0
    assert ran.stderr.startswith("There is no CUDA device here, so nothing was tested on one")
    assert not ran.stdout
