"""What the next daemon is to know of an exec that outlives this one.

An exec is known in memory, and by the folder of its pipes: that is there before its process, it is
named after container and exec, and what was asked for lies in it. It goes with the exec's end.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from services.containers.execs.exec import ExecConfig

_PREFIX: Final = "exec"
_NAME: Final = "record.json"


def exec_folder(container_id: str, exec_id: str) -> str:
    """The name of the folder with an exec's pipes."""
    return f"{_PREFIX}.{container_id}.{exec_id}"


def parse_exec_folder(name: str) -> tuple[str, str] | None:
    """The ids of container and exec; None for the folder of something else."""
    prefix, _, rest = name.partition(".")
    container_id, _, exec_id = rest.partition(".")
    return (container_id, exec_id) if prefix == _PREFIX and container_id and exec_id else None


def write_exec_record(folder: Path, config: ExecConfig) -> None:
    """Keep what was asked for. Blocks as long as making a pipe does: the folder is on tmpfs.

    A daemon that is killed half-way leaves a record that `read_exec_record` does not take.
    """
    (folder / _NAME).write_bytes(msgspec.json.encode(config))


def read_exec_record(folder: Path) -> ExecConfig | None:
    """What was asked for; None if there is no record, or none that can be read. Blocks."""
    try:
        return msgspec.json.decode((folder / _NAME).read_bytes(), type=ExecConfig)
    except (OSError, msgspec.DecodeError):
        return None


def remove_exec_record(folder: Path) -> None:
    """The exec has ended."""
    with suppress(OSError):
        (folder / _NAME).unlink()
