"""The book's own Sphinx extension, a file a subject.

Nothing is typed in: every word and number comes from the notebooks as stored, and from the code.
"""

from __future__ import annotations

from sphinx.application import Sphinx

from press.sphinx_ext import (
    benchmarks,
    explorers,
    ledger,
    online,
    package,
    run_times,
    source,
    theme,
)

PARTS = (benchmarks, explorers, ledger, online, package, run_times, source, theme)


def setup(app: Sphinx) -> dict[str, bool]:
    for part in PARTS:
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
