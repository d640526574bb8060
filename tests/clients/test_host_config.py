"""What HostConfig asks for, read inside containers: cgroup files, /proc, mount options, devices.

One container shows many of them; the daemon has flags of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")


@dataclass(frozen=True)
class Host:
    """A daemon with runtimes and devices of its own, and the folder of its CDI files."""

    daemon: Daemon
    cdi: Path

    def run(self, *options: str, code: int = 0) -> list[str]:
        """The lines that a container writes; with `code` 125, those of the CLI's error."""
        ran = self.daemon.docker("run", "--rm", *options, code=code)
        return (ran.text if code == 0 else ran.error_text).splitlines()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One for the module."""
    folder = tmp_path_factory.mktemp("cdi")
    with running_daemon("--cdi-spec-dir", str(folder)) as daemon:
        yield Host(daemon, folder)
        assert "Traceback" not in daemon.log_text()


def write_devices(folder: Path, name: str = "vendor.json", **edits: Any) -> None:
    """A CDI file with one device, vendor.com/class=dev0."""
    content = {
        "cdiVersion": "0.7.0",
        "kind": "vendor.com/class",
        "devices": [{"name": "dev0", "containerEdits": edits}],
        "containerEdits": {"env": ["ALL_OF_VENDOR=1"]},
    }
    (folder / name).write_text(json.dumps(content))


def test_a_cdi_device_brings_what_its_file_says(host: Host, tmp_path: Path) -> None:
    """Variables, a device that can be opened, a mount, a group, and a hook on the host."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("from the host\n")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/state\n")
    hook.chmod(0o755)
    write_devices(
        host.cdi,
        env=["DEV0=yes"],
        deviceNodes=[{"path": "/dev/vendor0", "hostPath": "/dev/zero", "permissions": "rw"}],
        mounts=[
            {
                "hostPath": str(tmp_path / "data"),
                "containerPath": "/vendor/data",
                "options": ["ro", "rbind"],
            }
        ],
        additionalGids=[4321],
        hooks=[{"hookName": "createRuntime", "path": str(hook), "args": ["hook"]}],
    )
    script = (
        "echo $ALL_OF_VENDOR $DEV0; head -c 4 /dev/vendor0 | od -An -tx1; cat /vendor/data/file; "
        "touch /vendor/data/x 2>&1; id -G"
    )
    lines = host.run(
        *NONE, "-u", "daemon", "--device", "vendor.com/class=dev0", "busybox", "sh", "-c", script
    )
    assert lines[0] == "1 yes"
    assert lines[1].split() == ["00"] * 4
    assert lines[2] == "from the host"
    assert lines[3] == "touch: /vendor/data/x: Read-only file system"
    assert "4321" in lines[4].split()
    assert json.loads((tmp_path / "state").read_text())["ociVersion"]
    info = host.daemon.http("GET", "/info").json()
    assert info["CDISpecDirs"] == [str(host.cdi)]
    assert info["DiscoveredDevices"] == [{"Source": "cdi", "ID": "vendor.com/class=dev0"}]
    (host.cdi / "vendor.json").unlink()


def test_a_cdi_device_is_looked_for_at_the_start(host: Host) -> None:
    """The container may be made before its driver has written its file; errors are dockerd's."""
    ran = host.daemon.docker(
        "create", *NONE, "--name", "early", "--device", "vendor.com/class=dev0", "busybox", "env"
    )
    assert len(ran.text) == 64
    answer = host.daemon.http("POST", "/containers/early/start")
    assert (answer.status, answer.message) == (
        500,
        "CDI device injection failed: unresolvable CDI devices vendor.com/class=dev0",
    )
    write_devices(host.cdi, env=["LATE=1"])
    assert "LATE=1" in host.daemon.docker("start", "-a", "early").text.splitlines()
    (host.cdi / "vendor.json").unlink()
    (host.cdi / "broken.yaml").write_text("kind: [")
    (warning,) = (
        w for w in host.daemon.http("GET", "/info").json()["Warnings"] if w.startswith("CDI")
    )
    assert "broken.yaml: failed to load CDI Spec failed to parse" in warning
    (host.cdi / "broken.yaml").unlink()


def test_gpus_without_their_driver_are_refused(host: Host) -> None:
    """In dockerd's words, before anything is made."""
    before = host.daemon.container_ids()
    lines = host.run(*NONE, "--gpus", "all", "busybox", "true", code=125)
    assert lines[0].endswith('could not select device driver "" with capabilities: [[gpu]]')
    assert host.daemon.container_ids() == before
