"""The whole book as one PDF, printed from the built pages by Chromium: `python -m press.pdf`.

The pages' articles are put one behind the other into a single page of HTML, where the links between
them lead on as they did, with a contents in front. Code that only draws stays out, solutions and
readings are unfolded. Rooms of the package's reference are left to the pages; links lead there.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from html import escape
from pathlib import Path
from posixpath import join, normpath
from urllib.parse import urldefrag, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from press.address import pages
from press.files import ROOT, version, write_whole
from press.sphinx_ext.online import contents, title

HTML = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "autoencoders.pdf"
ONE = HTML / "on_paper.html"  # beside the pages, since it shows their pictures; removed afterwards
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LEFT_OUT = "pages/api/"
STYLE = """
@page { size: A4; margin: 17mm 17mm 19mm; }
html { font-size: 10.5pt; }
body { background: white; }
article.bd-article { padding: 0; max-width: none; overflow: visible; }
article > section > h1, article h1, .paper-contents { break-before: page; }
h1, h2, h3, h4, summary, caption { break-after: avoid; }
figure, .cell_output, .claim, .admonition, .sd-card, tr, .math.notranslate, pre { break-inside: avoid; }
.admonition { overflow: visible; box-shadow: none; }
.cell_input pre, pre { white-space: pre-wrap; overflow: visible; max-height: none; font-size: 8.5pt; }
.cell_output, .output, table, .table, .pst-scrollable-table-container { overflow: visible; max-height: none; }
table { font-size: 9pt; }
img, figure img { max-width: 100% !important; max-height: 225mm; height: auto; object-fit: contain; }
.headerlink, .copybtn, .hide.above-input, .hide.above, .tag_hide-cell .cell_input { display: none !important; }
.paper-title { height: 240mm; display: flex; flex-direction: column; justify-content: center; }
.paper-title h1 { break-before: avoid; font-size: 34pt; }
.paper-contents ol { list-style: none; padding-left: 0; }
.paper-contents li { display: flex; justify-content: space-between; gap: 2em; line-height: 1.9; }
.paper-contents li.part { font-weight: 600; margin-top: 1.2em; }
"""


def chromium() -> str | None:
    """The browser: the one CHROMIUM names, else the first of its usual names on PATH."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


def slug(page: str) -> str:
    return page.replace("/", "-")


def article(page: str, inside: list[str], base: str) -> tuple[str, str]:
    """A page's title, and its article with links and ids that hold among all the others.

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
    words = title(BeautifulSoup(str(body), "html.parser"))
    body.name = "div"
    return (
        words,
        f'<article class="bd-article" id="{slug(page)}">{body.decode_contents()}</article>',
    )


def assembled(numbers: dict[str, int]) -> str:
    """The book as one page of HTML; `numbers` says on which sheet an id stands, where known."""
    parts = [
        (caption, [page for page in part if not page.startswith(LEFT_OUT)])
        for caption, part in contents(ROOT)
    ]
    inside = ["index", *(page for _, part in parts for page in part)]
    base = pages(ROOT)
    articles = {page: article(page, inside, base) for page in inside}
    lines = []
    for caption, part in [("", ["index"]), *parts]:
        lines.append(f'<li class="part">{escape(caption)}</li>' if caption else "")
        lines += [
            f'<li><a href="#{slug(page)}">{escape(articles[page][0])}</a>'
            f"<span>{numbers.get(slug(page), '')}</span></li>"
            for page in part
        ]
    index = BeautifulSoup((HTML / "index.html").read_text(encoding="utf-8"), "html.parser")
    head = [str(tag) for tag in index.select("head link[rel=stylesheet]")]
    head += [str(tag) for tag in index.select("script") if "mathjax" in str(tag).lower()]
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-content_root="./"><head>'
        f'<meta charset="utf-8" /><title>{escape(config["title"])}</title>{"".join(head)}'
        f"<style>{STYLE}</style></head><body>"
        f'<div class="paper-title"><h1>{escape(config["title"])}</h1>'
        f"<p>Edition {version()}. To run it and change it: "
        f'<a href="{base}">{base}</a></p><p>Prose and figures CC BY 4.0, code MIT.</p></div>'
        f'<div class="paper-contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></div>'
        f"{''.join(text for _, text in articles.values())}</body></html>"
    )


def starts(pdf: bytes) -> dict[str, int]:
    """On which sheet, from 1, each page of the book begins: where its entry in the contents leads."""
    reader = PdfReader(io.BytesIO(pdf))
    return {
        name.removeprefix("/"): (reader.get_destination_page_number(place) or 0) + 1
        for name, place in reader.named_destinations.items()
    }


def printed(browser) -> bytes:
    """The PDF; printed twice, since only the first print tells the contents its numbers."""
    pdf, numbers = b"", {}
    for _ in range(2):
        ONE.write_text(assembled(numbers), encoding="utf-8")
        tab = browser.new_page()
        tab.set_default_timeout(0)
        tab.goto(ONE.as_uri())
        tab.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")
        pdf = tab.pdf(
            prefer_css_page_size=True,
            print_background=True,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template='<div style="width:100%;font-size:8pt;text-align:center">'
            '<span class="pageNumber"></span></div>',
        )
        tab.close()
        numbers = starts(pdf)
    return pdf


def main() -> int:
    if not (HTML / "index.html").is_file():
        print("There are no pages yet. Run: make book", file=sys.stderr)
        return 1
    found = chromium()
    if found is None:
        print(
            "No Chromium was found to print with. Debian: apt install chromium; elsewhere name one: "
            "CHROMIUM=/path/to/chrome make pdf",
            file=sys.stderr,
        )
        return 1
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
    sheets = len(PdfReader(PDF).pages)
    print(f"The book on paper, {sheets} pages, {PDF.stat().st_size / 1e6:.1f} MB: {PDF.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
