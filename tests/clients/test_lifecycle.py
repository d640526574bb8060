"""The life of a container by the CLI and by docker-py, its events, and images."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.services.images.archives import TestImage, busybox_layer, oci_members, tar_of
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


def test_images_come_and_go(fresh_daemon: Daemon, tmp_path: Path) -> None:
    """load, tag, images, inspect, history, rmi, with both kinds of archives."""
    daemon = fresh_daemon
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


def test_an_image_in_use_stays(fresh_daemon: Daemon) -> None:
    """rmi refuses what a container needs, and says which one."""
    daemon = fresh_daemon
    container_id = start(daemon)
    refused = daemon.docker("rmi", "busybox", code=1).error_text
    assert "conflict: unable to delete busybox:latest" in refused
    assert container_id[:12] in refused


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
    wait_until(lambda: box.logs(stdout=False) == b"err\n", "its errors")
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


def test_an_oci_layout_is_loaded(daemon: Daemon) -> None:
    """The other kind of archive, as buildx and skopeo write it."""
    image = TestImage(layers=[busybox_layer()], tags=["layout:v1"])
    ran = daemon.docker("load", stdin=tar_of(oci_members(image)))
    assert "layout:v1" in ran.text
    shown = daemon.docker("image", "inspect", "layout:v1", "-f", "{{json .Config.Env}}").text
    assert json.loads(shown) == ["PATH=/bin"]
    daemon.docker("rmi", "layout:v1")
