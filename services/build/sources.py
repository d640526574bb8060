"""The files that a COPY or ADD names: found, hashed for the cache, copied. Blocks.

Source: Docker documentation, "Dockerfile reference", COPY and ADD; Go's path.Match for patterns.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.containers.archives.pack import pack
from services.containers.archives.root import DIRECTORY, PLACE, Root, reopen
from services.containers.archives.stat import followed
from services.containers.archives.unpack import Rules, unpack
from services.errors import InvalidParameter

_WILD: Final = re.compile(r"[*?\[\\]")
_READ_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file or directory to copy. `path` is real: no link is in it. `name` is what it is called
    where it is copied to."""

    path: str
    name: str
    is_directory: bool


def find_sources(root: Root, patterns: Sequence[str]) -> list[Source]:
    """What the patterns name, in their order, those of one pattern by name.

    Raises:
        InvalidParameter: one names nothing.
    """
    found: list[Source] = []
    for pattern in patterns:
        clean = posixpath.normpath("/" + pattern)
        paths = list(_matching(root, clean)) if _WILD.search(pattern) else [clean]
        sources = [source for path in paths if (source := source_at(root, path)) is not None]
        if not sources:
            raise InvalidParameter(
                f"COPY failed: no source files were specified: {pattern}"
                if _WILD.search(pattern)
                else f"COPY failed: file not found in build context or excluded by .dockerignore: "
                f"stat {pattern}: file does not exist"
            )
        found += sources
    return found


def hash_sources(root: Root, sources: Sequence[Source]) -> str:
    """A digest of names, kinds, permissions, link targets and data, not of times and owners."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"source {source.name!r} {source.is_directory}\n".encode())
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
        if source.is_directory:
            copy_tree(source_root, source.path, None, root, target, rules)
        elif is_directory:
            copy_tree(source_root, source.path, source.name, root, target, rules)
        else:
            above, _, name = target.rpartition("/")
            copy_tree(source_root, source.path, name, root, above or "/", rules)


def copy_tree(
    source_root: Root, path: str, top: str | None, root: Root, target: str, rules: Rules
) -> None:
    """What is at `path` into the directory `target`, called `top`; None: what is in it.

    One thread packs and another unpacks, with a pipe in between.
    """
    where = make_directory(root, target)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    errors: list[BaseException] = []

    def send() -> None:
        try:
            with open(writing, "wb", buffering=0) as pipe:
                pack(source_root, path, top, lambda data: _write_all(pipe.fileno(), data))
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


def source_at(root: Root, path: str) -> Source | None:
    """What is at `path`, links followed inside the root; None for nothing."""
    try:
        real = followed(root, path)
        with root.opened(real, PLACE, follow=False) as found:
            mode = os.fstat(found).st_mode
    except OSError:
        return None
    return Source(path=real, name=posixpath.basename(path) or "/", is_directory=stat.S_ISDIR(mode))


def _is_directory(root: Root, path: str) -> bool:
    try:
        with root.opened(path, PLACE) as found:
            return stat.S_ISDIR(os.fstat(found).st_mode)
    except OSError:
        return False


def _matching(root: Root, pattern: str) -> Iterator[str]:
    """The paths that a pattern takes, part by part; in order."""
    parts = pattern.strip("/").split("/")

    def walk(above: str, rest: Sequence[str]) -> Iterator[str]:
        if not rest:
            yield above
            return
        part, *following = rest
        if not _WILD.search(part):
            yield from walk(posixpath.join(above, part), following)
            return
        wanted = compile_pattern(part)
        for name in _names_in(root, above):
            if wanted.fullmatch(name):
                yield from walk(posixpath.join(above, name), following)

    return walk("/", parts)


def _names_in(root: Root, path: str) -> list[str]:
    try:
        with root.opened(path, DIRECTORY) as found:
            return sorted(os.listdir(found))
    except OSError:
        return []


def compile_pattern(part: str) -> re.Pattern[str]:
    """One part of a path as Go's path.Match takes it.

    Raises:
        InvalidParameter: it is malformed.
    """
    expression, at = "", 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            expression += "[^/]*+" if at == len(part) else "[^/]*"
        elif char == "?":
            expression += "[^/]"
        elif char == "\\" and at < len(part):
            expression += re.escape(part[at])
            at += 1
        elif char == "[":
            end = part.find("]", at + 1)
            if end < 0:
                raise InvalidParameter(f"syntax error in pattern: {part}")
            members, at = part[at:end], end + 1
            negated = members.startswith("^")
            quoted = re.sub(r"([\\\[\]&~|^])", r"\\\1", members.removeprefix("^"))
            expression += f"[{'^' if negated else ''}{quoted}]"
        else:
            expression += re.escape(char)
    try:
        return re.compile(expression)
    except re.error as error:
        raise InvalidParameter(f"syntax error in pattern: {part}") from error


def _hash(found: int, name: str, digest: hashlib._Hash, depth: int) -> None:
    """One file, from an O_PATH descriptor, and what is below it."""
    if depth > _MAX_DEPTH:
        raise InvalidParameter(f"directories are nested more than {_MAX_DEPTH} deep")
    status = os.fstat(found)
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
    elif kind == stat.S_IFDIR:
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


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
