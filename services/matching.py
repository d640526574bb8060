"""How Docker's filters match names and labels. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def matches_loosely(text: str, pattern: str) -> bool:
    """Docker's loose match: the pattern is a regular expression if it can be."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def has_labels(own: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Whether all that is wanted, "key" or "key=value", is among one's own labels."""
    for text in wanted:
        key, has_value, value = text.partition("=")
        if key not in own or (has_value and own[key] != value):
            return False
    return True
