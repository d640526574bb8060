"""`docker logs`, `docker attach` without a terminal, `docker wait`."""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def start(daemon: Daemon, script: str, *options: str) -> str:
    """A detached container `box` that runs a shell script; its id."""
    command = ("busybox", "sh", "-c", script)
    return daemon.docker("run", "-d", "--name", "box", *NONE, *options, *command).text


def test_both_streams_come_back(daemon: Daemon) -> None:
    """Each on its own side, in order, after the end too."""
    start(daemon, "echo a; echo b >&2; echo c")
    daemon.docker("wait", "box")
    ran = daemon.docker("logs", "box")
    assert (ran.out, ran.err) == (b"a\nc\n", b"b\n")


def test_tail_and_time_stamps(daemon: Daemon) -> None:
    """The last n lines; -t puts the time of each before it."""
    start(daemon, "for i in 1 2 3 4 5; do echo $i; done")
    daemon.docker("wait", "box")
    assert daemon.docker("logs", "--tail", "2", "box").text == "4\n5"
    assert daemon.docker("logs", "--tail", "0", "box").text == ""
    assert daemon.docker("logs", "-n", "all", "box").text == "1\n2\n3\n4\n5"
    stamped = daemon.docker("logs", "-t", "--tail", "1", "box").text
    assert re.fullmatch(rf"{STAMP} 5", stamped)


def test_since_and_until(daemon: Daemon) -> None:
    """Spans of time and time stamps cut at both ends."""
    start(daemon, "echo early; sleep 1.2; echo late")
    daemon.docker("wait", "box")
    stamps = [line.split()[0] for line in daemon.docker("logs", "-t", "box").text.splitlines()]
    assert daemon.docker("logs", "--since", stamps[1], "box").text == "late"
    assert daemon.docker("logs", "--until", stamps[0], "box").text == "early"
    assert daemon.docker("logs", "--since", "1h", "box").text == "early\nlate"
    assert daemon.docker("logs", "--until", "1h", "box").text == ""


def test_follow_ends_with_the_container(daemon: Daemon) -> None:
    """-f shows what is there, then what comes, and ends with it."""
    start(daemon, "echo one; while ! [ -e /go ]; do sleep 0.05; done; echo two")
    with daemon.docker_process("logs", "-f", "box") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        daemon.docker("exec", "box", "touch", "/go")
        out, _ = process.communicate(timeout=60)
        assert (out, process.returncode) == (b"two\n", 0)


def test_follow_survives_its_interruption(daemon: Daemon) -> None:
    """Ctrl-C ends the client, not the container."""
    start(daemon, "echo one; sleep 100")
    with daemon.docker_process("logs", "-f", "box") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert daemon.docker("inspect", "box", "-f", "{{.State.Running}}").text == "true"


def test_logs_go_with_the_none_driver(daemon: Daemon) -> None:
    """What is not kept cannot be read."""
    start(daemon, "echo x", "--log-driver", "none")
    ran = daemon.docker("logs", "box", code=1)
    assert "configured logging driver does not support reading" in ran.error_text


def test_local_driver(daemon: Daemon) -> None:
    """Read like any other, pieces of long lines too; where its files lie is not told."""
    script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end"
    start(daemon, script, "--log-driver", "local", "--log-opt", "max-size=1m")
    daemon.docker("wait", "box")
    assert daemon.docker("logs", "box").out == b"x" * 40000 + b"\nend\n"
    assert daemon.docker("logs", "--tail", "1", "box").text == "end"
    stamped = daemon.docker("logs", "-t", "--details", "--tail", "1", "box").text
    assert re.fullmatch(rf"{STAMP}  end", stamped)
    assert daemon.docker("inspect", "box", "-f", "[{{.LogPath}}]").text == "[]"
    folder = daemon.data_root / "containers" / daemon.docker("ps", "-aq", "--no-trunc").text
    assert [path.name for path in (folder / "local-logs").iterdir()] == ["container.log"]


def test_details_are_what_the_options_name(daemon: Daemon) -> None:
    """Labels, variables and the tag, and the name that the container had when it started."""
    options = (
        *("--label", "a=1", "--label", "b.c=2 3", "-e", "X=y", "--log-opt", "labels=a,zz"),
        *(
            "--log-opt",
            "labels-regex=^b",
            "--log-opt",
            "env=X",
            "--log-opt",
            "tag={{.Name}}/{{.ID}}",
        ),
    )
    command = ("busybox", "sh", "-c", "echo hi")
    box = daemon.docker("create", "--name", "crate", *NONE, *options, *command).text
    daemon.docker("rename", "crate", "box")
    daemon.docker("start", "-a", "box")
    expected = f"X=y,a=1,b.c=2+3,tag=box%2F{box[:12]} hi"
    assert daemon.docker("logs", "--details", "box").text == expected


def test_non_blocking_mode(daemon: Daemon) -> None:
    """What the log keeps up with is all there, for `logs`, `logs -f` and the terminal."""
    options = ("--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m")
    expected = "\n".join(map(str, range(1, 20_001)))
    ran = daemon.docker("run", "--name", "box", *NONE, *options, "busybox", "seq", "20000")
    assert ran.text == expected
    assert daemon.docker("logs", "-f", "box").text == expected


def test_logs_that_cannot_be(daemon: Daemon) -> None:
    """dockerd's words at the create; nothing is made."""
    for options, told in (
        (("--log-driver", "foo"), 'error looking up logging plugin foo: plugin "foo" not found'),
        (("--log-driver", "splunk"), "logging driver splunk is not supported"),
        (("--log-opt", "x=y"), "unknown log opt 'x' for json-file log driver"),
        (("--log-opt", "mode=x"), "logger: logging mode not supported: x"),
        (("--log-opt", "labels-regex=("), "error parsing regexp: missing closing ): `(`"),
        (("--log-opt", "tag={{.X}}"), "can't evaluate field X in type *logger.Info"),
    ):
        ran = daemon.docker("create", *NONE, *options, "busybox", code=1)
        assert told in ran.error_text
    assert daemon.docker("ps", "-aq").text == ""


def test_attach_shows_what_comes(daemon: Daemon) -> None:
    """attach starts at now, carries both streams, and ends with the container's status."""
    script = "trap 'echo out; echo err >&2; exit 6' TERM; echo up; while :; do sleep 0.05; done"
    start(daemon, script)
    wait_until(lambda: daemon.docker("logs", "box").text == "up", "it is up")
    with daemon.docker_process("attach", "box") as process:
        wait_until(lambda: attached(daemon) == 1, "the client is attached")
        daemon.docker("kill", "-s", "TERM", "box")
        out, err = process.communicate(timeout=60)
        assert (out, err, process.returncode) == (b"out\n", b"err\n", 6)


def attached(daemon: Daemon) -> int:
    """How many clients have attached to `box`."""
    box = daemon.http("GET", "/containers/box/json").json()["Id"]
    path = f"/events?since=1&until={time.time():.6f}"
    events = daemon.http("GET", path).json_lines()
    return sum(e["Action"] == "attach" and e["Actor"]["ID"] == box for e in events)


def test_two_attached_see_the_same(daemon: Daemon) -> None:
    """Every attached client gets everything."""
    daemon.docker("create", "-i", "--name", "box", *NONE, "busybox", "cat")
    with daemon.docker_process("start", "-ai", "box") as first:
        wait_until(lambda: daemon.docker("ps", "-q").text, "it runs")
        with daemon.docker_process("attach", "--no-stdin", "box") as second:
            wait_until(lambda: attached(daemon) == 2, "both are attached")
            assert first.stdin is not None
            assert first.stdout is not None
            assert second.stdout is not None
            first.stdin.write(b"ping\n")
            first.stdin.flush()
            assert first.stdout.readline() == b"ping\n"
            first.stdin.write(b"pong\n")
            first.stdin.close()
            assert first.stdout.read() == b"pong\n"
            assert second.stdout.read() == b"ping\npong\n"


def test_wait_gives_the_status(daemon: Daemon) -> None:
    """At once for one that has ended, else when it ends; several in order."""
    start(daemon, "while ! [ -e /go ]; do sleep 0.05; done; exit 4")
    daemon.docker("run", "--name", "over", *NONE, "busybox", "sh", "-c", "exit 2", code=2)
    with daemon.docker_process("wait", "box", "over") as process:
        daemon.docker("exec", "box", "touch", "/go")
        out, _ = process.communicate(timeout=60)
        assert out == b"4\n2\n"


def test_wait_answers_its_head_at_once(daemon: Daemon) -> None:
    """docker run relies on it: the head says that the wait is registered, before any exit."""
    import http.client
    import socket

    start(daemon, "sleep 100")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(60)
        sock.connect(str(daemon.socket))
        sock.sendall(b"POST /containers/box/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n")
        response = http.client.HTTPResponse(sock, method="POST")
        response.begin()
        assert response.status == 200
        daemon.docker("kill", "box")
        assert response.read() == b'{"StatusCode":137}\n'
