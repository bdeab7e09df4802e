"""Put another address of the book everywhere the old one stands.

`python3 -m press.address https://github.com/you/fork [https://where.the/pages/are/]`. The addresses
in use are `_config.yml`'s: the repository's, and the pages', which on GitHub follows from it.
Every file of the book that quotes one is rewritten, except for the example behind "make address
URL=". Without an address, or with an empty one, it only says where the present ones stand. Any
Python will do: nothing has to be installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from press.files import ROOT

QUOTING = (
    "*.md", "*.yml", "*.toml", "*.txt", "*.cff", "*.bib", "chapters/*.md", "chapters/*.ipynb",
    "pages/**/*.md", "aelib/**/*.py", ".github/**/*.yml", ".github/*.md",
)  # fmt: skip
PART = r"[^\W_][\w.-]*"  # so that `..` and `-` are none
VALID = re.compile(rf"https://{PART}/{PART}/{PART}")
SITE = re.compile(rf"https://{PART}(/[\w~][\w.~-]*)*/")
GITHUBS = re.compile(r"colab\.research\.google\.com/github/|/actions/workflows/")
HOMES = {
    "repository: url": r"^repository:\n(?:  .*\n)*?  url: *(\S+)",
    "html_baseurl": r"^    html_baseurl: *(\S+)",
}


def _home(root: Path, which: str) -> str:
    text = (root / "_config.yml").read_text(encoding="utf-8")
    found = re.search(HOMES[which], text, re.MULTILINE)
    if not found:
        raise SystemExit(f"_config.yml has no {which} any more; put it back first")
    return found[1]


def present(root: Path) -> str:
    """The repository's address in use."""
    return _home(root, "repository: url")


def pages(root: Path) -> str:
    """The address in use that the pages are read at, with a slash at its end."""
    return _home(root, "html_baseurl")


def pages_of(repository: str) -> str | None:
    """Where GitHub puts the pages of a repository; None for another host."""
    host, owner, name = repository.removeprefix("https://").split("/")
    if host != "github.com":
        return None
    site = f"https://{owner.lower()}.github.io/"
    return site if name.lower() == f"{owner.lower()}.github.io" else f"{site}{name}/"


def tidy(address: str) -> str:
    """An address as it is to stand everywhere, of one typed or copied from a browser.

    >>> tidy("https://www.GitHub.com/You/Book.git/")
    'https://github.com/You/Book'
    """
    scheme, _, rest = address.strip().rstrip("/").removesuffix(".git").partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower().removeprefix('www.')}{slash}{path}"


def short(address: str) -> str:
    """`owner/name`, as launch links write it."""
    return "/".join(address.split("/")[-2:])


def quoting(root: Path) -> list[Path]:
    """The files that quote an address in use: whole, without its last slash, or as owner/name."""
    known = (short(present(root)), pages(root).rstrip("/"))
    files = {path for pattern in QUOTING for path in root.glob(pattern) if path.is_file()}
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    return sorted(path for path, text in texts.items() if any(one in text for one in known))


def change(root: Path, repository: str, site: str) -> list[Path]:
    """Replace the addresses in use; returns the files that were changed.

    Args:
        root: the book's folder.
        repository: such as https://github.com/you/fork.
        site: where the pages are read, with a slash at its end.
    """
    old = present(root)
    new = {
        pages(root).rstrip("/"): site.rstrip("/"),
        old: repository,
        short(old): short(repository),
    }
    whole = "|".join(re.escape(one) for one in list(new)[:2])
    quoted = re.compile(
        rf"(make address URL=\S+)|({whole}|(?<![\w.-]){re.escape(short(old))})(?![\w-])"
    )
    changed = []
    for path in quoting(root):
        before = path.read_text(encoding="utf-8")
        after = quoted.sub(lambda words: words[1] or new[words[2]], before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def githubs_own(root: Path) -> list[str]:
    """Where it says what only a repository on GitHub has, each as `file:line`."""
    return [
        f"{path.relative_to(root)}:{number}"
        for path in quoting(root)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if GITHUBS.search(line)
    ]


def main() -> int:
    if not any(sys.argv[1:]):
        print(f"The repository is {present(ROOT)}, the pages are at {pages(ROOT)}; they stand in:")
        for path in quoting(ROOT):
            print(f"  {path.relative_to(ROOT)}")
        print("To change it: make address URL=https://github.com/you/fork")
        return 0
    new, given = tidy(sys.argv[1]), "".join(sys.argv[2:3])
    if len(sys.argv) > 3 or not VALID.fullmatch(new):
        print(f"URL={sys.argv[1]} is not of the form https://github.com/you/fork", file=sys.stderr)
        return 1
    site = f"{given.rstrip('/')}/" if given else pages_of(new)
    if site is None:
        print(
            f"Where will the pages of {new} be read? Only GitHub's place is known here:\n"
            f"make address URL={new} SITE=https://…/",
            file=sys.stderr,
        )
        return 1
    if not SITE.fullmatch(site):
        print(f"SITE={given} is not of the form https://you.example/book/", file=sys.stderr)
        return 1
    changed = change(ROOT, new, site)
    for path in changed:
        print(f"  {path.relative_to(ROOT)}")
    print(f"{new}, read at {site}, stands in {len(changed)} files. Commit them, then: make book")
    if pages_of(new) is None:
        print(
            "Colab opens notebooks of GitHub alone, and the badge of CI is GitHub's own. So these "
            f"lines lead nowhere now; mend them by hand: {', '.join(githubs_own(ROOT))}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
