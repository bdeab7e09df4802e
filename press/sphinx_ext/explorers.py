"""`{explorer} play-machine`: an explorer that a chapter made, small and without its caption."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

from press.sphinx_ext.parts import FromNotebooks


class Explorer(FromNotebooks):
    """The explorer of that name, as it is stored, under a name of its own: `play-machine-small`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        for book in self.books:
            for cell in book.code:
                for output in cell.outputs:
                    page = output.get("data", {}).get("text/html", "")
                    if f'id="{name}"' in page:
                        return [nodes.raw("", small(page, name), format="html")]
        raise self.error(f"explorer: no chapter makes {name}")


def small(page: str, name: str) -> str:
    """An explorer's page in short, so that it can stand beside the one it is of."""
    page = re.sub(r"<figcaption.*?</figcaption>\n", "", page, count=1, flags=re.DOTALL)
    page = page.replace('class="aelib-play', 'class="small aelib-play', 1)
    return page.replace(name, f"{name}-small")


def setup(app: Sphinx) -> None:
    app.add_directive("explorer", Explorer)
