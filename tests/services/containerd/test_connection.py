"""The connection without a containerd: gate, retries, errors, peers that speak nonsense."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from services.containerd.connection import (
    READY_WAIT_S,
    RETRY_MAX_S,
    Connection,
    lease_on_calls,
    probe,
    retry_delay_s,
)
from services.containerd.errors import (
    FROM_GRPC,
    AlreadyExists,
    ShimGone,
    TaskEnded,
    containerd_errors,
)
from services.containerd.kept_exits import KeptExits
from services.containerd.tasks import Tasks
from services.errors import Conflict, EngineError, NotFound, Unavailable


@pytest.fixture
def address() -> Iterator[Path]:
    """A path that is short enough for a socket, with nothing there."""
    with tempfile.TemporaryDirectory(prefix="wf", dir="/tmp") as folder:
        yield Path(folder, "sock")


async def test_a_call_waits_at_the_gate_for_a_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without a connection a call fails after READY_WAIT_S, also one that has no limit itself."""
    connection = Connection(Path("/nowhere"), "moby")
    began = trio.current_time()
    with pytest.raises(Unavailable, match=r"tasks\.wait abc: containerd at /nowhere"):
        await Tasks(connection, "moby", KeptExits()).wait("abc")
    assert trio.current_time() - began == READY_WAIT_S


async def test_run_starts_without_containerd(address: Path) -> None:
    """Nobody at the address: run has started, is not ready, and goes on trying."""
    connection = Connection(address, "moby")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            assert not connection.is_ready
            nursery.cancel_scope.cancel()
        assert not await probe(address)


@pytest.mark.parametrize(
    "nonsense",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(100), b""],
    ids=["http1", "zeros", "nothing"],
)
async def test_a_peer_that_speaks_nonsense_does_not_end_run(address: Path, nonsense: bytes) -> None:
    """Each connection breaks; run stays, and connects again."""
    connection = Connection(address, "moby")
    seen = 0
    enough = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal seen
        async with stream:
            await stream.receive_some(10)
            if nonsense:
                await stream.send_all(nonsense)
        seen += 1
        if seen == 3:
            enough.set()

    with trio.fail_after(60):
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(str(address))
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answer, [trio.SocketListener(sock)])
            await nursery.start(connection.run)
            await enough.wait()
            assert not connection.is_ready
            nursery.cancel_scope.cancel()


def test_retries_slow_down_to_a_bound() -> None:
    """Each failure doubles the delay, up to RETRY_MAX_S and not beyond."""
    delays = [retry_delay_s(failures) for failures in range(1, 2000)]
    assert delays[:3] == [0.02, 0.04, 0.08]
    assert delays == sorted(delays)
    assert delays[-1] == RETRY_MAX_S


@pytest.mark.parametrize("status", list(Status))
def test_every_status_becomes_an_error_of_ours(status: Status) -> None:
    """By the table, or EngineError; with call, object and containerd's text in it."""
    with (
        pytest.raises(EngineError, match="containerd x y: the reason") as caught,
        containerd_errors("containerd x y"),
    ):
        raise GRPCError(status, "the reason")
    assert type(caught.value) is FROM_GRPC.get(status, EngineError)
    assert isinstance(caught.value.__cause__, GRPCError)


def test_a_shim_that_has_hung_up_has_no_task() -> None:
    """A call on a task that has just exited finds its shim's socket closed: it is not there."""
    with pytest.raises(ShimGone) as caught, containerd_errors("tasks.kill x"):
        raise GRPCError(Status.UNKNOWN, "ttrpc: closed: unknown")
    assert isinstance(caught.value, NotFound)


@pytest.mark.parametrize(
    "said",
    [
        "cannot pause a stopped container",
        "cannot exec in a stopped state",
        "OCI runtime pause failed: container not running",
    ],
)
def test_a_task_that_has_ended(said: str) -> None:
    """The shim knows it before the engine does: who asks is told that nothing runs."""
    with pytest.raises(TaskEnded) as caught, containerd_errors("tasks.pause x"):
        raise GRPCError(Status.UNKNOWN, f"{said}: unknown")
    assert isinstance(caught.value, NotFound)


def test_a_task_that_is_not_paused() -> None:
    """A resume that comes after another one is the caller's conflict."""
    with pytest.raises(Conflict), containerd_errors("tasks.resume x"):
        raise GRPCError(Status.UNKNOWN, "OCI runtime resume failed: container not paused: unknown")


def test_the_statuses_that_callers_act_on() -> None:
    """The ones that the engine's parts tell apart."""
    assert FROM_GRPC[Status.NOT_FOUND] is NotFound
    assert FROM_GRPC[Status.ALREADY_EXISTS] is AlreadyExists
    assert FROM_GRPC[Status.FAILED_PRECONDITION] is Conflict
    assert FROM_GRPC[Status.UNAVAILABLE] is Unavailable


@pytest.mark.parametrize(
    "error",
    [StreamTerminatedError("lost"), ConnectionRefusedError(), asyncio.CancelledError()],
)
def test_a_lost_connection_is_unavailable(error: BaseException) -> None:
    """However grpclib, the socket or asyncio say it."""
    with (
        pytest.raises(Unavailable, match="x: the connection to containerd was lost"),
        containerd_errors("x"),
    ):
        raise error


async def test_a_bug_is_not_hidden() -> None:
    """What is in no table passes as it is."""
    with pytest.raises(ZeroDivisionError), containerd_errors("x"):
        1 / 0  # noqa: B018


async def test_a_lease_is_the_blocks_and_its_tasks() -> None:
    """Within the block, also in tasks that start there; not beside it, and not after."""
    connection = Connection(Path("/nowhere"), "moby")
    seen: list[dict[str, str]] = []

    async def look() -> None:
        seen.append(dict(connection._metadata()))

    async with trio.open_nursery() as nursery:
        with lease_on_calls("a"):
            nursery.start_soon(look)
            with lease_on_calls("b"):
                await look()
        await look()
    leases = [metadata.get("containerd-lease") for metadata in seen]
    assert sorted(map(str, leases)) == ["None", "a", "b"]
    assert all(metadata["containerd-namespace"] == "moby" for metadata in seen)
