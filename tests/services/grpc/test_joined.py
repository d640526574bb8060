"""What one step of the loop writes leaves as one packet, in order, and to the last."""

from __future__ import annotations

import asyncio
from typing import cast

from services.grpc.joined import JoinedTransport


class FakeTransport:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (name, default)


class FakeLoop:
    """Runs what is to be called soon when the test says so."""

    def __init__(self) -> None:
        self._soon: list[object] = []

    def call_soon(self, callback: object) -> None:
        self._soon.append(callback)

    def step(self) -> None:
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()  # type: ignore[operator]


def joined() -> tuple[JoinedTransport, FakeTransport, FakeLoop]:
    transport, loop = FakeTransport(), FakeLoop()
    return (
        JoinedTransport(cast(asyncio.Transport, transport), cast(asyncio.AbstractEventLoop, loop)),
        transport,
        loop,
    )


def test_what_one_step_writes_leaves_together() -> None:
    """Two writes are one packet, sent at the end of the step; the next step has its own."""
    transport, under, loop = joined()
    transport.write(b"head")
    transport.write(b"body")
    assert under.sent == []
    loop.step()
    transport.write(b"more")
    loop.step()
    loop.step()
    assert under.sent == [b"headbody", b"more"]


def test_a_large_message_is_not_held_back_and_overtakes_nothing() -> None:
    """It leaves at once, after what was held, and with nothing held it is not even copied."""
    transport, under, loop = joined()
    large = bytes(JoinedTransport.JOIN_BELOW_BYTES)
    transport.write(large)
    assert under.sent[0] is large
    transport.write(b"head")
    transport.write(large)
    assert under.sent[1:] == [b"head" + large]
    loop.step()
    assert len(under.sent) == 2


def test_a_close_sends_what_is_held() -> None:
    """A reset that was written before the close reaches the peer."""
    transport, under, loop = joined()
    transport.write(b"reset")
    transport.close()
    assert under.sent == [b"reset"]
    assert transport.is_closing()
    loop.step()


def test_a_connection_that_was_lost_is_not_written_to() -> None:
    """What is held when the peer goes has nobody to go to."""
    transport, under, loop = joined()
    transport.write(b"late")
    under.is_closed = True
    loop.step()
    assert under.sent == []
