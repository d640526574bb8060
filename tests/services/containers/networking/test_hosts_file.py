"""A container's hosts file while it runs."""

from __future__ import annotations

from pathlib import Path

import trio

from services.containers.networking.hosts_file import (
    HostsFiles,
    with_address,
    with_records,
    without_alias,
    without_records,
)

HOSTS = "127.0.0.1\tlocalhost\n10.0.0.2\tdb h\n10.0.0.3\tdb2\n10.0.0.4\tdb.example db-x\n"


def test_files_are_changed_by_alias() -> None:
    """Nothing but the line that begins with the alias, or with the alias and a domain."""
    assert with_address(HOSTS, "db", "10.0.0.9") == (
        "127.0.0.1\tlocalhost\n10.0.0.9\tdb h\n10.0.0.3\tdb2\n10.0.0.9\tdb.example db-x\n"
    )
    assert without_alias(HOSTS, "db") == (
        "127.0.0.1\tlocalhost\n10.0.0.3\tdb2\n10.0.0.4\tdb.example db-x\n"
    )
    assert without_alias(HOSTS, "db2").count("\n") == 3


def test_records_come_and_go_as_they_were() -> None:
    """A line that was edited, or is somebody else's, stays."""
    text = with_records(HOSTS, ["10.0.0.9", "fd00::9"], "web.x web")
    assert text.endswith("10.0.0.9\tweb.x web\nfd00::9\tweb.x web\n")
    assert without_records(text, ["10.0.0.9", "fd00::9"], "web.x web") == HOSTS
    assert without_records(text, ["10.0.0.9"], "web") == text
    assert with_records(text, ["fd00::9"], "web.x web") == text
    assert with_records("no end", ["10.0.0.9"], "web") == "no end\n10.0.0.9\tweb\n"


async def test_changes_at_the_same_time_are_all_made(tmp_path: Path) -> None:
    """In place, since the file is mounted; a file that is not there is told of in the log."""
    (tmp_path / "c").mkdir()
    hosts = tmp_path / "c" / "hosts"
    hosts.write_text(HOSTS)
    inode = hosts.stat().st_ino
    files = HostsFiles(directory=tmp_path, disk=trio.CapacityLimiter(8))
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(files.add, "c", [f"10.1.0.{number}"], "web")
    lines = hosts.read_text().removeprefix(HOSTS).splitlines()
    assert sorted(lines) == [f"10.1.0.{number}\tweb" for number in range(8)]
    assert hosts.stat().st_ino == inode
    await files.remove("c", [f"10.1.0.{number}" for number in range(8)], "web")
    assert hosts.read_text() == HOSTS
    await files.add("gone", ["10.0.0.1"], "web")
