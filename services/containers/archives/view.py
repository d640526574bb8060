"""The files of a container, opened: through its own process while it runs, else by mounts.

The mounts for one that does not run are made in a mount namespace that only our descriptors keep
alive: killed at any moment, nothing of them stays. To read, an empty layer in memory lies on top of
the container's own, so that its mount points can be made there and nothing of it is written.
All of it blocks: for worker threads.
"""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.containers.spec import MountPoint
from services.errors import Conflict, EngineError
from services.system.roots import RootMount

from .root import DIRECTORY, PLACE, Root, is_directory

_CLONE_NEWNS: Final = 0x00020000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 0x20, 0x1000, 0x4000, 0x80000
_INERT: Final = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC

_KERNELS_OWN: Final = frozenset(
    (
        "proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "mqueue", "securityfs",
        "debugfs", "tracefs", "bpf", "pstore", "fusectl", "configfs", "nsfs", "binfmt_misc",
        "efivarfs", "rpc_pipefs", "selinuxfs",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """A root file system as containerd describes it. `upper` is "" for one that is a directory."""

    lower: tuple[str, ...]  # topmost first
    upper: str = ""
    work: str = ""
    options: tuple[str, ...] = ()  # what changes how layers are read

    @property
    def all(self) -> tuple[str, ...]:
        """Every directory, topmost first."""
        return (self.upper, *self.lower) if self.upper else self.lower


def layers_of(mounts: Sequence[RootMount]) -> Layers:
    """Read containerd's mounts of a snapshot.

    Raises:
        EngineError: they are of a kind that we do not know.
    """
    if len(mounts) != 1:
        raise EngineError(f"a root filesystem of {len(mounts)} mounts is not supported")
    mount = mounts[0]
    if mount.type in ("bind", "rbind"):
        return Layers(lower=(mount.source,))
    if mount.type != "overlay":
        raise EngineError(f"a root filesystem of type {mount.type} is not supported")
    values = {name: value for name, _, value in (o.partition("=") for o in mount.options)}
    kept = [o for o in mount.options if o.partition("=")[0] in ("userxattr", "redirect_dir")]
    return Layers(
        lower=tuple(path for path in values.get("lowerdir", "").split(":") if path),
        upper=values.get("upperdir", ""),
        work=values.get("workdir", ""),
        options=tuple(kept),
    )


def open_running(pid: int, container_id: str) -> Root:
    """The files as the processes of a running container see them, mounts and tmpfs included.

    Raises:
        Conflict: it has ended meanwhile.
    """
    try:
        # Held open, /proc/PID stays this very process's, whoever gets the number after it.
        process = os.open(f"/proc/{pid}", DIRECTORY)
        try:
            if container_id.encode() not in _read(process, "cgroup"):
                raise Conflict(f"container {container_id} is not running")
            aliens = _alien_devices(_read(process, "mountinfo").decode(errors="replace"))
            root = os.open("root", PLACE | os.O_DIRECTORY, dir_fd=process)
        finally:
            os.close(process)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Conflict(f"container {container_id} is not running") from error
    return Root(fd=root, alien_devices=aliens)


def open_to_read(mounts: Sequence[RootMount], points: Sequence[MountPoint] = ()) -> Root:
    """The files of a container that need not run, with what is mounted into it; for reading."""
    return _in_thread(lambda: _mounted(layers_of(mounts), points, writable=False))


def open_to_write(mounts: Sequence[RootMount], points: Sequence[MountPoint] = ()) -> Root:
    """The files of a container that does not run, and does not start before this is closed."""
    return _in_thread(lambda: _mounted(layers_of(mounts), points, writable=True))


def open_layers(layers: Layers) -> Root:
    """Layers as one tree, for reading."""
    return _in_thread(lambda: _mounted(layers, (), writable=False))


def open_directory(path: str) -> Root:
    """A directory of the host as a tree of its own."""
    return Root(fd=os.open(path, PLACE | os.O_DIRECTORY))


def _read(directory: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
        return file.read()


def _alien_devices(mountinfo: str) -> frozenset[int]:
    """Source: proc(5), /proc/PID/mountinfo."""
    found: set[int] = set()
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if dash and len(fields) > 2 and after.split()[0] in _KERNELS_OWN:
            major, _, minor = fields[2].partition(":")
            found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)


def _in_thread(make: Callable[[], Root]) -> Root:
    """Run `make` in a thread that is never used again: its namespace must end with it."""
    result: list[Root | Exception] = []

    def run() -> None:
        try:
            result.append(make())
        except Exception as error:  # raised again below, in the thread that asked
            result.append(error)

    thread = threading.Thread(target=run, name="container files", daemon=True)
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _mounted(layers: Layers, points: Sequence[MountPoint], *, writable: bool) -> Root:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS))
    # A slave: what the host unmounts goes here too, what we mount is seen by nobody.
    _mount(libc, "none", "/", flags=_MS_SLAVE | _MS_REC)
    # Any directory will do as the place. Relative names keep the options within the one page that
    # the kernel reads, and still mean the layers when the place is covered.
    place = os.path.commonpath([os.path.dirname(path) for path in layers.all])
    os.chdir(place)  # this thread's own: unshare has parted it from the others'
    if not writable:
        _mount_ephemeral(libc, layers, place)
    elif layers.upper:
        _mount_overlay(libc, place, layers, layers.lower, layers.upper, layers.work)
    else:
        _mount(libc, layers.lower[0], place, flags=_MS_BIND)
    namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root = Root(fd=os.open(place, PLACE | os.O_DIRECTORY), kept=(namespace,))
    try:
        for point in sorted(points, key=lambda point: point.destination.count("/")):
            if point.type in ("bind", "volume") and point.source:
                _bind(libc, root, point)
    except BaseException:
        root.close()
        raise
    return root


def _mount_ephemeral(libc: ctypes.CDLL, layers: Layers, place: str) -> None:
    top = os.stat(os.path.relpath(layers.all[0], place))
    relative = [os.path.relpath(path, place) for path in layers.all]
    _mount(libc, "tmpfs", place, "tmpfs", data="mode=700,size=16m")
    upper, work = f"{place}/upper", f"{place}/work"
    os.mkdir(upper)
    os.mkdir(work)
    os.chown(upper, top.st_uid, top.st_gid)
    os.chmod(upper, stat.S_IMODE(top.st_mode))
    os.utime(upper, ns=(top.st_atime_ns, top.st_mtime_ns))
    _mount_overlay(libc, place, layers, relative, upper, work)


def _mount_overlay(
    libc: ctypes.CDLL, place: str, layers: Layers, lower: Sequence[str], upper: str, work: str
) -> None:
    """Mount on `place`, from the names of layers as the thread's directory has them."""
    names = ":".join(os.path.relpath(path, place) if path[0] == "/" else path for path in lower)
    options = (f"lowerdir={names}", f"upperdir={upper}", f"workdir={work}", *layers.options)
    _mount(libc, "overlay", place, "overlay", _INERT, ",".join(options))


def _bind(libc: ctypes.CDLL, root: Root, point: MountPoint) -> None:
    """Show a mount of the container where it will be; the place is made if it is missing."""
    source = _source(point)
    try:
        target = _place_for(root, point.destination, wants_directory=is_directory(source))
        try:
            flags = _MS_BIND | (_MS_REC if point.recursive else 0)
            _mount(libc, f"/proc/self/fd/{source}", f"/proc/self/fd/{target}", flags=flags)
        finally:
            os.close(target)
    except OSError as error:
        raise EngineError(
            f"cannot mount {point.source} at {point.destination}: {error.strerror}"
        ) from error
    finally:
        os.close(source)
    if not point.rw:
        with root.opened(point.destination) as mounted:  # the mount now, not what it covers
            flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _INERT
            _mount(libc, "none", f"/proc/self/fd/{mounted}", flags=flags)


def _source(point: MountPoint) -> int:
    """What is mounted: a path of the host, or a part of a volume, no link leading out of it."""
    try:
        if not point.subpath:
            return os.open(point.source, PLACE)
        with open_directory(point.source) as volume:
            return volume.open(point.subpath)
    except OSError as error:
        raise EngineError(
            f"cannot mount {point.source} at {point.destination}: {error.strerror}"
        ) from error


def _place_for(root: Root, path: str, *, wants_directory: bool) -> int:
    try:
        return root.open(path)
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
    directory = make_directories(root, parent or "/")
    try:
        if wants_directory:
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=directory))
    finally:
        os.close(directory)
    return root.open(path)


def make_directories(root: Root, path: str) -> int:
    """The directory at `path`, opened (O_PATH); what is missing of it is made, for root.

    Raises:
        OSError: something on the way is no directory.
    """
    try:
        return root.open(path, PLACE | os.O_DIRECTORY)
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
        if not name:
            raise
    above = make_directories(root, parent or "/")
    try:
        if name not in (".", ".."):
            os.mkdir(name, 0o755, dir_fd=above)
    except FileExistsError:
        pass  # a link that leads nowhere: the next step says so
    finally:
        os.close(above)
    return root.open(path, PLACE | os.O_DIRECTORY)


def _mount(
    libc: ctypes.CDLL, source: str, target: str, kind: str = "", flags: int = 0, data: str = ""
) -> None:
    _checked(
        libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) or None,
        )
    )


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
