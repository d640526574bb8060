"""`--host` as dockerd reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.listening.hosts import FdHost, Host, TcpHost, UnixHost, parse_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("unix:///run/x.sock", UnixHost(path=Path("/run/x.sock"))),
        ("unix://", UnixHost(path=Path("/var/run/docker.sock"))),
        ("tcp://", TcpHost(host="localhost", port=2375)),
        ("tcp://:7777", TcpHost(host="localhost", port=7777)),
        ("tcp://0.0.0.0", TcpHost(host="0.0.0.0", port=2375)),
        ("tcp://[::1]:5555", TcpHost(host="::1", port=5555)),
        ("tcp://[::]", TcpHost(host="::", port=2375)),
        ("tcp://127.0.0.1:0/", TcpHost(host="127.0.0.1", port=0)),
        ("10.0.0.1:99", TcpHost(host="10.0.0.1", port=99)),
        ("fd://", FdHost()),
        ("fd://*", FdHost()),
        ("fd://api", FdHost(name="api")),
    ],
)
def test_hosts_are_read(text: str, host: Host) -> None:
    """Every form, with dockerd's defaults for what is left out."""
    assert parse_host(text) == host


def test_the_default_port_depends_on_tls() -> None:
    """2375 is plain, 2376 is TLS."""
    assert parse_host("tcp://h", tls=True) == TcpHost(host="h", port=2376)


@pytest.mark.parametrize(
    ("text", "tls", "address"),
    [
        ("", False, "unix:///var/run/docker.sock"),
        ("", True, "tcp://localhost:2376"),
        ("unix://", False, "unix:///var/run/docker.sock"),
        ("unix:///tmp/x.sock", True, "unix:///tmp/x.sock"),
        ("fd://", False, "fd://"),
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


@pytest.mark.parametrize("text", ["unix:///run/x.sock", "tcp://[::1]:80", "fd://api"])
def test_hosts_print_as_they_were_written(text: str) -> None:
    """str() gives the text back."""
    assert str(parse_host(text)) == text
