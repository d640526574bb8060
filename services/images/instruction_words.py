"""What several instructions have in common: words as a JSON array, and that some are given."""

from __future__ import annotations

import msgspec

from services import typed_json
from services.errors import InvalidParameter


def json_words(text: str) -> list[str] | None:
    """The strings of a JSON array; None if it is none."""
    if not text.startswith("["):
        return None
    try:
        return typed_json.decode(text, list[str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def require_words(text: str, name: str) -> None:
    """Raises InvalidParameter where the instruction `name` has nothing after it."""
    if not text:
        raise InvalidParameter(f"{name} requires at least one argument")
