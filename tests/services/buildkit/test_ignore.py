"""The file .dockerignore."""

from __future__ import annotations

import pytest

from services.buildkit import ignore
from services.buildkit.ignore import read_patterns
from services.errors import InvalidParameter


def test_patterns() -> None:
    """Comments, exceptions, blanks, absolute names, a byte order mark; as BuildKit reads them."""
    data = b"\xef\xbb\xbf# no\n*.log\n\n  /a/b/  \n! keep \n!/x\n./c\r\na/../d\n #not\n"
    assert read_patterns(data) == ["*.log", "a/b", "!keep", "!x", "c", "d", "#not"]


def test_one_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a bound."""
    monkeypatch.setattr(ignore, "MAX_IGNORE_BYTES", 3)
    with pytest.raises(InvalidParameter):
        read_patterns(b"four")
