"""Sizes in options of logs."""

from __future__ import annotations

import pytest

from services.containers.logs.sizes import size_bytes


def test_what_is_a_size() -> None:
    """With a unit or without."""
    assert [size_bytes(text) for text in ("10", "1.5k", "2 MB")] == [10, 1500, 2_000_000]
    assert size_bytes("1k", base=1024) == 1024


@pytest.mark.parametrize("text", ["", "x", "-1", "9" * 30, "9" * 5000 + "m", "9000p"])
def test_what_is_none(text: str) -> None:
    """Nor is what no file can have: larger than 63 bits."""
    with pytest.raises(ValueError, match="invalid size"):
        size_bytes(text, base=1024)
