"""`{ledger}`: a table of claims a chapter, with what was measured, the controls and the verdict.

With `:only: 2` the claims of one chapter; with `:tally:` how many there are and how they fared.
The role {claim}`2.5` is a claim's number, linked to its card, and its verdict; {value}`2.5` is its
main reading with the interval and the unit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from press.address import present
from press.files import ROOT
from press.ledger import COLORS, Record, ledger, order
from press.sphinx_ext.parts import FromNotebooks, number, plain, table

EXPERIMENTS = ROOT / "aelib" / "experiments"
KEPT = EXPERIMENTS / "kept"
FILES = {  # of each claim
    id: path
    for path in sorted(EXPERIMENTS.glob("*.py"))
    for id in re.findall(r'^    id="(\d+\.\d+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
}


def spread(reading: Record) -> str:
    """A value with its interval, such as ``7.01 [6.92, 7.10]``; the value alone where none is."""
    low, high = reading.get("low"), reading.get("high")
    text = number(reading.get("value"))
    if low is None or high is None or low == high:
        return text
    return f"{text} [{number(low)}, {number(high)}]"


def measured(record: Record) -> list[str]:
    """What was measured, over how many units, and whether it is stable."""
    counted = f", {record['n']} {record['units']}" if record["n"] else ", closed form"
    result = [f"{record['quantity']}: {spread(record)} {record['unit']}".strip() + counted]
    if not record["stability"]:
        return [*result, "stability not measured"]
    told = {True: "stable", False: "not stable", None: "too short to tell whether it is stable"}
    turned = [
        f"{row['change'] or 'nothing changed'} ({row['length']}): {row['verdict']}"
        for row in record["stability"]
    ]
    return [*result, f"{told[record['stable']]}; " + ", ".join(turned)]


def ruled(record: Record) -> list[str]:
    """The rule, when it was last changed and after what, and the condition if there is one."""
    seen = "nothing had been seen" if record["seen_before"] == "nothing" else (
        f"results had been seen: {record['seen_before']}"
    )  # fmt: skip
    result = [f"{record['rule']}.", f"Last changed {record['rule_changed']}; {seen}."]
    if record["condition"]:
        result.append(f"{record['verdict'].capitalize()}: {record['condition']}")
    return result


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

    option_spec: ClassVar = {
        "tally": directives.flag,
        "only": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        titles = {int(book.path.stem[:2]): book.title for book in self.books}
        records = ledger(self.books[0].path.parent)
        if only := self.options.get("only"):
            records = [record for record in records if record["chapter"] == int(only)]
        if not records:
            return [nodes.paragraph("", "No claim has been measured yet.")]
        if "tally" in self.options:
            return [self.tally(records)]
        chapters = sorted({record["chapter"] for record in records})
        tables: list[nodes.Node] = [
            self.full(chapter, titles.get(chapter, ""), records) for chapter in chapters
        ]
        if only:
            return tables
        script = (ROOT / "assets" / "ledger.js").read_text(encoding="utf-8")
        work = nodes.raw("", f"<script type='module'>\n{script}</script>", format="html")
        return [self.tally(records), self.filter(records), *tables, work]

    def claim(self, record: Record) -> list[nodes.Node]:
        """The claim's number, linked to its card."""
        return [self.link(record["id"], f"chapters/{record['notebook']}", record["anchor"])]

    def origin(self, id: str) -> list[nodes.Node]:
        """Links to the experiment's file, and to the picture of its kept run if there is one."""
        file = FILES.get(id)
        if file is None:
            return []
        first = next(each for each in sorted(FILES, key=order) if FILES[each] == file)
        pictures = [path for each in (id, first) if (path := KEPT / f"{each}.png").is_file()]
        found = [("experiment", file), *(("picture", path) for path in pictures[:1])]
        here = f"{present(ROOT)}/blob/main"
        links = [
            nodes.reference("", word, refuri=f"{here}/{path.relative_to(ROOT).as_posix()}")
            for word, path in found
        ]
        return [nodes.inline("", "", link, classes=["line"]) for link in links]

    def tally(self, records: list[Record]) -> nodes.paragraph:
        """How many claims there are, and how they fared."""
        parts = [f"{count} {verdict}" for verdict, count in self.counts(records).items()]
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
        word = "claim" if len(records) == 1 else "claims"
        return nodes.paragraph("", f"{len(records)} {word} tested so far: {listed}.")

    @staticmethod
    def counts(records: list[Record]) -> dict[str, int]:
        counts = {
            verdict: sum(record["verdict"] == verdict for record in records) for verdict in COLORS
        }
        return {verdict: count for verdict, count in counts.items() if count}

    def filter(self, records: list[Record]) -> nodes.raw:
        """Buttons that show the claims of one verdict; the page's script gives them their work."""
        buttons = "".join(
            f"<button type='button' data-verdict='{verdict}' aria-pressed='false'>{verdict} "
            f"({count})</button>"
            for verdict, count in self.counts(records).items()
        )
        return nodes.raw(
            "",
            "<div class='ledger-filter' role='group' aria-label='Show one verdict' hidden>"
            f"<button type='button' data-verdict='' aria-pressed='true'>all</button>{buttons}"
            "</div>",
            format="html",
        )

    def full(self, chapter: int, title: str, records: list[Record]) -> nodes.table:
        rows = [
            [
                self.claim(record),
                [badge(record["verdict"])],
                [*plain(record["statement"]), *self.origin(record["id"])],
                lines(measured(record)),
                lines(controls(record)),
                lines(ruled(record)),
            ]
            for record in records
            if record["chapter"] == chapter
        ]
        caption = f"The claims of chapter {chapter}" + (f", {title}" if title else "")
        heads = ["Claim", "Verdict", "Statement", "Measured", "Controls", "Rule"]
        return table(caption, heads, rows, [6, 10, 26, 20, 18, 20], "ledger ledger-claims")


class ClaimRole(SphinxRole):
    """A claim's number, linked to its card, and its verdict."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.env.note_reread()
        found = {record["id"]: record for record in ledger(Path(self.env.srcdir, "chapters"))}
        record = found.get(self.text)
        if record is None:
            message = f"claim {self.text} has not been measured"
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        return self.of(record), []

    def of(self, record: Record) -> list[nodes.Node]:
        """What the role stands for."""
        place = self.env.app.builder.get_relative_uri(
            self.env.docname, f"chapters/{record['notebook']}"
        )
        link = nodes.reference("", f"Claim {record['id']}", internal=True)
        link["refuri"] = f"{place}#{record['anchor']}"
        return [link, nodes.Text(" "), badge(record["verdict"])]


class ValueRole(ClaimRole):
    """A claim's main reading, its interval and its unit."""

    def of(self, record: Record) -> list[nodes.Node]:
        return plain(f"{spread(record)} {record['unit']}".strip())


def setup(app: Sphinx) -> None:
    app.add_directive("ledger", Ledger)
    app.add_role("claim", ClaimRole())
    app.add_role("value", ValueRole())
