"""Detach keys are spelled as in dockerd and found however the input is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.stdio.detach import DEFAULT_DETACH_KEYS, DetachKeys, parse_detach_keys
from services.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", DEFAULT_DETACH_KEYS),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("DEL,x", b"\x7fx"),
    ],
)
def test_spelling(text: str, keys: bytes) -> None:
    """Every key that dockerd knows, separated by commas."""
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-A", "ctrl-1", "ab", "a,", "é", ","])
def test_wrong_spelling_is_refused(text: str) -> None:
    """dockerd's words name the whole text."""
    with pytest.raises(InvalidParameter) as caught:
        parse_detach_keys(text)
    assert str(caught.value) == f"Invalid detach keys ({text}) provided"


@given(
    st.binary(min_size=1, max_size=4).map(lambda keys: bytes(b % 3 for b in keys)),
    st.lists(st.binary(max_size=6).map(lambda data: bytes(b % 3 for b in data)), max_size=12),
)
def test_found_at_its_first_place_however_cut(keys: bytes, reads: list[bytes]) -> None:
    """What comes before the first occurrence is passed on, or everything when there is none."""
    matcher = DetachKeys(keys)
    passed, found = b"", False
    for data in reads:
        part, found = matcher.feed(data)
        passed += part
        if found:
            break
    else:
        passed += matcher.rest()
    whole = b"".join(reads)
    place = whole.find(keys)
    assert found == (place >= 0)
    assert passed == (whole if place < 0 else whole[:place])
