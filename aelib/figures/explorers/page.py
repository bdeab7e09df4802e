"""What every explorer is: one piece of HTML from a template and a script, light enough."""

from __future__ import annotations

import html
import importlib.resources
import json
import string
from dataclasses import dataclass, field

from aelib import checks
from aelib.figures.theme import INK, PAPER, STROKES

LARGEST = 900_000  # bytes of HTML one explorer may weigh; a page has to stay under 2 MB


@dataclass(frozen=True, repr=False)
class Explorer:
    """A self-contained piece of HTML that a notebook displays. Made by `explore` and its like."""

    name: str
    html: str = field(repr=False)  # no network, no kernel

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _repr_html_(self) -> str:
        return self.html


def filled(
    kind: str,
    data: object,
    *,
    name: str,
    caption: str,
    libraries: tuple[str, ...] = (),
    **texts: object,
) -> str:
    """`kind`.html with its script, the `data` which that reads, and the texts, made harmless.

    `libraries` names the scripts that go before its own and behind what all share, in one <script>.

    Ids come from the explorer's name, so several live on one page. Until the script has run, the
    controls stay hidden: where scripts do not run there is a picture and no dead control.
    """
    folder = importlib.resources.files("aelib.figures.explorers")
    template = string.Template((folder / f"{kind}.html").read_text(encoding="utf-8"))
    escaped = {key: html.escape(str(text)) for key, text in texts.items()}
    names = ("shared", *libraries, kind)
    scripts = [(folder / f"{one}.js").read_text(encoding="utf-8") for one in names]
    look = string.Template((folder / "shared.css").read_text(encoding="utf-8"))
    first, second, third = (stroke.color for stroke in STROKES[:3])
    below = f'<figcaption style="color:inherit">{html.escape(caption.strip())}</figcaption>\n'
    return template.substitute(
        escaped,
        name=name,
        caption=below if caption.strip() else "",
        style=look.substitute(paper=PAPER, ink=INK, first=first, second=second, third=third),
        paper=PAPER,
        ink=INK,
        data=json.dumps(data).replace("<", "\\u003c"),  # no text can end the script
        script='(function () {\n"use strict";\n' + "".join(scripts) + "})();\n",
    )


def check_weight(size: int, name: str, advice: str) -> None:
    """Raises ValueError for more bytes than a page can spare; `name` is the argument to blame."""
    if size > LARGEST:
        expected = f"at most {LARGEST // 1000} kB of HTML"
        got = checks.Described(f"{size / 1000:.1f} kB")
        raise ValueError(checks.message(name, expected, got, advice))


def png_size(picture: bytes) -> tuple[int, int]:
    """(width, height) of a PNG, from its header."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")
