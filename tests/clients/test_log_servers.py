"""Logs that go to servers: by the docker CLI, with a real receiver, across kills of the engine."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from tests.engine.many import run, wait_exited
from tests.services.containers.logs.remote.receivers import (
    StreamServer,
    acknowledge,
    decode_forward,
    parse_5424,
    stream_server,
)
from tests.support.daemon import Daemon, wait_until
from tests.support.fixtures import DaemonFactory

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")


def syslog(server: StreamServer, *options: str) -> tuple[str, ...]:
    """Flags for RFC 5424 to a server."""
    address = f"syslog-address=tcp://127.0.0.1:{server.port}"
    return (
        *NONE, "--log-driver", "syslog", "--log-opt", address, "--log-opt",
        "syslog-format=rfc5424micro", *options,
    )  # fmt: skip


def said(server: StreamServer) -> list[str]:
    """What the messages that a server got say."""
    return [parse_5424(line)["text"].decode() for line in server.got.lines()]


def test_logs_are_sent_and_can_be_read(daemon: Daemon) -> None:
    """`docker logs` reads the local cache, `--rm` does not take away what is not sent yet."""
    with stream_server() as server:
        flags = syslog(server, "--log-opt", "tag={{.Name}}")
        script = "seq 2000; echo oops >&2"
        ran = daemon.docker("run", "--name", "box", *flags, "busybox", "sh", "-c", script)
        logs = daemon.docker("logs", "box")
        assert (logs.out, logs.err) == (ran.out, ran.err)
        daemon.docker("run", "--rm", *flags, "busybox", "seq", "2001", "4000")
        wait_until(lambda: len(said(server)) == 4001, "it has all")
        # The two streams of a process are not ordered against each other.
        assert [line for line in said(server) if line != "oops"] == [str(n) for n in range(1, 4001)]
        assert parse_5424(server.got.lines()[0])["app"] == b"box"
    assert "syslog" in daemon.http("GET", "/info").json()["Plugins"]["Log"]


def test_without_a_cache_nothing_can_be_read(daemon: Daemon) -> None:
    """cache-disabled: dockerd's sentence; the lines are sent all the same."""
    with stream_server() as server:
        flags = syslog(server, "--log-opt", "cache-disabled=true")
        daemon.docker("run", "--name", "box", *flags, "busybox", "seq", "1000")
        refused = daemon.docker("logs", "box", code=1)
        assert "configured logging driver does not support reading" in refused.error_text
        wait_until(lambda: len(said(server)) == 1000, "it has all")


def test_bad_options_are_refused_at_create(daemon: Daemon) -> None:
    """400, and no container."""
    refused = daemon.docker(
        "create", "--log-driver", "gelf", "--log-opt", "gelf-address=tcp://x", "busybox", code=1
    )
    assert "gelf: please provide gelf-address as proto://host:port" in refused.error_text
    assert daemon.container_ids() == []


def test_a_server_that_is_away_stops_nobody(daemon: Daemon) -> None:
    """The container runs and ends; what it said comes when the server does."""
    server = StreamServer()
    server.start()
    server.stop()
    try:
        daemon.docker("run", "--name", "box", *syslog(server), "busybox", "seq", "1000")
        assert len(daemon.docker("logs", "box").out.splitlines()) == 1000
        server.start()
        wait_until(lambda: len(said(server)) == 1000, "it has all")
    finally:
        server.stop()


def test_every_line_arrives_under_fire(make_daemon: DaemonFactory, tmp_path: Path) -> None:
    """The driver is the daemon's own; kill -9 twice while it sends: nothing is missing.

    A line may come twice, right after a kill: at least once is what is promised.
    """
    with stream_server(path=tmp_path / "f", answer=acknowledge) as server:
        options = (f"fluentd-address=unix://{tmp_path}/f", "fluentd-request-ack=true", "tag=t")
        daemon = make_daemon(
            "--log-driver",
            "fluentd",
            *(part for option in options for part in ("--log-opt", option)),
        )
        script = "n=0; while [ $n -lt 30 ]; do seq $((n*500)) $((n*500+499)); n=$((n+1)); "
        run(daemon, "box", f"{script}usleep 50000; done", network="none")
        for _ in range(2):
            time.sleep(0.3)
            daemon.kill()
            daemon.start()
        wait_exited(daemon, "box")
        expected = {str(n) for n in range(15_000)}

        def got() -> list[str]:
            messages, _ = decode_forward(server.got.data)
            return [record["log"] for _, entries, _ in messages for _, record in entries]

        wait_until(lambda: expected <= set(got()), "it has all")
        numbers = [int(text) for text in got()]
        ahead = [(a, b) for a, b in itertools.pairwise(numbers) if b > a + 1]
        assert not ahead, "it goes back after a kill, never ahead"
