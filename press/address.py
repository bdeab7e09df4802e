"""Put another repository address everywhere the old one stands.

`python3 -m press.address https://github.com/you/fork`. The address in use is the one in
`_config.yml`; every file of the book that quotes it is rewritten, except for the example behind
"make address URL=". Without an address it only says where the present one stands. Any Python will
do: nothing has to be installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from press.files import ROOT

QUOTING = (
    "*.md", "*.yml", "*.toml", "*.txt", "*.cff", "*.bib", "chapters/*.md", "chapters/*.ipynb",
    "pages/*.md", "aelib/**/*.py",
)  # fmt: skip
VALID = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+?")


def present(root: Path) -> str:
    """The address in use: `repository: url:` of `_config.yml`."""
    text = (root / "_config.yml").read_text(encoding="utf-8")
    found = re.search(r"^repository:\n(?:  .*\n)*?  url: *(\S+)", text, re.MULTILINE)
    if not found:
        raise SystemExit("_config.yml has no repository: url: any more; put it back first")
    return found[1]


def short(address: str) -> str:
    """`owner/name`, as launch links write it."""
    return "/".join(address.split("/")[-2:])


def quoting(root: Path, address: str) -> list[Path]:
    """The files that quote the address, whole or as owner/name."""
    files = {path for pattern in QUOTING for path in root.glob(pattern) if path.is_file()}
    return sorted(path for path in files if short(address) in path.read_text(encoding="utf-8"))


def change(root: Path, new: str) -> list[Path]:
    """Replace the address in use by ``new``; returns the files that were changed."""
    old = present(root)
    quoted = re.compile(
        rf"(make address URL=\S+)|({re.escape(old)}|(?<![\w.-]){re.escape(short(old))})(?![\w-])"
    )
    changed = []
    for path in quoting(root, old):
        before = path.read_text(encoding="utf-8")
        after = quoted.sub(
            lambda words: words[1] or (new if words[2] == old else short(new)), before
        )
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> int:
    if len(sys.argv) < 2:
        print(f"The address is {present(ROOT)}; it stands in:")
        for path in quoting(ROOT, present(ROOT)):
            print(f"  {path.relative_to(ROOT)}")
        print("To change it: make address URL=https://github.com/you/fork")
        return 0
    new = sys.argv[1].rstrip("/").removesuffix(".git")
    if len(sys.argv) > 2 or not VALID.fullmatch(new):
        print(f"URL={sys.argv[1]} is not of the form https://github.com/you/fork", file=sys.stderr)
        return 1
    changed = change(ROOT, new)
    for path in changed:
        print(f"  {path.relative_to(ROOT)}")
    print(f"{new} stands in {len(changed)} files. Commit them, then: make book")
    return 0


if __name__ == "__main__":
    sys.exit(main())
