"""Network namespaces, made before the task that joins them and held by a bind mount.

`<directory>/<container id>` is the mount point. The directory tells after a crash which namespaces
there are. Every function blocks for about a millisecond and is called in a thread.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from services.networks.kernel.rtnetlink import open_netlink

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000
MS_BIND: Final = 4096
MNT_DETACH: Final = 2
SIOCGSKNS: Final = 0x894C  # linux/sockios.h

_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def here() -> Iterator[int]:
    """A descriptor of the calling thread's namespace."""
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def namespace_of(netlink: socket.socket) -> Iterator[int]:
    """A descriptor of the namespace that a socket lives in."""
    descriptor = fcntl.ioctl(netlink, SIOCGSKNS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_namespace(path: Path) -> socket.socket:
    """Make a namespace, hold it at `path`, and return a route socket that lives inside it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    try:
        return _in_throwaway_thread(lambda: _unshare_and_hold(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def enter_namespace(path: Path) -> socket.socket | None:
    """A route socket that lives inside the namespace held at `path`; None if none is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _in_throwaway_thread(lambda: _join(descriptor))
    finally:
        os.close(descriptor)


def in_namespace(path: Path, call: Callable[[], T]) -> T:
    """What `call` answers in the namespace held at `path`.

    Raises:
        OSError: none is held there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def join_and_call() -> T:
        _checked(_libc.setns(descriptor, CLONE_NEWNET))
        return call()

    try:
        return _in_throwaway_thread(join_and_call)
    finally:
        os.close(descriptor)


def in_scratch_namespace(call: Callable[[], T]) -> T:
    """What `call` answers in a new namespace, which goes with all that was made in it.

    Raises:
        OSError: there can be no new namespace.
    """

    def unshare_and_call() -> T:
        _checked(_libc.unshare(CLONE_NEWNET))
        return call()

    return _in_throwaway_thread(unshare_and_call)


def write_sysctls(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings below /proc/sys in the namespace held at `path`.

    Raises:
        OSError: there is no such setting, or the kernel does not take the value.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _in_throwaway_thread(lambda: _write_sysctls(descriptor, settings))
    finally:
        os.close(descriptor)


def drop_namespace(path: Path) -> None:
    """Let go of a namespace; the kernel reaps it and its links soon after. Gone already is fine."""
    with suppress(OSError):
        while True:  # a start that was cut short may have left one below another
            _checked(_libc.umount2(os.fsencode(path), MNT_DETACH))
    path.unlink(missing_ok=True)


def held_namespaces(directory: Path) -> list[str]:
    """The names under which namespaces are held in `directory`."""
    return sorted(entry.name for entry in os.scandir(directory)) if directory.is_dir() else []


def _unshare_and_hold(path: Path) -> socket.socket:
    _checked(_libc.unshare(CLONE_NEWNET))
    source = b"/proc/thread-self/ns/net"
    _checked(_libc.mount(source, os.fsencode(path), b"none", MS_BIND, None))
    return open_netlink()


def _join(descriptor: int) -> socket.socket | None:
    """None when it is a file that no namespace was mounted on: a start was cut short."""
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        return None
    return open_netlink()


def _write_sysctls(descriptor: int, settings: Mapping[str, str]) -> None:
    _checked(_libc.setns(descriptor, CLONE_NEWNET))
    for name, value in settings.items():
        Path("/proc/sys", name).write_text(value)


def _in_throwaway_thread(call: Callable[[], T]) -> T:
    """Run `call` in a thread that nobody uses again: it may change its namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
