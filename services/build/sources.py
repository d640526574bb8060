"""The files that a COPY or ADD has found: hashed for the cache, copied. Blocks.

Source: Docker documentation, "Dockerfile reference", COPY and ADD.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from services.containers.archives.pack import Send, pack
from services.containers.archives.root import DIRECTORY, PLACE, Root, reopen
from services.containers.archives.stat import followed
from services.containers.archives.unpack import Rules, unpack
from services.errors import InvalidParameter

from .finding import Source
from .selecting import pack_selected, selected

_READ_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 400


def hash_sources(root: Root, sources: Sequence[Source]) -> str:
    """A digest of names, kinds, permissions, link targets and data, not of times and owners."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"source {source.name!r} {source.is_directory}\n".encode())
        if source.selection is not None:
            for one in selected(root, source.path, source.selection):
                _hash_one(one.found, one.name, one.status, digest)
            continue
        with root.opened(source.path, PLACE, follow=False) as found:
            _hash(found, "", digest, 0)
    return digest.hexdigest()


def copy_sources(
    source_root: Root, sources: Sequence[Source], root: Root, target: str, rules: Rules
) -> None:
    """Copy to `target`, a path in `root` that ends with "/" if it is to be a directory.

    A directory's contents are copied, not itself; directories that are missing are made.

    Raises:
        InvalidParameter: several sources, or a directory, cannot become one file.
    """
    is_directory = target.endswith("/") or _is_directory(root, target)
    if len(sources) > 1 and not is_directory:
        raise InvalidParameter(
            "When using COPY with more than one source file, the destination must be a directory "
            "and end with a /"
        )
    for source in sources:
        if source.selection is not None:
            send = partial(pack_selected, source_root, source.path, source.selection)
            _copy(send, root, target, rules)
        elif source.is_directory:
            copy_tree(source_root, source.path, None, root, target, rules)
        elif is_directory:
            copy_tree(source_root, source.path, source.name, root, target, rules)
        else:
            above, _, name = target.rpartition("/")
            copy_tree(source_root, source.path, name, root, above or "/", rules)


def copy_tree(
    source_root: Root, path: str, top: str | None, root: Root, target: str, rules: Rules
) -> None:
    """What is at `path` into the directory `target`, called `top`; None: what is in it."""
    _copy(partial(pack, source_root, path, top), root, target, rules)


def _copy(make: Callable[[Send], None], root: Root, target: str, rules: Rules) -> None:
    """What `make` sends as a tar, into the directory `target`.

    One thread packs and another unpacks, with a pipe in between.
    """
    where = make_directory(root, target)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    errors: list[BaseException] = []

    def send() -> None:
        try:
            with open(writing, "wb", buffering=0) as pipe:
                make(lambda data: _write_all(pipe.fileno(), data))
        except BrokenPipeError:  # the other side has failed and says why
            return
        except BaseException as error:
            errors.append(error)

    sender = threading.Thread(target=send, name="build copy")
    with open(reading, "rb", buffering=0) as pipe:
        sender.start()
        try:
            unpack(root, where, pipe.read, rules)
            while pipe.read(_READ_BYTES):
                pass
        except InvalidParameter:
            if not errors:
                raise
    sender.join()
    if errors:
        raise errors[0]


def make_directory(root: Root, path: str) -> str:
    """The real path of a directory; what is missing of it is made, for root.

    Raises:
        InvalidParameter: something else is there.
    """
    where = followed(root, path)
    done = ""
    for name in where.strip("/").split("/"):
        if not name:
            continue
        above = done or "/"
        done = f"{done}/{name}"
        with root.opened(above, PLACE | os.O_DIRECTORY) as directory, suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=directory)
    if not _is_directory(root, where):
        raise InvalidParameter(f"cannot copy to non-directory: {path}")
    return where


def _is_directory(root: Root, path: str) -> bool:
    try:
        with root.opened(path, PLACE) as found:
            return stat.S_ISDIR(os.fstat(found).st_mode)
    except OSError:
        return False


def _hash(found: int, name: str, digest: hashlib._Hash, depth: int) -> None:
    """One file, from an O_PATH descriptor, and what is below it."""
    if depth > _MAX_DEPTH:
        raise InvalidParameter(f"directories are nested more than {_MAX_DEPTH} deep")
    status = os.fstat(found)
    _hash_one(found, name, status, digest)
    if stat.S_ISDIR(status.st_mode):
        directory = reopen(found, DIRECTORY)
        try:
            for child in sorted(os.listdir(directory)):
                inner = os.open(child, PLACE | os.O_NOFOLLOW, dir_fd=directory)
                try:
                    _hash(inner, f"{name}/{child}", digest, depth + 1)
                finally:
                    os.close(inner)
        finally:
            os.close(directory)


def _hash_one(found: int, name: str, status: os.stat_result, digest: hashlib._Hash) -> None:
    kind = stat.S_IFMT(status.st_mode)
    head = f"{name!r} {status.st_mode:o} {status.st_rdev} {status.st_size * (kind == stat.S_IFREG)}"
    digest.update(head.encode("utf-8", "surrogateescape") + b"\n")
    if kind == stat.S_IFLNK:
        digest.update(os.readlink("", dir_fd=found).encode("utf-8", "surrogateescape"))
    elif kind == stat.S_IFREG:
        file = reopen(found, os.O_RDONLY)
        try:
            while data := os.read(file, _READ_BYTES):
                digest.update(data)
        finally:
            os.close(file)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
