"""The ledger: every claim's record, from the notebooks' stored outputs, held to the prose.

`python -m press.ledger [FOLDER]` prints where a verdict is not what the prose says, and ends with 1
if it is so anywhere. `--json` prints the records.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from press.files import CHAPTERS
from press.notebooks import notebooks

Record = dict[str, Any]
COLORS = {  # of a badge
    "supported": "success",
    "conditional": "warning",
    "refuted": "danger",
    "undecided": "secondary",
    "open": "info",
}
SAID = re.compile(rf"Claim (\d+\.\d+)\s*\{{bdg-({'|'.join(COLORS.values())})\}}`(\w+)`")

# What a program finds in every record.
RECORD = (
    "id", "chapter", "statement", "kind", "verdict", "condition", "value", "low", "high", "units",
    "n", "controls", "quantity", "unit", "source", "measure", "rule", "rule_changed", "seen_before",
    "fails_when", "stable",
)  # fmt: skip


def order(id: str) -> list[int]:
    """Sorts claim 2.10 behind claim 2.9."""
    return [int(part) for part in id.split(".")]


def ledger(folder: Path = CHAPTERS) -> list[Record]:
    """Every claim's record, with its `notebook` and the `anchor` of its card, by id.

    Raises:
        ValueError: for a stored record that is not one of today's.
    """
    records = []
    for notebook in notebooks(folder):
        for record, anchor in notebook.claims():
            lacking = [key for key in RECORD if key not in record]
            if lacking or not re.fullmatch(r"\d+\.\d+", str(record["id"])):
                raise ValueError(
                    f"{notebook.path}: the stored record of claim {record.get('id')} lacks "
                    f"{lacking}; execute the notebook again"
                )
            records.append({**record, "notebook": notebook.path.stem, "anchor": anchor})
    return sorted(records, key=lambda record: order(record["id"]))


def said(folder: Path = CHAPTERS) -> dict[str, set[str]]:
    """What the prose says: the verdict words beside each claim's id."""
    words: dict[str, set[str]] = {}
    for notebook in notebooks(folder):
        for id, color, word in SAID.findall("\n".join(notebook.prose)):
            words.setdefault(id, set()).add(word)
            if COLORS.get(word) != color:
                meant = next(verdict for verdict in COLORS if COLORS[verdict] == color)
                words[id].add(f"{word} in the colour of {meant}")
    return words


def disagreements(folder: Path = CHAPTERS) -> list[str]:
    """Where prose and stored verdicts do not agree, in words; empty if fine."""
    records, words = ledger(folder), said(folder)
    times = Counter(record["id"] for record in records)
    wrong = [f"claim {id} is judged {count} times" for id, count in times.items() if count > 1]
    wrong += [
        f"claim {id} stands in the prose but was never judged"
        for id in sorted(set(words) - set(times))
    ]
    for record in records:
        id, verdict = record["id"], record["verdict"]
        prose = words.get(id, set())
        if not prose:
            wrong.append(f"claim {id} is {verdict}, and the prose does not say so")
        elif prose != {verdict}:
            says = " and ".join(sorted(prose))
            wrong.append(f"claim {id} is {verdict}, but the prose says {says}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m press.ledger", description="Hold the verdicts to the prose."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=CHAPTERS, help="of the notebooks")
    parser.add_argument("--json", action="store_true", help="print the records for programs")
    given = parser.parse_args()
    try:
        records, wrong = ledger(given.folder), disagreements(given.folder)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if given.json:
        print(json.dumps(records, indent=1))
    else:
        print(f"{len(records)} claims judged in the notebooks; {len(wrong)} disagreements")
    for line in wrong:
        print(f"does not agree: {line}", file=sys.stderr)
    return 1 if wrong or not records else 0


if __name__ == "__main__":
    sys.exit(main())
