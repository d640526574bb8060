"""`docker events`, also called `docker system events`, and what the engine tells of containers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.clients.cli import NONE, events_followed, start, state
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def told(daemon: Daemon, since: float, version: str = "1.41") -> list[dict[str, Any]]:
    """All events from `since` on."""
    path = f"/v{version}/events?since={since:.6f}&until={time.time():.6f}"
    return daemon.http("GET", path).json_lines()


def lines(events: list[dict[str, Any]]) -> list[str]:
    """Type, action and, without those that every event of a container has, the attributes' keys."""
    return [
        " ".join([
            event["Type"], event["Action"].strip(),
            *sorted(event["Actor"]["Attributes"].keys() - {"image", "name", "k", "container"}),
        ])
        for event in events
    ]  # fmt: skip


def of(commands: list[tuple[list[str], int]], daemon: Daemon) -> list[str]:
    """The events of some commands; where a signal may or may not be needed it counts once."""
    since = time.time()
    for command, code in commands:
        daemon.docker(*command, code=code)
    found = lines(told(daemon, since))
    return [
        line for at, line in enumerate(found)
        if not (line.startswith("container kill") and found[at - 1 : at] == [line])
    ]  # fmt: skip


LIFE: list[tuple[list[str], int]] = [
    (["run", "-d", "--name", "box", "-l", "k=v", *NONE, "busybox", "sleep", "1000"], 0),
    (["exec", "box", "true"], 0),
    (["exec", "box", "nosuch"], 127),
    (["pause", "box"], 0),
    (["unpause", "box"], 0),
    (["top", "box"], 0),
    (["rename", "box", "crate"], 0),
    (["update", "--cpu-shares", "100", "crate"], 0),
    (["kill", "-s", "USR2", "crate"], 0),
    (["restart", "-t", "0", "crate"], 0),
    (["stop", "-t", "0", "crate"], 0),
    (["rm", "crate"], 0),
]
# What dockerd tells, in its order: of 20.10, with the `execDuration` of 28.
EVENTS_OF_LIFE = """\
container create
network connect type
container start
container exec_create: true execID
container exec_start: true execID
container exec_die execID exitCode
container exec_create: nosuch execID
container exec_start: nosuch execID
container pause
container unpause
container top
container rename oldName
container update
container kill signal
container die execDuration exitCode
network disconnect type
container stop
network connect type
container start
container restart
container kill signal
container die execDuration exitCode
network disconnect type
container stop
container destroy""".splitlines()


def test_a_life(daemon: Daemon) -> None:
    """Types, actions, order and attributes as dockerd's. USR2 does not end a first process."""
    since = time.time()
    assert of(LIFE, daemon) == EVENTS_OF_LIFE
    events = told(daemon, since)
    created = events[0]
    assert created["Actor"]["Attributes"] == {"image": "busybox", "k": "v", "name": "box"}
    assert (created["scope"], created["status"], created["from"]) == ("local", "create", "busybox")
    assert created["id"] == created["Actor"]["ID"]
    by_action = {event["Action"]: event["Actor"]["Attributes"] for event in events}
    assert by_action["die"]["exitCode"] == "137"
    assert by_action["rename"]["oldName"] == "/box"
    assert by_action["connect"] == {"container": created["id"], "name": "none", "type": "null"}
    signals = [e["Actor"]["Attributes"]["signal"] for e in events if e["Action"] == "kill"]
    assert signals[0] == "12"
    assert set(signals[1:]) <= {"15", "9"}


def test_runs_that_are_attached_to(daemon: Daemon) -> None:
    """In the foreground, by itself; and one that cannot start tells of its network all the same."""
    run = ["run", "--rm", "--name", "box", *NONE, "busybox"]
    assert of([([*run, "true"], 0)], daemon) == [
        "container create", "container attach", "network connect type", "container start",
        "container die execDuration exitCode", "network disconnect type", "container destroy",
    ]  # fmt: skip
    assert of([([*run, "nosuch"], 127)], daemon) == [
        "container create", "container attach", "network connect type", "network disconnect type",
        "container destroy",
    ]  # fmt: skip


def test_terminals(daemon: Daemon) -> None:
    """attach, and resize with the new size; detach when the engine is sent the keys.

    The CLI looks for them itself, and then just leaves.
    """
    start(daemon, "-it", command=("sh",))
    since = time.time()
    with daemon.docker_on_terminal("attach", "box", rows=30, columns=90) as terminal:
        terminal.type("echo a$((1+1))\r")
        terminal.expect("a2")

        def sizes() -> set[tuple[str, str]]:
            resizes = (e["Actor"]["Attributes"] for e in told(daemon, since)
                       if e["Action"] == "resize")  # fmt: skip
            return {(size["height"], size["width"]) for size in resizes}

        wait_until(lambda: ("30", "90") in sizes(), "the size is told")
    assert lines(told(daemon, since))[0] == "container attach"
    wanted = {"stdin": 1, "stdout": 1, "stream": 1}
    connection = daemon.client().containers.get("box").attach_socket(params=wanted)
    connection._sock.sendall(b"\x10\x11")
    wait_until(lambda: lines(told(daemon, since))[-1] == "container detach", "detached")
    connection.close()


def test_out_of_memory(daemon: Daemon) -> None:
    """oom, before the end that it leads to."""
    limits = ("-m", "16m", "--memory-swap", "16m")
    command = ["run", "--rm", "--name", "box", *NONE, *limits, "busybox", "tail", "/dev/zero"]
    assert of([(command, 137)], daemon)[-4:] == [
        "container oom", "container die execDuration exitCode", "network disconnect type",
        "container destroy",
    ]  # fmt: skip


def test_health(daemon: Daemon) -> None:
    """A probe's end is told before what follows from it."""
    since = time.time()
    check = ("--health-cmd", "true", "--health-interval", "1s")
    start(daemon, *check)
    wait_until(lambda: state(daemon, "Health.Status") == "healthy", "healthy")
    wait_until(lambda: "container health_status: healthy" in lines(told(daemon, since)), "told")
    assert lines(told(daemon, since))[3:7] == [
        "container exec_create: /bin/sh -c true execID",
        "container exec_start: /bin/sh -c true execID",
        "container exec_die execID exitCode",
        "container health_status: healthy",
    ]


def test_a_prune_has_no_container(daemon: Daemon) -> None:
    """To older clients it has no id and no image, rather than empty ones."""
    since = time.time()
    daemon.docker("container", "prune", "--force")
    (event,) = (one for one in told(daemon, since) if one["Type"] == "container")
    assert (event["status"], event["Actor"]["Attributes"].keys()) == ("prune", {"reclaimed"})
    assert "id" not in event
    assert "from" not in event
    newer = told(daemon, since, version="1.52")
    assert not [one for one in newer if "status" in one]


def test_the_past(daemon: Daemon) -> None:
    """--since, --until, --filter of each kind, --format; and the line for people."""
    since = time.time()
    daemon.docker("run", "--name", "box", "-l", "k=v", *NONE, "busybox", "true")
    daemon.docker("run", "--name", "other", *NONE, "busybox", "sh", "-c", "exit 5", code=5)
    span = ("--since", f"{since:.6f}", "--until", f"{time.time():.6f}")

    def actions(*filters: str) -> list[str]:
        options = [word for filter_ in filters for word in ("--filter", filter_)]
        shown = daemon.docker("events", *span, *options, "--format", "{{.Action}}")
        return shown.text.split()

    assert actions("container=box", "type=container") == ["create", "attach", "start", "die"]
    assert actions("event=die") == ["die", "die"]
    assert actions("event=die", "label=k=v") == ["die"]
    assert actions("event=die", "event=start", "container=other") == ["start", "die"]
    assert actions("image=busybox", "event=create") == ["create", "create"]
    assert actions("type=network", "network=none") == ["connect", "disconnect"] * 2
    assert actions("scope=swarm") == []
    assert actions("label=nosuch") == []
    (line,) = daemon.docker(
        "system", "events", *span, "-f", "event=die", "-f", "container=other"
    ).text.splitlines()
    assert " container die " in line
    assert "exitCode=5" in line


def test_what_comes_as_it_comes(daemon: Daemon) -> None:
    """Without --until the client stays, and shows what is wanted."""
    options = ("--filter", "event=die", "--filter", "label=k=v", "--format", "{{json .}}")
    with events_followed(daemon, *options) as process:
        assert process.stdout is not None
        daemon.docker("run", "--rm", *NONE, "busybox", "true")
        daemon.docker("run", "--rm", "-l", "k=v", *NONE, "busybox", "sh", "-c", "exit 5", code=5)
        event = json.loads(process.stdout.readline())
    assert event["Action"] == "die"
    assert event["Actor"]["Attributes"]["exitCode"] == "5"
