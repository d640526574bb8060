"""`--host` as dockerd reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.api.hosts import FdHost, Host, InvalidHostError, TcpHost, UnixHost, parse_host


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
    "text",
    ["http://x", "npipe:////./pipe/x", "tcp://h:x", "tcp://h:70000", "tcp://h:1/path", "tcp://::1:80",
     "tcp://[::1", "tcp://[::1]x"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    """An unknown scheme, a bad port, a path, an unbracketed IPv6 address."""
    with pytest.raises(InvalidHostError, match="invalid bind address"):
        parse_host(text)


@pytest.mark.parametrize("text", ["unix:///run/x.sock", "tcp://[::1]:80", "fd://api"])
def test_hosts_print_as_they_were_written(text: str) -> None:
    """str() gives the text back."""
    assert str(parse_host(text)) == text
