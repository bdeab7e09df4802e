"""bars, grouped_bars: means over seeds as lying bars, each seed a dot, the spread a whisker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import checks
from aelib.figures.legends import legend
from aelib.figures.numbers import format_number
from aelib.figures.spreads import over_seeds, spreads
from aelib.figures.theme import (
    FAINT,
    GRAY,
    INK,
    PAPER,
    SMALL,
    STROKES,
    Stroke,
    axes_for,
    strokes,
    style,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def bars(
    values: Mapping[str, Any],
    *,
    xlabel: str,
    intervals: Mapping[str, Any] | None = None,
    lines: Mapping[str, float] | None = None,
    controls: Collection[str] = (),
    number: str = ".2f",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Lying bars of the means over seeds, each seed a dot, the spread a whisker, the mean written.

    Bars lie so that their names stay readable on a phone.

    Args:
        values: name to measurements (seeds,), two seeds or more.
        xlabel: what a bar's length measures, with its unit.
        intervals: name to (low, high) for the whisker; the seeds' least and greatest value where
            left out.
        lines: label to a length, a thin dashed reference line across the bars.
        controls: names to draw pale and hatched: the trivial explanations.
        number: format of the mean at the right; "" leaves it out.
        title: a line above. ax: draw here instead of in a new figure.

    Raises TypeError or ValueError for a single seed or an unknown control.

    >>> figure = bars({"net": [1.0, 2.0, 6.0], "mean image": [-1.0, -2.0]}, xlabel="gain (dB)")
    """
    if not values:
        raise ValueError(checks.message("values", "one bar or more", values))
    pale = {checks.choice(name, "controls", values) for name in controls}
    runs = over_seeds(values, "values")
    whiskers = spreads(runs, intervals)
    rows = [
        _Bar(float(y), name, run, whiskers[name], STROKES[0], name in pale)
        for y, (name, run) in enumerate(runs.items())
    ]
    ticks = {bar.name: bar.y for bar in rows}
    return _draw(rows, ticks, (), 0.7, 0.36 * len(rows), xlabel, lines, number, title, ax)


@style()
def grouped_bars(
    values: Mapping[str, Mapping[str, Any]],
    *,
    xlabel: str,
    intervals: Mapping[str, Mapping[str, Any]] | None = None,
    lines: Mapping[str, float] | None = None,
    controls: Collection[str] = (),
    number: str = ".2f",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Bars as in `bars`, in groups that have the same series, told apart by colour and hatching.

    Args:
        values: group to {series: measurements (seeds,)}, two seeds or more.
        intervals: group to {series: (low, high)} for the whisker.
        controls: series to draw pale and hatched.
        xlabel, lines, number, title, ax: as in `bars`.

    Raises TypeError or ValueError for a single seed, groups with different series, or an unknown
    control.

    >>> figure = grouped_bars({"noise": {"net": [3, 4], "blur": [1, 2]}}, xlabel="gain (dB)")
    """
    names = list(next(iter(values.values()), ()))
    if any(list(series) != names for series in values.values()):
        raise ValueError(checks.message("values", "the same series in every group", values))
    stroke = strokes(names, "values")
    pale = {checks.choice(name, "controls", names) for name in controls}
    for group in intervals or ():
        checks.choice(group, "intervals", values)
    step, rows, ticks = len(names) + 0.6, [], {}
    for i, (group, series) in enumerate(values.items()):
        runs = over_seeds(series, f"values[{group!r}]")
        whiskers = spreads(runs, (intervals or {}).get(group))
        ticks[group] = i * step + (len(names) - 1) / 2
        rows += [
            _Bar(i * step + j, name, run, whiskers[name], stroke[name], name in pale)
            for j, (name, run) in enumerate(runs.items())
        ]
    height = 0.24 * step * len(values)
    return _draw(rows, ticks, names, 0.84, height, xlabel, lines, number, title, ax)


@dataclass(frozen=True)
class _Bar:
    y: float
    name: str
    run: np.ndarray  # (seeds,)
    whisker: tuple[np.ndarray, np.ndarray]  # low, high
    stroke: Stroke
    pale: bool


def _draw(
    rows: list[_Bar],
    ticks: Mapping[str, float],
    series: Collection[str],
    thickness: float,
    height: float,
    xlabel: str,
    lines: Mapping[str, float] | None,
    number: str,
    title: str | None,
    ax: Axes | None,
) -> Figure:
    """The bars, `height` inches of them; the legend names `series` and the reference lines."""
    lines = {label: checks.number(x, f"lines[{label!r}]") for label, x in (lines or {}).items()}
    height += 0.75 + (0.3 if title else 0) + (0.5 if series or lines else 0)
    figure, ax = axes_for(ax, height)
    handles = {}
    for bar in rows:
        handles[bar.name] = ax.barh(
            bar.y,
            bar.run.mean(),
            thickness,
            facecolor=FAINT if bar.pale else bar.stroke.color,
            edgecolor=INK,
            linewidth=0.8,
            hatch=bar.stroke.hatch or ("////" if bar.pale else None),
            label=bar.name,
        )
        ax.plot(bar.whisker, [bar.y] * 2, color=INK, linewidth=1.4, marker="|", markersize=7)
        y = np.full(len(bar.run), bar.y)
        ax.scatter(bar.run, y, 16, PAPER, edgecolors=INK, linewidths=0.9, zorder=3)
    texts = [format_number(bar.run.mean(), number) if number else "" for bar in rows]
    column = 8 + 72 * max(text_width(text, SMALL) for text in texts)  # points right of the axes
    for bar, text in zip(rows, texts, strict=True):
        ax.annotate(
            text,
            (1, bar.y),
            (column, 0),
            ax.get_yaxis_transform(),
            "offset points",
            ha="right",
            va="center",
            size=SMALL,
            annotation_clip=False,
        )
    for label, x in lines.items():
        handles[label] = ax.axvline(x, color=GRAY, linewidth=1.1, linestyle=(0, (6, 4)))
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_ylim(rows[-1].y + 0.55, -0.55)  # the first bar on top
    ax.set_yticks(list(ticks.values()), list(ticks))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(xlabel)
    pad = legend(figure, ax, [(handles[name], name) for name in (*series, *lines)])
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure
