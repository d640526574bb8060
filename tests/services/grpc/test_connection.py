"""services.grpc.connection: the gate where calls wait for a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from services.containerd.connection import VERSION
from services.errors import Unavailable
from services.grpc.connection import Connection, Peer
from services.grpc.link import Link

TRIES = 1_000


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{what}: {error}") from error


async def _greet(link: Link) -> None:
    del link


def served(link: Link) -> Connection:
    """A connection that `link` serves, as `run` leaves it until it has heard of the loss."""
    peer = Peer(name="somebody", target=Path("/nowhere"), errors=_errors, greet=_greet)
    connection = Connection(peer)
    connection._link = link
    connection._ready.set()
    return connection


def a_link() -> Link:
    """One that nobody has opened."""
    return Link(cast(Any, None), cast(Any, type("Channel", (), {})()))


async def test_who_tries_again_at_once_lets_the_loss_be_heard_of() -> None:
    """Between the loss and the task that hears of it calls fail at once: whoever waits for the
    next connection and calls again must not keep that task from running."""
    link = a_link()
    connection = served(link)
    link.lost.set()

    async def hear_of_it() -> None:
        connection._link = None
        connection._ready = trio.Event()

    async def try_again() -> None:
        for _ in range(TRIES):
            await connection.wait_ready()
            with pytest.raises(Unavailable):
                await connection.unary(VERSION, VERSION.request())
        raise AssertionError(f"tried {TRIES} times, and nobody else has run")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_again)
        await trio.lowlevel.checkpoint()
        nursery.start_soon(hear_of_it)
        with trio.move_on_after(0.2):  # it waits now for one that never comes
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()


async def test_a_call_waits_for_the_connection_after_one_that_was_lost(
    autojump_clock: object,
) -> None:
    """Instead of failing on what is only not cleared away yet."""
    del autojump_clock
    lost, link = a_link(), a_link()
    connection = served(lost)
    lost.lost.set()
    assert not connection.is_ready
    async with trio.open_nursery() as nursery:

        async def come() -> None:
            connection._link = None
            connection._ready = trio.Event()
            await trio.sleep(1)
            connection._link = link
            connection._ready.set()

        nursery.start_soon(come)
        assert await connection._usable_link("a call") is link
