"""Samples from recorded files of both versions of cgroups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pytest

from services.containers import Container
from services.containers.cgroup_files import CgroupFiles
from services.containers.config import HostConfig
from services.containers.spec import SpecDefaults
from services.containers.stats import BlockCounter, InterfaceCounters, KernelFiles
from services.containers.stats.parse import block_counters_v2, interfaces, system_cpu
from services.system import CgroupFacts, HostFacts
from tests.services.api.containers import container, filled, running
from tests.services.containers.stats import recorded

HOST_BYTES = 1 << 34


def files_of(
    root: Path, version: Literal["1", "2"], texts: Mapping[str, str], of: Container
) -> KernelFiles:
    """The kernel's files with these contents, below `root`."""
    controllers = ("cpu", "cpuacct", "memory", "pids", "blkio")
    mounts = {name: str(root / name) if version == "1" else str(root) for name in controllers}
    facts = HostFacts(cgroup=CgroupFacts(version=version, mountpoints=MappingProxyType(mounts)))
    cgroups = CgroupFiles(facts=facts, defaults=SpecDefaults(cgroup_driver="cgroupfs"))
    for path, text in texts.items():
        folder = cgroups.folder(of, path.partition("/")[0] if version == "1" else "cpu")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.rpartition("/")[2]).write_text(text)
    net = root / "proc" / str(of.status.pid) / "net"
    net.mkdir(parents=True)
    (net / "dev").write_text(recorded.NET_DEV)
    (root / "proc" / "stat").write_text(recorded.PROC_STAT)
    return KernelFiles(cgroups, host_memory_bytes=HOST_BYTES, proc=root / "proc")


def test_a_sample_of_version_1(tmp_path: Path) -> None:
    """Nanoseconds, ticks of 10 ms, the throttled files, and the kernel's own names."""
    one = container(status=running())
    sample = files_of(tmp_path, "1", recorded.V1, one).read(one)
    cpu = sample.cpu
    assert (cpu.total_ns, cpu.per_cpu_ns) == (1566178104, (689212849, 876965255))
    assert (cpu.user_ns, cpu.kernel_ns) == (1_520_000_000, 30_000_000)
    assert (cpu.periods, cpu.throttled_periods, cpu.throttled_ns) == (32, 30, 1350121893)
    assert (cpu.system_ns, cpu.online_cpus) == (recorded.SYSTEM_NS, 2)
    memory = sample.memory
    assert (memory.usage_bytes, memory.max_usage_bytes) == (1282048, 3547136)
    assert (memory.limit_bytes, memory.failures) == (67108864, 7)
    assert memory.stats["total_inactive_file"] == 0
    assert (sample.pids.current, sample.pids.limit) == (1, 0)
    assert sample.io_service_bytes[0] == BlockCounter(major=254, minor=0, op="Read", value=147456)
    assert sample.io_serviced is not None
    assert [counter.op for counter in sample.io_serviced] == ["Read", "Write", "Total"]
    assert set(sample.networks) == {"eth0"}


def test_a_sample_of_version_2(tmp_path: Path) -> None:
    """Microseconds become nanoseconds; what the version does not tell is absent."""
    one = container(status=running())
    sample = files_of(tmp_path, "2", recorded.V2, one).read(one)
    cpu = sample.cpu
    assert (cpu.total_ns, cpu.user_ns, cpu.kernel_ns) == (1566178000, 1520000000, 46178000)
    assert (cpu.throttled_periods, cpu.throttled_ns, cpu.per_cpu_ns) == (30, 1350121000, None)
    assert (sample.memory.usage_bytes, sample.memory.limit_bytes) == (1282048, 67108864)
    assert (sample.memory.failures, sample.memory.max_usage_bytes) == (7, 0)
    assert sample.memory.stats["inactive_file"] == 4096
    assert sample.pids.limit == 2**64 - 1
    assert sample.io_serviced is None


def test_block_counters_of_version_2_have_reads_and_writes() -> None:
    """A device without counters is passed over."""
    counters = block_counters_v2(recorded.V2["io.stat"])
    assert [(c.major, c.minor, c.op, c.value) for c in counters] == [
        (254, 0, "read", 147456),
        (254, 0, "write", 4096),
        (7, 0, "read", 512),
        (7, 0, "write", 0),
    ]


@pytest.mark.parametrize(
    ("version", "unlimited"),
    [
        ("1", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}),
        ("2", {"memory.max": "max"}),
    ],
)
def test_without_a_limit_the_hosts_memory_is_shown(
    tmp_path: Path, version: Literal["1", "2"], unlimited: dict[str, str]
) -> None:
    """As dockerd does, so that a percentage means something."""
    one = container(status=running())
    texts = {**(recorded.V1 if version == "1" else recorded.V2), **unlimited}
    sample = files_of(tmp_path, version, texts, one).read(one)
    assert sample.memory.limit_bytes == HOST_BYTES


def test_a_controller_that_is_not_there_counts_as_zero(tmp_path: Path) -> None:
    """A kernel may be built or started without one."""
    one = container(status=running())
    texts = {k: v for k, v in recorded.V1.items() if not k.startswith(("memory", "blkio"))}
    sample = files_of(tmp_path, "1", texts, one).read(one)
    assert sample.memory.usage_bytes == 0
    assert sample.io_service_bytes == ()
    assert sample.cpu.total_ns == 1566178104


def test_a_cgroup_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """The container has ended between the question and the look."""
    one = container(status=running())
    with pytest.raises(FileNotFoundError):
        files_of(tmp_path, "2", {}, one).read(one)


def test_interfaces_of_the_host_are_not_the_containers(tmp_path: Path) -> None:
    """With host networking there are none to count."""
    one = container(host_config=filled(HostConfig(network_mode="host")), status=running())
    assert files_of(tmp_path, "2", recorded.V2, one).read(one).networks == {}


def test_interface_counters_have_their_columns() -> None:
    """Received and sent, without the loopback."""
    assert interfaces(recorded.NET_DEV) == {
        "eth0": InterfaceCounters(
            rx_bytes=5338, rx_packets=36, rx_errors=1, rx_dropped=2,
            tx_bytes=648, tx_packets=8, tx_errors=3, tx_dropped=4,
        )
    }  # fmt: skip


def test_the_hosts_time_leaves_out_what_was_stolen() -> None:
    """Seven columns in ticks; the lines with a number are the CPUs."""
    assert system_cpu(recorded.PROC_STAT) == (recorded.SYSTEM_NS, 2)


@pytest.mark.parametrize(
    ("driver", "parent", "path"),
    [
        ("cgroupfs", "", "docker"),
        ("cgroupfs", "/own/deep", "own/deep"),
        ("systemd", "", "system.slice"),
        ("systemd", "a-b.slice", "a.slice/a-b.slice"),
    ],
)
def test_the_folder_of_a_container(
    driver: Literal["cgroupfs", "systemd"], parent: str, path: str
) -> None:
    """Where the runtime puts it under each driver."""
    one = container(host_config=HostConfig(cgroup_parent=parent))
    files = CgroupFiles(facts=HostFacts(), defaults=SpecDefaults(cgroup_driver=driver))
    leaf = one.id if driver == "cgroupfs" else f"docker-{one.id}.scope"
    assert files.folder(one, "cpu") == Path("/sys/fs/cgroup") / path / leaf
