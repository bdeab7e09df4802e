"""curves: measurements over seeds as lines, their spread as bands around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from aelib import checks
from aelib.figures.legends import End, ends_fit, label_ends
from aelib.figures.legends import legend as draw_legend
from aelib.figures.spreads import over_seeds, spreads
from aelib.figures.theme import GRAY, INK, SMALL, axes_for, strokes, style, text_width

if TYPE_CHECKING:
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
    legend: str = "auto",
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
        legend: "ends" writes each label at its line's end, "above" all above the picture, "none"
            nowhere (for a panel beside one that has it), "auto" chooses ends where they fit.
        ax: draw here instead of in a new figure.

    Raises TypeError or ValueError for a single seed, shapes that do not fit x, values that are not
    finite, or values at or below 0 on a logarithmic axis.

    >>> runs = {"net": [[0, 1, 3], [0, 2, 4]]}  # two seeds, three points
    >>> figure = curves([1, 2, 4], runs, xlabel="step", ylabel="gain (dB)")
    """
    x = checks.array(x, "x", ("points",))
    if (np.diff(x) <= 0).any():
        raise ValueError(checks.message("x", "increasing values", x.tolist()))
    checks.choice(legend, "legend", ("auto", "ends", "above", "none"))
    stroke = strokes(bands, "bands")
    runs = over_seeds(bands, "bands", len(x))
    spread = spreads(runs, intervals)
    formulas = {
        label: checks.array(curve, f"exact[{label!r}]", (len(x),))
        for label, curve in (exact or {}).items()
    }
    lines = {label: checks.number(y, f"lines[{label!r}]") for label, y in (lines or {}).items()}
    heights = np.hstack([*(low for low, _ in spread.values()), *formulas.values(), *lines.values()])
    for name, log, values in (("logx", logx, x), ("logy", logy, heights)):
        if log and values.min() <= 0:
            got = checks.Described(f"{values.min():g}")
            raise ValueError(checks.message(name, "values above 0 on the axis", got))

    figure, ax = axes_for(ax)
    ends: list[End] = []
    for i, (label, run) in enumerate(runs.items()):
        look, mean = stroke[label], run.mean(0)  # (points,)
        ax.fill_between(x, *spread[label], color=look.color, alpha=0.2, linewidth=0, label=label)
        (line,) = ax.plot(
            x,
            mean,
            color=look.color,
            linestyle=look.dash,
            marker=look.marker,
            markeredgecolor=INK,
            markeredgewidth=0.6,
            # Few points: mark each. Many: some, shifted from line to line, so none hides another.
            markevery=None if len(x) <= 12 else (0.02 + 0.025 * i, 0.14),
        )
        ends.append((line, label, mean[-1]))
    for label, curve in formulas.items():
        (line,) = ax.plot(x, curve, color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        ends.append((line, label, curve[-1]))
    for label, height in lines.items():
        line = ax.axhline(height, color=GRAY, linewidth=1.1, linestyle=(0, (6, 4)))
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
    if legend == "auto":
        legend = "ends" if ends_fit(figure, ax, x[-1], ends) else "above"
    if legend == "ends":
        label_ends(figure, ax, x[-1], ends)
    entries = [(line, label) for line, label, _ in ends] if legend == "above" else []
    pad = draw_legend(figure, ax, entries)
    if title:
        ax.set_title(title, pad=6 + pad)
    return figure


def _tick_points(figure: Figure, ax: Axes, x: np.ndarray) -> None:
    """Ticks at the points themselves, 1 4 16 64 rather than powers of ten, where they have room."""
    if len(x) > 12:
        return
    figure.draw_without_rendering()  # the axes get their place
    spots = ax.transData.transform([(v, ax.get_ylim()[0]) for v in x])[:, 0] / figure.dpi  # inches
    widths = np.array([text_width(f"{v:g}", SMALL) for v in x])
    if (np.diff(spots) > (widths[1:] + widths[:-1]) / 2 + 0.08).all():
        ax.set_xticks(x, [f"{v:g}" for v in x])
        ax.set_xticks([], minor=True)
