"""runtime: device, seeds, profile, progress and files; and the order of the house."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import aelib
from aelib import checks, figures, random, runtime

PACKAGE = Path(aelib.__file__).parent
ROOMS = (
    "checks",
    "random",
    "runtime",
    "data",
    "models",
    "objectives",
    "training",
    "sampling",
    "measures",
    "figures",
    "inversion",
    "claims",
    "experiments",
    "__main__",
)


# --- Names ---------------------------------------------------------------------------------------


def test_nearest_puts_the_likely_meaning_first():
    assert checks.nearest("adm", ["sgd", "adam"]).startswith("did you mean 'adam'? known: 'sgd'")
    assert checks.nearest("zzz", ["sgd", "adam"]) == "known: 'sgd', 'adam'"


def test_profile_is_cpu_unless_told(monkeypatch):
    monkeypatch.delenv("AELIB_PROFILE", raising=False)
    assert runtime.profile().pick(cpu=1, gpu=2) == 1
    assert runtime.profile("gpu").pick(cpu=1, gpu=2) == 2
    monkeypatch.setenv("AELIB_PROFILE", "gpu")
    assert runtime.profile().name == "gpu"
    monkeypatch.setenv("AELIB_PROFILE", "gpuu")
    with pytest.raises(ValueError, match="AELIB_PROFILE is 'gpuu'; did you mean 'gpu'"):
        runtime.profile()
    with pytest.raises(ValueError, match=r"^profile is 'tpu'"):
        runtime.profile("tpu")


def test_device_asked_for_must_be_here():
    assert runtime.device("cpu") == torch.device("cpu")
    assert runtime.device().type in ("cpu", "cuda", "mps")
    absent = f"cuda:{torch.cuda.device_count()}"
    for name in (absent, "meta"):
        with pytest.raises(ValueError, match=f"device is '{name}', but torch cannot use it here"):
            runtime.device(name)
    for name in ("gpu", 3.5):
        with pytest.raises(ValueError, match='expected "cpu", "cuda"'):
            runtime.device(name)


# --- Randomness and threads ----------------------------------------------------------------------


def test_generator_starts_at_its_seed():
    draws = [torch.rand(3, generator=random.generator(seed)) for seed in (1, 1, 2, np.int64(1))]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[3])
    assert not torch.equal(draws[0], draws[2])
    for seed in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match="seed: expected a whole number"):
            random.generator(seed)


def test_seeded_puts_the_global_generator_back_also_after_an_error():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with random.seeded(3):
        inside = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(inside, torch.rand(4))
    torch.set_rng_state(before)
    with pytest.raises(KeyError), random.seeded(3):
        {}[torch.rand(1)]
    with random.seeded(None):
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, torch.rand(2))  # None starts where the generator is
    with pytest.raises(TypeError, match="seed"), random.seeded(0.5):
        pass


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with runtime.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), runtime.threads(before + 1):
        {}["an error"]
    assert torch.get_num_threads() == before
    for count, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="count"), runtime.threads(count):
            pass


# --- Who is watching -----------------------------------------------------------------------------


class Terminal:
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("told", "ci", "terminal", "expected"),
    [
        ("0", None, True, False),
        ("", None, True, False),
        ("1", "true", False, True),
        (None, "true", True, False),
        (None, "1", True, False),
        (None, "0", True, True),
        (None, "", True, True),
        (None, None, True, True),
        (None, None, False, False),
    ],
)
def test_interactive(monkeypatch, told, ci, terminal, expected):
    for name, value in (("AELIB_INTERACTIVE", told), ("CI", ci)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    if terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    assert runtime.interactive() is expected


def test_interactive_in_a_notebook_kernel_only(monkeypatch):
    class Module:
        shell = None

        def get_ipython(self):
            return self.shell

    monkeypatch.delenv("AELIB_INTERACTIVE", raising=False)
    monkeypatch.delenv("CI", raising=False)
    module = Module()
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert not runtime.interactive()  # imported, but not run in it
    module.shell = type("Shell", (), {"kernel": object()})()
    assert runtime.interactive()


def test_progress_is_silent_unless_shown(capsys):
    for show, drawn in ((None, False), (False, False), (True, True)):
        with runtime.progress(3, "a label", show) as bar:
            bar.update()
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("a label" in captured.err) is drawn
    with runtime.progress(10, "again", True, done=4) as bar:
        assert bar.n == 4


# --- What the numbers depend on ------------------------------------------------------------------


def test_versions_machine_and_header():
    found = runtime.versions()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(found) >= {"python", "aelib", "torch", "numpy"}
    assert re.search(r"\d+ cores, \d+ threads, kernels \w+, BLAS \w+", runtime.machine())
    assert "\n" not in runtime.header()
    assert runtime.header().startswith("profile ")


# --- Files ---------------------------------------------------------------------------------------


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AELIB_CACHE", str(tmp_path / "there"))
    assert runtime.cache_folder() == tmp_path / "there"
    assert not (tmp_path / "there").exists()
    monkeypatch.delenv("AELIB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime.cache_folder() == tmp_path / ".cache" / "aelib"
    monkeypatch.setenv("AELIB_CACHE", "~/mine")
    assert runtime.cache_folder() == tmp_path / "mine"


def test_check_writable(tmp_path):
    assert runtime.check_writable(tmp_path / "a" / "b", "a thing") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "below", tmp_path / "file", Path("/proc/nowhere")):
        with pytest.raises(OSError, match=f"cannot write a thing to {folder} .*; give a folder"):
            runtime.check_writable(folder, "a thing")


def test_write_whole_writes_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "kept.bin"
    assert runtime.write_whole(path, b"old") == path
    assert path.stat().st_mode & 0o777 == 0o644

    def fail(*_):
        raise OSError("disk full")

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="disk full"):
                runtime.write_whole(path, b"new")
    with pytest.raises(TypeError):
        runtime.write_whole(path, "text")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runtime.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["kept.bin"]
    runtime.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


# --- The house -----------------------------------------------------------------------------------


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms a module imports, within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                folders = ["aelib", *path.relative_to(PACKAGE).parts[:-1]]
                base = folders[: len(folders) - node.level + 1] + base
            names = [[*base, alias.name] for alias in node.names]
        found |= {name[1] for name in names if name[0] == "aelib" and len(name) > 1}
    return found & set(ROOMS)


def test_no_import_runs_back():
    seen = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path)
        if room == "__init__":
            continue
        assert room in ROOMS, f"{path} is in a room the corridor does not have"
        seen.add(room)
        back = [one for one in imported_rooms(path) if ROOMS.index(one) > ROOMS.index(room)]
        assert not back, f"{path} imports {back}, which come after {room}"
    assert seen == set(ROOMS)


def test_devices_are_named_in_one_file():
    named = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ("cpu", "cuda", "mps")
    }
    assert named <= {"random.py", "runtime/device.py", "runtime/memory.py", "runtime/session.py"}


HEAVY = (
    "matplotlib",
    "sklearn",
    "skimage",
    "torchvision",
    "accelerate",
    "ipywidgets",
    "IPython",
    "tqdm",
    "PIL",
)


def test_import_is_light():
    code = (
        "import json, sys, torch; before = set(sys.modules); import aelib; "
        "print(json.dumps(sorted({one.split('.')[0] for one in set(sys.modules) - before})))"
    )
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert "aelib" in loaded
    assert not set(loaded) & set(HEAVY)


def public(module):
    names = getattr(module, "__all__", [one for one in vars(module) if not one.startswith("_")])
    for name in names:
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield name, thing


def test_every_public_name_says_what_it_is():
    lacking = []
    for room in ROOMS:
        module = importlib.import_module(f"aelib.{room}")
        assert module.__doc__, room
        for name, thing in public(module):
            if not thing.__module__.startswith("aelib"):
                continue
            own = vars(thing) if inspect.isclass(thing) else {}
            parts = {f"{name}.{one}": value for one, value in own.items() if one[0] != "_"}
            for what, part in {name: thing, **parts}.items():
                if what.endswith((".forward", ".extra_repr")):
                    continue  # torch says what these are
                text = getattr(part, "__doc__", None) or ""
                if text.startswith(f"{name}("):  # a dataclass without one writes its fields there
                    text = ""
                if not text and (callable(part) or isinstance(part, property)):
                    lacking.append(f"{room}.{what}")
    assert not lacking


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        (-0.004, ".2f", "0.00"),
        (-0.006, ".2f", "−0.01"),
        (-1e-7, ".3g", "−1e−07"),
        (float("-inf"), "", "−inf"),
        (3, "d", "3"),
    ],
)
def test_numbers_for_people_have_a_true_minus_and_none_before_zero(value, number, text):
    assert figures.numbers.format_number(value, number) == text
