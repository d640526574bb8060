"""Regular expressions that clients send: Go's syntax, in linear time whatever they think up.

Source: Go, regexp (RE2's syntax); a name filter of dockerd matches anywhere in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9_/-]*\Z")  # nothing in it that means more than itself
_LIMIT_CHARS: Final = 4096
_LIMIT_BYTES: Final = 1 << 20  # what one compiled pattern may take


class Pattern:
    """One expression. One that is none matches only the text that it is itself, as in dockerd."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._search = _compile(text)

    def matches(self, text: str) -> bool:
        """Whether it is found in `text`."""
        return text == self._text or (self._search is not None and self._search(text))


def _compile(text: str) -> Callable[[str], bool] | None:
    if _PLAIN.match(text):
        return lambda candidate: text in candidate
    if len(text) > _LIMIT_CHARS:
        return None
    import re2  # takes 3 MB, and most names are plain

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _LIMIT_BYTES
    try:
        compiled = re2.compile(text, options)
    except (re2.error, UnicodeError):
        return None
    return lambda candidate: compiled.search(candidate) is not None
