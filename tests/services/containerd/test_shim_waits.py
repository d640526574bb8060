"""services.containerd.shim_waits: how tasks ended, from those who saw it."""

from __future__ import annotations

import os
import resource
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from services.containerd import shim_waits
from services.containerd._ttrpc import bytes_field, fields, request_frame, response_payload
from services.containerd.process_config import ProcessConfig
from services.containerd.shim_waits import ASK_LIMIT_S, ShimWaits, TaskKey
from services.containerd.values import TaskExit
from tests.engine_fixtures import NAMESPACE, connected, create_busybox


async def heard(waits: ShimWaits) -> dict[TaskKey, TaskExit]:
    """What has ended, once "ends" has said so: a shim answers who waits, one after another."""
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(waits._waits[NAMESPACE, "ends"])
    return waits.collect()


@pytest.mark.engine
async def test_what_ends_after_it_was_asked_for_is_heard(containerd_config: ProcessConfig) -> None:
    """The one that ended, with its code and time; not the one that runs on."""
    async with connected(containerd_config) as containerd:
        pids = {}
        for id, script in (("ends", "sleep 1; exit 7"), ("stays", "sleep 60")):
            options = await create_busybox(containerd, containerd_config, id, ["sh", "-c", script])
            mounts = await containerd.snapshots.mounts(id)
            pids[id] = await containerd.tasks.create(id, rootfs=mounts, options=options)
        waits = ShimWaits(containerd_config.state)
        for id in pids:
            await containerd.tasks.start(id)
        exit_ = await containerd.tasks.wait("ends")
        assert await heard(waits) == {(NAMESPACE, "ends"): exit_}
        assert exit_.code == 7
        assert waits.collect() == {}

        waits = ShimWaits(containerd_config.state)  # it has ended already, and is not deleted
        assert await heard(waits) == {(NAMESPACE, "ends"): exit_}
        os.kill(pids["stays"], 9)


@pytest.mark.parametrize("told", ["{}", "no JSON", '{"address": "tcp://x", "version": 3}'])
def test_a_shim_that_speaks_something_else_is_left_alone(
    private_state: ProcessConfig, told: str
) -> None:
    """No error either: containerd knows what to do with it."""
    bundle = private_state.state / "io.containerd.runtime.v2.task" / "n" / "c"
    bundle.mkdir(parents=True)
    (bundle / "bootstrap.json").write_text(told)
    assert ShimWaits(private_state.state).collect() == {}


@pytest.fixture
def private_state(tmp_path_factory: pytest.TempPathFactory) -> ProcessConfig:
    folder = tmp_path_factory.mktemp("s")
    return ProcessConfig(data_root=folder / "d", exec_root=folder / "r")


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Where shims listen that answer nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="wf", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(f"{folder}/s")
        server.listen(128)
        server.setblocking(False)
        yield server


def have_shims(state: Path, server: socket.socket, count: int) -> list[str]:
    """Containers c00 and so on, whose shims listen there."""
    names = [f"c{number:02}" for number in range(count)]
    for name in names:
        bundle = state / "io.containerd.runtime.v2.task" / "n" / name
        bundle.mkdir(parents=True)
        (bundle / "address").write_text(f"unix://{server.getsockname()}")
    return names


def asked(server: socket.socket) -> list[str]:
    """The containers that were asked for, in order."""
    names = []
    with suppress(BlockingIOError):
        while True:
            connection, _ = server.accept()
            with connection:
                call = dict(fields(connection.recv(4096)[10:]))
            task = call[3]
            assert isinstance(task, bytes)
            (name,) = [value for number, value in fields(task) if number == 1]
            assert isinstance(name, bytes)
            names.append(name.decode())
    return names


def test_half_of_the_descriptors_are_for_the_rest_of_the_start(
    private_state: ProcessConfig, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many shims are asked as the other half has room for; without a limit all are."""
    names = have_shims(private_state.state, server, 10)
    for soft, expected in ((12, names[:6]), (resource.RLIM_INFINITY, names)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        ShimWaits(private_state.state).close()
        assert asked(server) == expected


def test_the_start_waits_for_so_long_and_no_longer(
    private_state: ProcessConfig, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions that take their time are cut off together, however many are left."""
    names = have_shims(private_state.state, server, 20)
    each_s, now_s = 0.3, [100.0]

    def later() -> float:
        now_s[0] += each_s
        return now_s[0]

    monkeypatch.setattr(shim_waits, "time", SimpleNamespace(monotonic=later))
    ShimWaits(private_state.state).close()
    assert asked(server) == names[: int(ASK_LIMIT_S / each_s)]


def answer(message: bytes, *, kind: int = 2) -> bytes:
    return struct.pack(">IIBB", len(message), 1, kind, 0) + message


def test_an_answer_is_whole_or_none() -> None:
    """However little of it has arrived."""
    frame = answer(bytes_field(2, b"payload" * 40))
    assert response_payload(frame) == b"payload" * 40
    assert all(response_payload(frame[:size]) is None for size in range(len(frame)))


def test_a_refusal_is_no_answer() -> None:
    """A status with a code; one without is a success."""
    refused = bytes_field(1, b"\x08\x05" + bytes_field(2, b"not found"))
    assert response_payload(answer(refused + bytes_field(2, b"p"))) is None
    assert response_payload(answer(bytes_field(1, b"") + bytes_field(2, b"p"))) == b"p"


def test_what_is_no_ttrpc_is_refused() -> None:
    """Rather than waited for."""
    for data in (b"HTTP/1.1 400 Bad Request", answer(b"", kind=3), answer(b"\x12\x7fshort")):
        with pytest.raises(ValueError, match=r"."):
            response_payload(data)


def test_a_request_holds_what_it_was_given() -> None:
    """Lengths of more than seven bits too."""
    frame = request_frame("a.Service", "Wait", b"x" * 300)
    assert struct.unpack(">IIBB", frame[:10]) == (len(frame) - 10, 1, 1, 0)
    assert list(fields(frame[10:])) == [(1, b"a.Service"), (2, b"Wait"), (3, b"x" * 300)]
