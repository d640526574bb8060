"""Lines reach their server in order, at least once, whatever happens to it or to the engine.

The servers are real, on loopback and in socket files; what is waited for is what they have got.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from services.containers.logs import FileOptions, LogCounts
from services.containers.logs.remote import shipper, shipping
from services.containers.logs.remote.driver import Driver
from services.containers.logs.remote.journald import JournaldDriver
from services.containers.logs.remote.log import RemoteLog
from services.containers.logs.remote.options import make_driver
from services.containers.logs.remote.shipping import Shipping
from services.containers.stdio import Stream
from tests.services.containers.logs.lines import write
from tests.services.containers.logs.remote.receivers import (
    GelfAssembler,
    PacketServer,
    StreamServer,
    acknowledge,
    decode_forward,
    parse_5424,
    parse_entry,
    split_octets,
    stream_server,
)
from tests.services.containers.logs.remote.samples import ID, info
from tests.services.containers.stdio.shim import make_stdio, running
from tests.support.certificates import make_certificates

NUMBERS = [b"%d" % n for n in range(3000)]
SYSLOG = {"syslog-format": "rfc5424"}


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away is asked ten times a second."""
    monkeypatch.setattr(shipper, "LONGEST_RETRY_S", 0.1)
    monkeypatch.setattr(shipping, "AWAY_FAREWELL_S", 0.2)


class _Never:
    async def wait(self) -> None:
        await trio.sleep_forever()


@asynccontextmanager
async def sending(*logs: RemoteLog) -> AsyncIterator[Shipping]:
    """The supervised part, with some logs."""
    part = Shipping(stop_request=_Never)
    for log in logs:
        part.add(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(part.run)
        yield part
        nursery.cancel_scope.cancel()


def make_log(
    directory: Path,
    driver: Callable[[], Driver],
    counts: LogCounts | None = None,
    **changes: object,
) -> RemoteLog:
    """A log whose files are kept whole unless `changes` say otherwise."""
    values: dict[str, object] = {
        "container_id": ID,
        "make_driver": driver,
        "waiting_bytes": 1 << 22,
        "blocks": True,
        "counts": counts or LogCounts(),
        "options": FileOptions(max_bytes=None, max_files=5),
    } | changes
    options = values.pop("options")
    return RemoteLog(directory / "container-cached.log", options, **values)  # type: ignore[arg-type]


def syslog_to(address: str, **more: str) -> Callable[[], Driver]:
    """RFC 5424 to an address."""
    return lambda: make_driver("syslog", info({**SYSLOG, "syslog-address": address, **more}))


def log_lines(log: RemoteLog, lines: list[bytes], stream: Stream = Stream.STDOUT) -> None:
    """As the pump does, all at once."""
    write(log, b"".join(line + b"\n" for line in lines), stream)
    log.announce()


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what a server has got; its threads tell nobody."""
    with trio.move_on_after(60) as scope:
        while not holds():
            await trio.sleep(0.005)
    assert not scope.cancelled_caught, what


def texts(messages: list[bytes]) -> list[bytes]:
    """What messages of RFC 5424 say."""
    return [parse_5424(message)["text"] for message in messages]


@pytest.mark.parametrize("scheme", ["tcp", "unix", "udp", "unixgram"])
async def test_syslog_over_every_transport(tmp_path: Path, scheme: str) -> None:
    """All lines, in order, and the mark says so."""
    path = tmp_path / "s"
    if scheme in ("tcp", "unix"):
        with stream_server(path=path if scheme == "unix" else None) as server:
            address = f"unix://{path}" if scheme == "unix" else f"tcp://127.0.0.1:{server.port}"
            await _deliver(tmp_path, address, server.got.lines)
        return
    packets = PacketServer(path if scheme == "unixgram" else None)
    address = f"unixgram://{path}" if path.exists() else f"udp://127.0.0.1:{packets.port}"
    await _deliver(tmp_path, address, lambda: [p[:-1] for p in packets.got.packets])
    packets.close()


async def _deliver(tmp_path: Path, address: str, got: Callable[[], list[bytes]]) -> None:
    log = make_log(tmp_path, syslog_to(address))
    log.open(None)
    async with sending(log):
        log_lines(log, NUMBERS)
        await log.shipper.wait_caught_up()
        await until(lambda: len(got()) >= len(NUMBERS), "it has all")
    assert texts(got()) == NUMBERS
    log.close()


async def test_syslog_over_tls(tmp_path: Path) -> None:
    """Octets are counted; a server that the CA does not vouch for gets nothing."""
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server-cert.pem", tmp_path / "server-key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    files = {
        "syslog-tls-cert": str(tmp_path / "client-cert.pem"),
        "syslog-tls-key": str(tmp_path / "client-key.pem"),
    }
    with stream_server(tls=context) as server:
        address = f"tcp+tls://127.0.0.1:{server.port}"
        wrong = {**files, "syslog-tls-ca-cert": str(tmp_path / "other.pem")}
        right = {**files, "syslog-tls-ca-cert": str(tmp_path / "ca.pem")}
        use = [wrong]
        log = make_log(tmp_path, lambda: syslog_to(address, **use[0])())
        log.open(None)
        async with sending(log):
            log_lines(log, NUMBERS)
            await until(lambda: log.shipper.is_away, "it is refused")
            assert server.got.data == b""
            use[0] = right
            await log.shipper.wait_caught_up()
            await until(lambda: len(split_octets(server.got.data)) == len(NUMBERS), "all")
        assert texts([m[:-1] for m in split_octets(server.got.data)]) == NUMBERS
        log.close()


async def test_journald_gets_long_entries_by_memory_file(tmp_path: Path) -> None:
    """What is too long for a packet arrives whole: here an attribute of 250 KB."""
    server = PacketServer(tmp_path / "journal")
    labels = {"big": "x" * 250_000}
    about = info({"labels": "big"}, labels=labels)
    log = make_log(tmp_path, lambda: JournaldDriver(about, tmp_path / "journal"))
    log.open(None)
    async with sending(log):
        log_lines(log, [b"one", b"", b"three"], Stream.STDERR)
        await until(lambda: len(server.got.packets) == 3, "it has all")
    entries = [parse_entry(packet) for packet in server.got.packets]
    assert [entry["MESSAGE"] for entry in entries] == [b"one", b"", b"three"]
    assert all(entry["BIG"] == b"x" * 250_000 for entry in entries)
    server.close()
    log.close()


async def test_gelf_over_tcp_and_udp(tmp_path: Path) -> None:
    """Null bytes end messages on TCP; on UDP long ones come in chunks."""
    long = bytes(range(0x21, 0x7F)) * 150
    with stream_server() as server:
        config = {"gelf-address": f"tcp://127.0.0.1:{server.port}"}
        log = make_log(tmp_path / "tcp", lambda: make_driver("gelf", info(config)))
        log.open(None)
        async with sending(log):
            log_lines(log, [b"one", long])
            await until(lambda: server.got.data.count(b"\0") == 2, "it has both")
        log.close()
    packets = PacketServer()

    def messages() -> list[dict[str, Any]]:
        assembler = GelfAssembler()
        return [m for p in tuple(packets.got.packets) if (m := assembler.take(p))]

    config = {"gelf-address": f"udp://127.0.0.1:{packets.port}", "gelf-compression-type": "none"}
    log = make_log(tmp_path / "udp", lambda: make_driver("gelf", info(config)))
    log.open(None)
    async with sending(log):
        log_lines(log, [b"one", long])
        await until(lambda: len(messages()) == 2, "it has both, one in chunks")
    assert [m["short_message"].encode() for m in messages()] == [b"one", long]
    assert len(packets.got.packets) > 10
    packets.close()
    log.close()


def fluentd_to(server: StreamServer, **more: str) -> Callable[[], Driver]:
    """To a fluentd on a port."""
    config = {"fluentd-address": f"127.0.0.1:{server.port}", "fluentd-retry-wait": "100ms", **more}
    return lambda: make_driver("fluentd", info(config))


async def test_fluentd_acknowledges(tmp_path: Path) -> None:
    """A message that was not acknowledged is sent again; one that was is not."""
    refused = [2]

    def answer(unread: bytes) -> tuple[bytes, bytes]:
        if refused[0] and decode_forward(unread)[0]:
            refused[0] -= 1
            raise ConnectionError  # it has read everything, and dies before it says so
        return acknowledge(unread)

    with stream_server(answer=answer) as server:
        log = make_log(tmp_path, fluentd_to(server, **{"fluentd-request-ack": "true"}))
        log.open(None)
        async with sending(log):
            log_lines(log, NUMBERS[:300])
            await log.shipper.wait_caught_up()
        messages, rest = decode_forward(server.got.data)
        assert rest == b""
        assert [len(m[1]) for m in messages] == [300, 300, 300]
        assert [r["log"].encode() for _, r in messages[-1][1]] == NUMBERS[:300]
        log.close()


async def test_a_server_that_was_away_gets_all(tmp_path: Path) -> None:
    """Lines wait on disk, across rotations; the process is not held up by one that is away."""
    with stream_server() as server:
        server.stop()
        log = make_log(
            tmp_path,
            syslog_to(f"tcp://127.0.0.1:{server.port}"),
            options=FileOptions(max_bytes=4000, max_files=3, compress=True),
        )
        log.open(None)
        async with sending(log):
            log_lines(log, NUMBERS[:1000])
            await until(lambda: log.shipper.is_away, "it is found to be away")
            log_lines(log, NUMBERS[1000:])
            with trio.fail_after(30):
                await log.shipper.wait_room()
            server.start()
            await log.shipper.wait_caught_up()
        await until(lambda: len(server.got.lines()) >= len(NUMBERS), "it has all")
        assert texts(server.got.lines()) == NUMBERS
        log.close()


@pytest.mark.parametrize("blocks", [True, False])
async def test_what_cannot_wait_is_counted_and_marked(tmp_path: Path, blocks: bool) -> None:
    """Past the bound the oldest lines go: a line says how many, and the counters do."""
    counts = LogCounts()
    with stream_server() as server:
        server.stop()
        address = f"tcp://127.0.0.1:{server.port}"
        log = make_log(tmp_path, syslog_to(address), counts, waiting_bytes=1000, blocks=blocks)
        log.open(None)
        async with sending(log):
            log_lines(log, NUMBERS)
            await until(lambda: counts.dropped_lines > 0, "some are dropped while it is away")
            dropped = counts.dropped_lines
            server.start()
            await log.shipper.wait_caught_up()
        kept = NUMBERS[dropped:]
        await until(lambda: len(server.got.lines()) > len(kept), "it has the rest")
        said, *rest = texts(server.got.lines())
        size = sum(len(number) + 1 for number in NUMBERS[:dropped])
        assert said == b"[%d lines, %d bytes of output were dropped here]" % (dropped, size)
        assert rest == kept
        assert (counts.dropped_lines, counts.dropped_bytes) == (dropped, size)
        assert 0 < sum(len(number) + 1 for number in kept) <= 1000
        assert counts.written_lines == len(NUMBERS), "the cache has them all"
        log.close()


async def test_a_process_waits_for_a_slow_server_alone(tmp_path: Path) -> None:
    """Blocking mode: nothing is dropped, the process waits, and goes on when the server reads."""
    counts = LogCounts()
    line = b"x" * 999
    with stream_server() as server:
        server.reads.clear()
        log = make_log(
            tmp_path / "log", syslog_to(f"tcp://127.0.0.1:{server.port}"), counts,
            waiting_bytes=500_000,
        )  # fmt: skip
        stdio = make_stdio(tmp_path, log=log, wait_room=log.shipper.wait_room)
        async with sending(log):
            async with running(stdio) as shim, trio.open_nursery() as nursery:
                written = trio.Event()

                async def print_much() -> None:
                    await shim.write(Stream.STDOUT, (line + b"\n") * 4000)
                    written.set()

                nursery.start_soon(print_much)
                with trio.move_on_after(0.5):
                    await written.wait()
                assert not written.is_set(), "it is held up"
                server.reads.set()
                await written.wait()
            await log.shipper.wait_caught_up()
        await until(lambda: len(server.got.lines()) == 4000, "it has all")
        assert set(texts(server.got.lines())) == {line}
        assert counts.dropped_lines == 0


async def test_a_dead_engine_sends_at_least_once(tmp_path: Path) -> None:
    """The next one goes on where the mark is: nothing is missing, what is doubled is in order."""
    with stream_server() as server:
        address = f"tcp://127.0.0.1:{server.port}"
        done = 0
        position: bytes | None = None
        for _ in range(5):
            log = make_log(
                tmp_path,
                syslog_to(address),
                options=FileOptions(max_bytes=9000, max_files=3, compress=True),
            )
            log.open(position)
            async with sending(log):
                for _ in range(4):
                    log_lines(log, NUMBERS[done : done + 150])
                    done += 150
                    await trio.sleep(0.002)
                # Cut off in the midst of it, as a kill would: nothing is closed in order.
            position = log.position()
        log = make_log(tmp_path, syslog_to(address))
        log.shipper.settle()
        async with sending(log):
            await log.shipper.wait_caught_up()
        got = [int(text) for text in texts(server.got.lines())]
        assert sorted(set(got)) == list(range(3000))
        breaks = [(a, b) for a, b in itertools.pairwise(got) if b != a + 1]
        assert all(b <= a for a, b in breaks), "it goes back, never ahead"


async def test_a_removal_waits_for_the_last_lines(tmp_path: Path) -> None:
    """A server that is there gets them; one that is away does not hold the removal up."""
    counts = LogCounts()
    with stream_server() as server:
        log = make_log(tmp_path, syslog_to(f"tcp://127.0.0.1:{server.port}"), counts)
        log.open(None)
        async with sending(log) as part:
            log_lines(log, NUMBERS)
            await part.let_go(log)
            await until(lambda: len(server.got.lines()) == len(NUMBERS), "it has all")
            assert counts.dropped_bytes == 0
            server.stop()
            part.add(log)
            log_lines(log, NUMBERS[:10])
            with trio.fail_after(60):
                await part.let_go(log)
            assert counts.dropped_bytes == 20
        log.close()
