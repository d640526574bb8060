"""What a COPY or ADD says, and doing it. Blocks, but for `read_copy`.

Source: Docker documentation, "Dockerfile reference", COPY and ADD.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from services.containers.archives.root import PLACE, Root
from services.containers.archives.unpack import Rules, unpack
from services.containers.spec import resolve_user
from services.containers.spec.account_files import read_account_files_in
from services.dockerfile import (
    ExpansionError,
    Heredoc,
    Line,
    Quoting,
    expand,
    expand_raw,
    split_words,
)
from services.errors import InvalidParameter
from services.images.compression import ExpansionLimits, PlainStream
from services.images.download import download
from services.images.instructions import Scope, json_words

from .context import BuildContext, has_tar
from .flags import flags_of
from .sources import Source, copy_sources, copy_tree, find_sources, hash_sources, make_directory

MAX_DOWNLOAD_BYTES: Final = 1 << 36
_URL: Final = re.compile(r"https?://")
_MODE: Final = re.compile(r"[0-7]{3,4}")
_CHECKSUM: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DOWNLOAD_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A file that is not of the context: a download or a here-document. `name` is what it is called
    where it is copied to."""

    path: Path
    name: str
    digest: str


@dataclass(slots=True, kw_only=True)
class CopyStep:
    """One instruction, read. `owner` is --chown's text, `mode` --chmod's number."""

    keyword: str
    patterns: tuple[str, ...]
    asides: tuple[Aside, ...]
    target: str
    owner: str = ""
    mode: int | None = None
    is_from_image: bool = False
    _found: Sequence[Source] = field(default_factory=list)

    def find(self, root: Root) -> None:
        """Look for the sources in `root`. Raises InvalidParameter for one that is not there."""
        self._found = find_sources(root, self.patterns)

    def hash(self, root: Root) -> str:
        """A digest of what would be copied."""
        return hash_sources(root, self._found)

    def arguments(self) -> str:
        """All that matters besides the files."""
        asides = [(aside.name, aside.digest) for aside in self.asides]
        mode = "" if self.mode is None else f"{self.mode:o}"
        return repr((self.keyword, self.patterns, asides, self.target, self.owner, mode))

    def copy(self, source_root: Root, root: Root, working_directory: str) -> None:
        """Do it.

        Raises:
            InvalidParameter: the sources do not fit the target, or an owner is not known.
        """
        target = absolute_target(self.target, working_directory)
        rules = Rules(owner=self._owner(root), mode=self.mode)
        count = len(self._found) + len(self.asides)
        if count > 1 and not target.endswith("/"):
            raise InvalidParameter(
                f"When using {self.keyword} with more than one source file, the destination must "
                "be a directory and end with a /"
            )
        plain = [
            source
            for source in self._found
            if not (self.keyword == "ADD" and _extract(source_root, source, root, target, rules))
        ]
        if plain:
            copy_sources(source_root, plain, root, target, rules)
        for aside in self.asides:
            _copy_aside(aside, root, target, rules)

    def _owner(self, root: Root) -> tuple[int, int] | None:
        """Root for what comes from the context; what is in images keeps its owner."""
        if not self.owner:
            return None if self.is_from_image else (0, 0)
        accounts = read_account_files_in(Path(f"/proc/self/fd/{root.fd}"))
        user = resolve_user(self.owner, accounts)
        # As Docker has it: a user alone is a group of the same name or number too.
        if ":" not in self.owner:
            try:
                user_group = resolve_user(f"{self.owner}:{self.owner}", accounts)
            except InvalidParameter:
                return user.uid, user.gid
            return user.uid, user_group.gid
        return user.uid, user.gid


async def read_copy(
    line: Line, scope: Scope, context: BuildContext, *, disk: trio.CapacityLimiter
) -> CopyStep:
    """Read the instruction; what is to be downloaded is.

    Raises:
        InvalidParameter: it is malformed.
        EngineError: a download failed.
    """
    words = _words(line, scope)
    if len(words) < 2:
        raise InvalidParameter(f"{line.keyword} requires at least two arguments")
    flags = flags_of(line)
    for name in ("exclude", "parents", "keep-git-dir"):
        if name in flags:
            raise InvalidParameter(f"the --{name} option is not supported")
    *sources, target = words
    patterns: list[str] = []
    asides: list[Aside] = []
    documents = list(line.heredocs)
    for source in sources:
        document = next((d for d in documents if source in _starts(d)), None)
        if document is not None:
            asides.append(await _put_document(document, scope, context, disk))
        elif line.keyword == "ADD" and _URL.match(source):
            checksum = flags.get("checksum", "")
            asides.append(await _download(source, target, checksum, context, disk))
        else:
            patterns.append(source)
    mode = _expanded(flags.get("chmod", ""), scope)
    if mode and not _MODE.fullmatch(mode):
        raise InvalidParameter(f"invalid chmod parameter: {mode}: an octal number is needed")
    return CopyStep(
        keyword=line.keyword,
        patterns=tuple(patterns),
        asides=tuple(asides),
        target=target,
        owner=_expanded(flags.get("chown", ""), scope),
        mode=int(mode, 8) if mode else None,
        is_from_image="from" in flags,
    )


def absolute_target(target: str, working_directory: str) -> str:
    """Where a target is, from the root; with a slash at its end if it says it is a directory."""
    joined = posixpath.normpath(posixpath.join("/", working_directory, target))
    joined = "/" + joined.lstrip("/")
    is_directory = target.endswith(("/", "/.")) or target in (".", "..")
    return joined.rstrip("/") + "/" if is_directory or joined == "/" else joined


def _words(line: Line, scope: Scope) -> list[str]:
    words = json_words(line.arguments)
    if words is None:
        words = split_words(line.arguments, scope.escape, Quoting.KEPT)
        starts = {start for document in line.heredocs for start in _starts(document)}
        return [word if word in starts else _expanded(word, scope) for word in words]
    return [_expanded(word, scope) for word in words]


def _starts(document: Heredoc) -> tuple[str, ...]:
    """The words that can announce it."""
    number = str(document.descriptor) if document.descriptor else ""
    dash = "-" if document.strips_tabs else ""
    quoted = (document.name, f'"{document.name}"', f"'{document.name}'")
    return tuple(f"{number}<<{dash}{name}" for name in quoted)


def _expanded(word: str, scope: Scope) -> str:
    try:
        return expand(word, scope.variables, escape=scope.escape)
    except ExpansionError as error:
        raise InvalidParameter(str(error)) from error


async def _put_document(
    document: Heredoc, scope: Scope, context: BuildContext, disk: trio.CapacityLimiter
) -> Aside:
    text = document.content
    if document.expands:
        try:
            text = expand_raw(text, scope.variables, escape=scope.escape)
        except ExpansionError as error:
            raise InvalidParameter(str(error)) from error
    data = text.encode("utf-8", "surrogateescape")
    put = partial(context.put_aside, data)
    path = await trio.to_thread.run_sync(put, limiter=disk)
    return Aside(path=path, name=document.name, digest=repr(text))


async def _download(
    url: str, target: str, checksum: str, context: BuildContext, disk: trio.CapacityLimiter
) -> Aside:
    """Fetch a URL. It is fetched each time: its digest decides whether the step is cached."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise InvalidParameter(f"invalid checksum {checksum}: sha256:<64 digits> is needed")
    name = posixpath.basename(urlsplit(url).path)
    if not name and target.endswith("/"):
        raise InvalidParameter(f"cannot determine filename for source {url}")
    async with download(url) as body:
        opened = await trio.to_thread.run_sync(partial(context.open_aside), limiter=disk)
        try:
            async for piece in body:
                if opened.size_bytes > MAX_DOWNLOAD_BYTES:
                    raise InvalidParameter(f"{url} is larger than {MAX_DOWNLOAD_BYTES} bytes")
                await trio.to_thread.run_sync(partial(opened.write, piece), limiter=disk)
        finally:
            opened.close(_DOWNLOAD_MODE, _instant(body.last_modified))
    if checksum and opened.digest != checksum:
        raise InvalidParameter(f"digest mismatch {checksum}: {opened.digest}")
    return Aside(path=opened.path, name=name, digest=opened.digest)


def _instant(text: str) -> float:
    """Seconds since the epoch of a Last-Modified; 0 without one, so that the cache is stable."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else 0.0
    except ValueError:
        return 0.0


def _copy_aside(aside: Aside, root: Root, target: str, rules: Rules) -> None:
    """A file of the build's own to `target`, or into it if that is a directory."""
    above, _, name = target.rpartition("/")
    with Root(fd=os.open(aside.path.parent, PLACE | os.O_DIRECTORY)) as folder:
        copy_tree(folder, f"/{aside.path.name}", name or aside.name, root, above or "/", rules)


def _extract(source_root: Root, source: Source, root: Root, target: str, rules: Rules) -> bool:
    """Whether the source is an archive; it is extracted then. Owners are the archive's."""
    if source.is_directory or not _is_archive(source_root, source.path):
        return False
    where = make_directory(root, target)
    with source_root.opened(source.path, os.O_RDONLY) as found:
        plain = PlainStream(partial(os.read, found), ExpansionLimits())
        unpack(root, where, plain.read, Rules(mode=rules.mode))
    return True


def _is_archive(root: Root, path: str) -> bool:
    try:
        with root.opened(path, os.O_RDONLY | os.O_NONBLOCK) as found:
            return has_tar(partial(os.read, found))
    except OSError:
        return False
