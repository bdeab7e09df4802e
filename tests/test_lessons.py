"""The pages are lessons: how much code stands in sight, how soon a picture, how tall a page.

Chapters that are not lessons yet are expected to fail, and fail here when they cease to.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from press.notebooks import Notebook, notebooks

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
LESSONS = [pytest.param(note, id=note.path.stem) for note in notebooks()]

# Shares of the article's height; a figure inside a figure counts once.
MEASURE = """() => {
  const article = document.querySelector('article.bd-article');
  const height = article.getBoundingClientRect().height;
  const all = what => [...article.querySelectorAll(what)].filter(
    one => one.getBoundingClientRect().height > 0 && !one.closest('details:not([open])'));
  const outermost = what => all(what).filter(one => !one.parentElement.closest(what));
  const share = what => outermost(what).reduce(
    (sum, one) => sum + one.getBoundingClientRect().height, 0) / height;
  const pictures = all('figure img, .aelib-explorer, .cell_output img');
  return {
    height: document.documentElement.scrollHeight,
    code: share('.cell_input'),
    figures: share('figure, .aelib-explorer, .cell_output img'),
    first: Math.min(...pictures.map(one => one.getBoundingClientRect().top + scrollY)),
    rows: Math.max(0, ...all('.claim').map(card => [...card.querySelectorAll('tbody tr')].filter(
      row => !row.closest('details:not([open])')).length)),
  };
}"""


def in_sight(note: Notebook) -> list[list[str]]:
    """The lines of each code cell that a reader sees without unfolding anything."""
    cells = [cell for cell in note.code if not FOLDED & set(cell.metadata.get("tags", []))]
    return [[line for line in cell.source.splitlines() if line.strip()] for cell in cells]


@pytest.mark.parametrize("note", LESSONS)
def test_a_lesson_is_read_and_not_deciphered(note: Notebook, chromium) -> None:
    cells = in_sight(note)
    source = "\n".join(line for cell in cells for line in cell)
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    tab = context.new_page()
    tab.goto((HTML / "chapters" / f"{note.path.stem}.html").as_uri())
    tab.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")
    seen = tab.evaluate(MEASURE)
    context.close()
    drawings = re.findall(
        r'name="fig-drawing-[\w-]+"', "\n".join(cell.source for cell in note.code)
    )
    held = {
        "250 lines of code in sight": sum(map(len, cells)) <= 250,
        "20 lines a cell in sight": max(map(len, cells)) <= 20,
        "no claim is made or judged by hand in sight": not re.search(r"Claim\(|judge\(", source),
        "3 drawings": len(drawings) >= 3,
        "20,000 px": seen["height"] <= 20_000,
        "code takes a quarter of the page at most": seen["code"] <= 0.25,
        "figures take 35 % of the page at least": seen["figures"] >= 0.35,
        "the first picture is on the first screen": seen["first"] <= 900,
        "4 rows of a card in sight": seen["rows"] <= 4,
    }
    assert all(held.values()), ([what for what, holds in held.items() if not holds], seen)
