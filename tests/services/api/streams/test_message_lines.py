"""Lines about work that goes on: how they end when it fails."""

from __future__ import annotations

import json

import pytest

from services.api.http.head import ProtocolError
from services.api.streams.message_lines import Tell, told_lines
from services.api.wire.errors import INTERNAL_ERROR
from services.errors import Conflict


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Conflict("it is in use"), "it is in use"),
        (ProtocolError(400, "Bad Request", "malformed chunk"), "malformed chunk"),
        (ValueError("a bug"), INTERNAL_ERROR),
    ],
)
async def test_the_last_line_of_what_failed(error: Exception, said: str) -> None:
    """The client's own mistakes by name, also a body that breaks off; bugs are for the log."""

    async def work(tell: Tell) -> None:
        await tell({"status": "begun"})
        raise error

    async with told_lines(work, what="test") as lines:
        got = [json.loads(line) async for line in lines]
    assert got == [{"status": "begun"}, {"errorDetail": {"message": said}, "error": said}]
