"""What `make bench` kept: `{benchmarks} suite` as a table, a column for each `key = head` of its
content; of the inversion, `{inversion-curves} m_g_over_m_r` and `{inversion-times} published`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from press.sphinx_ext.parts import number, plain, table

Row = dict[str, Any]

# Of the inversion: methods as a reader knows them, and how many times sooner ours should be there.
METHODS = {
    "aelib": "aelib",
    "badger2022": "the loop as written",
    "badger2022-tuned": "the loop, best-tuned",
    "plenoptic": "plenoptic",
    "lucent": "lucent",
}
CONTROLS = {"mean colour": (0, (1, 2)), "thumbnail": (0, (6, 3))}  # and how their lines are dashed
STARTS = {"published": "-", "paled": "--"}
GOALS = {"badger2022": 50, "badger2022-tuned": 10, "plenoptic": 10, "lucent": 10}
FINDINGS = ("f", "class_rank")  # of the image at the end
AXES = {"m_g_over_m_r": "m_g / m_r", "f": "f"}


class FromBenchmarks(SphinxDirective):
    """What the directives share: a suite of benchmarks/results.json."""

    def suite(self, name: str) -> dict | None:
        """The suite, or None where it has not been measured."""
        path = Path(self.env.srcdir) / "benchmarks" / "results.json"
        self.env.note_dependency(str(path))
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return kept.get(name)


class Benchmarks(FromBenchmarks):
    """Rows of a suite as a table."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        suite = self.suite(name)
        if suite is None:
            return not_measured()
        columns = [[part.strip() for part in line.split("=", 1)] for line in self.content]
        rows = [[plain(cell(row.get(key))) for key, _ in columns] for row in suite["rows"]]
        heads = [head for _, head in columns]
        widths = [100 // len(columns)] * len(columns)
        return [table(f"{name}, {where(suite)}", heads, rows, widths, "benchmarks")]


class InversionCurves(FromBenchmarks):
    """A number along the processor's seconds, a panel a problem; the caption is the content."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"alt": directives.unchanged_required, "name": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        suite = self.suite("inversion")
        if suite is None:
            return not_measured()
        from aelib.figures.output import check_alt, data_uri  # here, because aelib brings torch

        alt = self.options.get("alt", "")
        check_alt(alt, "alt")
        figure = nodes.figure()
        figure += nodes.image(uri=data_uri(curves(suite["rows"], self.arguments[0])), alt=alt)
        words, messages = self.parse_inline(" ".join(self.content), lineno=self.lineno)
        figure += nodes.caption("", "", *words, nodes.Text(f" Measured {where(suite)}."))
        self.add_name(figure)
        return [figure, *messages]


class InversionTimes(FromBenchmarks):
    """How much sooner ours has what each peer ends with, from one of the starts."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        suite = self.suite("inversion")
        if suite is None:
            return not_measured()
        start = self.arguments[0]
        rows = [row for row in suite["rows"] if row["start"] == start]
        heads = ["Net / layer / pixels", "Method", "Its whole time over ours",
                 "Its time to there over ours", "Ours gets there", "f: its, ours",
                 "Class rank: its, ours"]  # fmt: skip
        cells = [[plain(text) for text in line] for line in times(rows)]
        caption = f"Times sooner, {start} start, {where(suite)}"
        result = table(caption, heads, cells, [22, 16, 18, 18, 8, 9, 9], "benchmarks")
        return [nodes.paragraph("", " ".join(goals(rows))), result]


def not_measured() -> list[nodes.Node]:
    return [nodes.paragraph("", "Not measured yet.")]


def where(suite: dict) -> str:
    """Machine and day; and a word where some rows were measured by older code than others."""
    versions = {row.get("version") for row in suite["rows"]}
    mixed = f", by {len(versions)} versions of the code" if len(versions) > 1 else ""
    return f"on {suite['machine']}, {suite['date'][:10]}{mixed}"


def cell(value: float | str | None) -> str:
    """A number with three digits, a name as it is, a dash where a method never arrives."""
    return value if isinstance(value, str) else number(value)


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple, list[Row]]:
    """Rows by what they have under these keys, in the order in which they come."""
    found: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in keys)].append(row)
    return found


# --- Times ---------------------------------------------------------------------------------------


def ratio(row: Row, whole: bool) -> float | None:
    """A peer's whole time, or its time to its own final m_g, over ours; None where never."""
    ours = row["aelib_seconds_to_same_m_g"]
    return None if ours is None else row["cpu_seconds" if whole else "seconds_to_own_m_g"] / ours


def times(rows: list[Row]) -> list[list[str]]:
    """The lines of the table: for each problem and peer, over photographs and seeds."""
    by = grouped(rows, "problem", "method")
    lines = []
    for (problem, method), found in by.items():
        if method not in GOALS:
            continue
        there = sum(row["aelib_seconds_to_same_m_g"] is not None for row in found)
        ours = by[problem, "aelib"]
        lines.append(
            [
                problem,
                f"{METHODS[method]} {found[0]['release'] or ''}".strip(),
                *(spread([ratio(row, whole) for row in found]) for whole in (True, False)),
                f"{there} of {len(found)}",
                *(", ".join(middle(each, key) for each in (found, ours)) for key in FINDINGS),
            ]
        )
    return lines


def middle(rows: list[Row], key: str) -> str:
    """The median, or a dash where there is nothing to rank."""
    known = [row[key] for row in rows if row[key] is not None]
    return number(median(known)) if known else "–"


def spread(values: list[float | None]) -> str:
    """The geometric mean with its 95 % interval, of the values there are."""
    from aelib.measures import interval  # here, because aelib brings torch

    known = [value for value in values if value is not None]
    if len(known) < 2:
        return number(known[0]) if known else "–"
    mean, low, high = interval(known, log=True)
    return f"{number(mean)} [{number(low)}, {number(high)}]"


def goals(rows: list[Row]) -> list[str]:
    """A sentence for each peer: in how many runs ours was as far ahead as it should be."""
    told = []
    for method, goal in GOALS.items():
        found = [row for row in rows if row["method"] == method]
        if not found:
            continue
        ratios = [[ratio(row, whole) or 0.0 for row in found] for whole in (True, False)]
        counts = [sum(value >= goal for value in each) for each in ratios]
        told.append(
            f"{goal} times sooner than {METHODS[method]}, by its whole time: {counts[0]} of "
            f"{len(found)} runs (least {number(min(ratios[0]))}); by its time to there: "
            f"{counts[1]} (least {number(min(ratios[1]))})."
        )
    return told


# --- Curves --------------------------------------------------------------------------------------


def band(rows: list[Row], key: str) -> tuple[list[float], list[tuple[float, ...]]]:
    """Seconds, and the quartiles over the rows at each; the last is where the rows end."""
    points: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        for seconds, value in zip(row["curve"]["cpu_seconds"], row["curve"][key], strict=True):
            points[seconds].append(value)
    end = median(row["cpu_seconds"] for row in rows)
    seconds = [at for at in sorted(points) if len(points[at]) == len(rows) and at < end]
    values = [points[at] for at in seconds] + [[row[key] for row in rows]]
    return [*seconds, end], [quartiles(each) for each in values]


def quartiles(values: list[float]) -> tuple[float, ...]:
    if len(values) < 2:
        return (values[0],) * 3
    return tuple(quantiles(values, n=4, method="inclusive"))


def curves(rows: list[Row], key: str) -> bytes:
    """The picture as a PNG: median and quartiles over photographs and seeds, both starts."""
    from aelib import figures  # here, because aelib brings torch
    from aelib.figures.theme import GRAY, SMALL, TEXT

    problems = list(grouped(rows, "problem"))
    strokes = dict(zip(METHODS, figures.STROKES, strict=False))
    with figures.style():
        height = 2.5 * (len(problems) // 2 + 1)
        figure, axes = figures.canvas(len(problems) // 2 + 1, 2, height=height)
        for ax, (problem,) in zip(axes, problems, strict=False):
            here = [row for row in rows if row["problem"] == problem]
            for (method, start), found in grouped(here, "method", "start").items():
                if method in METHODS:
                    draw(ax, found, key, strokes[method], start)
            for control, dash in CONTROLS.items():
                level = median(row[key] for row in here if row["method"] == control)
                ax.axhline(level, color=GRAY, linewidth=1.1, linestyle=dash)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_title(problem.replace("/", "\n", 1), size=SMALL)
        for ax in axes[len(problems) :]:
            ax.axis("off")
        legend(axes[len(problems)], strokes)
        figure.supxlabel("processor seconds", size=TEXT)
        figure.supylabel(AXES[key], size=TEXT)
        return figures.png(figure)


def draw(ax: Any, rows: list[Row], key: str, stroke: Any, start: str) -> None:
    """One method from one start, with a marker where it ends."""
    seconds, spread = band(rows, key)
    low, middle, high = zip(*spread, strict=True)
    ax.fill_between(seconds, low, high, color=stroke.color, alpha=0.13, linewidth=0)
    look = {"color": stroke.color, "marker": stroke.marker, "markevery": [-1], "linewidth": 1.4}
    ax.plot(seconds, middle, STARTS[start], **look)


def legend(ax: Any, strokes: dict[str, Any]) -> None:
    """Methods and controls in a panel of their own, and what solid and dashed mean."""
    from matplotlib.lines import Line2D

    from aelib.figures.theme import GRAY, INK

    looks = {
        METHODS[method]: {"color": stroke.color, "marker": stroke.marker}
        for method, stroke in strokes.items()
    }
    looks |= {name: {"color": GRAY, "linestyle": dash} for name, dash in CONTROLS.items()}
    looks |= {f"{name} start": {"color": INK, "linestyle": dash} for name, dash in STARTS.items()}
    lines = [Line2D([], [], **{"linewidth": 1.4, **look}) for look in looks.values()]
    ax.legend(lines, looks, loc="center left", labelspacing=0.25)


def setup(app: Sphinx) -> None:
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("inversion-curves", InversionCurves)
    app.add_directive("inversion-times", InversionTimes)
