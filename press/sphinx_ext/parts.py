"""What the directives share: tables, numbers, links between the book's pages."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from press.notebooks import Notebook, notebooks


def number(value: float | None) -> str:
    """A number as on a claim's card; a dash where there is none."""
    from aelib.claims.card import shown  # here, because aelib brings torch

    return "–" if value is None else shown(float(value))


def table(
    caption: str, head: list[str], rows: list[list[list[nodes.Node]]], widths: list[int], name: str
) -> nodes.table:
    """A real table: a caption, a head row, and the first column as the rows' heads."""
    group = nodes.tgroup(cols=len(head))
    for index, width in enumerate(widths):
        group += nodes.colspec(colwidth=width, stub=int(index == 0))
    titles = nodes.row()
    for word in head:
        titles += nodes.entry("", nodes.paragraph("", word))
    group += nodes.thead("", titles)
    body = nodes.tbody()
    for cells in rows:
        row = nodes.row()
        for cell in cells:
            row += nodes.entry("", nodes.paragraph("", "", *cell))
        body += row
    group += body
    return nodes.table("", nodes.title("", caption), group, classes=name.split())


def plain(text: str) -> list[nodes.Node]:
    return [nodes.Text(text)]


class FromNotebooks(SphinxDirective):
    """What the directives share that print what notebooks hold."""

    has_content = False

    @cached_property
    def books(self) -> list[Notebook]:
        """The chapters; this page is read again whenever one of them changes."""
        self.env.note_reread()
        books = notebooks(Path(self.env.srcdir, "chapters"))
        for book in books:
            self.env.note_dependency(str(book.path))
        return books

    def link(self, words: str, document: str, anchor: str = "") -> nodes.reference:
        """A link to a place on another page of the book."""
        address = self.env.app.builder.get_relative_uri(self.env.docname, document)
        address += f"#{anchor}" if anchor else ""
        return nodes.reference("", words, refuri=address, internal=True)
