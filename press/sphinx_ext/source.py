"""`{source}`: the source's experiments, one a row, with the claims that test them.

Its content is YAML, a list of rows: `title`, `page` (what Badger's page says), `code` (what his
code does, if that is known), `claims` (ids, in a text) and `here` (what was done otherwise, or not
at all). Statements and verdicts come from the ledger.
"""

from __future__ import annotations

from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx

from press.ledger import Record, ledger
from press.sphinx_ext.ledger import badge
from press.sphinx_ext.parts import FromNotebooks, plain, table

PARTS = {"title", "page", "code", "claims", "here"}


class Source(FromNotebooks):
    """A table of the source's experiments; the file's head says how it is written."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        rows = yaml.safe_load("\n".join(self.content)) or []
        records = {record["id"]: record for record in ledger(self.books[0].path.parent)}
        made = [self.row(number, row, records) for number, row in enumerate(rows, start=1)]
        heads = ["Experiment", "What page and code do", "What was measured here"]
        return [table("The source's experiments", heads, made, [20, 38, 42], "ledger")]

    def row(
        self, number: int, row: dict[str, Any], records: dict[str, Record]
    ) -> list[list[nodes.Node]]:
        if wrong := set(row) - PARTS:
            raise self.error(f"row {number}: unknown parts {sorted(wrong)}")
        ids = str(row.get("claims") or "").split()
        if missing := [id for id in ids if id not in records]:
            raise self.error(f"row {number}: no claim {', '.join(missing)} has been measured")
        if not ids and not row.get("here"):
            raise self.error(f"row {number}: neither claims nor a word on why there are none")
        says: list[nodes.Node] = [self.line("Page: ", row["page"])]
        if row.get("code"):
            says.append(self.line("Code: ", row["code"]))
        found: list[nodes.Node] = [self.claim(records[id]) for id in ids]
        if row.get("here"):
            found.append(self.line("", row["here"]))
        return [plain(f"S{number}. {row['title']}"), says, found]

    @staticmethod
    def line(head: str, text: str) -> nodes.inline:
        """A line of a cell, with the word that says whose it is."""
        begin = [nodes.emphasis("", head)] if head else []
        return nodes.inline("", "", *begin, nodes.Text(text), classes=["line"])

    def claim(self, record: Record) -> nodes.inline:
        """A claim: its number, linked to its card, its verdict and what it says."""
        link = self.link(record["id"], f"chapters/{record['notebook']}", record["anchor"])
        text = nodes.Text(f" {record['statement']}")
        parts = [link, nodes.Text(" "), badge(record["verdict"]), text]
        return nodes.inline("", "", *parts, classes=["line"])


def setup(app: Sphinx) -> None:
    app.add_directive("source", Source)
