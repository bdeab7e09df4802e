"""The three lists of what is needed agree: the package's ranges, requirements.txt, the lock."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def listed(file: str) -> list[Requirement]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if re.match(r"[A-Za-z]", line)]


def declared(*extras: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for, by name: the package's own and those of the extras."""
    found = {}
    for text in requires("aelib") or ():
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": one}) for one in extras):
            found[need.name] = need
    return found


def test_requirements_txt_has_the_ranges_of_the_package_and_the_book() -> None:
    asked = {need.name: str(need.specifier) for need in listed("requirements.txt")}
    wanted = {name: str(need.specifier) for name, need in declared("book", "test").items()}
    assert {name: wanted[name] for name in asked} == asked
    assert set(declared("book")) <= set(asked)


def test_the_lock_is_exact_and_within_the_ranges() -> None:
    locked: dict[str, list[Requirement]] = {}
    for need in listed("requirements.lock"):
        assert re.fullmatch(r"==[^,*]+", str(need.specifier)), need
        locked.setdefault(need.name.lower(), []).append(need)
    for name, need in declared("book", "test").items():
        assert locked.get(name.lower()), f"{name} is not in the lock; run `make lock`"
        for exact in locked[name.lower()]:
            version = str(exact.specifier).removeprefix("==")
            assert need.specifier.contains(version), f"{exact} is outside {need}"


def test_without_a_gpu_nothing_of_nvidias_is_installed() -> None:
    """`CPU=1` leaves lines of the lock out; torch itself then comes built without CUDA."""
    script = (ROOT / "press" / "install.sh").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"grep -vE '(.+)' requirements\.lock", script)
    names = {need.name for need in listed("requirements.lock")}
    left_out = {name for name in names if re.match(pattern, name)}
    assert {name for name in names if re.search("nvidia|cuda|triton", name)} == left_out
    assert "torch" not in left_out
    assert len(left_out) > 15
