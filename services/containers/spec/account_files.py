"""Reading /etc/passwd and /etc/group of a container that does not run yet. Blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.containers.spec.users import AccountFiles
from services.errors import EngineError
from services.system.in_root import open_in_root
from services.system.roots import RootMount, opened_root

MAX_FILE_BYTES: Final = 4 * 1024 * 1024


def read_account_files(mounts: Sequence[RootMount]) -> AccountFiles:
    """The two files from the root that `mounts` (of a snapshot, not mounted) describe. Blocks.

    A file that is missing, or is none, counts as empty. At most MAX_FILE_BYTES of each are read.

    Raises:
        EngineError: the root cannot be opened, or is of a kind that we do not know.
    """
    with opened_root(mounts) as root:
        try:
            return _read_both(root)
        except OSError as error:
            raise EngineError(
                f"cannot read the accounts of a root filesystem: {error.strerror}"
            ) from error


def read_account_files_in(root: Path) -> AccountFiles:
    """The two files under `root`, such as /proc/PID/root of a running container. Blocks.

    Raises:
        EngineError: the root cannot be opened: the process may have ended.
    """
    try:
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _read_both(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise EngineError(f"cannot read the accounts in {root}: {error.strerror}") from error


def _read_both(root: int) -> AccountFiles:
    return AccountFiles(passwd=_read(root, "etc/passwd"), group=_read(root, "etc/group"))


def _read(root: int, path: str) -> bytes:
    """A regular file below `root`, else nothing. Opened only once it is known to be one."""
    try:
        handle = open_in_root(root, path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {path}") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        with open(f"/proc/self/fd/{handle}", "rb") as file:
            return file.read(MAX_FILE_BYTES)
    finally:
        os.close(handle)
