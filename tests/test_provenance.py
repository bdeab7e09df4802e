"""provenance: what changes a fingerprint, and what must not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aelib import provenance

BEFORE = {
    "__init__.py": "from house import kitchen, cellar\nfrom house.kitchen import cook\n",
    "cellar.py": '''
"""Wine."""

YEARS = {"red": 1990}

def age(colour):
    """How old."""
    return 2026 - YEARS[colour]

class Barrel:
    """Holds."""
    def pour(self):
        return tap()

def tap():
    return 1

def dust():
    return 2

def shared():
    return "cellar"
''',
    "kitchen.py": """
from house.cellar import age as old
import house.cellar

def cook(what: str) -> int:
    return boil(what) + old("red")

def boil(what):
    return len(what)

def bake():
    return 0

def shared():
    return bake()
""",
    "attic/__init__.py": "",
    "attic/box.py": "from .. import kitchen\nfrom .lid import lift\n\ndef open_box():\n"
    "    lift()\n    return kitchen.bake()\n",
    "attic/lid.py": "def lift():\n    return 8\n",
    "garden.py": "def dig():\n    return shared()\n",
}


@pytest.fixture
def house(tmp_path):
    """Writes a made-up package, some of its files changed; gives its folder."""

    def build(**changed: tuple[str, str]) -> Path:
        folder = tmp_path / "house"
        for name, text in BEFORE.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            key = name.removesuffix(".py").replace("/", "_")
            if key in changed:
                old, new = changed.pop(key)
                assert text.count(old) == 1, f"{old!r} in {name}"
                text = text.replace(old, new)
            path.write_text(text)
        assert not changed
        provenance._read_all.cache_clear()  # files rewritten within one tick of the clock
        return folder

    return build


def differs(house, sources, **changed) -> bool:
    sources = [sources] if isinstance(sources, str) else sources
    before = provenance.fingerprint(sources, house())
    return provenance.fingerprint(sources, house(**changed)) != before


# --- What does not count -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("kitchen", "    return boil(what)", "    # a reason\n    return boil(what)"),
        ("kitchen", "return boil(what) + old", "return  (boil( what ) +\n        old"),
        ("cellar", "How old.", "How old it is."),
        ("cellar", '"""Wine."""', '"""Wine, and dust."""'),
        ("cellar", '    """Holds."""\n', ""),
        ("kitchen", "    return 0", "    return 1"),  # bake: nobody asks for it
        ("cellar", "return 2\n", "return 3\n"),  # dust
        ("attic_box", "kitchen.bake()", "kitchen.bake() + 1"),
        ("garden", "shared()", "shared() + 1"),
        ("kitchen", "def bake", "def fry():\n    return 9\n\ndef bake"),
        ("kitchen", "    return 0", "    return 0\n\nif __name__ == '__main__':\n    cook()"),
    ],
)
def test_what_cannot_change_the_result_does_not_count(house, file, old, new):
    extra = ")" if "(boil(" in new else ""
    if extra:
        old, new = old + '("red")', new + '("red")' + extra
    assert not differs(house, "house.cook('egg')", **{file: (old, new)})


@pytest.mark.parametrize("new", ["x = 1 # one", "x=1", "\n\nx = (1)\n", "'''Words.'''\nx = 1"])
def test_the_sources_own_comments_do_not_count(house, new):
    assert provenance.fingerprint(["x = 1"], house()) == provenance.fingerprint([new], house())


# --- What counts ---------------------------------------------------------------------------------

BOIL = ("kitchen", "len(what)", "len(what) + 1")
TABLE = ("cellar", "1990", "1991")
AGE = ("cellar", "2026 -", "2025 -")
TAP = ("cellar", "return 1\n", "return 4\n")
POUR = ("cellar", "return tap()", "return tap() + 1")
BAKE = ("kitchen", "return 0", "return 5")


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("cook('egg')", ("kitchen", "boil(what) +", "boil(what) -")),  # by name
        ("house.cook('egg')", BOIL),  # by attribute, and on to what it calls
        ("house.kitchen.cook('egg')", TABLE),  # through an alias, a function, a constant
        ("import house as h\nh.cook('egg')", AGE),
        ("from house import cook as c\nc('egg')", BOIL),
        ("from house.cellar import *\nBarrel().pour()", TAP),  # through a method
        ("b = house.cellar.Barrel()", POUR),
        ("getattr(house, 'cook')('egg')", BOIL),  # by a text
        ("TABLE = {'cook': 1}", BOIL),
        ("house.attic.box.open_box()", BAKE),  # a nested folder, a relative import
        ("house.attic.box.open_box()", ("attic_lid", "8", "9")),
        ("1 + 1", ("kitchen", "import house.cellar", "print(boil(2))")),  # loose code
        ("house.cook('egg')", ("kitchen", "what: str", "what: bytes")),  # annotations, by decision
        ("house.cook('egg')", ("kitchen", "len(what)", "len(what)\n\nboil = str")),  # bound twice
        ("house.age", ("cellar", "def age", "YEARS['white'] = 2000\n\ndef age")),
    ],
)
def test_what_can_change_the_result_counts(house, source, change):
    file, old, new = change
    assert differs(house, source, **{file: (old, new)})


def test_loose_code_is_followed(house):
    loose = ("import house.cellar", "import house.cellar\nprint(bake())")
    before = provenance.fingerprint(["1"], house(kitchen=loose))
    folder = house(kitchen=loose)
    path = folder / "kitchen.py"
    path.write_text(path.read_text().replace("return 0", "return 6"))
    provenance._read_all.cache_clear()
    assert provenance.fingerprint(["1"], folder) != before


def test_a_module_sees_only_what_it_imports(house):
    """`kitchen.shared` calls bake; cellar, which does not import kitchen, cannot mean that one."""
    loose = {"cellar": ("return tap()", "return shared()")}
    source = "house.cellar.Barrel()"
    before = provenance.fingerprint([source], house(**loose))
    assert (
        provenance.fingerprint([source], house(**loose, kitchen=("return 0", "return 7"))) == before
    )
    own = {"cellar": ("return tap()", "return shared()")}
    folder = house(**own)
    path = folder / "cellar.py"
    path.write_text(path.read_text().replace('"cellar"', '"vault"'))
    provenance._read_all.cache_clear()
    assert provenance.fingerprint([source], folder) != before


def test_two_definitions_of_one_name_are_both_reached(house):
    for change in ({"cellar": ('"cellar"', '"vault"')}, {"kitchen": ("bake()\n", "bake() + 1\n")}):
        assert differs(house, "anything.shared()", **change)


def test_the_sources_their_order_and_extra_count(house):
    folder = house()
    prints = {
        provenance.fingerprint(sources, folder, extra=extra)
        for sources, extra in [
            (["a = 1", "b = 2"], ()),
            (["b = 2", "a = 1"], ()),
            (["a = 1", "b = 3"], ()),
            (["a = 1"], ()),
            (["a = 1"], ("torch 2",)),
            (["a = 1"], ("torch 3",)),
        ]
    }
    assert len(prints) == 6


def test_context_counts_when_it_is_reached(house):
    folder = house()

    def with_context(*context, source="run()"):
        return provenance.fingerprint([source], folder, context=context)

    before = with_context("def run():\n    return help()", "def help():\n    return 1\nOTHER = 1")
    same = with_context("def run():\n    return help()", "OTHER = 2\ndef help():\n    return 1")
    assert before == same
    assert before == with_context(
        "%pip install x", "def run():\n    return help()", "def help(): return 1"
    )
    assert before != with_context("def run():\n    return help()", "def help():\n    return 2")
    assert before != with_context(
        "def run():\n    return help()", "def help():\n    return 1", "print(3)"
    )
    reaching = "from house import cook as c\ndef run():\n    return c('egg')"
    before = with_context(reaching)
    folder = house(kitchen=BOIL[1:])
    assert with_context(reaching) != before


definitions = st.permutations(
    ["def a():\n    return b()", "def b():\n    return C", "C = 3", "def d(): pass", "class E: ..."]
)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(definitions)
def test_the_order_of_definitions_does_not_matter(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("order")
    (folder / "module.py").write_text("\n".join(order))
    (folder / "sorted.py").write_text("")
    found = provenance.fingerprint(["a()"], folder)
    (folder / "module.py").write_text("\n\n\n".join(sorted(order)))
    provenance._read_all.cache_clear()
    assert provenance.fingerprint(["a()"], folder) == found


def test_the_order_of_two_definitions_of_one_name_does(tmp_path):
    found = set()
    for order in ("X = 1\nX = 2", "X = 2\nX = 1", "Y = 0\nX = 2\nZ = 0\nX = 1"):
        (tmp_path / "module.py").write_text(order)
        provenance._read_all.cache_clear()
        found.add(provenance.fingerprint(["X"], tmp_path))
    assert len(found) == 2


def test_a_new_time_stamp_alone_is_not_a_change_but_is_looked_at(house):
    folder = house()
    before = provenance.fingerprint(["house.cook(1)"], folder)
    path = folder / "kitchen.py"
    path.write_text(path.read_text().replace("len(what)", "len(what) * 2"))
    assert provenance.fingerprint(["house.cook(1)"], folder) != before


# --- Notebook cells ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("if colab:\n    %pip install a \\\n        b\nx = 1", "if colab:\n\n    pass\nx = 1"),
        ("if colab:\n    !pip install a", "if colab:\n    pass"),
        ("x = 1\nfit?", "x = 1\npass"),
        ("x = (5\n     % 3)", "x = (5\n     % 3)"),
        ('"""\n% not magic\n"""', '"""\n% not magic\n"""'),
        ("%%time\nx = 1", "pass\nx = 1"),
        ("%%html\n<b>", ""),
        ("", ""),
    ],
)
def test_lines_for_ipython_are_left_out(cell, plain):
    assert provenance.python(cell) == plain


def test_definitions_are_what_a_source_imports_and_defines():
    source = "import a as b\nX = 1\nif X:\n    print(b)\ndef f(): return X\nX += 1\nf()"
    kept = "import a as b\nX = 1\n\ndef f():\n    return X\nX += 1"
    assert provenance.definitions(source) == kept


def test_a_syntax_error_says_where(house):
    with pytest.raises(SyntaxError):
        provenance.fingerprint(["def ("], house())
    folder = house(attic_box=("def open_box():", "def open_box(:"))
    with pytest.raises(SyntaxError) as caught:
        provenance.fingerprint(["1"], folder)
    assert caught.value.filename.endswith("box.py")
    assert caught.value.lineno == 4


# --- The package itself --------------------------------------------------------------------------


def test_the_package_and_every_python_give_one_fingerprint():
    """Other Pythons parse to other trees; a kept measurement must not go stale for that."""
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('provenance', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(module.fingerprint([sys.argv[2]]))\n"
    )
    source = "ae.fit(net, images)\nae.Claim\nprint(f'{x!r:>{w}} {a}')"
    expected = provenance.fingerprint([source])
    others = [shutil.which(f"python3.{minor}") for minor in (10, 11, 12, 13)]
    for python in [sys.executable, *filter(None, others)]:
        ran = subprocess.run(
            [python, "-c", code, provenance.__file__, source], capture_output=True, text=True
        )
        if python != sys.executable and ran.returncode:
            continue  # a launcher without an interpreter behind it
        assert ran.stdout.strip() == expected, (python, ran.stderr)


def test_a_measure_does_not_depend_on_the_ledger(tmp_path):
    """Training reaches its own `measure`, not `claims.measure`: the corridor separates them."""
    folder = tmp_path / "aelib"
    shutil.copytree(provenance.PACKAGE, folder)
    source = "ae.fit(net, images); ae.measures.psnr(a, b)"
    before = provenance.fingerprint([source], folder)
    assert before == provenance.fingerprint([source])
    for name, same in (("claims/ledger.py", True), ("training/fit.py", False)):
        path = folder / name
        text = path.read_text()
        path.write_text(text.replace("    return ", "    return 0 or "))
        assert path.read_text() != text
        assert (provenance.fingerprint([source], folder) == before) is same, name
        path.write_text(text)
