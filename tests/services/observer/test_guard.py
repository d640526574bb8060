"""services.observer.guard: pages of other sites, and other names for this machine, are refused."""

from __future__ import annotations

import pytest

from services.errors import EngineError, Forbidden, NotFound
from services.observer.guard import Door, check, is_local_name

OWN = {"host": "127.0.0.1:9324"}
CUSTOM = {"x-wharfinger": "1"}


def answer(
    headers: dict[str, str],
    *,
    door: Door = Door.OBSERVER,
    method: str = "GET",
    is_page: bool = False,
) -> type[EngineError] | None:
    """What a request is refused with."""
    try:
        check(door, method=method, scheme="http", headers=headers, is_page=is_page)
    except EngineError as error:
        return type(error)
    return None


def test_the_own_page_may_ask() -> None:
    """And so may programs, which send none of a browser's fields."""
    assert answer(OWN) is None
    assert answer(OWN | {"sec-fetch-site": "same-origin"}) is None
    assert answer(OWN | CUSTOM | {"origin": "http://127.0.0.1:9324"}, method="POST") is None
    assert answer({"host": "docker"} | CUSTOM, door=Door.UNIX, method="POST") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:9324"},
        {"origin": "http://127.0.0.1:80"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example:9324"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
        {"host": "10.0.0.1:9324"},
    ],
)
@pytest.mark.parametrize("door", [Door.OBSERVER, Door.UNIX])
def test_others_may_not(headers: dict[str, str], door: Door) -> None:
    """By another site's page, or a name that was made to mean this machine."""
    assert answer(OWN | headers, door=door) is Forbidden
    assert answer(OWN | CUSTOM | headers, door=door, method="POST") is Forbidden


def test_a_change_needs_the_field() -> None:
    """Which a form or an image of another page cannot send."""
    assert answer(OWN, method="POST") is Forbidden
    assert answer(OWN | {"x-wharfinger": ""}, method="POST") is Forbidden


def test_the_page_may_be_followed_to() -> None:
    """A link from elsewhere opens it; it cannot be read or embedded from there."""
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert answer(OWN | link, is_page=True) is None
    assert answer(OWN | link) is Forbidden
    assert answer(OWN | link | {"sec-fetch-mode": "no-cors"}, is_page=True) is Forbidden


def test_over_the_apis_tcp_port() -> None:
    """The page is not there; programs may ask, under any name, browsers' pages may not."""
    host = {"host": "engine.example:2376"}
    assert answer(host, door=Door.TCP, is_page=True) is NotFound
    assert answer(host, door=Door.TCP) is None
    assert answer(host | {"sec-fetch-site": "cross-site"}, door=Door.TCP) is Forbidden
    assert answer(host | {"origin": "http://evil.example"}, door=Door.TCP) is Forbidden


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("localhost:1", True),
        ("wharf.localhost:1", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("docker", True),
        ("api.moby.localhost", True),
        ("[::2]:1", False),
        ("0.0.0.0:1", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("", False),
        (":1", False),
    ],
)
def test_local_names(host: str, is_local: bool) -> None:
    """This machine's, or no name of the DNS at all."""
    assert is_local_name(host) is is_local
