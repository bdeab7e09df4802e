"""curves, bars: measurements over seeds as pictures, their spread always in sight."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib.figures.numbers import format_number

from .keys import ends_fit, label_ends, legend
from .look import (
    FAINT,
    GREY,
    INK,
    PAPER,
    SMALL,
    STROKES,
    numbers,
    place,
    seeds,
    strokes,
    style,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def curves(
    x: Any,
    bands: Mapping[str, Any],
    *,
    xlabel: str,
    ylabel: str,
    intervals: Mapping[str, Any] | None = None,
    exact: Mapping[str, Any] | None = None,
    lines: Mapping[str, float] | None = None,
    logx: bool = False,
    logy: bool = False,
    ylim: tuple[float, float] | None = None,
    title: str | None = None,
    key: str = "auto",
    ax: Axes | None = None,
) -> Figure:
    """For each series the mean over seeds as a line, and its spread as a band around it.

    Args:
        x: (points,), increasing.
        bands: label to measurements (seeds, points), two seeds or more, seven series at most.
        xlabel, ylabel: what is measured, with its unit.
        intervals: label to (2, points), low and high, for the band; the seeds' least and greatest
            value where a label is left out.
        exact: label to (points,), a curve that has no seeds: a formula, a bound.
        lines: label to a height, a thin dashed reference line across the picture.
        logx, logy: logarithmic axes; all values must then be above 0.
        ylim: the y axis' ends. title: a line above.
        key: "ends" writes each label at its line's end, "legend" above the picture, "none"
            nowhere (for a panel beside one that has it), "auto" chooses ends where they fit.
        ax: draw here instead of in a new figure.

    Raises ValueError for a single seed, shapes that do not fit x, values that are not finite, or
    values at or below 0 on a logarithmic axis.
    """
    x = numbers("x", x, 1)
    if (np.diff(x) <= 0).any():
        raise ValueError(f"x: expected increasing values, got {x.tolist()}")
    if key not in ("auto", "ends", "legend", "none"):
        raise ValueError(f"key: expected 'auto', 'ends', 'legend' or 'none', got {key!r}")
    look = strokes(list(bands))
    runs = {label: seeds(f"bands[{label!r}]", v, len(x)) for label, v in bands.items()}
    spread = _spreads(runs, intervals)
    exact = {label: numbers(f"exact[{label!r}]", v, 1) for label, v in (exact or {}).items()}
    lines = {label: _number(f"lines[{label!r}]", v) for label, v in (lines or {}).items()}
    for label, curve in exact.items():
        if len(curve) != len(x):
            raise ValueError(f"exact[{label!r}]: expected {len(x)} points, got {len(curve)}")
    heights = [*(low for low, _ in spread.values()), *exact.values(), *lines.values()]
    for argument, log, values in (("logx", logx, x), ("logy", logy, np.hstack(heights))):
        if log and values.min() <= 0:
            raise ValueError(f"{argument}: expected values above 0, the least is {values.min():g}")

    figure, ax = place(ax)
    ends: list[tuple[Artist, str, float]] = []
    for i, (label, run) in enumerate(runs.items()):
        stroke, mean = look[label], run.mean(0)  # (points,)
        ax.fill_between(x, *spread[label], color=stroke.colour, alpha=0.2, linewidth=0, label=label)
        (line,) = ax.plot(
            x,
            mean,
            color=stroke.colour,
            linestyle=stroke.dash,
            marker=stroke.marker,
            markeredgecolor=INK,
            markeredgewidth=0.6,
            # Few points: mark each. Many: some, shifted from line to line, so none hides another.
            markevery=None if len(x) <= 12 else (0.02 + 0.025 * i, 0.14),
        )
        ends.append((line, label, mean[-1]))
    for label, curve in exact.items():
        (line,) = ax.plot(x, curve, color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        ends.append((line, label, curve[-1]))
    for label, height in lines.items():
        line = ax.axhline(height, color=GREY, linewidth=1.1, linestyle=(0, (6, 4)))
        ends.append((line, label, height))
    if logx:
        ax.set_xscale("log")
        _tick_points(figure, ax, x)
    if logy:
        ax.set_yscale("log")
    if ylim is not None:
        ax.set_ylim(ylim)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if key == "auto":
        key = "ends" if ends_fit(figure, ax, x[-1], ends) else "legend"
    if key == "ends":
        label_ends(figure, ax, x[-1], ends)
    pad = legend(figure, ax, [(line, label) for line, label, _ in ends]) if key == "legend" else 0
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure


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
        values: name to measurements (seeds,), two seeds or more; or group to {series: (seeds,)},
            where every group has the same series, told apart by colour and hatching.
        xlabel: what a bar's length measures, with its unit.
        intervals: (low, high) for the whisker, in the same nesting as values; the seeds' least
            and greatest value where left out.
        lines: label to a length, a thin dashed reference line across the bars.
        controls: names (series, in groups) to draw pale and hatched: the trivial explanations.
        number: format of the mean at the right; "" leaves it out.
        title: a line above. ax: draw here instead of in a new figure.

    Raises ValueError for a single seed, groups with different series, or an unknown control.
    """
    nested = any(isinstance(v, Mapping) for v in values.values())
    groups = dict(values) if nested else {"": values}
    if not nested:
        names = list(values)
    elif not all(
        isinstance(v, Mapping) and list(v) == list(values[next(iter(values))])
        for v in groups.values()
    ):
        raise ValueError("values: expected the same series in the same order in every group")
    else:
        names = list(values[next(iter(values))])
    if not names:
        raise ValueError("values: nothing to draw, the dictionary is empty")
    if unknown := set(controls) - set(names):
        raise ValueError(f"controls: {sorted(unknown)} not among {names}")
    look = strokes(names) if nested else dict.fromkeys(names, STROKES[0])
    lines = {label: _number(f"lines[{label!r}]", v) for label, v in (lines or {}).items()}
    thick, step = (0.84, len(names) + 0.6) if nested else (0.7, len(names))
    tall = (0.24 if nested else 0.36) * step * len(groups)
    if unknown := set(intervals or {}) - set(values):
        raise ValueError(f"intervals: {sorted(unknown)} not among {list(values)}")

    figure, ax = place(ax, tall + 0.75 + (0.3 if title else 0) + (0.5 if nested or lines else 0))
    handles: dict[str, Artist] = {}
    means: list[tuple[float, str]] = []
    for i, (group, series) in enumerate(groups.items()):
        path = f"values[{group!r}]" if nested else "values"
        runs = {name: seeds(f"{path}[{name!r}]", v) for name, v in series.items()}
        spread = _spreads(runs, (intervals or {}).get(group) if nested else intervals)
        for j, (name, run) in enumerate(runs.items()):
            y, mean, pale = i * step + j, run.mean(), name in controls
            handles[name] = ax.barh(
                y,
                mean,
                thick,
                facecolor=FAINT if pale else look[name].colour,
                edgecolor=INK,
                linewidth=0.8,
                hatch=look[name].hatch or ("////" if pale else None),
                label=name,
            )
            ax.plot(spread[name], [y, y], color=INK, linewidth=1.4, marker="|", markersize=7)
            ax.scatter(
                run, np.full(len(run), y), 16, PAPER, edgecolors=INK, linewidths=0.9, zorder=3
            )
            means.append((y, format_number(mean, number) if number else ""))
    column = 8 + 72 * max(text_width(text, SMALL) for _, text in means)  # points
    for y, text in means:
        ax.annotate(
            text,
            (1, y),
            (column, 0),
            ax.get_yaxis_transform(),
            "offset points",
            ha="right",
            va="center",
            size=SMALL,
            annotation_clip=False,
        )
    for label, length in lines.items():
        handles[label] = ax.axvline(length, color=GREY, linewidth=1.1, linestyle=(0, (6, 4)))
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_ylim(len(groups) * step - (step - len(names)) - 0.45, -0.55)  # the first bar on top
    middles = [i * step + (len(names) - 1) / 2 for i in range(len(groups))]
    ax.set_yticks(middles if nested else range(len(names)), groups if nested else names)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(xlabel)
    entries = [(h, name) for name, h in handles.items() if nested or name in lines]
    pad = legend(figure, ax, entries) if entries else 0
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure


def _tick_points(figure: Figure, ax: Axes, x: np.ndarray) -> None:
    """Ticks at the points themselves, 1 4 16 64 rather than powers of ten, where they have room."""
    if len(x) > 12:
        return
    figure.draw_without_rendering()  # the axes get their place
    at = ax.transData.transform([(v, ax.get_ylim()[0]) for v in x])[:, 0] / figure.dpi  # inches
    wide = np.array([text_width(f"{v:g}", SMALL) for v in x])
    if (np.diff(at) > (wide[1:] + wide[:-1]) / 2 + 0.08).all():
        ax.set_xticks(x, [f"{v:g}" for v in x])
        ax.set_xticks([], minor=True)


def _spreads(runs: Mapping[str, np.ndarray], intervals: Mapping[str, Any] | None) -> dict:
    """Low and high of each series: the interval given, else the seeds' extremes."""
    if unknown := set(intervals or {}) - set(runs):
        raise ValueError(f"intervals: {sorted(unknown)} not among {list(runs)}")
    spread = {}
    for label, run in runs.items():
        low, high = run.min(0), run.max(0)
        if intervals and label in intervals:
            given = intervals[label]
            if hasattr(given, "low"):  # an Interval of aelib.measures
                given = (given.low, given.high)
            pair = numbers(f"intervals[{label!r}]", given, run.ndim)
            if pair.shape != (2, *run.shape[1:]) or (pair[0] > pair[1]).any():
                raise ValueError(
                    f"intervals[{label!r}]: expected (low, high), each of shape {run.shape[1:]}, "
                    f"low not above high, got {pair.tolist()}"
                )
            low, high = pair
        spread[label] = (low, high)
    return spread


def _number(argument: str, value: Any) -> float:
    """One finite number, or an error that names the argument."""
    return float(numbers(argument, value, 0))
