"""Names and ids of containers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.names import checked_name, made_up_name, new_id
from services.errors import InvalidParameter


@pytest.mark.parametrize(
    ("given_name", "name"), [("web", "web"), ("/web", "web"), ("a1", "a1"), ("A_b.c-d", "A_b.c-d")]
)
def test_allowed(given_name: str, name: str) -> None:
    """With or without Docker's slash."""
    assert checked_name(given_name) == name


@pytest.mark.parametrize("name", ["", "/", "a", "-ab", "_ab", "a b", "a/b", "//ab", "ab\n", "äb"])
def test_refused(name: str) -> None:
    """dockerd's words, which name what was given."""
    with pytest.raises(InvalidParameter) as refusal:
        checked_name(name)
    assert str(refusal.value) == (
        f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )


@given(st.text(max_size=8))
def test_what_is_allowed_is_allowed_again(name: str) -> None:
    """A checked name has no slash and passes as it is."""
    try:
        checked = checked_name(name)
    except InvalidParameter:
        return
    assert checked_name(checked) == checked
    assert "/" not in checked


def test_ids() -> None:
    """64 hexadecimal digits, of which the short form is not a number."""
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    for one in ids:
        assert re.fullmatch(r"[0-9a-f]{64}", one)
        assert not one[:12].isdigit()


def test_a_made_up_name_is_allowed_and_free() -> None:
    """However many are taken."""
    taken: set[str] = set()
    for _ in range(300):
        name = made_up_name(taken.__contains__)
        assert name not in taken
        assert checked_name(name) == name
        taken.add(name)


def test_there_is_a_name_when_all_are_taken() -> None:
    """The search ends."""
    name = made_up_name(lambda _: True)
    assert checked_name(name) == name
