"""supervisor.process.pidfile: one engine at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.process.pidfile import PidFile, PidFileError, is_running


def ended_pid() -> int:
    """A process id that was in use a moment ago."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_holds_our_id_and_goes_when_we_go(tmp_path: Path) -> None:
    """Missing folders are made; the file is readable by all and gone after."""
    path = tmp_path / "run" / "engine.pid"
    with PidFile(path):
        assert path.read_text() == str(os.getpid())
        assert path.stat().st_mode & 0o777 == 0o644
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "nonsense", "0", "99999999999999", "-1"])
def test_a_file_without_a_process_id_is_replaced(tmp_path: Path, content: str) -> None:
    """What no engine wrote holds nobody up."""
    path = tmp_path / "engine.pid"
    path.write_text(content)
    with PidFile(path):
        assert path.read_text() == str(os.getpid())


def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    """Its process is gone; a longer number leaves no digits behind."""
    path = tmp_path / "engine.pid"
    path.write_text(f"{ended_pid():09}\n")
    with PidFile(path):
        assert path.read_text() == str(os.getpid())


def test_our_own_id_from_a_former_life_is_stale(tmp_path: Path) -> None:
    """In a container every start may have the same id."""
    path = tmp_path / "engine.pid"
    path.write_text(str(os.getpid()))
    with PidFile(path):
        pass


def test_a_live_process_is_refused_by_its_id(tmp_path: Path) -> None:
    """dockerd's sentence; the file stays as it was."""
    path = tmp_path / "engine.pid"
    path.write_text(str(os.getppid()))
    with pytest.raises(PidFileError) as caught, PidFile(path):
        pass
    assert caught.value.pid == os.getppid()
    assert str(caught.value) == (
        f"failed to start daemon, ensure docker is not running or delete {path}: "
        f"process with PID {os.getppid()} is still running"
    )
    assert path.read_text() == str(os.getppid())


def test_of_two_at_once_one_wins(tmp_path: Path) -> None:
    """The lock decides, whatever the file says."""
    path = tmp_path / "engine.pid"
    with PidFile(path), pytest.raises(PidFileError) as caught, PidFile(path):
        pass
    assert caught.value.pid == os.getpid()


def test_a_file_that_was_removed_meanwhile_is_not_missed(tmp_path: Path) -> None:
    """Leaving removes nothing that another has made since."""
    path = tmp_path / "engine.pid"
    with PidFile(path):
        path.unlink()
        path.write_text("7")
    assert path.read_text() == "7"


def test_a_zombie_is_not_running() -> None:
    """It holds its id and does nothing."""
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # ends when the process has closed its files, at its end
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)
    process.wait()
    assert is_running(os.getppid())
