"""explore: a slider over pictures that works on a static page, and on live code with a kernel."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aelib import runtime

from .shown import check_alt, check_name, data_uri, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 900_000  # bytes of HTML one explorer may weigh; a page has to stay under 2 MB

# Ids come from the explorer's name, so several live on one page. The script looks for explorers
# that it has not woken yet, so running a cell twice in one notebook wakes the new one. Until it
# has run, the controls stay hidden: where scripts do not run, or were stripped, there is a picture
# and no dead slider.
# Colours are the page's own, so the page's dark mode is ours; the style rule takes away the pale
# slab that the book's theme puts under HTML outputs in dark mode, where tables may need one.
_PAGE = """\
<figure class="aelib-explorer" id="{name}" style="margin:0;max-width:{width}px;color:inherit">
<style>html[data-theme="dark"] .text_html:has(> .aelib-explorer) {{
 background: none !important; color: inherit !important; padding: 0 !important }}</style>
<img src="{first}" alt="{alt}" width="{width}" height="{height}"
 style="display:block;max-width:100%;height:auto;margin:0;padding:0">
<div data-part="controls" hidden>
<div style="display:flex;flex-wrap:wrap;gap:.25rem .75rem;align-items:center;margin-top:.5rem">
<label for="{name}-slider">{label}</label>
<input type="range" id="{name}-slider" min="0" max="{last}" step="1" value="0" autocomplete="off"
 aria-valuetext="{shown}"
 style="flex:1 1 10rem;min-width:8rem;height:2rem;margin:0;
  accent-color:var(--pst-color-primary,#0072B2)">
<output for="{name}-slider" aria-live="off"
 style="min-width:{digits}ch;text-align:right;font-variant-numeric:tabular-nums">{shown}</output>
</div></div>
<span data-part="spoken" aria-live="polite" style="position:absolute;width:1px;height:1px;\
overflow:hidden;clip-path:inset(50%);white-space:nowrap"></span>
<p data-part="still">The slider needs JavaScript; this is the first of {count} pictures.</p>
{caption}<script>
(function () {{
  var frames = {frames};
  document.querySelectorAll('[id="{name}"]:not([data-awake])').forEach(function (root) {{
    root.setAttribute("data-awake", "");
    var picture = root.querySelector("img"), slider = root.querySelector("input");
    var shown = root.querySelector("output"), timer;
    var spoken = root.querySelector('[data-part="spoken"]');
    function turn() {{
      var frame = frames[+slider.value];
      picture.src = frame.src;
      picture.alt = frame.alt;
      shown.textContent = frame.shown;
      slider.setAttribute("aria-valuetext", frame.shown);
      clearTimeout(timer);  // a screen reader hears where the slider stops, not the way there
      timer = setTimeout(function () {{ spoken.textContent = frame.alt; }}, 600);
    }}
    slider.addEventListener("input", turn);
    root.querySelector('[data-part="controls"]').hidden = false;
    root.querySelector('[data-part="still"]').hidden = true;
  }});
}})();
</script></figure>"""


@dataclass(frozen=True)
class Explorer:
    """A slider and its pictures: what a notebook displays. Make one with `explore`."""

    name: str
    label: str
    shown: tuple[str, ...]  # what the page says for each value
    alts: tuple[str, ...]
    caption: str
    frames: tuple[bytes, ...] = field(repr=False)  # PNG
    size: tuple[int, int] = field(repr=False)  # of each frame, in pixels
    live: Callable[[], Any] | None = field(repr=False)  # makes the widget

    def html(self) -> str:
        """The static explorer: one self-contained piece of HTML, no network, no kernel."""
        frames = [
            {"src": data_uri(frame), "alt": alt, "shown": shown}
            for frame, alt, shown in zip(self.frames, self.alts, self.shown, strict=True)
        ]
        return _PAGE.format(
            name=self.name,
            first=frames[0]["src"],
            alt=html.escape(self.alts[0]),
            label=html.escape(self.label),
            shown=html.escape(self.shown[0]),
            width=self.size[0],
            height=self.size[1],
            last=len(frames) - 1,
            count=len(frames),
            digits=max(map(len, self.shown)),
            caption=_below(self.caption),
            frames=json.dumps(frames).replace("<", "\\u003c"),  # no text can end the script
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Data for the notebook; IPython itself applies include and exclude."""
        data: dict[str, Any] = {"text/plain": f"<Explorer {self.name}>", "text/html": self.html()}
        if self.live is not None and runtime.interactive():
            try:
                widget = self.live()
            except ImportError:  # no ipywidgets: the static slider serves
                return data
            data |= widget._repr_mimebundle_() | {"text/plain": data["text/plain"]}
        return data


def explore(
    draw: Callable[[Any], Figure] | Sequence[Figure],
    *,
    name: str,
    label: str,
    values: Sequence[Any],
    alt: Callable[[Any], str],
    caption: str = "",
    live: Sequence[Any] | None = None,
    text: Callable[[Any], str] | None = None,
) -> Explorer:
    """A slider as the last expression of a notebook cell.

    Every value's picture is drawn now and goes into one self-contained HTML output, which works
    on the built page, from `file://`, with the keyboard and with a screen reader. A reader with a
    kernel gets an ipywidgets slider instead (where ipywidgets is installed), which calls `draw`
    afresh for every value of `live`.

    The HTML holds PNG data, which differs from machine to machine, and nbval compares HTML
    strictly: the cell must carry `# NBVAL_IGNORE_OUTPUT`.

    Args:
        draw: value to Figure; or the figures themselves, one a value (then nothing is live).
        name: `play-` and then letters, digits and hyphens; the page's ids come from it.
        label: what the slider changes, in words.
        values: what it can be set to, two or more, in order; ten or so keep the page light.
        alt: value to a sentence saying what that picture shows.
        caption: a line below the static picture, plain text.
        live: finer values for the live slider; `values` if left out.
        text: value to what the page shows for it; numbers in short and strings as they are if
            left out.

    Raises TypeError if draw gives something else than a Figure; ValueError if a text is missing,
    all alt texts are the same, frames differ in size, or together they are too heavy for a page.
    """
    from matplotlib.figure import Figure

    check_name(name, "play-")
    if not isinstance(label, str) or not label.strip():
        raise ValueError("label: expected what the slider changes, in words, got nothing")
    text = text or _short
    values = list(values)
    if len(values) < 2:
        raise ValueError(f"values: expected two or more to slide between, got {len(values)}")
    if not callable(draw) and len(draw) != len(values):
        raise ValueError(f"draw: expected {len(values)} figures, one a value, got {len(draw)}")

    def picture(figure: Any, value: Any) -> bytes:
        if not isinstance(figure, Figure):
            raise TypeError(
                f"draw: expected a matplotlib Figure for {text(value)}, got {type(figure).__name__}"
            )
        return png(figure)

    alts = tuple(alt(value) for value in values)
    for value, sentence in zip(values, alts, strict=True):
        check_alt(f"alt({text(value)})", sentence)
    if len(set(alts)) == 1:
        raise ValueError("alt: the same for every value; say what the slider changes")
    frames = tuple(
        picture(draw(value) if callable(draw) else draw[i], value) for i, value in enumerate(values)
    )
    sizes = {_size(frame) for frame in frames}
    if len(sizes) > 1:
        raise ValueError(f"draw: expected frames of one size, got {sorted(sizes)} pixels")

    def widget() -> Any:
        return _widget(
            label, live or values, text, lambda v: (picture(draw(v), v), alt(v)), caption
        )

    made = Explorer(
        name=name,
        label=label,
        shown=tuple(text(value) for value in values),
        alts=alts,
        caption=caption,
        frames=frames,
        size=sizes.pop(),
        live=widget if callable(draw) else None,
    )
    if (weight := len(made.html())) > LARGEST:
        raise ValueError(
            f"{name} weighs {weight // 1000} kB, more than the {LARGEST // 1000} a page can spare; "
            "take fewer values or smaller figures"
        )
    return made


def _short(value: Any) -> str:
    """What a page shows for a value nobody has written a text for."""
    return value if isinstance(value, str) else f"{value:g}"


def _below(caption: str) -> str:
    """The caption as HTML, or nothing."""
    return (
        f'<figcaption style="color:inherit">{html.escape(caption)}</figcaption>\n'
        if caption
        else ""
    )


def _size(picture: bytes) -> tuple[int, int]:
    """(width, height) of a PNG, from its header."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def _widget(
    label: str,
    values: Sequence[Any],
    text: Callable[[Any], str],
    draw: Callable[[Any], tuple[bytes, str]],
    caption: str,
) -> Any:
    """An ipywidgets slider over values, and the picture that draw gives, with its alt text."""
    import ipywidgets

    slider = ipywidgets.SelectionSlider(
        options=[(text(value), value) for value in values],
        description=label,
        continuous_update=False,  # a picture takes a moment: draw where the slider is let go
        style={"description_width": "initial"},
        layout={"width": "100%", "max_width": "640px"},
    )
    window = ipywidgets.HTML()  # rather than Image, which has no alt text

    def turn(_change: Any = None) -> None:
        try:
            picture, alt = draw(slider.value)
        except Exception as error:
            # A widget's errors go to a log that few readers find.
            window.value = f"<p>{text(slider.value)}: {html.escape(str(error))}</p>"
            raise
        window.value = (
            f'<img src="{data_uri(picture)}" alt="{html.escape(alt)}" style="max-width:100%">'
        )

    slider.observe(turn, names="value")
    turn()
    return ipywidgets.VBox([slider, window, ipywidgets.HTML(_below(caption))])
