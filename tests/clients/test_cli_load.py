"""`docker load`: layouts, compressions, progress, platforms; large archives in constant memory."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest
import zstandard

from tests.services.images.archives import (
    TestImage,
    busybox_layer,
    docker_members,
    layer_with,
    oci_members,
    tar_of,
)
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

LARGE_BYTES = 120 << 20
MEMORY_KB = 60 << 10


def image(name: str) -> TestImage:
    """Two layers, one of which is everybody's."""
    return TestImage(layers=[busybox_layer(), layer_with(name=name)], tags=[f"{name}:latest"])


@pytest.mark.parametrize("layout", ["docker", "oci", "both"])
def test_several_images_compressed(daemon: Daemon, layout: str) -> None:
    """In one archive of either layout, whatever it is compressed with."""
    images = (image("one"), image("two"))
    match layout:
        case "docker":
            data = gzip.compress(tar_of(docker_members(*images)))
        case "oci":
            data = zstandard.compress(tar_of(oci_members(*images)))
        case _:
            data = tar_of(oci_members(*images, both=True))
    loaded = daemon.docker("load", stdin=data).text.splitlines()
    assert loaded == ["Loaded image: one:latest", "Loaded image: two:latest"]
    for name in ("one", "two"):
        run = ("run", "--rm", "--network", "none", name, "/bin/busybox", "cat", "/name")
        assert daemon.docker(*run).text == name
        daemon.docker("rmi", name)


def test_one_platform(daemon: Daemon) -> None:
    """The one that is asked for, or nothing."""
    foreign = TestImage(layers=[busybox_layer()], tags=["arm:1"], architecture="arm64")
    data = tar_of(oci_members(foreign))
    ran = daemon.docker("load", "--platform", "linux/amd64", stdin=data, code=1)
    assert "doesn't provide the requested platform (linux/amd64)" in ran.error_text
    assert "arm:1" not in daemon.image_names()
    daemon.docker("load", "--platform", "linux/arm64", stdin=data)
    assert daemon.docker("inspect", "-f", "{{.Architecture}}", "arm:1").text == "arm64"
    daemon.docker("rmi", "arm:1")


@pytest.mark.timeout(600)
def test_save_into_load_in_constant_memory(fresh_daemon: Daemon, tmp_path: Path) -> None:
    """A large image through a pipe: the daemon's memory does not follow its size."""
    daemon = fresh_daemon
    (tmp_path / "random").write_bytes(os.urandom(LARGE_BYTES // 2))
    layers = [tar_of({f"f{n}": (tmp_path / "random").read_bytes()[n:]}) for n in range(2)]
    large = TestImage(layers=layers, tags=["large:1"])
    (tmp_path / "large.tar").write_bytes(tar_of(docker_members(large)))
    daemon.docker("load", "-q", "-i", str(tmp_path / "large.tar"), limit_s=240)
    first = daemon.memory_kb("VmHWM")
    pipe = "docker save large:1 | docker load -q"
    done = subprocess.run(
        ["sh", "-c", pipe], env=daemon.environment(), capture_output=True, timeout=240, check=True
    )
    assert done.stdout.strip() == b"Loaded image: large:1"
    assert daemon.memory_kb("VmHWM") - first < MEMORY_KB
