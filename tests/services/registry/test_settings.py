"""What may be said of registries in the configuration."""

from __future__ import annotations

import ipaddress

import pytest

from services.registry.endpoints import Endpoints
from services.registry.settings import RegistrySettings, parse_insecure, parse_mirror


@pytest.mark.parametrize("text", ["https://a", "http://a:5000/", "https://a/path/"])
def test_mirrors(text: str) -> None:
    """They end in one slash."""
    assert parse_mirror(text) == text.rstrip("/") + "/"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a", 'invalid mirror: "a" is not a valid URI'),
        ("", 'invalid mirror: "" is not a valid URI'),
        ("ftp://a", 'unsupported scheme "ftp" in "ftp://a"'),
        ("https://u:p@a", "username/password not allowed in URI"),
        ("https://a/?q", "query or fragment at end of the URI"),
        ("https://a:99999", "is not a valid URI"),
    ],
)
def test_no_mirrors(text: str, sentence: str) -> None:
    """dockerd's sentences."""
    with pytest.raises(ValueError) as caught:
        parse_mirror(text)
    assert sentence in str(caught.value)


def test_insecure_registries() -> None:
    """Networks and hosts; loopback is always among them."""
    networks, hosts = parse_insecure(("10.0.0.0/8", "a:5000", "https://b", "[::2]:80"))
    assert ipaddress.ip_network("10.0.0.0/8") in networks
    assert ipaddress.ip_network("127.0.0.0/8") in networks
    assert hosts == {"a:5000", "b", "[::2]:80"}


@pytest.mark.parametrize("text", ["ftp://a", "a/b", "10.0.0.0/99", "a:b", "a:70000", "-a", ""])
def test_no_registries(text: str) -> None:
    """Each is refused by name."""
    with pytest.raises(ValueError, match="insecure registry"):
        parse_insecure((text,))


@pytest.mark.parametrize(
    ("domain", "urls"),
    [
        ("docker.io", ["http://m", "https://registry-1.docker.io"]),
        ("10.9.9.9:5000", ["https://10.9.9.9:5000"]),
        ("127.0.0.1:5000", ["https://127.0.0.1:5000", "http://127.0.0.1:5000"]),
        ("[::1]:5000", ["https://[::1]:5000", "http://[::1]:5000"]),
        ("named:1", ["https://named:1", "http://named:1"]),
    ],
)
async def test_where_a_registry_is(domain: str, urls: list[str]) -> None:
    """HTTP only where that is allowed, and after HTTPS; mirrors for docker.io alone."""
    settings = RegistrySettings(mirrors=("http://m/",), insecure_hosts=frozenset({"named:1"}))
    endpoints = await Endpoints(settings).of(domain, mirrors=True)
    assert [endpoint.url for endpoint in endpoints] == urls
    is_open = len(urls) > 1 and domain != "docker.io"
    assert endpoints[-1].verify is not is_open
