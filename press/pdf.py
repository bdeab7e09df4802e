"""The whole book as one PDF, printed from the built pages by Chromium: `python -m press.pdf`.

The pages' articles are put one behind the other into a single page of HTML, where the links between
them lead on as they did, with a contents in front. Solutions are unfolded. Code that only draws
stays out, and so do the further readings of the cards, which the ledger sums up. The rooms of the
package's reference are left to the pages; links lead there. `--check` only looks for a Chromium.
"""

from __future__ import annotations

import io
import logging
import sys
from html import escape
from posixpath import join, normpath
from typing import NamedTuple
from urllib.parse import urldefrag, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader, PdfWriter
from pypdf.generic import IndirectObject

from press.address import pages
from press.environment import chromium
from press.files import ROOT, version, write_whole
from press.sphinx_ext.online import contents, title

HTML = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "autoencoders.pdf"
ONE = HTML / "on_paper.html"  # beside the pages, since it shows their pictures; removed afterwards
LEFT_OUT = "pages/api/"
STYLE = """
@page { size: A4; margin: 17mm 17mm 19mm; }
html { font-size: 10.5pt; }
body { background: white; }
article.bd-article { padding: 0; max-width: none; overflow: visible; }
article h1, .paper-contents { break-before: page; }
h1, h2, h3, h4, summary, caption { break-after: avoid; }
figure, .cell_output, .claim, .admonition, .sd-col, .sd-card, tr, pre { break-inside: avoid; }
section:has(> .sd-container-fluid) { break-inside: avoid; }
.admonition { overflow: visible; }
.admonition, .sd-card { box-shadow: none !important; }
pre { white-space: pre-wrap !important; overflow: visible; max-height: none; font-size: 8.5pt; }
.cell_output, .output, table, .table, .pst-scrollable-table-container {
  overflow: visible; max-height: none; }
table { font-size: 9pt; }
table.ledger { font-size: 7.5pt; line-height: 1.35; }
.ledger tr { break-inside: auto; }
.claim thead th { white-space: normal !important; }
img { max-width: 100% !important; max-height: 225mm; height: auto; object-fit: contain !important; }
mjx-container svg * { stroke: none !important; }  /* of no width, but a printer draws it */
.cell.tag_cards .cell_output { grid-template-columns: 1fr; }
.headerlink, .copybtn, .claim details, .hide.above-input, .hide.above, .tag_hide-cell .cell_input {
  display: none !important; }
.paper-title { height: 240mm; display: flex; flex-direction: column; justify-content: center; }
.paper-title h1 { break-before: avoid; font-size: 34pt; }
.paper-contents ol { list-style: none; padding-left: 0; }
.paper-contents li { display: flex; justify-content: space-between; gap: 2em; line-height: 1.9; }
.paper-contents li.part { font-weight: 600; margin-top: 1.2em; }
"""


class Page(NamedTuple):
    """A page of the book as it goes onto paper."""

    title: str
    anchor: str
    html: str
    sections: list[tuple[str, str]]  # heading and id


def slug(page: str) -> str:
    return page.replace("/", "-")


def article(page: str, inside: list[str], base: str) -> Page:
    """A page's article, with links and ids that hold among all the others.

    Args:
        page: such as "chapters/01_introduction".
        inside: the pages that stand in the PDF.
        base: the address of the pages online, where links to all others lead.
    """
    soup = BeautifulSoup((HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    body = soup.select_one("article")
    assert isinstance(body, Tag)
    folder = page.rpartition("/")[0]
    for tag in body.select("[id]"):
        if not tag.find_parent(class_="aelib-explorer"):  # whose script knows its own ids
            tag["id"] = f"{slug(page)}--{tag['id']}"
    for link in body.select("a[href]"):
        address, anchor = urldefrag(str(link["href"]))
        if urlsplit(address).scheme:
            continue
        to = normpath(join(folder, address)).removesuffix(".html") if address else page
        if to in inside:
            link["href"] = f"#{slug(to)}--{anchor}" if anchor else f"#{slug(to)}"
        else:
            link["href"] = base + normpath(join(folder, address)) + (f"#{anchor}" if anchor else "")
    for tag in body.select("[src]"):
        if not urlsplit(str(tag["src"])).scheme:
            tag["src"] = normpath(join(folder, str(tag["src"])))
        tag.attrs.pop("loading", None)
    for fold in body.select("details"):
        fold["open"] = ""
    words = title(soup)
    sections = [
        (heading.get_text().removesuffix("#").strip(), str(section["id"]))
        for section in body.select("section[id]")
        if (heading := section.find("h2", recursive=False))
    ]
    inner = body.decode_contents()
    html = f'<article class="bd-article" id="{slug(page)}">{inner}</article>'
    return Page(words, slug(page), html, sections)


def collected() -> dict[str, list[Page]]:
    """The book's pages on paper, by the part they stand in; the front page first, in none."""
    kept = {
        part: [page for page in its if not page.startswith(LEFT_OUT)]
        for part, its in contents(ROOT)
    }
    parts = {"": ["index"], **kept}
    inside = [page for its in parts.values() for page in its]
    base = pages(ROOT)
    return {part: [article(page, inside, base) for page in its] for part, its in parts.items()}


def assembled(parts: dict[str, list[Page]], numbers: dict[str, int]) -> str:
    """The book as one page of HTML; `numbers` says on which sheet an id stands, where known."""
    lines = []
    for caption, its in parts.items():
        lines.append(f'<li class="part">{escape(caption)}</li>' if caption else "")
        for page in its:
            anchor = page.anchor
            lines.append(
                f'<li><a href="#{anchor}">{escape(page.title)}</a>'
                f"<span>{numbers.get(anchor, '')}</span></li>"
            )
    index = BeautifulSoup((HTML / "index.html").read_text(encoding="utf-8"), "html.parser")
    head = [str(tag) for tag in index.select("head link[rel=stylesheet]")]
    head += [str(tag) for tag in index.select("script") if "mathjax" in str(tag).lower()]
    book, base = escape(book_title()), pages(ROOT)
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-content_root="./"><head>'
        f'<meta charset="utf-8" /><title>{book}</title>{"".join(head)}'
        f"<style>{STYLE}</style></head><body>"
        f'<div class="paper-title"><h1>{book}</h1>'
        f"<p>Edition {version()}. To run it and change it: "
        f'<a href="{base}">{base}</a></p><p>Prose and figures CC BY 4.0, code MIT.</p></div>'
        f'<div class="paper-contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></div>'
        f"{''.join(page.html for its in parts.values() for page in its)}</body></html>"
    )


def book_title() -> str:
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]


def sheets(pdf: bytes) -> dict[str, int]:
    """On which sheet, from 1, each id stands that a link leads to."""
    reader = PdfReader(io.BytesIO(pdf))
    return {
        name.removeprefix("/"): (reader.get_destination_page_number(place) or 0) + 1
        for name, place in reader.named_destinations.items()
    }


def printed(browser) -> bytes:
    """The PDF; printed twice, since only the first print tells the contents its numbers."""
    parts, numbers, pdf = collected(), {}, b""
    for _ in range(2):
        ONE.write_text(assembled(parts, numbers), encoding="utf-8")
        tab = browser.new_page()
        tab.set_default_timeout(0)
        tab.goto(ONE.as_uri())
        tab.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")
        pdf = tab.pdf(
            prefer_css_page_size=True,
            print_background=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template='<div style="width:100%;font-size:8pt;text-align:center">'
            '<span class="pageNumber"></span></div>',
        )
        tab.close()
        numbers = sheets(pdf)
    return with_outline(pdf, parts, numbers)


def with_outline(pdf: bytes, parts: dict[str, list[Page]], numbers: dict[str, int]) -> bytes:
    """The PDF with the book's parts, pages and sections at its side, and with its title.

    Chromium has an outline of its own, which doubles a heading that is broken over two lines.
    """
    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    writer.add_metadata({"/Title": book_title()})

    def add(title: str, anchor: str, under: IndirectObject | None) -> IndirectObject:
        return writer.add_outline_item(title=title, page_number=numbers[anchor] - 1, parent=under)

    for caption, its in parts.items():
        part = add(caption, its[0].anchor, None) if caption else None
        for page in its:
            item = add(page.title, page.anchor, part)
            for heading, anchor in page.sections:
                if anchor in numbers:
                    add(heading, anchor, item)
    whole = io.BytesIO()
    writer.write(whole)
    return whole.getvalue()


def main(check: bool = False) -> int:
    found = chromium()
    if found is None:
        print(
            "No Chromium was found to print with. Debian: apt install chromium; elsewhere name "
            "one: CHROMIUM=/path/to/chrome make pdf",
            file=sys.stderr,
        )
        return 1
    if check:
        return 0
    if not (HTML / "index.html").is_file():
        print("There are no pages yet. Run: make book", file=sys.stderr)
        return 1
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # Chromium counts its objects otherwise
    from playwright.sync_api import Error, sync_playwright

    try:
        with sync_playwright() as playwright:
            options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            browser = playwright.chromium.launch(executable_path=found, args=options)
            write_whole(PDF, printed(browser))
            browser.close()
    except Error as error:
        print(f"{found} did not print the book: {error.message.splitlines()[0]}", file=sys.stderr)
        return 1
    finally:
        ONE.unlink(missing_ok=True)
    count = len(PdfReader(PDF).pages)
    print(f"The book on paper, {count} pages, {PDF.stat().st_size / 1e6:.1f} MB: {PDF.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
