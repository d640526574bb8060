"""The file .dockerignore. Pure. Source: moby/patternmatcher, ignorefile.ReadAll."""

from __future__ import annotations

import posixpath
from typing import Final

from services.errors import InvalidParameter

MAX_IGNORE_BYTES: Final = 1 << 20


def read_patterns(data: bytes) -> list[str]:
    """The patterns, in order, in the form in which a client takes them; "!" begins an exception.

    Raises:
        InvalidParameter: it is too large.
    """
    if len(data) > MAX_IGNORE_BYTES:
        raise InvalidParameter(f".dockerignore is larger than {MAX_IGNORE_BYTES} bytes")
    found = []
    for line in data.decode("utf-8-sig", errors="surrogateescape").split("\n"):
        text = line.rstrip("\r")
        if text.startswith("#"):
            continue
        text = text.strip()
        if not text:
            continue
        is_exception = text.startswith("!")
        if is_exception:
            text = text[1:].strip()
        if text:
            text = posixpath.normpath(text)
            if len(text) > 1 and text.startswith("/"):
                text = text.lstrip("/")
        found.append(f"!{text}" if is_exception else text)
    return found
