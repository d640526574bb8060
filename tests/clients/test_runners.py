"""What test libraries and CI runners do with containers, through docker-py."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until

docker = pytest.importorskip("docker")

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def service(client: Any, script: str, **options: Any) -> Any:
    """A service as a test library starts it: detached, labelled, gone by itself."""
    settings = {"network_mode": "none", "auto_remove": True, **options}
    return client.containers.run("busybox", ["sh", "-c", script], detach=True, **settings)


def test_a_service_is_ready_when_its_log_says_so(daemon: Daemon) -> None:
    """The library follows the log until a line of it, looks inside, and stops it."""
    client = daemon.client()
    box = service(client, "sleep 0.3; echo ready to serve >&2; exec sleep 1000", labels={"s": "1"})
    seen = b""
    for chunk in box.logs(stream=True, follow=True):
        seen += chunk
        if b"ready to serve" in seen:
            break
    box.reload()
    assert (box.status, box.labels) == ("running", {"s": "1"})
    assert box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True) == (
        3,
        (b"out\n", b"err\n"),
    )
    assert b"".join(box.exec_run(["echo", "x"], stream=True).output) == b"x\n"
    box.stop(timeout=0)
    wait_until(lambda: client.api.containers(all=True) == [], "it removed itself")


def test_a_service_that_dies_is_seen_by_who_waits(daemon: Daemon) -> None:
    """Its log ends, its exit is told, and --rm leaves nothing."""
    client = daemon.client()
    box = service(client, "echo starting; until test -e /go; do sleep 0.05; done; exit 9")
    log = box.logs(stream=True, follow=True)
    assert next(log) == b"starting\n"
    box.exec_run(["touch", "/go"])
    assert list(log) == []
    with contextlib.suppress(docker.errors.NotFound):  # it may be gone by now
        assert box.wait(condition="removed")["StatusCode"] == 9
    wait_until(lambda: client.api.containers(all=True) == [], "it removed itself")


def test_a_reaper_removes_what_a_session_left(daemon: Daemon) -> None:
    """It knows them by a label, running or not, and removes them with their volumes."""
    client = daemon.client()
    session = uuid.uuid4().hex
    mine = {"org.example.session": session}
    service(client, "sleep 1000", labels=mine, volumes=["/data"])
    client.containers.create("busybox", "true", labels=mine, network_mode="none", volumes=["/d"])
    other = service(client, "sleep 1000", labels={"org.example.session": "another"})
    found = client.containers.list(
        all=True, filters={"label": f"org.example.session={session}"}, ignore_removed=True
    )
    assert len(found) == 2
    for container in found:
        container.remove(v=True, force=True)
    assert [c.id for c in client.containers.list(all=True)] == [other.id]
    assert client.volumes.list() == []
    pruned = client.containers.prune(filters={"label": f"org.example.session={session}"})
    assert pruned["ContainersDeleted"] is None


def test_a_container_ends_with_the_connection_that_feeds_it(daemon: Daemon) -> None:
    """A runner that dies closes its connection; the container sees the end of its input."""
    api = daemon.client().api
    made = api.create_container(
        "busybox", ["sh", "-c", "echo up; cat; echo over"], stdin_open=True,
        host_config=api.create_host_config(network_mode="none"),
    )["Id"]  # fmt: skip
    connection = api.attach_socket(made, params={"stdin": 1, "stdout": 1, "stream": 1})
    api.start(made)
    connection._sock.sendall(b"job\n")
    wait_until(lambda: b"job" in api.logs(made), "the job has arrived")
    connection._sock.close()
    connection.close()
    assert api.wait(made)["StatusCode"] == 0
    assert api.logs(made) == b"up\njob\nover\n"


def test_a_job_in_steps(daemon: Daemon) -> None:
    """A runner keeps one container and runs the steps in it, in order, with their own settings."""
    client = daemon.client()
    job = client.containers.create(
        "busybox", ["tail", "-f", "/dev/null"], labels={"job": "1"}, network_mode="none",
        working_dir="/work", environment={"CI": "true"}, init=True,
    )  # fmt: skip
    job.start()
    assert job.exec_run("pwd").output == b"/work\n"
    assert job.exec_run(["sh", "-c", "echo $CI $STEP"], environment={"STEP": "1"}).output == (
        b"true 1\n"
    )
    assert job.exec_run("id -u", user="5").output == b"5\n"
    assert job.exec_run(["sh", "-c", "echo made > /work/file"], workdir="/").exit_code == 0
    stream, stat = job.get_archive("/work/file")
    assert (stat["name"], stat["size"]) == ("file", 5)
    assert b"made\n" in b"".join(stream)
    detached = job.exec_run("sleep 1000", detach=True)
    assert (detached.exit_code, detached.output) == (None, "")
    job.remove(force=True)


def test_low_level_execs(daemon: Daemon) -> None:
    """create, start, resize, inspect: as libraries do that want the id."""
    api = daemon.client().api
    box = service(daemon.client(), "sleep 1000")
    made = api.exec_create(box.id, ["sh", "-c", "stty size; exit 4"], tty=True, stdin=True)["Id"]
    assert api.exec_inspect(made)["ExitCode"] is None
    assert api.exec_start(made, tty=True).endswith(b"\r\n")
    assert api.exec_inspect(made)["ExitCode"] == 4
    long = api.exec_create(box.id, ["sleep", "1000"], tty=True)["Id"]
    api.exec_start(long, detach=True, tty=True)
    api.exec_resize(long, height=20, width=60)
    assert api.exec_inspect(long)["Running"] is True
    with pytest.raises(docker.errors.APIError, match="is already running"):
        api.exec_start(long, detach=True)
    api.resize(box.id, height=10, width=20)
    assert api.top(box.id, ps_args="-o pid,comm")["Titles"] == ["PID", "COMMAND"]
    with pytest.raises(docker.errors.APIError, match="No exec command specified"):
        api.exec_create(box.id, [])


def test_lists_by_every_filter_of_docker_py(daemon: Daemon) -> None:
    """`filters` with one value or several, `limit`, `sparse`."""
    client = daemon.client()
    first = service(client, "sleep 1000", name="first", labels={"a": "b"})
    second = client.containers.create("busybox", "true", name="second", network_mode="none")

    def names(**options: Any) -> list[str]:
        return [c.name for c in client.containers.list(**options)]

    assert names() == ["first"]
    assert names(all=True) == ["second", "first"]
    assert names(limit=1) == ["second"]
    assert names(all=True, since="first") == ["second", "first"]  # dockerd knows it as a filter
    for filters, found in (
        ({"since": first.id}, ["second"]),
        ({"before": "second"}, ["first"]),
        ({"label": "a=b"}, ["first"]),
        ({"label": ["a", "c"]}, []),
        ({"status": ["created", "running"]}, ["second", "first"]),
        ({"ancestor": "busybox:latest"}, ["second", "first"]),
        ({"id": second.id}, ["second"]),
        ({"name": "^/se"}, ["second"]),
        ({"exited": 0}, []),
        ({"is-task": False, "health": "none"}, ["second", "first"]),
    ):
        assert names(all=True, filters=filters) == found, filters
    assert client.containers.list(all=True, sparse=True)[0].attrs["Names"] == ["/second"]
    assert client.api.containers(all=True, size=True)[0]["SizeRootFs"] > 0
    assert client.api.containers(quiet=True, latest=True)[0] == {"Id": second.id}


def test_events_by_filter(daemon: Daemon) -> None:
    """`events` from the past, of what was asked for."""
    client = daemon.client()
    since = time.time()
    box = service(client, "true", name="short", auto_remove=False, labels={"k": "v"})
    box.wait()
    until = f"{time.time():.6f}"

    def actions(**filters: Any) -> list[str]:
        events = client.api.events(since=f"{since:.6f}", until=until, filters=filters, decode=True)
        return [event["Action"] for event in events]

    assert actions(container="short", type="container") == ["create", "start", "die"]
    assert actions(event=["start", "die"], label="k=v") == ["start", "die"]
    assert actions(type="network") == ["connect", "disconnect"]
    assert actions(image="busybox", event="create") == ["create"]
    assert actions(container="nosuch") == []
