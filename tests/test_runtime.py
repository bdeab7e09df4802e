"""runtime: device, profile, progress, the machine and files; and the order of the house."""

from __future__ import annotations

import ast
import errno
import importlib
import inspect
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch

import aelib
from aelib import figures, runtime
from press import names, setup_cell

PACKAGE = Path(aelib.__file__).parent
# `runtime.machine` is the function of that name.
machine_room = importlib.import_module("aelib.runtime.machine")
ROOMS = (
    "checks",
    "runtime",
    "random",
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
    "exercises",
    "__main__",
)


# --- Profile, device, threads ---------------------------------------------------------------------


def test_profile_is_cpu_unless_told(monkeypatch):
    monkeypatch.delenv("AELIB_PROFILE", raising=False)
    assert runtime.profile().pick(cpu=1, gpu=2) == 1
    assert runtime.profile("gpu").pick(cpu=1, gpu=2) == 2
    monkeypatch.setenv("AELIB_PROFILE", "gpu")
    assert runtime.profile().name == "gpu"
    monkeypatch.setenv("AELIB_PROFILE", "gpuu")
    with pytest.raises(ValueError, match=r"^AELIB_PROFILE: .* got 'gpuu'; did you mean 'gpu'"):
        runtime.profile()
    with pytest.raises(ValueError, match=r"^profile: .* got 'tpu'"):
        runtime.profile("tpu")


def test_device_asked_for_must_be_here():
    assert runtime.device("cpu") == torch.device("cpu")
    assert runtime.device().type in ("cpu", "cuda", "mps")
    absent = f"cuda:{torch.cuda.device_count()}"
    for name in (absent, "meta", "gpu", 3.5):
        with pytest.raises(
            ValueError, match=f"^device: .* use here, .*got {re.escape(repr(name))}"
        ):
            runtime.device(name)


@pytest.mark.parametrize("gpu", [torch.cuda, torch.backends.mps])
@pytest.mark.parametrize(
    ("told", "obeyed"),
    [("true", True), ("1", True), ("Yes", True), ("false", False), ("0", False), ("", False)],
)
def test_the_environment_can_rule_out_a_gpu_that_is_reported(monkeypatch, gpu, told, obeyed):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is torch.cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: gpu is torch.backends.mps)
    monkeypatch.setenv("ACCELERATE_USE_CPU", told)
    assert runtime.is_cpu(runtime.device()) is obeyed


def test_double_precision_is_never_asked_of_apples_gpu(monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert runtime.device().type == "mps"
    assert runtime.device(double=True).type == "cpu"


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with runtime.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), runtime.threads(before + 1):
        {}["an error"]
    assert torch.get_num_threads() == before
    for n, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match=r"^n: "), runtime.threads(n):
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


def test_versions_and_header():
    versions = runtime.versions()
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(versions) >= {"python", "aelib", "torch", "numpy"}
    assert "\n" not in runtime.header()
    assert re.match(r"profile cpu · device \w+ · aelib \S+, torch \S+, python 3", runtime.header())


def test_the_machine_is_named_by_what_turns_digits(monkeypatch):
    for name in machine_room.KERNEL_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    with runtime.threads(1):
        line = runtime.machine()
    kernels = torch.backends.cpu.get_cpu_capability()
    assert line.startswith(machine_room.processor())
    assert re.search(rf", \d+ cores, 1 threads, kernels {kernels}, BLAS \w+(,|$)", line)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert "MKL_CBWR=COMPATIBLE" in runtime.machine()


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: A Chip: 3 GHz\n", "A Chip: 3 GHz"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", "aarch64"),  # ARM names no model there
        (None, "aarch64"),  # nor is there such a file on macOS or Windows
    ],
)
def test_a_processor_has_a_name_or_an_architecture(cpuinfo, name, monkeypatch):
    def read(path):
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine_room.processor() == name


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


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def fail(error):
    def raising(*_):
        raise error

    return raising


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_write_whole_writes_all_or_nothing(call, error, tmp_path, monkeypatch):
    path = tmp_path / "kept.bin"
    assert runtime.write_whole(path, b"old") == path
    assert path.stat().st_mode & 0o777 == 0o644
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail(error))
        with pytest.raises(type(error)):
            runtime.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    with pytest.raises(TypeError):
        runtime.write_whole(path, "text")
    assert names_in(tmp_path) == ["kept.bin"]
    runtime.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_told_with_the_file_and_its_size(tmp_path):
    """A limit on the size of files stands in for the disk: the system itself refuses."""
    resource = pytest.importorskip("resource")
    path, before = tmp_path / "kept.bin", resource.getrlimit(resource.RLIMIT_FSIZE)
    runtime.write_whole(path, b"old")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(
            OSError, match=rf"the 12,345 bytes of {path} \(.*\); make room"
        ) as caught:
            runtime.write_whole(path, bytes(12345))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["kept.bin"]


def test_write_whole_writes_to_where_a_link_leads(tmp_path):
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "link.bin", tmp_path / "disk" / "kept.bin"
    link.symlink_to(tmp_path / "between.bin")
    (tmp_path / "between.bin").symlink_to(Path("disk", "kept.bin"))
    for content in (b"first", b"second"):  # the target is not there yet, then it is
        assert runtime.write_whole(link, content) == link
        assert link.is_symlink()
        assert not target.is_symlink()
        assert target.read_bytes() == content
    assert names_in(tmp_path / "disk") == ["kept.bin"]
    circle = tmp_path / "circle.bin"
    circle.symlink_to(circle)
    with pytest.raises(OSError, match=r"circle\.bin"):
        runtime.write_whole(circle, b"")
    assert circle.is_symlink()


KILLED = """
import os, signal, sys
from aelib import runtime
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
runtime.write_whole(sys.argv[1], b"never whole")
"""


def test_what_a_kill_leaves_goes_with_the_next_write(tmp_path):
    path, mine = tmp_path / "[kept].bin", tmp_path / ".[kept].bin.1.backup_1"
    mine.write_bytes(b"a reader's own")
    command = [sys.executable, "-c", KILLED, path]
    assert subprocess.run(command, cwd=PACKAGE.parent).returncode == -signal.SIGKILL
    [leftover] = set(tmp_path.iterdir()) - {mine}
    young = tmp_path / re.sub(r"\.\d+\.", f".{os.getpid()}.", leftover.name)
    young.write_bytes(b"by a process that runs")
    runtime.write_whole(tmp_path / "another.bin", b"")
    assert leftover.exists()  # not that file's to remove
    runtime.write_whole(path, b"whole")
    assert set(tmp_path.iterdir()) == {path, mine, young, tmp_path / "another.bin"}
    for file in (mine, young):
        os.utime(file, (time.time() - 61,) * 2)
    runtime.write_whole(path, b"whole again")
    assert set(tmp_path.iterdir()) == {path, mine, tmp_path / "another.bin"}


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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling …"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("CUDNN_STATUS_ALLOC_FAILED"), False),
    ],
)
def test_what_says_that_memory_ran_out(error, told):
    assert runtime.out_of_memory(error) == told


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


# --- Lessons --------------------------------------------------------------------------------------

OUT_OF_ORDER = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import aelib as ae; print(ae.runtime.lesson('01_introduction'))")
shell.run_cell("digits.train")
shell.run_cell("nowhere")
shell.run_cell("1 / 0")
"""


def test_a_lesson_run_out_of_order_says_which_cell_it_needs():
    done = subprocess.run([sys.executable, "-c", OUT_OF_ORDER], capture_output=True, text=True)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert shown.startswith("profile cpu")
    assert "NameError: name 'digits' is not defined" in shown
    (help_,) = re.findall(r"^`.*?it first\.$", done.stderr, re.MULTILINE | re.DOTALL)
    assert "`digits` is made in “" in help_
    assert "ZeroDivisionError" in shown


def test_an_unknown_lesson_is_refused():
    with pytest.raises(ValueError, match="did you mean '01_introduction'"):
        runtime.lesson("01_introductions")


def test_what_the_head_of_the_set_up_cell_makes_is_no_lessons():
    notebook = SimpleNamespace(
        title="A title",
        content=nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(f"{setup_cell.head()}import numpy as np\nfigure = 1")]
        ),
    )
    assert names.made(notebook) == {
        name: ["A title", "import importlib.metadata"] for name in ("np", "figure")
    }


def test_what_lessons_say_they_need_is_what_their_cells_make():
    assert names.FILE.read_text(encoding="utf-8") == names.text(), "run: make book"


def test_files_that_were_read_do_not_count_as_taken_memory(monkeypatch, tmp_path):
    room = importlib.import_module("aelib.runtime.memory")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(str(8 * 2**20))
    (group / "memory.current").write_text(str(8 * 2**20 - 10))
    monkeypatch.setattr(room, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert room.free_memory(torch.device("cpu")) == 10
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {7 * 2**20}\n")
    assert room.free_memory(torch.device("cpu")) == 7 * 2**20 + 10


def test_write_whole_keeps_a_files_rights_and_gives_new_ones_the_users(tmp_path):
    before = os.umask(0o077)
    try:
        path = runtime.write_whole(tmp_path / "private", b"1")
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o640)
        runtime.write_whole(path, b"2")
        assert path.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
