"""Which code a result came from: a hash of the code and of every aelib definition it can reach.

Used twice: a notebook is executed anew when what it can reach has changed, and a kept measurement
is stale when the code that made it has. Comments, docstrings and formatting do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def fingerprint(
    sources: Sequence[str],
    package: str | Path = PACKAGE,
    *,
    context: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> str:
    """A hash of Python sources, of the definitions in `package` they can reach, and of `extra`.

    A definition is reached when its name occurs, as a name, an attribute or a whole string, in the
    sources, or in a definition already reached whose module imports, directly or not, the module
    it stands in. That errs on the safe side: two definitions of one name are both reached, and a
    name that only looks the same counts. Code at the top of a module, outside any definition, is
    always reached; what runs only as `__main__` never is. Annotations count as code.

    Args:
        sources: Python code; lines that only a notebook understands (%magic, !command) are skipped.
        package: the folder whose modules are followed.
        context: further Python code; its definitions count only when they are reached, its code
            outside any definition always.
        extra: other texts the result depends on, such as settings or versions.

    Returns:
        64 hexadecimal digits, the same under every version of Python.

    Raises:
        SyntaxError: if a source or a module is not Python.
    """
    modules = list(_modules(Path(package)))
    visible = {module.name: _closure(module.name, modules) for module in modules}
    modules.append(_read("\n".join(map(python, context)), "context"))
    everywhere = visible["context"] = frozenset(module.name for module in modules)
    named: dict[str, list[_Definition]] = {}
    for module in modules:
        for one in module.definitions:
            named.setdefault(one.name, []).append(one)

    begun = [_definition(ast.parse(python(source))) for source in sources]
    loose = [one for module in modules for one in module.loose]
    waiting = [(name, everywhere) for one in begun for name in one.inside]
    waiting += [(name, visible[one.where]) for one in loose for name in one.inside]
    reached: set[_Definition] = set()
    while waiting:
        name, seen = waiting.pop()
        for one in named.get(name, ()):
            if one.where in seen and one not in reached:
                reached.add(one)
                waiting += [(other, visible[one.where]) for other in one.inside]

    digest = hashlib.sha256()
    for text in [*(one.text for one in [*begun, *loose, *sorted(reached)]), *extra]:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def python(source: str) -> str:
    """The Python of a notebook's cell: lines that only IPython understands become `pass`.

    Raises:
        SyntaxError: if the rest is not Python.
    """
    lines = source.splitlines()
    other_language = source.lstrip().startswith("%%")  # or %%time, before Python
    while True:
        try:
            ast.parse("\n".join(lines))
            return "\n".join(lines)
        except SyntaxError as error:
            at = min(error.lineno or 1, len(lines)) - 1
            line = lines[at].strip()
            if not (line.startswith(("%", "!")) or line.endswith("?")):
                if other_language:
                    return ""
                raise
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        while lines[at].endswith("\\") and at + 1 < len(lines):
            lines[at], at = "", at + 1
        lines[at] = f"{indent}pass"


def definitions(source: str) -> str:
    """Python code without what it does beside importing and defining."""
    tree = ast.parse(source)
    imports = (ast.Import, ast.ImportFrom)
    tree.body = [node for node in tree.body if isinstance(node, imports) or _bound(node)]
    return ast.unparse(tree)


class _Definition(NamedTuple):
    """One definition, or one piece of code outside any, and the names inside it."""

    where: str
    name: str
    earlier: int  # how many definitions of this name stand before it in its module
    text: str
    inside: frozenset[str]


class _Module(NamedTuple):
    name: str
    definitions: tuple[_Definition, ...]
    loose: tuple[_Definition, ...]
    imports: frozenset[str]


def _modules(package: Path) -> tuple[_Module, ...]:
    paths = sorted(package.rglob("*.py"))
    return _read_all(package, tuple((str(path), path.stat().st_mtime_ns) for path in paths))


@cache
def _read_all(package: Path, stamps: tuple[tuple[str, int], ...]) -> tuple[_Module, ...]:
    paths = [Path(path) for path, _ in stamps]
    names = frozenset(path.relative_to(package).as_posix() for path in paths)
    return tuple(
        _read(
            path.read_text(encoding="utf-8"),
            path.relative_to(package).as_posix(),
            (package.name, names),
            str(path),
        )
        for path in paths
    )


def _read(
    source: str,
    where: str,
    package: tuple[str, frozenset[str]] = ("", frozenset()),
    file: str = "<cell>",
) -> _Module:
    """The definitions at the top of one module, its other code, and the modules it imports."""
    tree = ast.parse(source, filename=file)
    definitions: list[_Definition] = []
    loose: list[_Definition] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            # Importing a name reaches nothing until it is used; under another name it is that one.
            bound = [(alias.asname, alias) for alias in node.names if alias.asname]
        else:
            bound = [(name, node) for name in _bound(node)]
            if not bound and not _only_as_main(node) and not _is_idle(node):
                loose.append(_definition(node, where))
        for name, part in bound:
            earlier = sum(one.name == name for one in definitions)
            definitions.append(_definition(part, where, name, earlier))
    imports = frozenset(_imported(tree, where, *package))
    return _Module(where, tuple(definitions), tuple(loose), imports)


def _definition(node: ast.AST, where: str = "", name: str = "", earlier: int = 0) -> _Definition:
    return _Definition(where, name, earlier, _text(node), frozenset(_names(node)))


def _bound(node: ast.stmt) -> list[str]:
    """The names a statement defines."""
    if isinstance(node, FUNCTIONS):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    inside = [one for target in targets for one in ast.walk(target)]
    return [one.id for one in inside if isinstance(one, ast.Name)]


def _only_as_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def _is_idle(node: ast.AST) -> bool:
    """Whether a statement does nothing: a docstring, any other text alone, `pass`."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _text(node: object) -> str:
    """A tree as text: no positions, no docstrings, no fields that only some Pythons have."""
    if isinstance(node, list):
        return f"[{', '.join(_text(one) for one in node if not _is_idle(one))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty pieces to an f-string
        fields["values"] = [one for one in node.values if getattr(one, "value", None) != ""]
    inside = [f"{key}={_text(value)}" for key, value in fields.items() if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(inside)})"


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
        elif isinstance(node, ast.Constant) and str(node.value).isidentifier():
            yield str(node.value)


def _imported(tree: ast.AST, where: str, package: str, names: frozenset[str]) -> Iterator[str]:
    """The package's modules that a module imports, also within its functions."""

    def file(parts: Sequence[str]) -> Iterator[str]:
        path = "/".join(parts)
        yield from {f"{path}.py", f"{path}/__init__.py".lstrip("/")} & names

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == package:
                    yield from file(rest)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            if node.level:
                folders = where.split("/")[:-1]
                parts = folders[: len(folders) - node.level + 1] + parts
            elif parts[:1] == [package]:
                parts = parts[1:]
            else:
                continue
            for alias in node.names:
                yield from [*file([*parts, alias.name])] or file(parts)


def _closure(name: str, modules: Sequence[_Module]) -> frozenset[str]:
    """A module and all it imports, directly or not."""
    imports = {module.name: module.imports for module in modules}
    found, waiting = {name}, [name]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return frozenset(found)
