"""What pages need to be found: one address, descriptions, cards, sitemap, llms.txt, redirects."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

from press.address import pages
from press.sphinx_ext import online

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
BASE = pages(ROOT)
PAGES = ["index", *(page for _, part in online.contents(ROOT) for page in part)]


def head(page: str) -> dict[str, str]:
    """What a page says of itself: each meta by its name or property, and the canonical link."""
    soup = BeautifulSoup((HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    found = {
        tag.get("name") or tag.get("property"): tag["content"]
        for tag in soup.select("head meta[content]")
    }
    (canonical,) = soup.select("head link[rel=canonical]")
    return {**found, "canonical": canonical["href"], "title": soup.title.get_text()}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_where_it_stands_and_what_it_is(page: str) -> None:
    said = head(page)
    assert said["canonical"] == said["og:url"] == f"{BASE}{page}.html"
    assert 50 <= len(said["description"]) <= 200
    assert said["description"] == said["og:description"]
    assert said["og:title"] in said["title"]
    with Image.open(HTML / said["og:image"].removeprefix(BASE)) as picture:
        assert picture.size == online.CARD


def test_no_two_pages_say_the_same_of_themselves() -> None:
    said = [head(page) for page in PAGES]
    for what in ("description", "og:title", "og:image"):
        assert len({one[what] for one in said}) == len(PAGES), what


def test_the_sitemap_and_llms_txt_have_every_page() -> None:
    places = ElementTree.parse(HTML / "sitemap.xml").getroot().findall("{*}url/{*}loc")
    assert [one.text for one in places] == [f"{BASE}{page}.html" for page in PAGES]
    text = (HTML / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# Autoencoders: Learning by Copying\n\n> ")
    assert re.findall(r"\]\((.+?)\): \S", text) == [f"{BASE}{page}.html" for page in PAGES[1:]]


def test_a_page_that_moved_says_where_it_stands_now(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "new.html").touch()
    online.redirect(tmp_path, BASE, "pages/old/one", "pages/new")
    left = (tmp_path / "pages/old/one.html").read_text(encoding="utf-8")
    assert f'<link rel="canonical" href="{BASE}pages/new.html" />' in left
    assert 'href="../../pages/new.html">here' in left
    for old, new in (("pages/gone", "pages/nowhere"), ("pages/new", "pages/new")):
        with pytest.raises(ValueError, match=f"moved_pages: {old} → {new}"):
            online.redirect(tmp_path, BASE, old, new)


def test_what_has_moved_is_led_on() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    for old, new in config["sphinx"]["config"]["moved_pages"].items():
        assert f"{new}.html" in (HTML / f"{old}.html").read_text(encoding="utf-8")
