"""Limits of devices in a running container's cgroup, with the files of both versions."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from services.containers.cgroup_files import CgroupFiles
from services.containers.config import HostConfig, ThrottleDevice, WeightDevice
from services.containers.device_limits import DeviceLimits
from services.containers.spec import SpecDefaults
from services.errors import InvalidParameter
from services.system import CgroupFacts, HostFacts
from tests.services.api.containers import container

ONE = container()
NULL, ZERO = "/dev/null", "/dev/zero"  # 1:3 and 1:5


class Cgroup:
    """A container's folder; what is written is kept as well, since each write replaces a line."""

    def __init__(self, root: Path, version: Any) -> None:
        controllers = MappingProxyType({"blkio": str(root), "io": str(root)})
        facts = HostFacts(cgroup=CgroupFacts(version=version, mountpoints=controllers))
        self.limits = DeviceLimits(CgroupFiles(facts=facts, defaults=SpecDefaults()))
        self.folder = root / "docker" / ONE.id
        self.folder.mkdir(parents=True)
        self.writes: list[tuple[str, str]] = []

    def hold(self, monkeypatch: pytest.MonkeyPatch, **lists: Any) -> list[tuple[str, str]]:
        """What is written for these lists."""
        self.writes.clear()

        def write(path: Path, text: str) -> int:
            self.writes.append((path.name, text))
            return len(text)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", write)
            self.limits.hold(ONE, HostConfig(**lists))
        return list(self.writes)


def test_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file for each kind; 0 takes a limit away; what is right already is not written."""
    cgroup = Cgroup(tmp_path, "1")
    reads = cgroup.folder / "blkio.throttle.read_bps_device"
    reads.write_text("1:3 7\n1:5 9\n")
    (cgroup.folder / "blkio.throttle.write_iops_device").write_text("")
    (cgroup.folder / "blkio.bfq.weight_device").write_text("1:5 100\n")
    assert cgroup.hold(
        monkeypatch,
        blkio_device_read_bps=[ThrottleDevice(path=ZERO, rate=9)],
        blkio_device_write_iops=[ThrottleDevice(path=NULL, rate=4)],
        blkio_device_write_bps=[ThrottleDevice(path=NULL, rate=4)],  # this kernel has no file
        blkio_weight_device=[WeightDevice(path=ZERO, weight=200)],
    ) == [
        ("blkio.bfq.weight_device", "1:5 200"),
        ("blkio.throttle.read_bps_device", "1:3 0"),
        ("blkio.throttle.write_iops_device", "1:3 4"),
    ]


def test_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file for all kinds of rates, and one for weights."""
    cgroup = Cgroup(tmp_path, "2")
    (cgroup.folder / "io.max").write_text("1:3 rbps=7 wbps=max riops=max wiops=4\n")
    (cgroup.folder / "io.bfq.weight").write_text("default 100\n1:5 100\n")
    assert cgroup.hold(
        monkeypatch,
        blkio_device_read_bps=[ThrottleDevice(path=ZERO, rate=9)],
        blkio_device_write_iops=[ThrottleDevice(path=NULL, rate=4)],
    ) == [
        ("io.max", "1:3 rbps=max"),
        ("io.max", "1:5 rbps=9"),
        ("io.bfq.weight", "1:5 default"),
    ]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_kernel_without_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Nothing can be written, and a device that is missing is told of anyway."""
    cgroup = Cgroup(tmp_path, version)
    device = [ThrottleDevice(path=NULL, rate=4)]
    assert cgroup.hold(monkeypatch, blkio_device_read_bps=device) == []
    with pytest.raises(InvalidParameter, match="stat /dev/none: no such file or directory"):
        cgroup.hold(monkeypatch, blkio_device_read_bps=[ThrottleDevice(path="/dev/none", rate=1)])
