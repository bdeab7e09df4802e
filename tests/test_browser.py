"""The built pages in a real browser, from file://: light and dark, at a desk and on a phone.

Needs Chromium (Debian: apt install chromium). Without it these tests are skipped, except under
CI=true, where a missing browser is a failure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
AXE = (ROOT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
ROOM = 16_000  # pixels of height that a page about a room of the package may take
INSIDE = ("file:", "data:", "blob:", "about:")


def contents() -> list[str]:
    """Every page of the book, and the two that the builder adds for the reader."""
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    pages = re.findall(r"^(?:root| *- file): (\S+)$", toc, re.MULTILINE)  # nested ones too
    return [*pages, "search", "genindex"]


@pytest.fixture(scope="module")
def browser(chromium):
    if not (HTML / "index.html").is_file():
        pytest.fail("there are no pages yet; run: make book", pytrace=False)
    return chromium


@dataclass
class Seen:
    """What went wrong while a page was open."""

    complaints: list[str] = field(default_factory=list)

    def watch(self, tab) -> None:
        tab.on("console", self.console)
        tab.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        tab.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        tab.on("request", self.request)

    def console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text}")

    def request(self, request) -> None:
        if not request.url.startswith(INSIDE):
            self.complaints.append(f"asked the network for {request.url}")


def open_page(tab, page: str, query: str = "") -> None:
    """Open a page and wait until its formulas are set."""
    tab.goto((HTML / f"{page}.html").as_uri() + query)
    tab.wait_for_load_state("load")
    tab.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")


def overflow(tab) -> int:
    """By how many pixels the page is wider than the screen."""
    return tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def barriers(tab) -> list[str]:
    """What axe-core calls serious or critical, with the elements it found it in."""
    tab.evaluate(AXE)
    options = "{resultTypes: ['violations'], preload: false}"  # it would fetch our style sheets
    found = tab.evaluate(f"axe.run(document, {options})")["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", contents())
def test_a_page_opens_cleanly_for_everyone(browser, page: str, theme: str) -> None:
    seen = Seen()
    context = browser.new_context(viewport=DESK, color_scheme=theme)
    try:
        tab = context.new_page()
        seen.watch(tab)
        open_page(tab, page)
        assert tab.evaluate("document.documentElement.dataset.theme") == theme
        assert not tab.query_selector_all("mjx-merror, [data-mjx-error]"), "a formula is broken"
        assert overflow(tab) <= 0
        assert not barriers(tab)
        tab.set_viewport_size(PHONE)
        tab.wait_for_timeout(1500)  # the theme makes what scrolls reachable by keyboard, in a while
        assert overflow(tab) <= 0, "the page scrolls sideways on a phone"
        assert theme == "dark" or not barriers(tab)  # what a phone changes is no colour
    finally:
        context.close()
    assert not seen.complaints


def test_a_room_of_the_package_is_read_and_not_searched(browser) -> None:
    tab = browser.new_page(viewport={"width": 1400, "height": 1000})
    heights = {}
    for page in contents():
        if page.startswith("pages/api"):
            tab.goto((HTML / f"{page}.html").as_uri())
            heights[page] = tab.evaluate("document.documentElement.scrollHeight")
    tab.close()
    assert len(heights) > 13
    assert not {page: height for page, height in heights.items() if height > ROOM}


def test_formulas_are_drawn(browser) -> None:
    context = browser.new_context(viewport=DESK)
    tab = context.new_page()
    open_page(tab, "pages/notation")
    drawn = tab.evaluate("document.querySelectorAll('.math mjx-container svg path').length")
    plain = tab.evaluate("[...document.querySelectorAll('.math')].length")
    context.close()
    assert drawn > plain > 20


def test_the_search_works_from_a_folder(browser) -> None:
    context = browser.new_context(viewport=DESK)
    tab = context.new_page()
    open_page(tab, "search", "?q=overcomplete")
    tab.wait_for_selector("#search-results li a", timeout=10_000)
    found = tab.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    context.close()
    assert any("glossary" in one or "chapters/" in one for one in found)


def test_a_folded_solution_opens(browser) -> None:
    context = browser.new_context(viewport=DESK)
    tab = context.new_page()
    open_page(tab, "chapters/02_memorisation")
    folded = tab.locator(".solution.dropdown").first
    paragraph = folded.locator("p:not(.admonition-title)").first
    assert not paragraph.is_visible()
    folded.locator("button").first.click()
    paragraph.wait_for(state="visible", timeout=5_000)
    context.close()


def test_the_ledger_shows_one_verdict(browser) -> None:
    context = browser.new_context(viewport=DESK)
    try:
        tab = context.new_page()
        open_page(tab, "pages/ledger")
        badges = "[...document.querySelectorAll('table.ledger .sd-badge')]"
        seen = f"{badges}.filter(badge => badge.checkVisibility())"
        every = tab.evaluate(f"{seen}.length")
        tab.get_by_role("button", name="refuted").click()
        words = tab.evaluate(f"{seen}.map(e => e.textContent)")
        assert 0 < len(words) < every
        assert set(words) == {"refuted"}
        tab.get_by_role("button", name="all").click()
        assert tab.evaluate(f"{seen}.length") == every
    finally:
        context.close()
