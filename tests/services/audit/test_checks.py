"""Each check finds what it is for, and nothing in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import trio

from services.audit import Finding
from services.audit.containers import FolderCheck, MountCheck, SnapshotCheck
from services.audit.networks import LinkCheck
from services.audit.storage import LeaseCheck, StoreCheck, VolumeCheck
from services.containers import Container, ContainerTable
from services.containers.model import State
from services.networks.sandboxes.container_links import BridgedLink
from tests.services.containers.support import container

T = TypeVar("T")
NOBODY = "0" * 64
RUNNING = container(State.RUNNING)
STOPPED = container(State.EXITED, container_id="d" * 64, name="stopped")


def table_of(*containers: Container) -> ContainerTable:
    """These containers."""
    table = ContainerTable()
    for one in containers:
        table.add(one)
    return table


def texts(findings: list[Finding]) -> dict[str, str]:
    """What is said of each subject."""
    return {finding.subject: finding.text for finding in findings}


async def test_file_systems_and_containers_belong_together() -> None:
    """One without the other is found, either way."""

    async def keys(_label: str) -> list[str]:
        return [RUNNING.id, NOBODY]

    found = texts(await SnapshotCheck(keys=keys, table=table_of(RUNNING, STOPPED)).look())
    assert found.keys() == {NOBODY, STOPPED.id}
    assert "has lost its file system" in found[STOPPED.id]


async def test_folders_are_somebodys(tmp_path: Path) -> None:
    """A container's own folder lives as long as it does, those of a run as long as that."""
    data, exec_root = tmp_path / "containers", tmp_path / "exec"
    for one in (RUNNING.id, NOBODY):
        (data / one).mkdir(parents=True)
    for part in ("netns", "shm", "io"):
        for one in (RUNNING.id, STOPPED.id, NOBODY):
            (exec_root / part / one).mkdir(parents=True)
    (exec_root / "io" / "exec-of-some-container").mkdir()
    check = FolderCheck(
        data=data,
        exec_root=exec_root,
        table=table_of(RUNNING, STOPPED),
        is_lively=lambda one: one.is_running,
        disk=trio.CapacityLimiter(1),
    )
    lost = [exec_root / part / one for part in ("netns", "shm") for one in (STOPPED.id, NOBODY)]
    assert texts(await check.look()).keys() == {
        str(data / NOBODY),
        STOPPED.id,
        str(exec_root / "io" / NOBODY),  # those of a container may be used by its next start
        *map(str, lost),
    }


async def test_mounts_are_somebodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those below exec-root that name a container, each for a container that runs."""
    mounts = [
        f"{tmp_path}/shm/{RUNNING.id}", f"{tmp_path}/mounts/{STOPPED.id}/1", f"{tmp_path}/other",
        f"/elsewhere/{NOBODY}",
    ]  # fmt: skip
    monkeypatch.setattr("services.audit.containers.mount_points", lambda: mounts)
    check = MountCheck(
        exec_root=tmp_path,
        table=table_of(RUNNING, STOPPED),
        is_lively=lambda one: one.is_running,
        disk=trio.CapacityLimiter(1),
    )
    assert texts(await check.look()).keys() == {f"{tmp_path}/mounts/{STOPPED.id}/1"}


async def test_volumes_have_record_and_directory() -> None:
    """What is mounted from elsewhere has no data here to be lost."""
    check = VolumeCheck(
        records=lambda: {"here": True, "lost": True, "nfs": False},
        directories=lambda: ["here", "found"],
        disk=trio.CapacityLimiter(1),
    )
    assert texts(await check.look()) == {
        "found": "its directory has no record",
        "lost": "its data is gone",
    }


async def test_leases_and_half_made_blobs_are_worked_under() -> None:
    """Those of others, and of pulls, are none of this check's."""

    class Leases:
        async def list(self) -> list[Any]:
            names = ("ours-1", "ours-2", "pull-1", "somebody")
            return [type("Lease", (), {"id": name}) for name in names]

    async def ingests() -> list[str]:
        return ["ours-1-blob", "ours-2-blob", "pull-1-blob"]

    containerd = type("Containerd", (), {"leases": Leases()})
    check = LeaseCheck(
        containerd=cast(Any, containerd), prefix="ours-", held=lambda: {"ours-1"}, ingests=ingests
    )
    assert texts(await check.look()).keys() == {"ours-2", "ours-2-blob"}


async def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    """In SQLite's words."""
    path = tmp_path / "db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE t (a TEXT UNIQUE)")
        made.executemany("INSERT INTO t VALUES (?)", [(str(n),) for n in range(500)])
    made.close()

    class Store:
        async def read(self, closure: Callable[[sqlite3.Connection], T]) -> T:
            with sqlite3.connect(path) as connection:
                return closure(connection)

    assert await StoreCheck(Store()).look() == []
    damaged = bytearray(path.read_bytes())
    index = 4096 * (len(damaged) // 4096 - 1)
    damaged[index + 100 : index + 2000] = bytes(1900)
    path.write_bytes(damaged)
    found = await StoreCheck(Store()).look()
    assert found
    assert found[0].subject == "database"


async def test_links_are_somebodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """In our bridges; those of others, and what is no container's end, are left alone."""
    there = {
        "br-1": "", "veth1": "br-1", "veth2": "br-1", "veth3": "others", "eth1": "br-1",
        "veth5": "",
    }  # fmt: skip
    monkeypatch.setattr("services.audit.networks.bridge_ports", lambda: there)
    check = LinkCheck(
        bridges=lambda: {"br-1", "br-2"},
        wanted=lambda: {
            "veth1": BridgedLink("a", "br-1"),
            "veth4": BridgedLink("b", "br-1"),
            "veth5": BridgedLink("c", "br-1"),
        },
        disk=trio.CapacityLimiter(1),
    )
    assert texts(list(await check.look())) == {
        "veth2": "it is in br-1, and no container's",
        "veth4": "the link of container b is gone",
        "veth5": "container c needs it in br-1",
        "br-2": "the bridge of a network is gone",
    }
