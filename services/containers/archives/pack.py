"""A part of a tree as a tar, in pieces of bounded size. Blocks: for worker threads.

Nothing but plain files is ever opened for reading: a FIFO or a device is an entry without data. A
file that grows meanwhile is cut at the size that its header gave, one that shrinks is padded.

Source: moby, pkg/archive, whose names, order and kinds of entries these are.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.errors import EngineError

from .root import DIRECTORY, PLACE, Root, reopen

PIECE_BYTES: Final = 1 << 18
MAX_DEPTH: Final = 400  # each level holds a descriptor
_END: Final = bytes(2 * tarfile.BLOCKSIZE)
_KINDS: Final = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}

Send = Callable[[bytes], object]


def pack(root: Root, path: str, top: str | None, send: Send) -> None:
    """Send a tar of what is at `path`, itself included; the entries' names begin with `top`.

    `path` is not followed if it is a link, unless it ends with "/". Without a `top` the directory
    itself has no entry and the names begin with those in it, as in an export; "" begins them with
    a slash.

    Raises:
        OSError: there is nothing at `path`.
    """
    packer = Packer(root, send)
    follow = path.endswith(("/", "/."))
    with root.opened(path, PLACE, follow=follow) as found:
        status = os.fstat(found)
        if top is not None:
            packer.add(found, top, status)
        if stat.S_ISDIR(status.st_mode):
            packer.add_below(reopen(found, DIRECTORY), "" if top is None else f"{top}/")
    packer.end()


@dataclass(slots=True)
class Packer:
    """Writes entries; `end` ends the archive. Names have no slash at their end."""

    root: Root
    send: Send
    _held: bytearray = field(default_factory=bytearray)
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def add_below(self, directory: int, prefix: str, depth: int = 0) -> None:
        """Everything in an open directory, which is closed; `prefix` begins the names."""
        try:
            if depth > MAX_DEPTH:
                raise EngineError(f"directories are nested more than {MAX_DEPTH} deep")
            for child in sorted(os.listdir(directory)):
                self._add_child(directory, child, f"{prefix}{child}", depth)
        finally:
            os.close(directory)

    def add(self, found: int, name: str, status: os.stat_result) -> None:
        """One entry, from an O_PATH descriptor, with its data; not what is below it."""
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:  # sockets are nothing without who listens
            return
        info = _header(name, status, kind)
        if kind == tarfile.SYMTYPE:
            info.linkname = os.readlink("", dir_fd=found)
        elif kind == tarfile.REGTYPE:
            self._link_or_size(info, status)
            if value := _capability(found):
                info.pax_headers = {"SCHILY.xattr.security.capability": value}
        self.put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        if info.type == tarfile.REGTYPE and info.size:
            self._copy(found, info.size)

    def end(self) -> None:
        """The end mark, and what has not been sent."""
        self.put(_END)
        self._flush()

    def _add_child(self, directory: int, child: str, name: str, depth: int) -> None:
        try:
            found = os.open(child, PLACE | os.O_NOFOLLOW, dir_fd=directory)
        except FileNotFoundError:  # removed meanwhile
            return
        try:
            status = os.fstat(found)
            self.add(found, name, status)
            if stat.S_ISDIR(status.st_mode) and not self.root.is_alien(status):
                self.add_below(reopen(found, DIRECTORY), f"{name}/", depth + 1)
        finally:
            os.close(found)

    def _link_or_size(self, info: tarfile.TarInfo, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), info.name)
            if first != info.name:
                info.type, info.linkname = tarfile.LNKTYPE, first
                return
        info.size = 0 if self.root.is_alien(status) else status.st_size

    def _copy(self, found: int, size: int) -> None:
        """Exactly `size` bytes and the padding."""
        file = reopen(found, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        left = size
        try:
            while left:
                data = os.read(file, min(PIECE_BYTES, left))
                data = data or bytes(min(PIECE_BYTES, left))  # cut off meanwhile
                left -= len(data)
                self.put(data)
        finally:
            os.close(file)
        self.put(bytes(-size % tarfile.BLOCKSIZE))

    def put(self, data: bytes) -> None:
        """Bytes of the archive that are made elsewhere: whole blocks."""
        if not self._held and len(data) >= PIECE_BYTES:
            self.send(data)
            return
        self._held += data
        if len(self._held) >= PIECE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            self.send(data)


def _header(name: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.mtime = int(status.st_mtime)
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return info


def _capability(found: int) -> str:
    try:
        value = os.getxattr(f"/proc/self/fd/{found}", "security.capability")
    except OSError:
        return ""
    return value.decode("utf-8", "surrogateescape")
