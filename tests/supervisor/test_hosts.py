"""supervisor.hosts: where --host listens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.hosts import parse_host


@pytest.mark.parametrize(
    ("text", "tls", "address"),
    [
        ("", False, "unix:///var/run/docker.sock"),
        ("", True, "tcp://localhost:2376"),
        ("unix://", False, "unix:///var/run/docker.sock"),
        ("unix:///tmp/x.sock", True, "unix:///tmp/x.sock"),
        ("fd://", False, "fd://*"),
        ("fd://docker.socket", False, "fd://docker.socket"),
        ("tcp://", False, "tcp://localhost:2375"),
        ("tcp://:99", False, "tcp://localhost:99"),
        ("0.0.0.0:99", False, "tcp://0.0.0.0:99"),
        ("tcp://10.0.0.1", True, "tcp://10.0.0.1:2376"),
        ("tcp://[::1]:99", False, "tcp://[::1]:99"),
        ("tcp://[::1]/", False, "tcp://[::1]:2375"),
    ],
)
def test_addresses(text: str, tls: bool, address: str) -> None:
    """What is left out is filled in as dockerd does."""
    assert str(parse_host(text, tls=tls)) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("xx://y", "unsupported proto 'xx'"),
        ("npipe:////./pipe/x", "unsupported proto 'npipe'"),
        ("tcp://h:port", "invalid port: port"),
        ("tcp://h:65536", "invalid port: 65536"),
        ("tcp://::1", "too many colons"),
        ("tcp://[::1", "missing ']'"),
        ("tcp://h:1/path", "path element"),
        ("unix://tcp://x", "invalid unix address"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    """Every refusal names the whole address and what is wrong with it."""
    with pytest.raises(ValueError, match="invalid bind address") as caught:
        parse_host(text)
    assert text in str(caught.value)
    assert reason in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_address_that_reads_back_or_is_refused(text: str) -> None:
    """An address prints as text that means the same address."""
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert parse_host(str(host)) == host


@pytest.mark.parametrize(
    ("text", "local"),
    [("unix://", True), ("fd://", True), (":1", True), ("127.1.2.3:1", True), ("0.0.0.0:1", False)],
)
def test_which_addresses_only_this_machine_reaches(text: str, local: bool) -> None:
    """What the loud warning about TCP without TLS depends on."""
    assert parse_host(text).is_local is local
