"""`docker cp`: both ways, with containers that run and that do not, and docker-py's archives."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from tests.services.images.archives import tar_of
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
SETUP = "mkdir -p /a/b; ln -s b /a/l; ln -s /etc/passwd /a/p; echo t >/tm/t; echo x >/a/b/f"


@pytest.fixture(params=["running", "stopped"])
def box(request: pytest.FixtureRequest, daemon: Daemon, tmp_path: Path) -> str:
    """A container with links and mounts, its mounts at /rw, /ro and /tm; in either state."""
    mounts = (f"-v={tmp_path}:/rw", f"-v={tmp_path}:/ro:ro", "--tmpfs=/tm")
    command = f"{SETUP}; echo up; sleep 1000"
    daemon.docker("run", "-d", "--name", "box", *NONE, *mounts, "busybox", "sh", "-c", command)
    wait_until(lambda: daemon.docker("logs", "box").text == "up", "it is set up")
    if request.param == "stopped":
        daemon.docker("kill", "box")
    return str(request.param)


def copied(daemon: Daemon, path: str) -> list[str]:
    """The names in what `docker cp box:PATH -` gives."""
    data = daemon.docker("cp", f"box:{path}", "-").out
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [member.name for member in tar]


def test_out_and_in(daemon: Daemon, box: str, tmp_path: Path) -> None:
    """Files, folders and links, through mounts; a link is copied, with -L what it points to."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "big").write_bytes(os.urandom(3_000_000))
    daemon.docker("cp", "--quiet", str(here), "box:/a/new")
    daemon.docker("cp", "box:/a/new/.", str(tmp_path / "back"))
    assert (tmp_path / "back" / "big").read_bytes() == (here / "big").read_bytes()
    assert copied(daemon, "/a") == [
        "a", "a/b", "a/b/f", "a/l", "a/new", "a/new/big", "a/p",
    ]  # fmt: skip
    daemon.docker("cp", "box:/a/l", str(tmp_path / "link"))
    daemon.docker("cp", "-L", "box:/a/l", str(tmp_path / "folder"))
    daemon.docker("cp", "-L", "box:/a/p", str(tmp_path / "passwd"))
    assert (tmp_path / "link").readlink() == Path("b")
    assert (tmp_path / "folder" / "f").read_text() == "x\n"
    assert "root" in (tmp_path / "passwd").read_text()
    daemon.docker("cp", str(here / "big"), "box:/rw/mounted")
    assert (tmp_path / "mounted").stat().st_size == 3_000_000
    assert copied(daemon, "/ro/mounted") == ["mounted"]
    assert copied(daemon, "/tm")[1:] == (["tm/t"] if box == "running" else [])
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_refusals(daemon: Daemon, box: str, tmp_path: Path) -> None:
    """What is not there, what is read-only, what is no directory, what leads out."""
    del box
    evil = tmp_path / "evil.tar"
    evil.write_bytes(tar_of({"l": "/etc", "../../../../../tmp/wf-evil": b"x"}))
    (tmp_path / "f").touch()
    for arguments, words in (
        (("box:/nope", str(tmp_path)), "Could not find the file /nope in container box"),
        (("box:/proc/cpuinfo", str(tmp_path)), "Could not find the file /proc/cpuinfo"),
        ((str(tmp_path / "f"), "box:/nope/f"), "Could not find the file /nope in container box"),
        ((str(tmp_path / "f"), "box:/ro"), "mounted volume is marked read-only"),
        ((str(tmp_path / "f"), "box:/etc/passwd/x"), "not a directory"),
        (("nosuch:/etc", str(tmp_path)), "No such container: nosuch"),
    ):
        ran = daemon.docker("cp", *arguments, code=1)
        assert words in ran.error_text, (arguments, ran)
    ran = daemon.docker("cp", "-", "box:/a", stdin=evil.read_bytes(), code=1)
    assert 'is outside of "/a"' in ran.error_text
    assert not Path("/tmp/wf-evil").exists()


def test_a_read_only_root(daemon: Daemon, tmp_path: Path) -> None:
    """Nothing is copied into it, but into a volume of it; with -a it belongs to the user."""
    (tmp_path / "f").write_text("x")
    mounts = ("--read-only", "-v", f"{tmp_path}:/rw")
    daemon.docker("create", "--name", "box", *NONE, *mounts, "-u", "12:34", "busybox", "true")
    ran = daemon.docker("cp", str(tmp_path / "f"), "box:/tmp", code=1)
    assert "container rootfs is marked read-only" in ran.error_text
    daemon.docker("cp", "-a", str(tmp_path / "f"), "box:/rw/g")
    status = (tmp_path / "g").stat()
    assert (status.st_uid, status.st_gid) == (12, 34)


def test_volumes(daemon: Daemon, tmp_path: Path) -> None:
    """Also of a container that never ran, and one that is mounted only while somebody needs it."""
    (tmp_path / "f").write_text("x")
    options = ("-o", "type=tmpfs", "-o", "device=tmpfs")
    daemon.docker("volume", "create", "plain")
    daemon.docker("volume", "create", "memory", "-d", "local", *options)
    mounts = ("-v", "plain:/plain", "-v", "memory:/memory:ro")
    daemon.docker("create", "--name", "box", *NONE, *mounts, "busybox", "ls", "/plain")
    daemon.docker("cp", str(tmp_path / "f"), "box:/plain")
    assert copied(daemon, "/memory") == ["memory"]
    ran = daemon.docker("cp", str(tmp_path / "f"), "box:/memory", code=1)
    assert "mounted volume is marked read-only" in ran.error_text
    assert daemon.docker("start", "-a", "box").text == "f"
    daemon.docker("rm", "box")
    daemon.docker("volume", "rm", "plain", "memory")


def test_docker_py(daemon: Daemon) -> None:
    """get_archive with its header, put_archive, and that events tell of both."""
    container = daemon.client().containers.create("busybox", "true", network_mode="none")
    assert container.put_archive("/tmp", tar_of({"f": b"data"}))
    pieces, stat = container.get_archive("/tmp/f")
    assert (stat["name"], stat["size"], stat["mode"], stat["linkTarget"]) == ("f", 4, 0o755, "")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        member = tar.extractfile("f")
        assert member is not None
        assert member.read() == b"data"
    told = daemon.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    actions = [event["Action"] for event in told if event["Actor"]["ID"] == container.id]
    assert actions == ["create", "extract-to-dir", "archive-path"]
