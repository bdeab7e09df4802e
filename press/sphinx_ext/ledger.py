"""`{ledger}`: a table of claims a chapter, with what was measured, the controls and the verdict.

With `:mini:` one short table of all claims. With `:only: 2` the claims of one chapter.
"""

from __future__ import annotations

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx

from press.ledger import COLORS, Record, ledger
from press.sphinx_ext.parts import FromNotebooks, number, plain, table


def spread(reading: Record) -> str:
    """A value with its interval, such as ``7.01 [6.92, 7.10]``; the value alone where none is."""
    low, high = reading.get("low"), reading.get("high")
    text = number(reading.get("value"))
    if low is None or high is None or low == high:
        return text
    return f"{text} [{number(low)}, {number(high)}]"


def measured(record: Record) -> list[str]:
    """What was measured, a line for the chapter's run and one for the kept long run if any."""
    lines = [f"{record['quantity']}: {spread(record)} {record['unit']}".strip() + seeds(record)]
    if kept := record.get("long"):
        lines.append(f"kept run: {spread(kept)} {record['unit']}".strip() + seeds(kept))
    return lines


def seeds(record: Record) -> str:
    """How many seeds stand behind a number."""
    count = record["seeds"]
    return f", {count} seed{'s' if count != 1 else ''}" if count else ", closed form"


def controls(record: Record) -> list[str]:
    """The controls, one a line, each with its value."""
    return [f"{name}: {spread(reading)}" for name, reading in record["controls"].items()]


def badge(verdict: str) -> nodes.inline:
    """The verdict as a word on a coloured ground; the word alone says it all."""
    color = COLORS[verdict]
    classes = ["sd-sphinx-override", "sd-badge", f"sd-bg-{color}", f"sd-bg-text-{color}"]
    return nodes.inline("", verdict, classes=classes)


def lines(texts: list[str]) -> list[nodes.Node]:
    """Several lines in one cell."""
    return [nodes.inline("", text, classes=["line"]) for text in texts]


class Ledger(FromNotebooks):
    """Every claim of the book with what was measured; the file's head says which options it has."""

    option_spec: ClassVar = {"mini": directives.flag, "only": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        titles = {int(book.path.stem[:2]): book.title for book in self.books}
        records = ledger(self.books[0].path.parent)
        if only := self.options.get("only"):
            records = [record for record in records if record["chapter"] == int(only)]
        if not records:
            return [nodes.paragraph("", "No claim has been measured yet.")]
        if "mini" in self.options:
            return [self.tally(records), self.short(records)]
        chapters = sorted({record["chapter"] for record in records})
        tables: list[nodes.Node] = [
            self.full(chapter, titles.get(chapter, ""), records) for chapter in chapters
        ]
        return tables if only else [self.tally(records), *tables]

    def claim(self, record: Record) -> list[nodes.Node]:
        """The claim's number, linked to its card."""
        return [self.link(record["id"], f"chapters/{record['notebook']}", record["anchor"])]

    def tally(self, records: list[Record]) -> nodes.paragraph:
        """How many claims there are, and how they fared."""
        counts = {
            verdict: sum(record["verdict"] == verdict for record in records) for verdict in COLORS
        }
        parts = [f"{count} {verdict}" for verdict, count in counts.items() if count]
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
        word = "claim" if len(records) == 1 else "claims"
        return nodes.paragraph("", f"{len(records)} {word} tested so far: {listed}.")

    def short(self, records: list[Record]) -> nodes.table:
        rows = [
            [self.claim(record), plain(record["statement"]), [badge(record["verdict"])]]
            for record in records
        ]
        return table(
            "The claims and their verdicts", ["Claim", "Statement", "Verdict"], rows, [8, 72, 20],
            "ledger-mini",
        )  # fmt: skip

    def full(self, chapter: int, title: str, records: list[Record]) -> nodes.table:
        rows = [
            [
                self.claim(record),
                [badge(record["verdict"])],
                plain(record["statement"]),
                lines(measured(record)),
                lines(controls(record)),
            ]
            for record in records
            if record["chapter"] == chapter
        ]
        caption = f"The claims of chapter {chapter}" + (f", {title}" if title else "")
        heads = ["Claim", "Verdict", "Statement", "Measured", "Controls"]
        return table(caption, heads, rows, [6, 12, 36, 22, 24], "ledger")


def setup(app: Sphinx) -> None:
    app.add_directive("ledger", Ledger)
