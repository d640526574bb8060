"""What is kept of an exec for the next daemon, and what of it is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.containers.execs.exec import ExecConfig
from services.containers.execs.records import (
    exec_folder,
    parse_exec_folder,
    read_exec_record,
    remove_exec_record,
    write_exec_record,
)
from services.containers.health.probes import parse_probe_folder, probe_folder


def test_a_folder_says_whose_it_is() -> None:
    """Of an exec, of a probe, or of neither: none is taken for another."""
    assert parse_exec_folder(exec_folder("c1", "e1")) == ("c1", "e1")
    assert parse_exec_folder(probe_folder("c1", "e1")) is None
    assert parse_probe_folder(exec_folder("c1", "e1")) is None
    for name in ("c1", "exec", "exec.", "exec.c1", "exec.c1.", "exec..e1", "0123456789abcdef"):
        assert parse_exec_folder(name) is None


def test_what_was_asked_for_comes_back(tmp_path: Path) -> None:
    """All of it, until the exec has ended."""
    config = ExecConfig(cmd=["a", "b"], env=["X=1"], user="u", tty=True, console_size=(2, 3))
    write_exec_record(tmp_path, config)
    assert read_exec_record(tmp_path) == config
    remove_exec_record(tmp_path)
    assert read_exec_record(tmp_path) is None
    remove_exec_record(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"Cmd": ["a"', b"[]", b'{"Cmd": 5}'])
def test_half_a_record_is_none(tmp_path: Path, content: bytes) -> None:
    """A daemon that was killed while it wrote leaves an exec that nobody is told of."""
    (tmp_path / "record.json").write_bytes(content)
    assert read_exec_record(tmp_path) is None
