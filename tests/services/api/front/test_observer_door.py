"""The observer at an address of its own: that lets the observer through, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.front.observer_door import ObserverDoor
from services.api.http.asgi import Message, Receive, Scope, Send
from services.observer.guard import OBSERVER_KEY


async def ask(path: str, kind: str = "http") -> tuple[Message, Scope | None]:
    """The first message of the answer, and what came to the routes."""
    sent: list[Message] = []
    passed: list[Scope] = []

    async def routes(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    await ObserverDoor(routes)({"type": kind, "path": path, "method": "GET"}, receive, send)
    return sent[0], passed[0] if passed else None


@pytest.mark.parametrize(
    "path",
    [
        "/containers/json",
        "/v1.44/info",
        "/_ping",
        "/wharfinger",
        "/wharfingerx",
        "/wharfinger/../containers/json",
        "/wharfinger/v1/reload",
        "/wharfinger/v1/audit",
        "/wharfinger/v1/",
        "/wharfinger//v1/tree",
        "/v1.44/wharfinger/v1/tree",
    ],
)
async def test_the_engines_api_is_not_there(path: str) -> None:
    """404, and the routes never hear of it."""
    answer, passed = await ask(path)
    assert (answer["status"], passed) == (404, None)


async def test_the_observers_is() -> None:
    """Marked, so that the guard knows where it came in."""
    answer, passed = await ask("/wharfinger/v1/tree")
    assert answer["status"] == 200
    assert passed is not None
    assert passed[OBSERVER_KEY] is True


async def test_the_address_alone_leads_to_the_page() -> None:
    """As people type it."""
    answer, passed = await ask("/")
    assert (answer["status"], passed) == (302, None)
    assert (b"Location", b"/wharfinger/") in answer["headers"]


async def test_websockets_are_closed() -> None:
    """There are none."""
    answer, passed = await ask("/wharfinger/v1/tree", kind="websocket")
    assert (answer["type"], passed) == ("websocket.close", None)
