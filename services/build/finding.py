"""The files that a COPY or ADD names. Blocks.

Source: Docker documentation, "Dockerfile reference", COPY and ADD; Go's path.Match for patterns;
BuildKit, frontend/dockerfile/dockerfile2llb/convert_copy.go, for --parents.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.containers.archives.root import DIRECTORY, PLACE, Root
from services.containers.archives.stat import followed
from services.errors import InvalidParameter

from .patterns import PathPatterns, compile_name
from .selecting import Selection

NOTHING: Final = PathPatterns(())
_WILD: Final = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file or directory to copy. `path` is real: no link is in it. `name` is what it is called
    where it is copied to."""

    path: str
    name: str
    is_directory: bool
    selection: Selection | None = None  # of a directory: what of it


def find_sources(
    root: Root, patterns: Sequence[str], excludes: PathPatterns = NOTHING
) -> list[Source]:
    """What the patterns name, in their order, those of one pattern by name; without `excludes`.

    Raises:
        InvalidParameter: one names nothing.
    """
    found: list[Source] = []
    for pattern in patterns:
        clean = _clean(pattern)
        paths = list(_matching(root, clean)) if _WILD.search(pattern) else [clean]
        sources = [source for path in paths if (source := source_at(root, path)) is not None]
        if not sources:
            raise _not_found(pattern)
        found += [_without(source, excludes) for source in sources if _stays(source, excludes)]
    return found


def find_with_parents(
    root: Root, patterns: Sequence[str], excludes: PathPatterns = NOTHING
) -> list[Source]:
    """The same for --parents: directories, of which a part is copied with the way to it.

    The way begins after `/./`, or else at the root. Wild patterns may name nothing.

    Raises:
        InvalidParameter: one that is not wild names nothing.
    """
    found: list[Source] = []
    for pattern in patterns:
        above, pivot, inner = pattern.partition("/./")
        if not pivot:
            above, inner = "/", pattern
        above, inner = _clean(above), _clean(inner)
        is_wild = _WILD.search(above) or _WILD.search(inner)
        if not is_wild and source_at(root, _clean(f"{above}/{inner}")) is None:
            raise _not_found(pattern)
        includes = None if inner == "/" else PathPatterns([inner])
        for path in _matching(root, above) if _WILD.search(above) else [above]:
            source = source_at(root, path)
            if source is not None and source.is_directory:
                selection = Selection(includes=includes, excludes=excludes)
                found.append(replace(source, selection=selection))
    return found


def source_at(root: Root, path: str) -> Source | None:
    """What is at `path`, links followed inside the root; None for nothing."""
    try:
        real = followed(root, path)
        with root.opened(real, PLACE, follow=False) as found:
            mode = os.fstat(found).st_mode
    except OSError:
        return None
    return Source(path=real, name=posixpath.basename(path) or "/", is_directory=stat.S_ISDIR(mode))


def _stays(source: Source, excludes: PathPatterns) -> bool:
    """Of a directory the patterns mean what is in it."""
    return source.is_directory or not excludes.matches(source.name)


def _without(source: Source, excludes: PathPatterns) -> Source:
    if not source.is_directory or excludes.is_empty:
        return source
    return replace(source, selection=Selection(excludes=excludes))


def _not_found(pattern: str) -> InvalidParameter:
    return InvalidParameter(
        f"COPY failed: no source files were specified: {pattern}"
        if _WILD.search(pattern)
        else f"COPY failed: file not found in build context or excluded by .dockerignore: "
        f"stat {pattern}: file does not exist"
    )


def _clean(path: str) -> str:
    """From the root; normpath alone keeps two slashes at the beginning."""
    return "/" + posixpath.normpath("/" + path).lstrip("/")


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
        wanted = compile_name(part)
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
