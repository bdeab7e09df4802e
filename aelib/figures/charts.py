"""curves, bars, heat, field: measurements as pictures, their spread over seeds always in sight."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .look import (
    FAINT,
    GREY,
    INK,
    PAPER,
    SMALL,
    STROKES,
    TEXT,
    WIDTH,
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
    if logy:
        ax.set_yscale("log")
    if ylim is not None:
        ax.set_ylim(ylim)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if key == "auto":
        key = "ends" if _ends_fit(figure, ax, x[-1], ends) else "legend"
    if key == "ends":
        _label_ends(figure, ax, x[-1], ends)
    pad = _legend(figure, ax, [(line, label) for line, label, _ in ends]) if key == "legend" else 0
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
    elif not all(isinstance(v, Mapping) and list(v) == list(values[next(iter(values))])
                 for v in groups.values()):
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
    for i, (group, series) in enumerate(groups.items()):
        path = f"values[{group!r}]" if nested else "values"
        runs = {name: seeds(f"{path}[{name!r}]", v) for name, v in series.items()}
        spread = _spreads(runs, (intervals or {}).get(group) if nested else intervals)
        for j, (name, run) in enumerate(runs.items()):
            y, mean, pale = i * step + j, run.mean(), name in controls
            handles[name] = ax.barh(
                y, mean, thick, facecolor=FAINT if pale else look[name].colour, edgecolor=INK,
                linewidth=0.8, hatch=look[name].hatch or ("////" if pale else None), label=name,
            )
            ax.plot(spread[name], [y, y], color=INK, linewidth=1.4, marker="|", markersize=7)
            ax.scatter(run, np.full(len(run), y), 16, PAPER, edgecolors=INK, linewidths=0.9,
                       zorder=3)
            if number:
                ax.annotate(format(mean, number), (1, y), (8, 0), ax.get_yaxis_transform(),
                            "offset points", va="center", size=SMALL, annotation_clip=False)
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
    pad = _legend(figure, ax, entries) if entries else 0
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure


@style()
def heat(
    matrix: Any,
    xlabels: Sequence[object],
    ylabels: Sequence[object],
    *,
    xlabel: str,
    ylabel: str,
    label: str,
    number: str = ".2f",
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A map of one number over two settings, the number written in each cell.

    Args:
        matrix: (rows, columns); NaN marks a cell that was not measured, left blank with a dash.
        xlabels, ylabels: the settings of the columns and of the rows, first row on top.
        xlabel, ylabel: what those settings are.
        label: what the number is, with its unit; stands at the colour bar.
        number: format of the numbers.
        limits: the values at the ends of the colours (cividis: dark is low, also in grey); the
            least and greatest value if left out.
        title: a line above. ax: draw here instead of in a new figure.

    Raises ValueError when the labels do not fit the matrix, nothing was measured, or the limits
    are not increasing.
    """
    from matplotlib import colormaps

    cells = numbers("matrix", matrix, 2, gaps=True)
    for argument, texts, wanted in (("ylabels", ylabels, 0), ("xlabels", xlabels, 1)):
        if len(texts) != cells.shape[wanted]:
            raise ValueError(f"{argument}: expected {cells.shape[wanted]}, got {len(texts)}")
    if np.isnan(cells).all():
        raise ValueError("matrix: every cell is NaN, nothing was measured")
    low, high = limits or (np.nanmin(cells), np.nanmax(cells))
    if limits and not low < high:
        raise ValueError(f"limits: expected (low, high) with low below high, got {limits}")

    rows, columns = cells.shape
    figure, ax = place(ax, 1.0 + 0.46 * rows + (0.3 if title else 0))
    image = ax.imshow(cells, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(range(columns), [str(t) for t in xlabels])
    ax.set_yticks(range(rows), [str(t) for t in ylabels])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    bar = figure.colorbar(image, ax=ax, label=label, pad=0.02, aspect=max(8, 5 * rows))
    bar.outline.set_visible(False)
    if title:
        ax.set_title(title)

    figure.draw_without_rendering()  # the cells get their size
    cell = ax.bbox.width / figure.dpi / columns
    texts = {(i, j): "–" if np.isnan(v) else format(v, number)
             for (i, j), v in np.ndenumerate(cells)}
    size = min(SMALL, SMALL * 0.88 * cell / max(text_width(t, SMALL) for t in texts.values()))
    if max(text_width(str(t), SMALL) for t in xlabels) > 0.95 * cell:
        ax.tick_params(axis="x", rotation=90)
    for (i, j), text in texts.items():
        colour = colormaps["cividis"](image.norm(cells[i, j]))
        dark = np.isnan(cells[i, j]) or _luminance(colour) > 0.18  # equal contrast about there
        ax.text(j, i, text, ha="center", va="center", size=size, color=INK if dark else "white")
    return figure


@style()
def field(
    points: Any,
    start: Any,
    end: Any,
    *,
    xlabel: str = "first coordinate",
    ylabel: str = "second coordinate",
    points_label: str = "data",
    arrows_label: str = "where the net sends a point",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A map of the plane to itself as arrows, over the points it was trained on.

    Args:
        points: (n, 2), the data.
        start, end: (m, 2), each arrow's foot and tip, in the data's units; the axes span points
            and feet, so an arrow that leaves the picture is cut at its edge.
        xlabel, ylabel: the coordinates. points_label, arrows_label: for the key; both "" for none.
        title: a line above. ax: draw here instead of in a new figure.

    Raises ValueError when the shapes are not (n, 2) and (m, 2).
    """
    points, start, end = (
        numbers(argument, values, 2)
        for argument, values in (("points", points), ("start", start), ("end", end))
    )
    for argument, array in (("points", points), ("start", start), ("end", end)):
        if array.shape[1] != 2:
            raise ValueError(f"{argument}: expected points of the plane (n, 2), got {array.shape}")
    if start.shape != end.shape:
        raise ValueError(f"end: expected one tip for each of {len(start)} feet, got {len(end)}")

    figure, ax = place(ax, 0.8 * WIDTH)
    dots = ax.scatter(*points.T, 20, STROKES[1].colour, edgecolors=INK, linewidths=0.5, zorder=3)
    ax.quiver(*start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1,
              color=STROKES[0].colour, width=0.004, zorder=2)
    seen = np.vstack([points, start])
    middle, reach = (seen.max(0) + seen.min(0)) / 2, (seen.max(0) - seen.min(0)).max() * 0.54
    ax.set_xlim(middle[0] - reach, middle[0] + reach)
    ax.set_ylim(middle[1] - reach, middle[1] + reach)
    ax.set_aspect("equal")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    arrow = ax.plot([], [], color=STROKES[0].colour, marker=">", linewidth=1.6)[0]
    entries = [(h, text) for h, text in ((dots, points_label), (arrow, arrows_label)) if text]
    pad = _legend(figure, ax, entries) if entries else 0
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure


def _spreads(runs: Mapping[str, np.ndarray], intervals: Mapping[str, Any] | None) -> dict:
    """Low and high of each series: the interval given, else the seeds' extremes."""
    if unknown := set(intervals or {}) - set(runs):
        raise ValueError(f"intervals: {sorted(unknown)} not among {list(runs)}")
    spread = {}
    for label, run in runs.items():
        low, high = run.min(0), run.max(0)
        if intervals and label in intervals:
            pair = numbers(f"intervals[{label!r}]", intervals[label], run.ndim)
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


def _spots(figure: Figure, ax: Axes, x: float, ends: Sequence[tuple]) -> tuple[np.ndarray, ...]:
    """Heights of the lines' ends and of labels beside them that do not overlap (axes' shares)."""
    figure.draw_without_rendering()  # the axes get their place and their limits
    at = ax.transData.transform([(x, y) for _, _, y in ends])  # (ends, 2) in dots
    wanted = ax.transAxes.inverted().transform(at)[:, 1]
    step = 1.3 * SMALL / 72 * figure.dpi / ax.bbox.height
    spots, order = wanted.copy(), np.argsort(wanted, kind="stable")
    for _ in range(100):  # neighbours that overlap give way by half each, until all fit
        for a, b in zip(order, order[1:], strict=False):
            short = max(0.0, step - (spots[b] - spots[a])) / 2
            spots[a] -= short
            spots[b] += short
    return wanted, spots, np.full(len(spots), step)


def _ends_fit(figure: Figure, ax: Axes, x: float, ends: Sequence[tuple]) -> bool:
    """Whether labels at the lines' ends leave the lines room and stay beside their lines."""
    wanted, spots, step = _spots(figure, ax, x, ends)
    widest = max(text_width(label, SMALL) for _, label, _ in ends)
    inside = (wanted >= 0).all() and (wanted <= 1).all()
    near = (abs(spots - wanted) <= step).all()
    return bool(inside and near and widest < 0.36 * ax.bbox.width / figure.dpi)


def _label_ends(figure: Figure, ax: Axes, x: float, ends: Sequence[tuple]) -> None:
    """Write each label beside its line's end, with a thin lead from the one to the other."""
    _, spots, _ = _spots(figure, ax, x, ends)
    for (line, label, y), spot in zip(ends, spots, strict=True):
        lead = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.9, "shrinkB": 2}
        ax.annotate(label, (x, y), (1.03, spot), textcoords=ax.transAxes, va="center", size=SMALL,
                    annotation_clip=False, arrowprops=lead | {"relpos": (0, 0.5)})


def _legend(figure: Figure, ax: Axes, entries: Sequence[tuple[Artist, str]]) -> float:
    """The key above the axes, where it covers nothing; returns its height in points."""
    widest = max(text_width(label, SMALL) for _, label in entries) + 5.0 * SMALL / 72
    columns = max(1, min(len(entries), int(ax.bbox.width / figure.dpi / widest)))
    handles, labels = zip(*entries, strict=True)
    ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=columns,
              borderaxespad=0.2)
    return -(-len(entries) // columns) * 1.55 * SMALL


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2): 0 for black, 1 for white."""
    c = np.asarray(colour[:3])
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))
