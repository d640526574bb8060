"""Images mounted into containers: `--mount type=image`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.cli import NONE, refusal
from tests.support.daemon import Daemon, wait_until

pytestmark = pytest.mark.clients

TREE = (
    "mkdir -p /data/deep; echo one > /data/deep/file; "
    "ln -s /data/deep /data/inside; ln -s ../../../../../etc/passwd /data/deep/out; touch /mark"
)


@pytest.fixture
def image(daemon: Daemon) -> Iterator[str]:
    """An image of two layers."""
    daemon.docker("run", "--name", "base", *NONE, "busybox", "sh", "-c", TREE)
    daemon.docker("commit", "base", "tree:1")
    daemon.docker("rm", "base")
    yield "tree:1"
    daemon.docker("rmi", "-f", "tree:1", code=None)


def mounted(source: str, part: str = "") -> tuple[str, str]:
    """The option that mounts an image, or a part of it, at /image."""
    subpath = f",image-subpath={part}" if part else ""
    return "--mount", f"type=image,source={source},target=/image{subpath}"


def shown(daemon: Daemon, source: str, script: str, part: str = "") -> str:
    """What a script prints in a container that has an image at /image."""
    words = ("busybox", "sh", "-c", script)
    return daemon.docker("run", "--rm", *NONE, *mounted(source, part), *words).text


def test_an_image_is_there_whole_and_cannot_be_written_to(daemon: Daemon, image: str) -> None:
    """All of its layers; programs in it can be run. One of a single layer, too."""
    script = "cat /image/data/deep/file; touch /image/new 2>&1; /image/bin/echo run; ls /image/mark"
    assert shown(daemon, image, script).splitlines() == [
        "one",
        "touch: /image/new: Read-only file system",
        "run",
        "/image/mark",
    ]
    assert shown(daemon, "busybox", "touch /image/new 2>&1; ls /image/bin/sh").splitlines() == [
        "touch: /image/new: Read-only file system",
        "/image/bin/sh",
    ]


def test_a_part_of_it_is_found_within_it(daemon: Daemon, image: str) -> None:
    """A directory or a file; links lead to where they lead in the image, never out of it."""
    assert shown(daemon, image, "ls /image", "data/inside").split() == ["file", "out"]
    assert shown(daemon, image, "cat /image", "data/deep/file") == "one"
    own = shown(daemon, image, "cat /image", "data/deep/out")
    assert own == shown(daemon, image, "cat /image/etc/passwd")


def test_what_cannot_be_is_refused(daemon: Daemon, image: str) -> None:
    """With a sentence, and nothing is left."""
    create = ("create", *NONE)
    assert "subpath must be a relative path" in refusal(
        daemon, *create, *mounted(image, "../x"), "busybox"
    )
    answer = daemon.http(
        "POST",
        "/containers/create",
        {
            "Image": "busybox",
            "HostConfig": {"Mounts": [{"Type": "image", "Source": "nobody:1", "Target": "/image"}]},
        },
    )
    assert (answer.status, answer.json()["message"]) == (404, "No such image: nobody:1")
    said = refusal(daemon, "run", *NONE, *mounted(image, "none"), "busybox", "true", code=127)
    assert "cannot access path none of image tree:1: no such file or directory" in said
    places = daemon.exec_root / "mounts"
    assert not places.exists() or not list(places.iterdir())


def test_it_outlives_its_image_and_goes_with_its_container(daemon: Daemon, image: str) -> None:
    """As a container's own files do; with volumes-from another one has it as well."""
    options = (*NONE, *mounted(image))
    daemon.docker("run", "-d", "--name", "holder", *options, "busybox", "sleep", "1000")
    read = ("cat", "/image/data/deep/file")
    daemon.docker("run", "--rm", *NONE, "--volumes-from", "holder", "busybox", *read)
    mounts = daemon.http("GET", "/containers/holder/json").json()["Mounts"]
    assert [(m["Type"], m["Name"], m["Destination"], m["RW"]) for m in mounts] == [
        ("image", "tree:1", "/image", False)
    ]
    assert ".image-0" in snapshots(daemon)
    daemon.docker("rmi", "-f", image)
    daemon.docker("restart", "-t", "0", "holder")
    assert daemon.docker("exec", "holder", *read).text == "one"
    daemon.docker("rm", "-f", "holder")
    wait_until(lambda: ".image-" not in snapshots(daemon), "the snapshot goes")


def snapshots(daemon: Daemon) -> str:
    """containerd's."""
    socket = daemon.exec_root / "containerd" / "containerd.sock"
    command = ["ctr", "-a", str(socket), "-n", "moby", "snapshots", "ls"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
