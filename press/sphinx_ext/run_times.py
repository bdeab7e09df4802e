"""`{run-time}`: in a chapter, how long its last run took and where. `{run-times}`: all of them."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from press.notebooks import read
from press.sphinx_ext.parts import FromNotebooks, plain, table


class RunTime(FromNotebooks):
    """One line about this very page."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            raise self.error("run-time stands in a notebook; this page is not one")
        self.env.note_dependency(str(path))
        last = read(path).last_run
        words = "This page has not been run yet."
        if last:
            words = f"This page ran in {last['seconds']} s on {last['machine']}."
        return [nodes.paragraph("", words, classes=["run-time"])]


class RunTimes(FromNotebooks):
    """A table of the chapters."""

    def run(self) -> list[nodes.Node]:
        rows = [
            [
                [self.link(book.title, f"chapters/{book.path.stem}")],
                plain(f"{book.last_run['seconds']} s" if book.last_run else "not run yet"),
                plain(book.last_run.get("machine", "–")),
            ]
            for book in self.books
        ]
        total = sum(book.last_run.get("seconds", 0) for book in self.books)
        rows.append([plain("All of them"), plain(f"{total} s"), plain("added up")])
        heads = ["Chapter", "Time", "Machine"]
        return [table("The last run of each chapter", heads, rows, [40, 12, 48], "run-times")]


def setup(app: Sphinx) -> None:
    app.add_directive("run-time", RunTime)
    app.add_directive("run-times", RunTimes)
