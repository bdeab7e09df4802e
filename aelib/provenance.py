"""Which code a result came from: a hash of the code and of every aelib definition it can reach.

Used twice: a notebook is executed anew when what it can reach has changed, and a kept measurement
is stale when the code that made it has. Comments, docstrings and formatting do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def fingerprint(
    sources: Sequence[str],
    package: str | Path = PACKAGE,
    *,
    context: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> str:
    """A hash of Python sources, of the definitions in `package` they can reach, and of `extra`.

    A definition is reached when its name occurs, as a name, an attribute or a whole string, in the
    sources or in a definition already reached. That errs on the safe side: two definitions of one
    name are both reached, and a name that only looks the same counts. Code at the top of a module,
    outside any definition, is always reached.

    Args:
        sources: Python code; lines that only a notebook understands (%magic, !command) are skipped.
        package: the folder whose modules are followed.
        context: further Python code whose definitions count only when they are reached.
        extra: other texts the result depends on, such as settings or versions.

    Returns:
        64 hexadecimal digits.

    Raises:
        SyntaxError: if a source is not Python.
    """
    definitions, loose = _definitions(Path(package))
    if context:
        definitions = {name: list(entries) for name, entries in definitions.items()}
        for number, source in enumerate(context):
            _collect(_bare(_parse(source)), f"context {number}", definitions, {})
    reached: dict[str, str] = {}
    trees = [_bare(_parse(source)) for source in sources]
    queue = [ast.dump(tree) for tree in trees] + list(loose)
    names = set().union(*(_names(tree) for tree in trees), *(loose[text] for text in loose))
    while names:
        found = set()
        for name in names:
            for where, text, inside in definitions.get(name, ()):
                if where not in reached:
                    reached[where] = text
                    found |= inside
        names = found
    digest = hashlib.sha256()
    for text in [*queue, *(reached[where] for where in sorted(reached)), *extra]:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def _parse(source: str) -> ast.Module:
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
    return ast.parse("\n".join(lines))


def _bare(tree: ast.AST) -> ast.AST:
    """The tree without docstrings, so that rewording one changes nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) and (
            body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):  # fmt: skip
            node.body = body[1:] or [ast.Pass()]
    return tree


def _names(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.update(node.name.split("."))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.isidentifier()
        ):
            found.add(node.value)
    return found


def _definitions(package: Path):
    """Top-level definitions by name, and the loose code of each module with the names in it."""
    stamp = tuple((str(path), path.stat().st_mtime_ns) for path in sorted(package.rglob("*.py")))
    return _read_definitions(package, stamp)


@cache
def _read_definitions(package: Path, stamp: tuple):
    definitions: dict[str, list[tuple[str, str, set[str]]]] = {}
    loose: dict[str, set[str]] = {}
    for name, _ in stamp:
        tree = _bare(ast.parse(Path(name).read_text(encoding="utf-8")))
        _collect(tree, Path(name).relative_to(package).as_posix(), definitions, loose)
    return definitions, loose


def _collect(tree: ast.Module, where: str, definitions: dict, loose: dict) -> None:
    """Add the top-level definitions of one module, and its loose code, to the two tables."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = [
                n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)
            ]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            # Importing a name reaches nothing until it is used; under another name it is that one.
            for alias in node.names:
                if alias.asname:
                    entry = (f"{where}:{alias.asname}", ast.dump(alias), set(alias.name.split(".")))
                    definitions.setdefault(alias.asname, []).append(entry)
            continue
        else:
            bound = []
        text, inside = ast.dump(node), _names(node)
        for one in bound:
            definitions.setdefault(one, []).append((f"{where}:{one}", text, inside))
        if not bound:
            loose[text] = inside
