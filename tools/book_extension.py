"""The book's own Sphinx directives: the ledger of claims and the run times of the notebooks.

- ``{ledger}`` prints one table a chapter: claim, statement, value with interval, controls, verdict.
  With ``:mini:`` one short table of all claims. With ``:only: 2`` the claims of one chapter.
- ``{run-time}`` prints, in a notebook, how long its last run took and on what machine.
- ``{benchmarks} suite`` prints what `make bench` kept, a column for each line of its content.
- ``{run-times}`` prints the same for all chapters in one table.
- ``{names} aelib.data`` prints a table of what a room of the package offers.
- ``{introduced}`` prints, in a chapter, what of the package the chapter introduces: all whose
  docstring names it. There "chapter 2" becomes a link back.

Nothing is typed in: every word and number comes from the notebooks as stored, and from the code.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

VERDICT_COLOURS = {"supported": "success", "conditional": "warning", "refuted": "danger"}
Record = dict[str, Any]


# --- What the notebooks hold ---------------------------------------------------------------------


@dataclass(frozen=True)
class Notebook:
    """A stored notebook, read once for its title, its last run and the places of its cards."""

    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def title(self) -> str:
        """The first heading."""
        for cell in self.content["cells"]:
            if cell["cell_type"] == "markdown":
                found = re.search(r"^# +(.+)$", "".join(cell["source"]), re.MULTILINE)
                if found:
                    return found[1].strip()
        return self.path.stem

    @property
    def run(self) -> dict[str, Any]:
        """``{"seconds": …, "machine": …}`` of the last run; empty where it never ran."""
        return self.content["metadata"].get("aelib", {})

    def anchors(self) -> dict[str, str]:
        """Each claim whose card is shown here, with the id its HTML carries ('' where none)."""
        found = {}
        for cell in self.content["cells"]:
            for output in cell.get("outputs", []):
                claim = output.get("metadata", {}).get("claim")
                if claim:
                    html = "".join(output.get("data", {}).get("text/html", ""))
                    anchor = re.search(r"""\bid=["']([^"']+)["']""", html)
                    found[str(claim["id"])] = anchor[1] if anchor else ""
        return found


def notebooks(source: Path) -> list[Notebook]:
    """The chapters that are notebooks, in order."""
    return [Notebook(path) for path in sorted((source / "chapters").glob("*.ipynb"))]


def order(record: Record) -> tuple[int, ...]:
    """Sorts claim 2.10 behind claim 2.9."""
    return tuple(int(part) for part in re.findall(r"\d+", str(record["id"])))


def number(value: Any) -> str:
    """A number as on a claim's card; a dash where there is none."""
    from aelib.claims.claim import told

    return "–" if value is None else told(float(value))


def spread(reading: Record) -> str:
    """A value with its interval, such as ``7.01 [6.92, 7.10]``; the value alone where none is."""
    low, high = reading.get("low"), reading.get("high")
    text = number(reading.get("value"))
    if low is None or high is None or low == high:
        return text
    return f"{text} [{number(low)}, {number(high)}]"


def measured(record: Record) -> list[str]:
    """What was measured, a line for the chapter's run and one for the kept long run if any."""
    unit = record.get("unit") or ""
    what = record.get("quantity")
    line = f"{what}: {spread(record)} {unit}" if what else f"{spread(record)} {unit}"
    lines = [f"{line.strip()}, {seeds(record)}"]
    if long := record.get("long"):
        lines.append(f"kept run: {spread(long)} {unit}".strip() + f", {seeds(long)}")
    return lines


def seeds(record: Record) -> str:
    """How many seeds stand behind a number."""
    count = record.get("seeds") or 0
    if record.get("kind") == "closed form" or not count:
        return "closed form"
    return f"{count} seed{'s' if count != 1 else ''}"


def controls(record: Record) -> list[str]:
    """The controls, one a line, each with its value."""
    return [f"{name}: {spread(reading)}" for name, reading in record["controls"].items()]


# --- Nodes ---------------------------------------------------------------------------------------


def badge(verdict: str) -> nodes.inline:
    """The verdict as a word on a coloured ground; the word alone says it all."""
    colour = VERDICT_COLOURS.get(verdict, "secondary")
    classes = ["sd-sphinx-override", "sd-badge", f"sd-bg-{colour}", f"sd-bg-text-{colour}"]
    return nodes.inline("", verdict, classes=classes)


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
    return nodes.table("", nodes.title("", caption), group, classes=[name])


def plain(text: str) -> list[nodes.Node]:
    return [nodes.Text(text)]


def lines(texts: list[str]) -> list[nodes.Node]:
    """Several lines in one cell."""
    return [nodes.inline("", text, classes=["line"]) for text in texts]


class FromNotebooks(SphinxDirective):
    """What the directives share: where the notebooks are, and links to them."""

    has_content = False

    @property
    def source(self) -> Path:
        return Path(self.env.srcdir)

    def watch(self) -> None:
        """Have this page read again whenever a notebook changes."""
        self.env.note_reread()
        for notebook in notebooks(self.source):
            self.env.note_dependency(str(notebook.path))

    def link(self, words: str, document: str, anchor: str = "") -> nodes.reference:
        """A link to a place on another page of the book."""
        address = self.env.app.builder.get_relative_uri(self.env.docname, document)
        address += f"#{anchor}" if anchor else ""
        return nodes.reference("", words, refuri=address, internal=True)

    def document(self, notebook: Notebook) -> str:
        """The notebook's name among the book's pages."""
        return notebook.path.relative_to(self.source).with_suffix("").as_posix()


class Ledger(FromNotebooks):
    """Every claim of the book with what was measured; the module says which options there are."""

    option_spec: ClassVar = {"mini": directives.flag, "only": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        from aelib.claims import ledger

        self.watch()
        records = sorted(ledger(self.source / "chapters"), key=order)
        if only := self.options.get("only"):
            records = [record for record in records if str(order(record)[0]) == only.strip()]
        if not records:
            return [nodes.paragraph("", "No claim has been measured yet.")]
        if "mini" in self.options:
            return [self.tally(records), self.short(records)]
        chapters = sorted({order(record)[0] for record in records})
        tables = [self.full(chapter, records) for chapter in chapters]
        return tables if only else [self.tally(records), *tables]

    @cached_property
    def places(self) -> dict[str, tuple[str, str]]:
        """For each claim, the page and the anchor of its card."""
        return {
            claim: (self.document(notebook), anchor)
            for notebook in notebooks(self.source)
            for claim, anchor in notebook.anchors().items()
        }

    def claim(self, record: Record) -> list[nodes.Node]:
        """The claim's number, linked to its card."""
        identity = str(record["id"])
        if identity not in self.places:
            return plain(identity)
        return [self.link(identity, *self.places[identity])]

    def tally(self, records: list[Record]) -> nodes.paragraph:
        """How many claims there are, and how they fared."""
        counts = {
            verdict: sum(record["verdict"] == verdict for record in records)
            for verdict in VERDICT_COLOURS
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

    def full(self, chapter: int, records: list[Record]) -> nodes.table:
        rows = [
            [
                self.claim(record),
                [badge(record["verdict"])],
                plain(record["statement"]),
                lines(measured(record)),
                lines(controls(record)),
            ]
            for record in records
            if order(record)[0] == chapter
        ]
        titles = {order({"id": book.path.stem})[:1]: book.title for book in notebooks(self.source)}
        title = titles.get((chapter,), "")
        caption = f"The claims of chapter {chapter}" + (f", {title}" if title else "")
        head = ["Claim", "Verdict", "Statement", "Measured", "Controls"]
        return table(caption, head, rows, [6, 12, 36, 22, 24], "ledger")


class RunTime(FromNotebooks):
    """One line in a chapter: how long its last run took, and where."""

    def run(self) -> list[nodes.Node]:
        notebook = Notebook(Path(self.env.doc2path(self.env.docname)))
        self.env.note_dependency(str(notebook.path))
        if notebook.path.suffix != ".ipynb":
            raise self.error("run-time stands in a notebook; this page is not one")
        ran = notebook.run
        words = (
            f"This page ran in {ran['seconds']} s on {ran['machine']}."
            if ran
            else "This page has not been run yet."
        )
        return [nodes.paragraph("", words, classes=["run-time"])]


class RunTimes(FromNotebooks):
    """The chapters, how long each ran, and on what machine."""

    def run(self) -> list[nodes.Node]:
        self.watch()
        books = notebooks(self.source)
        if not books:
            return [nodes.paragraph("", "No chapter has been run yet.")]
        rows = [
            [
                [self.link(book.title, self.document(book))],
                plain(f"{book.run['seconds']} s" if book.run else "not run yet"),
                plain(book.run.get("machine", "–")),
            ]
            for book in books
        ]
        total = sum(book.run.get("seconds", 0) for book in books)
        rows.append([plain("All of them"), plain(f"{total} s"), plain("added up")])
        return [
            table(
                "The last run of each chapter", ["Chapter", "Time", "Machine"], rows, [50, 15, 35],
                "run-times",
            )
        ]  # fmt: skip


class Benchmarks(SphinxDirective):
    """Rows of benchmarks/results.json as a table: `{benchmarks} suite`, a `key = head` a line."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "benchmarks" / "results.json"
        self.env.note_dependency(str(path))
        suite = self.arguments[0]
        kept = json.loads(path.read_text(encoding="utf-8"))
        if suite not in kept:
            return [nodes.paragraph("", "Not measured yet.")]
        rows, where = kept[suite]["rows"], f"{kept[suite]['machine']}, {kept[suite]['date'][:10]}"
        columns = [[part.strip() for part in line.split("=", 1)] for line in self.content]
        cells = [[plain(self.cell(row.get(key))) for key, _ in columns] for row in rows]
        heads = [head for _, head in columns]
        widths = [100 // len(columns)] * len(columns)
        return [table(f"{suite}, on {where}", heads, cells, widths, "benchmarks")]

    @staticmethod
    def cell(value: Any) -> str:
        """A number with three digits, a name as it is, a dash where a method never arrives."""
        return value if isinstance(value, str) else number(value)


# --- The package ---------------------------------------------------------------------------------


def belongs(thing: Any, module: str) -> bool:
    """Whether a function or class is defined in a module or in one below it."""
    home = getattr(thing, "__module__", None) or ""
    return home == module or home.startswith(module + ".")


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
        number = re.match(r"chapters/0*(\d+)", self.env.docname)
        if not number:
            raise self.error("introduced stands in a chapter; this page is not one")
        import aelib

        told = nodes.paragraph(classes=["introduced"])
        for room in aelib.__all__:
            module = getattr(aelib, room)
            names = [
                name
                for name in (getattr(module, "__all__", ()) if inspect.ismodule(module) else ())
                if re.search(rf"chapter {number[1]}\b", inspect.getdoc(getattr(module, name)) or "")
            ]
            for place, name in enumerate(names):
                told += nodes.Text(f"{room}: " if place == 0 else ", ")
                told += self.link(f"aelib.{room}", name)
            told += nodes.Text(". " if names else "")
        return [told]


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
            if belongs(thing, room) and (inspect.isfunction(thing) or inspect.isclass(thing)):
                first = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
                rows.append([[self.link(room, name)], plain(first)])
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

    def link(found: re.Match) -> str:
        file = chapters.get(found[1])
        return f":doc:`{found[0]} </chapters/{file}>`" if file else found[0]

    for index, line in enumerate(text):
        if line.lstrip().startswith(">>>"):
            continue
        parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
        parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
        parts[::2] = [re.sub(r"\bchapter (\d)\b", link, part) for part in parts[::2]]
        parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
        text[index] = "".join(parts)


def only_own(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool:
    """Leave out what a module merely imports from elsewhere."""
    module = app.env.temp_data.get("autodoc:module")
    foreign = what == "module" and module and not belongs(thing, module)
    return skip or bool(foreign)


def without_thebe(app: Sphinx, config: Any) -> None:
    """Unplug sphinx-thebe, which Jupyter Book always loads: its script fails on every page."""
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            listener
            for listener in listeners
            if listener.handler.__module__ != "sphinx_thebe"
            or listener.handler.__name__ == "st_static_path"  # its style sheet is asked for
        ]


# What the theme writes that a screen reader stumbles over, and what it should say. Found by the
# browser tests; where a later theme has mended it, nothing matches and nothing happens.
REPAIRS = (
    # A button's name has to begin with what is written on it.
    (r'(<button class="[^"]*search-button-field[^"]*") title="Search" aria-label="Search"', r"\1"),
    (r'(<i class="theme-switch [^>]*?) +title="[^"]*"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    # A list whose children are no list items.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    # Every exercise gets the same id for its body; the exercise has one of its own.
    (r'<section id="(?:exercise|solution)-content">', "<section>"),
)


def repair(app: Sphinx, error: Exception | None) -> None:
    """Mend the built pages where the theme stands in a reader's way."""
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            text = before = path.read_text(encoding="utf-8")
            for wrong, right in REPAIRS:
                text = re.sub(wrong, right, text)
            if text != before:
                path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", repair)
    app.connect("config-inited", without_thebe)
    app.add_directive("introduced", Introduced)
    app.add_directive("names", Names)
    app.connect("autodoc-process-docstring", as_written, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", only_own)
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("ledger", Ledger)
    app.add_directive("run-time", RunTime)
    app.add_directive("run-times", RunTimes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
