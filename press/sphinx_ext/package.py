"""`{names} aelib.data`: a table of what a room of the package offers. `{introduced}`: in a chapter,
all whose docstring names it. And docstrings as plain text, with links back to the chapters.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from press.sphinx_ext.parts import table


def belongs(thing: Any, module: str) -> bool:
    """Whether a function or class is defined in a module or in one below it."""
    home = getattr(thing, "__module__", None) or ""
    return home == module or home.startswith(module + ".")


def described(thing: Any) -> bool:
    """Whether it has a description of its own: functions and classes have, instances have not."""
    return inspect.isfunction(thing) or inspect.isclass(thing)


class FromPackage(SphinxDirective):
    """What the directives share: links to descriptions on the package's page."""

    def link(self, room: str, name: str) -> addnodes.pending_xref:
        """A link to the full description of aelib.room.name."""
        target = {"refdomain": "py", "reftype": "obj", "reftarget": f"{room}.{name}"}
        words = nodes.literal("", name)
        return addnodes.pending_xref("", words, refdoc=self.env.docname, refexplicit=True, **target)


class Introduced(FromPackage):
    """The functions and classes whose docstrings name this chapter, room by room."""

    def run(self) -> list[nodes.Node]:
        chapter = re.match(r"chapters/0*(\d+)", self.env.docname)
        if not chapter:
            raise self.error("introduced stands in a chapter; this page is not one")
        import aelib

        words = nodes.paragraph(classes=["introduced"])
        for room in aelib.__all__:
            module = getattr(aelib, room)
            names = [
                name
                for name in (getattr(module, "__all__", ()) if inspect.ismodule(module) else ())
                if described(getattr(module, name))
                and re.search(
                    rf"chapter {chapter[1]}\b", inspect.getdoc(getattr(module, name)) or ""
                )
            ]
            for index, name in enumerate(names):
                words += nodes.Text(f"{room}: " if index == 0 else ", ")
                words += self.link(f"aelib.{room}", name)
            words += nodes.Text(". " if names else "")
        return [words]


class Names(FromPackage):
    """A table of a module's public functions and classes, each with its first sentence."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        room = self.arguments[0]
        module = importlib.import_module(room)
        public = getattr(module, "__all__", None) or [
            name for name in vars(module) if not name.startswith("_")
        ]
        rows = []
        for name in public:
            thing = getattr(module, name)
            if belongs(thing, room) and described(thing):
                first = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
                words = [  # every second part stands between backticks
                    nodes.literal("", part) if index % 2 else nodes.Text(part)
                    for index, part in enumerate(first.replace("``", "`").split("`"))
                ]
                rows.append([[self.link(room, name)], words])
        caption = f"What {room} offers"
        return [table(caption, ["Name", "What it is for"], rows, [28, 72], "names")]


def as_written(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, text: list[str]
) -> None:
    """Let docstrings be plain text: `name` is code, a bar or a star is itself.

    "chapter 2" becomes a link to it.
    """
    chapters = {
        str(int(path.name[:2])): path.stem for path in Path(app.srcdir, "chapters").glob("0*.*")
    }

    def link(words: re.Match) -> str:
        file = chapters.get(words[1])
        return f":doc:`{words[0]} </chapters/{file}>`" if file else words[0]

    example = False  # from its first >>> to the next empty line
    for index, line in enumerate(text):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if example:
            continue
        parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
        parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
        parts[::2] = [re.sub(r"\bchapter (\d)\b", link, part) for part in parts[::2]]
        parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
        text[index] = "".join(parts)


def only_own(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool:
    """Leave out what a module merely imports, and fields that only say their number."""
    module = app.env.temp_data.get("autodoc:module")
    foreign = what == "module" and module and not belongs(thing, module)
    numbered = (getattr(thing, "__doc__", None) or "").startswith("Alias for field number")
    return skip or bool(foreign) or numbered


def setup(app: Sphinx) -> None:
    app.add_directive("introduced", Introduced)
    app.add_directive("names", Names)
    app.connect("autodoc-process-docstring", as_written, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", only_own)
