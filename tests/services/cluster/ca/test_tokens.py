"""Join tokens and unlock keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.ca.tokens import (
    make_token,
    new_join_secret,
    new_unlock_key,
    read_token,
    read_unlock_key,
    role_of,
)
from services.cluster.model.objects import JoinTokens
from services.errors import InvalidParameter


@given(st.text(min_size=1))
def test_a_token_pins_the_root_it_was_made_for_and_no_other(root: str) -> None:
    """Read back it gives the secret, and fits one certificate alone."""
    secret = new_join_secret()
    token = read_token(make_token(root, secret))
    assert token.secret == secret
    assert token.pins(root)
    assert not token.pins(root + "x")


def test_a_token_has_swarms_shape() -> None:
    """85 characters: clients and scripts cut it out of text by that."""
    prefix, version, digest, secret = make_token("root", new_join_secret()).split("-")
    assert (prefix, version, len(digest), len(secret)) == ("SWMTKN", "1", 50, 25)


@pytest.mark.parametrize(
    "token",
    [
        "", "SWMTKN-1", "x", "SWMTKN-1-a-b", "SWMTKN-2-" + "0" * 50 + "-" + "0" * 25,
        "SWMTKN-1-" + "z" * 50 + "-" + "0" * 25, "SWMTKN-1-" + "!" * 50 + "-" + "0" * 25,
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    """Also a digest of more than 256 bits."""
    with pytest.raises(InvalidParameter, match="invalid join token"):
        read_token(token)


def test_a_secret_gives_its_own_role_only() -> None:
    """And none gives none, even where no token is set."""
    tokens = JoinTokens(worker="w" * 25, manager="m" * 25)
    assert role_of("w" * 25, tokens) == "worker"
    assert role_of("m" * 25, tokens) == "manager"
    assert role_of("x" * 25, tokens) is None
    assert role_of("", JoinTokens()) is None


def test_an_unlock_key_is_read_back() -> None:
    """32 bytes behind SWMKEY-1-."""
    key = new_unlock_key()
    assert key.startswith("SWMKEY-1-")
    assert len(read_unlock_key(key)) == 32


@pytest.mark.parametrize("key", ["", "SWMKEY-1-", "SWMKEY-1-AAAA", "AAAA", "SWMKEY-1-!!"])
def test_what_is_no_unlock_key_is_refused(key: str) -> None:
    """Too short ones too."""
    with pytest.raises(InvalidParameter, match="invalid unlock key"):
        read_unlock_key(key)
