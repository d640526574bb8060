"""`docker export`: the container's own files, without what is mounted into it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_files_without_mounts(daemon: Daemon, tmp_path: Path) -> None:
    """Image and changes together, of a running container too; mounts are empty places."""
    (tmp_path / "secret").touch()
    command = "echo x >/new; rm /bin/wget; echo up; sleep 1000"
    mounts = ("-v", f"{tmp_path}:/data", "--network", "none")
    daemon.docker("run", "-d", "--name", "box", *mounts, "busybox", "sh", "-c", command)
    wait_until(lambda: daemon.docker("logs", "box").text == "up", "it is set up")
    daemon.docker("export", "-o", str(tmp_path / "out.tar"), "box")
    with tarfile.open(tmp_path / "out.tar") as tar:
        names = tar.getnames()
    assert {"bin/busybox", "etc/passwd", "new", "data", "proc"} <= set(names)
    assert not {"bin/wget", "data/secret", "proc/self", "."} & set(names)


def test_a_stopped_one_with_docker_py(daemon: Daemon) -> None:
    """In pieces, as the client reads them."""
    container = daemon.client().containers.create("busybox", "true", network_mode="none")
    data = b"".join(container.export())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "bin/sh" in tar.getnames()


def test_no_such_container(daemon: Daemon, tmp_path: Path) -> None:
    """A file that was to be written is not left behind."""
    ran = daemon.docker("export", "-o", str(tmp_path / "x.tar"), "nosuch", code=1)
    assert "No such container: nosuch" in ran.error_text
    assert not (tmp_path / "x.tar").exists()
