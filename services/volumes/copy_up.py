"""An empty volume gets what the image has in its place, as Docker's first use of a volume does.

The files are copied aside and moved into place once all are there, so that a kill in the middle
leaves the volume empty or full: the next start throws away half a copy and finishes a whole one.
What something is mounted on cannot be filled by moves; there the files are copied in place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio

from services.errors import EngineError, InvalidParameter
from services.system.in_root import open_in_root
from services.system.roots import RootMount, opened_root

from . import copy_tree

COPY_LIMIT_S: Final = 600.0
_COPYING: Final = ".copying"
_COPIED: Final = ".copied"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def copy_up(
    data: Path, rootfs: Sequence[RootMount], path: str, *, disk: trio.CapacityLimiter
) -> None:
    """Fill `data`, if it is empty, with what lies at `path` in a root file system.

    `data` gets the owner and mode of that directory too. Without such a directory nothing is done.

    Raises:
        InvalidParameter: there is a file at `path`.
        EngineError: the copy failed, or took longer than 10 minutes.
    """
    with ExitStack() as stack:
        opened = await trio.to_thread.run_sync(
            partial(_open_both, data, rootfs, path, stack), limiter=disk
        )
        if opened is None:
            return
        source, target, is_mounted = opened
        if is_mounted:
            await _run(source, target)
            return
        staging = data.with_name(_COPYING)
        make = partial(_make_staging, staging, stack)
        await _run(source, await trio.to_thread.run_sync(make, limiter=disk))
        await trio.to_thread.run_sync(partial(_move_in, staging, data), limiter=disk)


def finish(data: Path) -> None:
    """Mend what a kill in the middle of a copy has left beside `data`. Blocks."""
    copied, copying = data.with_name(_COPIED), data.with_name(_COPYING)
    if copying.is_dir():
        shutil.rmtree(copying)
    if copied.is_dir():
        _move_entries(copied, data)


def _open_both(
    data: Path, rootfs: Sequence[RootMount], path: str, stack: ExitStack
) -> tuple[int, int, bool] | None:
    """The descriptors of source and target, and whether something is mounted on the target.

    None when nothing (more) is to be copied. Blocks.
    """
    target = os.open(data, _DIRECTORY | os.O_NOFOLLOW)
    stack.callback(os.close, target)
    if os.listdir(target):
        return None
    with opened_root(rootfs) as root:
        try:
            source = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise InvalidParameter(
                f"cannot mount volume over existing file, file exists {path}"
            ) from error
        except OSError as error:
            raise EngineError(f"cannot read {path} of the image: {error.strerror}") from error
    stack.callback(os.close, source)
    if os.listdir(source):
        return source, target, os.path.ismount(data)
    copy_tree.copy_attributes(source, target)
    return None


async def _run(source: int, target: int) -> None:
    """The copy, in a process of its own; it is killed when it takes too long."""
    command = [sys.executable, "-I", "-S", copy_tree.__file__, str(source), str(target)]
    with trio.move_on_after(COPY_LIMIT_S) as limit:
        ended = await trio.run_process(
            command,
            pass_fds=(source, target),
            capture_stderr=True,
            stdout=subprocess.DEVNULL,
            check=False,
        )
    if limit.cancelled_caught:
        raise EngineError(f"copying the image's files took longer than {COPY_LIMIT_S:g} s")
    if ended.returncode != 0:
        reason = ended.stderr.decode(errors="replace").strip()
        raise EngineError(f"copying the image's files into a volume failed: {reason}")


def _make_staging(staging: Path, stack: ExitStack) -> int:
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(mode=0o700)
    target = os.open(staging, _DIRECTORY | os.O_NOFOLLOW)
    stack.callback(os.close, target)
    return target


def _move_in(staging: Path, data: Path) -> None:
    copied = staging.with_name(_COPIED)
    staging.rename(copied)
    _move_entries(copied, data)


def _move_entries(copied: Path, data: Path) -> None:
    """Move all that is in `copied` into `data`; what somebody has made there meanwhile stays."""
    with ExitStack() as stack:
        source = os.open(copied, _DIRECTORY | os.O_NOFOLLOW)
        stack.callback(os.close, source)
        target = os.open(data, _DIRECTORY | os.O_NOFOLLOW)
        stack.callback(os.close, target)
        copy_tree.copy_attributes(source, target)
        there = set(os.listdir(target))
        for name in os.listdir(source):
            if name not in there:
                with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    shutil.rmtree(copied)
