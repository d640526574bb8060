"""Clients' regular expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.filters.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("web", "my-web-1", True), ("^web$", "web", True), ("^web$", "web-1", False),
        ("", "web", True), ("w.b", "web", True), ("(?i)WEB", "web", True), (r"\d", "web-1", True),
        ("(", "web", False), ("(", "(", True), ("(?=web)", "web", False),
        ("[[:alpha:]]", "1", False),
        ("(a+)+$", "a" * 5000 + "b", False), ("x" * 5000 + "?", "x", False), ("\udcff", "x", False),
    ],
)  # fmt: skip
def test_as_go(pattern: str, text: str, matches: bool) -> None:
    """Found anywhere; what is no expression is found in nothing but itself."""
    assert Pattern(pattern).matches(text) is matches


@given(st.text(max_size=30), st.text(max_size=30))
def test_anything_may_be_sent(pattern: str, text: str) -> None:
    """No pattern is an error."""
    assert Pattern(pattern).matches(text) in (True, False)
    assert Pattern(pattern).matches(pattern) in (True, False)
