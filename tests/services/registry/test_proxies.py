"""Which requests go through a proxy. Source of the cases: Go's httpproxy."""

from __future__ import annotations

import pytest

from services.registry.proxies import ProxySettings, masked

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "https://example.com/v2/", False),
        ("", "http://localhost:5000/", True),
        ("", "http://127.3.2.1/", True),
        ("", "http://[::1]:5000/", True),
        ("*", "https://example.com/", True),
        ("example.com", "https://example.com/", True),
        ("example.com", "https://a.example.com/", True),
        ("example.com", "https://anexample.com/", False),
        (".example.com", "https://a.example.com/", True),
        (".example.com", "https://example.com/", False),
        ("*.example.com", "https://a.example.com/", True),
        ("Example.COM", "https://A.example.com/", True),
        ("example.com:443", "https://example.com/", True),
        ("example.com:80", "https://example.com/", False),
        ("10.1.2.3", "http://10.1.2.3:5000/", True),
        ("10.1.2.3:5000", "http://10.1.2.3:5000/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("a, b ,10.1.2.3", "http://10.1.2.3/", True),
        ("rubbish/99", "http://10.1.2.3/", False),
    ],
)
def test_exceptions(no_proxy: str, url: str, direct: bool) -> None:
    """Names with what is below them, addresses, networks, ports; loopback always."""
    settings = ProxySettings(http_proxy=PROXY, https_proxy=PROXY, no_proxy=no_proxy)
    assert settings.proxy_for(url) == (None if direct else PROXY)


def test_each_scheme_has_its_own() -> None:
    """A proxy's URL may lack its scheme."""
    settings = ProxySettings(http_proxy="plain:1")
    assert settings.proxy_for("http://x/") == "http://plain:1"
    assert settings.proxy_for("https://x/") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:pw@proxy:1/", "http://xxxxx:xxxxx@proxy:1/"),
        ("me:pw@proxy:1", "xxxxx:xxxxx@proxy:1"),
        (PROXY, PROXY),
        ("", ""),
    ],
)
def test_what_info_shows(url: str, shown: str) -> None:
    """No credentials."""
    assert masked(url) == shown
