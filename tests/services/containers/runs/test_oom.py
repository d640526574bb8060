"""OOM kills are read from the kernel's own counts, also of cgroups that are gone at the exit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pytest
import trio

from services.containers.cgroup_files import CgroupFiles
from services.containers.container import Container
from services.containers.runs import oom
from services.containers.runs.oom import OomKills
from services.containers.spec import SpecDefaults
from services.system import CgroupFacts, HostFacts
from tests.services.containers.support import container

Counts = tuple[OomKills, Container, Path]


def counts_below(root: Path, version: Literal["1", "2"]) -> Counts:
    """Counts of one running container whose cgroup lies below `root`, and its folder."""
    mounts = MappingProxyType({"memory": str(root)})
    facts = HostFacts(cgroup=CgroupFacts(version=version, mountpoints=mounts))
    files = CgroupFiles(facts=facts, defaults=SpecDefaults(cgroup_driver="cgroupfs"))
    one = container()
    folder = files.folder(one, "memory")
    folder.mkdir(parents=True)
    return OomKills(files, disk=trio.CapacityLimiter(1)), one, folder


@pytest.mark.parametrize(("version", "file"), [("1", "memory.oom_control"), ("2", "memory.events")])
def test_the_count_is_the_kernels(tmp_path: Path, version: Literal["1", "2"], file: str) -> None:
    """The line oom_kill tells, on both versions; a cgroup that is gone, and was not seen, none."""
    kills, one, folder = counts_below(tmp_path, version)
    (folder / file).write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert kills.kills(one) == 2
    (folder / file).unlink()
    assert kills.kills(one) == 0


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[Path]:
    """A cgroup of version 2, in whose file cgroup.events the kernel tells of changes."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    root = next((line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("needs a writable hierarchy of cgroup version 2")
    path = Path(root, f"wharfinger-test-{os.getpid()}")
    path.mkdir()
    yield path
    if path.exists():
        path.rmdir()


async def test_a_count_outlives_its_cgroup(
    tmp_path: Path, cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel told before the cgroup went is known at the exit, and forgotten with the run.

    The memory controller may be bound to version 1 here: the file of another change, which the
    kernel tells of in the same way, stands in for memory.events.
    """
    monkeypatch.setattr(oom, "_kills_in", lambda text: int(text.split()[1]))  # "populated 1"
    kills, one, folder = counts_below(tmp_path, "2")
    (folder / "memory.events").symlink_to(cgroup / "cgroup.events")
    open_before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        await nursery.start(kills.run)
        kills.follow(one)
        with subprocess.Popen(["sleep", "60"]) as process:
            (cgroup / "cgroup.procs").write_text(str(process.pid))
            with trio.fail_after(60):
                while not kills._seen:
                    await trio.sleep(0.01)
            process.kill()
        cgroup.rmdir()
        assert kills.kills(one) == 1
        kills.forget(one)
        assert kills.kills(one) == 0
        nursery.cancel_scope.cancel()
    assert len(os.listdir("/proc/self/fd")) == open_before


def write(path: Path, kills: int) -> None:
    path.write_text(f"oom 0\noom_kill {kills}\n")


async def test_a_kill_that_nobody_saw_in_time_is_told_by_the_slice(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """systemd was quicker: what has just grown around a container, and is nobody else's."""
    kills, one, folder = counts_below(tmp_path, "2")
    other = container(container_id="d" * 64, name="other")
    beside = folder.parent / other.id
    beside.mkdir()
    around = folder.parent / "memory.events"
    write(around, 5)
    write(folder / "memory.events", 0)
    write(beside / "memory.events", 0)
    kills.follow(one)
    kills.follow(other)
    assert kills.take_unknown(one) == 0
    write(around, 6)
    (folder / "memory.events").unlink()
    assert kills.kills(one) == 0
    assert kills.take_unknown(one) == 1
    assert kills.take_unknown(one) == 0

    write(around, 7)  # the other one's, which was seen in time
    write(beside / "memory.events", 1)
    kills._read(kills._descriptors[other.id])
    assert kills.take_unknown(one) == 0

    write(around, 8)  # some service's, long before
    (slice_descriptor,) = kills._slice_descriptors
    kills._read_slice(slice_descriptor)
    await trio.sleep(oom.JUST_S + 1)
    assert kills.take_unknown(one) == 0
    write(around, 9)
    assert kills.take_unknown(one) == 1
    open_before = len(os.listdir("/proc/self/fd"))
    kills.forget(one)
    kills.forget(other)
    assert len(os.listdir("/proc/self/fd")) == open_before - 3
    assert kills.take_unknown(one) == 0
