"""Root file systems of snapshots, opened to be read or mounted to be read. Blocks.

To be opened the layers are mounted detached (fsopen, fsmount): the mount has no place in any
directory and goes with its file descriptor, so that a kill at any moment leaves nothing behind.
Where the kernel cannot do this, a thread gets a mount namespace of its own, which goes with it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from services.errors import EngineError

# The same numbers on every architecture but alpha and mips.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_MOUNT_SETATTR: Final = 442
_AT_FDCWD, _EMPTY_PATH, _CLONE_TREE, _FROM_DESCRIPTOR = -100, 0x1000, 1, 4
_CLOEXEC: Final = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY: Final = 0x1
_READ_ONLY_INERT: Final = 0x1 | 0x2 | 0x4 | 0x8  # MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC
_CLONE_NEWNS: Final = 0x00020000
_MS_INERT: Final = 0x1 | 0x2 | 0x4 | 0x8
_MS_PRIVATE_ALL: Final = 0x4000 | 0x40000  # MS_REC, MS_PRIVATE
_FSCONFIG_STRING_MAX: Final = 255  # the kernel's limit for one value


class RootMount(Protocol):
    """A mount as containerd describes it; services.containerd provides it."""

    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def options(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layers:
    """Directories from top to bottom, and the overlay options that change how they are read."""

    directories: tuple[str, ...]
    options: tuple[str, ...] = ()


@contextmanager
def opened_root(mounts: Sequence[RootMount]) -> Iterator[int]:
    """A descriptor (O_PATH) of the root that `mounts` of a snapshot describe, read-only. Blocks.

    What is seen is the root as it was; whoever changes a layer meanwhile may or may not be seen.

    Raises:
        EngineError: the root cannot be opened, or is of a kind that we do not know.
    """
    layers = _layers(mounts)
    try:
        root = _opened(layers)
    except OSError as error:
        raise EngineError(
            f"cannot read root filesystem {layers.directories[0]}: {error.strerror}"
        ) from error
    try:
        yield root
    finally:
        os.close(root)


def _layers(mounts: Sequence[RootMount]) -> _Layers:
    if len(mounts) != 1:
        raise EngineError(f"a root filesystem of {len(mounts)} mounts is not supported")
    mount = mounts[0]
    if mount.type in ("bind", "rbind"):
        return _Layers(directories=(mount.source,))
    if mount.type != "overlay":
        raise EngineError(f"a root filesystem of type {mount.type} is not supported")
    values = {name: value for name, _, value in (o.partition("=") for o in mount.options)}
    # The writable directory is read as the topmost of the read-only ones: nothing is written,
    # and the snapshot stays free for its real mount.
    upper = [values["upperdir"]] if "upperdir" in values else []
    lower = [path for path in values.get("lowerdir", "").split(":") if path]
    kept = [o for o in mount.options if o.partition("=")[0] in ("userxattr", "redirect_dir")]
    return _Layers(directories=(*upper, *lower), options=tuple(kept))


def _opened(layers: _Layers) -> int:
    if len(layers.directories) == 1:
        return os.open(layers.directories[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _detached_overlay(layers, _READ_ONLY_INERT)
    except OSError:
        return _overlay_in_thread(layers)


def mount_root(mounts: Sequence[RootMount], target: Path) -> None:
    """Mount the root that `mounts` of a snapshot describe at `target`, read-only. Blocks.

    Programs in it can be run; `bind_mounts.unbind` takes it away.

    Raises:
        EngineError: as `opened_root`.
    """
    layers = _layers(mounts)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.mkdir(mode=0o700)
    try:
        _attach(layers, target)
    except OSError as error:
        target.rmdir()
        raise EngineError(
            f"cannot mount root filesystem {layers.directories[0]}: {error.strerror}"
        ) from error


def _attach(layers: _Layers, target: Path) -> None:
    if len(layers.directories) == 1:
        root = _syscall(
            _OPEN_TREE,
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(layers.directories[0])),
            ctypes.c_uint(_CLONE_TREE | os.O_CLOEXEC),
        )
        _make_read_only(root)
    else:
        root = _detached_overlay(layers, _READ_ONLY)
    try:
        _syscall(
            _MOVE_MOUNT,
            ctypes.c_int(root),
            ctypes.c_char_p(b""),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_uint(_FROM_DESCRIPTOR),
        )
    finally:
        os.close(root)


def _make_read_only(root: int) -> None:
    attributes = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
    try:
        _syscall(
            _MOUNT_SETATTR,
            ctypes.c_int(root),
            ctypes.c_char_p(b""),
            ctypes.c_uint(_EMPTY_PATH),
            ctypes.c_char_p(attributes),
            ctypes.c_size_t(len(attributes)),
        )
    except OSError:
        os.close(root)
        raise


def _detached_overlay(layers: _Layers, attributes: int) -> int:
    if takes_layers_singly(os.uname().release):
        each = [("lowerdir+", path) for path in layers.directories]
        return _configured_overlay(layers, each, attributes)
    joined = ":".join(layers.directories)
    if len(os.fsencode(joined)) > _FSCONFIG_STRING_MAX:
        raise OSError(errno.E2BIG, "too many layers for one value")
    return _configured_overlay(layers, [("lowerdir", joined)], attributes)


def takes_layers_singly(release: str) -> bool:
    """Whether this kernel knows `lowerdir+`, as Linux 6.7 and later do.

    One that does not, writes a line into its log for each time that it is tried.
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= (6, 7)


def _configured_overlay(
    layers: _Layers, settings: Sequence[tuple[str, str]], attributes: int
) -> int:
    context = _syscall(_FSOPEN, ctypes.c_char_p(b"overlay"), ctypes.c_uint(_CLOEXEC))
    try:
        for option in layers.options:
            name, separator, value = option.partition("=")
            if separator:
                _fsconfig(context, _SET_STRING, name, value)
            else:
                _fsconfig(context, _SET_FLAG, name, None)
        for name, value in settings:
            _fsconfig(context, _SET_STRING, name, value)
        _fsconfig(context, _CREATE, None, None)
        return _syscall(
            _FSMOUNT,
            ctypes.c_int(context),
            ctypes.c_uint(_CLOEXEC),
            ctypes.c_uint(attributes),
        )
    finally:
        os.close(context)


def _fsconfig(context: int, command: int, name: str | None, value: str | None) -> None:
    _syscall(
        _FSCONFIG,
        ctypes.c_int(context),
        ctypes.c_uint(command),
        ctypes.c_char_p(None if name is None else os.fsencode(name)),
        ctypes.c_char_p(None if value is None else os.fsencode(value)),
        ctypes.c_int(0),
    )


def _overlay_in_thread(layers: _Layers) -> int:
    """Mount where only one short-lived thread sees it, and keep its root open.

    The thread is never reused: its namespace must end with it.
    """
    result: list[int | OSError] = []

    def mount_and_open() -> None:
        try:
            result.append(_mount_privately(layers))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=mount_and_open, name="rootfs", daemon=True)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def _mount_privately(layers: _Layers) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS))
    _checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_ALL), None))
    # Any directory will do as the place, and the top layer is surely there. Relative names keep
    # the options within the one page that the kernel reads.
    place = layers.directories[0]
    parent = os.path.commonpath([os.path.dirname(path) for path in layers.directories])
    os.chdir(parent)  # this thread's own: unshare has parted it from the others'
    names = ":".join(os.path.relpath(path, parent) for path in layers.directories)
    data = os.fsencode(",".join((f"lowerdir={names}", *layers.options)))
    _checked(
        libc.mount(b"overlay", os.fsencode(place), b"overlay", ctypes.c_ulong(_MS_INERT), data)
    )
    return os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _syscall(number: int, *arguments: object) -> int:
    return _checked(int(_libc().syscall(ctypes.c_long(number), *arguments)))


@cache  # a handle on what is loaded already; making one takes as long as a call of the kernel
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
