"""What the pages need to be found: a description and a card for each, sitemap, llms.txt, redirects.

The address is Sphinx's own `html_baseurl`. A page's card, the picture that is shown where somebody
shares its link, has the title and the first figure. `moved_pages` in _config.yml says where pages
that have moved stand now.
"""

from __future__ import annotations

import textwrap
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape as escape_xml

import matplotlib
import yaml
from bs4 import BeautifulSoup
from PIL import Image, ImageDraw, ImageFont, ImageOps
from sphinx.application import Sphinx

CARD = (1200, 630)
FRONT = Path("assets", "front.png")  # on the cards of pages without a figure


def contents(root: Path) -> list[tuple[str, list[str]]]:
    """The parts of the book and their pages, as in _toc.yml; the front page is in none."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def pages(entry: dict[str, Any]) -> list[str]:
        return [entry["file"], *(page for one in entry.get("sections", ()) for page in pages(one))]

    return [
        (part["caption"], [page for one in part["chapters"] for page in pages(one)])
        for part in toc["parts"]
    ]


def title(page: BeautifulSoup) -> str:
    heading = page.select_one("article h1")
    for link in heading.select("a.headerlink") if heading else ():
        link.extract()
    return " ".join(heading.get_text().split()) if heading else ""


def description(page: BeautifulSoup) -> str:
    """The page's first words that are a paragraph: whole sentences, up to some 200 characters."""
    for paragraph in page.select("article section > p"):
        words = " ".join(paragraph.get_text().split())
        if len(words) >= 50 and "run-time" not in (paragraph.get("class") or ()):
            return textwrap.shorten(words, 200, placeholder=" …")
    return ""


def first_figure(page: BeautifulSoup, folder: Path, otherwise: Path) -> Path:
    """The first picture of the page that is more than an ornament."""
    for image in page.select("article img[src]"):
        path = folder / str(image["src"])
        if path.suffix in (".png", ".jpg", ".jpeg") and path.is_file():
            with Image.open(path) as picture:
                if min(picture.size) >= 150:
                    return path
    return otherwise


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def card(title: str, book: str, figure: Path, path: Path) -> None:
    """Draw the card of a page and write it to `path`."""
    with Image.open(figure) as file:
        picture = file.convert("RGBA")
    corner = picture.crop((0, 0, 1, 1))  # a figure's own paper, unless it is a photograph's edge
    sheet = Image.new("RGB", CARD, "white")
    if min(corner.tobytes()) > 235:
        sheet.paste(corner.resize(CARD))
    draw = ImageDraw.Draw(sheet)
    lines = textwrap.wrap(title, 34)
    draw.multiline_text((60, 45), "\n".join(lines), "#1d1d1f", font(54), spacing=14)
    top = 70 + 72 * len(lines)
    picture = ImageOps.contain(
        picture, (CARD[0] - 120, CARD[1] - 80 - top), Image.Resampling.LANCZOS
    )
    sheet.paste(picture, ((CARD[0] - picture.width) // 2, top), picture)
    if title != book:
        draw.text((60, CARD[1] - 60), book, "#55585c", font(28))
    sheet.save(path, quality=85)


def tags(about: dict[str, str]) -> str:
    """What stands in a page's head."""
    named = {"description": about["description"], "twitter:card": "summary_large_image"}
    shared = {
        "og:title": about["title"],
        "og:description": about["description"],
        "og:type": "article",
        "og:url": about["url"],
        "og:image": about["card"],
        "og:image:alt": f"{about['title']}, and the first figure of the page",
        "og:site_name": about["book"],
    }
    lines = [f'<meta name="{key}" content="{escape(value)}" />' for key, value in named.items()]
    lines += [
        f'<meta property="{key}" content="{escape(value)}" />' for key, value in shared.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def publish(app: Sphinx, error: Exception | None) -> None:
    """Complete the built pages, and write what stands beside them."""
    if error is not None or app.builder.format != "html":
        return
    out, base, book = Path(app.outdir), app.config.html_baseurl, app.config.html_title
    parts = contents(Path(app.srcdir))
    known: dict[str, dict[str, str]] = {}
    (out / "cards").mkdir(exist_ok=True)
    for name in ("index", *(page for _, pages in parts for page in pages)):
        path = out / f"{name}.html"
        text = path.read_text(encoding="utf-8")
        page = BeautifulSoup(text, "html.parser")
        picture = f"cards/{name.replace('/', '_')}.jpg"
        known[name] = {
            "book": book,
            "title": title(page),
            "description": description(page),
            "url": f"{base}{name}.html",
            "card": f"{base}{picture}",
        }
        figure = first_figure(page, path.parent, Path(app.srcdir) / FRONT)
        card(known[name]["title"], book, figure, out / picture)
        path.write_text(text.replace("</head>", tags(known[name]) + "</head>", 1), encoding="utf-8")
    (out / "sitemap.xml").write_text(sitemap([one["url"] for one in known.values()]), "utf-8")
    (out / "llms.txt").write_text(for_machines(known, parts), "utf-8")
    for old, new in app.config.moved_pages.items():
        redirect(out, base, old, new)


def sitemap(urls: list[str]) -> str:
    """https://www.sitemaps.org/protocol.html"""
    places = "".join(f"<url><loc>{escape_xml(url)}</loc></url>\n" for url in urls)
    kind = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{kind}">\n{places}</urlset>\n'


def for_machines(known: dict[str, dict[str, str]], parts: list[tuple[str, list[str]]]) -> str:
    """What the book is and where its pages are, as https://llmstxt.org has it."""
    front = known["index"]
    lines = [f"# {front['book']}", "", f"> {front['description']}"]
    for caption, pages in parts:
        lines += ["", f"## {caption}", ""]
        lines += ["- [{title}]({url}): {description}".format(**known[page]) for page in pages]
    return "\n".join(lines) + "\n"


def redirect(out: Path, base: str, old: str, new: str) -> None:
    """Leave at the old place of a page a word where it stands now; its anchors lead on, too."""
    if not (out / f"{new}.html").is_file() or (out / f"{old}.html").exists():
        raise ValueError(f"moved_pages: {old} → {new}: the first must be gone, the second be there")
    up = "../" * old.count("/")
    place = escape(f"{up}{new}.html")
    path = out / f"{old}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8" /><title>Moved</title>\n'
        f'<link rel="canonical" href="{escape(base)}{escape(new)}.html" />\n'
        f"<script>location.replace({place!r} + location.hash)</script>\n"
        f'<meta http-equiv="refresh" content="1; url={place}" /></head>\n'
        f'<body><p>This page has moved <a href="{place}">here</a>.</p></body></html>\n',
        "utf-8",
    )


def setup(app: Sphinx) -> None:
    app.add_config_value("moved_pages", {}, "html", [dict])
    app.connect("build-finished", publish)
