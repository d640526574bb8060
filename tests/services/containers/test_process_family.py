"""A process with all that it started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from services.containers.process_family import Kin, family, kill_family, parse_stat


def kin(parent: int, session: int) -> Kin:
    return Kin(parent=parent, session=session)


def test_descendants_and_the_session_belong_to_it() -> None:
    """Also a child whose parent is gone, and a grandchild with a session of its own."""
    processes = {
        10: kin(1, 10),  # the exec
        11: kin(10, 10),
        12: kin(11, 12),  # setsid
        13: kin(12, 12),
        14: kin(1, 10),  # its parent died
        15: kin(14, 15),
        1: kin(0, 1),  # the container
        20: kin(1, 1),
        30: kin(1, 30),  # another exec
        31: kin(30, 30),
    }
    assert family(10, processes) == {10, 11, 12, 13, 14, 15}


def test_the_family_outlives_its_root() -> None:
    """The root may be dead and buried already."""
    assert family(10, {14: kin(1, 10), 20: kin(1, 1)}) == {14}


def test_a_circle_is_no_trap() -> None:
    """What is read is no snapshot: reused pids may seem to be their own ancestors."""
    assert family(10, {10: kin(11, 10), 11: kin(10, 10)}) == {10, 11}


@pytest.mark.parametrize(
    ("stat", "found"),
    [
        (b"7 (sh) S 3 7 5 0 -1", kin(3, 5)),
        (b"7 (a) b) (S 1) R 3 7 5 0 -1", kin(3, 5)),
        (b"7 (sh) Z 3 7 5 0 -1", None),
    ],
)
def test_stat_is_read(stat: bytes, found: Kin | None) -> None:
    """Whatever the process calls itself; the dead are not counted."""
    assert parse_stat(stat) == found


def test_nobody_is_root_to_no_process() -> None:
    """An exec without a pid has no family: 0 is the parent of the machine's first process."""
    assert kill_family(0, [os.getpid()]) == 0


def test_all_of_it_is_killed_and_nobody_else() -> None:
    """A child in the background and one in a session of its own, but not the caller."""
    script = (
        "import os, subprocess\n"
        "for own in (False, True):\n"
        "    subprocess.Popen(['sleep', '300'], start_new_session=own)\n"
        "print(flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert len(children) == 2
        everybody = [process.pid, os.getpid(), *map(int, children)]
        assert kill_family(process.pid, everybody) == 3
        assert process.wait() == -9
