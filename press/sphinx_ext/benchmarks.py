"""`{benchmarks} suite`: what `make bench` kept, a column for each `key = head` of its content."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from press.sphinx_ext.parts import number, plain, table


class Benchmarks(SphinxDirective):
    """Rows of benchmarks/results.json as a table."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "benchmarks" / "results.json"
        self.env.note_dependency(str(path))
        name, kept = self.arguments[0], json.loads(path.read_text(encoding="utf-8"))
        if name not in kept:
            return [nodes.paragraph("", "Not measured yet.")]
        suite = kept[name]
        columns = [[part.strip() for part in line.split("=", 1)] for line in self.content]
        rows = [[plain(cell(row.get(key))) for key, _ in columns] for row in suite["rows"]]
        heads = [head for _, head in columns]
        caption = f"{name}, on {suite['machine']}, {suite['date'][:10]}"
        return [table(caption, heads, rows, [100 // len(columns)] * len(columns), "benchmarks")]


def cell(value: float | str | None) -> str:
    """A number with three digits, a name as it is, a dash where a method never arrives."""
    return value if isinstance(value, str) else number(value)


def setup(app: Sphinx) -> None:
    app.add_directive("benchmarks", Benchmarks)
