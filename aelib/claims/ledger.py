"""The ledger: every claim's record, read from the notebooks' stored outputs, held to the prose."""

from __future__ import annotations

import json
import re
from pathlib import Path

BADGES = {"success": "supported", "warning": "conditional", "danger": "refuted"}
SAID = re.compile(r"Claim (\d+\.\d+)\s*\{bdg-(success|warning|danger)\}`(\w+)`")

# What a program finds in every record.
RECORD = (
    "id", "chapter", "statement", "kind", "verdict", "value", "low", "high", "seeds", "controls",
    "quantity", "unit", "source", "measure", "rule", "fails_when",
)  # fmt: skip


def find_chapters(folder: str | Path | None = None) -> Path:
    """The folder of the book's notebooks: the one given, ./chapters, or the current one in it.

    Raises:
        FileNotFoundError: if no notebook is there; says what to do.
    """
    tried = [Path(folder)] if folder is not None else [Path("chapters"), Path(".")]
    for one in tried:
        if one.is_dir() and any(one.glob("*.ipynb")):
            return one
    raise FileNotFoundError(
        f"no notebooks in {' or '.join(str(one.resolve()) for one in tried)}; "
        "run this in a clone of the book, or name the folder of its chapters"
    )


def notebooks(folder: str | Path | None = None) -> dict[Path, dict]:
    """The notebooks of a folder, parsed, by path.

    Raises:
        ValueError: for a file that is not a notebook.
    """
    found = {}
    for path in sorted(find_chapters(folder).glob("*.ipynb")):
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                cell["cell_type"], cell["metadata"].get("tags", []), source_of(cell)
                for output in cell.get("outputs", []):
                    output.get("metadata", {}).get("claim")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a notebook ({error!r})") from error
        found[path] = notebook
    return found


def source_of(cell: dict) -> str:
    """A cell's text, which nbformat keeps as one string or as lines."""
    return "".join(cell["source"])


def ledger(folder: str | Path | None = None) -> list[dict]:
    """Every claim's record, from the notebooks' stored outputs, in the order of their ids.

    Raises:
        ValueError: for a stored record that is not one `Card` makes today.
    """
    records = []
    for path, notebook in notebooks(folder).items():
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                record = output.get("metadata", {}).get("claim")
                if not record:
                    continue
                lacking = [key for key in RECORD if key not in record]
                if lacking or not re.fullmatch(r"\d+\.\d+", str(record["id"])):
                    raise ValueError(
                        f"{path}: the stored record of claim {record.get('id')} lacks {lacking}; "
                        "execute the notebook again"
                    )
                records.append({**record, "notebook": path.stem})
    return sorted(records, key=lambda record: [int(part) for part in record["id"].split(".")])


def said(folder: str | Path | None = None) -> dict[str, set[str]]:
    """What the prose says: the verdict words beside each claim's id, in the notebooks' text."""
    found: dict[str, set[str]] = {}
    for notebook in notebooks(folder).values():
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                for number, badge, word in SAID.findall(source_of(cell)):
                    found.setdefault(number, set()).add(word)
                    if BADGES[badge] != word:
                        found[number].add(f"{word} in the colour of {BADGES[badge]}")
    return found


def disagreements(folder: str | Path | None = None) -> list[str]:
    """Where prose, stored verdicts and kept measurements do not agree, in words; empty if fine."""
    records, words, wrong = ledger(folder), said(folder), []
    ids = [record["id"] for record in records]
    wrong += [
        f"claim {one} is judged {ids.count(one)} times"
        for one in sorted(set(ids))
        if ids.count(one) > 1
    ]
    wrong += [
        f"claim {one} stands in the prose but was never judged"
        for one in sorted(set(words) - set(ids))
    ]
    for record in records:
        number, verdict = record["id"], record["verdict"]
        prose = words.get(number, set())
        if not prose:
            wrong.append(f"claim {number} is {verdict}, and the prose does not say so")
        elif prose != {verdict}:
            wrong.append(
                f"claim {number} is {verdict}, but the prose says {' and '.join(sorted(prose))}"
            )
        long = record.get("long", {}).get("verdict", verdict)
        if long != verdict:
            wrong.append(f"claim {number} is {verdict} in the live run and {long} in the kept one")
    return wrong
