"""figures: what a picture must say and show, and that its slider works without a kernel."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from aelib import figures
from aelib.figures import theme
from aelib.figures.explorers import page as explorer_page
from aelib.figures.theme import PAPER

ALT = "Two curves that rise and then stay level."
CAPTION = "The net stays above its control from the fourth point on."
POINTS = np.array([1.0, 2, 4, 8, 16])
RUNS = {
    "net": np.array([[1.0, 2, 3, 4, 5], [1, 3, 2, 5, 7], [2, 2, 2, 2, 9.5]]),
    "control": np.array([[0.0, 0, 1, 1, 1], [0, 1, 1, 2, 2]]),
}
# Colours in linear light, to see a figure as a greyscale print or a colour-blind eye would.
LINEAR = np.vectorize(lambda c: c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)


def draw() -> figures.Shown:
    figure = figures.curves(POINTS, RUNS, xlabel="step", ylabel="gain (dB)")
    return figures.show(figure, name="fig-test", alt=ALT, caption=CAPTION)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def luminance(color: str) -> float:
    return float(LINEAR(matplotlib.colors.to_rgb(color)) @ (0.2126, 0.7152, 0.0722))


def texts(figure: matplotlib.figure.Figure) -> set[str]:
    return {t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()}


def legend(ax: matplotlib.axes.Axes) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


def cut_off(figure: matplotlib.figure.Figure) -> list[str]:
    """Texts that reach beyond the paper."""
    figure.draw_without_rendering()
    paper = figure.bbox.padded(1)
    outside = {  # ticks that matplotlib keeps beyond the axes' ends, and does not draw
        tick.label1
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    cut = []
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip() and text not in outside:
            box = text.get_window_extent()
            if box.x0 < paper.x0 or box.x1 > paper.x1 or box.y0 < paper.y0 or box.y1 > paper.y1:
                cut.append(text.get_text())
    return cut


def overlaps(figure: matplotlib.figure.Figure, among: set[str]) -> list[tuple[str, str]]:
    """Pairs among these texts whose boxes share more than a dot."""
    figure.draw_without_rendering()
    boxes = [
        (t.get_text(), t.get_window_extent())
        for t in figure.findobj(matplotlib.text.Text)
        if t.get_visible() and t.get_text() in among
    ]
    return [
        (a, b)
        for i, (a, first) in enumerate(boxes)
        for b, second in boxes[:i]
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 1
    ]


# --- show -----------------------------------------------------------------------------------------


def test_shown_carries_picture_name_alt_and_caption(monkeypatch):
    monkeypatch.setenv("AELIB_INTERACTIVE", "0")
    data, metadata = draw()._repr_mimebundle_(include=None, exclude=None)
    assert data["text/plain"] == "<Figure fig-test>"
    assert set(data) == {"text/plain", "image/png"}
    assert metadata == {"figure": {"name": "fig-test", "alt": ALT, "caption": CAPTION}}
    assert pixels(base64.b64decode(data["image/png"])).shape[1] == int(6.4 * 144)


def test_ipython_takes_the_bundle_as_it_is(monkeypatch):
    from IPython.core.formatters import DisplayFormatter

    monkeypatch.setenv("AELIB_INTERACTIVE", "0")
    data, metadata = DisplayFormatter().format(draw())
    assert data["text/plain"] == "<Figure fig-test>"
    assert metadata["figure"]["alt"] == ALT


def test_live_the_caption_is_shown_too(monkeypatch):
    monkeypatch.setenv("AELIB_INTERACTIVE", "1")
    figure = figures.curves(POINTS, RUNS, xlabel="step", ylabel="gain (dB)")
    shown = figures.show(figure, name="fig-a", alt='It "rises" & stays < 3.', caption="a < b & c")
    html = shown._repr_mimebundle_()[0]["text/html"]
    assert "<figcaption>a &lt; b &amp; c</figcaption>" in html
    assert 'alt="It &quot;rises&quot; &amp; stays &lt; 3."' in html


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"figure": None}, "figure: .* a matplotlib Figure"),
        ({"alt": "two_curves_that_rise_and_stay.png"}, "alt: .* a sentence"),
        ({"alt": "Two curves that rise"[:19]}, "alt: .* a sentence"),
        ({"alt": None}, "alt: .* a sentence"),
        ({"caption": "  "}, "caption: .* a sentence"),
        ({"caption": ALT.upper()}, "caption: .* the same as alt"),
        ({"name": "curves"}, "name: .*'fig-'"),
        ({"name": "fig-Two Curves"}, "name: .*lower-case"),
    ],
)
def test_show_refuses_missing_and_unsuitable_texts(wrong, words):
    given = {"figure": figures.canvas()[0], "name": "fig-a", "alt": ALT, "caption": CAPTION}
    with pytest.raises((TypeError, ValueError), match=words):
        figures.show(**(given | wrong))


def test_same_data_same_bytes_and_nothing_extra_in_the_file():
    first, second = draw().picture, draw().picture
    assert first == second
    assert Image.open(io.BytesIO(first)).info == {}  # no software, no date
    figure = figures.curves(POINTS, RUNS, xlabel="step", ylabel="gain (dB)")
    again = [figures.show(figure, name="fig-b", alt=ALT, caption=CAPTION).picture for _ in range(2)]
    assert again == [first, first]  # drawing a figure does not change it


def test_the_readers_own_settings_change_no_picture_and_stay_as_they_were():
    before = draw().picture
    # The first is one of the book's settings, the others are left to matplotlib's defaults.
    theirs = {"axes.facecolor": "red", "xtick.direction": "in", "axes.xmargin": 0.4}
    with matplotlib.rc_context(theirs):
        mine = dict(matplotlib.rcParams)
        assert draw().picture == before
        assert dict(matplotlib.rcParams) == mine


def test_paper_is_opaque_and_ink_readable_on_it():
    corner = pixels(draw().picture)[0, 0]
    assert corner.tobytes().hex() == PAPER[1:]
    for ink in (theme.INK, theme.GRAY):
        assert (luminance(PAPER) + 0.05) / (luminance(ink) + 0.05) > 4.5  # WCAG AA for text


def test_importing_the_package_does_not_import_matplotlib():
    code = "import sys, aelib.figures; sys.exit('matplotlib' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_lines_are_stored_small_and_images_exactly():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    chart = figures.curves(POINTS, RUNS, xlabel="step", ylabel="gain (dB)")
    photos = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for figure, allowed in ((chart, 16), (figures.grid([photos]), 0)):
        stored = pixels(figures.png(figure)).astype(int)
        with figures.style():
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
        drawn = np.asarray(canvas.buffer_rgba())[..., :3]
        assert abs(stored - drawn).max() <= allowed
    assert Image.open(io.BytesIO(figures.png(chart))).mode == "P"


def test_photographs_are_shown_as_a_jpeg_and_squares_and_lines_exactly(monkeypatch):
    monkeypatch.setenv("AELIB_INTERACTIVE", "0")
    generator = torch.Generator().manual_seed(0)
    squares = torch.rand(6, 3, 8, 8, generator=generator)
    photographs = torch.nn.functional.interpolate(squares, size=96, mode="bicubic")
    grids = {"image/jpeg": figures.grid([photographs]), "image/png": figures.grid([squares])}
    for kind, figure in grids.items():
        data, _ = figures.show(figure, name="fig-a", alt=ALT, caption=CAPTION)._repr_mimebundle_()
        assert set(data) == {"text/plain", kind}
        stored = pixels(base64.b64decode(data[kind])).astype(int)
        exact = pixels(figures.png(figure)).astype(int)
        assert stored.shape == exact.shape
        assert abs(stored - exact).mean() < (4 if kind == "image/jpeg" else 1e-9)
    assert "image/png" in draw()._repr_mimebundle_()[0]


def test_no_figure_reaches_pyplot():
    import matplotlib.pyplot as plt

    plt.close("all")
    draw()
    assert plt.get_fignums() == []


# --- strokes --------------------------------------------------------------------------------------


def test_every_stroke_is_known_by_marker_dash_or_hatch_alone():
    for mark in ("marker", "dash", "hatch", "color"):
        marks = [getattr(stroke, mark) for stroke in figures.STROKES]
        assert len(set(marks)) == len(marks), mark


def test_the_first_strokes_differ_in_greyscale_and_all_stand_out_from_paper():
    grey = [luminance(stroke.color) for stroke in figures.STROKES]
    contrast = [(luminance(PAPER) + 0.05) / (g + 0.05) for g in grey]
    assert min(contrast) > 2  # the pale ones also have dark marker edges
    assert abs(grey[0] - grey[1]) > 0.05


# --- grid -----------------------------------------------------------------------------------------


def cells(figure: matplotlib.figure.Figure) -> np.ndarray:
    """The pixels inside a grid's axes."""
    image = pixels(figures.png(figure))
    x0, y0, x1, y1 = (round(v) for v in figure.axes[0].get_window_extent().extents)
    return image[len(image) - y1 : len(image) - y0, x0:x1]


def test_a_red_image_is_red_and_a_grey_one_grey_in_the_file():
    red = torch.zeros(2, 3, 8, 8)
    red[:, 0] = 1
    grey = torch.full((2, 1, 8, 8), 0.5)
    shown = cells(figures.grid([red, grey]))
    high, wide = shown.shape[:2]
    assert (shown[high // 4, wide // 4] == (255, 0, 0)).all()
    assert (shown[high * 3 // 4, wide // 4] == (128, 128, 128)).all()


@pytest.mark.parametrize(
    ("count", "size", "labels"), [(3, 8, None), (8, 32, ["a\nb"]), (10, 16, None)]
)
def test_each_pixel_is_a_square_of_one_colour(count, size, labels):
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    figure = figures.grid([images], labels=labels)
    shown, expected = cells(figure), np.rint(images.numpy() * 255)
    times = shown.shape[0] // size
    assert shown.shape[0] == size * times
    gap = (shown.shape[1] - count * size * times) / (count - 1)
    for i in range(count):
        left = round(i * (size * times + gap))
        image = shown[:, left : left + size * times]
        for shift in (0, times - 1):  # a square's first and last dot
            dots = image[shift::times, shift::times].transpose(2, 0, 1)  # (3, size, size)
            np.testing.assert_array_equal(dots, expected[i])


def test_values_outside_are_clipped():
    shown = cells(figures.grid([torch.tensor([-3.0, 7.0]).reshape(2, 1, 1, 1)]))
    assert (shown[5, 5] == 0).all()
    assert (shown[5, -5] == 255).all()


def test_grid_labels_rows_and_columns_inside_the_paper():
    images = torch.rand(4, 1, 8, 8)
    rows, columns = ["what came in", "what came\nout"], ["1", "16", "256", "a long one, set on end"]
    figure = figures.grid([images, images[:2]], labels=rows, columns=columns, title="Digits")
    assert texts(figure) >= {*rows, *columns, "Digits"}
    assert not cut_off(figure)
    assert not overlaps(figure, {*rows, *columns, "Digits"})


def test_a_note_lies_in_the_lower_left_corner_of_its_image():
    images = torch.rand(2, 1, 8, 8)
    figure = figures.grid([images, images], notes=[["", "0.12"], ["0.3", "1"]])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    spots = {note.get_text(): note.xy for note in ax.texts}
    dots = ax.images[0].get_array().shape  # 8 pixels, a gap, 8 pixels, each way
    side = dots[1] / 2 / 1.04
    assert spots.keys() == {"0.12", "0.3", "1"}
    assert spots["0.3"] == pytest.approx((-0.5, dots[0] - 0.5))
    assert spots["0.12"] == pytest.approx((dots[1] - side - 0.5, side - 0.5), abs=2)
    assert not cut_off(figure)


def test_a_long_title_over_one_image_is_not_cut():
    title = "A title that is a good deal wider than the only image"
    assert not cut_off(figures.grid([torch.rand(1, 1, 8, 8)], title=title))


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([], {}, "rows: .*one batch"),
        ([torch.rand(2, 2, 8, 8)], {}, r"rows\[0\]: .*1 or 3 channels"),
        ([torch.zeros(2, 1, 8, 8, dtype=torch.uint8)], {}, r"rows\[0\].*/ 255"),
        ([torch.rand(2, 1, 8, 8), torch.rand(2, 1, 9, 9)], {}, "rows: .*one size"),
        ([torch.rand(2, 1, 8, 8)], {"labels": ["a", "b"]}, "labels: .*1 texts"),
        ([torch.rand(2, 1, 8, 8)], {"columns": ["a"]}, "columns: .*2 texts"),
        ([torch.rand(2, 1, 8, 8)], {"notes": [["a"]]}, r"notes\[0\]: .*2 texts"),
        ([torch.rand(99, 1, 8, 8)], {}, "rows: .*fits in"),
    ],
)
def test_grid_refuses(rows, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        figures.grid(rows, **options)


# --- curves ---------------------------------------------------------------------------------------


def band(ax: matplotlib.axes.Axes, label: str) -> np.ndarray:
    (area,) = (c for c in ax.collections if c.get_label() == label)
    return area.get_paths()[0].vertices


def test_band_reaches_from_the_least_to_the_greatest_seed():
    ax = figures.curves(POINTS, RUNS, xlabel="x", ylabel="y").axes[0]
    for label, runs in RUNS.items():
        corners = band(ax, label)
        for i, x in enumerate(POINTS):
            heights = corners[corners[:, 0] == x, 1]
            assert heights.min() == runs[:, i].min()
            assert heights.max() == runs[:, i].max()


def test_line_is_the_mean_and_a_given_interval_replaces_the_range():
    low, high = RUNS["net"].mean(0) - 0.25, RUNS["net"].mean(0) + 0.5
    figure = figures.curves(
        POINTS,
        RUNS,
        xlabel="x",
        ylabel="y",
        intervals={"net": (low, high)},
        exact={"bound": POINTS},
    )
    ax = figure.axes[0]
    for line, expected in zip(
        ax.lines, [*(r.mean(0) for r in RUNS.values()), POINTS], strict=False
    ):
        np.testing.assert_array_equal(line.get_ydata(), expected)
    corners = band(ax, "net")
    assert corners[:, 1].max() == high.max()
    assert corners[:, 1].min() == low.min()
    assert band(ax, "control")[:, 1].max() == 2


def test_labels_stand_at_the_ends_where_they_fit_and_above_where_not():
    apart = figures.curves(POINTS, RUNS, xlabel="x", ylabel="y", lines={"no gain": 0})
    assert apart.axes[0].get_legend() is None
    assert texts(apart) >= {"net", "control", "no gain", "x", "y"}
    assert not overlaps(apart, {"net", "control", "no gain"})
    assert not cut_off(apart)

    same_end = {"net": RUNS["net"], "control": RUNS["net"][:, ::-1], "third": RUNS["net"]}
    together = figures.curves(POINTS, same_end, xlabel="x", ylabel="y", title="A title")
    assert legend(together.axes[0]) == list(same_end)
    assert not overlaps(together, {*same_end, "A title"})
    assert not cut_off(together)

    unnamed = figures.curves(POINTS, RUNS, xlabel="x", ylabel="y", legend="none")
    assert not texts(unnamed) & set(RUNS)


def test_seven_series_and_a_formula_have_a_readable_key():
    runs = {f"series number {i}": RUNS["net"] + 0.01 * i for i in range(7)}
    figure = figures.curves(
        POINTS, runs, xlabel="x", ylabel="y", exact={"formula": POINTS}, title="Title"
    )
    assert legend(figure.axes[0]) == [*runs, "formula"]
    assert not cut_off(figure)
    assert not overlaps(figure, {*runs, "formula", "Title"})


def test_few_points_on_a_logarithmic_axis_are_its_ticks():
    ax = figures.curves(POINTS, RUNS, xlabel="x", ylabel="y", logx=True).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "4", "8", "16"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": {"net": RUNS["net"][:1]}}, r"bands\['net'\]: .*two seeds"),
        ({"bands": {"net": RUNS["net"].T}}, r"bands\['net'\]: .*\(seeds, 5\)"),
        ({"bands": {}}, "bands: .*series"),
        ({"bands": {str(i): RUNS["net"] for i in range(8)}}, "bands: .*told apart"),
        ({"x": POINTS[::-1]}, "x: .*increasing"),
        ({"logy": True}, "logy: .*above 0"),
        ({"x": POINTS - 1, "logx": True}, "logx: .*above 0"),
        ({"intervals": {"neet": (POINTS, POINTS)}}, "intervals: .*'net'"),
        ({"intervals": {"net": (POINTS + 1, POINTS)}}, r"intervals\['net'\]: .*low"),
        ({"exact": {"bound": [1.0, 2.0]}}, r"exact\['bound'\]: .*\(5\)"),
        ({"lines": {"bound": np.inf}}, r"lines\['bound'\]: .*finite"),
        ({"legend": "left"}, "legend: .*'ends'"),
    ],
)
def test_curves_refuses(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        figures.curves(**({"x": POINTS, "bands": RUNS, "xlabel": "x", "ylabel": "y"} | options))


# --- bars -----------------------------------------------------------------------------------------

BARS = {"a net trained to copy": [1.0, 2, 6], "mean image": [-1.0, -2]}


def test_bars_show_mean_seeds_interval_and_the_number():
    figure = figures.bars(BARS, xlabel="gain (dB)", number="+.1f", controls=["mean image"])
    ax = figure.axes[0]
    assert [patch.get_width() for patch in ax.patches] == [3.0, -1.5]
    dots = [c.get_offsets()[:, 0].tolist() for c in ax.collections]
    assert dots == list(BARS.values())
    assert ax.lines[0].get_xdata().tolist() == [1, 6]
    assert [bool(patch.get_hatch()) for patch in ax.patches] == [False, True]
    assert texts(figure) >= {*BARS, "+3.0", "−1.5", "gain (dB)"}
    assert not cut_off(figure)


def test_a_number_that_rounds_to_zero_has_no_minus():
    figure = figures.bars({"a": [-0.004, -0.001], "b": [-0.03, -0.01]}, xlabel="R²")
    assert texts(figure) >= {"0.00", "−0.02"}
    assert "−0.00" not in texts(figure)


def test_groups_are_told_apart_by_hatching_and_named_in_the_key():
    values = {
        "noise": {"batch": [1.0, 2], "none": [3.0, 4]},
        "shift": {"batch": [5.0, 6], "none": [7, 8]},
    }
    figure = figures.grouped_bars(
        values, xlabel="gain", intervals={"noise": {"batch": (0.5, 3)}}, lines={"bound": 9}
    )
    ax = figure.axes[0]
    assert [patch.get_width() for patch in ax.patches] == [1.5, 3.5, 5.5, 7.5]
    assert ax.lines[0].get_xdata().tolist() == [0.5, 3]
    assert ax.lines[1].get_xdata().tolist() == [3, 4]
    assert len({patch.get_hatch() for patch in ax.patches}) == 2
    assert legend(ax) == ["batch", "none", "bound"]
    assert not cut_off(figure)


def test_an_interval_of_the_measures_room_will_do():
    from aelib.measures import Interval

    figure = figures.bars(BARS, xlabel="gain", intervals={"mean image": Interval(-1.5, -3.0, 0.0)})
    assert figure.axes[0].lines[1].get_xdata().tolist() == [-3, 0]


@pytest.mark.parametrize(
    ("draw", "values", "options", "words"),
    [
        (figures.bars, {}, {}, "values: .*one bar"),
        (figures.bars, {"net": [1.0]}, {}, r"values\['net'\]: .*two seeds"),
        (figures.bars, {"net": {"a": [1, 2]}}, {}, r"values\['net'\]: .*\(seeds\)"),
        (figures.bars, BARS, {"controls": ["blur"]}, "controls: .*'blur'"),
        (figures.bars, BARS, {"intervals": {"blur": (0, 1)}}, "intervals: .*'blur'"),
        (figures.grouped_bars, {}, {}, "values: .*series"),
        (figures.grouped_bars, {"a": BARS, "b": {"y": [1, 2]}}, {}, "values: .*same series"),
        (figures.grouped_bars, {"a": BARS}, {"controls": ["a"]}, "controls: .*mean image"),
        (figures.grouped_bars, {"a": BARS}, {"intervals": {"b": {}}}, "intervals: .*'a'"),
    ],
)
def test_bars_refuse(draw, values, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw(values, xlabel="gain", **options)


# --- heat, field, canvas --------------------------------------------------------------------------

MAP = np.array([[0.0, 0.25, 0.5], [0.75, 1.0, np.nan]])


def test_heat_writes_each_number_where_it_can_be_read():
    figure = figures.heat(
        MAP, [1, 4, 16], [2, 5], xlabel="images", ylabel="layers", label="share H"
    )
    ax = figure.axes[0]
    written = {t.get_position(): t for t in ax.texts}
    for (i, j), value in np.ndenumerate(MAP):
        text = written[(j, i)]
        assert text.get_text() == ("–" if np.isnan(value) else f"{value:.2f}")
        if not np.isnan(value):
            cell = luminance(ax.images[0].cmap(ax.images[0].norm(value))[:3])
            ink = luminance(text.get_color())
            assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) >= 4.5
    assert texts(figure) >= {"images", "layers", "share H", "1", "16", "2", "5"}
    assert not cut_off(figure)


def test_heat_is_contrasty_at_every_value():
    values = np.linspace(0, 1, 60).reshape(6, 10)
    ax = figures.heat(values, range(10), range(6), xlabel="x", ylabel="y", label="z").axes[0]
    for text in ax.texts:
        j, i = text.get_position()
        cell = luminance(ax.images[0].cmap(values[i, j])[:3])
        ink = luminance(text.get_color())
        assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) >= 4.5


def test_numbers_in_two_maps_side_by_side_keep_apart():
    figure, axes = figures.canvas(1, 2)
    values = np.arange(18).reshape(3, 6) / 17
    for ax in axes:
        figures.heat(values, range(6), range(3), xlabel="x", ylabel="y", label="share", ax=ax)
    figures.png(figure)  # the numbers take their size when they are drawn
    assert not overlaps(figure, {f"{v:.2f}" for v in values.flat})
    assert not cut_off(figure)


def test_numbers_keep_apart_where_a_later_panel_takes_the_room():
    figure, (left, right) = figures.canvas(1, 2, height=3.0)
    values = np.arange(18).reshape(3, 6) / 17
    figures.heat(values, range(6), range(3), xlabel="x", ylabel="y", label="", ax=left)
    figures.bars(BARS, xlabel="gain", ax=right)  # long names: the map gets narrower
    figures.png(figure)
    assert not overlaps(figure, {f"{v:.2f}" for v in values.flat})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"matrix": MAP[0]}, r"matrix: .*\(rows, columns\)"),
        ({"matrix": MAP * np.nan}, "matrix: .*measured"),
        ({"matrix": MAP + np.inf}, "matrix: .*infinite"),
        ({"xlabels": [1]}, "xlabels: .*3 texts"),
        ({"ylabels": [1]}, "ylabels: .*2 texts"),
        ({"limits": (1, 0)}, "limits: .*low"),
    ],
)
def test_heat_refuses(options, words):
    given = {"matrix": MAP, "xlabels": [1, 4, 16], "ylabels": [2, 5]}
    given |= {"xlabel": "x", "ylabel": "y", "label": "z"}
    with pytest.raises((TypeError, ValueError), match=words):
        figures.heat(**(given | options))


def test_field_draws_each_arrow_from_foot_to_tip():
    feet = np.array([[0.0, 0], [1, 0], [0, 1]])
    tips = np.array([[0.5, 0.5], [1, 1], [0, 2]])
    figure = figures.field(torch.rand(5, 2), feet, tips, title="A copier")
    ax = figure.axes[0]
    (arrows,) = (c for c in ax.collections if isinstance(c, matplotlib.quiver.Quiver))
    np.testing.assert_array_equal(arrows.XY, feet)
    np.testing.assert_array_equal(np.stack([arrows.U, arrows.V], 1), tips - feet)
    assert (arrows.angles, arrows.scale_units, arrows.scale) == ("xy", "xy", 1)
    assert legend(ax) == ["data", "where the model sends a point"]
    assert not cut_off(figure)


@pytest.mark.parametrize(
    ("points", "start", "end", "words"),
    [
        (torch.rand(5, 3), torch.rand(4, 2), torch.rand(4, 2), r"points: .*\(n, 2\)"),
        (torch.rand(5, 2), torch.rand(4, 2), torch.rand(3, 2), r"end: .*\(4, 2\)"),
        (torch.rand(5, 2), torch.rand(4, 2), torch.full((4, 2), torch.inf), "end: .*finite"),
    ],
)
def test_field_refuses(points, start, end, words):
    with pytest.raises(ValueError, match=words):
        figures.field(points, start, end)


def test_every_kind_draws_into_a_panel():
    figure, axes = figures.canvas(3, 2)
    assert figures.curves(POINTS, RUNS, xlabel="x", ylabel="y", title="a", ax=axes[0]) is figure
    figures.bars(BARS, xlabel="gain", title="b", ax=axes[1])
    figures.heat(MAP, [1, 4, 16], [2, 5], xlabel="x", ylabel="y", label="z", title="c", ax=axes[2])
    figures.grid([torch.rand(3, 1, 8, 8)] * 2, labels=["in", "out"], title="d", ax=axes[3])
    figures.field(torch.rand(5, 2), torch.rand(4, 2), torch.rand(4, 2), title="e", ax=axes[4])
    assert texts(figure) >= {"a", "b", "c", "d", "e", "in", "out", "mean image"}
    assert not cut_off(figure)


def test_canvas_and_panels_refuse():
    for options in ({"nrows": 0}, {"ncols": 0}, {"width": 0}, {"height": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            figures.canvas(**options)
    with pytest.raises(TypeError, match="unpack"):
        figures.bars(BARS, xlabel="gain", ax=figures.canvas()[1])


# --- explore --------------------------------------------------------------------------------------

SHADES = {0.0: 0, 0.5: 128, 1.0: 255}


def square(value: float) -> matplotlib.figure.Figure:
    return figures.grid([torch.full((1, 1, 4, 4), float(value))])


def say(value: float) -> str:
    return f'A square "as grey" as {value:g}, and </script> nothing else.'


def explorer(name: str = "play-grey", **options) -> figures.Explorer:
    given = {"label": "grey", "values": list(SHADES), "alt": say} | options
    return figures.explore(given.pop("draw", square), name=name, **given)


def test_explorer_is_one_piece_of_html_the_same_twice_and_plain_text_has_no_number():
    from IPython.core.formatters import DisplayFormatter

    first, second = (DisplayFormatter().format(explorer())[0] for _ in range(2))
    assert first == second
    assert set(first) == {"text/plain", "text/html"}
    assert first["text/plain"] == "<Explorer play-grey>"
    page = first["text/html"]
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing from elsewhere
    assert page.count("</script>") == 2  # its data and its script, and none in a text
    assert "${" not in page.split("<script>")[0]  # every place of the template is filled
    assert page.count("data:image/png") == len(SHADES)  # each picture once


def test_explorer_takes_figures_as_well_as_a_function():
    assert explorer(draw=[square(v) for v in SHADES]).html == explorer().html


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "fig-grey"}, "name: .*'play-'"),
        ({"label": " "}, "label: .*in words"),
        ({"values": [1.0]}, "values: .*two or more"),
        ({"alt": lambda v: "A square of some grey."}, "alt: .*the same for every value"),
        ({"alt": lambda v: f"Grey {v}"}, r"alt\(0\): .*a sentence"),
        ({"draw": lambda v: None}, r"draw\(0\): .*Figure"),
        ({"draw": [square(0.0)]}, "draw: .*3 figures"),
        ({"draw": lambda v: figures.canvas(height=2 + v)[0]}, "draw: .*one size"),
    ],
)
def test_explore_refuses(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        explorer(**options)


def test_an_explorer_too_heavy_for_a_page_is_refused(monkeypatch):
    weight = len(explorer().html)
    monkeypatch.setattr(explorer_page, "LARGEST", weight)
    explorer()
    monkeypatch.setattr(explorer_page, "LARGEST", weight - 1)
    with pytest.raises(ValueError, match=r"values: .*fewer values"):
        explorer()


@pytest.fixture
def page_file(tmp_path):
    """Two explorers on one page, in a file."""
    both = explorer().html + explorer("play-other", caption="Below.").html
    path = tmp_path / "page.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
    path.write_text(f"{head}<body>{both}</body></html>", encoding="utf-8")
    return path.as_uri()


def middle(page, name: str) -> int:
    """The grey that the browser shows in the middle of an explorer's picture."""
    image = page.locator(f"#{name} img")
    shot = pixels(image.screenshot())
    return int(shot[shot.shape[0] // 2, shot.shape[1] // 2, 0])


def test_slider_turns_picture_alt_and_value_from_a_file(chromium, page_file):
    page = chromium.new_page(viewport={"width": 360, "height": 740})
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else errors.append(r))
    page.goto(page_file)
    slider = page.get_by_label("grey").first
    assert page.locator("#play-grey img").get_attribute("alt") == say(0)
    assert abs(middle(page, "play-grey") - SHADES[0.0]) <= 2

    slider.focus()
    for value, grey in list(SHADES.items())[1:]:
        page.keyboard.press("ArrowRight")
        assert page.locator("#play-grey img").get_attribute("alt") == say(value)
        assert page.locator("#play-grey output").inner_text() == f"{value:g}"
        assert slider.get_attribute("aria-valuetext") == f"{value:g}"
        assert abs(middle(page, "play-grey") - grey) <= 2
    spoken = page.locator("#play-grey [data-part=spoken]")
    page.wait_for_function("e => e.textContent", arg=spoken.element_handle())
    assert spoken.text_content() == say(1.0)
    assert spoken.get_attribute("aria-live") == "polite"

    # The other explorer of the page has not moved, and no id is there twice.
    assert page.locator("#play-other output").inner_text() == "0"
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(set(ids)) == len(ids) == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert errors == []
    page.close()


def test_without_javascript_there_is_the_first_picture_and_no_dead_slider(chromium, page_file):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file)
    assert abs(middle(page, "play-grey") - SHADES[0.0]) <= 2
    assert not page.locator("#play-grey-slider").is_visible()
    assert page.get_by_text("first of 3 pictures").first.is_visible()
    context.close()


def test_explorer_takes_the_pages_colours_in_dark_mode(chromium, page_file):
    page = chromium.new_page()
    page.goto(page_file)
    page.evaluate("document.body.style.cssText = 'background: #111; color: rgb(240, 241, 242)'")
    for element in ("#play-other label", "#play-other output", "#play-other figcaption"):
        color = page.eval_on_selector(element, "e => getComputedStyle(e).color")
        assert color == "rgb(240, 241, 242)", element
    page.close()


def test_a_drawing_is_made_of_blocks_arrows_notes_and_pictures():
    figure, ax = figures.sheet(height=3)
    figures.block(ax, (2, 1.5), (2, 2), "encoder", narrowing=0.5, color=0)
    figures.block(ax, (6, 1.5), (2, 2), "decoder", narrowing=-0.5)
    figures.arrow(ax, (3.1, 1.5), (4.9, 1.5), "code", bend=0.2)
    figures.picture(ax, torch.rand(3, 8, 4), (9, 1.5), 1)
    figures.note(ax, (5, 0.3), "what is copied")
    assert texts(figure) == {"encoder", "decoder", "code", "what is copied"}
    assert not cut_off(figure)
    narrow, wide = (patch.get_path().vertices for patch in ax.patches)
    assert np.ptp(narrow[:2, 1]) == pytest.approx(2 * np.ptp(narrow[2:4, 1]))
    assert np.ptp(wide[2:4, 1]) == pytest.approx(2 * np.ptp(wide[:2, 1]))
    (image,) = ax.images
    assert image.get_extent() == pytest.approx([8.75, 9.25, 1, 2])
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 10), (0, 3))  # a picture moves no axis


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"narrowing": 1}, "narrowing: expected"), ({"color": 7}, "the book's last stroke")],
)
def test_a_block_that_cannot_be_drawn_is_refused(arguments, message):
    _, ax = figures.sheet()
    with pytest.raises(ValueError, match=message):
        figures.block(ax, (1, 1), (1, 1), **arguments)


def test_a_sheet_without_height_is_refused():
    with pytest.raises(ValueError, match="height: expected a finite number, above 0"):
        figures.sheet(height=0)
