"""What a COPY or ADD says, and doing it. Blocks, but for `read_copy`.

Source: Docker documentation, "Dockerfile reference", COPY and ADD.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

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
    split_words,
)
from services.errors import InvalidParameter
from services.images.compression import ExpansionLimits, PlainStream
from services.images.instructions import Scope, json_words

from .asides import URL, Aside, fetch, fetch_repository, put_document, repository_of
from .context import BuildContext, has_tar
from .finding import Source, find_sources, find_with_parents
from .flags import flags_of, values_of
from .patterns import PathPatterns
from .selecting import Selection
from .sources import copy_sources, copy_tree, hash_sources, make_directory

_MODE: Final = re.compile(r"[0-7]{3,4}")


@dataclass(slots=True, kw_only=True)
class CopyStep:
    """One instruction, read. `owner` is --chown's text, `mode` --chmod's number.

    `unpacks`: archives of the context are extracted.
    """

    keyword: str
    patterns: tuple[str, ...]
    asides: tuple[Aside, ...]
    target: str
    owner: str = ""
    mode: int | None = None
    is_from_image: bool = False
    keeps_parents: bool = False
    unpacks: bool = False
    excludes: Sequence[str] = ()
    _found: Sequence[Source] = field(default_factory=list)

    def find(self, root: Root) -> None:
        """Look for the sources in `root`. Raises InvalidParameter for one that is not there."""
        find = find_with_parents if self.keeps_parents else find_sources
        self._found = find(root, self.patterns, PathPatterns(self.excludes))

    def hash(self, root: Root) -> str:
        """A digest of what would be copied."""
        return hash_sources(root, self._found)

    def arguments(self) -> str:
        """All that matters besides the files."""
        asides = [(aside.name, aside.digest) for aside in self.asides]
        mode = "" if self.mode is None else f"{self.mode:o}"
        said: tuple[object, ...] = (
            self.keyword,
            self.patterns,
            asides,
            self.target,
            self.owner,
            mode,
        )
        # Added to as flags came: the keys of steps without them stay what they were.
        if self.unpacks != (self.keyword == "ADD"):
            said += (self.unpacks,)
        if self.keeps_parents or self.excludes:
            said += (self.keeps_parents, *self.excludes)
        if unpacked := [aside.name for aside in self.asides if aside.is_unpacked]:
            said += (unpacked,)
        return repr(said)

    def copy(self, source_root: Root, root: Root, working_directory: str) -> None:
        """Do it.

        Raises:
            InvalidParameter: the sources do not fit the target, or an owner is not known.
        """
        target = absolute_target(self.target, working_directory)
        rules = Rules(owner=self._owner(root), mode=self.mode)
        found = self.patterns if self.keeps_parents else self._found
        count = len(found) + len(self.asides)
        if count > 1 and not target.endswith("/"):
            raise InvalidParameter(
                f"When using {self.keyword} with more than one source file, the destination must "
                "be a directory and end with a /"
            )
        if self.keeps_parents:
            target = target.rstrip("/") + "/"
        plain = [
            source
            for source in self._found
            if not (self.unpacks and _extract(source_root, source, root, target, rules))
        ]
        if plain:
            copy_sources(source_root, plain, root, target, rules)
        for aside in self.asides:
            self._copy_aside(aside, root, target, rules)

    def _copy_aside(self, aside: Aside, root: Root, target: str, rules: Rules) -> None:
        """A file of the build's own to `target`, or into it if that is a directory."""
        if aside.is_directory:
            selection = Selection(excludes=PathPatterns(self.excludes))
            whole = Source(path="/", name="/", is_directory=True, selection=selection)
            with Root(fd=os.open(aside.path, PLACE | os.O_DIRECTORY)) as folder:
                copy_sources(folder, [whole], root, target, rules)
            return
        with Root(fd=os.open(aside.path.parent, PLACE | os.O_DIRECTORY)) as folder:
            path = f"/{aside.path.name}"
            file = Source(path=path, name=aside.name, is_directory=False)
            if aside.is_unpacked and _extract(folder, file, root, target, rules):
                return
            above, _, name = target.rpartition("/")
            copy_tree(folder, path, name or aside.name, root, above or "/", rules)

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
    checksum, unpack = flags.get("checksum", ""), flags.get("unpack", "")
    *sources, target = words
    patterns: list[str] = []
    asides: list[Aside] = []
    documents = list(line.heredocs)
    for source in sources:
        document = next((d for d in documents if source in _starts(d)), None)
        if document is not None:
            asides.append(await put_document(document, scope, context, disk))
        elif line.keyword == "ADD" and (repository := repository_of(source)) is not None:
            keeps = flags.get("keep-git-dir") == "true"
            asides.append(await fetch_repository(repository, checksum, keeps, context, disk))
        elif line.keyword == "ADD" and URL.match(source):
            aside = await fetch(source, target, checksum, context, disk)
            asides.append(replace(aside, is_unpacked=unpack == "true"))
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
        keeps_parents=flags.get("parents") == "true",
        unpacks=unpack == "true" or (line.keyword == "ADD" and unpack != "false"),
        excludes=tuple(_expanded(text, scope) for text in values_of(line, "exclude")),
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
