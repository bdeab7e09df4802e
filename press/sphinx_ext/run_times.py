"""`{run-time}`: in a chapter, how long its last run took and where. `{run-times}`: all of them."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from press import on_gpu
from press.notebooks import read
from press.sphinx_ext.parts import FromNotebooks, plain, table


class RunTime(FromNotebooks):
    """Two sentences about this very page."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            raise self.error("run-time stands in a notebook; this page is not one")
        self.env.note_dependency(str(path))
        last = read(path).last_run
        words = "This page has not been run yet."
        if last:
            words = f"This page ran in {last['seconds']} s on {last['machine']}."
        gpu = on_gpu.kept(path.stem)
        words += f" On a GPU: {on_gpu.summary(gpu)}." if gpu else " No GPU has run it yet."
        return [nodes.paragraph("", words, classes=["run-time"])]


class RunTimes(FromNotebooks):
    """A table of the chapters."""

    def run(self) -> list[nodes.Node]:
        rows, total, total_gpu = [], 0, 0.0
        for book in self.books:
            last, gpu = book.last_run, on_gpu.kept(book.path.stem)
            total += last.get("seconds", 0)
            total_gpu += on_gpu.seconds(gpu) if gpu else 0
            rows.append(
                [
                    [self.link(book.title, f"chapters/{book.path.stem}")],
                    plain(f"{last['seconds']} s" if last else "not run yet"),
                    plain(last.get("machine", "–")),
                    plain(on_gpu.summary(gpu) if gpu else "no GPU has run it yet"),
                ]
            )
        sums = [f"{total} s", "added up", f"{total_gpu:.0f} s, added up"]
        rows.append([plain("All of them"), *map(plain, sums)])
        heads = ["Chapter", "Time", "Machine", "On a GPU"]
        return [table("The last run of each chapter", heads, rows, [30, 10, 30, 30], "run-times")]


def setup(app: Sphinx) -> None:
    app.add_directive("run-time", RunTime)
    app.add_directive("run-times", RunTimes)
