"""What of a directory is copied: by --parents a part of it, by --exclude without some. Blocks.

Source: fsutil, copy/copy.go: directories on the way to what is copied are made with it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.containers.archives.pack import Packer, Send
from services.containers.archives.root import DIRECTORY, PLACE, Root, reopen
from services.errors import InvalidParameter

from .patterns import PathPatterns

MAX_DEPTH: Final = 400  # each level holds descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Paths are from the directory that is copied. `includes` None takes all but `excludes`."""

    includes: PathPatterns | None = None
    excludes: PathPatterns = field(default_factory=lambda: PathPatterns(()))

    def takes(self, path: str) -> bool:
        """Whether it is copied."""
        if self.includes is not None and not self.includes.matches(path):
            return False
        return not self.excludes.matches(path)

    def may_take_in(self, directory: str) -> bool:
        """Whether anything in a directory can be."""
        if self.includes is not None and not self.includes.may_match_in(directory):
            return False
        return self.excludes.has_exceptions or not self.excludes.matches(directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """One file or directory. `found` is an O_PATH descriptor, open until the next one is asked for;
    `name` the path from the directory that is copied."""

    found: int
    name: str
    status: os.stat_result


def selected(root: Root, path: str, selection: Selection) -> Iterator[Selected]:
    """What is selected of the directory at `path`, by name, directories before what is in them.

    Raises:
        InvalidParameter: directories are nested too deep.
    """
    with root.opened(path, PLACE, follow=False) as found:
        yield from _Walk(root, selection).below(found, "", [])


def pack_selected(root: Root, path: str, selection: Selection, send: Send) -> None:
    """The same as a tar."""
    packer = Packer(root, send)
    for one in selected(root, path, selection):
        packer.add(one.found, one.name, one.status)
    packer.end()


@dataclass(slots=True)
class _Walk:
    root: Root
    selection: Selection

    def below(self, directory: int, prefix: str, untold: list[Selected]) -> Iterator[Selected]:
        """`untold` are the directories around it that are copied only with something in them."""
        if prefix.count("/") > MAX_DEPTH:
            raise InvalidParameter(f"directories are nested more than {MAX_DEPTH} deep")
        opened = reopen(directory, DIRECTORY)
        try:
            for child in sorted(os.listdir(opened)):
                found = os.open(child, PLACE | os.O_NOFOLLOW, dir_fd=opened)
                try:
                    yield from self._child(found, f"{prefix}{child}", untold)
                finally:
                    os.close(found)
        finally:
            os.close(opened)

    def _child(self, found: int, name: str, untold: list[Selected]) -> Iterator[Selected]:
        one = Selected(found=found, name=name, status=os.fstat(found))
        is_directory = stat.S_ISDIR(one.status.st_mode) and not self.root.is_alien(one.status)
        if self.selection.takes(name):
            yield from untold
            untold.clear()
            yield one
            if is_directory:
                yield from self.below(found, f"{name}/", untold)
        elif is_directory and self.selection.may_take_in(name):
            untold.append(one)
            yield from self.below(found, f"{name}/", untold)
            if untold:  # nothing in it was taken
                untold.pop()
