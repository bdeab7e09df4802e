"""Numbers as a page prints them."""

from __future__ import annotations

import re


def format_number(value: float, style: str) -> str:
    """A number in the given format, with a true minus sign, and none before 0.

    >>> format_number(-1.5, ".1f"), format_number(-0.01, ".1f")
    ('−1.5', '0.0')
    """
    text = format(value, style)
    if not re.search("[1-9]|inf", text):
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")
