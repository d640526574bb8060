"""kill -9 of the daemon while images are made, saved, removed: nothing half is seen, or stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.images.archives import TestImage, busybox_layer, docker_members, tar_of
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

LARGE_BYTES = 24 << 20
LIMIT_S = 60.0

Operation = Callable[[Daemon, Path], list[str]]


def stores(daemon: Daemon) -> dict[str, list[str]]:
    """What containerd holds: blobs, ingests, snapshots, leases."""

    def ctr(*arguments: str) -> list[str]:
        socket = daemon.exec_root / "containerd" / "containerd.sock"
        command = ["ctr", "-a", str(socket), "-n", "moby", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return sorted(done.stdout.splitlines())

    return {
        "blobs": ctr("content", "ls", "-q"),
        "ingests": ctr("content", "active")[1:],
        "snapshots": [line.split()[0] for line in ctr("snapshots", "ls")],
        "leases": ctr("leases", "ls", "-q"),
    }


def large_archive(folder: Path) -> Path:
    """An image whose layers take a moment."""
    path = folder / "large.tar"
    if not path.exists():
        noise = [tar_of({f"f{n}": os.urandom(LARGE_BYTES)}) for n in range(2)]
        image = TestImage(layers=[busybox_layer(), *noise], tags=["large:1"])
        path.write_bytes(tar_of(docker_members(image)))
    return path


def loading(_daemon: Daemon, folder: Path) -> list[str]:
    return ["load", "-q", "-i", str(large_archive(folder))]


def importing(_daemon: Daemon, folder: Path) -> list[str]:
    path = folder / "files.tar"
    path.write_bytes(tar_of({"f": os.urandom(LARGE_BYTES)}))
    return ["import", str(path), "imported:1"]


def committing(daemon: Daemon, _folder: Path) -> list[str]:
    write = f"head -c {LARGE_BYTES} /dev/urandom >/f"
    daemon.docker("run", "--name", "box", "--network", "none", "busybox", "sh", "-c", write)
    return ["commit", "box", "committed:1"]


def saving(daemon: Daemon, folder: Path) -> list[str]:
    daemon.docker("load", "-q", "-i", str(large_archive(folder)))
    return ["save", "-o", str(folder / "saved.tar"), "large:1"]


def removing(daemon: Daemon, folder: Path) -> list[str]:
    daemon.docker("load", "-q", "-i", str(large_archive(folder)))
    return ["rmi", "large:1"]


def pruning(daemon: Daemon, folder: Path) -> list[str]:
    daemon.docker("load", "-q", "-i", str(large_archive(folder)))
    return ["image", "prune", "-af"]


OPERATIONS: dict[str, tuple[Operation, tuple[float, ...]]] = {
    "load": (loading, (0.6,)),
    "import": (importing, (0.5,)),
    "commit": (committing, (0.4,)),
    "save": (saving, (0.1,)),
    "remove": (removing, (0.05,)),
    "prune": (pruning, (0.1,)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_in_the_middle(fresh_daemon: Daemon, tmp_path: Path, name: str) -> None:
    """What is listed can be used; the next try works; when all is removed, all is as before."""
    if shutil.which("ctr") is None:
        pytest.skip("needs ctr")
    daemon = fresh_daemon
    before = stores(daemon)
    operation, delays_s = OPERATIONS[name]
    for delay_s in delays_s:
        command = operation(daemon, tmp_path)
        with daemon.docker_process(*command) as process:
            time.sleep(delay_s)  # somewhere in it; where, differs from run to run
            daemon.kill()
            process.wait(LIMIT_S)
        daemon.start()
        listed = json.loads(daemon.http("GET", "/images/json?all=1").body)
        for image in listed:
            assert daemon.http("GET", f"/images/{image['Id']}/get").status == 200, image
        again = operation(daemon, tmp_path) if name != "commit" else command
        daemon.docker(*again, code=None if name == "remove" else 0)
        daemon.remove_containers()
        daemon.docker("image", "prune", "-af", code=0)
        daemon.load_image()
        wait_until(lambda: stores(daemon) == before, "all is as before", limit_s=LIMIT_S)
