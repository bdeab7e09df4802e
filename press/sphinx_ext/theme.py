"""What the theme does that stands in a reader's way, and its repair."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sphinx.application import Sphinx


def without_thebe(app: Sphinx, config: Any) -> None:
    """Unplug sphinx-thebe, which Jupyter Book always loads: its script fails on every page."""
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            listener
            for listener in listeners
            if listener.handler.__module__ != "sphinx_thebe"
            or listener.handler.__name__ == "st_static_path"  # its style sheet is asked for
        ]


HOSTS = ("github", "gitlab", "bitbucket")  # whose addresses the theme can make


def without_buttons(app: Sphinx, config: Any) -> None:
    """Leave out the buttons of the repository where its host is one that the theme does not know.

    There the theme would stop; and Colab opens notebooks of GitHub alone.
    """
    options = config.html_theme_options
    if not any(host in urlsplit(options.get("repository_url", "")).netloc for host in HOSTS):
        off = dict.fromkeys(("use_repository_button", "use_issues_button"), False)
        options.update(repository_url="", launch_buttons={}, **off)


# What the theme writes that a screen reader stumbles over, and what it should say. Found by the
# browser tests; where a later theme has mended it, nothing matches and nothing happens.
REPAIRS = (
    # A button's name has to begin with what is written on it.
    (r'(<button class="[^"]*search-button-field[^"]*") title="Search" aria-label="Search"', r"\1"),
    (r'(<i class="theme-switch [^>]*?) +title="[^"]*"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    # What unfolds a chapter's further pages has an arrow and no name.
    (
        r'<summary>(<span class="toctree-toggle")',
        r'<summary aria-label="Further pages of this chapter">\1',
    ),
    # A list whose children are no list items.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    # Every exercise gets the same id for its body; the exercise has one of its own.
    (r'<section id="(?:exercise|solution)-content">', "<section>"),
)


def repair(app: Sphinx, error: Exception | None) -> None:
    """Mend the built pages where the theme stands in a reader's way."""
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            text = before = path.read_text(encoding="utf-8")
            for wrong, right in REPAIRS:
                text = re.sub(wrong, right, text)
            if text != before:
                path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", repair)
    app.connect("config-inited", without_thebe)
    app.connect("config-inited", without_buttons)
