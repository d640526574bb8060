"""A tar extracted into a directory of a tree, from a peer that is not trusted. Blocks.

A name is taken apart into its parent, which the kernel resolves inside the tree, and a last part,
which is made anew and never followed. What stands in the way is removed first, as dockerd does. A
file whose data ends early is taken away again; entries before it stay.

Source: moby, pkg/archive, Unpack: which entries replace which, and the words of the refusals.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from services.errors import EngineError, InvalidParameter
from services.images.tar import Entry, EntryType, TarReader

from .root import PLACE, Root
from .view import make_directories

_XATTRS: Final = ("security.capability", "user.")
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The kernel's answers that are about the archive or the place, not about us.
_CLIENTS_FAULT: Final = frozenset(
    (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EROFS, errno.EINVAL,
     errno.EEXIST, errno.ENOENT, errno.EILSEQ, errno.EXDEV, errno.EMLINK, errno.EPERM,
     errno.EBUSY)
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to extract. `owner` (uid, gid) replaces the archive's; None keeps it."""

    keeps_directories: bool = False  # a directory and something else never replace each other
    owner: tuple[int, int] | None = None
    mode: int | None = None  # permissions of all that is no link, in place of the archive's


def unpack(root: Root, path: str, read: Callable[[int], bytes], rules: Rules) -> None:
    """Extract the tar that `read` gives into the directory at `path` (no links in it).

    Raises:
        InvalidParameter: the archive is damaged or hostile, or does not fit the place.
    """
    unpacker = _Unpacker(root, path, rules)
    tar = TarReader(read)
    for entry in tar:
        try:
            unpacker.take(entry, tar)
        except (OSError, ValueError) as error:
            raise _explained(entry, error) from error
    unpacker.set_directory_times()


@dataclass(slots=True)
class _Unpacker:
    root: Root
    path: str
    rules: Rules
    _directories: dict[str, int] = field(default_factory=dict)  # times, set when all is there

    def take(self, entry: Entry, tar: TarReader) -> None:
        name = posixpath.normpath(entry.name.lstrip("/") or ".")
        if name == ".." or name.startswith("../"):
            raise InvalidParameter(f'"{_shown(entry.name)}" is outside of "{self.path}"')
        if "\0" in name or "\0" in entry.target:
            raise InvalidParameter("invalid tar archive: a name holds a zero byte")
        if entry.type is EntryType.OTHER:
            return
        where = posixpath.join(self.path, name)
        if name == ".":
            if entry.type is not EntryType.DIRECTORY:
                raise InvalidParameter(f'cannot overwrite directory "{where}" with the archive')
            return
        self._check_link(entry, where)
        directory = make_directories(self.root, posixpath.dirname(where))
        try:
            if self.root.is_alien(os.fstat(directory)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            last = posixpath.basename(where)
            if self._make_way(entry, directory, last, where):
                self._make(entry, tar, directory, last)
            self._dress(entry, directory, last, where)
        finally:
            os.close(directory)

    def set_directory_times(self) -> None:
        """Last, since each new entry changes the time of the directory that it is in."""
        for path, time_ns in self._directories.items():
            with suppress(OSError), self.root.opened(path, PLACE, follow=False) as found:
                if stat.S_ISDIR(os.fstat(found).st_mode):
                    os.utime(f"/proc/self/fd/{found}", ns=(time_ns, time_ns))

    def _check_link(self, entry: Entry, where: str) -> None:
        """The text of a link may not lead out of the directory that is extracted into."""
        if entry.type is EntryType.SYMLINK:
            base = posixpath.dirname(where)
        elif entry.type is EntryType.HARD_LINK:
            base = self.path
        else:
            return
        if not entry.target:
            raise InvalidParameter(f'invalid {_kind(entry)} "{_shown(where)}" -> ""')
        led = posixpath.normpath(posixpath.join(base, entry.target.lstrip("/")))
        if led != self.path and not led.startswith(self.path.rstrip("/") + "/"):
            shown = f'"{_shown(where)}" -> "{_shown(entry.target)}"'
            raise InvalidParameter(f"invalid {_kind(entry)} {shown}")

    def _make_way(self, entry: Entry, directory: int, last: str, where: str) -> bool:
        """Whether the entry is to be made; what it replaces is gone then."""
        try:
            there = os.stat(last, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return True
        is_directory = stat.S_ISDIR(there.st_mode)
        wants_directory = entry.type is EntryType.DIRECTORY
        if self.rules.keeps_directories and is_directory and not wants_directory:
            raise InvalidParameter(
                f'cannot overwrite directory "{_shown(where)}" with non-directory "{self.path}"'
            )
        if self.rules.keeps_directories and not is_directory and wants_directory:
            raise InvalidParameter(
                f'cannot overwrite non-directory "{_shown(where)}" with directory "{self.path}"'
            )
        if is_directory and wants_directory:
            return False
        if is_directory:
            shutil.rmtree(last, dir_fd=directory)
        else:
            os.unlink(last, dir_fd=directory)
        return True

    def _make(self, entry: Entry, tar: TarReader, directory: int, last: str) -> None:
        match entry.type:
            case EntryType.FILE:
                self._make_file(tar, directory, last)
            case EntryType.DIRECTORY:
                os.mkdir(last, 0o700, dir_fd=directory)
            case EntryType.SYMLINK:
                os.symlink(entry.target, last, dir_fd=directory)
            case EntryType.HARD_LINK:
                self._make_hard_link(entry, directory, last)
            case EntryType.FIFO:
                os.mkfifo(last, 0o600, dir_fd=directory)
            case _:
                kind = stat.S_IFCHR if entry.type is EntryType.CHARACTER_DEVICE else stat.S_IFBLK
                os.mknod(last, kind | 0o600, os.makedev(*entry.device), dir_fd=directory)

    def _make_file(self, tar: TarReader, directory: int, last: str) -> None:
        file = os.open(last, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            for chunk in tar.chunks():
                view = memoryview(chunk)
                while view:
                    view = view[os.write(file, view) :]
        except BaseException:
            with suppress(OSError):
                os.unlink(last, dir_fd=directory)
            raise
        finally:
            os.close(file)

    def _make_hard_link(self, entry: Entry, directory: int, last: str) -> None:
        target = posixpath.normpath(posixpath.join(self.path, entry.target.lstrip("/")))
        with self.root.opened(posixpath.dirname(target), PLACE | os.O_DIRECTORY) as above:
            os.link(
                posixpath.basename(target),
                last,
                src_dir_fd=above,
                dst_dir_fd=directory,
                follow_symlinks=False,
            )

    def _dress(self, entry: Entry, directory: int, last: str, where: str) -> None:
        """Owner, attributes, permissions, time; in this order, for each undoes what comes after."""
        if entry.type is EntryType.HARD_LINK:
            return
        found = os.open(last, PLACE | os.O_NOFOLLOW, dir_fd=directory)
        try:
            uid, gid = self.rules.owner or (entry.uid, entry.gid)
            os.chown(last, uid, gid, dir_fd=directory, follow_symlinks=False)
            if entry.type is EntryType.SYMLINK:
                times = (entry.mtime_ns, entry.mtime_ns)
                os.utime(last, ns=times, dir_fd=directory, follow_symlinks=False)
                return
            itself = f"/proc/self/fd/{found}"
            for name, value in entry.xattrs.items():
                if name.startswith(_XATTRS):
                    _set_xattr(itself, name, value)
            os.chmod(itself, entry.mode if self.rules.mode is None else self.rules.mode)
            if entry.type is EntryType.DIRECTORY:
                self._directories[where] = entry.mtime_ns
            else:
                os.utime(itself, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(found)


def _set_xattr(path: str, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:  # a file system without them, as dockerd has it
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise


def _kind(entry: Entry) -> str:
    return "symlink" if entry.type is EntryType.SYMLINK else "hardlink"


def _shown(text: str) -> str:
    """For a message: a tar's names may be any bytes, and long."""
    shown = text if len(text) <= 200 else text[:200] + "..."
    return shown.encode(errors="replace").decode()


def _explained(entry: Entry, error: OSError | ValueError) -> Exception:
    if isinstance(error, OSError) and error.errno not in _CLIENTS_FAULT:
        reason = f"{_shown(entry.name)}: {error.strerror}"
        return EngineError(f"cannot extract the archive: {reason}")
    reason = str(error.strerror if isinstance(error, OSError) else error)
    return InvalidParameter(f"cannot extract {_shown(entry.name)}: {reason}")
