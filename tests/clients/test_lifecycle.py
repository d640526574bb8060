"""The life of a container by the CLI and by docker-py, its events, and images."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, image_archive, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
OLD_CLIENT = "/usr/bin/docker"


def start(daemon: Daemon, *command: str, name: str = "box") -> str:
    """A detached container; its id."""
    command = command or ("sleep", "1000")
    return daemon.docker("run", "-d", "--name", name, *NONE, "busybox", *command).text


def state(daemon: Daemon, what: str, name: str = "box") -> str:
    """One field of an inspect's State."""
    return daemon.docker("inspect", name, "-f", f"{{{{.State.{what}}}}}").text


def test_stop_asks_first(daemon: Daemon) -> None:
    """SIGTERM reaches a handler; the exit code is the handler's."""
    start(daemon, "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done")
    daemon.docker("stop", "box")
    assert (state(daemon, "ExitCode"), state(daemon, "Status")) == ("9", "exited")


def test_stop_insists(daemon: Daemon) -> None:
    """One that does not listen is killed when its grace is over."""
    start(daemon, "sh", "-c", "trap '' TERM; sleep 1000")
    daemon.docker("stop", "-t", "1", "box")
    assert state(daemon, "ExitCode") == "137"
    daemon.docker("stop", "box")  # already so


def test_a_stop_goes_on_when_its_client_leaves(daemon: Daemon) -> None:
    """Ctrl-C in `docker stop` ends the waiting; the container is stopped all the same."""
    start(daemon, "sh", "-c", "trap '' TERM; touch /up; sleep 1000")
    wait_until(lambda: daemon.docker("exec", "box", "ls", "/up", code=None).code == 0, "it is up")
    with daemon.docker_process("stop", "-t", "1", "box") as process:
        time.sleep(0.3)  # the request has left; nothing tells when
        process.kill()
    wait_until(lambda: state(daemon, "Status") == "exited", "it was stopped")
    assert state(daemon, "ExitCode") == "137"


def test_kill_sends_any_signal(daemon: Daemon) -> None:
    """By name, with or without SIG, or by number."""
    start(daemon, "sh", "-c", "trap 'echo usr' USR1; echo up; while :; do sleep 0.05; done")
    wait_until(lambda: daemon.docker("logs", "box").text == "up", "it is up")

    def heard(times: int) -> bool:
        return daemon.docker("logs", "box").text.count("usr") == times

    for number, name in enumerate(("USR1", "SIGUSR1", "10"), start=1):
        daemon.docker("kill", "-s", name, "box")
        wait_until(partial(heard, number), "heard")
    daemon.docker("kill", "box")
    assert state(daemon, "ExitCode") == "137"


def test_restart_is_a_new_process(daemon: Daemon) -> None:
    """Another pid, the same id and files."""
    container_id = start(daemon)
    pid = state(daemon, "Pid")
    daemon.docker("exec", "box", "touch", "/kept")
    daemon.docker("restart", "-t", "0", "box")
    assert state(daemon, "Pid") != pid
    assert daemon.docker("exec", "box", "ls", "/kept").text == "/kept"
    assert daemon.docker("ps", "-q", "--no-trunc").text == container_id


def test_pause_stops_the_clock_of_a_process(daemon: Daemon) -> None:
    """A paused one does nothing until it is resumed; it can be killed."""
    start(daemon, "sh", "-c", "while :; do date +%s%N; sleep 0.02; done")
    daemon.docker("pause", "box")
    assert "(Paused)" in daemon.docker("ps", "--format", "{{.Status}}").text
    before = daemon.docker("logs", "box").out
    time.sleep(0.2)
    assert daemon.docker("logs", "box").out == before
    daemon.docker("unpause", "box")
    wait_until(lambda: daemon.docker("logs", "box").out != before, "it goes on")
    daemon.docker("pause", "box")
    daemon.docker("rm", "-f", "box")


def test_rename_and_names(daemon: Daemon) -> None:
    """The new name is found, the old one free; ids and their beginnings work as well."""
    container_id = start(daemon)
    daemon.docker("rename", "box", "crate")
    for ref in ("crate", "/crate", container_id, container_id[:12], container_id[:5]):
        found = daemon.docker("inspect", ref, "-f", "{{.Name}} {{.Id}}").text
        assert found == f"/crate {container_id}"
    assert "No such" in daemon.docker("inspect", "box", code=1).error_text
    daemon.docker("create", "--name", "box", *NONE, "busybox")


def test_rm_needs_force_for_what_runs(daemon: Daemon) -> None:
    """rm refuses, rm -f kills, and its files are gone."""
    container_id = start(daemon)
    refused = daemon.docker("rm", "box", code=1).error_text
    assert "stop the container before removing or force remove" in refused
    folder = daemon.data_root / "containers" / container_id
    assert folder.is_dir()
    daemon.docker("rm", "-f", "box")
    assert not folder.exists()
    assert "No such container" in daemon.docker("rm", "box", code=1).error_text
    daemon.docker("rm", "-f", "box")  # to the client there is nothing left to do


def test_top(daemon: Daemon) -> None:
    """The host's ps, of this container's processes alone."""
    start(daemon)
    lines = daemon.docker("top", "box").text.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("sleep 1000")
    assert daemon.docker("top", "box", "-o", "pid").text.split() == ["PID", state(daemon, "Pid")]


def test_ps_filters_and_format(daemon: Daemon) -> None:
    """What is asked for, in the columns asked for, newest first."""
    start(daemon, name="first")
    daemon.docker(
        "run", "--name", "second", "-l", "a=b", *NONE, "busybox", "sh", "-c", "exit 3", code=3
    )
    daemon.docker("create", "--name", "third", *NONE, "busybox", "echo", "a b")

    def names(*options: str) -> list[str]:
        return daemon.docker("ps", "--format", "{{.Names}}", *options).text.split()

    assert names() == ["first"]
    assert names("-a") == ["third", "second", "first"]
    assert names("-l") == ["third"]
    assert names("-n", "2") == ["third", "second"]
    for filter_, expected in {
        "status=exited": ["second"], "exited=3": ["second"], "name=ir": ["third", "first"],
        "label=a=b": ["second"], "before=second": ["first"], "since=second": ["third"],
        "ancestor=busybox": ["third", "second", "first"], "status=created": ["third"],
        "network=none": ["first"],
    }.items():  # fmt: skip
        found = names("-a", "--filter", filter_)
        assert found == expected or (filter_ == "network=none" and "first" in found), filter_
    columns = "{{.Command}}|{{.Image}}|{{.Status}}|{{.State}}|{{.Networks}}|{{.Labels}}"
    ran = daemon.docker("ps", "-a", "--no-trunc", "--filter", "name=third", "--format", columns)
    assert ran.text == "\"echo 'a b'\"|busybox|Created|created|none|"


SCENARIO: list[tuple[list[str], int]] = [
    (["run", "-d", "--name", "box", "-l", "k=v", *NONE, "busybox", "sleep", "1000"], 0),
    (["exec", "box", "true"], 0),
    (["pause", "box"], 0),
    (["unpause", "box"], 0),
    (["top", "box"], 0),
    (["rename", "box", "crate"], 0),
    (["kill", "-s", "USR2", "crate"], 0),
    (["restart", "-t", "0", "crate"], 0),
    (["stop", "-t", "0", "crate"], 0),
    (["rm", "crate"], 0),
]
EVENTS = """\
container create
network connect
container start
container exec_create: true
container exec_start: true
container exec_die
container pause
container unpause
container top
container rename
container kill
container kill
container die
network disconnect
container stop
network connect
container start
container restart
container kill
container die
network disconnect
container stop
container destroy""".splitlines()
"""What dockerd tells of the scenario, in its order (compared with 20.10 and 28). USR2 does not end
a first process, `restart -t 0` and `stop -t 0` kill at once; see test_events_of_a_life."""


def test_events_of_a_life(daemon: Daemon) -> None:
    """Types, actions, order and attributes as dockerd's."""
    since = time.time()
    for command, code in SCENARIO:
        daemon.docker(*command, code=code)
    path = f"/v1.41/events?since={since:.6f}&until={time.time():.6f}"
    events = daemon.http("GET", path).json_lines()
    told = [f"{event['Type']} {event['Action']}".strip() for event in events]
    signals = [e["Actor"]["Attributes"].get("signal") for e in events if e["Action"] == "kill"]
    assert signals[0] == "12"
    assert set(signals[1:]) <= {"15", "9"}
    compact = [t for i, t in enumerate(told) if not (t == "container kill" and told[i - 1] == t)]
    expected = [
        t for i, t in enumerate(EVENTS) if not (t == "container kill" and EVENTS[i - 1] == t)
    ]
    assert compact == expected
    created = events[0]
    assert created["Actor"]["Attributes"] == {"image": "busybox", "k": "v", "name": "box"}
    assert (created["scope"], created["status"], created["from"]) == ("local", "create", "busybox")
    die = next(event for event in events if event["Action"] == "die")
    assert die["Actor"]["Attributes"]["exitCode"] == "137"
    connect = next(event for event in events if event["Action"] == "connect")
    assert connect["Actor"]["Attributes"] == {
        "container": created["Actor"]["ID"], "name": "none", "type": "null",
    }  # fmt: skip


def test_events_follow_and_filter(daemon: Daemon) -> None:
    """`docker events` shows what comes, as it comes, if it is wanted."""
    options = ("--filter", "event=die", "--filter", "label=k=v", "--format", "{{json .}}")
    with daemon.docker_process("events", *options) as process:
        assert process.stdout is not None
        time.sleep(0.3)  # the client says nothing once it listens
        daemon.docker("run", "--rm", *NONE, "busybox", "true")
        daemon.docker("run", "--rm", "-l", "k=v", *NONE, "busybox", "sh", "-c", "exit 5", code=5)
        event = json.loads(process.stdout.readline())
    assert event["Action"] == "die"
    assert event["Actor"]["Attributes"]["exitCode"] == "5"


def test_images_come_and_go(daemon: Daemon, tmp_path: Path) -> None:
    """load, tag, images, inspect, history, rmi, with both kinds of archives."""
    archive = str(image_archive())
    assert "Loaded image: busybox:latest" in daemon.docker("load", "-i", archive).text
    daemon.docker("tag", "busybox", "mine:v1")
    table = daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}").text.split()
    assert sorted(table) == ["busybox:latest", "mine:v1"]
    shown = json.loads(daemon.docker("inspect", "mine:v1").text)[0]
    assert sorted(shown["RepoTags"]) == ["busybox:latest", "mine:v1"]
    assert shown["Config"]["Cmd"] == ["sh"]
    assert "scripts/test-image" in daemon.docker("history", "--no-trunc", "busybox").text
    assert daemon.docker("run", "--rm", *NONE, "mine:v1", "echo", "x").text == "x"
    assert "Untagged: mine:v1" in daemon.docker("rmi", "mine:v1").text
    assert "No such image" in daemon.docker("rmi", "mine:v1", code=1).error_text


def test_an_image_in_use_stays(daemon: Daemon) -> None:
    """rmi refuses what a container needs, and says which one."""
    container_id = start(daemon)
    refused = daemon.docker("rmi", "busybox", code=1).error_text
    assert "conflict: unable to delete busybox:latest" in refused
    assert container_id[:12] in refused


def test_info_and_version(daemon: Daemon) -> None:
    """The human commands work, and tell the truth."""
    start(daemon)
    info = json.loads(daemon.docker("info", "--format", "{{json .}}").text)
    assert (info["Containers"], info["ContainersRunning"], info["Images"]) == (1, 1, 1)
    assert info["DockerRootDir"] == str(daemon.data_root)
    assert "Server Version" in daemon.docker("info").text
    version = json.loads(daemon.docker("version", "--format", "{{json .Server}}").text)
    assert version["MinAPIVersion"] == "1.24"
    assert version["Os"] == "linux"
    assert {part["Name"] for part in version["Components"]} >= {"containerd", "runc"}


def is_another_client() -> bool:
    """Whether Debian's client is there beside a newer one on the PATH."""
    newer = shutil.which("docker")
    if newer is None or not Path(OLD_CLIENT).exists() or newer == OLD_CLIENT:
        return False
    versions = [
        subprocess.run([path, "--version"], capture_output=True, check=True).stdout
        for path in (newer, OLD_CLIENT)
    ]
    return versions[0] != versions[1]


@pytest.mark.skipif(not is_another_client(), reason="there is one docker CLI here, or none")
def test_an_older_client(daemon: Daemon) -> None:
    """Debian's 20.10 speaks API 1.41: the same container, all the way."""

    def old(*args: str, code: int = 0, stdin: bytes = b"") -> str:
        return daemon.docker(*args, code=code, stdin=stdin, binary=OLD_CLIENT).text

    assert old("run", "--rm", "busybox", "echo", "hi") == "hi"
    assert old("run", "--rm", "-i", *NONE, "busybox", "cat", stdin=b"in") == "in"
    old("run", "--rm", *NONE, "busybox", "nosuch", code=127)
    old("run", "-d", "--name", "box", *NONE, "busybox", "sh", "-c", "echo up; sleep 1000")
    assert old("exec", "box", "echo", "x") == "x"
    old("exec", "box", "sh", "-c", "exit 4", code=4)
    wait_until(lambda: old("logs", "box") == "up", "its log")
    assert old("ps", "--format", "{{.Names}}") == "box"
    old("stop", "-t", "0", "box")
    assert old("wait", "box") == "137"
    old("rm", "box")
    assert old("images", "--format", "{{.Repository}}") == "busybox"
    old("info")
    with daemon.docker_on_terminal(
        "run", "--rm", "-it", *NONE, "busybox", binary=OLD_CLIENT
    ) as terminal:
        terminal.expect("/ # ")
        terminal.type("exit 6\r")
        assert terminal.wait() == 6


def test_docker_py(daemon: Daemon) -> None:
    """docker-py 7, unmodified: run, exec, logs, attach, wait, events, images."""
    errors = pytest.importorskip("docker.errors")
    client = daemon.client()
    assert client.ping()
    assert client.version()["ApiVersion"]
    assert client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(errors.ContainerError) as failed:
        client.containers.run("busybox", ["sh", "-c", "exit 3"], remove=True, network_mode="none")
    assert failed.value.exit_status == 3
    with pytest.raises(errors.ImageNotFound):
        client.images.get("nosuch")
    with pytest.raises(errors.NotFound):
        client.containers.get("nosuch")
    box = client.containers.run(
        "busybox", ["sh", "-c", "echo up; echo err >&2; sleep 1000"], detach=True, name="box",
        environment={"A": "b"}, labels={"k": "v"}, mem_limit="64m", network_mode="none",
    )  # fmt: skip
    wait_until(lambda: box.logs(stderr=False) == b"up\n", "its log")
    assert box.logs(stdout=False) == b"err\n"
    code, output = box.exec_run(["sh", "-c", "echo $A; echo e >&2; exit 2"], demux=True)
    assert (code, output) == (2, (b"b\n", b"e\n"))
    assert box.exec_run("cat", stdin=False).exit_code == 0
    assert [c.name for c in client.containers.list(filters={"label": "k=v"})] == ["box"]
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    assert box.top()["Titles"][1] == "PID"
    box.rename("crate")
    box.stop(timeout=0)
    assert box.wait()["StatusCode"] == 137
    box.start()
    box.kill()
    box.remove(force=True)
    image: Any = client.images.get("busybox")
    assert image.tags == ["busybox:latest"]
    assert client.info()["Images"] == 1


def test_docker_py_attaches(daemon: Daemon) -> None:
    """Its attach socket carries input and output of a container that waits for both."""
    client = daemon.client()
    box = client.containers.create(
        "busybox", ["cat"], stdin_open=True, tty=True, network_mode="none"
    )
    sock = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    raw = sock._sock
    raw.sendall(b"ping\n")
    received = b""
    while b"ping\r\nping\r\n" not in received:
        piece = raw.recv(4096)
        assert piece, received
        received += piece
    sock.close()
    box.remove(force=True)
