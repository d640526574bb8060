"""A tree of files as a client describes it, checked, and written to a directory of ours. Blocks.

Nothing that is described can lead out of the directory: each name is relative and clean, stands
after the directory that it is in, and is there once; a link is never a directory of another name.
So every path is one of directories that were made here.

Source: fsutil, validator.go and receive.go (the order and the names of a transfer).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.errors import InvalidParameter

MAX_ENTRIES: Final = 1_000_000
MAX_PATH_BYTES: Final = 4096
MAX_LINK_BYTES: Final = 4096
MAX_NAMES_BYTES: Final = 256 << 20

# Go's os.FileMode, which is what a client sends. Source: Go, io/fs.
_GO_DIRECTORY: Final = 1 << 31
_GO_SYMLINK: Final = 1 << 27
_GO_DEVICE: Final = 1 << 26
_GO_FIFO: Final = 1 << 25
_GO_SOCKET: Final = 1 << 24
_GO_CHAR_DEVICE: Final = 1 << 21
_GO_KINDS: Final = (
    _GO_DIRECTORY | _GO_SYMLINK | _GO_DEVICE | _GO_FIFO | _GO_SOCKET | _GO_CHAR_DEVICE
)
_GO_SPECIAL: Final = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, directory or link. `link` is a symbolic link's target, or the path of the file that
    this is another name of. `mode` has permissions alone. Times are in ns since the epoch."""

    path: str
    kind: int  # S_IFREG, S_IFDIR, S_IFLNK or S_IFIFO
    mode: int
    size: int
    modified_ns: int
    link: str = ""

    @property
    def has_data(self) -> bool:
        """Whether its bytes are to be asked for."""
        return self.kind == stat.S_IFREG and not self.link


def read_entry(path: str, mode: int, size: int, modified_ns: int, link: str) -> Entry:
    """What a client says of a file, `mode` being Go's.

    Raises:
        InvalidParameter: a name that is none, or a kind of file that no context has.
    """
    _check_path(path)
    kinds = mode & _GO_KINDS
    kind = {0: stat.S_IFREG, _GO_DIRECTORY: stat.S_IFDIR, _GO_SYMLINK: stat.S_IFLNK}.get(kinds)
    if kinds == _GO_FIFO:
        kind = stat.S_IFIFO
    if kind is None:
        raise InvalidParameter(f"{path!r} is a device or a socket, which a context cannot hold")
    if len(os.fsencode(link)) > MAX_LINK_BYTES or "\0" in link:
        raise InvalidParameter(f"the link {path!r} leads to no name")
    if kind == stat.S_IFLNK and not link:
        raise InvalidParameter(f"the link {path!r} leads nowhere")
    if kind in (stat.S_IFDIR, stat.S_IFIFO):
        link = ""
    permissions = mode & 0o777
    for theirs, ours in _GO_SPECIAL:
        if mode & theirs:
            permissions |= ours
    return Entry(
        path=path,
        kind=kind,
        mode=permissions,
        size=max(0, size),
        modified_ns=modified_ns,
        link=link,
    )


class TreePlan:
    """The entries of one transfer, in the order in which they came."""

    def __init__(self) -> None:
        self.entries: Final[list[Entry]] = []
        self._kinds: dict[str, int] = {}
        self._names_bytes = 0

    def add(self, entry: Entry) -> None:
        """Raises InvalidParameter: it has no place here, or there are too many."""
        self._names_bytes += len(entry.path) + len(entry.link)
        if len(self.entries) >= MAX_ENTRIES or self._names_bytes > MAX_NAMES_BYTES:
            raise InvalidParameter(f"a context of more than {MAX_ENTRIES} files is refused")
        above = entry.path.rpartition("/")[0]
        if above and self._kinds.get(above) != stat.S_IFDIR:
            raise InvalidParameter(f"{entry.path!r} is in no directory that was sent")
        if entry.path in self._kinds:
            raise InvalidParameter(f"{entry.path!r} was sent twice")
        if entry.kind == stat.S_IFREG and entry.link:
            _check_path(entry.link)
            if self._kinds.get(entry.link) != stat.S_IFREG:
                raise InvalidParameter(f"{entry.path!r} is another name of no file that was sent")
        self._kinds[entry.path] = entry.kind
        self.entries.append(entry)

    def make(self, directory: Path) -> None:
        """Everything but the files' data, below `directory`, which is empty and ours."""
        for entry in self.entries:
            path = directory / entry.path
            if entry.kind == stat.S_IFDIR:
                path.mkdir(0o700)
            elif entry.kind == stat.S_IFLNK:
                path.symlink_to(entry.link)
                _set_time(path, entry)
            elif entry.kind == stat.S_IFIFO:
                os.mkfifo(path, 0o600)
                _finish(path, entry)
            elif entry.link:
                os.link(directory / entry.link, path, follow_symlinks=False)
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))

    def finish(self, directory: Path) -> None:
        """Permissions and times, which would not last before; from the leaves up."""
        for entry in reversed(self.entries):
            if entry.kind in (stat.S_IFDIR, stat.S_IFREG) and not entry.link:
                _finish(directory / entry.path, entry)


class TreeData:
    """Writes the data of files that `TreePlan.make` has made. One thread at a time."""

    def __init__(self, plan: TreePlan, directory: Path) -> None:
        self._plan, self._directory = plan, directory
        self._open: dict[int, int] = {}  # an entry's number -> its descriptor

    def write(self, pieces: list[tuple[int, bytes]]) -> None:
        """Append each piece to the entry of its number; b"" says that this was all."""
        for number, data in pieces:
            if not data:
                descriptor = self._open.pop(number, None)
                if descriptor is not None:
                    os.close(descriptor)
                continue
            descriptor = self._open.get(number)
            if descriptor is None:
                path = self._directory / self._plan.entries[number].path
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
                self._open[number] = descriptor
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def close(self) -> None:
        """Give up what is open."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def _check_path(path: str) -> None:
    parts = path.split("/")
    if (
        not path
        or "\0" in path
        or len(os.fsencode(path)) > MAX_PATH_BYTES
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise InvalidParameter(f"{path!r} is no name of a file in a context")


def _finish(path: Path, entry: Entry) -> None:
    path.chmod(entry.mode)
    _set_time(path, entry)


def _set_time(path: Path, entry: Entry) -> None:
    with suppress(OverflowError, OSError):  # a time that this file system does not have
        os.utime(path, ns=(entry.modified_ns, entry.modified_ns), follow_symlinks=False)
