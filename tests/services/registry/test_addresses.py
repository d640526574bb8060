"""What clients and registries write where a host or a URL is meant, and what they mean by it."""

from __future__ import annotations

import httpx
import pytest

from services.errors import EngineError, InvalidParameter
from services.registry.addresses import require_host, url_of
from services.registry.credentials import Credentials
from services.registry.errors import Unreachable
from services.registry.login import login, registry_of
from services.registry.settings import RegistrySettings
from tests.support.broken_http import Fault, fault_proxy

NO_URLS = ("http://[", "http://a\x00b/", "http://x:99999/", "//[::1/x")


@pytest.mark.parametrize(
    "host",
    [
        "[",
        "a\x00b",
        "a b",
        "x:99999",
        "x:",
        "x:y",
        "[::1",
        "ü.example",
        "a" * 254,
        "256.1.1.1",
        "a@b",
        "",
    ],
)
async def test_what_is_no_host(host: str) -> None:
    """The client's mistake, and no crash; nothing is looked up for it."""
    with pytest.raises(InvalidParameter, match="invalid registry address"):
        require_host(host)
    if host not in ("", "a@b"):  # the name is Docker Hub's, or a user's is taken off
        with pytest.raises(InvalidParameter, match="invalid registry address"):
            await login(RegistrySettings(), Credentials(server_address=host), user_agent="test")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:5000", "[::1]:5000", "my_host.example:1", "10.0.0.1", "x:65535"],
)
def test_what_is_a_host(host: str) -> None:
    """With a port or without."""
    require_host(host)


async def test_a_label_that_no_resolver_takes() -> None:
    """It could be a name, and is none that is there."""
    credentials = Credentials(server_address="a" * 64 + ".example")
    with pytest.raises(Unreachable, match="no such host"):
        await login(RegistrySettings(), credentials, user_agent="test")


@pytest.mark.parametrize("text", NO_URLS)
def test_what_is_no_url(text: str) -> None:
    """Alone, or after another."""
    with pytest.raises(EngineError, match="invalid URL"):
        url_of(text)
    with pytest.raises(EngineError, match="invalid URL"):
        url_of(text, httpx.URL("http://x/y"))


@pytest.mark.parametrize("text", [text for text in NO_URLS if "\x00" not in text])
async def test_a_registry_that_leads_nowhere(text: str) -> None:
    """A redirect, or a token server, at what is no URL."""
    with fault_proxy("127.0.0.1:1") as registry:
        challenge = {"WWW-Authenticate": f'Bearer realm="{text}",service="x"'}
        for status, headers in ((307, {"Location": text}), (401, challenge)):
            answer = Fault(status=status, headers=headers)
            registry.judge = lambda _seen, _before, answer=answer: answer  # type: ignore[misc]
            with pytest.raises(EngineError, match=r"[iI]nvalid URL"):
                await login(
                    RegistrySettings(),
                    Credentials(server_address=registry.host),
                    user_agent="test",
                )


@pytest.mark.parametrize(
    ("address", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("", "docker.io"),
        ("http://x:1/v1/?a#b", "x:1"),
        ("x:1/a?b", "x:1"),
        ("https://u@x", "x"),
        ("http://[", "["),
    ],
)
def test_the_registry_of_an_address(address: str, registry: str) -> None:
    """A URL or a host; whether it can be one is asked later."""
    assert registry_of(address) == registry
