"""WWW-Authenticate as registries write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.challenge import parse_challenges


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"},
                )
            ],
        ),
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        ('basic REALM = "a \\"b\\" c"', [("basic", {"realm": 'a "b" c'})]),
        (
            'Basic realm=r, Bearer realm="x"',
            [("basic", {"realm": "r"}), ("bearer", {"realm": "x"})],
        ),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
        ('"', []),
    ],
)
def test_known_spellings(value: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    """Quoted, bare, several in one field."""
    assert [(c.scheme, dict(c.parameters)) for c in parse_challenges([value])] == expected


@given(st.lists(st.text(alphabet=' ,="\\aB/:', max_size=60), max_size=3))
def test_anything_ends(values: list[str]) -> None:
    """Whatever a server sends is read to an end, quickly."""
    parse_challenges(values)


def test_a_long_one_is_cut() -> None:
    """A field of a megabyte costs nothing."""
    assert len(parse_challenges(["a=b, " * 200_000])) < 10_000
