"""The headers that carry credentials: what clients send, and what somebody might."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.registry.credentials import (
    ANONYMOUS,
    MAX_ENCODED_CHARS,
    Credentials,
    decode_auth_body,
    decode_auth_header,
    decode_config_header,
)


def encoded(value: object, *, padded: bool = True) -> str:
    text = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    return text if padded else text.rstrip("=")


@given(st.text(), st.text(), st.booleans())
def test_what_a_client_encodes_is_decoded(name: str, password: str, padded: bool) -> None:
    """Any name and password come through, with padding or without."""
    sent = encoded({"username": name, "password": password, "email": None}, padded=padded)
    found = decode_auth_header(sent)
    assert (found.username, found.password) == (name, password.rstrip("\0"))


def test_the_older_field() -> None:
    """`auth` is name and password in one; a password may hold colons."""
    auth = base64.b64encode(b"me:a:b").decode()
    assert decode_auth_header(encoded({"auth": auth})) == Credentials(username="me", password="a:b")


def test_tokens() -> None:
    """Both kinds, and the address."""
    fields = {"identitytoken": "i", "registrytoken": "r", "serveraddress": "s"}
    found = decode_auth_header(encoded(fields))
    assert (found.identity_token, found.registry_token, found.server_address) == ("i", "r", "s")
    assert not found.is_anonymous


def test_nothing_is_anonymous() -> None:
    """No header, an empty object, an empty body."""
    assert decode_auth_header("") == decode_auth_header("e30=") == decode_auth_body(b"")
    assert ANONYMOUS.is_anonymous


@given(st.text())
def test_rubbish_is_refused(text: str) -> None:
    """Decoded, or refused as the client's mistake; nothing else."""
    for decode in (decode_auth_header, decode_config_header):
        try:
            decode(text)
        except InvalidParameter:
            continue


@pytest.mark.parametrize("text", ["x" * (MAX_ENCODED_CHARS + 1), "!!!!", "bm8gSlNPTg==", "WzFd"])
def test_what_is_refused(text: str) -> None:
    """Too long, no base64, no JSON, no object."""
    with pytest.raises(InvalidParameter, match="invalid X-Registry-Auth header"):
        decode_auth_header(text)


def test_secrets_are_not_printed() -> None:
    """A value that ends up in a log or a traceback shows no secret."""
    shown = repr(
        Credentials(username="me", password="pw", identity_token="it", registry_token="rt")
    )
    assert "me" in shown
    assert not {"pw", "it", "rt"} & set(shown.replace("'", " ").replace("=", " ").split())


def test_credentials_of_several_registries() -> None:
    """X-Registry-Config: by address."""
    found = decode_config_header(encoded({"a:1": {"username": "x"}, "b": {}}))
    assert found["a:1"].username == "x"
    assert found["b"].is_anonymous
