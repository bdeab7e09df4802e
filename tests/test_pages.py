"""The built pages and the stored notebooks, checked without a browser or a network."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

import aelib
from press import build
from press.address import pages, pages_of, present
from press.ledger import disagreements, ledger
from press.notebooks import Notebook, notebooks
from press.stored import FRONT, digest_of, front_picture

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
NOTEBOOKS = notebooks()
HEAVIEST = 2_000_000  # bytes of a page with its own images, before compression
# Tags that make a browser fetch something without being asked, and the attribute that says what.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
           "audio": "src", "embed": "src", "object": "data", "link": "href"}  # fmt: skip


def contents() -> list[str]:
    """The pages of the table of contents, as paths without an ending."""
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^(?:root| *- file): (\S+)$", toc, re.MULTILINE)  # nested ones too


@cache
def soup(page: str) -> BeautifulSoup:
    """A built page, parsed."""
    path = HTML / f"{page}.html"
    if not path.is_file():
        pytest.fail(f"{path.relative_to(ROOT)} is not there; run: make book", pytrace=False)
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path: Path) -> set[str]:
    """What a link to this page may point at."""
    page = soup(path.relative_to(HTML).with_suffix("").as_posix())
    return {tag["id"] for tag in page.select("[id]")} | {
        tag["name"] for tag in page.select("a[name]")
    }


def at(page: str, address: str) -> Path:
    """The file that a relative address on a page leads to."""
    path = unquote(urlsplit(address).path)
    return ((HTML / page).parent / path).resolve() if path else HTML / f"{page}.html"


def local(address: str) -> bool:
    return not urlsplit(address).scheme and not address.startswith("//")


PAGES = contents()
every_page = pytest.mark.parametrize("page", PAGES)
every_built_page = pytest.mark.parametrize("page", [*PAGES, "genindex", "py-modindex", "search"])
every_notebook = pytest.mark.parametrize("book", NOTEBOOKS, ids=lambda book: book.path.stem)


# --- The build -----------------------------------------------------------------------------------


def test_the_pages_are_built_from_what_is_here_now() -> None:
    assert build.stored() == build.inputs(), "the pages are old; run: make book"


def test_every_chapter_is_in_the_table_of_contents() -> None:
    files = {path.with_suffix("").relative_to(ROOT).as_posix()
             for folder in ("chapters", "pages") for path in (ROOT / folder).rglob("*")
             if path.suffix in (".md", ".ipynb")}  # fmt: skip
    assert files | {"index"} == set(PAGES)


# --- Every page ----------------------------------------------------------------------------------


@every_built_page
def test_internal_links_lead_somewhere(page: str) -> None:
    broken = []
    for link in soup(page).select("a[href]"):
        address = link["href"]
        if not local(address):
            continue
        target, fragment = at(page, address), unquote(urlsplit(address).fragment)
        if not target.is_file() or (
            fragment and target.suffix == ".html" and fragment not in anchors(target)
        ):
            broken.append(address)
    assert not broken


@every_page
def test_links_of_the_web_are_whole(page: str) -> None:
    web = [link["href"] for link in soup(page).select("a[href]") if not local(link["href"])]
    odd = [one for one in web if urlsplit(one).scheme not in ("https", "mailto", "http")
           or (urlsplit(one).scheme != "mailto" and "." not in urlsplit(one).netloc)]  # fmt: skip
    assert not odd


@every_built_page
def test_a_page_fetches_only_what_lies_beside_it(page: str) -> None:
    wrong = []
    for name, attribute in FETCHED.items():
        for tag in soup(page).select(f"{name}[{attribute}]"):
            address = tag[attribute]
            if address.startswith("data:") or tag.get("rel") in (["canonical"], ["next"], ["prev"]):
                continue
            if not local(address) or not at(page, address).is_file():
                wrong.append(address)
        wrong += [tag["srcset"] for tag in soup(page).select(f"{name}[srcset]")]
    assert not wrong


def test_style_sheets_fetch_only_what_lies_beside_them() -> None:
    wrong = []
    for sheet in HTML.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)",
                                  sheet.read_text(encoding="utf-8")):  # fmt: skip
            one = address[0] or address[1]
            if not one.startswith(("data:", "#")) and not local(one):
                wrong.append((sheet.name, one))
    assert not wrong


@every_page
def test_images_have_words_for_those_who_do_not_see_them(page: str) -> None:
    article = soup(page).select_one("article") or soup(page)
    wrong = []
    for image in article.select("img"):
        alt = image.get("alt", "").strip()
        if len(alt) < 12 or " " not in alt or re.search(r"\.(png|svg|jpe?g)$|^\.*/", alt):
            wrong.append((image["src"][:80], alt))
    assert not wrong
    assert all(image.has_attr("alt") for image in soup(page).select("img"))


@every_built_page
def test_ids_are_unique(page: str) -> None:
    seen = [tag["id"] for tag in soup(page).select("[id]")]
    assert len(seen) == len(set(seen)), sorted({one for one in seen if seen.count(one) > 1})


@every_page
def test_no_page_shows_an_error(page: str) -> None:
    assert "Traceback (most recent call last)" not in soup(page).get_text(" ")
    assert not soup(page).select(".output.traceback, .stderr, .system-message, .problematic")


@pytest.mark.parametrize("page", [page for page in PAGES if "pages/api" not in page])
def test_no_markup_is_left_over(page: str) -> None:
    article = BeautifulSoup(str(soup(page).select_one("article")), "html.parser")
    for code in article.select("code, pre, script, style, .math"):
        code.decompose()
    words = article.get_text(" ")
    assert not re.findall(r"\{\w[\w:-]*\}|:::|```|\$\$|\]\(", words)


@every_page
def test_a_page_is_light(page: str) -> None:
    images = {at(page, image["src"]) for image in soup(page).select("article img[src]")
              if local(image["src"])}  # fmt: skip
    weight = (HTML / f"{page}.html").stat().st_size + sum(one.stat().st_size for one in images)
    assert weight < HEAVIEST


def test_every_room_of_the_package_has_its_page_and_the_index_leads_there() -> None:
    rooms = {name for name in aelib.__all__ if inspect.ismodule(getattr(aelib, name))}
    linked = {link["href"] for link in soup("pages/api").select("article table a[href^='api/']")}
    pages = {page.removeprefix("pages/api/") for page in PAGES if "pages/api/" in page}
    assert {page for page in pages if "/" not in page} == rooms
    for page in pages - rooms:  # a large room has pages of its own, to which its first one leads
        assert soup(f"pages/api/{page.partition('/')[0]}").select(f"article a[href^='{page}.html']")
    assert {f"api/{room}.html" for room in rooms} <= linked
    assert len({link for link in linked if "#aelib." in link}) > 50


@every_page
def test_a_page_has_one_title_and_no_jumps_between_headings(page: str) -> None:
    levels = [int(tag.name[1]) for tag in soup(page).select_one("article").select("h1,h2,h3,h4,h5")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


# --- The ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["pages/ledger", "pages/source", "index"])
def test_verdicts_are_the_ledgers_and_lead_to_their_cards(page: str) -> None:
    judged = {record["id"]: record["verdict"] for record in ledger()}
    shown = {}
    for mark in soup(page).select("article .sd-badge"):
        link = mark.find_previous("a", href=re.compile("#claim-"))
        card = at(page, link["href"])
        fragment = urlsplit(link["href"]).fragment
        assert soup(card.relative_to(HTML).with_suffix("").as_posix()).select_one(f"#{fragment}")
        shown[link.get_text().removeprefix("Claim ")] = mark.get_text()
    assert shown.items() <= judged.items()
    assert page != "pages/ledger" or shown == judged
    assert page != "index" or len(soup(page).select(".surprise img")) == 6


def test_every_experiment_of_the_source_has_its_row() -> None:
    rows = soup("pages/source").select("table.ledger tbody tr")
    heads = [row.find("th").get_text().split(".")[0] for row in rows]
    assert heads == [f"S{number}" for number in range(1, 28)]
    assert all(len(row.select("td")[-1].get_text().split()) > 1 for row in rows)


def test_ledger_tables_have_captions_and_heads() -> None:
    for table in soup("pages/ledger").select("table.ledger"):
        assert table.select_one("caption").get_text().strip()
        assert all(row.find("th") for row in table.select("tr"))


def test_prose_says_what_was_measured() -> None:
    assert disagreements() == []


# --- The notebooks as stored ---------------------------------------------------------------------


def shows_something(source: str) -> bool:
    """Whether a cell ends in a value that Jupyter prints."""
    body = ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)).body
    return bool(body) and isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";")


@every_notebook
def test_the_stored_outputs_come_from_todays_code(book: Notebook) -> None:
    current = book.last_run.get("digest") == digest_of(book)
    assert current, "run: make book"


@every_notebook
def test_every_cell_was_run_in_order_and_left_its_outputs(book: Notebook) -> None:
    cells = [cell for cell in book.code if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    empty = [cell.source for cell in cells if shows_something(cell.source) and not cell.outputs]
    assert not empty


@every_notebook
def test_no_cell_failed_or_complained(book: Notebook) -> None:
    for cell in book.code:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            assert "\r" not in output.get("text", ""), "a progress bar was stored"


@every_notebook
def test_figures_say_the_same_to_the_page_and_to_the_notebook(book: Notebook) -> None:
    for cell in book.code:
        brought = [output.metadata["figure"] for output in cell.outputs
                   if "figure" in output.get("metadata", {})]  # fmt: skip
        assert len(brought) <= 1, "one figure a cell"
        page = cell.metadata.get("mystnb", {})
        if brought:
            assert page["image"]["alt"] == brought[0]["alt"]
            assert page["figure"]["name"] == brought[0]["name"]
            assert page["figure"]["caption"] == brought[0]["caption"]
        else:
            assert "figure" not in page
        pictures = [
            output
            for output in cell.outputs
            if any(kind.startswith("image/") for kind in output.get("data", {}))
        ]
        assert len(pictures) == len(brought), "a picture without ae.figures.show has no alt text"


def test_figures_have_names_of_their_own() -> None:
    names = [
        cell.metadata["mystnb"]["figure"]["name"]
        for book in NOTEBOOKS
        for cell in book.code
        if "figure" in cell.metadata.get("mystnb", {})
    ]
    assert len(names) == len(set(names))


def test_the_front_page_has_the_small_machine_once() -> None:
    front = soup("index")
    assert len(front.select("#play-machine-small.small")) == 1
    assert len(soup("chapters/02_memorisation").select("#play-machine")) == 1


def test_the_front_picture_is_the_one_a_chapter_draws() -> None:
    pictures = [picture for book in NOTEBOOKS if (picture := front_picture(book))]
    assert pictures == [FRONT[1].read_bytes()]


# --- The repository's address --------------------------------------------------------------------


def address() -> str:
    return present(ROOT)


def texts(root: Path) -> list[Path]:
    """The book's own text files."""
    skip = {".venv", ".git", ".hypothesis", "_build", "build", "mathjax", "axe", "__pycache__"}
    endings = {".md", ".yml", ".toml", ".cff", ".bib", ".txt", ".py", ".ipynb", ".lock", ""}
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and path.suffix in endings
        if not path.name.startswith(".coverage")  # what `make unit` leaves
        if not any(
            part in skip or part.endswith(("_cache", ".egg-info"))
            for part in path.relative_to(root).parts
        )
    ]


def test_every_quoted_address_is_the_one_in_use() -> None:
    owner, name = address().split("/")[-2:]
    must = ["README.md", "_config.yml", "CITATION.cff", "pyproject.toml", "pages/how_to_read.md"]
    for path in [*(ROOT / one for one in must), *(book.path for book in NOTEBOOKS)]:
        assert address() in path.read_text(encoding="utf-8"), path.name
    for one in must:
        assert pages(ROOT) in (ROOT / one).read_text(encoding="utf-8"), one
    for path in texts(ROOT):
        if path.parts[-2:-1] == ("tests",):
            continue
        for found in re.findall(rf"github\.com/([\w.-]+)/{name}\b", path.read_text("utf-8")):
            assert found == owner, path.name


def test_one_command_changes_the_address_everywhere(tmp_path: Path) -> None:
    old = "/".join(address().split("/")[-2:])
    for path in texts(ROOT):
        there = tmp_path / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    before = json.dumps(yaml.safe_load((tmp_path / "_config.yml").read_text()))
    new, site = "https://example.org/some-one/learning.by-copying", "https://some-one.example/book/"
    command = [sys.executable, "-m", "press.address"]

    def change(*new: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *new], cwd=tmp_path, capture_output=True, text=True)

    change("https://github.com/you/fork")  # the example that CONTRIBUTING gives stays one
    assert pages(tmp_path) == "https://you.github.io/fork/"
    assert "URL=https://github.com/you/fork" in (tmp_path / "CONTRIBUTING.md").read_text()
    done = change(new.replace("example.org", "www.Example.org") + ".git", site)
    assert done.returncode == 0
    readme = (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
    lost = [n for n, line in enumerate(readme, 1) if "/actions/" in line or "/github/some" in line]
    assert done.stdout.strip().endswith(", ".join(f"README.md:{n}" for n in lost))
    assert "URL=https://github.com/you/fork" in (tmp_path / "CONTRIBUTING.md").read_text()
    for gone in (old, pages(ROOT).removeprefix("https://").rstrip("/")):
        left = [path.name for path in texts(tmp_path) if gone in path.read_text(encoding="utf-8")]
        assert not left, gone
    config = yaml.safe_load((tmp_path / "_config.yml").read_text())
    assert config["repository"]["url"] == new
    assert json.dumps(config) == before.replace(address(), new).replace(pages(ROOT), site)
    for path in sorted((tmp_path / "chapters").glob("*.ipynb")):
        nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["not an address"], "is not of the form https://github.com/you/fork"),
        (["git@github.com:you/fork"], "is not of the form"),
        (["https://github.com/you"], "is not of the form"),
        (["https://github.com/you/fork/tree/main"], "is not of the form"),
        (["https://github.com/../.."], "is not of the form"),
        (["https://github.com/-/-"], "is not of the form"),
        (["https://-/you/fork"], "is not of the form"),
        (["https://example.org/you/fork"], "Where will the pages of https://example.org/you/fork"),
        (["https://github.com/you/fork", "nowhere"], "SITE=nowhere is not of the form"),
        (["https://github.com/you/fork", "https://a.b/../c/"], "is not of the form"),
        (["", "https://a.b/"], "URL= is not of the form"),
        (["https://github.com/you/fork", "https://a.b/", "c"], "is not of the form"),
    ],
)
def test_nonsense_is_no_address_and_changes_nothing(tmp_path: Path, given, said: str) -> None:
    shutil.copytree(ROOT / "press", tmp_path / "press")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "press.address", *given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "_config.yml").read_bytes() == (ROOT / "_config.yml").read_bytes()


def test_github_puts_pages_where_the_repository_says() -> None:
    assert pages_of("https://github.com/You/Book") == "https://you.github.io/Book/"
    assert pages_of("https://github.com/you/you.github.io") == "https://you.github.io/"
    assert pages_of(address()) == pages(ROOT)


@every_notebook
def test_the_rocket_opens_this_notebook_in_colab(book: Notebook) -> None:
    path = book.path
    page = path.relative_to(ROOT).with_suffix("").as_posix()
    links = [link["href"] for link in soup(page).select("a[href*='colab.research.google.com']")]
    short = "/".join(address().split("/")[-2:])
    assert links == [
        f"https://colab.research.google.com/github/{short}/blob/main/chapters/{path.name}"
    ]
